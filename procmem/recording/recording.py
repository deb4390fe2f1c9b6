"""A recording: the snapshots of one process, one after the other, and what they tell together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, overload

from procmem.recording.packed import Frames, read_index
from procmem.snapshots import diff
from procmem.snapshots.saved import save_all

if TYPE_CHECKING:
    import os

    from procmem.recording.packed import Figures
    from procmem.snapshots import Diff, Snapshot

__all__ = ["Growth", "Peak", "Place", "Recording", "Suspect"]

MOST_COMPARED = 200
"""Moments, evenly in time, that growth is judged by: each is compared with each."""


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


class Place(NamedTuple):
    """Addresses at which a suspect gained memory.

    Attributes:
        start, end: addresses.
        gained: bytes.
        threads: IDs and names of the threads that allocate there, of an arena of malloc; empty
            where that is not known.
    """

    start: int
    end: int
    gained: int
    threads: tuple[tuple[int, str], ...] = ()


class Suspect(NamedTuple):
    """Regions that grew until the end: a leak, or something that would have stopped later.

    Attributes:
        name: what a person would call them.
        kind: their kind.
        growth: of the figure below, as it was seen.
        regions: how many there are at the end.
        figure: what grows: "resident" (in memory or swap), or "size" where only that does.
        since: seconds from the first snapshot to when the growth began.
        whole: whether it grew during the whole recording.
        gained: bytes since then. Only the lower envelope counts: what was given back in
            between is not in it.
        rate: the same by seconds.
        places: where it gained most, the most first, measured between two snapshots near both
            ends; of an arena of malloc a whole heap.
        elsewhere: bytes that it gained between these at other addresses.
    """

    name: str
    kind: str
    growth: Growth
    regions: int
    figure: str
    since: float = 0.0
    whole: bool = True
    gained: int = 0
    rate: float = 0.0
    places: tuple[Place, ...] = ()
    elsewhere: int = 0


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
        from procmem.recording.packed import figures_of

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

    def suspects(self, *, confidence: float = 0.0, least: int = 64 * 1024) -> list[Suspect]:
        """What grew until the end, the fastest first.

        What grows is found by figures that every snapshot has: the kernel's totals, and the
        regions' sizes. Of each window of time the least value counts, so that a leak below memory
        that comes and goes is found, and what has stopped growing is none. Which regions it was
        is found by the snapshots that tell what each has in memory. Regions are taken together
        by kind, name and permissions, so that memory that is mapped piece by piece is seen, too.
        A file's content that is read in is none: it ends with the file.

        Args:
            confidence: the least that a growth must have.
            least: bytes that it must have gained in all.
        """
        from procmem.recording.suspects import suspects_of

        found = suspects_of(self, least)
        return [one for one in found if one.growth.confidence >= confidence]

    @property
    def rss_error(self) -> int | None:
        """The most by which rss of a snapshot may be off; 0: all are exact; None: not known."""
        errors = [one.rss_error for one in self._figures]
        return None if None in errors else max((error or 0 for error in errors), default=0)

    @property
    def last_full(self) -> int | None:
        """The number of the last snapshot at the detail of the first; None: there is none.

        A recorder takes one at the end. It can't where the process has ended by itself: then
        this is the one to compare the first with.
        """
        details = self.details
        return max((at for at, one in enumerate(details) if one == details[0]), default=None)


FIGURES = ("vsz", "rss", "swap", "page_tables")


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
