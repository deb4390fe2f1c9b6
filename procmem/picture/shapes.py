"""The rows that pictures are drawn from: bars, the address space, layers over time. Plain data.

A process may have 65,530 regions (vm.max_map_count), and a picture has room for a few dozen rows.
So neighbouring regions are drawn as one where they matter least: next to each other, with one
name, unchanged, small.
"""

from __future__ import annotations

from collections import Counter
from heapq import nlargest
from itertools import pairwise
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "CHANGED",
    "GONE",
    "MOST_BARS",
    "MOST_ROWS",
    "NEW",
    "MapBlock",
    "MapRow",
    "MapSpan",
    "SizeBar",
    "StepChange",
    "TimeLayer",
    "added",
    "largest_bars",
    "map_rows",
    "marks_in",
]

NEW, GONE, CHANGED = "new", "gone", "changed"
"""What became of a region from the earlier snapshot to the later one; empty: nothing."""

MOST_ROWS = 40
"""Rows of an address space: more don't fit on a page."""

MOST_IN_ROW = 5
"""Regions of one row that are drawn one by one."""

MOST_BARS = 14


class SizeBar(NamedTuple):
    """A row of bars: a group of regions.

    Attributes:
        name: of the group, as it is shown.
        key: of its colour: see palette.tone().
        values: bytes of each figure; None: not known.
        before: the same in the earlier of two snapshots; None: there is only one.
    """

    name: str
    key: str
    values: tuple[int | None, ...]
    before: tuple[int | None, ...] | None = None


class MapSpan(NamedTuple):
    """A region of an address space.

    Attributes:
        start, end: addresses.
        key: of its colour.
        name: as it is shown.
        detail: such as its permissions and path.
        resident: bytes in memory; None: not known.
        mark: NEW, GONE, CHANGED or empty.
        note: what changed, in words.
    """

    start: int
    end: int
    key: str
    name: str
    detail: str = ""
    resident: int | None = None
    mark: str = ""
    note: str = ""


class MapBlock(NamedTuple):
    """What is drawn as one: a region, or some neighbouring ones.

    Attributes:
        start, end: addresses.
        key: of the colour: that of most of its bytes.
        names: of its regions, each once, the largest first.
        detail: of a single region; else empty.
        size: bytes of the regions, without gaps between them.
        resident: bytes in memory; None: not known.
        regions: how many they are.
        mark, note: as of MapSpan. Of several regions that are not all alike: CHANGED.
    """

    start: int
    end: int
    key: str
    names: tuple[str, ...]
    detail: str
    size: int
    resident: int | None
    regions: int
    mark: str
    note: str


class MapRow(NamedTuple):
    """A piece of an address space.

    Attributes:
        gap: bytes between it and the row before, where nothing is mapped.
        after: its blocks.
        before: its blocks in the earlier of two snapshots.
    """

    gap: int
    after: tuple[MapBlock, ...]
    before: tuple[MapBlock, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether one of its blocks is marked."""
        return any(block.mark for block in (*self.before, *self.after))


class TimeLayer(NamedTuple):
    """A layer of stacked areas over time: its bytes at each point in time; None: not known."""

    name: str
    key: str
    values: tuple[int | None, ...]


class StepChange(NamedTuple):
    """A step, and by how many bytes it changed each figure; None: not known.

    Attributes:
        name: what was done.
        changes: by figure.
        judged: whether the step was as predicted; None: it is not judged.
    """

    name: str
    changes: tuple[int | None, ...]
    judged: bool | None = None


def added(values: Iterable[int | None]) -> int | None:
    """The sum; None if one of the values is not known."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def largest_bars(bars: Sequence[SizeBar], most: int = MOST_BARS) -> list[SizeBar]:
    """The bars, which are in descending order; those that do not fit are added up in a last one."""
    if len(bars) <= most:
        return list(bars)
    shown, rest = list(bars[: most - 1]), bars[most - 1 :]
    befores = [bar.before for bar in rest]
    before = (
        None if None in befores else tuple(map(added, zip(*filter(None, befores), strict=True)))
    )
    values = tuple(map(added, zip(*(bar.values for bar in rest), strict=True)))
    return [*shown, SizeBar(f"{len(rest)} others", "other", values, before)]


# ---- the address space -------------------------------------------------------------


class Cluster:
    """Regions of both snapshots that cover the same addresses."""

    __slots__ = ("after", "before", "end", "start")

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self.before: list[MapSpan] = []
        self.after: list[MapSpan] = []

    @property
    def spans(self) -> list[MapSpan]:
        return self.after or self.before

    @property
    def marked(self) -> str:
        return next((span.mark for span in (*self.after, *self.before) if span.mark), "")


def clusters(before: Sequence[MapSpan], after: Sequence[MapSpan]) -> list[Cluster]:
    """The regions of both snapshots by address; those that overlap are together."""
    both = [(span, False) for span in before] + [(span, True) for span in after]
    both.sort(key=lambda one: (one[0].start, one[0].end))
    found: list[Cluster] = []
    for span, is_after in both:
        if not found or (span.start >= found[-1].end):
            found.append(Cluster(span.start))
        last = found[-1]
        last.end = max(last.end, span.end)
        (last.after if is_after else last.before).append(span)
    return found


def weight(one: Cluster, other: Cluster) -> int:
    """How much is lost if two neighbours are drawn as one."""
    left, right = one.spans[-1], other.spans[0]
    weight = 0
    if one.marked or other.marked:
        alike = one.marked == other.marked and left.name == right.name
        weight += 60 if alike else 1000
    if left.name != right.name:
        weight += 40
    if left.key != right.key:
        weight += 10
    if other.start > one.end:
        weight += 20 + (other.start - one.end).bit_length()
    return weight + min(one.end - one.start, other.end - other.start).bit_length()


def map_rows(
    after: Sequence[MapSpan], before: Sequence[MapSpan] = (), most: int = MOST_ROWS
) -> list[MapRow]:
    """An address space in rows, low addresses first.

    Args:
        after: the regions.
        before: those of an earlier snapshot, which is drawn beside it.
        most: how many rows there may be.
    """
    found = clusters(before, after)
    if len(found) > most:
        borders = range(1, len(found))
        weights = [weight(one, other) for one, other in pairwise(found)]
        kept = sorted(nlargest(most - 1, borders, key=lambda at: weights[at - 1]))
    else:
        kept = list(range(1, len(found)))
    rows: list[MapRow] = []
    end = None
    for first, last in zip([0, *kept], [*kept, len(found)], strict=True):
        part = found[first:last]
        if not part:
            continue
        sides = []
        for spans in (
            [span for one in part for span in one.before],
            [span for one in part for span in one.after],
        ):
            alone = len(part) == 1 and len(spans) <= MOST_IN_ROW
            groups = [[span] for span in spans] if alone else [spans] if spans else []
            sides.append(tuple(map(block_of, groups)))
        gap = 0 if end is None else part[0].start - end
        rows.append(MapRow(gap, after=sides[1], before=sides[0]))
        end = part[-1].end
    return rows


def block_of(spans: Sequence[MapSpan]) -> MapBlock:
    """Some neighbouring regions as one."""
    keys: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for span in spans:
        keys[span.key] += span.end - span.start
        names[span.name] += span.end - span.start
    marks = {span.mark for span in spans}
    alone = len(spans) == 1
    changed = sum(bool(span.mark) for span in spans)
    note = spans[0].note if alone else f"{changed:,} of them changed" if changed else ""
    if len(marks) == 1 and changed and not alone:
        note = f"{len(spans):,} regions {'changed' if CHANGED in marks else next(iter(marks))}"
    return MapBlock(
        spans[0].start,
        max(span.end for span in spans),
        keys.most_common(1)[0][0],
        tuple(name for name, _ in names.most_common()),
        spans[0].detail if alone else "",
        sum(span.end - span.start for span in spans),
        added(span.resident for span in spans),
        len(spans),
        marks.pop() if len(marks) == 1 else CHANGED,
        note,
    )


def marks_in(rows: Sequence[MapRow]) -> tuple[str, ...]:
    """The marks that are drawn, in the order of a legend."""
    seen = {block.mark for row in rows for block in (*row.before, *row.after)}
    return tuple(mark for mark in (NEW, GONE, CHANGED) if mark in seen)
