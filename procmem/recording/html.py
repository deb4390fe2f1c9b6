"""Recordings as small static HTML, for notebooks."""

from __future__ import annotations

from procmem.picture.markup import block, details, kib, line, table
from procmem.units import about, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from procmem.picture.markup import Markup

__all__ = ["recording_html"]

FIGURES = {"vsz": "VSZ", "rss": "RSS", "swap": "Swap", "page_tables": "Page tables"}
MOST_SUSPECTS = 10


def recording_html(recording: Any) -> Markup:
    """A recording: RSS over time, first, last and largest values, and what may be a leak.

    Args:
        recording: a Recording.
    """
    if not recording:
        return block("Recording", "No snapshots.")
    last = recording[-1].identity
    whose = "a process" if last.pid is None else f"process {last.pid}"
    if last.comm is not None:
        whose += f" ({last.comm})"
    times = [one for one in recording.times if one is not None]
    said = count(len(recording), "snapshot")
    if times:
        said += f" in {times[-1]:,.1f} s"
    parts: list[str] = [f"{said}{f'; {recording.ended}' if recording.ended else ''}."]
    peak = recording.peak("rss")
    if peak is not None:
        title = f"RSS over {count(len(recording), 'snapshot')}: peak {about(peak.value)}"
        if peak.seconds is not None:
            title += f" at {peak.seconds:.1f} s"
        parts += [title, line(recording.values("rss"), title)]
    rows: list[list[str | None]] = []
    for figure, name in FIGURES.items():
        top, growth, values = recording.peak(figure), recording.growth(figure), None
        if top is None or (figure == "swap" and not top.value):
            continue
        values = recording.values(figure)
        rows.append(
            [
                name,
                kib(values[0]),
                kib(values[-1]),
                kib(top.value),
                "" if growth is None else f"{growth.slope / 1024:+,.1f}",
                "" if growth is None else f"{growth.confidence:.2f}",
            ]
        )
    if rows:
        heading = ["KiB", "First", "Last", "Peak", "Per second", "Trend"]
        parts.append(table(heading, rows, "<>>>>>"))
    if recording.rss_error != 0:
        parts.append("RSS lags: the kernel counts pages in batches for each CPU.")
    suspects = recording.suspects()
    if suspects:
        listed = [
            [one.name, one.kind, kib(one.gained), f"{one.growth.confidence:.2f}"]
            for one in suspects[:MOST_SUSPECTS]
        ]
        summary = f"{count(len(suspects), 'suspected leak')}"
        if len(suspects) > MOST_SUSPECTS:
            summary += f", the first {MOST_SUSPECTS}"
        heading = ["Region", "Kind", "Gained, KiB", "Trend"]
        parts.append(details(summary, table(heading, listed, "<<>>", tones=1)))
    return block(f"Recording of {whose}", *parts)
