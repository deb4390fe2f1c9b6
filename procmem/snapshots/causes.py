"""Why memory changed: the cause of each change, in words, with its evidence.

A cause is named only if the figures of both snapshots support it; if they support several, all are
named ("either ... or ..."). What glibc did is recognised by its figures: a first brk of the request
plus 128 KiB, thread stacks of 8 MiB with a guard, arenas of 64 MiB (malloc/malloc.c,
malloc/arena.c, nptl/allocatestack.c). If the figures support none, the cause is UNKNOWN.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from procmem.regions.kinds import ARENA_SIZES, GUARD_LIMIT, JOINED, MARK, STACK_MINIMUM, RegionKind
from procmem.snapshots.changes import ChangeKind, Explanation
from procmem.snapshots.comparison import OTHERS_CHANGED, SHARER_ENDED
from procmem.snapshots.parts import Amount, Cause, Part
from procmem.units import kib, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from procmem.regions import Region
    from procmem.snapshots.changes import Change
    from procmem.snapshots.comparison import TotalsDiff

__all__ = ["explain", "notes"]

K = ChangeKind
R = RegionKind

TOP_PAD = 128 << 10
"""glibc's M_TOP_PAD: bytes that it adds to a request to brk(2); M_MMAP_THRESHOLD is the same."""


C = Cause


def explain(found: TotalsDiff, changes: Sequence[Change]) -> Iterator[Explanation]:
    """The causes of all changes; sets the explanation of each change."""
    for told in causes(found, changes):
        for change in told.changes:
            change.explanation = told
        yield told


def causes(found: TotalsDiff, changes: Sequence[Change]) -> Iterator[Explanation]:
    if found.same_process is False:
        words = "the snapshots are of two processes: these are differences, not changes over time"
        if changes:
            yield Explanation(
                C.OTHER_PROCESS, words, ("PID and start time differ",), tuple(changes)
            )
        return
    # The others are explained one by one, so one pass over them is enough.
    spatial = [change for change in changes if not SPATIAL.isdisjoint(change.kinds)]
    if replaced(spatial):
        words = "the process started another program (execve): all of its memory is new"
        yield Explanation(
            C.PROGRAM_REPLACED, words, ("its stack is at another address",), tuple(changes)
        )
        return
    left = {id(change): change for change in changes}
    several = (
        *threads(found, spatial),
        *arenas(spatial),
        *libraries(found, spatial),
        *heaps(found, spatial),
    )
    for told in several:
        mine = tuple(change for change in told.changes if left.pop(id(change), None) is not None)
        if mine:
            yield told._replace(changes=tuple(sorted(mine, key=lambda change: change.start)))
    for told in remapped(found, [change for change in spatial if id(change) in left]):
        for change in told.changes:
            del left[id(change)]
        yield told
    for change in left.values():
        yield single(found, change)


SPATIAL = frozenset((K.MAPPED, K.UNMAPPED, K.MOVED, K.GROWN, K.SHRUNK))
"""Kinds of changes that map or unmap addresses."""

CONTENTS = frozenset(K) - SPATIAL - {K.SPLIT, K.MERGED, K.PROTECTED, K.RENAMED, K.ADVISED}
"""Kinds of changes to pages alone, while the mapping stays as it is."""


def replaced(changes: Sequence[Change]) -> bool:
    """Whether [stack], which stays in place until execve(2), is at another address."""
    return any(
        K.MOVED in change.kinds and change.region.raw_pathname == b"[stack]" for change in changes
    )


# ---- causes of several changes at once -----------------------------------------------


def threads(found: TotalsDiff, changes: Sequence[Change]) -> Iterator[Explanation]:
    """Stacks that were mapped for new threads, or unmapped when threads ended."""
    before, after = found.before.threads, found.after.threads
    known = before is not None and after is not None
    old = {thread.tid: thread for thread in before or ()}
    new = {thread.tid: thread for thread in after or ()}
    for came in (True, False):
        here, there = (new, old) if came else (old, new)
        others = [thread for tid, thread in here.items() if tid not in there]
        pointers = sorted(t.stack_pointer for t in others if t.stack_pointer is not None)
        stacks = []
        for change in changes:
            for start, end in change.gained if came else change.lost:
                if bisect_left(pointers, start) < bisect_left(pointers, end) or is_stack(
                    change, start, end, after=came
                ):
                    stacks.append((change, start))
        if not stacks or (known and not others):
            continue
        mine = {id(change): change for change, _ in stacks}
        starts = {start for _, start in stacks}
        for change in changes:
            for _, end in change.gained if came else change.lost:
                if end in starts and is_guard(change, after=came):
                    mine[id(change)] = change
        whole = tuple(mine.values())
        count = len(others) if known and others else len(stacks)
        size = signed(sum(change.vsz for change in whole))
        stack = "one thread's stack and its guard"
        if count > 1:
            stack = f"stacks of {count} threads and their guards"
        evidence = ["a guard without permissions is below each"]
        sides = [r for change in whole for r in (change.after if came else change.before)]
        guess = MARK if any(r.kind is R.THREAD_STACK and r.kind_guess for r in sides) else ""
        if known:
            evidence = [f"threads: {len(old)} before, {len(new)} after"]
            if pointers:
                evidence.append("the stack pointers of these threads point into it")
        if came:
            words = f"VSZ {size}: {stack}{guess}; pages come into memory when the thread first "
            words += "uses them"
            yield Explanation(C.THREAD_STARTED, words, tuple(evidence), whole)
        else:
            words = f"VSZ {size}: {stack}{guess}, unmapped after the thread ended"
            yield Explanation(C.THREAD_ENDED, words, tuple(evidence), whole)


def is_stack(change: Change, start: int, end: int, *, after: bool) -> bool:
    for region in change.after if after else change.before:
        if region.start == start and end - start >= STACK_MINIMUM:
            return region.kind is R.THREAD_STACK
    return False


def is_guard(change: Change, *, after: bool) -> bool:
    regions = change.after if after else change.before
    return any(r.perms[:3] == "---" and r.size <= GUARD_LIMIT for r in regions)


def arenas(changes: Sequence[Change]) -> Iterator[Explanation]:
    """Malloc's arenas: reserved as a whole, and made accessible from the start."""
    for came in (True, False):
        parts = [change for change in changes if is_of_arena(change, came=came)]
        if parts:
            size = sum(change.vsz for change in parts)
            mark, evidence = arena_evidence(parts, after=came)
            words = (
                f"VSZ {signed(size)}: a malloc arena{mark}, {kib(ARENA_SIZES[0])} of addresses "
                "reserved for malloc in one thread, made accessible from the start as needed"
                if came
                else f"VSZ {signed(size)}: a malloc arena{mark} was given back"
            )
            cause = C.ARENA_MADE if came else C.ARENA_REMOVED
            yield Explanation(cause, words, evidence, tuple(parts))


def is_of_arena(change: Change, *, came: bool) -> bool:
    """Whether the addresses that came, or went, are those of an arena.

    The kernel joins an arena with memory that is mapped beside it.
    """
    if not (change.gained if came else change.lost):
        return False
    sides = (change.after, change.before) if came else (change.before, change.after)
    here, there = (
        {region.kind_evidence for region in side if region.kind is R.ARENA} for side in sides
    )
    return bool(here) and not (there and JOINED in here | there)


def arena_evidence(changes: Sequence[Change], *, after: bool) -> tuple[str, tuple[str, ...]]:
    """The mark of a guess, if it is one, and the evidence that these are arenas."""
    regions = [r for change in changes for r in (change.after if after else change.before)]
    evidence = {region.kind_evidence for region in regions if region.kind is R.ARENA}
    if JOINED in evidence:
        return f" and other memory{MARK}", ("the first words of a heap of malloc are in it",)
    if evidence <= {"heap header", "name"}:
        return "", ("the first words of the heaps" if "heap header" in evidence else "its name",)
    return MARK, ("aligned to its length; writable at its start, the rest without permissions",)


def libraries(found: TotalsDiff, changes: Sequence[Change]) -> Iterator[Explanation]:
    """Files that were mapped or unmapped: the regions of each, and the bss after the last."""
    for kind, cause, other in (
        (K.MAPPED, C.LIBRARY_LOADED, C.FILE_MAPPED),
        (K.UNMAPPED, C.LIBRARY_UNLOADED, C.FILE_UNMAPPED),
    ):
        files: dict[tuple[object, ...], list[Change]] = {}
        last: tuple[object, ...] | None = None
        end = 0
        for change in changes:
            region = change.region
            if kind not in change.kinds:
                last = None
                continue
            if region.inode and region.kind not in SHARED:
                last = region.dev, region.inode
                files.setdefault(last, []).append(change)
            elif region.kind is R.BSS and last is not None and region.start == end:
                files[last].append(change)
            else:
                last = None
            end = region.end
        for parts in files.values():
            name = parts[0].region.pathname or "a file"
            size = sum(change.vsz for change in parts)
            came = kind is K.MAPPED
            # A library has code and data: what is one region was mapped by the program itself.
            if len(parts) > 1 and any(change.region.perms.execute for change in parts):
                what = "loaded (dlopen)" if came else "unloaded (dlclose)"
                count = f"{len(parts)} region{'' if len(parts) == 1 else 's'}"
                words = f"VSZ {signed(size)}: {name} was {what}: {count} of one file"
                evidence = (f"{count} of {name}, one of them executable",)
                yield Explanation(cause, words, evidence, tuple(parts))
            else:
                what = "mapped" if came else "unmapped"
                words = f"VSZ {signed(size)}: {name} was {what} ({'mmap' if came else 'munmap'})"
                if came and found.rss is not None and not sum(c.rss or 0 for c in parts):
                    words += "; its pages come into memory when they are first read"
                yield Explanation(other, words, ("its file and inode",), tuple(parts))


REMAPPED_PAGES = 16
"""Memory that moved and was resized: this many resident pages are hardly equal by chance."""


def remapped(found: TotalsDiff, changes: Sequence[Change]) -> Iterator[Explanation]:
    """Anonymous memory that went from one address to another: part of a region, or resized."""
    parts = [change for change in changes if change.vsz or change.gained]
    if len(parts) != 2 or any(is_named(change.region) for change in parts):
        return
    source, target = parts if parts[0].lost else reversed(parts)
    if len(source.lost) != 1 or source.gained or len(target.gained) != 1 or target.lost:
        return
    pages = found.before.regions.page_size * REMAPPED_PAGES
    resident = target.rss or 0
    if source.rss is None or source.rss != -resident:
        return
    if source.region.perms != target.region.perms:
        return
    if source.vsz == -target.vsz or resident >= pages:
        words = f"{kib(-source.vsz)} are at another address now"
        if source.vsz != -target.vsz:
            words += f", as {kib(target.vsz)}"
        words += ": mremap(2), as realloc calls it; or unmapped here and mapped there"
        evidence = (
            f"{kib(resident)} in memory disappeared here and appeared there",
            "no other memory did",
        )
        yield Explanation(C.REMAPPED, words, evidence, tuple(parts))


def is_named(region: Region) -> bool:
    return bool(region.inode or region.raw_pathname)


SHARED = (R.SHARED_MEMORY, R.HUGETLB, R.DEVICE)

MOVED_BY_ITSELF = ", or the program moved the break itself (brk, sbrk)"


def heaps(found: TotalsDiff, changes: Sequence[Change]) -> Iterator[Explanation]:
    """The heap of brk(2): in a child of fork(2) it grows by a second region of that name."""
    parts = [
        change
        for change in changes
        if change.vsz and K.MOVED not in change.kinds and is_heap(change.region)
    ]
    if not parts:
        return
    value = sum(change.vsz for change in parts)
    evidence = ["the kernel's name [heap]"]
    existed = any(is_heap(region) for region in found.before.regions)
    size = kib(abs(value))
    if value < 0:
        cause = C.HEAP_SHRANK
        words = f"heap shrank by {size}: the program break went down (brk): free and malloc_trim "
        words += "give back what is free at the heap's end"
    elif existed:
        cause = C.HEAP_GREW
        words = f"heap grew by {size}: the program break went up (brk)"
        steps = value // SMALLEST_STEP
        if value < TOP_PAD:
            evidence.append(f"less than malloc's top pad of {kib(TOP_PAD)}")
        elif steps <= 1:
            words += ": malloc found no room and extended it by a request and its top pad"
            words += MOVED_BY_ITSELF
            evidence.append(padded(value))
        else:
            words += f": either by several extensions, up to {steps:,} for small mallocs, or by "
            words += "fewer for large ones" + MOVED_BY_ITSELF
            evidence.append(
                f"malloc extends brk by its request and {kib(TOP_PAD)} of top pad, "
                f"{kib(SMALLEST_STEP)} at least"
            )
        if all(not change.before for change in parts):
            evidence.append("a second region named [heap]: the process was made by fork(2)")
    else:
        cause = C.HEAP_STARTED
        words = f"heap grew by {size}: "
        if value < TOP_PAD:
            words += "the program break went up (brk)"
            evidence.append(f"less than malloc's top pad of {kib(TOP_PAD)}")
        elif value < 2 * SMALLEST_STEP:
            words += "the first malloc extends brk by its request plus the top pad"
            words += MOVED_BY_ITSELF
            evidence += [padded(value), "stdio allocates its buffers with malloc, too"]
        else:
            words += "either one malloc extended brk by its request plus the top pad, or several "
            words += f"did, up to {value // SMALLEST_STEP:,}" + MOVED_BY_ITSELF
            evidence.append(padded(value))
    rss = None if any(change.rss is None for change in parts) else sum(c.rss or 0 for c in parts)
    words += resident(value, rss)
    others = [part for change in parts for part in beside(found, change)]
    yield Explanation(
        cause,
        "; ".join([words, *(part.words for part in others)]),
        tuple(dict.fromkeys([*evidence, *(e for part in others for e in part.evidence)])),
        tuple(parts),
        (spatial_part(cause, words, evidence, value, rss), *others),
    )


SMALLEST_STEP = TOP_PAD + 4096
"""The least that malloc extends brk by: the pad and a request, in whole pages."""


def is_heap(region: Region) -> bool:
    return region.raw_pathname == b"[heap]"


def padded(value: int) -> str:
    return f"{kib(value)} would be {kib(TOP_PAD)} of pad and {kib(value - TOP_PAD)} of request"


# ---- causes of single changes --------------------------------------------------------


BESIDE = frozenset(
    (
        C.COPY_ON_WRITE,
        C.SHARING_BEGAN,
        C.SHARING_ENDED,
        C.SHARING_CHANGED,
        C.LAZILY_FREED,
        C.WRITTEN_AGAIN,
        C.SWAPPED_OUT,
        C.SWAPPED_IN,
        C.MERGED_BY_KSM,
        C.UNMERGED,
        C.HUGETLB_TOUCHED,
        C.HUGETLB_GIVEN_BACK,
    )
)
"""What may happen to a region in addition to being mapped or unmapped, which accounts for RSS."""


def single(found: TotalsDiff, change: Change) -> Explanation:
    told = unsaid(found, change) or address_space(change)
    if told is None:
        parts = pages(found, change)
        parts.sort(key=lambda one: (-one.size, one.cause is C.FIRST_TOUCH))
        parts += use(change)
    else:
        cause, words, evidence = told
        words += resident(change.vsz, change.rss if change.vsz else None)
        first = spatial_part(cause, words, evidence, change.vsz, change.rss)
        more = beside(found, change) if change.vsz else pages(found, change)
        if not change.vsz:
            first = first._replace(rss=0)
        parts = [first, *more]
    if not parts:
        parts = [Part(C.UNKNOWN, "no cause is known for this", ("nothing",))]
    evidence = tuple(dict.fromkeys(one for part in parts for one in part.evidence))
    words = "; ".join(part.words for part in parts)
    return Explanation(parts[0].cause, words, evidence, (change,), tuple(parts))


def beside(found: TotalsDiff, change: Change) -> list[Part]:
    return [one._replace(rss=0) for one in pages(found, change) if one.cause in BESIDE]


def resident(vsz: int, rss: int | None) -> str:
    """What happened to RSS when addresses were mapped or unmapped, to be added to a sentence."""
    if vsz > 0 and rss == 0:
        return "; RSS unchanged: pages are allocated when first touched"
    return f"; RSS {signed(rss)}" if vsz and rss else ""


def spatial_part(
    cause: Cause, words: str, evidence: Sequence[str], vsz: int, rss: int | None
) -> Part:
    return Part(cause, words, tuple(evidence), {"vsz": Amount(vsz)}, rss)


def unsaid(found: TotalsDiff, change: Change) -> tuple[Cause, str, tuple[str, ...]] | None:
    """What seems to have changed only because a core lacks it; None: something did change."""
    told = [
        [one.unavailable.get(key) for key in ("perms", "perms of files")]
        for one in (found.before, found.after)
    ]
    if told[0] == told[1] or not {K.PROTECTED, K.RENAMED}.issuperset(change.kinds):
        return None
    if K.PROTECTED not in change.kinds:
        words = "another name"
        evidence: tuple[str, ...] = ("a core has no names of the kernel, such as [heap]",)
    else:
        words = "other permissions" + (" and another name" if K.RENAMED in change.kinds else "")
        evidence = tuple(dict.fromkeys(one for side in told for one in side if one))
    words += ", which a core has only in part: perhaps nothing changed in the process"
    return C.UNKNOWN, words, evidence


def address_space(change: Change) -> tuple[Cause, str, tuple[str, ...]] | None:
    """Why addresses were mapped, unmapped or given other permissions; None: they weren't."""
    if not change.vsz and CONTENTS.issuperset(change.kinds):
        # The kinds of all regions are found at once, and are not needed for these changes.
        return None
    region, size = change.region, signed(change.vsz)
    kind = region.kind
    mapped, unmapped = K.MAPPED in change.kinds, K.UNMAPPED in change.kinds
    if K.MOVED in change.kinds:
        said = f"it is at another address now ({signed(change.vsz)}): mremap(2), or mapped anew"
        if region.inode or getattr(region, "rss", None):
            return C.REMAPPED, said, ("size, contents and permissions as before",)
        rests_on = "size and permissions as before", "no other such memory appeared or disappeared"
        return C.REMAPPED, said, rests_on
    if kind is R.STACK and change.vsz and region.raw_pathname == b"[stack]":
        said = f"stack {size}: the kernel extends it when a page below it is touched"
        return C.STACK_GREW, said, ("the kernel's name [stack]",)
    if kind is R.ARENA and change.vsz == 0 and K.PROTECTED in change.kinds:
        mark, _ = arena_evidence([change], after=True)
        said = f"a malloc arena{mark} grew (mprotect): a thread allocates"
        return C.ARENA_GREW, said, ("the boundary between its writable part and its reserve moved",)
    if kind in SHARED and change.vsz:
        came = change.vsz > 0
        what = "shared memory was attached" if came else "shared memory was detached"
        if not (mapped or unmapped):
            what = "a part of " + what
        cause = C.SHARED_MEMORY_ATTACHED if came else C.SHARED_MEMORY_DETACHED
        return cause, f"VSZ {size}: {what}: {region.name}", (f"{region.kind_evidence}",)
    nameless = not region.inode and (region.pathname or "")[:5] in ("", "[anon")
    if K.GROWN in change.kinds and K.SHRUNK in change.kinds and nameless:
        return exchanged(change)
    if change.vsz and nameless:
        return anonymous(change)
    if change.vsz and region.inode:
        cause = C.FILE_MAPPED if change.vsz > 0 else C.FILE_UNMAPPED
        what = "mapped" if change.vsz > 0 else "unmapped (munmap of a part)"
        said = f"VSZ {size}: more of {region.pathname} was {what}"
        if change.vsz < 0:
            said = f"VSZ {size}: a part of {region.pathname} was unmapped (munmap)"
        return cause, said, ("its file and inode",)
    if K.PROTECTED in change.kinds:
        was = "/".join(dict.fromkeys(str(r.perms) for r in change.before))
        now = "/".join(dict.fromkeys(str(r.perms) for r in change.after))
        said = f"permissions went from {was} to {now} ({protected_by(change)})"
        if K.SPLIT in change.kinds:
            said += ": a region has one set of permissions, so it was split"
        return C.PROTECTION_CHANGED, said, ("permissions before and after",)
    return None


def protected_by(change: Change) -> str:
    """The calls that can have given other permissions: a new mapping has no pages at first."""
    old = {str(region.perms) for region in change.before}
    new = [region for region in change.after if str(region.perms) not in old]
    if new and all(region.inode or getattr(region, "rss", None) for region in new):
        return "mprotect"
    return "mprotect, or mmap with MAP_FIXED in its place"


def exchanged(change: Change) -> tuple[Cause, str, tuple[str, ...]]:
    """Memory of which some addresses were unmapped and others were mapped."""
    gone, come = (
        sum(end - start for start, end in ranges) for ranges in (change.lost, change.gained)
    )
    said = f"VSZ {signed(change.vsz)}: {kib(gone)} of anonymous memory were unmapped, "
    said += f"{kib(come)} were mapped beside it (munmap and mmap, or mremap)"
    cause = C.REMAPPED
    if gone != come:
        cause = C.MEMORY_MAPPED if come > gone else C.MEMORY_UNMAPPED
    return cause, said, ("anonymous: no file behind it",)


def anonymous(change: Change) -> tuple[Cause, str, tuple[str, ...]]:
    size = signed(change.vsz)
    grown = change.vsz > 0
    merged = ""
    if K.GROWN in change.kinds and grown:
        merged = "; it is adjacent to memory with the same permissions, so both are one region"
    elif K.SHRUNK in change.kinds and K.SPLIT in change.kinds:
        merged = "; it was in the middle of a region, so two regions are left"
    evidence = ("anonymous: no file behind it",)
    if not grown:
        said = f"VSZ {size}: anonymous memory was unmapped (munmap, or free of a large block)"
        return C.MEMORY_UNMAPPED, said + merged, evidence
    if change.region.perms[:3] == "---" and not change.before and not change.rss:
        said = f"VSZ {size}: addresses were reserved without permissions (mmap PROT_NONE)"
        return C.ADDRESSES_RESERVED, said, evidence
    said = f"VSZ {size}: anonymous memory was mapped (mmap"
    if change.vsz > TOP_PAD:
        said += f"; malloc of {kib(TOP_PAD)} or more calls it, too"
    return C.MEMORY_MAPPED, said + ")" + merged, evidence


def use(change: Change) -> list[Part]:
    """Changed names, flags and borders of memory that keeps its addresses and permissions."""
    parts = []
    if K.RENAMED in change.kinds:
        former, region = change.before[0], change.region
        said = "its file was deleted or renamed" if region.inode else "it was given another name"
        rests_on = f"{full_name(former)} became {full_name(region)}"
        parts.append(Part(C.RENAMED, said, (rests_on,)))
    if K.ADVISED in change.kinds:
        parts.append(advised(change))
    if not parts and change.kinds == (K.SPLIT,):
        said = "a part was replaced by memory with the same properties, as a region of its own: "
        said += "mremap(2), or mmap(2) with MAP_FIXED; or a part got a policy of its own (mbind(2))"
        evidence = ("all parts have the same permissions, flags and backing",)
        parts.append(Part(C.REMAPPED, said, evidence))
    return parts


def full_name(region: Region) -> str:
    return f"{region.pathname!r}" + (", deleted" if region.deleted else "")


FLAG_CALLS = {
    "lo": ("mlock(2) or mlockall(2)", "munlock(2) or munlockall(2)"),
    "lf": ("mlock2(2) with MLOCK_ONFAULT", "munlock(2)"),
    "hg": ("madvise(MADV_HUGEPAGE)", "madvise(MADV_NOHUGEPAGE)"),
    "nh": ("madvise(MADV_NOHUGEPAGE)", "madvise(MADV_HUGEPAGE)"),
    "mg": (
        "madvise(MADV_MERGEABLE) or prctl(PR_SET_MEMORY_MERGE)",
        "madvise(MADV_UNMERGEABLE) or prctl(PR_SET_MEMORY_MERGE)",
    ),
    "dc": ("madvise(MADV_DONTFORK)", "madvise(MADV_DOFORK)"),
    "dd": ("madvise(MADV_DONTDUMP)", "madvise(MADV_DODUMP)"),
    "wf": ("madvise(MADV_WIPEONFORK)", "madvise(MADV_KEEPONFORK)"),
    "sr": ("madvise(MADV_SEQUENTIAL)", "madvise(MADV_NORMAL)"),
    "rr": ("madvise(MADV_RANDOM)", "madvise(MADV_NORMAL)"),
    "gu": ("madvise(MADV_GUARD_INSTALL)", "madvise(MADV_GUARD_REMOVE)"),
    "sl": ("mseal(2)", "nothing that is known"),
    "um": ("userfaultfd(2)", "userfaultfd(2)"),
    "uw": ("userfaultfd(2)", "userfaultfd(2)"),
    "ui": ("userfaultfd(2)", "userfaultfd(2)"),
}
"""VmFlags, each with the call that sets it and the call that clears it."""


PASSING = {"sd", "ac"}
"""Flags that the kernel sets and clears without such a call."""


def advised(change: Change) -> Part:
    sides = [
        frozenset(flag for region in regions for flag in getattr(region, "vm_flags", None) or ())
        for regions in (change.before, change.after)
    ]
    gained, lost = sides[1] - sides[0] - PASSING, sides[0] - sides[1] - PASSING
    evidence = [f"VmFlags +{flag}" for flag in sorted(gained)]
    evidence += [f"VmFlags -{flag}" for flag in sorted(lost)]
    calls = dict.fromkeys(
        [FLAG_CALLS[flag][0] for flag in sorted(gained) if flag in FLAG_CALLS]
        or [FLAG_CALLS[flag][1] for flag in sorted(lost) if flag in FLAG_CALLS]
    )
    known = ", ".join(calls) or "madvise(2), mlock(2) or prctl(2)"
    many = f"flags changed{{where}}: {known}"
    return Part(C.ADVISED, f"its flags changed: {known}", tuple(evidence), many=many)


# ---- causes of what happened to pages ----------------------------------------------------


def pages(found: TotalsDiff, change: Change) -> list[Part]:
    """Why pages came into memory, left it, were copied, or are shared with other processes."""
    parts = list(of_swap(change))
    rest = beside_swap(change)
    if rest > 0:
        parts += new_pages(found, change, rest)
    elif rest < 0:
        parts += dropped(found, change, -rest)
    parts += of_sharing(found, change)
    lazy = change.lazy_free or 0
    size = found.before.regions.page_size
    if lazy > 0 and change.before:
        told = (
            "{lazy}{where} may be reclaimed by the kernel when it needs memory, and count in RSS "
        )
        told += "until then: madvise(MADV_FREE)"
        parts.append(
            part(C.LAZILY_FREED, told, ("LazyFree {lazy:+}",), lazy=lazy, pages=lazy // size)
        )
    elif lazy < 0 and change.after and change.before:
        again = -lazy - min(-lazy, max(0, -rest))
        if again and not change.vsz < 0:
            told = (
                "{lazy} that madvise(MADV_FREE) had marked were written again{where}: the kernel "
            )
            told += "may no longer reclaim them"
            evidence = ("LazyFree {lazy:-}, RSS unchanged",)
            parts.append(part(C.WRITTEN_AGAIN, told, evidence, lazy=again))
    parts += of_huge_pages(found, change, rest)
    parts += of_ksm(change, rest)
    if change.hugetlb:
        parts.append(of_hugetlb(change, change.hugetlb))
    return parts


def part(
    cause: Cause,
    words: str,
    evidence: Sequence[str],
    *,
    many: str | None = None,
    in_memory: int = 0,
    **figures: int,
) -> Part:
    """A part about pages. Names in braces are figures, which are added up for several regions."""
    amounts = {name: Amount(value) for name, value in figures.items()}
    return Part(
        cause,
        words.format(**amounts, where=""),
        tuple(one.format(**amounts) for one in evidence),
        amounts,
        in_memory,
        many or re.sub(r"\{(lazy|swap|ksm|copied)\}", r"{\1:about}", words),
        tuple(evidence),
    )


def beside_swap(change: Change) -> int:
    """Bytes that came into memory, or left it, otherwise than through swap."""
    rss, swap = change.rss or 0, change.swap or 0
    if swap < 0:
        return rss - min(-swap, max(rss, 0))
    return rss + min(swap, max(-rss, 0)) if rss < 0 else rss + swap


def of_swap(change: Change) -> Iterator[Part]:
    swap, rss = change.swap or 0, change.rss or 0
    if swap > 0 and change.after:
        told = "{swap} went to swap{where}: the kernel needed room, or madvise(MADV_PAGEOUT)"
        yield part(C.SWAPPED_OUT, told, ("Swap {swap:+}",), swap=swap,
                   in_memory=rss - beside_swap(change))  # fmt: skip
    elif swap < 0 and change.before and change.after:
        back = min(-swap, max(rss, 0))
        if back:
            told = "{swap} came back from swap{where}: they were touched, or swapoff(8) read them"
            evidence = ["Swap {swap:-}"]
            if change.major:
                evidence.append("{major:major fault}")
            elif change.major == 0:
                evidence.append("no major fault: read ahead, or still in the swap cache")
            yield part(C.SWAPPED_IN, told, evidence, swap=back, major=change.major or 0,
                       in_memory=back)  # fmt: skip
        if -swap - back:
            told = (
                "{swap} in swap disappeared{where}: either given back "
                "(munmap, madvise(MADV_DONTNEED)), "
            )
            told += "or brought back while as many other pages were given back"
            yield part(C.SWAP_FREED, told, ("Swap {swap:-}, RSS did not grow by them",),
                       swap=-swap - back)  # fmt: skip


def huge_page(found: TotalsDiff) -> int:
    """Bytes that one page table of the lowest level maps: the size of a huge page."""
    size = found.before.regions.page_size
    return size // 8 * size


def new_pages(found: TotalsDiff, change: Change, rest: int) -> Iterator[Part]:
    """Pages that did not exist before, neither in memory nor in swap."""
    read = read_from_file(found, change, rest) if is_of_file(change) else 0
    if read:
        size = found.before.regions.page_size
        told = "RSS {rss:+}: {pages:page} of the file read for the first time; one fault "
        told += "maps several that are in the page cache"
        many = "{rss:about} of files read for the first time{where}; one fault maps several pages "
        many += "that are in the page cache"
        rests_on = ("pages of a file, not written here",)
        writable = [region for region in change.after if region.perms.write]
        if any(getattr(region, "private_dirty", None) is None for region in writable):
            told, many = (one.replace(" read for", " read or written for") for one in (told, many))
            rests_on = ("pages of a file; whether they were written was not read (only in smaps)",)
        yield part(C.FILE_READ, told, rests_on, many=many, rss=read, pages=read // size,
                   in_memory=read)  # fmt: skip
    rest -= read
    huge = min(max(change.anon_huge_pages or 0, 0), rest)
    if huge >= huge_page(found) and fewer_faults(found, huge // huge_page(found)):
        told = "RSS {rss:+}: huge pages made of small pages also cover addresses that had no page: "
        many = "{rss:about} at addresses that had no page are part of huge pages now{where}: "
        how = "khugepaged, or madvise(MADV_COLLAPSE)"
        evidence = ["AnonHugePages {bytes:+}", "fewer page faults than huge pages"]
        yield part(C.HUGE_PAGES_MADE, told + how, evidence, many=many + how, rss=huge,
                   bytes=change.anon_huge_pages or 0, in_memory=huge)  # fmt: skip
        rest, huge = rest - huge, 0
    if rest:
        yield touched(found, change, rest, huge)


def fewer_faults(found: TotalsDiff, count: int) -> bool:
    """Whether there were fewer page faults than that, as far as they are known."""
    return found.minor is not None and abs(found.minor) + abs(found.major or 0) < count


def read_from_file(found: TotalsDiff, change: Change, rest: int) -> int:
    """Bytes of new pages that are the file's own; the others the process has written to.

    A written page of a private mapping is anonymous. One of a shared mapping is dirty, but so may
    be what others wrote before; a write is a fault of its own, while a read maps several pages.
    """
    own, known = 0, True
    for sign, regions in ((1, change.after), (-1, change.before)):
        for region in regions:
            figure = getattr(region, "anonymous", None)
            known = known and figure is not None and region.perms.private
            own += sign * (figure or 0)
    if known:
        return rest - min(max(own, 0), rest)
    if change.copied or written(change):
        faults = abs(change.minor or 0) + abs(change.major or 0)
        fewer = change.minor is not None and faults * found.before.regions.page_size < rest
        return rest if fewer and not change.copied else 0
    return rest


def touched(found: TotalsDiff, change: Change, rest: int, huge: int) -> Part:
    """Pages that the kernel allocated for the process; so many bytes of them are huge pages."""
    size, of_file = found.before.regions.page_size, is_of_file(change)
    count = rest // size
    whole = huge_page(found)
    if huge >= whole:
        small = (rest - huge) // size
        what = "{huge:huge page} of {whole}" + (" and {small:small page}" if small else "")
        told = f"RSS {{rss:+}}: {what} touched for the first time; "
        many = f"{{rss:about}} touched for the first time{{where}}: {what}; "
        how = "the kernel allocates a huge page whole, at one fault"
        mixed = (change.anon_huge_pages or 0) > rest
        if mixed or found.minor is None or abs(found.minor) >= count:
            how += ", unless khugepaged made it of small pages"
        evidence = ["AnonHugePages {bytes:+}"]
        if change.minor:
            evidence.append("{minor:minor fault}")
        return part(
            C.FIRST_TOUCH, told + how, evidence, many=many + how, rss=rest,
            huge=huge // whole, whole=whole, small=small, bytes=huge, minor=change.minor or 0,
            in_memory=rest,
        )  # fmt: skip
    told = "RSS {rss:+}: {pages:page} touched for the first time; "
    many = "{rss:about} touched for the first time{where} ({pages:page}); "
    # The other faults were copies.
    faults = max(abs(change.minor or 0) - abs(change.copied or 0) // size, 0)
    brought = faults + abs(change.major or 0)
    if change.minor is None or of_file or brought >= count:
        how = "the kernel allocates each at that moment"
    else:
        how = "fewer faults than pages: either the kernel allocated several at one fault (large "
        how += "folios), or another process wrote to them"
    return part(
        C.FIRST_TOUCH,
        told + how,
        ("{minor:minor fault}" if faults else "new pages in memory",),
        many=many + how,
        rss=rest,
        pages=count,
        minor=faults,
        in_memory=rest,
    )


def dropped(found: TotalsDiff, change: Change, rest: int) -> Iterator[Part]:
    """Pages that left memory and are not in swap, while their addresses stayed mapped."""
    lazy = min(max(-(change.lazy_free or 0), 0), rest)
    if lazy:
        told = "RSS {rss:-}: pages that madvise(MADV_FREE) had marked are gone: either the kernel "
        told += "reclaimed them, or madvise(MADV_DONTNEED) gave them back"
        many = told.replace("RSS {rss:-}: pages", "{rss:about}{where}")
        rests_on = ("LazyFree {rss:-}, RSS {rss:-}, none in swap",)
        yield part(C.RECLAIMED, told, rests_on, many=many, rss=lazy, in_memory=-lazy)
        rest -= lazy
    if not rest:
        return
    if is_of_file(change):
        yield of_dropped_file(change, rest)
        return
    whole = huge_page(found)
    huge = min(max(-(change.anon_huge_pages or 0), 0), rest) // whole
    how = "either madvise(MADV_DONTNEED) or MADV_FREE, or other memory was mapped in their place "
    how += "(mmap with MAP_FIXED), or mremap(2) moved them"
    told = f"RSS {{rss:-}}: pages were given back, their addresses kept: {how}"
    many = f"{{rss:about}} given back{{where}}, their addresses kept: {how}"
    evidence = ["fewer pages in memory, none more in swap"]
    if change.swap is None:
        told += ", or they went to swap, which was not read"
        many += ", or they went to swap, which was not read"
        evidence = ["fewer pages in memory"]
    if huge:
        told += "; {huge:huge page} among them"
        evidence.append("AnonHugePages {bytes:-}")
    yield part(
        C.GIVEN_BACK,
        told,
        evidence,
        many=many,
        rss=rest,
        huge=huge,
        bytes=huge * whole,
        in_memory=-rest,
    )


def of_dropped_file(change: Change, rest: int) -> Part:
    """Pages of a file that left memory: by the kernel, the process, or whoever changed the file."""
    locked = all(
        regions and all("lo" in (getattr(r, "vm_flags", None) or ()) for r in regions)
        for regions in (change.before, change.after)
    )
    evidence = ["pages of a file, none more in swap"]
    if locked:
        told = "RSS {rss:-}: pages of the file are gone: it was truncated, or a hole was punched"
        many = "{rss:about} of files gone{where}: truncated, or a hole was punched"
        evidence.append(
            "locked (VmFlags lo): neither the kernel's reclaim nor MADV_DONTNEED takes such pages"
        )
        return part(C.FILE_TRUNCATED, told, evidence, many=many, rss=rest, in_memory=-rest)
    reasons = [
        "madvise(MADV_DONTNEED) gave them back",
        "the file was mapped anew (mmap)",
        "the file was truncated or a hole punched",
    ]
    own = sum_of(change.before, "anonymous") - sum_of(change.after, "anonymous")
    in_memory = any(r.perms.shared and r.kind is R.SHARED_MEMORY for r in change.before)
    if own >= rest > 0:
        evidence.append(
            "they were the process's own copies, which the kernel reclaims only to swap"
        )
    elif in_memory:
        evidence.append("shared memory, which the kernel reclaims only to swap")
    else:
        reasons.insert(0, "the kernel reclaimed them (they can be read again)")
    told = "RSS {rss:-}: pages of the file are no longer mapped: either " + ", or ".join(reasons)
    many = "{rss:about} of files no longer mapped{where}: either " + ", or ".join(reasons)
    return part(C.FILE_PAGES_DROPPED, told, evidence, many=many, rss=rest, in_memory=-rest)


def of_sharing(found: TotalsDiff, change: Change) -> Iterator[Part]:
    """Why pages became private to the process, or shared, as far as the figures show it."""
    size, of_file = found.before.regions.page_size, is_of_file(change)
    copied, unshared = change.copied or 0, change.unshared or 0
    if copied > 0:
        faults = f"{found.minor:,} minor faults" if found.minor is not None else "faults not known"
        told = "{pages:page} copied on write: "
        many = "{copied:about} copied on write{where}: "
        rule = "a private page is shared until somebody writes to it"
        evidence = ["Anonymous {copied:+}: pages of a file became the process's own"]
        if not of_file or unshared == copied:
            evidence = ["{copied} that were Shared are Private", faults]
            if found.tables.still_shared:
                evidence.append("other pages are still shared")
        yield part(
            C.COPY_ON_WRITE, told + rule, evidence, many=many + rule, copied=copied,
            pages=copied // size,
        )  # fmt: skip
    elif copied < 0 and of_file:
        told = "{copied} that were copied on write are pages of the file again{where}: the copies "
        told += (
            "were given back (madvise(MADV_DONTNEED), or the file was mapped anew) and the file "
        )
        told += "was read"
        yield part(C.GIVEN_BACK, told, ("Anonymous {copied:-}",), copied=-copied)
    elif copied < 0:
        told = "{copied} are shared again{where}, which copy on write never does: the second "
        told += "snapshot is the older one"
        yield part(C.UNKNOWN, told, ("Private became Shared",), copied=-copied)
    if unshared and not (copied and unshared == copied):
        yield sharing(found, unshared)


def sharing(found: TotalsDiff, unshared: int) -> Part:
    """Why pages became private to the process, or shared, if they were not just copied."""
    backward = (found.minor or found.major or 0) < 0
    size = found.before.regions.page_size
    if (unshared > 0) == backward:
        told = "{shared} became shared with another process, by fork(2): nothing is copied until "
        told += "one of them writes"
        many = "{shared:about} became shared with another process{where}, by fork(2): nothing is "
        many += "copied until one of them writes"
        evidence = ["{shared} that were Private are Shared"]
        return part(C.SHARING_BEGAN, told, evidence, many=many, shared=abs(unshared))
    judged = found.tables
    most = judged.spare
    total = judged.unshared // size
    evidence = ["{shared} that were Shared are Private"]
    if found.minor is None:
        bound = "it is not known how many had been written to, and so copied, before"
        evidence.append("page faults are not known")
    elif not most:
        bound = "none was copied"
        evidence.append("no page fault is left for a copy")
    else:
        bound = f"at most {most:,} of {total:,} pages had been written to, and so copied, before"
        evidence.append(f"{most:,} of {found.minor:,} minor faults can have been copies")
    tail = "are the process's own again: "
    if judged.verdict == SHARER_ENDED:
        evidence.append(
            "none of the pages that can't be written, and so are never copied, is still shared"
        )
        cause = C.SHARING_ENDED
        told = "the other process that shared them has ended, or started another program; "
        told += bound
    else:
        cause = C.SHARING_CHANGED
        if judged.sharer_left:
            others = ["one of the other processes has ended", "one of them wrote to them"]
            evidence.append(
                "pages that can't be written, and so are never copied, have fewer sharers"
            )
        elif judged.fixed_shared:
            others = ["the other process wrote to them", "it unmapped them"]
            evidence.append(
                "pages that can't be written, and so are never copied, are still shared"
            )
        else:
            others = ["the other process has ended", "it wrote to them"]
        if judged.verdict == OTHERS_CHANGED:
            told = f"either {' or '.join(others)}; {bound}"
        else:
            told = f"either they were copied on write, or {' or '.join(others)}"
    return part(
        cause,
        "{shared} " + tail + told,
        evidence,
        many="{shared:about}{where} " + tail + told,
        shared=abs(unshared),
    )


def of_huge_pages(found: TotalsDiff, change: Change, rest: int) -> Iterator[Part]:
    """Huge pages that were made of small pages, or split into them."""
    huge, whole = change.anon_huge_pages or 0, huge_page(found)
    if K.HUGE_PAGES not in change.kinds:
        return
    if huge > 0:
        made = (huge - min(max(rest, 0), huge)) // whole or huge // whole
        told = "{huge:huge page} made of small pages{where}: khugepaged, or madvise(MADV_COLLAPSE)"
        cause, sign = C.HUGE_PAGES_MADE, "+"
    else:
        made = (-huge - min(max(-rest, 0), -huge)) // whole or -huge // whole
        told = "{huge:huge page} split into small pages{where}: a part of it was unmapped, given "
        told += "other permissions or given back, or written to after fork(2)"
        cause, sign = C.HUGE_PAGES_SPLIT, "-"
    if made:
        evidence = (f"AnonHugePages {{bytes:{sign}}}",)
        yield part(cause, told, evidence, huge=made, bytes=made * whole)


def of_ksm(change: Change, rest: int) -> Iterator[Part]:
    """Pages that KSM merged with equal pages of this process or of others."""
    ksm = change.ksm or 0
    if not (change.before and change.after):
        return
    if ksm > 0:
        told = "{ksm} merged with equal pages by KSM: equal pages are one page in memory, which "
        told += "counts in the RSS of each process"
        many = "{ksm:about} merged with equal pages{where} by KSM: equal pages are one page in "
        many += "memory"
        yield part(C.MERGED_BY_KSM, told, ("KSM {ksm:+}",), many=many, ksm=ksm)
    elif ksm < 0 and -ksm > max(-rest, 0):
        told = "{ksm} no longer merged by KSM{where}: either they were written to, and copied, or "
        told += "madvise(MADV_UNMERGEABLE) or KSM itself undid it"
        yield part(C.UNMERGED, told, ("KSM {ksm:-}",), ksm=-ksm - max(-rest, 0))


def of_hugetlb(change: Change, value: int) -> Part:
    size = getattr(change.region, "kernel_page_size", None) or value
    count = abs(value) // size
    if value > 0:
        told = (
            "{hugetlb:page} of hugetlbfs of {size} touched for the first time{where}: {bytes} that "
        )
        told += "RSS does not count"
        cause, sign = C.HUGETLB_TOUCHED, "+"
    else:
        told = "{hugetlb:page} of hugetlbfs of {size} given back{where}: {bytes} that RSS did not "
        told += "count"
        cause, sign = C.HUGETLB_GIVEN_BACK, "-"
    evidence = (f"Shared_Hugetlb and Private_Hugetlb {{bytes:{sign}}}",)
    return part(cause, told, evidence, hugetlb=count, size=size, bytes=abs(value))


def is_of_file(change: Change) -> bool:
    return bool(change.region.inode)


def sum_of(regions: Sequence[Region], field: str) -> int:
    return sum(getattr(region, field, None) or 0 for region in regions)


def written(change: Change) -> bool:
    """Whether the regions have more dirty pages than before."""
    before, after = (
        sum_of(regions, "private_dirty") + sum_of(regions, "shared_dirty")
        for regions in (change.before, change.after)
    )
    return after > before


def notes(found: TotalsDiff, changes: Sequence[Change]) -> list[str]:
    """Sentences about a diff as a whole."""
    said = []
    if found.same_process is False:
        said.append("The snapshots are of two processes.")
    elif found.vsz > 0 and found.rss == 0 and not any(change.rss for change in changes):
        said.append("RSS unchanged: pages are allocated when first touched.")
    elif found.vsz == 0 and (found.rss or 0) > 0:
        said.append("VSZ unchanged: the pages are at addresses that were mapped before.")
    if (found.elapsed or 0) < 0 or (found.minor or 0) < 0:
        said.append(
            "The second snapshot is older than the first: all differences have the opposite sign."
        )
    if found.page_tables:
        said.append(f"Page tables {signed(found.page_tables)}: they count in neither VSZ nor RSS.")
    if found.before.moved or found.after.moved:
        said.append("The process changed its memory while it was read: figures may be off by that.")
    return said
