"""Change: what happened to some regions between two snapshots; Explanation: why."""

from __future__ import annotations

import enum
from typing import NamedTuple

from procmem.snapshots.comparison import (
    AFTER,
    AFTER_COUNT,
    BEFORE,
    BEFORE_COUNT,
    COPIED,
    HUGE,
    HUGETLB,
    KINDS,
    KNOWN,
    KNOWS_COPIED,
    KNOWS_FAULTS,
    KNOWS_HUGE,
    KNOWS_HUGETLB,
    KNOWS_KSM,
    KNOWS_LAZY,
    KNOWS_RSS,
    KNOWS_SWAP,
    KNOWS_UNSHARED,
    KSM,
    LAZY,
    MAJOR,
    MINOR,
    RSS,
    START,
    SWAP,
    UNSHARED,
    VSZ,
)
from procmem.units import signed

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Protocol

    from procmem.regions import Region
    from procmem.snapshots.comparison import Row
    from procmem.snapshots.parts import Cause, Part

    class Members(Protocol):
        """Finds the regions of a change; see TotalsDiff.members()."""

        def __call__(self, first: int, count: int, *, after: bool) -> tuple[Region, ...]: ...


__all__ = ["Change", "ChangeKind", "Explanation"]


class ChangeKind(enum.Enum):
    """What happened to regions. `str(kind)` is its value; a change may be of several kinds."""

    MAPPED = "mapped"
    UNMAPPED = "unmapped"
    MOVED = "moved"
    GROWN = "grown"
    SHRUNK = "shrunk"
    SPLIT = "split"
    MERGED = "merged"
    PROTECTED = "protected"
    RENAMED = "renamed"
    ADVISED = "advised"
    TOUCHED = "touched"
    DROPPED = "dropped"
    SWAPPED = "swapped"
    COPIED = "copied"
    SHARING = "sharing"
    LAZILY_FREED = "lazily freed"
    HUGE_PAGES = "huge pages"
    KSM = "ksm"
    HUGETLB = "hugetlb"

    def __str__(self) -> str:
        return self.value


Ranges = tuple[tuple[int, int], ...]

_KINDS: dict[int, tuple[ChangeKind, ...]] = {}


class Change:
    """What changed in some regions. Sizes are bytes, after - before; None: not measured.

    Args:
        row: the change, as native/compare.c found it.
        members: finds its regions.
        explain: called when its cause is asked for, to set `explanation`.
    """

    __slots__ = ("_after", "_before", "_explain", "_members", "_row", "explanation")

    def __init__(self, row: Row, members: Members, explain: Callable[[], None]) -> None:
        self._row = row
        self._members = members
        self._explain = explain
        self._before: tuple[Region, ...] | None = None
        self._after: tuple[Region, ...] | None = None
        self.explanation: Explanation | None = None

    @property
    def kinds(self) -> tuple[ChangeKind, ...]:
        """What happened, the most important first."""
        bits = self._row[KINDS]
        known = _KINDS.get(bits)
        if known is None:
            # Each has a bit in pm_change.kinds, in this order.
            known = tuple(kind for at, kind in enumerate(ChangeKind) if bits >> at & 1)
            _KINDS[bits] = known
        return known

    @property
    def kind(self) -> ChangeKind:
        """The most important of its kinds."""
        return self.kinds[0]

    @property
    def before(self) -> tuple[Region, ...]:
        """Its regions as they were before, by address; empty if they are new."""
        found = self._before
        if found is None:
            row = self._row
            found = self._members(row[BEFORE], row[BEFORE_COUNT], after=False)
            self._before = found
        return found

    @property
    def after(self) -> tuple[Region, ...]:
        """Its regions as they are after, by address; empty if they were unmapped."""
        found = self._after
        if found is None:
            row = self._row
            found = self._members(row[AFTER], row[AFTER_COUNT], after=True)
            self._after = found
        return found

    @property
    def region(self) -> Region:
        """The largest of its regions after the change; before it, if none is left."""
        regions = self.after or self.before
        return regions[0] if len(regions) == 1 else max(regions, key=lambda region: region.size)

    @property
    def start(self) -> int:
        """The lowest address of its regions."""
        return self._row[START]

    @property
    def vsz(self) -> int:
        """Change of the size of its regions."""
        return self._row[VSZ]

    @property
    def rss(self) -> int | None:
        """Change of the bytes in memory."""
        row = self._row
        return row[RSS] if row[KNOWN] & KNOWS_RSS else None

    @property
    def swap(self) -> int | None:
        """Change of the bytes in swap."""
        row = self._row
        return row[SWAP] if row[KNOWN] & KNOWS_SWAP else None

    def _figure(self, which: int, known: int) -> int | None:
        row = self._row
        return row[which] if row[KNOWN] & known else None

    @property
    def copied(self) -> int | None:
        """Bytes copied on write: private pages shared with other processes, or pages of a file.

        None if the figures also fit other causes; see `unshared`. Known only with detail "smaps".
        """
        return self._figure(COPIED, KNOWS_COPIED)

    @property
    def unshared(self) -> int | None:
        """Bytes of anonymous memory that were shared and now are private, whatever the cause.

        Negative: they became shared, by fork(2). Known only with detail "smaps".
        """
        return self._figure(UNSHARED, KNOWS_UNSHARED)

    @property
    def anon_huge_pages(self) -> int | None:
        """Change of the bytes in transparent huge pages (AnonHugePages)."""
        return self._figure(HUGE, KNOWS_HUGE)

    @property
    def lazy_free(self) -> int | None:
        """Change of the bytes that the kernel may reclaim after madvise(MADV_FREE) (LazyFree)."""
        return self._figure(LAZY, KNOWS_LAZY)

    @property
    def ksm(self) -> int | None:
        """Change of the bytes that KSM has merged with equal pages (KSM)."""
        return self._figure(KSM, KNOWS_KSM)

    @property
    def hugetlb(self) -> int | None:
        """Change of the bytes in hugetlbfs (Shared_Hugetlb, Private_Hugetlb), which `rss` lacks."""
        return self._figure(HUGETLB, KNOWS_HUGETLB)

    @property
    def minor(self) -> int | None:
        """Page faults that the pages which came into memory in these regions account for.

        The kernel counts faults per process only. None: not known.
        """
        row = self._row
        return row[MINOR] if row[KNOWN] & KNOWS_FAULTS else None

    @property
    def major(self) -> int | None:
        """Likewise of page faults that read a disk or swap."""
        row = self._row
        return row[MAJOR] if row[KNOWN] & KNOWS_FAULTS else None

    @property
    def gained(self) -> Ranges:
        """The address ranges that are mapped after, and were not before."""
        return self._only(self.after, self.before)

    @property
    def lost(self) -> Ranges:
        """The address ranges that were mapped before, and are not after."""
        return self._only(self.before, self.after)

    def _only(self, regions: Sequence[Region], others: Sequence[Region]) -> Ranges:
        if not others or ChangeKind.MOVED in self.kinds:
            return tuple((region.start, region.end) for region in regions)
        return without(regions, others)

    @property
    def cause(self) -> Cause:
        """Why it happened, as one of a fixed list."""
        return self._explained.cause

    @property
    def why(self) -> str:
        """Why it happened, in words."""
        return self._explained.words

    @property
    def evidence(self) -> tuple[str, ...]:
        """The facts that the cause is concluded from."""
        return self._explained.evidence

    @property
    def _explained(self) -> Explanation:
        if self.explanation is None:
            self._explain()
        return self.explanation  # type: ignore[return-value] # it has one now

    def __repr__(self) -> str:
        rss = "" if self.rss is None else f", RSS {signed(self.rss)}"
        kinds = ", ".join(map(str, self.kinds))
        return f"<Change {self.start:x} {kinds}: VSZ {signed(self.vsz)}{rss}>"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "kinds": [kind.value for kind in self.kinds],
            "before": [region.to_record() for region in self.before],
            "after": [region.to_record() for region in self.after],
            "vsz": self.vsz,
            "rss": self.rss,
            "swap": self.swap,
            "copied": self.copied,
            "unshared": self.unshared,
            "anon_huge_pages": self.anon_huge_pages,
            "lazy_free": self.lazy_free,
            "ksm": self.ksm,
            "hugetlb": self.hugetlb,
            "minor": self.minor,
            "major": self.major,
            "cause": self.cause.value,
            "why": self.why,
            "evidence": list(self.evidence),
        }


class Explanation(NamedTuple):
    """A cause, and the changes that it accounts for.

    Attributes:
        cause: one of a fixed list.
        words: the cause in words, with the figures.
        evidence: the facts that it is concluded from.
        changes: the changes that it accounts for.
        parts: everything that happened to the regions, each with its own cause, the most
            important first.
    """

    cause: Cause
    words: str
    evidence: tuple[str, ...]
    changes: tuple[Change, ...]
    parts: tuple[Part, ...] = ()

    @property
    def vsz(self) -> int:
        """Bytes of address space that it accounts for."""
        return sum(change.vsz for change in self.changes)

    @property
    def rss(self) -> int | None:
        """Bytes in memory that it accounts for; None: not measured."""
        parts = [change.rss for change in self.changes]
        return None if None in parts else sum(part or 0 for part in parts)


def following(regions: Sequence[Region], first: int) -> Iterator[Region]:
    return (regions[place] for place in range(first, len(regions)))


def without(regions: Sequence[Region], others: Sequence[Region]) -> Ranges:
    """The address ranges that `regions` cover and `others` don't; adjacent ones are joined."""
    found: list[tuple[int, int]] = []
    first = 0
    for region in regions:
        at = region.start
        while first < len(others) and others[first].end <= at:
            first += 1
        for other in following(others, first):
            if other.start >= region.end:
                break
            if other.start > at:
                found.append((at, other.start))
            at = other.end
        if at < region.end:
            found.append((at, region.end))
    joined: list[tuple[int, int]] = []
    for start, end in found:
        if joined and joined[-1][1] == start:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return tuple(joined)
