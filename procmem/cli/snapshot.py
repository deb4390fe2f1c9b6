"""procmem snapshot: everything of this moment, kept in a file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from procmem.cli.arguments import for_each_process, parser
from procmem.moments import Snapshot
from procmem.moments.snapshot import DETAILS
from procmem.view.diff import snapshot_summary
from procmem.view.json import json_text
from procmem.view.names import printable

if TYPE_CHECKING:
    from procmem.process import Process

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem snapshot --help`."""
    made = parser(
        "snapshot",
        "Everything of this moment: regions, totals, faults, threads, clocks, identity. "
        "`procmem diff` tells what changed since.",
    )
    made.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="keep it there: as JSON if the name ends in .json, else compressed; of several "
        "processes all in one compressed file",
    )
    made.add_argument(
        "--detail",
        choices=DETAILS,
        default="smaps",
        help="what is read of the regions: addresses alone (maps), resident and swapped bytes "
        "(residency), or every counter (smaps, the default)",
    )
    options = made.parse_args(argv)
    many = len(options.pids) > 1
    if many and options.output and options.output.endswith(".json"):
        made.error("a .json file holds one snapshot: leave out .json for several")
    taken: list[Snapshot] = []

    def take(process: Process) -> None:
        one = process.snapshot(options.detail)
        taken.append(one)
        if not options.json:
            sys.stdout.write(("\n" if len(taken) > 1 else "") + snapshot_summary(one))

    status = for_each_process("snapshot", options.pids, options.root, take)
    if options.output and taken:
        try:
            if many:
                Snapshot.save_all(taken, options.output)
            else:
                taken[0].save(options.output)
        except OSError as error:
            why = f"{options.output} can't be written: {error.strerror}"
            sys.stderr.write(f"procmem snapshot: {printable(why)}\n")
            status = 1
    if options.json:
        sys.stdout.write(json_text([one.to_dict() for one in taken]))
    return status
