"""Page tables as the kernel fills and frees them.

The entries of a lowest table are bits of a few integers, so that an operation on a thousand
pages takes only a few operations on integers.

Source: mm/memory.c (free_pgtables, zap_pte_range, copy_page_range), mm/mremap.c.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PageTable", "PageTableTree", "Tally"]


@dataclass(slots=True)
class Tally:
    """What one operation changes: pages, page tables, regions and faults, and how it does so.

    Attributes:
        vsz, anon, file, shmem, swap, hugetlb, locked: pages.
        tables: page tables.
        regions: lines of maps.
        minor, major: page faults.
        uncertain: why the figures may differ; None: they may not.
        said: what the C library decided before it called the kernel, in sentences.

    All others are for the explanation only.
    """

    vsz: int = 0
    anon: int = 0
    file: int = 0
    shmem: int = 0
    swap: int = 0
    hugetlb: int = 0
    locked: int = 0
    tables: int = 0
    regions: int = 0
    minor: int = 0
    major: int = 0
    fresh: int = 0
    zeros: int = 0
    filled: int = 0
    found: int = 0
    noted: int = 0
    moved: bool = False
    copies: int = 0
    around: int = 0
    unshared: int = 0
    huge: int = 0
    dropped: int = 0
    freed_tables: int = 0
    uncertain: str | None = None
    said: str = ""

    def figures(self, page_size: int) -> tuple[int, ...]:
        """The changes as the kernel shows them: all but regions and faults in bytes."""
        return (
            self.vsz * page_size,
            (self.anon + self.file + self.shmem) * page_size,
            self.anon * page_size,
            self.file * page_size,
            self.shmem * page_size,
            self.swap * page_size,
            self.hugetlb * page_size,
            self.locked * page_size,
            self.tables * page_size,
            self.regions,
            self.minor,
            self.major,
        )


@dataclass(slots=True)
class PageTable:
    """The entries of one lowest page table, one bit for each page.

    Attributes:
        anon, zero, file, shmem: present pages, by kind; zero: the zero page is mapped.
        shared: anonymous pages that other processes may have, too: a write takes a fault.
        dirty: pages of files that were mapped by a write.
        swap, guard: entries that are not present: swapped out, or marked as guard pages.
        huge: "anon" or "zero" while one huge page takes the place of the whole table.
    """

    anon: int = 0
    zero: int = 0
    file: int = 0
    shmem: int = 0
    shared: int = 0
    dirty: int = 0
    swap: int = 0
    guard: int = 0
    huge: str = ""

    @property
    def present(self) -> int:
        """Pages that an access finds without a fault."""
        return self.anon | self.zero | self.file | self.shmem

    @property
    def used(self) -> int:
        """Entries that aren't empty."""
        return self.present | self.swap | self.guard

    def drop(self, mask: int, tally: Tally) -> None:
        """Clears entries."""
        keep = ~mask
        tally.anon -= (self.anon & mask).bit_count()
        tally.file -= (self.file & mask).bit_count()
        tally.shmem -= (self.shmem & mask).bit_count()
        tally.swap -= (self.swap & mask).bit_count()
        tally.dropped += (self.present & mask).bit_count()
        self.anon &= keep
        self.zero &= keep
        self.file &= keep
        self.shmem &= keep
        self.shared &= keep
        self.dirty &= keep
        self.swap &= keep

    def take(self, mask: int) -> PageTable:
        """Moves entries into a table of their own."""
        taken = PageTable(
            self.anon & mask, self.zero & mask, self.file & mask, self.shmem & mask,
            self.shared & mask, self.dirty & mask, self.swap & mask, self.guard & mask,
        )  # fmt: skip
        keep = ~mask
        for name in ("anon", "zero", "file", "shmem", "shared", "dirty", "swap", "guard"):
            setattr(self, name, getattr(self, name) & keep)
        return taken

    def put(self, other: PageTable, shift: int) -> None:
        """Adds the entries of another table, `shift` places further up."""
        for name in ("anon", "zero", "file", "shmem", "shared", "dirty", "swap", "guard"):
            bits = getattr(other, name)
            setattr(
                self, name, getattr(self, name) | (bits << shift if shift >= 0 else bits >> -shift)
            )


class PageTableTree:
    """The page tables of one address space, without the top level.

    Args:
        bits: address bits that each level resolves: 9 with 4 KiB pages and 8-byte entries.

    Attributes:
        lowest: the lowest tables, by page number >> bits.
        middle, upper: the tables of the two levels above, by page number >> 2 * bits and
            >> 3 * bits. VmPTE does not count the top level.
    """

    __slots__ = ("bits", "full", "lowest", "middle", "upper")

    def __init__(self, bits: int = 9) -> None:
        self.bits = bits
        self.full = (1 << (1 << bits)) - 1
        self.lowest: dict[int, PageTable] = {}
        self.middle: set[int] = set()
        self.upper: set[int] = set()

    def count(self) -> int:
        """How many tables VmPTE counts."""
        return len(self.lowest) + len(self.middle) + len(self.upper)

    def masks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """A range of pages as masks of lowest tables, existing or not."""
        bits, size = self.bits, 1 << self.bits
        for index in range(start >> bits, (end + size - 1) >> bits):
            base = index << bits
            low, high = max(start - base, 0), min(end - base, size)
            yield index, (1 << high) - (1 << low)

    def present_masks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The same for existing tables only; the cost of a huge range is that of its tables."""
        bits = self.bits
        first, last = start >> bits, (end - 1) >> bits
        if end <= start:
            return
        if last - first > len(self.lowest):
            found = sorted(index for index in self.lowest if first <= index <= last)
        else:
            found = [index for index in range(first, last + 1) if index in self.lowest]
        size = 1 << bits
        for index in found:
            base = index << bits
            low, high = max(start - base, 0), min(end - base, size)
            yield index, (1 << high) - (1 << low)

    def make_middle(self, index: int, tally: Tally) -> None:
        """Makes the tables above the lowest table `index`."""
        middle = index >> self.bits
        if middle not in self.middle:
            self.middle.add(middle)
            tally.tables += 1
            upper = middle >> self.bits
            if upper not in self.upper:
                self.upper.add(upper)
                tally.tables += 1

    def make(self, index: int, tally: Tally) -> PageTable:
        """The lowest table `index`; it is made if it is missing, with all above it."""
        table = self.lowest.get(index)
        if table is None:
            self.make_middle(index, tally)
            table = self.lowest[index] = PageTable()
            tally.tables += 1
        return table

    def copy_upper(self, other: PageTableTree, start: int, end: int) -> None:
        """Makes in another tree the tables above the lowest level that a range has here."""
        for level, known, made in ((2, self.middle, other.middle), (3, self.upper, other.upper)):
            shift = level * self.bits
            first, last = start >> shift, (end - 1) >> shift
            made.update(index for index in known if first <= index <= last)

    def drop(self, start: int, end: int, tally: Tally, *, guards: bool = True) -> None:
        """Clears the entries of a range; tables stay."""
        for index, mask in self.present_masks(start, end):
            table = self.lowest[index]
            self.split_huge(table, mask)
            if table.huge:
                self.drop_huge(index, tally)
                continue
            table.drop(mask, tally)
            if guards:
                table.guard &= ~mask

    def drop_huge(self, index: int, tally: Tally) -> None:
        """Unmaps a huge page, and frees the page table that was kept for splitting it."""
        self.lowest.pop(index).drop(self.full, tally)
        tally.tables -= 1

    def split_huge(self, table: PageTable, mask: int) -> None:
        """Splits a huge page into ordinary pages, unless the mask is the whole of it."""
        if table.huge and mask != self.full:
            table.huge = ""

    def free(self, start: int, end: int, floor: int, ceiling: int, tally: Tally) -> None:
        """free_pgtables(): frees tables that span a part of the range and no remaining region."""
        before = tally.tables
        levels: tuple[dict[int, PageTable] | set[int], ...] = self.lowest, self.middle, self.upper
        for level, known in enumerate(levels, start=1):
            shift = level * self.bits
            first, last = start >> shift, (end - 1) >> shift
            candidates = (
                [index for index in known if first <= index <= last]
                if last - first > len(known)
                else [index for index in range(first, last + 1) if index in known]
            )
            for index in candidates:
                if index << shift >= floor and (index + 1) << shift <= ceiling:
                    if isinstance(known, dict):
                        del known[index]
                    else:
                        known.remove(index)
                    tally.tables -= 1
        tally.freed_tables += before - tally.tables

    def reclaim(self, start: int, end: int, tally: Tally) -> None:
        """CONFIG_PT_RECLAIM: MADV_DONTNEED frees the lowest tables that it has emptied."""
        before = tally.tables
        for index, mask in list(self.present_masks(start, end)):
            if mask == self.full and not self.lowest[index].used:
                del self.lowest[index]
                tally.tables -= 1
        tally.freed_tables += before - tally.tables


def table_copy(table: PageTable) -> PageTable:
    return PageTable(
        table.anon, table.zero, table.file, table.shmem, table.shared, table.dirty,
        table.swap, table.guard, table.huge,
    )  # fmt: skip
