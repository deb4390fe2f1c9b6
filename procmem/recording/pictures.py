"""A recording as a picture: RSS by kind over time, with its peak."""

from __future__ import annotations

from typing import NamedTuple

from procmem.names import escaped
from procmem.picture import plots
from procmem.picture.shapes import TimeLayer
from procmem.picture.svg import areas, document, time_ticks
from procmem.regions.kinds import MARK
from procmem.units import count, kib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from procmem.recording.packed import SnapshotFigures
    from procmem.snapshots import Snapshot

__all__ = ["KindsOverTime", "kinds_of", "kinds_over_time", "recording_svg"]

MOST_DRAWN = 240
"""Snapshots whose regions are drawn: more than a picture can show would take as long to read."""

MOST_KINDS = 8


class KindsOverTime(NamedTuple):
    """RSS by kind of region, in some of a recording's snapshots.

    Attributes:
        numbers: of these snapshots.
        times: seconds from the first snapshot to each; their numbers, if there are no clocks.
        layers: a layer for each kind, the largest first; small kinds are added up in the last one.
        line: time and RSS of every snapshot that has it.
        clocks: whether the snapshots have clocks.
    """

    numbers: tuple[int, ...]
    times: tuple[float, ...]
    layers: tuple[TimeLayer, ...]
    line: tuple[tuple[float, int], ...]
    clocks: bool


def kinds_of(snapshot: Snapshot) -> dict[str, int | None]:
    """RSS by the kind of the regions; with a "?" where it is a guess for one of them."""
    found: dict[str, int | None] = {}
    guesses = set()
    for region in snapshot.regions:
        kind, rss = region.kind.value, region.rss
        before = found.get(kind, 0)
        found[kind] = None if rss is None or before is None else before + rss
        if region.kind_guess and rss:
            guesses.add(kind)
    return {
        kind + MARK if kind in guesses else kind: rss for kind, rss in found.items() if rss != 0
    }


def drawn(figures: Sequence[SnapshotFigures], times: Sequence[float]) -> list[int]:
    """The snapshots with the memory of each region: in each piece of time the one with most RSS."""
    fit = [at for at, one in enumerate(figures) if one.detail != "maps" and one.rss is not None]
    if len(fit) <= MOST_DRAWN:
        return fit
    start, span = times[fit[0]], times[fit[-1]] - times[fit[0]]
    best: dict[int, int] = {}
    for at in fit:
        piece = int((times[at] - start) / (span or 1) * (MOST_DRAWN - 1))
        if piece not in best or (figures[at].rss or 0) > (figures[best[piece]].rss or 0):
            best[piece] = at
    return sorted({fit[0], *best.values(), fit[-1]})


def kinds_over_time(
    snapshots: Sequence[Snapshot], figures: Sequence[SnapshotFigures], times: Sequence[float | None]
) -> KindsOverTime:
    """RSS by kind over time; see KindsOverTime.

    Args:
        snapshots: of one process, in the order of time.
        figures: the figures of each.
        times: seconds from the first to each; None: it has no clock.
    """
    clocks = None not in times
    places = [float(at) if not clocks or when is None else when for at, when in enumerate(times)]
    numbers = drawn(figures, places)
    each = [kinds_of(snapshots[at]) for at in numbers]
    plain = [{kind.removesuffix(MARK): rss for kind, rss in one.items()} for one in each]
    guesses = {kind.removesuffix(MARK) for one in each for kind in one if kind.endswith(MARK)}
    most = {
        kind: max(one.get(kind) or 0 for one in plain)
        for kind in dict.fromkeys(kind for one in plain for kind in one)
    }
    ranked = sorted(most, key=lambda kind: most[kind], reverse=True)
    shown = ranked if len(ranked) <= MOST_KINDS else ranked[: MOST_KINDS - 1]
    rest = ranked[len(shown) :]
    layers = [
        TimeLayer(
            escaped(kind) + (MARK if kind in guesses else ""),
            kind,
            tuple(one.get(kind, 0) for one in plain),
        )
        for kind in shown
    ]
    if rest:
        values = tuple(sum(one.get(kind) or 0 for kind in rest) for one in plain)
        layers.append(TimeLayer(f"{len(rest)} other kinds", "other", values))
    line = tuple((places[at], one.rss) for at, one in enumerate(figures) if one.rss is not None)
    return KindsOverTime(
        tuple(numbers), tuple(places[at] for at in numbers), tuple(layers), line, clocks
    )


def recording_svg(
    found: KindsOverTime, total: int, peak: tuple[int, int] | None, subject: str, title: str
) -> str:
    """A recording as an SVG picture; see Recording.svg().

    Args:
        found: what is drawn.
        total: the number of all snapshots.
        peak: the largest RSS, and the number of its snapshot.
        subject: the process.
        title: the picture's title; empty: it names the process.
    """
    marked = marked_peak(found, peak)
    notes = [f"The line is RSS in {count(len(found.line), 'snapshot')}."]
    if found.layers:
        notes[0] += (
            f" The areas are drawn from {count(len(found.numbers), 'snapshot')} that "
            f"{'has' if len(found.numbers) == 1 else 'have'} the memory of each region; each holds "
            "until the next one."
        )
    else:
        notes.append("No snapshot has the memory of each region, so there are no kinds.")
    drawing = areas(
        "RSS by kind",
        found.times,
        found.layers,
        line=found.line,
        peak=marked,
        notes=notes,
        ticks=time_ticks if found.clocks else number_ticks,
    )
    said = f"{count(total, 'snapshot')}"
    if found.clocks and found.line:
        said += f" in {found.line[-1][0]:.1f} s"
    return document(title or f"Memory of {subject} over time", [f"{said}."], [drawing])


def marked_peak(
    found: KindsOverTime, peak: tuple[int, int] | None
) -> tuple[float, int, str] | None:
    """Time, bytes and words of the largest RSS."""
    if peak is None:
        return None
    value, at = peak
    when = next((when for when, rss in found.line if rss == value), 0.0)
    place = f"{when:.1f} s (snapshot {at})" if found.clocks else f"snapshot {at}"
    return when, value, f"peak {kib(value)} at {place}"


def plot_kinds(found: KindsOverTime, peak: tuple[int, int] | None, axes: Axes | None) -> Axes:
    """RSS by kind with matplotlib; see Recording.plot()."""
    return plots.areas(
        plots.axes_of(axes, "Recording.plot()"),
        found.times,
        found.layers,
        line=found.line,
        peak=marked_peak(found, peak),
        across="seconds" if found.clocks else "snapshot",
    )


def plot_figure(
    values: Sequence[int | None], times: Sequence[float | None], name: str, axes: Axes | None
) -> Axes:
    """A figure over time with matplotlib; see Recording.plot()."""
    clocks = None not in times
    places = times if clocks else range(len(times))
    points = [
        (float(when or 0), value)
        for when, value in zip(places, values, strict=True)
        if value is not None
    ]
    labels = {"page_tables": "page tables", "swap": "swap", "anon_huge_pages": "huge pages"}
    label = labels.get(name, name.upper())
    across = "seconds" if clocks else "snapshot"
    return plots.lines(plots.axes_of(axes, "Recording.plot()"), [(label, points)], label, across)


def number_ticks(most: float) -> list[tuple[float, str]]:
    """Numbers of snapshots, for those without clocks."""
    step = max(round(most / 6), 1)
    return [(float(at), f"{at:,}") for at in range(0, int(most) + 1, step)]
