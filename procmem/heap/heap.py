"""Heap: the memory of a process's allocators, in use and free, as far as it can be read."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from procmem.heap.glibc import PAGE_SIZE, ArenaReader, new_chunks
from procmem.heap.python import read_python
from procmem.native import ffi, lib
from procmem.pages.pagemap import new_pages
from procmem.procfs import probes
from procmem.procfs.activity import idle_since
from procmem.procfs.resident import ResidentMemory
from procmem.procfs.totals import read_status, usage_from_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from procmem.heap.glibc import FoundArena
    from procmem.heap.python import PythonHeap
    from procmem.procfs import ProcessFiles
    from procmem.regions.region import Region

__all__ = ["Heap", "HeapArena", "HeapSize", "Trim", "read_heap"]

ATTEMPTS = 5
PATIENCE = 0.5
"""A heap that changes while it is read is read again: so often, and for so many seconds."""

MOST_DOUBTS = 20

PYTHON = re.compile(r".*/(lib)?python3\.\d+(t?)[^/]*")


class HeapSize(NamedTuple):
    """The chunks of one size: how many are in use, and how many are free (in bins and fast bins).

    Chunks in the caches of threads (tcache) count as in use, because malloc marks them so.

    Attributes:
        size: bytes of each, including its header.
        in_use: the number of chunks in use.
        free: the number of free chunks.
    """

    size: int
    in_use: int
    free: int


class TrimRange(NamedTuple):
    """Memory that malloc_trim(3) would return: its start address, and its resident bytes."""

    start: int
    resident: int


class Trim(NamedTuple):
    """What malloc_trim(0) would return to the kernel.

    Attributes:
        total: resident bytes that it would return.
        ranges: where these are; ranges without resident pages are left out.
    """

    total: int
    ranges: tuple[TrimRange, ...]


class HeapArena(NamedTuple):
    """An arena of glibc's malloc. Sizes are in bytes and include the headers of chunks.

    Attributes:
        address: the address of its struct malloc_state.
        main: whether it is the main arena, which grows by brk(2).
        system: bytes that it has obtained from the kernel (`system_mem`).
        in_use: bytes that are neither free nor in a thread's cache: the program's chunks, and
            malloc's own data. mallinfo2(3)'s uordblks is in_use + tcache.
        tcache: bytes in the caches of threads, which serve the next calls of malloc.
        fast: free bytes in fast bins.
        free: free bytes in the other bins.
        top: bytes of the free chunk at the end. mallinfo2(3)'s fordblks is free + fast + top.
        resident_free: bytes of fast, free and top that are resident.
        trimmable: resident bytes of this arena that malloc_trim(0) would return.
        chunks: the number of chunks in use, including those in caches; None: the chunks could
            not be walked.
        threads: IDs of the threads whose thread-local storage has this arena's address
            (thread_arena): they allocate from it.
        last_in_use: the address of the chunk in use that is nearest to the top: memory before
            it can't be returned by moving the top; None: there is none, or it is not known.
        last_size: the size of that chunk; None: not known.
        locked: whether a thread held the arena's lock while it was read.

    Source: malloc/malloc.c of glibc, struct malloc_state; mallinfo(3).
    """

    address: int
    main: bool
    system: int
    in_use: int
    tcache: int
    fast: int
    free: int
    top: int
    resident_free: int
    trimmable: int
    chunks: int | None
    threads: tuple[int, ...]
    last_in_use: int | None
    last_size: int | None
    locked: bool


class Heap:
    """What malloc and Python have allocated in a process, read from its resident memory.

    The sums are those of the arenas. They include neither large allocations, each of which malloc
    makes a mapping of its own (`mmapped`), nor memory that the program mapped itself.

    Attributes:
        allocator: "glibc malloc"; None: no arena of it was found.
        arenas: the arenas, the main arena first.
        mmapped: bytes of allocations that are mappings of their own; None: not known.
        mmaps: the number of these; None: not known.
        python: the memory of CPython's allocator for small objects; None: no CPython 3 was
            found in the process.
        certain: whether all data structures are consistent, and none changed during the reading.
        doubts: what was inconsistent or changed, a phrase each.
        pid: the process's ID.
        rss: its VmRSS in bytes when the heap was read; None: not known.
    """

    def __init__(
        self,
        arenas: Sequence[HeapArena],
        *,
        mmapped: int | None,
        mmaps: int | None,
        python: PythonHeap | None,
        doubts: Sequence[str],
        trim: Trim,
        sizes: Mapping[int, tuple[int, int]],
        pid: int,
        rss: int | None,
    ) -> None:
        self.pid = pid
        self.rss = rss
        self.arenas = tuple(arenas)
        self.allocator = "glibc malloc" if arenas else None
        self.mmapped = mmapped
        self.mmaps = mmaps
        self.python = python
        self.doubts = tuple(doubts)
        self._trim = trim
        self._sizes = dict(sizes)

    def __repr__(self) -> str:
        what = self.allocator or "no malloc"
        return f"<Heap of {what}: {self.in_use} bytes in use, {self.free} free>"

    @property
    def certain(self) -> bool:
        """Whether all data structures are consistent, and none changed during the reading."""
        return not self.doubts

    @property
    def system(self) -> int:
        """Bytes that all arenas have obtained from the kernel."""
        return sum(arena.system for arena in self.arenas)

    @property
    def in_use(self) -> int:
        """Bytes in use in all arenas, without the caches of threads."""
        return sum(arena.in_use for arena in self.arenas)

    @property
    def tcache(self) -> int:
        """Bytes in the caches of threads (tcache)."""
        return sum(arena.tcache for arena in self.arenas)

    @property
    def free(self) -> int:
        """Free bytes in all arenas: bins, fast bins and tops (fordblks of mallinfo2(3))."""
        return sum(arena.free + arena.fast + arena.top for arena in self.arenas)

    @property
    def resident_free(self) -> int:
        """Free bytes that are still resident."""
        return sum(arena.resident_free for arena in self.arenas)

    @property
    def trimmable(self) -> int:
        """Resident bytes that malloc_trim(0) would return to the kernel."""
        return self._trim.total

    def trim(self) -> Trim:
        """The memory that malloc_trim(0) would return to the kernel (malloc_trim(3))."""
        return self._trim

    def by_size(self) -> list[HeapSize]:
        """The numbers of chunks in use and free of each size, by ascending size."""
        return [HeapSize(size, *self._sizes[size]) for size in sorted(self._sizes)]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; sizes in bytes, addresses as integers."""
        python = self.python
        return {
            "pid": self.pid,
            "allocator": self.allocator,
            "rss": self.rss,
            "system": self.system,
            "in_use": self.in_use,
            "tcache": self.tcache,
            "free": self.free,
            "resident_free": self.resident_free,
            "trimmable": self.trimmable,
            "mmaps": self.mmaps,
            "mmapped": self.mmapped,
            "certain": self.certain,
            "doubts": list(self.doubts),
            "arenas": [arena._asdict() for arena in self.arenas],
            "trim": [one._asdict() for one in self._trim.ranges],
            "sizes": [one._asdict() for one in self.by_size()],
            "python": None
            if python is None
            else {
                "arenas": [arena._asdict() for arena in python.arenas],
                "pools": python.pools,
                "pool_size": python.pool_size,
                "in_use": python.in_use,
                "free": python.free,
                "classes": [
                    {"size": block, **one._asdict()} for block, one in python.classes.items()
                ],
            },
        }


def read_heap(
    files: ProcessFiles,
    maps: Callable[[], Sequence[Region]],
    word_size: Callable[[Sequence[Region]], int],
) -> Heap:
    """Reads what malloc and Python have allocated in a process.

    Args:
        files: the process.
        maps: reads its regions, by address.
        word_size: bytes of an address in a program with such regions: 8 or 4.

    Raises:
        AccessDenied: this user may not read its memory (ptrace(2), access mode checking).
        NoSuchProcess, ZombieProcess, ProcessChanged: it has ended, or runs another program.
    """
    with ResidentMemory(files, required=True) as memory:
        until = time.monotonic() + PATIENCE
        for _ in range(ATTEMPTS):
            heap = read_once(files, memory, maps, word_size)
            memory.check()
            if heap.certain or time.monotonic() > until:
                break
    return heap


def read_once(
    files: ProcessFiles,
    memory: ResidentMemory,
    maps: Callable[[], Sequence[Region]],
    word_size: Callable[[Sequence[Region]], int],
) -> Heap:
    """Reads it once: what does not fit, or changes meanwhile, is a doubt."""
    before = idle_since(files)
    regions = maps()
    word = word_size(regions)
    heads = {}
    for tid in files.thread_ids():
        head = lib.pm_robust_list(tid)
        if head:
            heads[tid] = head
    reader = ArenaReader(memory, regions, word, heads.values(), running=before is None)
    arenas = reader.find()
    for one in arenas:
        reader.measure(one)
    if arenas:
        reader.add_caches(arenas)
    serving = reader.serving(arenas, heads)
    pages, unread = read_pages(memory, arenas)
    python = read_python(memory, regions) if has_python(regions) else None
    # Of a process that did not run in between all is of one moment.
    idle = before is not None and idle_since(files) == before
    doubts = reader.changes(arenas, idle=idle)
    if not idle and python is not None and read_python(memory, regions) != python:
        doubts.append("Python's objects changed while they were read")
    doubts += reader.ring_doubts + [doubt for one in arenas for doubt in one.doubts]
    doubts += reader.doubts + unread
    if len(doubts) > MOST_DOUBTS:
        doubts[MOST_DOUBTS:] = [f"{len(doubts) - MOST_DOUBTS} more like these"]
    made: list[HeapArena] = []
    ranges: list[TrimRange] = []
    sizes: dict[int, tuple[int, int]] = {}
    for one in arenas:
        if not one.impossible:
            made.append(arena_of(one, pages, word, serving, regions, ranges))
            count_sizes(one, sizes)
    parameters = reader.parameters
    return Heap(
        made,
        mmapped=None if parameters is None else parameters.mmapped,
        mmaps=None if parameters is None else parameters.mmaps,
        python=python,
        doubts=doubts,
        trim=Trim(sum(one.resident for one in ranges), tuple(ranges)),
        sizes=sizes,
        pid=files.pid,
        rss=usage_from_status(read_status(files)).rss,
    )


def has_python(regions: Iterable[Region]) -> bool:
    return any(
        region.perms.execute and PYTHON.fullmatch(region.pathname or "") for region in regions
    )


def read_pages(memory: ResidentMemory, arenas: Sequence[FoundArena]) -> tuple[Any, list[str]]:
    """The page table entries of all memory that contains chunks, and what could not be read."""
    pages = new_pages()
    scan = probes.has_pagemap_scan()
    zero = probes.zero_frame()
    behind = 0
    for row in sorted(row for one in arenas for row in one.rows):
        at = ffi.new("uint64_t *", max(behind, row.first // PAGE_SIZE))
        last = -(-row.end // PAGE_SIZE)
        while at[0] < last:
            if lib.pm_pages_read(pages, memory.pagemap, PAGE_SIZE, at, last, scan, zero):
                where = at[0] * PAGE_SIZE
                return pages, [f"the page table can't be read from {where:#x} on"]
        behind = max(behind, last)
    return pages, []


def arena_of(
    found: FoundArena,
    pages: Any,
    word: int,
    serving: Mapping[int, Sequence[int]],
    regions: Sequence[Region],
    ranges: list[TrimRange],
) -> HeapArena:
    """The figures of an arena, from what was read of it."""
    state = found.state
    free = new_chunks()
    for chunks in (found.fast_chunks, found.free_chunks):
        for chunk in chunks.list[0 : chunks.count]:
            lib.pm_chunks_add(free, chunk.address, chunk.size)
    lib.pm_heap_join(free)
    top = new_chunks()
    if found.top:
        lib.pm_chunks_add(top, state.top, found.top)
    resident = lib.pm_heap_resident(free, pages, PAGE_SIZE, 0, 0, ffi.NULL)
    resident += lib.pm_heap_resident(top, pages, PAGE_SIZE, 0, 0, ffi.NULL)
    start, size = state.top, found.top
    # Before it trims, malloc joins fast chunks with their neighbours, including the top.
    if free.count and free.list[free.count - 1].address + free.list[free.count - 1].size == start:
        last = free.list[free.count - 1]
        start, size = last.address, size + last.size
        free.count -= 1
    given = new_chunks()
    trimmed = lib.pm_heap_resident(free, pages, PAGE_SIZE, 6 * word, 1, given)
    if found.main and size > 4 * word + 1 and ends_at_break(start + size, regions):
        extra = (size - 4 * word - 1) // PAGE_SIZE * PAGE_SIZE
        tail = new_chunks()
        lib.pm_chunks_add(tail, start + size - extra, extra)
        trimmed += lib.pm_heap_resident(tail, pages, PAGE_SIZE, 0, 1, given)
    ranges += [TrimRange(r.address, r.size) for r in given.list[0 : given.count] if r.size]
    free_bytes = found.fast + found.bins + found.top
    walk = found.walk
    last_size = None
    if found.walked and found.last:
        last_size = found.last_size
    return HeapArena(
        state.address,
        found.main,
        state.system,
        state.system - free_bytes - found.tcache,
        found.tcache,
        found.fast,
        found.bins,
        found.top,
        int(resident),
        int(trimmed),
        int(walk.used_count) - int(found.fast_chunks.count) if found.walked else None,
        tuple(serving.get(state.address, ())),
        found.last or None,
        last_size,
        state.locked,
    )


def ends_at_break(end: int, regions: Sequence[Region]) -> bool:
    """Whether an address is the program break: only then can malloc move the break down."""
    return any(region.end == end and region.pathname == "[heap]" for region in regions)


def count_sizes(found: FoundArena, sizes: dict[int, tuple[int, int]]) -> None:
    if not found.walked:
        return
    counts: dict[int, list[int]] = {}
    walk = found.walk
    for index in range(lib.PM_HEAP_SIZES):
        if walk.sizes[index]:
            counts[index * 8] = [int(walk.sizes[index]), 0]
    for chunk in walk.large.list[0 : walk.large.count]:
        counts.setdefault(int(chunk.size), [0, 0])[0] += 1
    fast = found.fast_chunks
    for chunk in fast.list[0 : fast.count]:
        row = counts.setdefault(int(chunk.size), [0, 0])
        row[0] -= 1
        row[1] += 1
    for chunk in walk.free.list[0 : walk.free.count]:
        counts.setdefault(int(chunk.size), [0, 0])[1] += 1
    for size, (used, free) in counts.items():
        before = sizes.get(size, (0, 0))
        sizes[size] = (before[0] + used, before[1] + free)
