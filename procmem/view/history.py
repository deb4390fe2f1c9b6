"""Recordings and changes as text."""

from __future__ import annotations

import time
from textwrap import fill
from typing import TYPE_CHECKING

from procmem.view.columns import columns
from procmem.view.names import printable

if TYPE_CHECKING:
    from typing import Any

    from procmem.history.recording import Recording
    from procmem.moments import Diff

__all__ = ["change_lines", "recording_dict", "recording_summary"]


def recording_dict(recording: Recording, turns: int, cost: float) -> dict[str, Any]:
    """The same as plain values; sizes in bytes."""
    figures = {}
    for figure in ("vsz", "rss", "swap", "page_tables"):
        peak, growth = recording.peak(figure), recording.growth(figure)
        figures[figure] = {
            "peak": peak and peak._asdict(),
            "growth": growth and growth._asdict(),
        }
    return {
        "snapshots": len(recording),
        "seconds": recording.times[-1] if len(recording) else None,
        "looks": turns,
        "cpu_seconds": cost,
        "ended": recording.ended,
        "figures": figures,
        "suspects": [
            {**one._asdict(), "growth": one.growth._asdict()} for one in recording.suspects()
        ],
    }


def recording_summary(recording: Recording, turns: int, cost: float) -> str:
    """What a recording tells: its length, peaks, growth, and what may be a leak."""
    times = [one for one in recording.times if one is not None]
    span = times[-1] if times else 0.0
    head = f"{len(recording):,} snapshots in {span:.1f} s, {turns:,} looks, {cost:.2f} s of CPU"
    lines = [f"{head}; {recording.ended}."]
    rows = []
    for name, figure in (("VSZ", "vsz"), ("RSS", "rss"), ("Page tables", "page_tables")):
        peak, growth = recording.peak(figure), recording.growth(figure)
        if peak is None:
            continue
        last = recording.values(figure)[-1]
        rows.append(
            [
                name,
                kib(recording.values(figure)[0]),
                kib(last),
                kib(peak.value),
                "" if peak.seconds is None else f"{peak.seconds:.1f}",
                "" if growth is None else f"{growth.slope / 1024:+,.1f}",
                "" if growth is None else f"{growth.confidence:.2f}",
            ]
        )
    if rows:
        heading = ["KiB", "First", "Last", "Peak", "At s", "Per second", "Trend"]
        lines.append(columns(heading, rows, "<>>>>>>").rstrip())
    suspects = recording.suspects()
    lines += [
        fill(
            f"Grows without end: {printable(one.name)} ({one.kind}),"
            f" {one.growth.slope / 1024:+,.1f} KiB a second, from {kib(one.growth.first)} to"
            f" {kib(one.growth.last)} KiB (trend {one.growth.confidence:.2f}).",
            80,
            subsequent_indent="  ",
        )
        for one in suspects[:5]
    ]
    return "\n".join(lines) + "\n"


def change_lines(change: Diff) -> str:
    """What changed between two moments, a line for each cause."""
    clock = change.after.clock
    when = "" if clock is None else time.strftime("%H:%M:%S", time.localtime(clock.realtime / 1e9))
    rss = "" if change.rss is None else f"  RSS {change.rss / 1024:+,.0f} KiB"
    faults = f"  faults {change.minor:+,}" if change.minor else ""
    lines = [f"{when}  VSZ {change.vsz / 1024:+,.0f} KiB{rss}{faults}"]
    lines += [
        fill(printable(one.words), 80, initial_indent="  ", subsequent_indent="    ")
        for one in change.explanations
    ]
    return "\n".join(lines) + "\n"


def kib(value: int | None) -> str:
    return "-" if value is None else f"{value >> 10:,}"
