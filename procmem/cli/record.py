"""procmem record: a process's memory through time, written to a file."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

from procmem.cli.arguments import parser
from procmem.history.recorder import DETAILS, Recorder
from procmem.history.recording import Recording
from procmem.process import Process
from procmem.view.history import recording_dict, recording_summary
from procmem.view.json import json_text

if TYPE_CHECKING:
    from procmem.moments import Snapshot

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
        "Takes a snapshot of a process whenever its memory has changed, until it ends or Ctrl-C.",
        pids="1",
    )
    made.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="write there; nothing is lost if killed",
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
    asked = made.parse_args(argv)
    recorder = Recorder(
        Process(asked.pid, root=asked.root), every=asked.every, path=asked.output,
        detail=asked.detail, share=asked.share / 100,
    )  # fmt: skip
    progress = Progress(not asked.quiet and sys.stderr.isatty())
    try:
        recorder.run(asked.span, progress.show)
    except KeyboardInterrupt:
        recorder.ended = "interrupted"
    finally:
        progress.clear()
        recorder.close()
    recording = Recording.load(asked.output)
    recording.ended = recorder.ended
    if asked.json:
        sys.stdout.write(json_text(recording_dict(recording, recorder.turns, recorder.cost)))
    else:
        sys.stdout.write(recording_summary(recording, recorder.turns, recorder.cost))
    return 0


class Progress:
    """One line on a terminal, a few times a second."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        self._begun = self._last = time.monotonic()

    def show(self, recorder: Recorder, _: Snapshot | None) -> None:
        """Called at each turn."""
        now = time.monotonic()
        if not self.shown or now - self._last < 0.25 or recorder.last is None:
            return
        self._last = now
        spent = now - self._begun
        rss = recorder.last.rss
        sys.stderr.write(
            f"\r\x1b[K{spent:.0f} s, {recorder.taken:,} snapshots,"
            f" {'' if rss is None else f'RSS {rss >> 10:,} KiB, '}"
            f"{100 * recorder.cost / spent:.1f} % of a CPU"
        )
        sys.stderr.flush()

    def clear(self) -> None:
        """Takes the line away."""
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
