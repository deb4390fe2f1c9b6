"""A model of page faults: which pages an access brings in, and which accesses are refused.

Source: mm/memory.c, mm/filemap.c, mm/huge_memory.c, mm/gup.c, arch/x86/mm/fault.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from procmem.experiments.model.vmas import EXEC, READ, WRITE, Backing, Vma, Vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from procmem.experiments.model.page_tables import PageTable, PageTableTree, Tally

__all__ = ["FORWARD", "Faulting", "Order", "Rules", "Trap"]

SIGBUS, SIGSEGV = 7, 11
MAPERR, ACCERR, ADRERR, SI_KERNEL = 1, 2, 2, 128
READAHEAD = "readahead may bring in more pages (madvise: MADV_RANDOM turns it off)"


class Rules(NamedTuple):
    """Rules that differ between kernels and machines, found out at run time.

    Attributes:
        page_size: in bytes.
        bits: address bits that one level of page tables resolves.
        around: the most pages that a fault on a file maps (fault_around_bytes).
        pt_reclaim: MADV_DONTNEED frees emptied lowest tables (CONFIG_PT_RECLAIM, Linux 6.14).
        sticky_guards: guard pages mark their region (VmFlags gu, Linux 6.19); before, they gave it
            an anon_vma.
        uncharges: untouched memory that mprotect(2) takes PROT_WRITE from is no longer counted as
            committed (VmFlags ac): not so in Linux 6.1.
        untouched_joins: a region without pages is joined with one that has some and is changed to
            be like it: not so in Linux 6.1.
        huge: transparent huge pages for this process: "always", "madvise", "never".
        has_swap: anonymous pages can be swapped out.
        address_bits: address bits of user space.
    """

    page_size: int = 4096
    bits: int = 9
    around: int = 16
    pt_reclaim: bool = False
    sticky_guards: bool = False
    uncharges: bool = True
    untouched_joins: bool = True
    huge: str = "never"
    has_swap: bool = False
    address_bits: int = 47


class Order(NamedTuple):
    """An order of accesses: the n-th access is to page (n * factor + shift) % count."""

    factor: int = 1
    shift: int = 0


FORWARD = Order()


@dataclass(frozen=True)
class Trap:
    """The signal that an access causes.

    Attributes:
        signal, code: its number, and si_code of sigaction(2).
        address: si_addr.
        done: how many accesses succeed before it.
    """

    signal: int
    code: int
    address: int
    done: int


class Faulting:
    """The part of an address space that handles page faults."""

    rules: Rules
    vmas: Vmas
    tables: PageTableTree
    _hugetlb: set[int]

    def populate(self, start: int, end: int, tally: Tally, *, write: bool | None = None) -> bool:
        """Brings in all pages in order, as MAP_POPULATE, mlock and MADV_POPULATE_* do.

        False: it stopped at a page that can't be brought in.
        """
        for region in list(self.vmas.within(start, end)):
            if "lockonfault" in region.flags and write is None:
                continue
            if not region.prot:
                return False
            writes = region.prot & WRITE and not region.shared if write is None else write
            first, last = max(start, region.start), min(end, region.end)
            guard = self._first_guard(first, last)
            inside = min(last, guard, self._end_of_file(region))
            if first < inside:
                self._fault_in(region, first, inside, bool(writes), tally)
            if inside < last:
                if inside < guard:
                    self._meet_end_of_file(region, max(first, inside), bool(writes), tally)
                return False
        return True

    def _first_guard(self, start: int, end: int) -> int:
        for index, mask in self.tables.present_masks(start, end):
            if found := self.tables.lowest[index].guard & mask:
                return (index << self.tables.bits) + (found & -found).bit_length() - 1
        return end

    def _end_of_file(self, region: Vma) -> int:
        """The first page beyond the end of the mapped file."""
        if region.backing is None or region.backing.kind == "other":
            return 1 << 64
        return region.start + region.backing.cache.pages - region.offset

    def _meet_end_of_file(self, region: Vma, page: int, write: bool, tally: Tally) -> None:
        """The kernel finds the end only after it made tables and mapped a read's neighbours."""
        index = page >> self.tables.bits
        self.tables.make_middle(index, tally)
        if write and not region.shared:
            self.vmas.prepare_anon(region)
        if not write:
            self._fault_around_end(region, page, tally)

    def _map_pages(self, backing: Backing, table: PageTable, pages: int, tally: Tally) -> None:
        if backing.kind == "shmem":
            tally.shmem += pages.bit_count()
            table.shmem |= pages
        else:
            tally.file += pages.bit_count()
            table.file |= pages

    def touch(
        self,
        address: int,
        tally: Tally,
        *,
        count: int = 1,
        stride: int | None = None,
        write: bool = True,
        order: Order = FORWARD,
    ) -> Trap | None:
        """Accesses one address after the other; stops at the first that is not allowed."""
        size = self.rules.page_size
        stride = size if stride is None else stride
        need = WRITE if write else READ
        if stride == size and count:
            region = self.vmas.at(address // size)
            if region is not None and region.end >= address // size + count:
                start = address // size
                if self._allows(region, start, start + count, need):
                    self._fault_in(region, start, start + count, write, tally, order)
                    return None
        return self._touch_each(address, count, stride, write, order, tally)

    def _allows(self, region: Vma, start: int, end: int, need: int) -> bool:
        readable = READ | WRITE | EXEC  # x86-64 and aarch64 read what may be written or run
        if not region.prot & (readable if need == READ else need):
            return False
        if end > self._end_of_file(region):
            return False
        return self._first_guard(start, end) == end

    def _touch_each(
        self, address: int, count: int, stride: int, write: bool, order: Order, tally: Tally
    ) -> Trap | None:
        size = self.rules.page_size
        place, need = order.shift, WRITE if write else READ
        for done in range(count):
            at = address + place * stride
            page = at // size
            region = self.vmas.at(page)
            if at >> self.rules.address_bits:
                # Not canonical: the processor reports no address.
                canonical = at >> self.rules.address_bits == (
                    (1 << (64 - self.rules.address_bits)) - 1
                )
                code, seen = (MAPERR, at) if canonical else (SI_KERNEL, 0)
                return Trap(SIGSEGV, code, seen, done)
            if region is None:
                return Trap(SIGSEGV, MAPERR, at, done)
            if not self._allows(region, page, page + 1, need):
                return self._refuse(region, page, at, done, need, tally)
            self._fault_in(region, page, page + 1, write, tally)
            place = (place + order.factor) % count
        return None

    def _refuse(self, region: Vma, page: int, at: int, done: int, need: int, tally: Tally) -> Trap:
        readable = READ | WRITE | EXEC
        if not region.prot & (readable if need == READ else need):
            return Trap(SIGSEGV, ACCERR, at, done)
        table = self.tables.lowest.get(page >> self.tables.bits)
        if table and table.guard >> (page & ((1 << self.tables.bits) - 1)) & 1:
            return Trap(SIGSEGV, MAPERR, at, done)
        self._meet_end_of_file(region, page, need == WRITE, tally)
        return Trap(SIGBUS, ADRERR, at, done)

    def _fault_around_end(self, region: Vma, page: int, tally: Tally) -> None:
        """A read fault maps cached pages around it before it finds that the file has ended."""
        backing, around, bits = region.backing, self.rules.around, self.tables.bits
        if backing is None or backing.kind not in ("file", "shmem"):
            return
        index = page >> bits
        first = index << bits
        start = max(page & -around, region.start)
        end = min(start + around, self._end_of_file(region))
        if end <= start:
            return
        found = self._cached(region, backing, index)
        found &= (1 << end - first) - (1 << start - first)
        if not found:
            return
        last = 1 << self._end_of_file(region) - 1 - first
        if backing.kind == "file" and found == last and index not in self.tables.lowest:
            # Since Linux 6.18 filemap_map_pages() makes no table for a file's last folio.
            return
        table = self.tables.make(index, tally)
        mapped = found & ~table.used
        tally.around += mapped.bit_count()
        self._map_pages(backing, table, mapped, tally)

    def _fault_in(
        self,
        region: Vma,
        start: int,
        end: int,
        write: bool,
        tally: Tally,
        order: Order = FORWARD,
    ) -> None:
        """Brings in pages of one region, all of which may be accessed."""
        backing = region.backing
        if backing is None:
            self._fault_anonymous(region, start, end, write, tally)
        elif backing.kind == "hugetlb":
            self._fault_hugetlb(start, end, tally)
        elif write and not region.shared:
            self._fault_private_write(region, backing, start, end, tally)
        elif write:
            self._fault_shared_write(region, backing, start, end, tally)
        else:
            self._fault_file_read(region, backing, start, end, tally, order)

    def _fault_anonymous(
        self, region: Vma, start: int, end: int, write: bool, tally: Tally
    ) -> None:
        tables = self.tables
        for index, mask in tables.masks(start, end):
            if self._fault_huge(region, index, write, tally):
                continue
            table = tables.make(index, tally)
            if write:
                missing = mask & ~(table.anon | table.swap)
                if missing and region.anon_vma is None:
                    self.vmas.prepare_anon(region)
                unshared = mask & table.shared
                tally.fresh += (missing & ~table.zero).bit_count()
                tally.filled += (missing & table.zero).bit_count()
                tally.unshared += unshared.bit_count()
                tally.minor += missing.bit_count() + unshared.bit_count()
                tally.anon += missing.bit_count()
                table.anon |= missing
                table.zero &= ~missing
                table.shared &= ~unshared
            else:
                missing = mask & ~(table.anon | table.zero | table.swap)
                tally.minor += missing.bit_count()
                tally.zeros += missing.bit_count()
                table.zero |= missing
            back = mask & table.swap
            if back:
                self._swap_in(table, back, tally)

    def _fault_huge(self, region: Vma, index: int, write: bool, tally: Tally) -> bool:
        """Whether a transparent huge page serves the fault."""
        if not self._wants_huge(region):
            return False
        tables = self.tables
        first = index << tables.bits
        table = tables.lowest.get(index)
        if table is not None:
            if table.huge == "zero" and write:
                tally.minor += 1
                tally.anon += 1 << tables.bits
                tally.huge += 1
                table.zero, table.anon, table.huge = 0, tables.full, "anon"
            return bool(table.huge) and not (write and table.shared)
        if region.start > first or region.end < first + (1 << tables.bits):
            return False
        self.vmas.prepare_anon(region)
        table = tables.make(index, tally)
        tally.minor += 1
        tally.huge += 1
        tally.uncertain = "it needs a free huge page, which the system may not have"
        if write:
            table.anon, table.huge = tables.full, "anon"
            tally.anon += 1 << tables.bits
        else:
            table.zero, table.huge = tables.full, "zero"
        return True

    def _wants_huge(self, region: Vma) -> bool:
        huge = self.rules.huge
        return "nohugepage" not in region.flags and (
            huge == "always" or (huge == "madvise" and "hugepage" in region.flags)
        )

    def _swap_in(self, table: PageTable, pages: int, tally: Tally) -> None:
        count = pages.bit_count()
        tally.major += count
        tally.anon += count
        tally.swap -= count
        table.swap &= ~pages
        table.anon |= pages

    def _fault_private_write(
        self, region: Vma, backing: Backing, start: int, end: int, tally: Tally
    ) -> None:
        for index, mask in self.tables.masks(start, end):
            table = self.tables.make(index, tally)
            missing = mask & ~(table.anon | table.swap)
            if missing and region.anon_vma is None:
                self.vmas.prepare_anon(region)
            replaced = missing & (table.file | table.shmem)
            unread = missing & ~replaced & ~self._cached(region, backing, index)
            self._read_in(region, backing, index, unread)
            unshared = mask & table.shared
            tally.copies += missing.bit_count()
            tally.unshared += unshared.bit_count()
            # A page of shared memory that was never written is not read from anywhere.
            major = unread.bit_count() if backing.kind == "file" else 0
            if major and self._reads_ahead(region, backing):
                tally.uncertain = READAHEAD
            tally.major += major
            tally.minor += missing.bit_count() - major + unshared.bit_count()
            tally.anon += missing.bit_count()
            tally.file -= (missing & table.file).bit_count()
            tally.shmem -= (missing & table.shmem).bit_count()
            table.anon |= missing
            table.file &= ~missing
            table.shmem &= ~missing
            table.shared &= ~unshared
            if back := mask & table.swap:
                self._swap_in(table, back, tally)

    def _fault_shared_write(
        self, region: Vma, backing: Backing, start: int, end: int, tally: Tally
    ) -> None:
        for index, mask in self.tables.masks(start, end):
            table = self.tables.make(index, tally)
            missing = mask & ~(table.file | table.shmem)
            unread = missing & ~self._cached(region, backing, index)
            self._read_in(region, backing, index, unread)
            tally.found += (missing & ~unread).bit_count()
            if backing.kind == "file":
                major = unread.bit_count()
                if major and self._reads_ahead(region, backing):
                    tally.uncertain = READAHEAD
                # The first write to each page notifies the file system (page_mkwrite).
                clean = mask & table.file & ~table.dirty
                tally.noted += clean.bit_count()
                if mask & table.dirty:
                    tally.uncertain = "a page that was written back meanwhile takes another fault"
                tally.major += major
                tally.minor += missing.bit_count() - major + clean.bit_count()
                tally.file += missing.bit_count()
                table.file |= missing
                table.dirty |= mask
            else:
                tally.minor += missing.bit_count()
                tally.shmem += missing.bit_count()
                tally.fresh += unread.bit_count()
                table.shmem |= missing

    def _fault_file_read(
        self,
        region: Vma,
        backing: Backing,
        start: int,
        end: int,
        tally: Tally,
        order: Order,
    ) -> None:
        """A fault also maps cached pages around it (do_fault_around)."""
        tables, around = self.tables, self.rules.around
        size = 1 << tables.bits
        for index, wanted in tables.masks(start, end):
            table = tables.make(index, tally)
            first = index << tables.bits
            if back := wanted & table.swap:
                self._swap_in(table, back, tally)
            missing = wanted & ~table.present
            if not missing:
                continue
            cached = self._cached(region, backing, index)
            low, high = max(region.start - first, 0), min(region.end - first, size)
            inside = (1 << high) - (1 << low)
            mapped = 0
            # The window of a fault begins at a multiple of its size or at the region's
            # start, so that the first two may overlap.
            for at, length in windows(low, high, around):
                here = missing & ((1 << at + length) - (1 << at))
                if not here:
                    continue
                near = inside & cached & ~table.used & ~mapped
                simple = length == around and (here & cached == here or not here & cached)
                if simple:
                    taken = near & ((1 << at + around) - (1 << at)) | here
                    faults = 1 if here & cached else here.bit_count()
                else:
                    ordered = in_order(here, first - start, end - start, order)
                    taken, faults = fault_each(ordered, near, cached, low, around)
                fresh = here & ~cached
                unread = fresh.bit_count()
                if backing.kind == "file":
                    tally.major += unread
                    tally.minor += faults - unread
                    if unread and self._reads_ahead(region, backing, fresh):
                        tally.uncertain = READAHEAD
                else:
                    tally.minor += faults
                    tally.fresh += unread
                tally.found += (here & cached).bit_count()
                tally.around += (taken & ~here).bit_count()
                mapped |= taken
                self._read_in(region, backing, index, fresh)
            self._map_pages(backing, table, mapped, tally)

    def _reads_ahead(self, region: Vma, backing: Backing, coming: int = 0) -> bool:
        """Whether readahead may bring in more of the file; `coming` is not counted as held yet."""
        missing = backing.cache.pages - backing.cache.held.bit_count() - coming.bit_count()
        return missing > 0 and "random" not in region.flags

    def _cached(self, region: Vma, backing: Backing, index: int) -> int:
        """The pages in the range of a table that are in the page cache."""
        delta = region.offset - region.start + (index << self.tables.bits)
        held = backing.cache.held
        return (held >> delta if delta >= 0 else held << -delta) & self.tables.full

    def _read_in(self, region: Vma, backing: Backing, index: int, pages: int) -> None:
        if pages:
            delta = region.offset - region.start + (index << self.tables.bits)
            backing.cache.held |= pages << delta if delta >= 0 else pages >> -delta

    def _fault_hugetlb(self, start: int, end: int, tally: Tally) -> None:
        tables = self.tables
        for index, _ in tables.masks(start, end):
            if index not in self._hugetlb:
                self._hugetlb.add(index)
                tables.make_middle(index, tally)
                tally.hugetlb += 1 << tables.bits
                tally.minor += 1

    def _drop_hugetlb(self, start: int, end: int, tally: Tally) -> None:
        for index, _ in self.tables.masks(start, end):
            if index in self._hugetlb:
                self._hugetlb.remove(index)
                tally.hugetlb -= 1 << self.tables.bits


def windows(low: int, high: int, around: int) -> Iterable[tuple[int, int]]:
    """The windows that faults on the pages low..high of one table may map: start and length."""
    first = low & -around
    if first != low and first + 2 * around <= high + around:
        yield low, first + 2 * around - low
        first += 2 * around
    while first < high:
        yield first, around
        first += around


def in_order(pages: int, shift: int, count: int, order: Order) -> list[int]:
    """The pages of a mask in the order of access; bit n is access n + shift of `count`."""
    found = [bit for bit in range(pages.bit_length()) if pages >> bit & 1]
    if order == FORWARD or count == 1:
        return found
    inverse = pow(order.factor, -1, count)
    return sorted(found, key=lambda bit: (bit + shift - order.shift) * inverse % count)


def fault_each(pages: list[int], near: int, cached: int, low: int, around: int) -> tuple[int, int]:
    """Faults page by page, where one decides the next: the mapped pages, and how many faults."""
    mapped = faults = 0
    for page in pages:
        if mapped >> page & 1:
            continue
        faults += 1
        begin = max(page & -around, low)
        mapped |= near & ((1 << begin + around) - (1 << begin)) | 1 << page
        near &= ~mapped
        if not cached >> page & 1:
            cached |= 1 << page
    return mapped, faults
