"""procmem query: what is mapped at an address."""

from __future__ import annotations

import sys
from typing import Any

from procmem.cli.arguments import (
    IN_BYTES,
    address,
    complain,
    for_each_process,
    only_one,
    parser,
    refuse_with_json,
    table_options,
)
from procmem.cli.formats import print_data
from procmem.cli.terminal import table_columns
from procmem.errors import ElfError
from procmem.regions.kinds import name_word
from procmem.regions.region import MeasuredRegion
from procmem.view.names import printable
from procmem.view.query import address_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem.process import Process
    from procmem.process.symbols import SymbolFinder
    from procmem.regions import Region, RegionTable
    from procmem.snapshots import Snapshot

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem query --help`."""
    made = parser(
        "query",
        "Shows what is mapped at an address: the region, and for code the ELF file, section, "
        "symbol and source line.",
        pids="1",
    )
    made.add_argument(
        "addresses",
        metavar="ADDRESS",
        type=address,
        nargs="+",
        help="hexadecimal, with or without 0x",
    )
    made.add_argument(
        "--debug-root",
        default="/usr/lib/debug",
        metavar="DIR",
        help="the directory of separate debug files (default: %(default)s)",
    )
    made.add_argument(
        "--no-demangle",
        action="store_true",
        help="show C++ and Rust names as they are in the file (--json has both forms)",
    )
    table_options(made, columns=False)
    made.refused = {
        "--columns": "which prints a list and no table",
    }
    options = made.parse_args(argv)
    refuse_with_json(made, options, units=IN_BYTES)
    missing = False
    answers: list[dict[str, Any]] = []

    def show(process: Process) -> None:
        from procmem.process.symbols import SymbolFinder

        table = process.smaps()
        symbols = SymbolFinder(process.files)
        answer(
            table,
            f"process {process.pid}",
            lambda number: look_up(symbols, number, options.debug_root),
        )

    def show_saved(snapshot: Snapshot) -> None:
        answer(snapshot.regions, options.pid, lambda _: {})

    def answer(
        table: RegionTable[Any], whose: str, code_at: Callable[[int], dict[str, Any]]
    ) -> None:
        nonlocal missing
        for number in options.addresses:
            region = table.find(number)
            if region is None:
                missing = True
                complain("query", f"{whose}: {nothing(table, number)}")
                continue
            code = code_at(number)
            if options.data:
                inside = {"address": number, "offset_in_region": number - region.start}
                answers.append(inside | {"region": region.to_record()} | code)
                continue
            if options.no_demangle:
                code.pop("symbol_demangled", None)
            measured = region if isinstance(region, MeasuredRegion) else None
            text = address_answer(
                number, region, measured, code, width=table_columns(), unit=options.units
            )
            sys.stdout.write(("\n" if answers else "") + text)
            answers.append({})

    word = only_one(made, options.pid, options.root)
    status = for_each_process("query", [word], options.root, show, saved=show_saved)
    if options.data and (answers or not status):
        print_data("query", options, answers)
    return status or int(missing)


def look_up(symbols: SymbolFinder, number: int, debug_root: str) -> dict[str, Any]:
    """The ELF object, section, symbol and source line at an address, as far as they are known."""
    if not symbols.files.is_live:
        return {}
    try:
        place = symbols.place(number, debug_root)
        if place is None:
            return {}
        symbol = place.symbol
        found: dict[str, Any] = {
            "object": place.path,
            "section": place.section,
            "offset_in_section": place.offset_in_section,
            "symbol": None if symbol is None else symbol.name,
            "symbol_demangled": None if symbol is None else symbol.demangled,
            "offset_in_symbol": None if symbol is None else symbol.offset,
            "symbol_guess": symbol is not None and symbol.guess,
            "source_line": None,
            "left_out": place.left_out,
        }
    except (ElfError, OSError) as error:
        complain("query", str(error))
        return {}
    try:
        found["source_line"] = place.source_line
    except ElfError as error:
        complain("query", str(error))
    return found


def nothing(table: RegionTable[Any], number: int) -> str:
    """The message that no region covers an address, with the regions around it."""
    below = [region for region in table if region.end <= number]
    above = [region for region in table if region.start > number]

    def side(region: Region, far: int) -> str:
        return f"{far:#x} bytes {'above' if region.end <= number else 'below'} {name_word(region)}"

    near = [side(below[-1], number - below[-1].end)] if below else []
    near += [side(above[0], above[0].start - number)] if above else []
    return f"no region covers {number:#x} ({printable(', '.join(near))})"
