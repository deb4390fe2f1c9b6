"""A recording: the snapshots of one process, one after the other, and what they tell together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from procmem.moments import diff
from procmem.moments.saved import save_all

if TYPE_CHECKING:
    import os

    from procmem.moments import Diff, Snapshot

__all__ = ["Growth", "Peak", "Recording", "Suspect"]

MOST_COMPARED = 200
"""Moments that are compared each with each: more are thinned out evenly."""


class Peak(NamedTuple):
    """The largest value that was seen.

    Attributes:
        value: in bytes.
        at: the number of the first snapshot that has it.
        seconds: from the first snapshot to that one; None: the clocks aren't told.
    """

    value: int
    at: int
    seconds: float | None


class Growth(NamedTuple):
    """How something changes through time.

    Attributes:
        slope: bytes a second, of the straight line with the least squares.
        confidence: Kendall's tau: the share of all pairs of moments in which the later one is
            larger, minus that in which it is smaller. 1: it never shrank; 0: no trend.
        first, last: bytes, at the first and the last moment.
    """

    slope: float
    confidence: float
    first: int
    last: int


class Suspect(NamedTuple):
    """Regions that grow without end: a leak, perhaps.

    Attributes:
        name: what a person would call them.
        kind: their kind.
        growth: of what they have in memory, or of their size where that wasn't told.
        regions: how many there are at the end.
    """

    name: str
    kind: str
    growth: Growth
    regions: int


class Recording(Sequence["Snapshot"]):
    """Snapshots of one process in the order of time.

    Args:
        snapshots: those.
        ended: why there are no more, in words; empty if that isn't known.
    """

    def __init__(self, snapshots: Sequence[Snapshot], ended: str = "") -> None:
        self._snapshots = tuple(snapshots)
        self.ended = ended

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Recording:
        """The recording in a file. One that was cut off loads to its last whole snapshot.

        Raises:
            ParseError: it is no such file, or holds no whole snapshot.
            OSError
        """
        from procmem.errors import ParseError
        from procmem.moments.saved import MAGIC, read_frames

        found: list[Snapshot] = []
        with open(path, "rb") as file:
            start = file.read(len(MAGIC))
            if start != MAGIC:
                raise ParseError(str(path), 1, start, "no recording")
            try:
                found.extend(read_frames(file, str(path)))
            except ParseError as error:
                if not found or "cut off" not in error.reason:
                    raise
                return Recording(found, "the file was cut off")
        return Recording(found)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all to one compressed file.

        Raises:
            OSError
        """
        save_all(self._snapshots, path)

    def __len__(self) -> int:
        return len(self._snapshots)

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> Recording: ...
    def __getitem__(self, index: int | slice) -> Snapshot | Recording:
        if isinstance(index, slice):
            return Recording(self._snapshots[index])
        return self._snapshots[index]

    def __repr__(self) -> str:
        return f"<Recording of {len(self)} snapshots>"

    def diff(self, before: int = 0, after: int = -1) -> Diff:
        """What changed between two moments, by their numbers."""
        return diff(self[before], self[after])

    @property
    def times(self) -> list[float | None]:
        """Seconds from the first snapshot to each; None: not told."""
        start = self[0].clock if self else None
        return [
            None if start is None or one.clock is None
            else (one.clock.monotonic - start.monotonic) / 1e9
            for one in self
        ]  # fmt: skip

    def peak(self, figure: str = "rss") -> Peak | None:
        """The largest "vsz", "rss", "swap" or "page_tables"; None: it was never told."""
        told = [
            (value, index) for index, value in enumerate(self.values(figure)) if value is not None
        ]
        if not told:
            return None
        value = max(value for value, _ in told)
        index = next(index for one, index in told if one == value)
        return Peak(value, index, self.times[index])

    def values(self, figure: str) -> list[int | None]:
        """A figure of each snapshot, in bytes."""
        if figure not in FIGURES:
            from procmem.errors import BadArgument

            raise BadArgument(f"figures are {', '.join(FIGURES)}, not {figure!r}")
        return [getattr(one, figure) for one in self]

    def growth(self, figure: str = "rss") -> Growth | None:
        """How a figure grows; None: it was told less than twice, or without clocks."""
        return grown(self.times, self.values(figure))

    def suspects(self, *, confidence: float = 0.8, least: int = 64 * 1024) -> list[Suspect]:
        """What seems to grow without end, the steepest first.

        Regions are taken together by kind, name and permissions, so that memory that is mapped
        piece by piece is seen, too.

        Args:
            confidence: the least that a growth must have.
            least: bytes that it must have gained in all.
        """
        if len(self) < 3:
            return []
        series: dict[Any, list[int]] = {}
        counts: dict[Any, int] = {}
        resident = all(one.detail != "maps" for one in self)
        for number, one in enumerate(self):
            counts.clear()
            for region in one.regions:
                key = str(region.kind), region.name, str(region.perms)
                values = series.setdefault(key, [0] * len(self))
                values[number] += (region.rss or 0) if resident else region.size
                counts[key] = counts.get(key, 0) + 1
        found = []
        for key, values in series.items():
            growth = grown(self.times, list(values))
            if (
                growth is not None
                and growth.confidence >= confidence
                and growth.last - growth.first >= least
            ):
                found.append(Suspect(key[1], key[0], growth, counts.get(key, 0)))
        return sorted(found, key=lambda one: -one.growth.slope)


FIGURES = ("vsz", "rss", "swap", "page_tables")


def grown(times: Sequence[float | None], values: Sequence[int | None]) -> Growth | None:
    """Slope and trend of values through time."""
    points = [
        (when, value)
        for when, value in zip(times, values, strict=True)
        if when is not None and value is not None
    ]
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    mean_time = sum(when for when, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((when - mean_time) ** 2 for when, _ in points)
    slope = sum((when - mean_time) * (value - mean) for when, value in points) / spread
    thin = points[:: -(-len(points) // MOST_COMPARED)]
    signs = [
        (later > earlier) - (later < earlier) for (_, earlier), (_, later) in combinations(thin, 2)
    ]
    return Growth(slope, sum(signs) / len(signs) if signs else 0.0, points[0][1], points[-1][1])
