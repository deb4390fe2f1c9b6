"""procmem diff: what changed between two snapshots, and why."""

from __future__ import annotations

import os
import sys

from procmem.cli.arguments import ALL_FIELDS, IN_BYTES, Parser, refuse_with_json, table_options
from procmem.cli.exports import check_exports, draw, export_options
from procmem.cli.formats import format_options, print_data
from procmem.cli.terminal import table_columns
from procmem.errors import AccessDenied, BadArgument, ProcmemError
from procmem.process import Process
from procmem.process.finding import resolve
from procmem.snapshots import Snapshot, diff, load
from procmem.snapshots.moment import DETAILS
from procmem.view.diff import diff_table
from procmem.view.names import printable

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem diff --help`."""
    made = Parser(
        prog="procmem diff",
        description="Shows what changed from A to B: the regions, their share of VSZ, RSS and page "
        "faults, and the causes.",
        epilog="Exit status: 0, whether or not they differ; 1, one could not be read.",
    )
    for name in ("A", "B"):
        made.add_argument(
            name,
            help="a process ID, or a file: a snapshot, a text of maps or smaps, a core, a saved "
            "tree of /proc; FILE:N is number N of a file that holds several, such as a recording: "
            "FILE:0 the first, FILE:-1 the last",
        )
    made.add_argument(
        "--all",
        action="store_true",
        help="show every region, not just the ten largest and the sum of the others",
    )
    format_options(made)
    made.add_argument(
        "--detail",
        choices=DETAILS,
        default="smaps",
        help="how much detail to read of a live process (default: smaps)",
    )
    made.add_argument(
        "--root",
        default="/proc",
        metavar="DIR",
        help="read another /proc: a container's, or a saved tree",
    )
    table_options(made)
    export_options(made, svg="both side by side, with what changed,")
    options = made.parse_args(argv)
    refuse_with_json(
        made, options, units=IN_BYTES, columns=ALL_FIELDS, all="which has every region"
    )
    if not check_exports("diff", options):
        return 1
    sides: list[Snapshot] = []
    for text in (options.A, options.B):
        try:
            heap = any(one.heap is not None for one in sides)
            sides.append(side(text, options.detail, options.root, heap=heap))
        except ProcmemError as error:
            sys.stderr.write(f"procmem diff: {printable(str(error))}\n")
        except OSError as error:
            # Neither a file nor, as it seems, meant as one.
            sys.stderr.write(f"procmem diff: {printable(text)}: {error.strerror}\n")
    if len(sides) < 2:
        return 1
    found = diff(*sides)
    if options.data:
        try:
            whole = found.to_dict() if options.format == "json" else None
            print_data("diff", options, whole, [({}, found)])
        except BadArgument as error:
            made.error(str(error))
    else:
        try:
            text = diff_table(
                found,
                width=table_columns(),
                every=options.all,
                unit=options.units,
                chosen=options.columns,
            )
        except BadArgument as error:
            made.error(str(error))
        sys.stdout.write(text)
    return draw("diff", options, found.svg)


def side(text: str, detail: str, root: str, *, heap: bool) -> Snapshot:
    """A snapshot of the process that an argument stands for, or the snapshot in a file.

    Args:
        text: the argument.
        detail: how much to read of a live process.
        root: the /proc that it is looked up in.
        heap: whether the other side has a heap, so that this one is of use, too.
    """
    if os.path.isdir(text) and not text.startswith("/proc/"):
        return load(text)
    found = resolve(text, root=root)
    if len(found) > 1:
        pids = ", ".join(str(one.pid) for one in found if isinstance(one, Process))
        raise BadArgument(f"{text} matches processes {pids}: give one PID")
    (one,) = found
    if isinstance(one, Snapshot):
        return one
    with one:
        taken = one.snapshot(detail)
        try:
            return one.with_heap(taken) if heap else taken
        except AccessDenied:
            return taken  # the regions may be read, the memory may not
