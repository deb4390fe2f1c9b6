"""Why a step changes what it changes, in sentences."""

from __future__ import annotations

from typing import NamedTuple

from procmem.units import count, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.experiments.model.page_tables import Tally

__all__ = ["Prediction", "explain"]


class Prediction(NamedTuple):
    """What the model knows of one step.

    Attributes:
        call: the name of the operation.
        tally: what it changes.
        page_size: in bytes.
        trapped: the access is not allowed.
    """

    call: str
    tally: Tally
    page_size: int
    trapped: bool = False


def explain(cause: Prediction) -> str:
    """Sentences, the main rule first."""
    tally = cause.tally
    said = [sentence for sentence in (opening(cause), *faults(cause)) if sentence]
    if (made := tally.tables + tally.freed_tables) > 0:
        said.append(
            f"{count(made, 'page table')} more: a lowest-level table spans"
            f" {size(cause.page_size // 8 * cause.page_size)}, and those above it are made with it."
        )
    if tally.freed_tables:
        said.append(
            f"{count(tally.freed_tables, 'page table')} freed: no region is left in the range that"
            f" {'it spans' if tally.freed_tables == 1 else 'they span'}."
            if cause.call != "madvise"
            else f"{count(tally.freed_tables, 'emptied page table')} freed."
        )
    if borders := region_changes(cause):
        said.append(borders)
    return " ".join(said)


def opening(cause: Prediction) -> str:
    tally, call = cause.tally, cause.call
    moved = size(abs(tally.vsz) * cause.page_size)
    if tally.said:
        return tally.said
    came = tally.minor or tally.major or tally.around or tally.hugetlb > 0
    if call == "mmap":
        return f"mmap hands out addresses: VSZ +{moved}." + (
            " MAP_POPULATE and MAP_LOCKED bring the pages in at once."
            if came
            else " No page is allocated before it is first touched: RSS +0."
        )
    if call == "munmap":
        return (
            f"munmap gives the addresses back (VSZ -{moved}), and with them the pages that were"
            f" present there ({tally.dropped:,})."
            if tally.vsz
            else "Nothing was mapped there: munmap of an unmapped range is no error."
        )
    if call == "brk":
        if tally.vsz > 0:
            return (
                f"The heap grows by whole pages: VSZ +{moved}. As with mmap, no page is"
                " allocated before it is touched."
            )
        if tally.vsz < 0:
            return f"The heap shrinks: VSZ -{moved}, {count(tally.dropped, 'page')} freed."
        return "The break stays within its last page: nothing moves."
    if call == "fork":
        return (
            "The child has the same address space. Its anonymous pages are the parent's,"
            " write-protected in both: nothing is copied before one of them writes."
        )
    if call == "mprotect":
        return (
            "Protection belongs to the region. But locked memory that becomes writable gets its"
            " pages at once."
            if came
            else "Protection belongs to the region: pages, present or not, stay as they are."
        )
    if call == "mremap":
        return remapped(cause)
    if call == "mlock":
        return "mlock brings the pages in, and keeps them in memory."
    if call == "mlock2":
        return (
            "MLOCK_ONFAULT: present pages are locked now, the others when they are first accessed."
        )
    if call == "munlock":
        return "The pages stay, but may be reclaimed again."
    if call == "madvise":
        if tally.swap > 0:
            return f"{count(tally.swap, 'page')} written to swap, out of RSS."
        if tally.dropped:
            return f"{count(tally.dropped, 'page')} given back at once; the addresses stay mapped."
        if tally.tables > 0 and not came:
            return "A guard page is a marker in the page table: it takes no memory."
        if not came and not tally.freed_tables:
            return (
                "The advice is kept with the region: no page moves."
                if tally.regions
                else "No page moves: the advice concerns later accesses, or found nothing to do."
            )
    return ""


def remapped(cause: Prediction) -> str:
    tally = cause.tally
    said = "Page table entries are moved, not the pages." if tally.moved else "It stays in place."
    if tally.vsz:
        said += f" VSZ {'+' if tally.vsz > 0 else '-'}{size(abs(tally.vsz) * cause.page_size)}."
    if tally.dropped:
        said += f" {count(tally.dropped, 'page')} given back with the addresses that were unmapped."
    elif not (tally.anon or tally.file or tally.shmem):
        said += " RSS stays."
    return said


def faults(cause: Prediction) -> list[str]:
    tally = cause.tally
    said = []
    if tally.hugetlb > 0:
        said.append("Each huge page of hugetlbfs takes one fault, and is not part of RSS.")
    elif tally.hugetlb:
        pages = -tally.hugetlb // (cause.page_size // 8)
        said.append(f"{count(pages, 'huge page')} back in the pool of hugetlbfs.")
    if tally.huge:
        said.append(
            f"{count(tally.huge, 'transparent huge page')}: one fault for"
            f" {size(cause.page_size // 8 * cause.page_size)}."
        )
    if tally.fresh:
        said.append(
            f"{count(tally.fresh, 'page')} touched for the first time: the kernel allocates"
            " and clears each at that moment, a minor fault each."
        )
    if tally.filled:
        said.append(
            f"{count(tally.filled, 'page')} only read until now, now written: the kernel allocates"
            " a page in place of the zero page, a minor fault each."
        )
    if tally.found:
        said.append(f"{count(tally.found, 'page')} already in the page cache: only mapped.")
    if tally.noted:
        said.append(
            f"{count(tally.noted, 'page')} of a shared file mapping written for the first time: a"
            " minor fault each tells the file system."
        )
    if tally.zeros:
        said.append(
            f"{count(tally.zeros, 'page')} only read: each takes a minor fault and maps the"
            " zero page, which all processes share and which no RSS counts."
        )
    if tally.copies:
        said.append(
            f"{count(tally.copies, 'page')} of a private file mapping written: the kernel makes"
            " a copy of each, which is anonymous memory."
        )
    if tally.around:
        said.append(
            f"{count(tally.around, 'neighbouring page')} mapped without a fault of their own:"
            " a fault on a file also maps pages around it that are in the page cache"
            " (fault-around)."
        )
    if tally.unshared:
        said.append(
            f"{count(tally.unshared, 'page')} shared since fork written: one fault each, for a"
            " copy, or for the page itself if no other process has it any more."
        )
    if tally.major:
        said.append(
            f"{count(tally.major, 'page')} had to come from"
            f" {'swap' if tally.swap < 0 else 'the disk'}: major faults."
        )
    if cause.trapped:
        said.append("The access is not allowed: the kernel sends a signal and maps no page.")
    elif cause.call in ("read", "write", "jump") and not (tally.minor or tally.major):
        said.append("The pages are present and accessible: no fault, nothing moves.")
    return said


def region_changes(cause: Prediction) -> str:
    """How the number of regions changes, where that is not the call's own region."""
    regions = cause.tally.regions
    if cause.call == "mmap" and regions < 0:
        return "A region fewer: it fills the gap between its neighbours, and the kernel merges all."
    if cause.call == "mmap" and regions == 0 and cause.tally.vsz:
        return "No region more: it continues its neighbour, and the kernel merges the two."
    if cause.call in ("munmap", "mprotect", "madvise", "mlock", "mlock2", "munlock"):
        if regions > 0:
            return f"The region is split: {count(regions, 'region')} more."
        if regions < 0 and cause.call != "munmap":
            return f"Neighbours that are alike again are merged: {count(-regions, 'region')} fewer."
    return ""
