"""procmem maps: the regions of a process, what each is, and what it costs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from procmem.cli.arguments import address_range, for_each_process, parser
from procmem.regions.kinds import RegionKind
from procmem.regions.text import table_to_dict
from procmem.view.json import json_text
from procmem.view.maps import counter_table, grouped_table, region_table
from procmem.view.names import printable

if TYPE_CHECKING:
    from procmem.process import Process
    from procmem.regions import RegionTable

__all__ = ["main"]

SORTS = ("address", "size", "rss", "pss", "uss", "swap", "kind", "name")


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem maps --help`."""
    made = parser("maps", "The regions of a process: what each is, and what it costs, in KiB.")
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
        help="only regions that share a byte with it; hexadecimal, either end open",
    )
    made.add_argument(
        "--path", metavar="PATTERN", help='only this file: its path or last part; "*" and "?" match'
    )
    made.add_argument(
        "--perms",
        metavar="PERM",
        help='only these permissions, such as "rw-p"; "?" matches any letter',
    )
    made.add_argument(
        "--sort",
        choices=SORTS,
        default="address",
        help="largest first; by address, kind and name: ascending",
    )
    made.add_argument("--by", choices=("kind", "path"), help="totals for each kind or file")
    made.add_argument("--smaps", action="store_true", help="every counter and flag of smaps")
    made.add_argument(
        "--fast",
        action="store_true",
        help="size, RSS and swap without smaps, which holds up a process that maps "
        "memory: no PSS and USS",
    )
    made.add_argument("-p", "--show-path", action="store_true", help="whole paths in the table")
    options = made.parse_args(argv)
    if options.fast and options.smaps:
        made.error("--fast reads no smaps")
    if options.fast and options.sort in ("pss", "uss"):
        made.error(f"--fast reads no {options.sort}")
    if options.perms is not None and len(options.perms) != 4:
        made.error(f"--perms takes four letters, such as rw-p or ?w?p, not {options.perms!a}")
    found: list[dict[str, Any]] = []

    def show(process: Process) -> None:
        table = process.residency() if options.fast else process.smaps()
        chosen = choose(table, options)
        if options.json:
            found.append({"pid": process.pid, **table_to_dict(chosen)})
            return
        if len(options.pids) > 1:
            sys.stdout.write(f"{process.pid}: {printable(table.exe or '')}\n")
        if options.by:
            text = grouped_table(chosen, options.by)
        elif options.smaps:
            text = counter_table(chosen)
        else:
            text = region_table(chosen, full_paths=options.show_path)
        sys.stdout.write(text)
        if not table.consistent:
            sys.stderr.write(
                f"procmem maps: process {process.pid} maps memory so fast that its regions "
                "could not be read as of one moment\n"
            )

    status = for_each_process("maps", options.pids, options.root, show)
    if options.json:
        sys.stdout.write(json_text(found, "regions"))
    return status


def choose(table: RegionTable[Any], options: Any) -> RegionTable[Any]:
    """The regions that the options ask for, in the order they ask for."""
    if options.kind:
        wanted = set(options.kind)
        table = table.filter(lambda region: region.kind.value in wanted)
    start, end = options.range or (None, None)
    table = table.filter(perms=options.perms, path=options.path, start=start, end=end)
    if options.sort == "address":
        return table
    if options.sort in ("kind", "name"):
        return table._subset(sorted(table, key=lambda region: str(getattr(region, options.sort))))
    return table._subset(
        sorted(table, key=lambda region: getattr(region, options.sort) or 0, reverse=True)
    )
