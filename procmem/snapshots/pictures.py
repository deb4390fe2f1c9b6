"""Snapshots and diffs as pictures."""

from __future__ import annotations

import time

from procmem.names import escaped
from procmem.picture.shapes import CHANGED, GONE, NEW, map_rows
from procmem.picture.svg import bars, document, prose, row_map
from procmem.regions.pictures import compared_bars, figures_of, panels, plot_changes, spans
from procmem.units import approximate, count, kib, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from procmem.picture.shapes import MapRow, SizeBar
    from procmem.picture.svg import Panel
    from procmem.snapshots.changes import Change
    from procmem.snapshots.comparison import TotalsDiff
    from procmem.snapshots.moment import Moment

__all__ = [
    "bars_beside",
    "common_figures",
    "diff_svg",
    "plot_diff",
    "rows_beside",
    "side_by_side",
    "snapshot_svg",
    "whose",
]

MOST_SIDE_BY_SIDE = 26
"""Rows of two address spaces that are drawn beside each other."""


def whose(moment: Moment) -> str:
    """The process that a snapshot is of, as a title names it."""
    who = moment.identity
    if who.pid is None:
        return escaped(moment.source)
    return f"process {who.pid}" + (f" ({escaped(who.comm)})" if who.comm else "")


def totals(moment: Moment) -> str:
    """VSZ, RSS and the number of regions in words."""
    rss = "not known"
    if moment.rss is not None:
        rss = approximate(kib(moment.rss), moment.rss_error)
    return f"VSZ {kib(moment.vsz)}, RSS {rss}, {count(len(moment.regions), 'region')}"


def snapshot_svg(moment: Moment, title: str) -> str:
    """A snapshot as an SVG picture; see Snapshot.svg()."""
    said = [f"{totals(moment)}."]
    if moment.clock is not None:
        taken = time.localtime(moment.clock.realtime // 10**9)
        said[0] += time.strftime(" Taken on %Y-%m-%d at %H:%M:%S.", taken)
    if moment.moved:
        said.append("The process mapped, freed or touched memory while it was read.")
    table = moment.regions
    return document(
        title or f"Memory of {whose(moment)}", said, panels(list(table), table.region_type)
    )


def diff_svg(
    found: TotalsDiff, changes: Sequence[Change], causes: Sequence[str], title: str
) -> str:
    """A diff as an SVG picture: both snapshots side by side; see Diff.svg().

    Args:
        found: the diff.
        changes: its changes.
        causes: a sentence for each cause.
        title: the picture's title; empty: it names the process.
    """
    before, after = found.before, found.after
    rss = "not known"
    if found.rss is not None:
        rss = approximate(signed(found.rss), found.rss_error)
    said = [f"VSZ {signed(found.vsz)}, RSS {rss}, {count(len(changes), 'region')} changed."]
    if found.same_process is False:
        said.append(f"Two processes: {whose(before)} and {whose(after)}.")
    pictures = side_by_side(before, after, changes)
    if causes:
        pictures.insert(0, prose("Why", causes))
    return document(title or f"What changed in {whose(after)}", said, pictures)


def side_by_side(
    before: Moment,
    after: Moment,
    changes: Iterable[Change],
    headings: tuple[str, str] = ("before", "after"),
) -> list[Panel]:
    """Two snapshots beside each other: their address spaces and their bars, with what changed.

    Args:
        before: the earlier snapshot.
        after: the later one.
        changes: from one to the other.
        headings: what stands above the two.
    """
    *rows, whole = bars_beside(before, after)
    return [
        row_map("Address space", rows_beside(before, after, changes), headings),
        bars("By kind", [name for name, _ in common_figures(before, after)[:2]], rows, whole),
    ]


def rows_beside(
    before: Moment, after: Moment, changes: Iterable[Change], most: int = MOST_SIDE_BY_SIDE
) -> list[MapRow]:
    """The rows of two address spaces beside each other, with what changed; at most so many."""
    old, new = marks_of(changes)
    return map_rows(spans(list(after.regions), new), spans(list(before.regions), old), most)


def bars_beside(before: Moment, after: Moment) -> list[SizeBar]:
    """Pairs of bars for VSZ and RSS of each kind, and a last one with the sums."""
    figures = common_figures(before, after)[:2]
    return compared_bars(list(before.regions), list(after.regions), figures)


Marks = dict[int, tuple[str, str]]


def marks_of(changes: Iterable[Change]) -> tuple[Marks, Marks]:
    """What became of the regions of both snapshots, by their start."""
    old: Marks = {}
    new: Marks = {}
    for change in changes:
        kinds = ", ".join(kind.value for kind in change.kinds)
        figures = [f"VSZ {signed(change.vsz)}"] if change.vsz else []
        figures += [f"RSS {signed(change.rss)}"] if change.rss else []
        # Of a region that is new or gone, size and RSS are all that changed.
        both = change.before and change.after and figures
        note = ", ".join(figures) if both else kinds
        for region in change.before:
            old[region.start] = (CHANGED, "") if change.after else (GONE, note)
        for region in change.after:
            new[region.start] = (CHANGED if change.before else NEW, note)
    return old, new


def common_figures(before: Moment, after: Moment) -> list[tuple[str, str]]:
    """The figures that the regions of both snapshots have, each with its attribute."""
    known = figures_of(before.regions.region_type)
    return [one for one in figures_of(after.regions.region_type) if one in known]


def plot_diff(found: TotalsDiff, axes: Axes | None, figure: str | None) -> Axes:
    """A diff with matplotlib; see Diff.plot()."""
    before, after = found.before, found.after
    figures = common_figures(before, after)
    return plot_changes(list(before.regions), list(after.regions), figures, axes, figure)
