"""The regions (VMAs) of an address space, and the rules by which the kernel splits and merges them.

Source: mm/vma.c, mm/mmap.c, mm/rmap.c.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import count
from typing import Literal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EXEC", "READ", "WRITE", "Backing", "Cache", "Vma", "Vmas"]

READ, WRITE, EXEC = 1, 2, 4
"""PROT_READ, PROT_WRITE, PROT_EXEC."""

STICKY = frozenset(("guarded",))
"""Flags that do not keep regions from being merged; the merged one has them if either had."""

_numbers = count(1)


@dataclass(eq=False, slots=True)
class Cache:
    """The page cache of one file, shared by all processes that map it.

    Attributes:
        pages: the file's length in pages, rounded up.
        held: bit n: page n is in memory.
        single: its pages were read one by one, so that each is a folio of its own.
        doubt: why faults on it can't be predicted; None if they can.
    """

    pages: int
    held: int = 0
    single: bool = False
    doubt: str | None = None


@dataclass(eq=False, slots=True)
class Backing:
    """What a region maps: one open file.

    Attributes:
        kind: "shmem" (shared anonymous memory, memfd, tmpfs), "file" (a file system on a disk),
            "hugetlb", or "other" (the program itself, vdso and the like).
        cache: the page cache of the file.
    """

    kind: Literal["shmem", "file", "hugetlb", "other"]
    cache: Cache


@dataclass(slots=True)
class Vma:
    """One region.

    Attributes:
        start, end: page numbers.
        prot: READ | WRITE | EXEC.
        shared: MAP_SHARED.
        backing: None for private anonymous memory.
        offset: in pages; for anonymous memory the page number at which it was mapped.
        flags: names of madvise(2), and "locked", "lockonfault", "account", "noreserve", "guarded",
            "noexec", "nowrite", "pfnmap", "stack".
        anon_vma: identifies the region's anonymous pages (struct anon_vma); None before the first.
        forked: anon_vma is linked with the parent's, which keeps regions from being merged.
    """

    start: int
    end: int
    prot: int
    shared: bool
    backing: Backing | None
    offset: int
    flags: frozenset[str]
    anon_vma: int | None = None
    forked: bool = False

    @property
    def pages(self) -> int:
        """Its length in pages."""
        return self.end - self.start

    @property
    def is_anonymous(self) -> bool:
        """Whether it is private memory without a file."""
        return self.backing is None

    def part(self, start: int, end: int) -> Vma:
        """A region with the same properties that has some of its pages."""
        return Vma(
            start, end, self.prot, self.shared, self.backing, self.offset + start - self.start,
            self.flags, self.anon_vma, self.forked,
        )  # fmt: skip

    def continues(self, other: Vma) -> bool:
        """Whether `other` can be merged to its end, as far as anon_vma allows."""
        return (
            self.end == other.start
            and self.prot == other.prot
            and self.flags ^ other.flags <= STICKY
            and self.backing is other.backing
            and self.shared == other.shared
            and self.offset + self.pages == other.offset
            and (self.backing is None or self.backing.kind != "other")
        )


def may_share(target: Vma, source: Vma, *, untouched_joins: bool = True) -> bool:
    """is_mergeable_anon_vma(): whether `source` can become a part of `target`."""
    if target.anon_vma is None and source.anon_vma is not None:
        return untouched_joins and not source.forked
    if target.anon_vma is not None and source.anon_vma is None:
        return not target.forked
    return source.anon_vma == target.anon_vma


def compatible(one: Vma, other: Vma) -> bool:
    return one.anon_vma is None or other.anon_vma is None or one.anon_vma == other.anon_vma


class Vmas:
    """The regions of one address space, in order of address."""

    __slots__ = ("_starts", "_untouched_joins", "all")

    def __init__(self, regions: list[Vma], *, untouched_joins: bool = True) -> None:
        self.all = regions
        self._untouched_joins = untouched_joins
        self._starts = [region.start for region in regions]

    def __len__(self) -> int:
        return len(self.all)

    def at(self, page: int) -> Vma | None:
        """The region that a page belongs to; None: it is not mapped."""
        index = bisect_right(self._starts, page) - 1
        if index >= 0 and page < self.all[index].end:
            return self.all[index]
        return None

    def within(self, start: int, end: int) -> Iterator[Vma]:
        """The regions that overlap a range, whole."""
        index = max(0, bisect_right(self._starts, start) - 1)
        while index < len(self.all) and self.all[index].start < end:
            if self.all[index].end > start:
                yield self.all[index]
            index += 1

    def is_free(self, start: int, end: int) -> bool:
        """Whether no page of a range is mapped."""
        return next(self.within(start, end), None) is None

    def covers(self, start: int, end: int) -> bool:
        """Whether every page of the range is mapped."""
        for region in self.within(start, end):
            if region.start > start:
                return False
            start = region.end
        return start >= end

    def neighbours(self, start: int, end: int) -> tuple[int, int]:
        """The end of the last region before a range, and the start of the first after it."""
        before = bisect_left(self._starts, start) - 1
        after = bisect_left(self._starts, end)
        return (
            self.all[before].end if before >= 0 else 0,
            self.all[after].start if after < len(self.all) else 1 << 64,
        )

    def split(self, page: int) -> None:
        """Splits the region that has a page in its inside, at that page."""
        index = bisect_right(self._starts, page) - 1
        if index < 0:
            return
        region = self.all[index]
        if region.start < page < region.end:
            self.all[index : index + 1] = [
                region.part(region.start, page),
                region.part(page, region.end),
            ]
            self._starts.insert(index + 1, page)

    def cut(self, start: int, end: int) -> list[Vma]:
        """Removes a range; returns the regions that were there."""
        self.split(start)
        self.split(end)
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        gone = self.all[first:last]
        del self.all[first:last], self._starts[first:last]
        return gone

    def add(self, region: Vma, *, apart: bool = False) -> Vma:
        """Adds a region in free space, merged with its neighbours where the kernel does that.

        Args:
            region: the new region.
            apart: it is not merged with the region before it.
        """
        index = bisect_left(self._starts, region.start)
        self.all.insert(index, region)
        self._starts.insert(index, region.start)
        return self.join(region, apart=apart)

    def join(self, region: Vma, *, apart: bool = False) -> Vma:
        """Merges a region with its neighbours, where their properties are the same."""
        index = bisect_left(self._starts, region.start)
        before = self.all[index - 1] if index and not apart else None
        after = self.all[index + 1] if index + 1 < len(self.all) else None
        rule = self._untouched_joins
        left = right = None
        if before and before.continues(region) and may_share(before, region, untouched_joins=rule):
            left = before
        if after and region.continues(after) and may_share(after, region, untouched_joins=rule):
            right = after
        if left and right and not compatible(left, right):
            right = None
        if right:
            self._merge(index)
            region = self.all[index]
        if left:
            self._merge(index - 1)
            region = self.all[index - 1]
        return region

    def _merge(self, index: int) -> None:
        one, other = self.all[index], self.all[index + 1]
        whole = one.part(one.start, one.end)
        whole.end = other.end
        whole.flags |= other.flags & STICKY
        if one.anon_vma is None:
            whole.anon_vma, whole.forked = other.anon_vma, other.forked
        self.all[index : index + 2] = [whole]
        del self._starts[index + 1]

    def prepare_anon(self, region: Vma) -> None:
        """Gives a region an anon_vma before its first anonymous page; a neighbour's if possible."""
        if region.anon_vma is not None:
            return
        index = bisect_left(self._starts, region.start)
        after = self.all[index + 1] if index + 1 < len(self.all) else None
        before = self.all[index - 1] if index else None
        for one, a, b in ((after, region, after), (before, before, region)):
            if one is None or a is None or b is None or one.anon_vma is None or one.forked:
                continue
            if (
                a.end == b.start
                and a.backing is b.backing
                and a.shared == b.shared
                and a.flags ^ b.flags <= STICKY
                and b.offset == a.offset + b.start - a.start
            ):
                region.anon_vma = one.anon_vma
                return
        region.anon_vma = next(_numbers)

    def change(
        self,
        start: int,
        end: int,
        alter: Callable[[Vma], tuple[int, frozenset[str]]],
        then: Callable[[int, int], object] | None = None,
    ) -> None:
        """Changes protection or flags, region by region, as mprotect, madvise and mlock do.

        `then` is called with the range of each region that was changed.
        """
        while start < end:
            region = self.at(start)
            if region is None:
                return
            stop = min(end, region.end)
            prot, flags = alter(region)
            if (prot, flags) != (region.prot, region.flags):
                self.split(start)
                self.split(stop)
                piece = self.at(start)
                assert piece is not None  # noqa: S101 - it was split off just now
                piece.prot, piece.flags = prot, flags
                self.join(piece)
                if then:
                    then(start, stop)
            start = stop

    def fork(self) -> Vmas:
        """The regions of a child: it inherits neither locks, nor regions with MADV_DONTFORK."""
        regions = []
        for region in self.all:
            if "dontfork" in region.flags:
                continue
            child = region.part(region.start, region.end)
            child.flags = region.flags - {"locked", "lockonfault"}
            if "wipeonfork" in region.flags:
                child.anon_vma, child.forked = None, False
            elif region.anon_vma is not None:
                child.anon_vma, child.forked = next(_numbers), True
            regions.append(child)
        return Vmas(regions, untouched_joins=self._untouched_joins)
