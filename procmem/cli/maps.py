"""procmem maps: the memory regions of a process, with the kind and the sizes of each."""

from __future__ import annotations

import sys
from typing import Any

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    address_range,
    complain,
    for_each_process,
    parser,
    refuse_with_json,
    table_options,
)
from procmem.cli.exports import check_exports, draw, export_options
from procmem.cli.formats import print_data
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument
from procmem.regions.kinds import RegionKind
from procmem.view.maps import counter_table, grouped_table, groups_json, region_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.process import Process
    from procmem.regions import RegionTable
    from procmem.snapshots import Snapshot

__all__ = ["main"]

SORTS = ("address", "size", "rss", "pss", "uss", "huge", "ksm", "swap", "kind", "name")


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem maps --help`."""
    made = parser(
        "maps", "Shows the memory regions of a process, with the kind and the sizes of each."
    )
    made.add_argument(
        "--kind",
        action="append",
        choices=[kind.value for kind in RegionKind],
        metavar="KIND",
        help="only regions of this kind (may be repeated): "
        + ", ".join(kind.value for kind in RegionKind),
    )
    made.add_argument(
        "--range",
        type=address_range,
        metavar="LOW-HIGH",
        help="only regions that overlap this range; hexadecimal, either end may be left out",
    )
    made.add_argument(
        "--path",
        metavar="PATTERN",
        help='only regions of this file: its path or base name; "*" and "?" are wildcards',
    )
    made.add_argument(
        "--perms",
        metavar="PERM",
        help='only regions with these permissions, such as "rw-p"; "?" matches any letter',
    )
    made.add_argument(
        "--sort",
        choices=SORTS,
        metavar="KEY",
        help=f"one of {', '.join(SORTS)}: largest first; address (the default), kind and name "
        "ascending",
    )
    made.add_argument(
        "--by", choices=("kind", "path", "use"), help="show totals for each kind, file or use"
    )
    made.add_argument("--smaps", action="store_true", help="show every counter and flag of smaps")
    made.add_argument(
        "--fast",
        action="store_true",
        help="show size, RSS and swap without reading smaps, which blocks mmap in the process "
        "meanwhile; no PSS and USS",
    )
    made.add_argument(
        "--numa", action="store_true", help="show what is on each NUMA node, and the policy"
    )
    made.add_argument(
        "--zeros",
        action="store_true",
        help="show how much of the transparent huge pages is zeros, which without them would not "
        "be in memory; their contents are read for it",
    )
    made.add_argument("-p", "--show-path", action="store_true", help="show whole paths")
    table_options(made)
    export_options(made, svg="the regions, and their sums by kind and use,")
    options = made.parse_args(argv)
    if options.fast and options.smaps:
        made.error("--fast does not read smaps")
    if options.fast and options.sort in ("pss", "uss", "huge", "ksm"):
        made.error(f"--fast does not read {options.sort}")
    if options.by and options.smaps:
        made.error("--by shows totals and cannot be combined with --smaps")
    if options.by and options.sort:
        made.error("--by always sorts by size and cannot be combined with --sort")
    for name in ("numa", "zeros"):
        if getattr(options, name) and (options.by or options.smaps):
            made.error(f"--{name} can't be combined with --by or --smaps")
    if options.perms is not None and len(options.perms) != 4:
        made.error(f"--perms: expected four letters such as rw-p or ?w?p, not {options.perms!a}")
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS)
    if options.svg is not None and len(options.pids) > 1:
        made.error("--svg draws one process: give one PID")
    if not check_exports("maps", options):
        return 1
    drawn: list[RegionTable[Any]] = []
    for name in ("numa", "zeros"):
        if getattr(options, name) and options.format not in ("table", "json"):
            made.error(f"--{name} cannot be combined with --format {options.format}: use --json")
    found: list[dict[str, Any]] = []
    tables: list[tuple[dict[str, int | None], RegionTable[Any]]] = []
    empty = 0

    def show_table(
        pid: int | None, table: RegionTable[Any], more: dict[str, Any] | None = None
    ) -> None:
        nonlocal empty
        chosen = choose(table, options)
        drawn.append(chosen)
        if len(table) and not len(chosen):
            empty = 1
            complain("maps", f"process {pid}: {nothing_left(table, options)}")
        if options.data and options.by:
            found.append({"pid": pid, "groups": groups_json(chosen, options.by)})
        elif options.data and options.format != "json":
            tables.append(({"pid": pid}, chosen))
        elif options.data:
            found.append({"pid": pid, **as_plain(more), **chosen.to_dict()})
        else:
            sys.stdout.write(as_text(chosen, options, more))

    def show(process: Process) -> None:
        table = process.residency() if options.fast else process.smaps()
        more: dict[str, Any] = {}
        if options.numa:
            more["nodes"] = {region.start: region for region in process.numa()}
        if options.zeros:
            more["zeros"] = {region.start: region.zeros for region in process.huge_pages()}
        show_table(process.pid, table, more)
        if not table.consistent:
            complain(
                "maps",
                f"process {process.pid} changes its mappings so fast that they could not be read "
                f"consistently",
            )

    def show_saved(snapshot: Snapshot) -> None:
        if options.numa or options.zeros:
            raise BadArgument(f"{snapshot.source or 'a snapshot'} has neither nodes nor contents")
        if options.smaps and snapshot.detail != "smaps":
            raise BadArgument(f"{snapshot.source or 'it'} has no counters of smaps")
        show_table(snapshot.identity.pid, snapshot.regions)

    try:
        status = for_each_process(
            "maps",
            options.pids,
            options.root,
            show,
            saved=show_saved,
            heading=None if options.data else sys.stdout.write,
        )
        if options.data and options.by:
            others = {"kind", "path", "use"} - {options.by}
            print_data("maps by", options, found, without=others)
        elif options.data:
            print_data("maps", options, found, tables)
    except BadArgument as error:
        made.error(str(error))
    if options.svg is not None and len(drawn) > 1:
        made.error(f"--svg draws one process, and {options.pids[0]} matches {len(drawn)}")
    return (draw("maps", options, drawn[0].svg) if drawn else 0) or status or empty


def as_plain(more: dict[str, Any] | None) -> dict[str, Any]:
    """NUMA nodes and zeros for JSON."""
    found: dict[str, Any] = {}
    if more and "nodes" in more:
        found["numa"] = [region.to_record() for region in more["nodes"].values()]
    if more and "zeros" in more:
        found["zeros"] = [
            {"start": start, "zeros": zeros} for start, zeros in more["zeros"].items()
        ]
    return found


def as_text(table: RegionTable[Any], options: Any, more: dict[str, Any] | None = None) -> str:
    """The table that the options select."""
    look: dict[str, Any] = {
        "width": table_columns(),
        "chosen": options.columns,
        "unit": options.units,
    }
    if options.by:
        return grouped_table(table, options.by, **look)
    if options.smaps:
        return counter_table(table, **look)
    return region_table(table, full_paths=options.show_path, **look, **(more or {}))


def nothing_left(table: RegionTable[Any], options: Any) -> str:
    """The message that no region matches the filters, with a hint."""
    asked = [
        f"--{name} {shown}"
        for name, shown in (
            ("kind", ", ".join(options.kind or [])),
            ("range", "" if options.range is None else hex_range(options.range)),
            ("path", options.path),
            ("perms", options.perms),
        )
        if shown
    ]
    whole = f"none of its {len(table)} regions matches {' and '.join(asked)}"
    if options.path and not table.filter(path=options.path):
        return f"{whole}; maps --by path lists the files"
    if options.kind and not any(region.kind.value in options.kind for region in table):
        return f"{whole}; maps --by kind lists the kinds"
    return f"{whole}"


def hex_range(ends: tuple[int | None, int | None]) -> str:
    return "-".join("" if end is None else f"{end:x}" for end in ends)


def choose(table: RegionTable[Any], options: Any) -> RegionTable[Any]:
    """The regions that the options select, in the order they ask for."""
    if options.kind:
        wanted = set(options.kind)
        table = table.filter(lambda region: region.kind.value in wanted)
    start, end = options.range or (None, None)
    table = table.filter(perms=options.perms, path=options.path, start=start, end=end)
    if options.sort in (None, "address"):
        return table
    if options.sort in ("kind", "name"):
        return table.subset(sorted(table, key=lambda region: str(getattr(region, options.sort))))
    return table.subset(
        sorted(table, key=lambda region: getattr(region, options.sort) or 0, reverse=True)
    )
