"""procmem sections: the sections of a process's ELF files, in place."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from procmem.cli.arguments import for_each_process, parser
from procmem.view.json import json_text
from procmem.view.names import printable
from procmem.view.sections import SORTS, bridge_tables, section_tables, totals_table

if TYPE_CHECKING:
    from procmem.elf.live import LiveObject
    from procmem.process import Process

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem sections --help`."""
    made = parser(
        "sections",
        "The sections of a process's executable and libraries: where each lies, and how much "
        "of it is in memory, copied, in swap.",
    )
    made.add_argument(
        "--object",
        metavar="PATTERN",
        help='only this file: its path or last part; "*" and "?" match',
    )
    shape = made.add_mutually_exclusive_group()
    shape.add_argument("--totals", action="store_true", help="a line for each file, in KiB")
    shape.add_argument(
        "--bridge",
        action="store_true",
        help="from text, data and bss of size(1) to the bytes of VSZ that each file occupies",
    )
    made.add_argument(
        "--sort",
        choices=SORTS,
        help="with --totals: largest first; by address and name: ascending",
    )
    options = made.parse_args(argv)
    if options.sort and not options.totals:
        made.error("--sort goes with --totals")
    found: list[dict[str, Any]] = []

    def show(process: Process) -> None:
        objects = chosen(process.objects(), options.object)
        if options.json:
            records = [live.to_record() for live in objects]
            found.append({"pid": process.pid, "objects": records})
            return
        if len(options.pids) > 1:
            sys.stdout.write(f"{process.pid}:\n")
        if not objects:
            wanted = f" matches {printable(options.object)}" if options.object else ""
            sys.stdout.write(f"no ELF file of process {process.pid}{wanted}\n")
        elif options.totals:
            sys.stdout.write(totals_table(objects, options.sort or "private"))
        elif options.bridge:
            sys.stdout.write(bridge_tables(objects))
        else:
            sys.stdout.write(section_tables(objects))

    status = for_each_process("sections", options.pids, options.root, show)
    if options.json:
        sys.stdout.write(json_text(found, "objects"))
    return status


def chosen(objects: list[LiveObject], pattern: str | None) -> list[LiveObject]:
    """The objects whose path, or its last part, matches."""
    if pattern is None:
        return objects
    if "*" in pattern or "?" in pattern:
        return [
            live for live in objects if any(fnmatchcase(n, pattern) for n in (live.path, live.name))
        ]
    return [live for live in objects if pattern in (live.path, live.name)]
