"""procmem sections: the sections of the ELF files that a process has mapped."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from typing import Any

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    complain,
    for_each_process,
    parser,
    refuse_with_json,
    table_options,
)
from procmem.cli.formats import print_data
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument
from procmem.formats import PlainRows
from procmem.schemas import fields_of, flat_rows
from procmem.view.sections import SORTS, bridge_tables, section_tables, totals_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.elf.loaded import LiveObject
    from procmem.process import Process

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem sections --help`."""
    made = parser(
        "sections",
        "Shows the sections of a process's executable and libraries: the address of each, and how "
        "much of it is resident, private and swapped.",
    )
    made.add_argument(
        "--object",
        metavar="PATTERN",
        help='only this file: its path or base name; "*" and "?" are wildcards',
    )
    table_options(made, default="")
    shape = made.add_mutually_exclusive_group()
    shape.add_argument("--totals", action="store_true", help="show one line per file, in KiB")
    shape.add_argument(
        "--bridge",
        action="store_true",
        help="show how text, data and bss of size(1) add up to the VSZ of each file",
    )
    made.add_argument(
        "--sort",
        choices=tuple(SORTS),
        metavar="KEY",
        help=f"with --totals, one of {', '.join(SORTS)}: largest first; address and name ascending",
    )
    options = made.parse_args(argv)
    if options.sort and not options.totals:
        made.error("--sort needs --totals")
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS)
    if options.bridge and (options.columns or options.units):
        made.error("--bridge cannot be combined with --units and --columns")
    found: list[dict[str, Any]] = []
    empty = 0

    def show(process: Process) -> None:
        nonlocal empty
        whole = process.objects()
        objects = chosen(whole, options.object)
        if not objects:
            empty = 1
            wanted = f" matches {options.object}" if options.object else ""
            names = ", ".join(dict.fromkeys(live.name for live in whole))
            there = f"; there are {names}" if whole else ""
            complain("sections", f"no ELF file of process {process.pid}{wanted}{there}")
        if options.data:
            records = [plain(live, options) for live in in_order(objects, options.sort)]
            found.append({"pid": process.pid, "objects": records})
            return
        look: dict[str, Any] = {"width": table_columns(), "chosen": options.columns}
        if not objects:
            return
        if options.totals:
            text = totals_table(
                objects, options.sort or "private", unit=options.units or "KiB", **look
            )
        elif options.bridge:
            text = bridge_tables(objects, width=table_columns())
        else:
            text = section_tables(objects, unit=options.units or "B", **look)
        sys.stdout.write(text)

    try:
        status = for_each_process(
            "sections",
            options.pids,
            options.root,
            show,
            heading=None if options.data else sys.stdout.write,
        )
        if options.data:
            print_data("sections", options, found, [({}, flat(found, options))])
    except BadArgument as error:
        made.error(str(error))
    return status or empty


def flat(found: list[dict[str, Any]], options: Any) -> PlainRows:
    """A row for each section; with --totals or --bridge, for each file."""
    fields = fields_of("sections")
    if options.totals or options.bridge:
        fields = {name: fields[name] for name in fields if name not in NESTED}
        return PlainRows(flat_rows("sections", found), fields)
    rows = [
        {"pid": process["pid"], **section}
        for process in found
        for live in process["objects"]
        for section in live["sections"]
    ]
    return PlainRows(rows, {"pid": fields["pid"], **fields["sections"]["items"]["properties"]})


NESTED = ("bridge", "copied", "rest", "sections")
"""What JSON alone has of a file."""


def in_order(objects: list[LiveObject], sort: str | None) -> list[LiveObject]:
    return sorted(objects, key=SORTS[sort]) if sort else objects


def plain(live: LiveObject, options: Any) -> dict[str, Any]:
    """The selected data of a file as plain values."""
    record = live.to_record()
    if options.totals:
        record.pop("sections", None)
    if options.bridge:
        record.pop("sections", None)
        steps = [] if live.image is None else live.bridge()
        record["bridge"] = [{"what": one.what, "bytes": one.bytes, "why": one.why} for one in steps]
    return record


def chosen(objects: list[LiveObject], pattern: str | None) -> list[LiveObject]:
    """The objects whose path or base name matches."""
    if pattern is None:
        return objects
    if "*" in pattern or "?" in pattern:
        return [
            live for live in objects if any(fnmatchcase(n, pattern) for n in (live.path, live.name))
        ]
    return [live for live in objects if pattern in (live.path, live.name)]
