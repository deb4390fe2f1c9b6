"""procmem record: a process's memory through time, written to a file."""

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
    FORCE,
    IN_BYTES,
    one_process,
    parser,
    refuse_with_json,
    table_options,
)
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument, ParseError
from procmem.recording.recorder import DETAILS, Recorder
from procmem.recording.recording import Recording
from procmem.snapshots.output import check_output
from procmem.units import kib
from procmem.view.json import json_text
from procmem.view.names import printable
from procmem.view.recording import chosen_figures, recording_dict, recording_summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from procmem.process import Process
    from procmem.snapshots import Snapshot

__all__ = ["main", "seconds"]

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """A span of time: "100ms", "0.5s", "2m", "1h", or plain seconds."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|s|m|h)?", text)
    if not found or not float(found[1]):
        raise ValueError(text)
    return float(found[1]) * UNITS[found[2] or "s"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem record --help`."""
    made = parser(
        "record",
        "Takes a snapshot of a process whenever its memory has changed, until it ends or Ctrl-C; "
        "then tells peaks, growth, and what may be a leak.",
        pids="?",
    )
    made.add_argument(
        "-o", "--output", metavar="FILE",
        help="write there; nothing is lost if killed. A snapshot or recording that is there is "
        "overwritten, any other file only with --force",
    )  # fmt: skip
    made.add_argument("--force", action="store_true", help=FORCE)
    made.add_argument(
        "--report", metavar="FILE", help="record nothing: tell of a recording that was made before"
    )
    made.add_argument(
        "--every", type=seconds, default=0.1, metavar="TIME",
        help="from look to look: 100ms (default), 2s, 1m",
    )  # fmt: skip
    made.add_argument("--for", type=seconds, dest="span", metavar="TIME", help="end after that")
    made.add_argument(
        "--detail", choices=("auto", *DETAILS), default="auto",
        help="of the regions; auto (default): the richest that stays below --share",
    )  # fmt: skip
    made.add_argument(
        "--share", type=float, default=2.0, metavar="PERCENT",
        help="of one CPU that recording may take (2)",
    )  # fmt: skip
    made.add_argument("--quiet", action="store_true", help="no progress on stderr")
    table_options(made)
    asked = made.parse_args(argv)
    refuse_with_json(made, asked, units=IN_BYTES, columns=ALL_FIELDS)
    try:
        chosen_figures(asked.columns)
    except BadArgument as error:
        made.error(printable(str(error)))
    if asked.report is not None:
        if asked.pid is not ABSENT or asked.output is not None or asked.force:
            made.error("--report takes a recording, and neither a PID, nor -o or --force")
        return report(asked)
    if asked.pid is ABSENT or asked.output is None:
        made.error("it needs a PID and -o FILE, or --report FILE")
    try:
        check_output(asked.output, force=asked.force)
    except OSError as error:
        complain(asked.output, error.strerror or str(error))
        return 1
    return record(asked, one_process(made, asked.pid, asked.root))


def record(asked: Namespace, process: Process) -> int:
    try:
        recorder = Recorder(
            process, every=asked.every, path=asked.output,
            detail=asked.detail, share=asked.share / 100, force=asked.force,
        )  # fmt: skip
    except OSError as error:
        complain(asked.output, error.strerror or str(error))
        return 1
    progress = Progress(not asked.quiet and sys.stderr.isatty())
    status = 0
    with stopped_by_signals(recorder) as received:
        try:
            recording = recorder.run(asked.span, progress.show)
        except OSError as error:
            complain(asked.output, error.strerror or str(error))
            status, recorder.ended = 1, "it could not be written any more"
            recording = recorder.recording
        finally:
            progress.clear()
            recorder.close()
    if received:
        recording.ended = "interrupted" if signal.SIGINT in received else "terminated"
    show(recording, asked, recorder.turns, recorder.cost)
    return status


def report(asked: Namespace) -> int:
    """Tells of a recording; of a damaged one, what is whole."""
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
    return status


def show(
    recording: Recording, asked: Namespace, turns: int | None = None, cost: float | None = None
) -> None:
    if asked.json:
        sys.stdout.write(json_text(recording_dict(recording, turns, cost)))
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
    """Ctrl-C and SIGTERM end the recording after a whole snapshot; a second one at once.

    Gives those that came.
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


class Progress:
    """One line on a terminal, a few times a second."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        self._begun = self._last = time.monotonic()

    def show(self, recorder: Recorder, _: Snapshot | None) -> None:
        """Called at each turn."""
        now = time.monotonic()
        if not self.shown or now - self._last < 0.25:
            return
        self._last = now
        spent = now - self._begun
        rss, mark = recorder.last.rss, "~" if recorder.last.rss_error != 0 else ""
        text = (
            f"{spent:.0f} s, {recorder.taken:,} snapshots,"
            f" {'' if rss is None else f'RSS {mark}{kib(rss)}, '}"
            f"{100 * recorder.cost / spent:.1f} % of a CPU"
        )
        self._rewrite(text)

    def clear(self) -> None:
        """Takes the line away."""
        self._rewrite("")

    def _rewrite(self, text: str) -> None:
        if self.shown:
            try:
                width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
                sys.stderr.write(f"\r\x1b[K{text[: width - 1]}")
                sys.stderr.flush()
            except OSError:  # the terminal has gone; the recording goes on
                self.shown = False
