"""Why memory changed: each change's cause, in words, with what it rests on.

Rules of glibc are told by their figures: a first brk of the request plus 128 KiB, thread stacks
of 8 MiB with a guard, arenas of 64 MiB (malloc/malloc.c, malloc/arena.c, nptl/allocatestack.c).
Where nothing fits, the cause is UNKNOWN and says so.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from procmem.moments.changes import ChangeKind
from procmem.regions.kinds import ARENA_SIZES, GUARD_LIMIT, STACK_MINIMUM, RegionKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from procmem.moments.diffs import Change, Diff
    from procmem.regions import Region

__all__ = ["Cause", "Explanation", "explain", "notes"]

K = ChangeKind
R = RegionKind

TOP_PAD = 128 << 10
"""glibc's M_TOP_PAD: what it asks brk(2) for beyond the request; also M_MMAP_THRESHOLD."""


class Cause(enum.Enum):
    """Why regions changed. `str(cause)` is its value."""

    HEAP_STARTED = "heap started"
    HEAP_GREW = "heap grew"
    HEAP_SHRANK = "heap shrank"
    THREAD_STARTED = "thread started"
    THREAD_ENDED = "thread ended"
    ARENA_MADE = "arena made"
    ARENA_GREW = "arena grew"
    ARENA_REMOVED = "arena removed"
    STACK_GREW = "stack grew"
    LIBRARY_LOADED = "library loaded"
    LIBRARY_UNLOADED = "library unloaded"
    FILE_MAPPED = "file mapped"
    FILE_UNMAPPED = "file unmapped"
    SHARED_MEMORY_ATTACHED = "shared memory attached"
    SHARED_MEMORY_DETACHED = "shared memory detached"
    MEMORY_MAPPED = "memory mapped"
    MEMORY_UNMAPPED = "memory unmapped"
    ADDRESSES_RESERVED = "addresses reserved"
    REMAPPED = "remapped"
    PROTECTION_CHANGED = "protection changed"
    RENAMED = "renamed"
    ADVISED = "advised"
    FIRST_TOUCH = "first touch"
    FILE_READ = "file read"
    COPY_ON_WRITE = "copy on write"
    SHARING_CHANGED = "sharing changed"
    GIVEN_BACK = "given back"
    SWAPPED_OUT = "swapped out"
    SWAPPED_IN = "swapped in"
    PROGRAM_REPLACED = "program replaced"
    OTHER_PROCESS = "other process"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


C = Cause


class Explanation(NamedTuple):
    """A cause and what it accounts for.

    Attributes:
        cause: of a fixed list.
        words: the same for people, with the figures.
        evidence: what it rests on.
        changes: the changes that it accounts for.
    """

    cause: Cause
    words: str
    evidence: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def vsz(self) -> int:
        """Bytes of address space that it accounts for."""
        return sum(change.vsz for change in self.changes)

    @property
    def rss(self) -> int | None:
        """Bytes in memory that it accounts for; None: not measured."""
        parts = [change.rss for change in self.changes]
        return None if None in parts else sum(part or 0 for part in parts)


def kib(value: int) -> str:
    return f"{value >> 10:,} KiB"


def signed(value: int) -> str:
    return f"{'+' if value >= 0 else '−'}{abs(value) >> 10:,} KiB"


def pages_of(found: Diff, value: int) -> str:
    pages = abs(value) // found.before.regions.page_size
    return f"{pages:,} page{'' if pages == 1 else 's'}"


def explain(found: Diff, changes: Sequence[Change]) -> Iterator[Explanation]:
    """The causes of all changes; each change gets its own."""
    for told in causes(found, changes):
        for change in told.changes:
            change.explanation = told
        yield told


def causes(found: Diff, changes: Sequence[Change]) -> Iterator[Explanation]:
    if found.same_process is False:
        words = "the snapshots are of two processes: this is how they differ, not what happened"
        if changes:
            yield Explanation(
                C.OTHER_PROCESS, words, ("PID and start time differ",), tuple(changes)
            )
        return
    # All others are told one by one: no need to look at them more than once.
    spatial = [change for change in changes if not SPATIAL.isdisjoint(change.kinds)]
    if replaced(spatial):
        words = "the process started another program (execve): all of its memory is new"
        yield Explanation(C.PROGRAM_REPLACED, words, ("its stack lies elsewhere",), tuple(changes))
        return
    left = {id(change): change for change in changes}
    for told in (*threads(found, spatial), *arenas(spatial), *libraries(found, spatial)):
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
"""Kinds of changes by which addresses come and go."""

CONTENTS = frozenset((K.TOUCHED, K.DROPPED, K.SWAPPED, K.COPIED, K.SHARING))
"""Kinds of changes of what lies at addresses that stay as they are."""


def replaced(changes: Sequence[Change]) -> bool:
    """Whether [stack], which a program keeps for life, lies elsewhere."""
    return any(
        K.MOVED in change.kinds and change.region.raw_pathname == b"[stack]" for change in changes
    )


# ---- causes of several changes at once -----------------------------------------------


def threads(found: Diff, changes: Sequence[Change]) -> Iterator[Explanation]:
    """Stacks that came with threads and went with them."""
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
        evidence = ["a guard without permissions lies below each"]
        if known:
            evidence = [f"threads: {len(old)} before, {len(new)} after"]
            if pointers:
                evidence.append("stack pointers of these threads lie in it")
        if came:
            words = f"VSZ {size}: {stack}; only the pages that a thread uses come into memory"
            yield Explanation(C.THREAD_STARTED, words, tuple(evidence), whole)
        else:
            words = f"VSZ {size}: {stack}, given back after its end"
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
    """Malloc's arenas: mapped as a whole, opened from the start."""
    for came in (True, False):
        parts = []
        for change in changes:
            regions = change.after if came else change.before
            ranges = change.gained if came else change.lost
            if ranges and any(region.kind is R.ARENA for region in regions):
                parts.append(change)
        if parts:
            size = sum(change.vsz for change in parts)
            words = (
                f"VSZ {signed(size)}: a malloc arena, {kib(ARENA_SIZES[0])} of addresses for the "
                "mallocs of one thread, opened from its start as they need it"
                if came
                else f"VSZ {signed(size)}: a malloc arena was given back"
            )
            cause = C.ARENA_MADE if came else C.ARENA_REMOVED
            evidence = ("aligned to its length; writable at its start, without permissions behind",)
            yield Explanation(cause, words, evidence, tuple(parts))


def libraries(found: Diff, changes: Sequence[Change]) -> Iterator[Explanation]:
    """Files that came or went: the regions of each, and the bss behind the last."""
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
            if any(change.region.perms.execute for change in parts):
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
"""Pages in memory that hardly are as many by chance, where sizes differ."""


def remapped(found: Diff, changes: Sequence[Change]) -> Iterator[Explanation]:
    """Anonymous memory that went here and came there: a part of a region, or resized."""
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
        words = f"{kib(-source.vsz)} lie elsewhere now"
        if source.vsz != -target.vsz:
            words += f", as {kib(target.vsz)}"
        words += ": mremap(2), as realloc calls it; or unmapped here and mapped there"
        evidence = (f"{kib(resident)} in memory went here and came there", "no other memory did")
        yield Explanation(C.REMAPPED, words, evidence, tuple(parts))


def is_named(region: Region) -> bool:
    return bool(region.inode or region.raw_pathname)


SHARED = (R.SHARED_MEMORY, R.HUGETLB, R.DEVICE)


# ---- causes of single changes --------------------------------------------------------


def single(found: Diff, change: Change) -> Explanation:
    cause, words, evidence = (
        untold(found, change) or address_space(change) or contents(found, change)
    )
    if change.vsz > 0 and change.rss == 0:
        words += "; RSS unchanged: pages are allocated when first touched"
    elif change.vsz and change.rss:
        words += f"; RSS {signed(change.rss)}"
    return Explanation(cause, words, tuple(evidence.split("; ")), (change,))


def untold(found: Diff, change: Change) -> tuple[Cause, str, str] | None:
    """What only seems to have changed, since a core does not tell it; None: it is not that."""
    told = [
        [one.unavailable.get(key) for key in ("perms", "perms of files")]
        for one in (found.before, found.after)
    ]
    if told[0] == told[1] or not {K.PROTECTED, K.RENAMED}.issuperset(change.kinds):
        return None
    if K.PROTECTED not in change.kinds:
        words, evidence = "another name", "names of the kernel, such as [heap], are in no core"
    else:
        words = "other permissions" + (" and another name" if K.RENAMED in change.kinds else "")
        evidence = "; ".join(dict.fromkeys(one for side in told for one in side if one))
    words += ", which a core tells only in part: it need be no change of the process"
    return C.UNKNOWN, words, evidence


def address_space(change: Change) -> tuple[Cause, str, str] | None:
    """Why addresses came, went, or are used otherwise; None: they aren't."""
    if not change.vsz and CONTENTS.issuperset(change.kinds):
        # Kinds of regions are told all at once, which is not needed for these.
        return None
    region, size = change.region, signed(change.vsz)
    kind = region.kind
    mapped, unmapped = K.MAPPED in change.kinds, K.UNMAPPED in change.kinds
    if K.MOVED in change.kinds:
        said = f"it lies elsewhere now ({signed(change.vsz)}): mremap(2), or mapped anew"
        if region.inode or getattr(region, "rss", None):
            return C.REMAPPED, said, "size, contents and permissions as before"
        evidence = "size and permissions as before; no other such memory came or went"
        return C.REMAPPED, said, evidence
    if kind is R.HEAP and change.vsz and region.raw_pathname == b"[heap]":
        return heap(change)
    if kind is R.STACK and change.vsz and region.raw_pathname == b"[stack]":
        said = f"stack {size}: the kernel extends it when a page below it is touched"
        return C.STACK_GREW, said, "the kernel's name [stack]"
    if kind is R.ARENA and change.vsz == 0 and K.PROTECTED in change.kinds:
        said = "a malloc arena was opened further (mprotect): a thread allocates"
        return C.ARENA_GREW, said, "the boundary between its writable part and its reserve moved"
    if kind in SHARED and change.vsz:
        came = change.vsz > 0
        what = "shared memory was attached" if came else "shared memory was detached"
        if not (mapped or unmapped):
            what = "a part of " + what
        cause = C.SHARED_MEMORY_ATTACHED if came else C.SHARED_MEMORY_DETACHED
        return cause, f"VSZ {size}: {what}: {region.name}", "told by " + region.kind_evidence
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
        return cause, said, "its file and inode"
    if K.PROTECTED in change.kinds:
        was = "/".join(dict.fromkeys(str(r.perms) for r in change.before))
        now = "/".join(dict.fromkeys(str(r.perms) for r in change.after))
        said = f"permissions went from {was} to {now} (mprotect)"
        if K.SPLIT in change.kinds:
            said += ": a region has one set of permissions, so it was split"
        return C.PROTECTION_CHANGED, said, "permissions before and after"
    if K.RENAMED in change.kinds and not touched(change):
        former = change.before[0].pathname
        said = "its file was deleted or renamed" if region.inode else "it was given another name"
        return C.RENAMED, said, f"{former!r} became {region.pathname!r}"
    if K.ADVISED in change.kinds and not touched(change):
        said = "its flags changed: madvise(2), mlock(2) or prctl(2)"
        return C.ADVISED, said, "VmFlags before and after"
    return None


def touched(change: Change) -> bool:
    return bool(change.rss or change.swap or change.copied)


def heap(change: Change) -> tuple[Cause, str, str]:
    size = kib(abs(change.vsz))
    name = "the kernel's name [heap]"
    if change.vsz < 0:
        said = f"heap shrank by {size}: the program break went down (brk): free gives back what "
        said += "lies at the heap's end once it passes 128 KiB"
        return C.HEAP_SHRANK, said, name
    padded = change.vsz >= TOP_PAD
    first = not change.before
    if padded:
        said = f"heap grew by {size}: "
        said += "the first malloc extends" if first else "malloc found no room and extends"
        said += " brk by its request plus the top pad"
        evidence = f"{name}; {kib(change.vsz)} are {kib(TOP_PAD)} of pad and "
        evidence += f"{kib(change.vsz - TOP_PAD)} of request"
    else:
        said = f"heap grew by {size}: the program break went up (brk)"
        evidence = f"{name}; less than malloc's top pad of {kib(TOP_PAD)}"
    if first and padded:
        evidence += "; stdio allocates its buffers by malloc, too"
    return C.HEAP_STARTED if first else C.HEAP_GREW, said, evidence


def exchanged(change: Change) -> tuple[Cause, str, str]:
    """Of memory that lost addresses and gained others."""
    gone, come = (
        sum(end - start for start, end in ranges) for ranges in (change.lost, change.gained)
    )
    said = f"VSZ {signed(change.vsz)}: {kib(gone)} of anonymous memory were unmapped, "
    said += f"{kib(come)} were mapped beside it (munmap and mmap, or mremap)"
    cause = C.REMAPPED
    if gone != come:
        cause = C.MEMORY_MAPPED if come > gone else C.MEMORY_UNMAPPED
    return cause, said, "anonymous: no file behind it"


def anonymous(change: Change) -> tuple[Cause, str, str]:
    size = signed(change.vsz)
    grown = change.vsz > 0
    merged = ""
    if K.GROWN in change.kinds and grown:
        merged = "; it lies against memory with the same permissions, so both are one region"
    elif K.SHRUNK in change.kinds and K.SPLIT in change.kinds:
        merged = "; what lay in the middle went, so two regions are left"
    evidence = "anonymous: no file behind it"
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


def contents(found: Diff, change: Change) -> tuple[Cause, str, str]:
    """Why pages came, went or were copied, at addresses that stayed."""
    rss, swap, copied = change.rss or 0, change.swap or 0, change.copied or 0
    of_file = bool(change.region.inode)
    rss_said = f"RSS {signed(rss)}"
    if swap > 0:
        said = f"{kib(swap)} went to swap: the kernel needed room, or madvise(MADV_PAGEOUT)"
        return C.SWAPPED_OUT, said, "Swap of its pages"
    if swap < 0 and rss > 0:
        return C.SWAPPED_IN, f"{kib(-swap)} came back from swap: touched again", "Swap of its pages"
    if K.COPIED in change.kinds and copied > 0:
        said = f"{pages_of(found, copied)} copied on write: a private page is shared until "
        said += "somebody writes to it"
        if rss > 0 and not of_file:
            first = f"{rss_said}: {pages_of(found, rss)} touched for the first time"
            if rss > copied:
                return C.FIRST_TOUCH, f"{first}; {said}", f"{found.minor} minor faults"
            said += f"; {first}"
        elif rss:
            said += f"; {rss_said}: {'more' if rss > 0 else 'fewer'} of its pages in memory"
        source = "pages of a file became anonymous" if of_file else "Shared became Private"
        return C.COPY_ON_WRITE, said, f"{source}; {found.minor} minor faults"
    if rss > 0:
        count = pages_of(found, rss)
        if of_file and not copied and not written(change):
            were = "was" if count.startswith("1 ") else "were"
            said = f"{rss_said}: {count} of the file {were} read for the first time; one fault "
            said += "maps up to 16 that lie in the page cache"
            return C.FILE_READ, said, "pages of a file, not written here"
        said = f"{rss_said}: {count} touched for the first time; the kernel allocates each at "
        said += "that moment"
        faults = f"{change.minor} minor faults" if change.minor else "new pages in memory"
        return C.FIRST_TOUCH, said, faults
    if rss < 0:
        said = f"{rss_said}: pages were given back, their addresses kept: madvise(MADV_DONTNEED), "
        said += "or the kernel reclaimed them"
        return C.GIVEN_BACK, said, "fewer pages in memory, none more in swap"
    if K.SHARING in change.kinds or K.COPIED in change.kinds:
        more = "its own again: the process that shared them has ended or written to them"
        less = "shared: fork(2) gave them to a child, too"
        said = f"{kib(abs(copied))} are {more if copied > 0 else less}"
        return C.SHARING_CHANGED, said, "Private against Shared of its pages"
    if K.RENAMED in change.kinds:
        return C.RENAMED, "it was given another name", "names before and after"
    if change.kinds == (K.SPLIT,):
        said = "other memory took the place of a part, alike but kept apart by the kernel: "
        said += "mremap(2), or mmap(2) with MAP_FIXED; or a part got a policy of its own (mbind(2))"
        return C.REMAPPED, said, "all parts have the same permissions, flags and backing"
    return C.UNKNOWN, "no cause is known for this", "nothing"


def written(change: Change) -> bool:
    """Whether it has more dirty pages than before."""

    def dirty(regions: Sequence[Region]) -> int:
        return sum(
            (getattr(region, field, None) or 0)
            for region in regions
            for field in ("private_dirty", "shared_dirty")
        )

    return dirty(change.after) > dirty(change.before)


def notes(found: Diff) -> list[str]:
    """What is to be said of a diff as a whole."""
    said = []
    if found.same_process is False:
        said.append("The snapshots are of two processes.")
    elif found.vsz > 0 and found.rss == 0:
        said.append("RSS unchanged: pages are allocated when first touched.")
    elif found.vsz == 0 and (found.rss or 0) > 0:
        said.append("VSZ unchanged: the pages lie at addresses that were mapped before.")
    if found.page_tables:
        said.append(f"Page tables {signed(found.page_tables)}: they are in neither VSZ nor RSS.")
    if found.before.moved or found.after.moved:
        said.append("The process moved while it was read: figures may differ by what it did then.")
    return said
