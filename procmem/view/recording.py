"""Recordings and changes as text."""

from __future__ import annotations

import time
from collections import Counter
from textwrap import fill

from procmem.recording.wording import place_words, suspect_words
from procmem.units import about, approximate, count, in_unit, signed, unit_name
from procmem.view.colours import by_kind
from procmem.view.columns import Column, fitted, known, narrowed
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from procmem.recording.recording import Recording
    from procmem.recording.suspects import Suspect
    from procmem.snapshots import Diff, Snapshot

__all__ = ["change_lines", "chosen_figures", "ended_line", "recording_dict", "recording_summary"]


MOST_TOLD = 5
"""How many suspected leaks are described in words."""

FIGURES = (
    ("VSZ", "vsz"),
    ("RSS", "rss"),
    ("Swap", "swap"),
    ("Huge pages", "anon_huge_pages"),
    ("KSM", "ksm"),
    ("Page tables", "page_tables"),
)
SELDOM = {"swap", "anon_huge_pages", "ksm"}
"""Figures without a row if they are 0 all the time."""


def recording_dict(
    recording: Recording, turns: int | None = None, cost: float | None = None
) -> dict[str, Any]:
    """The report on a recording as plain values; sizes in bytes.

    Args:
        recording: the recording.
        turns: how often the process was checked; None: unknown.
        cost: CPU seconds that recording took; None: unknown.
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
        "last_full": recording.last_full,
        "rss_error": recording.rss_error if recording else None,
        "suspects": [
            {
                **one._asdict(),
                "growth": one.growth._asdict(),
                "places": [place._asdict() for place in one.places],
                "heap": one.heap and one.heap._asdict(),
            }
            for one in recording.suspects()
        ],
    }


COLUMNS = (
    Column("figure", "KiB"),
    Column("first", "First", ">", 2),
    Column("last", "Last", ">"),
    Column("peak", "Peak", ">", 1),
    Column("at", "At s", ">", 5),
    Column("per_second", "Per second", ">", 3),
    Column("trend", "Trend", ">", 4),
)


def chosen_figures(chosen: Sequence[str] | None) -> None:
    """Checks the keys of columns before a recording begins.

    Raises:
        BadArgument: there is no such column.
    """
    for key in chosen or ():
        known(key, [column.key for column in COLUMNS], "column")


def recording_summary(
    recording: Recording,
    turns: int | None = None,
    cost: float | None = None,
    *,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
    width: int | None = None,
) -> str:
    """The report on a recording as text: its length, peaks, growth, and what may be a leak.

    Args:
        recording: the recording.
        turns: how often the process was checked; None: unknown.
        cost: CPU seconds that recording took; None: unknown.
        unit: of the table's sizes, one of units.UNITS.
        chosen: keys of the table's columns to show, in their order; None: all.
        width: cells per line; None: as many as needed.

    Raises:
        BadArgument: there is no such column.
    """
    figure_of = in_unit(unit)
    times = [one for one in recording.times if one is not None]
    span = times[-1] if times else 0.0
    lines = [beginning(recording[-1])] if recording else []
    head = f"{count(len(recording), 'snapshot')} in {span:.1f} s"
    if turns is not None and cost is not None:
        head += f", {count(turns, 'look')}, {cost:.2f} s of CPU"
    end = f"; {recording.ended}" if recording.ended else ""
    most = MOST_WIDE if width is None else max(LEAST_WIDE, min(width, MOST_WIDE))
    lines.append(fill(f"{head}{end}.", most, subsequent_indent="  "))
    rows: list[list[str]] = []
    error = recording.rss_error
    for name, figure in FIGURES:
        peak, growth = recording.peak(figure), recording.growth(figure)
        if peak is None or (figure in SELDOM and not peak.value):
            continue
        last = recording.values(figure)[-1]
        rows.append(
            [
                name if figure != "rss" or error == 0 else f"~{name}",
                figure_of(recording.values(figure)[0]),
                figure_of(last),
                figure_of(peak.value),
                "" if peak.seconds is None else f"{peak.seconds:.1f}",
                "" if growth is None else rate(growth.slope, unit),
                "" if growth is None else f"{growth.confidence:.2f}",
            ]
        )
    text = narrowed("\n".join(lines) + "\n", width)
    if rows:
        made = [COLUMNS[0]._replace(title=unit_name(unit) or "Size"), *COLUMNS[1:]]
        text += fitted(made, rows, width=width, chosen=chosen)
    lines = []
    if error != 0:
        by = "" if error is None else f" by up to {about(error)}"
        lines.append(
            fill(
                f"~: the kernel's count of pages lags{by}; RSS is exact where regions were "
                "measured.",
                most,
                subsequent_indent="  ",
            )
        )
    lines += unmeasured_lines(recording)
    suspects = recording.suspects()
    for one in suspects[:MOST_TOLD]:
        lines += suspect_lines(one, most)
    if len(suspects) > MOST_TOLD:
        lines.append(f"{len(suspects) - MOST_TOLD} more; --json lists all.")
    said = narrowed("".join(f"{line}\n" for line in lines), width)
    for one in suspects[:MOST_TOLD]:
        # The escape sequences take no cells, so they come last.
        said = said.replace(f"({one.kind})", f"({by_kind(one.kind, one.kind)})", 1)
    return text + said


def rate(slope: float, unit: str) -> str:
    """Bytes per second, with a sign."""
    if unit == "human":
        return ("+" if slope >= 0 else "-") + in_unit(unit)(round(abs(slope)))
    return f"{slope / {'B': 1, 'KiB': 1 << 10, 'MiB': 1 << 20, 'GiB': 1 << 30}[unit]:+,.1f}"


def unmeasured_lines(recording: Recording) -> list[str]:
    """Which snapshot to compare with the first one, if the last one has fewer details."""
    last = recording.last_full
    if last is None or last == len(recording) - 1:
        return []
    when = recording.times[last]
    at = "" if when is None else f" of {when:.1f} s"
    text = (
        f"The process ended by itself, so the last snapshot with all details is number {last}{at}. "
        f"Compare FILE:0 with FILE:{last}."
    )
    return [fill(text, 80, subsequent_indent="  ")]


MOST_WIDE, LEAST_WIDE = 80, 20
"""Cells of a line of sentences."""


def suspect_lines(one: Suspect, width: int) -> list[str]:
    """What grew, where, since when and how fast, and what it may be."""
    lines = [fill(suspect_words(one), width, subsequent_indent="  ")]
    lines += [
        fill(where, width, initial_indent="  ", subsequent_indent="    ")
        for where in place_words(one)
    ]
    return lines


def beginning(last: Snapshot) -> str:
    """A line that names the process, by the last program it ran."""
    identity, clock = last.identity, last.clock
    whose = "A process" if identity.pid is None else f"Process {identity.pid}"
    name = "" if identity.comm is None else f" ({printable(identity.comm)})"
    when = "" if clock is None else time.strftime(
        ", until %Y-%m-%d %H:%M:%S", time.localtime(clock.realtime / 1e9)
    )  # fmt: skip
    return f"{whose}{name}{when}"


def ended_line(ended: str) -> str:
    """A line that the process has ended, with the current time."""
    return f"{time.strftime('%H:%M:%S')}  {ended}\n"


def change_lines(change: Diff, width: int = 80) -> str:
    """What changed between two snapshots, a line for each cause.

    Args:
        change: the difference.
        width: cells per line, after which they are wrapped.
    """
    clock = change.after.clock
    when = "" if clock is None else time.strftime("%H:%M:%S", time.localtime(clock.realtime / 1e9))
    rss = ""
    if change.rss is not None:
        rss = f"  RSS {approximate(signed(change.rss), change.rss_error)}"
    faults = f"  faults {change.minor:+,}" if change.minor else ""
    lines = [f"{when}  VSZ {signed(change.vsz)}{rss}{faults}"]
    lines += [
        fill(printable(one.words), width, initial_indent="  ", subsequent_indent="    ")
        for one in change.explanations
    ]
    return "\n".join(lines) + "\n"
