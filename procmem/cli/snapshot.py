"""procmem snapshot: saves the state of a process's memory to a file."""

from __future__ import annotations

import sys

from procmem.cli.arguments import (
    IN_BYTES,
    for_each_process,
    parser,
    refuse_with_json,
    table_options,
)
from procmem.cli.exports import check_exports, draw, export_options
from procmem.cli.formats import force_option, print_data
from procmem.cli.terminal import table_columns
from procmem.snapshots import Snapshot
from procmem.snapshots.moment import DETAILS
from procmem.snapshots.output import check_output
from procmem.view.diff import snapshot_summary
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.process import Process

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem snapshot --help`."""
    made = parser(
        "snapshot",
        "Takes a snapshot of a process's memory: regions, totals, page faults, threads, clocks, "
        "identity. `procmem diff` shows what changed since.",
        output=False,
    )
    made.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the file to save to: JSON if its name ends in .json, else compressed; snapshots of "
        "several processes go into one compressed file. An existing snapshot or recording is "
        "overwritten, any other file only with --force",
    )
    force_option(made, "-o")
    made.add_argument(
        "--detail",
        choices=DETAILS,
        default="smaps",
        help="how much to read of each region: only addresses (maps), resident and swapped bytes "
        "(residency), or every counter (smaps, the default)",
    )
    made.add_argument(
        "--heap",
        action="store_true",
        help="keep what malloc and Python hold, too: in use, free, and what a trim would return",
    )
    table_options(made, columns=False)
    export_options(made, svg="the snapshot")
    made.refused = {
        "--columns": "which prints a summary or all columns; `procmem maps FILE` has some",
    }
    options = made.parse_args(argv)
    refuse_with_json(made, options, units=IN_BYTES)
    many = len(options.pids) > 1
    if many and options.output and options.output.endswith(".json"):
        made.error("a .json file contains one snapshot: choose another name for several")
    if options.output is not None:
        try:
            check_output(options.output, force=options.force)
        except OSError as error:
            return complain(options.output, error)
    elif options.force and options.svg is None:
        made.error("--force needs -o FILE or --svg FILE")
    if options.svg is not None and many:
        made.error("--svg draws one snapshot: give one PID")
    if not check_exports("snapshot", options):
        return 1
    taken: list[Snapshot] = []

    def take(process: Process) -> None:
        keep(process.snapshot(options.detail, heap=options.heap))

    def keep(one: Snapshot) -> None:
        taken.append(one)
        if not options.data:
            text = snapshot_summary(one, width=table_columns(), unit=options.units)
            sys.stdout.write(("\n" if len(taken) > 1 else "") + text)

    status = for_each_process("snapshot", options.pids, options.root, take, saved=keep)
    many = len(taken) > 1
    if options.output is not None and taken:
        try:
            if many:
                Snapshot.save_all(taken, options.output, force=options.force)
            else:
                taken[0].save(options.output, force=options.force)
        except OSError as error:
            status = complain(options.output, error)
    if options.data:
        print_data(
            "snapshot",
            options,
            [one.to_dict() for one in taken] if options.json else None,
            [({"pid": one.identity.pid}, one.regions) for one in taken],
        )
    if options.svg is not None and many:
        made.error(
            f"--svg draws one snapshot, and {options.pids[0]} matches {len(taken)} processes"
        )
    return (draw("snapshot", options, taken[0].svg) if taken else 0) or status


def complain(path: str, error: OSError) -> int:
    """Prints why a file cannot be written; returns the exit status."""
    sys.stdout.flush()
    sys.stderr.write(f"procmem snapshot: {printable(path)}: {error.strerror}\n")
    return 1
