"""The report of an hour's recording against reading its figures; its size; a frame of its chart."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.compare import FULL, Row, Skip, compare, timed
from benchmarks.targets import CantMeasure, Target, workshop
from procmem import MissingExtra, Recording, record
from procmem.snapshots.output import MAGIC
from procmem.snapshots.saved import frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.compare import Effort

__all__ = ["reports"]

REGIONS = 300
HOUR = 36_000
LARGEST = 6_000_000
"""Bytes that a report may have."""

CHROMIUM = "/usr/bin/chromium"

PAN = """async () => {
  const {range, seconds} = procmemReport.time;
  const [start, end] = [seconds[0], seconds.at(-1)], shown = (end - start) / 4;
  const times = [];
  let last = performance.now();
  for (let step = 0; step < 90; step++) {
    const from = start + step * shown / 45;
    range.setv({start: from, end: from + shown});
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push((now - last) / 1000);
    last = now;
  }
  return times;
}"""
"""Moves a window of a quarter of the recording over half of it; seconds of each frame."""


def reports(effort: Effort) -> Iterator[Row | Skip]:
    """Recording.report() against Recording.load() and values() of every figure."""
    count = HOUR if effort is FULL else 200
    recorded = workshop() / "hour.rec"
    page = workshop() / "hour.html"
    lengthen(recorded, count)
    try:
        Recording.load(recorded).report(page)
    except MissingExtra as error:
        raise CantMeasure(str(error)) from None
    subject = f"report() of {count:,} snapshots, loading included"
    samples = {
        subject: timed(partial(whole, recorded, page), effort),
        "load() and every figure": timed(partial(figures, recorded), effort),
    }
    found = compare("reports", REGIONS, samples, effort)
    yield found.row(subject, "load() and every figure", 1.5 if effort is FULL else None)
    size = page.stat().st_size
    yield Row(
        "reports", REGIONS, f"the file of {count:,} snapshots", "6 MB", "B", size, LARGEST,
        size / LARGEST, size / LARGEST, size / LARGEST, 1, 1.0,
    )  # fmt: skip
    yield from panning(page, count)


def lengthen(path: Path, count: int) -> None:
    """A recording of so many snapshots at 100 ms, of a process that changes, by real ones."""
    with Target(REGIONS, changing=20) as target, record(target.pid, every=0.02, share=0.5) as made:
        time.sleep(5.0 if count == HOUR else 1.0)
    taken = list(made.recording)
    clock = taken[0].clock
    assert clock is not None
    with path.open("wb") as file:
        file.write(MAGIC)
        for number in range(count):
            at = clock.monotonic + number * 100_000_000
            one = replace(taken[number * len(taken) // count], clock=clock._replace(monotonic=at))
            file.write(frame(one, quick=True))


def whole(recorded: Path, page: Path) -> None:
    Recording.load(recorded).report(page)


def figures(recorded: Path) -> list[object]:
    recording = Recording.load(recorded)
    return [recording.values(name) for name in ("vsz", "rss", "swap", "page_tables")]


def panning(page: Path, count: int) -> Iterator[Row | Skip]:
    """The time of a frame while the chart is moved, in Debian's chromium without a GPU."""
    what = f"a frame while panning {count:,} samples"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        yield Skip("reports", what, "playwright is not installed")
        return
    if not os.access(CHROMIUM, os.X_OK):
        yield Skip("reports", what, f"{CHROMIUM} is not installed")
        return
    with tempfile.TemporaryDirectory() as home, sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000,
            env={**os.environ, "HOME": home, "TMPDIR": home},
        )  # fmt: skip
        opened = browser.new_page(viewport={"width": 1200, "height": 900})
        opened.goto(page.as_uri())
        while not opened.evaluate("globalThis.procmemReport?.ready"):
            opened.wait_for_timeout(50)
        times = opened.evaluate(PAN)
        browser.close()
    ratios = [one * 60 for one in times]
    yield Row(
        "reports", REGIONS, what, "a 60th of a second", "s", median(times), 1 / 60,
        median(ratios), min(ratios), max(ratios), len(times), None,
    )  # fmt: skip
