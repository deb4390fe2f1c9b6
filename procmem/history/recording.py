"""A recording: the snapshots of one process, one after the other, and what they tell together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from procmem.history.frames import Frames, read_index
from procmem.moments import diff
from procmem.moments.saved import save_all

if TYPE_CHECKING:
    import os

    from procmem.history.frames import Figures
    from procmem.moments import Diff, Snapshot

__all__ = ["Growth", "Peak", "Recording", "Suspect"]

MOST_COMPARED = 200
"""Moments, evenly in time, that growth is judged by: each is compared with each."""

STILL = 0.1
"""Of what a suspect gained in all, the least that it gained in the last quarter of the time."""


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
    """How something changes through time, judged at up to 200 moments that lie evenly in it.

    Attributes:
        slope: bytes a second, of the straight line with the least squares.
        confidence: Kendall's tau: the share of all pairs of moments in which the later one is
            larger, minus that in which it is smaller. 1: it never stopped; 0: no trend.
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
        growth: of the figure below.
        regions: how many there are at the end.
        figure: what grows: "resident" (in memory or swap), or "size" where only that does, or
            alone was recorded.
    """

    name: str
    kind: str
    growth: Growth
    regions: int
    figure: str


class Recording(Sequence["Snapshot"]):
    """Snapshots of one process in the order of time.

    One that was loaded or recorded keeps them packed, and unpacks one when it is asked for.

    Args:
        snapshots: those.
        ended: why there are no more, in words; empty if that isn't known.
    """

    def __init__(self, snapshots: Sequence[Snapshot], ended: str = "") -> None:
        self._snapshots = snapshots if isinstance(snapshots, Frames) else tuple(snapshots)
        self.ended = ended

    @staticmethod
    def load(path: str | os.PathLike[str], *, damaged: bool = False) -> Recording:
        """The recording in a file. One that was cut off loads to its last whole snapshot.

        Args:
            path: the file. It stays open, since snapshots are read when they are asked for.
            damaged: load one that is damaged to the last snapshot before the damage, too;
                `ended` tells of it.

        Raises:
            ParseError: it is no such file, or damaged, or holds no whole snapshot.
            OSError
        """
        frames, fault = read_index(path)
        if fault is None:
            return Recording(frames)
        if frames and "cut off" in fault.reason:
            return Recording(frames, "the file was cut off")
        if frames and damaged:
            return Recording(frames, f"the file is damaged behind them ({fault.reason})")
        raise fault

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes all to one compressed file; see Snapshot.save().

        Raises:
            FileExistsError, OSError: as there.
        """
        save_all(self._snapshots, path, force=force)

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

    @cached_property
    def _figures(self) -> Sequence[Figures]:
        from procmem.history.frames import figures_of

        if isinstance(self._snapshots, Frames):
            return self._snapshots.figures()
        return [figures_of(one) for one in self._snapshots]

    @property
    def details(self) -> list[str]:
        """The detail of each snapshot: "smaps", "residency" or "maps"."""
        return [one.detail for one in self._figures]

    @property
    def times(self) -> list[float | None]:
        """Seconds from the first snapshot to each; None: not told."""
        start = self._figures[0].monotonic if self else None
        return [
            None if start is None or one.monotonic is None else (one.monotonic - start) / 1e9
            for one in self._figures
        ]

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
        return [getattr(one, figure) for one in self._figures]

    def growth(self, figure: str = "rss") -> Growth | None:
        """How a figure grows; None: it was told less than twice, or without clocks."""
        return grown(self.times, self.values(figure))

    def suspects(self, *, confidence: float = 0.8, least: int = 64 * 1024) -> list[Suspect]:
        """What seems to grow without end, the steepest first.

        Regions are taken together by kind, name and permissions, so that memory that is mapped
        piece by piece is seen, too. What has stopped is none: in the last quarter of the time a
        suspect gained at least a tenth of all that it gained. Nor is a file's content that is
        read in: it ends with the file.

        Args:
            confidence: the least that a growth must have.
            least: bytes that it must have gained in all.
        """
        chosen = self._spread()
        if len(chosen) < 3:
            return []
        times, all_details = self.times, self.details
        details = [all_details[number] for number in chosen]
        measured = [number for number, detail in enumerate(details) if detail != "maps"]
        if not covers([times[chosen[number]] for number in measured], times[chosen[-1]]):
            measured = []
        series: dict[Any, list[tuple[int, int]]] = {}
        counts: dict[Any, int] = {}
        for number, detail in enumerate(details):
            counts.clear()
            for region in self[chosen[number]].regions:
                key = str(region.kind), region.name, str(region.perms)
                values = series.get(key)
                if values is None:
                    values = series[key] = [(0, 0)] * len(chosen)
                resident, size = values[number]
                values[number] = resident + held(region, detail), size + region.size
                counts[key] = counts.get(key, 0) + 1
        found = []
        for key, values in series.items():
            for figure, numbers in (("resident", measured), ("size", range(len(chosen)))):
                growth = still_growing(
                    [times[chosen[number]] for number in numbers],
                    [values[number][figure == "size"] for number in numbers],
                )
                if (
                    growth is not None
                    and growth.confidence >= confidence
                    and growth.last - growth.first >= least
                ):
                    found.append(Suspect(key[1], key[0], growth, counts.get(key, 0), figure))
                    break
        return sorted(found, key=lambda one: -one.growth.slope)

    def _spread(self) -> list[int]:
        """The numbers of at most MOST_COMPARED snapshots, evenly in time."""
        times = self.times
        told = [number for number, when in enumerate(times) if when is not None]
        if len(told) <= MOST_COMPARED:
            return told
        chosen: list[int] = []
        start, end = times[told[0]] or 0.0, times[told[-1]] or 0.0
        step = (end - start) / (MOST_COMPARED - 1)
        for number in told[:-1]:
            if (times[number] or 0.0) >= start + len(chosen) * step:
                chosen.append(number)
        return [*chosen, told[-1]]


FIGURES = ("vsz", "rss", "swap", "page_tables")


def held(region: Any, detail: str) -> int:
    """What a region has in memory or swap, but for pages that are a file's."""
    if detail == "maps" or (region.inode and "w" not in str(region.perms)):
        return 0
    return (region.rss or 0) + (region.swap or 0)


def covers(times: Sequence[float | None], end: float | None) -> bool:
    """Whether these moments reach from the first quarter of the time into its last."""
    told = [when for when in times if when is not None]
    return bool(told and end) and told[0] <= 0.25 * (end or 0) and told[-1] >= 0.75 * (end or 0)


def points_of(
    times: Sequence[float | None], values: Sequence[int | None]
) -> list[tuple[float, int]]:
    return [
        (when, value)
        for when, value in zip(times, values, strict=True)
        if when is not None and value is not None
    ]


def evenly(points: Sequence[tuple[float, int]], count: int) -> list[tuple[float, float]]:
    """Points of the line through these, evenly in time.

    Snapshots lie close together where something changed, and far apart where nothing did.
    """
    start, end = points[0][0], points[-1][0]
    found: list[tuple[float, float]] = []
    at = 0
    for number in range(count):
        when = start + (end - start) * number / (count - 1)
        while at < len(points) - 2 and points[at + 1][0] < when:
            at += 1
        (left, low), (right, high) = points[at : at + 2]
        part = (when - left) / (right - left) if right > left else 1.0
        found.append((when, low + (high - low) * min(part, 1.0)))
    return found


def grown(times: Sequence[float | None], values: Sequence[int | None]) -> Growth | None:
    """Slope and trend of values through time."""
    told = points_of(times, values)
    if len(told) < 2 or told[0][0] == told[-1][0]:
        return None
    points = evenly(told, min(len(told), MOST_COMPARED))
    mean_time = sum(when for when, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((when - mean_time) ** 2 for when, _ in points)
    slope = sum((when - mean_time) * (value - mean) for when, value in points) / spread
    signs = [
        (later > earlier) - (later < earlier)
        for (_, earlier), (_, later) in combinations(points, 2)
    ]
    return Growth(slope, sum(signs) / len(signs), told[0][1], told[-1][1])


def still_growing(times: Sequence[float | None], values: Sequence[int | None]) -> Growth | None:
    """Slope and trend of what has not stopped; None: it has, or never grew."""
    told = points_of(times, values)
    if len(told) < 3 or told[0][0] == told[-1][0] or told[0][1] >= told[-1][1]:
        return None
    _, _, _, (_, before), (_, last) = evenly(told, 5)
    if last - before < STILL * (last - told[0][1]):
        return None
    return grown(times, values)
