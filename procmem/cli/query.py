"""procmem query: what lies at an address."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from procmem.cli.arguments import address, for_each_process, parser
from procmem.errors import ElfError
from procmem.regions.kinds import name_word
from procmem.view.answers import address_answer
from procmem.view.json import json_text
from procmem.view.names import printable

if TYPE_CHECKING:
    from procmem.process import Process
    from procmem.regions import Region, RegionTable

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem query --help`."""
    made = parser("query", "What lies at an address of a process.", pids="1")
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
        help="where separate debug files are (default: %(default)s)",
    )
    options = made.parse_args(argv)
    missing = False

    def show(process: Process) -> None:
        nonlocal missing
        table = process.smaps()
        answers = []
        for number in options.addresses:
            region = table.find(number)
            if region is None:
                missing = True
                sys.stderr.write(
                    f"procmem query: process {process.pid}: {nothing(table, number)}\n"
                )
                continue
            code = look_up(process, number, options.debug_root)
            if options.json:
                inside = {"address": number, "offset_in_region": number - region.start}
                answers.append(inside | {"region": region.to_record()} | code)
            else:
                text = address_answer(number, region, region, code)
                sys.stdout.write(("\n" if answers else "") + text)
                answers.append({})
        if options.json:
            sys.stdout.write(json_text(answers))

    return for_each_process("query", [options.pid], options.root, show) or int(missing)


def look_up(process: Process, number: int, debug_root: str) -> dict[str, Any]:
    """The ELF object, section, symbol and source line at an address, as far as they are told."""
    if not process._files.is_live:
        return {}
    try:
        place = process._place(number, debug_root)
        if place is None:
            return {}
        symbol = place.symbol
        found: dict[str, Any] = {
            "object": place.path,
            "section": place.section,
            "offset_in_section": place.offset_in_section,
            "symbol": None if symbol is None else symbol.name,
            "offset_in_symbol": None if symbol is None else symbol.offset,
            "symbol_is_guess": symbol is not None and symbol.is_guess,
            "source_line": None,
            "left_out": place.left_out,
        }
    except (ElfError, OSError) as error:
        sys.stderr.write(f"procmem query: {printable(str(error))}\n")
        return {}
    try:
        found["source_line"] = place.source_line
    except ElfError as error:
        sys.stderr.write(f"procmem query: {printable(str(error))}\n")
    return found


def nothing(table: RegionTable[Any], number: int) -> str:
    """That no region covers an address, and between which ones it lies."""
    below = [region for region in table if region.end <= number]
    above = [region for region in table if region.start > number]

    def side(region: Region, far: int) -> str:
        return f"{far:#x} bytes {'above' if region.end <= number else 'below'} {name_word(region)}"

    near = [side(below[-1], number - below[-1].end)] if below else []
    near += [side(above[0], above[0].start - number)] if above else []
    return f"no region covers {number:#x} ({printable(', '.join(near))})"
