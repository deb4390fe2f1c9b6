"""A model of one address space: what each operation changes, by the kernel's rules.

The model is given the same operations as the process and predicts every figure. It knows the
process only by the regions and pages that it starts with.

Source: mm/mmap.c, mm/vma.c, mm/madvise.c, mm/mprotect.c, mm/mlock.c, mm/mremap.c;
Documentation/admin-guide/mm/.
"""

from __future__ import annotations

from procmem.experiments.model.faults import Faulting, Rules
from procmem.experiments.model.page_tables import PageTableTree, Tally, table_copy
from procmem.experiments.model.vmas import EXEC, READ, WRITE, Backing, Vma, Vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Space"]

LOCKS = {"locked", "lockonfault"}


class Space(Faulting):
    """The address space of a process that does nothing on its own.

    Args:
        rules: what differs between kernels.
        regions: the regions that it starts with.
    """

    def __init__(self, rules: Rules, regions: Sequence[Vma] = ()) -> None:
        self.rules = rules
        self.vmas = Vmas(list(regions), untouched_joins=rules.untouched_joins)
        self.tables = PageTableTree(rules.bits)
        self.brk: tuple[int, int] = (0, 0)
        self._hugetlb: set[int] = set()

    # ---- mapping -----------------------------------------------------------

    def mmap(
        self,
        start: int,
        pages: int,
        prot: int,
        tally: Tally,
        *,
        shared: bool = False,
        backing: Backing | None = None,
        offset: int = 0,
        flags: Iterable[str] = (),
        populate: bool = False,
        apart: bool = False,
    ) -> None:
        """Maps pages at a page number, after unmapping what is there."""
        if not self.vmas.is_free(start, start + pages):
            self.munmap(start, pages, tally)
        kept = frozenset(flags)
        if not shared and prot & WRITE and "noreserve" not in kept:
            kept |= {"account"}
        region = Vma(
            start, start + pages, prot, shared, backing, start if backing is None else offset, kept
        )
        self.vmas.add(region, apart=apart)
        tally.vsz += pages
        if "locked" in kept:
            tally.locked += pages
        if populate or "locked" in kept:
            self.populate(start, start + pages, tally)

    def munmap(self, start: int, pages: int, tally: Tally) -> None:
        """Unmaps a range, mapped or not."""
        gone = self.vmas.cut(start, start + pages)
        for region in gone:
            tally.vsz -= region.pages
            if "locked" in region.flags:
                tally.locked -= region.pages
            if region.backing and region.backing.kind == "hugetlb":
                self._drop_hugetlb(region.start, region.end, tally)
            self.tables.drop(region.start, region.end, tally)
        for region in gone:
            floor, ceiling = self.vmas.neighbours(region.start, region.end)
            self.tables.free(region.start, region.end, floor, ceiling, tally)

    def set_brk(self, new: int, tally: Tally, *, locked: bool = False) -> None:
        """Moves the end of the heap to an address; `brk` has the start and end of the heap."""
        size = self.rules.page_size
        base, old = self.brk
        first, last = -(-old // size), -(-new // size)
        if last > first:
            # An empty heap that begins where another region ends, as it does behind bss without
            # address space randomisation, is not merged with it: brk(2) looks for a region to
            # extend from the heap's start on (mm/mmap.c, vma_prev_limit).
            self.mmap(
                first,
                last - first,
                READ | WRITE,
                tally,
                flags={"locked"} if locked else (),
                apart=first == -(-base // size),
            )
        elif last < first:
            self.munmap(last, first - last, tally)
        self.brk = base, new

    def mremap(
        self,
        start: int,
        pages: int,
        new_pages: int,
        target: int,
        tally: Tally,
        *,
        keep: bool = False,
    ) -> None:
        """Resizes in place (target == start), or moves."""
        region = self.vmas.at(start)
        if region is None:
            return
        if target == start:
            if new_pages < pages:
                self.munmap(start + new_pages, pages - new_pages, tally)
            elif new_pages > pages:
                more = region.part(start, start + pages)
                more.start, more.end = start + pages, start + new_pages
                more.offset = region.offset + start - region.start + pages
                tally.vsz += new_pages - pages
                if "locked" in region.flags:
                    tally.locked += new_pages - pages
                self.vmas.add(more)
                if "locked" in region.flags:
                    self.populate(start + pages, start + new_pages, tally)
            return
        if new_pages < pages:
            if not self.vmas.is_free(target, target + new_pages):
                self.munmap(target, new_pages, tally)
            self.munmap(start + new_pages, pages - new_pages, tally)
            pages = new_pages
            region = self.vmas.at(start)
            if region is None:
                return
        if region.end < start + pages:
            # Several regions are moved one by one, with the gaps between them.
            pieces = [
                (max(start, one.start), min(start + pages, one.end))
                for one in self.vmas.within(start, start + pages)
            ]
            for first, last in pieces:
                count = last - first
                self.mremap(first, count, count, target + first - start, tally, keep=keep)
            return
        if not self.vmas.is_free(target, target + new_pages):
            self.munmap(target, new_pages, tally)
        region = self.vmas.at(start)
        if region is None:
            return
        tally.moved = True
        copy = region.part(start, start + pages)
        copy.start, copy.end = target, target + new_pages
        if copy.backing is None and copy.anon_vma is None:
            copy.offset = target
        self.vmas.add(copy)
        tally.vsz += new_pages
        if "locked" in copy.flags:
            tally.locked += new_pages
        self._move_tables(start, start + pages, target, tally)
        if keep:
            for one in self.vmas.within(start, start + pages):
                if one.start == start and one.end == start + pages:
                    one.anon_vma, one.forked = None, False
                if "locked" in one.flags:
                    tally.locked -= one.pages
                    one.flags -= LOCKS
            return
        locked = "locked" in copy.flags
        self.munmap(start, pages, tally)
        if locked and new_pages > pages:
            self.populate(target + pages, target + new_pages, tally)

    def _move_tables(self, start: int, end: int, target: int, tally: Tally) -> None:
        tables, bits = self.tables, self.tables.bits
        size = 1 << bits
        old, new = start, target
        if self._can_realign(old, new, end):
            old, new = old & -size, new & -size
        while old < end:
            upper_step = 1 << (2 * bits)
            extent = min(end - old, size - (old & (size - 1)), size - (new & (size - 1)))
            middle = old >> 2 * bits
            if middle not in tables.middle:
                old_next = min(end, (old | (upper_step - 1)) + 1)
                step = min(old_next - old, upper_step - (new & (upper_step - 1)))
                old, new = old + step, new + step
                continue
            new_middle = new >> 2 * bits
            upper_extent = min(
                end - old,
                upper_step - (old & (upper_step - 1)),
                upper_step - (new & (upper_step - 1)),
            )
            if new_middle >> bits not in tables.upper:
                tables.upper.add(new_middle >> bits)
                tally.tables += 1
            if upper_extent == upper_step and new_middle not in tables.middle:
                # A table of the middle level is moved as a whole.
                tables.middle.remove(middle)
                tables.middle.add(new_middle)
                for index in [i for i in tables.lowest if i >> bits == middle]:
                    tables.lowest[index - (middle << bits) + (new_middle << bits)] = (
                        tables.lowest.pop(index)
                    )
                old, new = old + upper_step, new + upper_step
                continue
            source = tables.lowest.get(old >> bits)
            if source is not None:
                tables.make_middle(new >> bits, tally)
                if extent == size and new >> bits not in tables.lowest:
                    tables.lowest[new >> bits] = tables.lowest.pop(old >> bits)
                else:
                    low = old & (size - 1)
                    source.huge = ""
                    taken = source.take((1 << (low + extent)) - (1 << low))
                    tables.make(new >> bits, tally).put(taken, (new & (size - 1)) - low)
            old, new = old + extent, new + extent

    def _can_realign(self, old: int, new: int, end: int) -> bool:
        size = 1 << self.tables.bits
        low = old & (size - 1)
        if not low or low != new & (size - 1) or end - old < size - low:
            return False
        for page in (old, new):
            region = self.vmas.at(page)
            if region is None or region.start != page:
                return False
            if not self.vmas.is_free(page & -size, page):
                return False
        return True

    # ---- properties --------------------------------------------------------

    def mprotect(self, start: int, pages: int, prot: int, tally: Tally) -> bool:
        """Changes the protection. False: it stopped at a part that is not mapped, or may not be."""
        end = self._protectable_until(start, start + pages, prot)

        def alter(region: Vma) -> tuple[int, frozenset[str]]:
            flags = region.flags
            if prot == region.prot:
                return prot, flags
            if prot & WRITE:
                if not (
                    region.shared or flags & {"account", "noreserve"} or region.prot & WRITE
                ) and not (region.backing and region.backing.kind == "hugetlb"):
                    flags |= {"account"}
            elif (
                self.rules.uncharges
                and "account" in flags
                and region.is_anonymous
                and region.anon_vma is None
            ):
                flags -= {"account"}
            return prot, flags

        self._split_huge(start, end)

        def settle(first: int, last: int) -> None:
            region = self.vmas.at(first)
            if region and becomes_ours and not region.shared and "locked" in region.flags:
                self.populate(first, last, tally)

        # Locked read-only memory that becomes writable is copied now, not at the first write.
        for region in list(self.vmas.within(start, end)):
            becomes_ours = bool(prot & WRITE) and not region.prot & WRITE
            first, last = max(start, region.start), min(end, region.end)
            self.vmas.change(first, last, alter, settle)
        return end == start + pages

    def allows_mprotect(self, start: int, pages: int, prot: int) -> bool:
        """Whether all of it is mapped, and may get this protection."""
        return self._protectable_until(start, start + pages, prot) == start + pages

    def _protectable_until(self, start: int, end: int, prot: int) -> int:
        end = self._mapped_until(start, end)
        for region in self.vmas.within(start, end):
            if (prot & WRITE and "nowrite" in region.flags) or (
                prot & EXEC and "noexec" in region.flags
            ):
                return max(start, region.start)
        return end

    def mlock(self, start: int, pages: int, tally: Tally, *, on_fault: bool = False) -> bool:
        """Locks a range. False: it fails at a gap, with what is before it locked."""
        end = self._mapped_until(start, start + pages)
        before = self._locked_pages()
        add = {"locked", "lockonfault"} if on_fault else {"locked"}
        self.vmas.change(
            start, end, lambda region: (region.prot, region.flags - {"lockonfault"} | add)
        )
        tally.locked += self._locked_pages() - before
        if end < start + pages:
            return False
        return on_fault or self.populate(start, end, tally)

    def munlock(self, start: int, pages: int, tally: Tally) -> bool:
        """Unlocks a range. False: it fails at a gap, with what is before it unlocked."""
        end = self._mapped_until(start, start + pages)
        before = self._locked_pages()
        self.vmas.change(start, end, lambda region: (region.prot, region.flags - LOCKS))
        tally.locked += self._locked_pages() - before
        return end == start + pages

    def locked_after(self, start: int, pages: int) -> int:
        """How many pages would be locked if a range were locked, too."""
        there = sum(
            min(region.end, start + pages) - max(region.start, start)
            for region in self.vmas.within(start, start + pages)
            if "locked" in region.flags
        )
        return self._locked_pages() + pages - there

    def _locked_pages(self) -> int:
        return sum(region.pages for region in self.vmas.all if "locked" in region.flags)

    def _mapped_until(self, start: int, end: int) -> int:
        for region in self.vmas.within(start, end):
            if region.start > start:
                break
            start = min(region.end, end)
        return start

    def _split_huge(self, start: int, end: int) -> None:
        for index, mask in self.tables.present_masks(start, end):
            self.tables.split_huge(self.tables.lowest[index], mask)

    def allows_madvise(self, start: int, pages: int, advice: str) -> bool:
        """Whether all of it is mapped, and the kernel takes this advice for it."""
        return self.vmas.covers(start, start + pages) and all(
            self._takes_advice(region, advice) for region in self.vmas.within(start, start + pages)
        )

    def madvise(self, start: int, pages: int, advice: str, tally: Tally) -> None:
        """Applies advice, named as in madvise(2), without MADV_ and in lower case.

        If the call fails at a region, the regions before it are changed, as the kernel does.
        """
        for region in list(self.vmas.within(start, start + pages)):
            first, last = max(start, region.start), min(start + pages, region.end)
            populates = advice.startswith("populate")
            if populates and first > start:
                return  # a gap
            if not self._takes_advice(region, advice):
                return
            if advice in FLAG_ADVICE:
                add, remove = FLAG_ADVICE[advice]
                self.vmas.change(first, last, lambda r: (r.prot, (r.flags - remove) | add))  # noqa: B023
            elif populates:
                if not self.populate(first, last, tally, write=advice.endswith("write")):
                    return
                start = last
                pages -= last - first
            else:
                self._discard(region, first, last, advice, tally)

    def _takes_advice(self, region: Vma, advice: str) -> bool:
        """Whether the kernel takes the advice for such a region; else the call fails there."""
        backing, locked = region.backing, "locked" in region.flags
        if advice == "free":
            return backing is None
        if advice in ("dontneed", "cold", "pageout"):
            return not locked
        if advice in ("guard_install", "guard_remove"):
            return not locked or advice == "guard_remove"
        if advice == "remove":
            return (
                not locked and backing is not None and region.shared and bool(region.prot & WRITE)
            )
        if advice == "wipeonfork":
            return backing is None and not region.shared
        if advice == "populate_write":
            return bool(region.prot & WRITE)
        if advice == "populate_read":
            return bool(region.prot & READ)
        return True

    def _discard(self, region: Vma, start: int, end: int, advice: str, tally: Tally) -> None:
        tables = self.tables
        if advice == "guard_install":
            if self.rules.sticky_guards:
                region.flags |= {"guarded"}
            if region.is_anonymous or not self.rules.sticky_guards:
                self.vmas.prepare_anon(region)
            tables.drop(start, end, tally, guards=False)
            for index, mask in tables.masks(start, end):
                tables.make(index, tally).guard |= mask
        elif advice == "guard_remove":
            for index, mask in tables.present_masks(start, end):
                tables.lowest[index].guard &= ~mask
        elif advice == "dontneed":
            if region.backing and region.backing.kind == "hugetlb":
                self._drop_hugetlb(start, end, tally)
            tables.drop(start, end, tally, guards=False)
            if self.rules.pt_reclaim:
                tables.reclaim(start, end, tally)
        elif advice == "free":
            for index, mask in tables.present_masks(start, end):
                table = tables.lowest[index]
                tally.swap -= (table.swap & mask).bit_count()
                table.swap &= ~mask
        elif advice == "pageout" and self.rules.has_swap:
            for index, mask in tables.present_masks(start, end):
                table = tables.lowest[index]
                if mask == tables.full:
                    table.huge = ""
                out = table.anon & mask & ~table.shared
                table.anon &= ~out
                table.swap |= out
                tally.anon -= out.bit_count()
                tally.swap += out.bit_count()
        elif advice == "remove" and region.backing:
            tables.drop(start, end, tally)
            first = region.offset + start - region.start
            region.backing.cache.held &= ~((1 << (first + end - start)) - (1 << first))

    # ---- fork --------------------------------------------------------------

    def fork(self) -> Space:
        """The child's address space. Parent and child share their anonymous pages from now on."""
        child = Space(self.rules)
        child.vmas = self.vmas.fork()
        child.brk = self.brk
        ignored = Tally()
        for region in self.vmas.all:
            copied = region.anon_vma is not None or region.flags & {"pfnmap", "guarded"}
            if not copied or region.flags & {"dontfork", "wipeonfork"}:
                continue
            # Pages of files come back by faults. Only where a region has anonymous pages
            # are its entries copied, and with them its page tables.
            self.tables.copy_upper(child.tables, region.start, region.end)
            for index, mask in self.tables.present_masks(region.start, region.end):
                table = self.tables.lowest[index]
                table.shared |= table.anon & mask
                entries = table_copy(table).take(mask)
                child.tables.make(index, ignored).put(entries, 0)
                child.tables.lowest[index].huge = table.huge
        return child


FLAG_ADVICE: dict[str, tuple[set[str], set[str]]] = {
    "normal": (set(), {"random", "sequential"}),
    "random": ({"random"}, {"sequential"}),
    "sequential": ({"sequential"}, {"random"}),
    "dontfork": ({"dontfork"}, set()),
    "dofork": (set(), {"dontfork"}),
    "wipeonfork": ({"wipeonfork"}, set()),
    "keeponfork": (set(), {"wipeonfork"}),
    "dontdump": ({"dontdump"}, set()),
    "dodump": (set(), {"dontdump"}),
    "hugepage": ({"hugepage"}, {"nohugepage"}),
    "nohugepage": ({"nohugepage"}, {"hugepage"}),
    "mergeable": ({"mergeable"}, set()),
    "unmergeable": (set(), {"mergeable"}),
}
"""The flags that advice adds to a region, and those that it removes."""
