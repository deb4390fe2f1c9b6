"""Recordings and changes as text."""

from __future__ import annotations

import time
from collections import Counter
from textwrap import fill
from typing import TYPE_CHECKING

from procmem.units import about, approximate, count, in_unit, signed
from procmem.view.columns import columns
from procmem.view.names import printable

if TYPE_CHECKING:
    from typing import Any

    from procmem.recording.recording import Place, Recording, Suspect
    from procmem.snapshots import Diff, Snapshot

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
        "last_full": recording.last_full,
        "rss_error": recording.rss_error if recording else None,
        "suspects": [
            {
                **one._asdict(),
                "growth": one.growth._asdict(),
                "places": [place._asdict() for place in one.places],
            }
            for one in recording.suspects()
        ],
    }


def recording_summary(
    recording: Recording, turns: int | None = None, cost: float | None = None
) -> str:
    """What a recording tells: its length, peaks, growth, and what may be a leak."""
    times = [one for one in recording.times if one is not None]
    span = times[-1] if times else 0.0
    lines = [beginning(recording[-1])] if recording else []
    head = f"{count(len(recording), 'snapshot')} in {span:.1f} s"
    if turns is not None and cost is not None:
        head += f", {count(turns, 'look')}, {cost:.2f} s of CPU"
    end = f"; {recording.ended}" if recording.ended else ""
    lines.append(fill(f"{head}{end}.", 80, subsequent_indent="  "))
    rows: list[list[str]] = []
    error, in_kib = recording.rss_error, in_unit()
    for name, figure in FIGURES:
        peak, growth = recording.peak(figure), recording.growth(figure)
        if peak is None or (figure == "swap" and not peak.value):
            continue
        last = recording.values(figure)[-1]
        rows.append(
            [
                name if figure != "rss" or error == 0 else f"~{name}",
                in_kib(recording.values(figure)[0]),
                in_kib(last),
                in_kib(peak.value),
                "" if peak.seconds is None else f"{peak.seconds:.1f}",
                "" if growth is None else f"{growth.slope / 1024:+,.1f}",
                "" if growth is None else f"{growth.confidence:.2f}",
            ]
        )
    if rows:
        heading = ["KiB", "First", "Last", "Peak", "At s", "Per second", "Trend"]
        lines.append(columns(heading, rows, "<>>>>>>").rstrip())
    if error != 0:
        by = "" if error is None else f" by up to {about(error)}"
        lines.append(
            fill(
                f"~: the kernel's count of pages lags{by}; RSS is exact where regions were "
                "measured.",
                80,
                subsequent_indent="  ",
            )
        )
    lines += unmeasured_lines(recording)
    suspects = recording.suspects()
    for one in suspects[:MOST_TOLD]:
        lines += suspect_lines(one)
    if len(suspects) > MOST_TOLD:
        lines.append(f"{len(suspects) - MOST_TOLD} more: --json has all.")
    return "\n".join(lines) + "\n"


def unmeasured_lines(recording: Recording) -> list[str]:
    """Which snapshot to compare the first with, where the last one lacks its detail."""
    last = recording.last_full
    if last is None or last == len(recording) - 1:
        return []
    when = recording.times[last]
    at = "" if when is None else f" of {when:.1f} s"
    text = (
        f"The last snapshot with all details is number {last}{at}: the process ended by itself. "
        f"Compare FILE:0 with FILE:{last}."
    )
    return [fill(text, 80, subsequent_indent="  ")]


def suspect_lines(one: Suspect) -> list[str]:
    """What grew, where, since when and how fast; and what that may be."""
    when = "during the whole recording" if one.whole else f"from {one.since:.1f} s to the end"
    if one.figure == "size" and one.kind == "file":
        may = "files that stay mapped"
    elif one.figure == "size":
        may = "addresses that are reserved, and not used so far"
    else:
        may = "a leak, or something that was not full yet"
    text = (
        f"{printable(one.name)} ({one.kind}) grew {when}: {about(one.gained)} in"
        f" {one.gained / one.rate:.1f} s, {about(round(one.rate))} a second"
        f"{', in size alone' if one.figure == 'size' else ''}. It looks like {may}."
    )
    lines = [fill(text, 80, subsequent_indent="  ")]
    whole = one.elsewhere + sum(place.gained for place in one.places)
    for place in one.places:
        share = f"  {100 * place.gained / whole:.0f} % of it" if place.gained < whole else ""
        users = f", {used_by(place)}" if place.threads else ""
        where = f"at {place.start:012x}-{place.end:012x}{share}{users}"
        lines.append(fill(where, 80, initial_indent="  ", subsequent_indent="    "))
    if one.elsewhere:
        lines.append(f"  {100 * one.elsewhere / whole:.0f} % of it at other addresses")
    return lines


def used_by(place: Place) -> str:
    """Which threads allocate there."""
    tid, name = place.threads[0]
    first = f"the arena of thread {tid} ({printable(name)})"
    others = len(place.threads) - 1
    return first if not others else f"{first} and {count(others, 'other thread')}"


def beginning(last: Snapshot) -> str:
    """Whose recording it is; a process is known by its last program."""
    identity, clock = last.identity, last.clock
    whose = "A process" if identity.pid is None else f"Process {identity.pid}"
    name = "" if identity.comm is None else f" ({printable(identity.comm)})"
    when = "" if clock is None else time.strftime(
        ", until %Y-%m-%d %H:%M:%S", time.localtime(clock.realtime / 1e9)
    )  # fmt: skip
    return f"{whose}{name}{when}"


def ended_line(ended: str) -> str:
    """That a process has ended, with the time of now."""
    return f"{time.strftime('%H:%M:%S')}  {ended}\n"


def change_lines(change: Diff) -> str:
    """What changed between two moments, a line for each cause."""
    clock = change.after.clock
    when = "" if clock is None else time.strftime("%H:%M:%S", time.localtime(clock.realtime / 1e9))
    rss = ""
    if change.rss is not None:
        rss = f"  RSS {approximate(signed(change.rss), change.rss_error)}"
    faults = f"  faults {change.minor:+,}" if change.minor else ""
    lines = [f"{when}  VSZ {signed(change.vsz)}{rss}{faults}"]
    lines += [
        fill(printable(one.words), 80, initial_indent="  ", subsequent_indent="    ")
        for one in change.explanations
    ]
    return "\n".join(lines) + "\n"
