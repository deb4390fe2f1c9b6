"""Page tables as the kernel fills and frees them.

Pages of one lowest table are the bits of a few integers, so that an operation on
a thousand pages is a handful of operations on integers.

Source: mm/memory.c (free_pgtables, zap_pte_range, copy_page_range), mm/mremap.c.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PageTables", "Table", "Tally"]


@dataclass(slots=True)
class Tally:
    """What one operation changes, in pages, tables and faults; by what; and what is uncertain."""

    vsz: int = 0
    anon: int = 0
    file: int = 0
    shmem: int = 0
    swap: int = 0
    hugetlb: int = 0
    locked: int = 0
    tables: int = 0
    minor: int = 0
    major: int = 0
    # For the explanation only.
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


@dataclass(slots=True)
class Table:
    """The entries of one lowest page table, a bit a page.

    Attributes:
        anon, zero, file, shmem: present pages, by kind; zero is the shared zero page.
        shared: anonymous pages that are not known to be this process's alone: a write faults.
        dirty: pages of files that were mapped by a write.
        swap, guard: entries that are not present.
        huge: "anon" or "zero" while the whole table is one huge page.
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
        """Pages that an access finds."""
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

    def take(self, mask: int) -> Table:
        """Moves entries out into a table of their own."""
        taken = Table(
            self.anon & mask, self.zero & mask, self.file & mask, self.shmem & mask,
            self.shared & mask, self.dirty & mask, self.swap & mask, self.guard & mask,
        )  # fmt: skip
        keep = ~mask
        for name in ("anon", "zero", "file", "shmem", "shared", "dirty", "swap", "guard"):
            setattr(self, name, getattr(self, name) & keep)
        return taken

    def put(self, other: Table, shift: int) -> None:
        """Takes entries in, `shift` places further up."""
        for name in ("anon", "zero", "file", "shmem", "shared", "dirty", "swap", "guard"):
            bits = getattr(other, name)
            setattr(
                self, name, getattr(self, name) | (bits << shift if shift >= 0 else bits >> -shift)
            )


class PageTables:
    """The tables of one address space, but for the topmost.

    Args:
        bits: of an address that one level takes: 9 with 4 KiB pages and 8-byte entries.

    Attributes:
        lowest: by page number >> bits. A level above is a set of page numbers >> 2 * bits,
            and one more >> 3 * bits; the topmost is not counted by VmPTE.
    """

    __slots__ = ("bits", "full", "lowest", "middle", "upper")

    def __init__(self, bits: int = 9) -> None:
        self.bits = bits
        self.full = (1 << (1 << bits)) - 1
        self.lowest: dict[int, Table] = {}
        self.middle: set[int] = set()
        self.upper: set[int] = set()

    def count(self) -> int:
        """Tables that VmPTE counts."""
        return len(self.lowest) + len(self.middle) + len(self.upper)

    def masks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """A range of pages as masks of lowest tables, whether these exist or not."""
        bits, size = self.bits, 1 << self.bits
        for index in range(start >> bits, (end + size - 1) >> bits):
            base = index << bits
            low, high = max(start - base, 0), min(end - base, size)
            yield index, (1 << high) - (1 << low)

    def present_masks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The same, of tables that exist. Huge ranges cost what is in them."""
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
        """The levels above the lowest table `index`."""
        middle = index >> self.bits
        if middle not in self.middle:
            self.middle.add(middle)
            tally.tables += 1
            upper = middle >> self.bits
            if upper not in self.upper:
                self.upper.add(upper)
                tally.tables += 1

    def make(self, index: int, tally: Tally) -> Table:
        """The lowest table `index`, with all above it."""
        table = self.lowest.get(index)
        if table is None:
            self.make_middle(index, tally)
            table = self.lowest[index] = Table()
            tally.tables += 1
        return table

    def copy_upper(self, other: PageTables, start: int, end: int) -> None:
        """Makes in another the tables above the lowest that a range has here."""
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
        """A whole huge page goes, and with it the table that was kept for its splitting."""
        self.lowest.pop(index).drop(self.full, tally)
        tally.tables -= 1

    def split_huge(self, table: Table, mask: int) -> None:
        """Makes ordinary pages of a huge one, if only a part of it is meant."""
        if table.huge and mask != self.full:
            table.huge = ""

    def free(self, start: int, end: int, floor: int, ceiling: int, tally: Tally) -> None:
        """free_pgtables(): tables whose span meets the range and no region that stays."""
        before = tally.tables
        levels: tuple[dict[int, Table] | set[int], ...] = self.lowest, self.middle, self.upper
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
        """CONFIG_PT_RECLAIM: MADV_DONTNEED frees lowest tables that it has emptied whole."""
        before = tally.tables
        for index, mask in list(self.present_masks(start, end)):
            if mask == self.full and not self.lowest[index].used:
                del self.lowest[index]
                tally.tables -= 1
        tally.freed_tables += before - tally.tables


def table_copy(table: Table) -> Table:
    return Table(
        table.anon, table.zero, table.file, table.shmem, table.shared, table.dirty,
        table.swap, table.guard, table.huge,
    )  # fmt: skip
