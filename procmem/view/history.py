"""Recordings and changes as text."""

from __future__ import annotations

import time
from collections import Counter
from textwrap import fill
from typing import TYPE_CHECKING

from procmem.view.columns import columns
from procmem.view.names import printable

if TYPE_CHECKING:
    from typing import Any

    from procmem.history.recording import Recording
    from procmem.moments import Diff, Snapshot

__all__ = ["change_lines", "ended_line", "recording_dict", "recording_summary"]


MOST_TOLD = 5
"""Suspects that are told of in words."""

FIGURES = (("VSZ", "vsz"), ("RSS", "rss"), ("Swap", "swap"), ("Page tables", "page_tables"))


def recording_dict(
    recording: Recording, turns: int | None = None, cost: float | None = None
) -> dict[str, Any]:
    """What a recording tells, as plain values; sizes in bytes.

    Args:
        recording: it.
        turns: looks; None: not known.
        cost: CPU seconds that recording took; None: not known.
    """
    figures = {}
    for _, figure in FIGURES:
        peak, growth = recording.peak(figure), recording.growth(figure)
        figures[figure] = {
            "peak": peak and peak._asdict(),
            "growth": growth and growth._asdict(),
        }
    identity = recording[-1].identity if recording else None
    return {
        "identity": identity and identity._asdict(),
        "snapshots": len(recording),
        "details": dict(Counter(recording.details)),
        "seconds": recording.times[-1] if recording else None,
        "looks": turns,
        "cpu_seconds": cost,
        "ended": recording.ended,
        "figures": figures,
        "suspects": [
            {**one._asdict(), "growth": one.growth._asdict()} for one in recording.suspects()
        ],
    }


def recording_summary(
    recording: Recording, turns: int | None = None, cost: float | None = None
) -> str:
    """What a recording tells: its length, peaks, growth, and what may be a leak."""
    times = [one for one in recording.times if one is not None]
    span = times[-1] if times else 0.0
    lines = [beginning(recording[-1])] if recording else []
    head = f"{counted(len(recording), 'snapshot')} in {span:.1f} s"
    if turns is not None and cost is not None:
        head += f", {counted(turns, 'look')}, {cost:.2f} s of CPU"
    end = f"; {recording.ended}" if recording.ended else ""
    lines.append(fill(f"{head}{end}.", 80, subsequent_indent="  "))
    rows = []
    for name, figure in FIGURES:
        peak, growth = recording.peak(figure), recording.growth(figure)
        if peak is None or (figure == "swap" and not peak.value):
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
            f"Grows without end{' (its size alone)' if one.figure == 'size' else ''}:"
            f" {printable(one.name)} ({one.kind}),"
            f" {one.growth.slope / 1024:+,.1f} KiB a second, from {kib(one.growth.first)} to"
            f" {kib(one.growth.last)} KiB (trend {one.growth.confidence:.2f}).",
            80,
            subsequent_indent="  ",
        )
        for one in suspects[:MOST_TOLD]
    ]
    if len(suspects) > MOST_TOLD:
        lines.append(f"{len(suspects) - MOST_TOLD} more: --json tells of all.")
    return "\n".join(lines) + "\n"


def beginning(last: Snapshot) -> str:
    """Whose recording it is; a process is known by its last program."""
    identity, clock = last.identity, last.clock
    whose = "A process" if identity.pid is None else f"Process {identity.pid}"
    name = "" if identity.comm is None else f" ({printable(identity.comm)})"
    when = "" if clock is None else time.strftime(
        ", until %Y-%m-%d %H:%M:%S", time.localtime(clock.realtime / 1e9)
    )  # fmt: skip
    return f"{whose}{name}{when}"


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def ended_line(ended: str) -> str:
    """That a process has ended, with the time of now."""
    return f"{time.strftime('%H:%M:%S')}  {ended}\n"


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
