"""procmem record: records the memory of a process over time."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time

from procmem.cli.arguments import (
    ABSENT,
    ALL_FIELDS,
    IN_BYTES,
    one_process,
    parser,
    refuse_with_json,
    table_options,
)
from procmem.cli.exports import check_exports, draw, export_options, exported
from procmem.cli.formats import STREAMED, force_option, print_data, print_streamed
from procmem.cli.progress import Progress, silence
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument, ParseError
from procmem.recording.packed import figures_of
from procmem.recording.recorder import DETAILS, Recorder
from procmem.recording.recording import FigureRows, Recording
from procmem.snapshots.output import check_output
from procmem.units import kib
from procmem.view.names import printable
from procmem.view.recording import chosen_figures, recording_dict, recording_summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from procmem.process import Process
    from procmem.snapshots import Snapshot
    from procmem.snapshots.moment import Clock

__all__ = ["main", "seconds"]

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """A duration such as "100ms", "0.5s", "2m", "1h", or a number of seconds; returns seconds."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|s|m|h)?", text)
    if not found or not float(found[1]):
        raise ValueError(text)
    return float(found[1]) * UNITS[found[2] or "s"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem record --help`."""
    made = parser(
        "record",
        "Takes a snapshot of a process whenever its memory has changed, until it exits or Ctrl-C, "
        "and then reports peaks, growth, and what may be a leak.",
        pids="?",
        output=False,
    )
    made.add_argument(
        "-o", "--output", metavar="FILE",
        help="the file to write; it stays readable if procmem is killed. An existing snapshot or "
            "recording is overwritten, any other file only with --force",
    )  # fmt: skip
    force_option(made, "-o")
    made.add_argument("--report", metavar="FILE", help="record nothing; report on this recording")
    made.add_argument(
        "--every", type=seconds, default=0.1, metavar="TIME",
        help="how often to check the process: 100ms (default), 2s, 1m",
    )  # fmt: skip
    made.add_argument(
        "--for", type=seconds, dest="span", metavar="TIME", help="stop after this time"
    )
    made.add_argument(
        "--detail", choices=("auto", *DETAILS), default="auto",
        help="how much to read of each region; auto (default): as much as --share allows",
    )  # fmt: skip
    made.add_argument(
        "--share", type=float, default=2.0, metavar="PERCENT",
        help="how much of one CPU recording may use (default: 2)",
    )  # fmt: skip
    made.add_argument(
        "--heap", action="store_true", default=None,
        help="read what malloc and Python hold in the first and the last snapshot whatever that "
            "costs; otherwise as much as --share allows",
    )  # fmt: skip
    made.add_argument("--quiet", action="store_true", help="do not print progress to stderr")
    table_options(made)
    export_options(
        made, svg="RSS by kind of region over time", perfetto="the figures over time and the causes"
    )
    asked = made.parse_args(argv)
    refuse_with_json(made, asked, units=IN_BYTES, columns=ALL_FIELDS)
    if asked.quiet:
        silence()
    try:
        if asked.data:
            print_streamed(FigureRows([], None), asked, heading=False)
        else:
            chosen_figures(asked.columns)
    except BadArgument as error:
        made.error(printable(str(error)))
    exports = asked.svg is not None or asked.perfetto is not None
    if asked.report is not None:
        if asked.pid is not ABSENT or asked.output is not None or asked.heap:
            made.error("--report cannot be combined with a PID, -o or --heap")
        if asked.force and not exports:
            made.error("--report writes nothing: --force needs --svg FILE or --perfetto FILE")
        return report(asked) if check_exports("record", asked) else 1
    if asked.pid is ABSENT or asked.output is None:
        made.error("give a PID and -o FILE, or --report FILE")
    try:
        check_output(asked.output, force=asked.force)
    except OSError as error:
        complain(asked.output, error.strerror or str(error))
        return 1
    if not check_exports("record", asked):
        return 1
    return record(asked, one_process(made, asked.pid, asked.root))


def record(asked: Namespace, process: Process) -> int:
    try:
        recorder = Recorder(
            process, every=asked.every, path=asked.output,
            detail=asked.detail, share=asked.share / 100, force=asked.force,
            heap=asked.heap,
        )  # fmt: skip
    except OSError as error:
        complain(asked.output, error.strerror or str(error))
        return 1
    rows = SnapshotRows(asked)
    rows.show(recorder, recorder.last)
    status = 0
    what = f"recording {process.pid}"
    mine = process.pid == os.getpid()
    shown = Progress(what, delay=0.25, light=mine)
    with stopped_by_signals(recorder) as received, shown:
        try:

            def each(recorder: Recorder, snapshot: Snapshot | None) -> None:
                show_progress(shown, recorder, snapshot)
                rows.show(recorder, snapshot)

            recording = recorder.run(asked.span, each)
        except OSError as error:
            complain(asked.output, error.strerror or str(error))
            status, recorder.ended = 1, "the file could not be written"
            recording = recorder.recording
        finally:
            recorder.close()
    if received:
        recording.ended = "interrupted" if signal.SIGINT in received else "terminated"
    if not rows.streams:
        show(recording, asked, recorder.turns, recorder.cost)
    return export(recording, asked) or status


def show_progress(shown: Progress, recorder: Recorder, _: Snapshot | None) -> None:
    """How long it has lasted, what was taken, and what that costs."""
    spent = max(time.monotonic() - shown.begun, 1e-3)
    rss, mark = recorder.last.rss, "~" if recorder.last.rss_error != 0 else ""
    shown.show(
        what=f"{recorder.taken:,} snapshots,"
        f" {'' if rss is None else f'RSS {mark}{kib(rss)}, '}"
        f"{100 * recorder.cost / spent:.1f} % of a CPU"
    )


class SnapshotRows:
    """Prints a row for each snapshot as it is taken, with --format csv or jsonl."""

    def __init__(self, asked: Namespace) -> None:
        self.streams = asked.format in STREAMED
        self._asked = asked
        self._clock: Clock | None = None
        self._number = 0

    def show(self, _: Recorder, snapshot: Snapshot | None) -> None:
        """Prints the row of a snapshot; None: none was taken."""
        if not self.streams or snapshot is None:
            return
        if not self._number:
            self._clock = snapshot.clock
        rows = FigureRows([figures_of(snapshot)], self._clock, self._number)
        print_streamed(rows, self._asked, heading=not self._number)
        self._number += 1


def report(asked: Namespace) -> int:
    """Prints the report on a recording; if it is damaged, on its intact part."""
    path, status = asked.report, 0
    try:
        recording = Recording.load(path)
    except ParseError as fault:
        recording = Recording.load(path, damaged=True)
        sys.stderr.write(f"procmem record: {printable(str(fault))}\n")
        status = 1
    except OSError as error:
        complain(path, error.strerror or "")
        return 1
    show(recording, asked)
    return export(recording, asked) or status


def export(recording: Recording, asked: Namespace) -> int:
    """Writes the files that were asked for beside the report; returns the exit status."""
    status = draw("record", asked, recording.svg)
    if asked.perfetto is not None:
        try:
            with exported(asked, "perfetto") as file:
                recording.to_perfetto(file)
        except OSError as error:
            complain(asked.perfetto, error.strerror or str(error))
            status = 1
        except BadArgument as error:
            complain(asked.perfetto, str(error))
            status = 1
    return status


def show(
    recording: Recording, asked: Namespace, turns: int | None = None, cost: float | None = None
) -> None:
    if asked.format == "json":
        print_data("record report", asked, recording_dict(recording, turns, cost))
    elif asked.data:
        print_data("record report", asked, None, [({}, recording)])
    else:
        text = recording_summary(
            recording,
            turns,
            cost,
            unit=asked.units,
            chosen=asked.columns,
            width=table_columns(),
        )
        sys.stdout.write(text)


def complain(path: str, reason: str) -> None:
    sys.stderr.write(f"procmem record: {printable(path)}: {reason}\n")


@contextlib.contextmanager
def stopped_by_signals(recorder: Recorder) -> Iterator[set[int]]:
    """Makes Ctrl-C and SIGTERM end the recording after the current snapshot; a second one at once.

    Yields the set of signals received.
    """
    received: set[int] = set()
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: object) -> None:
        received.add(number)
        recorder.ask_to_stop()
        signal.signal(number, old[signal.Signals(number)])

    for number, was in old.items():
        if was != signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield received
    finally:
        for number, was in old.items():
            signal.signal(number, was)
