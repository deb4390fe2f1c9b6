"""procmem pages: the state of every page of a process, one letter each."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    address,
    complain,
    for_each_process,
    only_one,
    page_range,
    parser,
    refuse_with_json,
    table_options,
)
from procmem.cli.formats import print_data
from procmem.cli.query import nothing
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument, Unsupported
from procmem.formats import JoinedTables, PlainRows
from procmem.pages.pagemap import LIMIT
from procmem.process.process import sharers_of
from procmem.process.tables import this_machine
from procmem.regions.kinds import RegionKind
from procmem.schemas import fields_of
from procmem.view.names import printable
from procmem.view.pages import (
    frames_table,
    legend,
    overview,
    page_tables_table,
    picture,
    plain_part,
    plain_sharers,
    plain_tables,
    plain_translation,
    sharers_table,
    sharing_processes_table,
    translation_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.arrow import Columnar
    from procmem.cli.arguments import AskedRange
    from procmem.pages.tables import PagingScheme
    from procmem.process import Process
    from procmem.regions import Region, RegionTable
    from procmem.view.pages import Part

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem pages --help`."""
    made = parser(
        "pages",
        "Shows which pages of a process are in memory, in swap, shared or the zero page: a letter "
        "for each page, or for several where a row is too short.",
        pids="1",
    )
    made.add_argument(
        "ranges",
        metavar="RANGE",
        type=page_range,
        nargs="*",
        help="START-END or START+LENGTH in hexadecimal, an address, or the name of "
        'a region such as "[heap]" or "libc.so.6"; default: a line for each region',
    )
    made.add_argument(
        "--frames",
        action="store_true",
        help="show the page frames: map counts and flags (needs root)",
    )
    made.add_argument(
        "--sharers",
        action="store_true",
        help="show which other processes map the pages, and what ending each would free; with a "
        "RANGE, at which addresses (needs root)",
    )
    made.add_argument(
        "--tables",
        action="store_true",
        help="show the size of the page tables, compared with VmPTE",
    )
    made.add_argument(
        "--translate",
        metavar="ADDRESS",
        type=user_address,
        action="append",
        default=[],
        help="show the page frame and the physical address of an address (needs root)",
    )
    made.add_argument("--width", type=width, metavar="N", help="letters per row")
    table_options(made, default="")
    # Options may stand between the PID and a RANGE.
    options = made.parse_mixed(argv)
    whole = "which has every page"
    refuse_with_json(made, options, width=whole, units=IN_BYTES, columns=ALL_FIELDS)
    tables = [one for one in ("frames", "sharers", "tables") if getattr(options, one)]
    shown = len(tables) + bool(options.translate)
    if options.columns and (options.translate or shown > 1 or (options.ranges and not shown)):
        made.error(
            "--columns applies to one table: the list of all regions, or that of --frames, "
            "--sharers or --tables"
        )
    missing = False
    answers: list[dict[str, Any]] = []
    listed: list[tuple[dict[str, Any], Columnar]] = []
    if options.data and options.format != "json" and shown:
        made.error(
            f"--format {options.format} has the regions or pages only: use --json with --frames, "
            f"--sharers, --tables and --translate"
        )

    def show(process: Process) -> None:
        nonlocal missing
        told: dict[str, Any] = {"pid": process.pid}
        asked = bool(options.frames or options.sharers or options.tables or options.translate)
        texts = []
        spans: list[tuple[int, int]] = []
        if options.ranges or not asked:
            table = process.maps()
            for text in options.ranges:
                found = resolve(table, text)
                if isinstance(found, str):
                    missing = True
                    complain("pages", f"process {process.pid}: {found}")
                else:
                    spans += found
            parts = parts_of(process, table, spans if options.ranges else None)
            if options.data and options.format != "json" and parts:
                listed.append(({"pid": process.pid}, rows_of(parts, options)))
            elif options.data:
                told["regions"] = [plain_part(part) for part in parts]
            elif parts:
                texts.append(pictures(parts, options))
        spans = spans if options.ranges else [(0, LIMIT)]
        try:
            tell(process, options, spans, told, texts)
        finally:
            answers.append(told)
            if not options.data:
                sys.stdout.write("\n".join(texts))

    word = only_one(made, options.pid, options.root)
    try:
        status = for_each_process("pages", [word], options.root, show)
    except BadArgument as error:
        made.error(str(error))
    if options.data:
        try:
            print_data("pages", options, answers, listed)
        except BadArgument as error:
            made.error(str(error))
    return status or int(missing)


def user_address(text: str) -> int:
    """An address."""
    return address(text)


def width(text: str) -> int:
    """A number of letters."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= 4096):
        raise argparse.ArgumentTypeError(f"expected a width from 1 to 4096, not {text!a}")
    return int(text)


def resolve(table: RegionTable[Region], asked: AskedRange) -> list[tuple[int, int]] | str:
    """The address ranges of a RANGE, or a message why there are none."""
    if isinstance(asked, str):
        named = table.filter(path=asked) or table.filter(lambda region: region.name == asked)
        if not named:
            return f"there is no region named {printable(asked)}"
        return [(region.start, region.end) for region in named]
    start, end = asked
    if end is not None:
        return [(start, end)]
    region = table.find(start)
    return nothing(table, start) if region is None else [(region.start, region.end)]


def parts_of(
    process: Process, table: RegionTable[Region], spans: list[tuple[int, int]] | None
) -> list[Part]:
    """Regions and their pages, of the whole process or of some ranges."""
    if spans is None:
        pages = process.pagemap(0, LIMIT)
        return [
            (region, None if is_hidden(region) else pages.within(region.start, region.end))
            for region in table
        ]
    parts: list[Part] = []
    for start, end in spans:
        inside = table.filter(start=start, end=end)
        for region in inside:
            low, high = max(start, region.start), min(end, region.end)
            parts.append((region, None if is_hidden(region) else process.pagemap(low, high)))
        if not inside:
            parts.append((None, process.pagemap(start, end)))
    return parts


def rows_of(parts: list[Part], options: Any) -> Columnar:
    """A row for each page of the ranges; without ranges, for each region, with its counts."""
    if options.ranges:
        return JoinedTables([({}, pages) for _, pages in parts if pages is not None])
    return region_counts(parts)


def region_counts(parts: list[Part]) -> Columnar:
    """A row for each region, with how many of its pages are in which state."""
    fields = fields_of("pages")
    of_region, of_pages = (fields[name]["properties"] for name in ("region", "pages"))
    names = ("start", "end", "perms", "pathname", "kind", "kind_guess", "name")
    rows = [
        {
            **{name: value for name, value in region.to_record().items() if name in names},
            **({} if pages is None else pages.counts()._asdict()),
        }
        for region, pages in parts
        if region is not None
    ]
    columns = {name: of_region[name] for name in names}
    return PlainRows(rows, {**columns, **of_pages["counts"]["properties"]})


def is_hidden(region: Region) -> bool:
    """Whether pagemap does not show the pages of a region."""
    return region.end > LIMIT or region.kind is RegionKind.VVAR


def pictures(parts: list[Part], options: Any) -> str:
    """The pages as text."""
    screen = table_columns()
    if options.ranges:
        # An address and blanks stand before the letters.
        width = options.width or max(8, min(64, (screen or 80) - 16))
        text = "\n".join(picture(part, width=width, screen=screen) for part in parts)
    else:
        width = options.width or max(8, min(32, 32 if screen is None else screen - 64))
        text = overview(
            parts,
            width=width,
            screen=screen,
            unit=options.units,
            chosen=options.columns,
        )
    return f"{text}\n{legend(parts, screen=screen)}"


def scheme() -> PagingScheme | None:
    """The paging scheme of this machine; None: not supported."""
    try:
        return this_machine()
    except Unsupported:
        return None


def tell(
    process: Process,
    options: Any,
    spans: list[tuple[int, int]],
    told: dict[str, Any],
    texts: list[str],
) -> None:
    """Adds the output of the other options."""
    if options.tables:
        tables = process.page_tables()
        told["tables"] = plain_tables(tables)
        texts.append(page_tables_table(tables, table_columns(), options.units, options.columns))
    for number in options.translate:
        found = process.translate(number)
        told.setdefault("translations", []).append(plain_translation(found))
        texts.append(translation_text(found, scheme(), table_columns()))
    if options.frames:
        frames = [frame for start, end in spans for frame in process.frames(start, end)]
        told["frames"] = [{**frame._asdict(), "flags": frame.flags.names} for frame in frames]
        texts.append(frames_table(frames, table_columns(), options.units, options.columns))
    if options.sharers:
        sharers = sharers_of(process, spans)
        told["sharers"] = plain_sharers(sharers)
        # Addresses are for those who ask about a part of it.
        table = sharers_table if options.ranges else sharing_processes_table
        texts.append(table(sharers, table_columns(), options.units, options.columns))
