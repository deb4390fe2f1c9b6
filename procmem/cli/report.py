"""procmem report: the memory of a process as one HTML file, to be opened in a browser or sent."""

from __future__ import annotations

import os
import sys

from procmem.cli.arguments import Parser, subject
from procmem.cli.diff import side
from procmem.cli.formats import force_option
from procmem.errors import BadArgument, ParseError, ProcmemError
from procmem.picture.embedded import is_report
from procmem.process import Process
from procmem.process.finding import resolve
from procmem.recording.recording import Recording
from procmem.snapshots import diff
from procmem.snapshots.output import MAGIC
from procmem.snapshots.reporting import check_report
from procmem.units import about
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.snapshots import Diff, Snapshot

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem report --help`."""
    made = Parser(
        prog="procmem report",
        description="Writes a report as one HTML file, which any browser opens without a network: "
        "where the "
        "memory is, the address space, the pages, how the totals reconcile; of a recording RSS "
        "over time with "
        "its peak, what changed in any range and why, and what may be a leak; of two snapshots "
        "what changed.",
    )
    made.add_argument(
        "what", metavar="PID|FILE", nargs="+", type=subject,
        help='a process ID, a name, "self", a snapshot, a recording, number N of a recording '
             '(FILE:N), a core, a text '
        "of maps or smaps; or two of them (A B): what changed from the one to the other",
    )  # fmt: skip
    made.add_argument(
        "-o", "--output", metavar="FILE",
        help="the file to write (default: a name such as procmem-1234.html in this directory). An "
             "existing report "
        "is overwritten, any other file only with --force",
    )  # fmt: skip
    made.add_argument(
        "--trace", metavar="FILE",
        help="of a recording: show the memory calls that the process made meanwhile, too. FILE is "
             "what procmem trace --json -o FILE wrote",
    )  # fmt: skip
    force_option(made, "-o")
    made.add_argument(
        "--root", default="/proc", metavar="DIR",
        help="read another /proc: a container's, or a saved tree",
    )  # fmt: skip
    options = made.parse_mixed(argv)
    if len(options.what) > 2:
        made.error("give one process or file, or two snapshots to compare")
    if options.output is not None:
        try:
            check_report(options.output, force=options.force)
        except OSError as error:
            return complain(options.output, error)
    status = 0
    try:
        subject_, status = asked(options.what, options.root)
        if options.trace is None:
            path = subject_.report(options.output, force=options.force)
        elif isinstance(subject_, Recording):
            path = subject_.report(options.output, trace=options.trace, force=options.force)
        else:
            raise BadArgument("--trace needs a recording of several snapshots")
    except (ProcmemError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, ProcmemError):
            return complain(os.fsdecode(error.filename or options.output or "report"), error)
        sys.stderr.write(f"procmem report: {printable(str(error))}\n")
        return 1
    if os.path.isfile(path):  # with --force it may be a pipe
        size = about(os.path.getsize(path))
        sys.stdout.write(f"{printable(path)}: {size}. Open it in a browser.\n")
    return status


def asked(words: Sequence[str], root: str) -> tuple[Process | Snapshot | Recording | Diff, int]:
    """What the report is of, and the exit status so far."""
    if len(words) == 2:
        before = side(words[0], "smaps", root, heap=False)
        return diff(before, side(words[1], "smaps", root, heap=before.heap is not None)), 0
    (word,) = words
    if is_recording(word):
        try:
            recording = Recording.load(word)
        except ParseError as fault:
            recording = Recording.load(word, damaged=True)
            sys.stderr.write(f"procmem report: {printable(str(fault))}\n")
            return recording, 1
        return (recording if len(recording) > 1 else recording[0]), 0
    found = resolve(word, root=root)
    if len(found) > 1:
        pids = ", ".join(str(one.pid) for one in found if isinstance(one, Process))
        raise BadArgument(f"{word} matches processes {pids}: give one PID")
    return found[0], 0


def is_recording(word: str) -> bool:
    """Whether a word names a file that may hold several snapshots."""
    if not os.path.isfile(word):
        return False
    with open(word, "rb") as file:
        start = file.read(64)
    return start.startswith(MAGIC) or is_report(start)


def complain(path: str, error: OSError) -> int:
    """Prints why a file cannot be written; returns the exit status."""
    sys.stderr.write(f"procmem report: {printable(path)}: {error.strerror}\n")
    return 1
