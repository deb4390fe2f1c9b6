"""Heap: the memory of a process's allocators, in use and free, as far as it can be read."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from procmem.heap.glibc import PAGE_SIZE, ArenaReader, new_chunks
from procmem.heap.mapped import MappedChunk, find_mapped
from procmem.heap.others import allocator_name
from procmem.heap.parts import HeapPart, HeapSpan, parts_of
from procmem.heap.pinned import HeapPages, page_uses
from procmem.heap.python import named_allocator, read_python
from procmem.native import ffi, lib
from procmem.pages.pagemap import new_pages
from procmem.procfs import probes
from procmem.procfs.activity import idle_since
from procmem.procfs.resident import ResidentMemory
from procmem.procfs.totals import read_status, usage_from_status
from procmem.regions.kinds import RegionKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from matplotlib.axes import Axes

    from procmem.heap.glibc import FoundArena
    from procmem.heap.others import OtherAllocator
    from procmem.heap.python import PythonHeap
    from procmem.procfs import ProcessFiles
    from procmem.regions.region import Region, ResidentRegion

__all__ = [
    "Heap",
    "HeapArena",
    "HeapHole",
    "HeapLocked",
    "HeapSize",
    "Locks",
    "Surroundings",
    "Trim",
    "find_locks",
    "read_heap",
]

ATTEMPTS = 5
PATIENCE = 0.5
"""A heap that changes while it is read is read again: so often, and for so many seconds."""

MOST_DOUBTS = 20

PYTHON = re.compile(r".*/(lib)?python3\.\d+(t?)[^/]*")


class Surroundings(NamedTuple):
    """What is around the heap of a process.

    Attributes:
        regions: its regions, by address.
        word: bytes of an address in its program: 8 or 4.
        programs: the runtimes and libraries in it, and the evidence for each.
    """

    regions: Sequence[ResidentRegion]
    word: int
    programs: Mapping[str, str]


class HeapLocked(Exception):
    """A thread of the stopped process was inside malloc, and holds the lock of an arena."""


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
    """Adjacent resident pages that malloc_trim(3) would return: their address, and their bytes."""

    start: int
    resident: int


class Trim(NamedTuple):
    """What malloc_trim(0) would return to the kernel.

    Attributes:
        total: resident bytes that it would return.
        ranges: where these are: whole resident pages.
    """

    total: int
    ranges: tuple[TrimRange, ...]

    def pages(self) -> Iterator[int]:
        """The address of each resident page that it would return."""
        for one in self.ranges:
            yield from range(one.start, one.start + one.resident, PAGE_SIZE)


class HeapHole(NamedTuple):
    """A large free chunk of an arena.

    Attributes:
        address: of the chunk.
        size: its bytes.
        resident: those in memory.
        above: the number of chunks in use between it and the top: as long as there is one, the
            arena can't be shortened by this hole.
        above_bytes: the bytes of these chunks.
    """

    address: int
    size: int
    resident: int
    above: int
    above_bytes: int


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
        threads_guess: whether that is no proof: the arena counts more or fewer threads.
        attached: the number of threads that use it, by its own count (attached_threads).
        last_in_use: the address of the chunk in use that is nearest to the top: memory before
            it can't be returned by moving the top; None: there is none, or it is not known.
        last_size: the size of that chunk; None: not known.
        last_cached: whether that chunk is free, and kept in a thread's cache or a fast bin.
        locked: whether a thread held the arena's lock while it was read.
        heaps: start and end of each piece of memory that it has: below the break, or in heaps of
            up to 64 MiB.
        holes: its largest free chunks of a page or more, the largest first.
        others: bytes of `system` that somebody else has obtained between two pieces of the main
            arena by moving the break (sbrk(2)). malloc counts them as in use.

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
    threads_guess: bool = False
    attached: int = 0
    last_cached: bool = False
    heaps: tuple[tuple[int, int], ...] = ()
    holes: tuple[HeapHole, ...] = ()
    others: int = 0


ARENA_PARTS = (
    ("in_use", "in use", "heap"),
    ("tcache", "caches of threads", "arena"),
    ("fast", "fast bins", "code"),
    ("free", "free", "reserved"),
    ("top", "free at the end", "other"),
)
"""The parts of an arena, which make up what it has from the kernel: name, words and colour."""


class Heap:
    """What malloc and Python have allocated in a process, read from its resident memory.

    The sums are those of the arenas. They include neither large allocations, each of which malloc
    makes a mapping of its own (`mmapped`), nor memory that the program mapped itself.

    Attributes:
        allocator: which allocator serves malloc: "glibc malloc", "musl malloc", "jemalloc",
            "tcmalloc", "mimalloc", "AddressSanitizer"...; "Go runtime" in a program without malloc;
            None: not known. Only arenas of glibc's malloc are read from inside.
        arenas: the arenas of glibc's malloc, the main arena first.
        mmapped: bytes of allocations that are mappings of their own; None: not known.
        mmaps: the number of these; None: not known.
        mapped: these, as far as they were found, the largest first.
        python: the memory of CPython's allocator for small objects; None: no CPython 3 was
            found in the process.
        others: what other allocators and runtimes have in their regions, which are not read from
            inside.
        parts: what the process's memory consists of. The sizes add up to VSZ, the resident bytes to
            RSS, but for a difference of `unexplained`.
        pages: how much of each resident page is in use; None: not asked for.
        certain: whether all data structures are consistent, and none changed during the reading.
        doubts: what was inconsistent or changed, a phrase each.
        held: for how many seconds the process was stopped for the reading; None: it was not.
        pid: the process's ID.
        rss: its VmRSS in bytes when the heap was read; None: not known.
    """

    def __init__(
        self,
        arenas: Sequence[HeapArena],
        *,
        allocator: str | None = None,
        mmapped: int | None,
        mmaps: int | None,
        mapped: Sequence[MappedChunk] = (),
        python: PythonHeap | None,
        parts: Sequence[HeapPart] = (),
        pages: HeapPages | None = None,
        doubts: Sequence[str],
        trim: Trim,
        sizes: Mapping[int, tuple[int, int]],
        pid: int,
        rss: int | None,
    ) -> None:
        self.pid = pid
        self.rss = rss
        self.arenas = tuple(arenas)
        self.allocator = allocator or ("glibc malloc" if arenas else None)
        self.mmapped = mmapped
        self.mmaps = mmaps
        self.mapped = tuple(mapped)
        self.python = python
        self.others: tuple[OtherAllocator, ...] = ()
        self.parts = tuple(parts)
        self.pages = pages
        self.doubts = tuple(doubts)
        self.held: float | None = None
        self._trim = trim
        self._sizes = dict(sizes)

    def __repr__(self) -> str:
        what = self.allocator or "an unknown allocator"
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

    @property
    def unexplained(self) -> int | None:
        """VmRSS minus the resident bytes of all parts; None: VmRSS is not known.

        Many kernels count RSS per CPU, so that VmRSS lags behind the page table, and a process that
        is not stopped may change between the readings.
        """
        if self.rss is None:
            return None
        return self.rss - sum(part.resident for part in self.parts)

    def trim(self) -> Trim:
        """The memory that malloc_trim(0) would return to the kernel (malloc_trim(3))."""
        return self._trim

    def by_size(self) -> list[HeapSize]:
        """The numbers of chunks in use and free of each size, by ascending size."""
        return [HeapSize(size, *self._sizes[size]) for size in sorted(self._sizes)]

    def plot(self, ax: Axes | None = None) -> Axes:
        """A bar for each arena of malloc: what is in use, cached and free, with matplotlib.

        Args:
            ax: where to draw; None: on a new figure.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        from procmem.picture import plots
        from procmem.picture.shapes import TimeLayer

        names = ["main arena" if one.main else f"arena {one.address:x}" for one in self.arenas]
        layers = [
            TimeLayer(name, key, tuple(getattr(one, part) for one in self.arenas))
            for part, name, key in ARENA_PARTS
        ]
        return plots.stacks(plots.axes_of(ax, "Heap.plot()"), names, layers)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; sizes in bytes, addresses as integers."""
        python = self.python
        return {
            "pid": self.pid,
            "allocator": self.allocator,
            "rss": self.rss,
            "held": self.held,
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
            "arenas": [
                {**arena._asdict(), "holes": [hole._asdict() for hole in arena.holes]}
                for arena in self.arenas
            ],
            "mapped": [one._asdict() for one in self.mapped],
            "parts": [part._asdict() for part in self.parts],
            "unexplained": self.unexplained,
            "others": [one._asdict() for one in self.others],
            "pages": None if self.pages is None else self.pages.to_dict(),
            "trim": [one._asdict() for one in self._trim.ranges],
            "sizes": [one._asdict() for one in self.by_size()],
            "python": None
            if python is None
            else {
                "arenas": [
                    {**arena._asdict(), "held": [block._asdict() for block in arena.held]}
                    for arena in python.arenas
                ],
                "allocator": python.allocator,
                "evidence": python.evidence,
                "guess": python.guess,
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
    look: Callable[[], Surroundings],
    *,
    pages: bool = False,
    stopped: bool = False,
) -> Heap:
    """Reads what malloc and Python have allocated in a process.

    Args:
        files: the process.
        look: finds out what is around the heap.
        pages: count what is in use on each page, too.
        stopped: whether the process is stopped: then nothing is tried again.

    Raises:
        AccessDenied: this user may not read its memory (ptrace(2), access mode checking).
        HeapLocked: it is stopped while a thread is inside malloc.
        NoSuchProcess, ZombieProcess, ProcessChanged: it has ended, or runs another program.
    """
    with ResidentMemory(files, required=True) as memory:
        until = time.monotonic() + PATIENCE
        for attempt in range(1 if stopped else ATTEMPTS):
            heap = read_once(files, memory, look, pages=pages, stopped=stopped)
            memory.check()
            if heap.certain or (attempt and time.monotonic() > until):
                break
    return heap


def read_once(
    files: ProcessFiles,
    memory: ResidentMemory,
    look: Callable[[], Surroundings],
    *,
    pages: bool,
    stopped: bool,
) -> Heap:
    """Reads it once: what does not fit, or changes meanwhile, is a doubt."""
    before = None if stopped else idle_since(files)
    running = before is None and not stopped
    around = look()
    regions, word = around.regions, around.word
    reader = ArenaReader(memory, regions, word, descriptors(files, word), running=running)
    arenas = reader.find()
    if stopped and any(one.state.locked for one in arenas):
        raise HeapLocked
    for one in arenas:
        reader.measure(one)
    for group in groups_of(arenas):
        reader.add_caches(group)
    anonymous = [region for region in regions if is_anonymous(region)]
    python = read_python(memory, anonymous) if has_python(regions) else None
    named = python
    if named is not None and not named.pools:
        paths = (region.pathname or "" for region in regions)
        named = named_allocator(named, paths, files.read("environ"))
    parameters = [one.parameters for one in arenas if one.parameters is not None]
    mmaps = sum(one.mmaps for one in parameters)
    others = [(row.first // PAGE_SIZE * PAGE_SIZE, row.end) for one in arenas for row in one.rows]
    if python is not None:
        others += [(one.address, one.address + one.size) for one in python.arenas]
    direct = list(find_mapped(memory, anonymous, word, mmaps, others))
    spans = spans_of(arenas, direct, python, regions, PAGE_SIZE)
    entries, unread = read_pages(memory, spans)
    counted = [
        HeapSpan(start, end, resident_in(start, end, entries), owner) for start, end, owner in spans
    ]
    rss = usage_from_status(read_status(files)).rss
    # Of a process that did not run in between all is of one moment.
    idle = stopped or (before is not None and idle_since(files) == before)
    doubts = reader.changes(arenas, idle=idle)
    if not idle and python is not None and read_python(memory, anonymous) != python:
        doubts.append("Python's objects changed while they were read")
    doubts += reader.ring_doubts + [doubt for one in arenas for doubt in one.doubts]
    doubts += reader.doubts + unread
    possible = [one for one in arenas if not one.impossible]
    made: list[HeapArena] = []
    ranges: list[TrimRange] = []
    sizes: dict[int, tuple[int, int]] = {}
    for one in possible:
        made.append(arena_of(one, entries, word, regions, ranges))
        count_sizes(one, sizes)
    trim = Trim(sum(one.resident for one in ranges), tuple(ranges))
    used = None
    if pages:
        used, moved = page_counts(reader, possible, entries, counted, trim)
        doubts += moved
    if len(doubts) > MOST_DOUBTS:
        doubts[MOST_DOUBTS:] = [f"{len(doubts) - MOST_DOUBTS} more like these"]
    mapped = sorted(
        (
            MappedChunk(start, size, resident_in(start, start + size, entries))
            for start, size in direct
        ),
        key=lambda one: one.size,
        reverse=True,
    )
    return Heap(
        made,
        allocator=allocator_name(
            around.programs,
            glibc=bool(made),
            used=any(one.system for one in made),
            paths=[region.pathname or "" for region in regions],
        ),
        mmapped=sum(one.mmapped for one in parameters) if parameters else None,
        mmaps=mmaps if parameters else None,
        mapped=mapped,
        python=named,
        parts=parts_of(regions, counted, inside(possible, made, trim, entries, counted, python)),
        pages=used,
        doubts=doubts,
        trim=trim,
        sizes=sizes,
        pid=files.pid,
        rss=rss,
    )


class Locks:
    """The locks of a process's arenas.

    Args:
        memory: its resident memory.
        addresses: of the arenas, which begin with their locks.
    """

    def __init__(self, memory: ResidentMemory, addresses: Iterable[int]) -> None:
        self.memory = memory
        self.addresses = tuple(addresses)

    def free(self) -> bool:
        """Whether no thread holds any of them."""
        return not any(any(self.memory.read(address, 4)) for address in self.addresses)


def find_locks(memory: ResidentMemory, regions: Sequence[Region], word: int) -> Locks:
    """The locks of the arenas that a process has now."""
    found = ArenaReader(memory, regions, word, {}).find()
    return Locks(memory, [one.state.address for one in found])


def descriptors(files: ProcessFiles, word: int) -> dict[int, int]:
    """An address in the descriptor of each thread; none where thread IDs are not those of /proc."""
    if not files.has_our_numbers:
        return {}
    ask = lib.pm_robust_list if word == 8 else lib.pm_robust_list_32
    heads = {tid: int(ask(tid)) for tid in files.thread_ids()}
    return {tid: head for tid, head in heads.items() if head}


def groups_of(arenas: Iterable[FoundArena]) -> list[list[FoundArena]]:
    """The arenas of each C library."""
    groups: list[list[FoundArena]] = []
    for one in arenas:
        if one.main:
            groups.append([])
        groups[-1].append(one)
    return groups


def is_anonymous(region: Region) -> bool:
    perms = region.perms
    return bool(
        not region.inode
        and perms.write
        and perms.private
        and region.kind in (RegionKind.ANON, RegionKind.BSS)
    )


def has_python(regions: Iterable[Region]) -> bool:
    return any(
        region.perms.execute and PYTHON.fullmatch(region.pathname or "") for region in regions
    )


def spans_of(
    arenas: Iterable[FoundArena],
    mapped: Iterable[tuple[int, int]],
    python: PythonHeap | None,
    regions: Sequence[Region],
    page: int,
) -> list[tuple[int, int, str]]:
    """The memory of arenas, of direct mappings and of Python, cut by regions, without overlaps."""
    ranges: list[tuple[int, int, str]] = []
    for one in arenas:
        for row in one.rows:
            # An arena's heap begins with headers, which malloc counts as in use.
            start = row.first if one.main else row.first // page * page
            ranges.append((start, row.end, "malloc"))
        ranges += [(start, end, "malloc") for start, end in gaps_in(one, regions)]
    ranges += [(start, start + size, "mapped") for start, size in mapped]
    if python is not None:
        ranges += [(one.address, one.address + one.size, "python") for one in python.arenas]
    found: list[tuple[int, int, str]] = []
    ranges.sort()
    behind = 0
    number = 0
    for start, end, owner in ranges:
        at = max(start, behind)
        while number < len(regions) and regions[number].end <= at:
            number += 1
        for region in regions[number:]:
            if region.start >= end:
                break
            first, last = max(at, region.start), min(end, region.end)
            if first < last:
                found.append((first, last, owner))
        behind = max(behind, end)
    return found


def gaps_in(found: FoundArena, regions: Iterable[Region]) -> list[tuple[int, int]]:
    """What somebody else has obtained by sbrk(2) between two pieces of a main arena.

    malloc counts it as its own, and in use.
    """
    if not found.main or not found.contiguous:
        return []
    return [
        (before.end, after.first)
        for before, after in zip(found.rows, found.rows[1:], strict=False)
        if any(r.start <= before.end < after.first <= r.end for r in regions)
    ]


def read_pages(
    memory: ResidentMemory, spans: Iterable[tuple[int, int, str]]
) -> tuple[Any, list[str]]:
    """The page table entries of some ranges, and what could not be read."""
    pages = new_pages()
    scan = probes.has_pagemap_scan()
    zero = probes.zero_frame()
    behind = 0
    for start, end, _ in spans:
        at = ffi.new("uint64_t *", max(behind, start // PAGE_SIZE))
        last = -(-end // PAGE_SIZE)
        while at[0] < last:
            if lib.pm_pages_read(pages, memory.pagemap, PAGE_SIZE, at, last, scan, zero):
                where = at[0] * PAGE_SIZE
                return pages, [f"the page table can't be read from {where:#x} on"]
        behind = max(behind, last)
    return pages, []


def resident_in(start: int, end: int, pages: Any) -> int:
    """The resident bytes of a range."""
    one = ffi.new("pm_chunk *", (start, end - start))
    listed = ffi.new("pm_chunks *", {"list": one, "count": 1})
    return int(lib.pm_heap_resident(listed, pages, PAGE_SIZE, 0, 0, ffi.NULL))


def page_counts(
    reader: ArenaReader,
    arenas: Iterable[FoundArena],
    entries: Any,
    spans: Iterable[HeapSpan],
    trim: Trim,
) -> tuple[HeapPages, list[str]]:
    """How much of each page of the arenas is in use, by a second walk; and what did not fit."""
    walks, doubts = [], []
    for one in arenas:
        walk, fits = reader.walk_pages(one, entries)
        walks.append(walk)
        if one.walked and not fits:
            doubts.append(f"the arena at {one.state.address:#x} changed between two walks")
    rows = [(span.start, span.end) for span in spans if span.owner == "malloc"]
    resident = sum(
        resident_in(start // PAGE_SIZE * PAGE_SIZE, -(-end // PAGE_SIZE) * PAGE_SIZE, entries)
        for start, end in rows
    )
    found = HeapPages(
        page_uses(walks),
        page_size=PAGE_SIZE,
        resident=resident // PAGE_SIZE,
        whole=sum(int(walk.full_pages) for walk in walks),
        returned=trim.total // PAGE_SIZE,
    )
    return found, doubts


def inside(
    found: Sequence[FoundArena],
    arenas: Sequence[HeapArena],
    trim: Trim,
    entries: Any,
    spans: Sequence[HeapSpan],
    python: PythonHeap | None,
) -> list[HeapPart]:
    """The parts that the memory of malloc and of Python consists of."""
    parts: list[HeapPart] = []
    rows = [span for span in spans if span.owner == "malloc"]
    if rows:
        free = sum(one.free + one.fast + one.top for one in arenas)
        resident_free = sum(one.resident_free for one in arenas)
        tcache = sum(one.tcache for one in arenas)
        cached = sum(
            int(lib.pm_heap_resident(one.cached, entries, PAGE_SIZE, 0, 0, ffi.NULL))
            for one in found
            if one.cached is not None
        )
        size = sum(span.end - span.start for span in rows)
        resident = sum(span.resident for span in rows)
        parts += [
            HeapPart(
                "malloc: in use",
                size - free - tcache,
                resident - resident_free - cached,
                "chunks of the program, and malloc's own data",
            ),
            HeapPart("malloc: caches of threads", tcache, cached, "free chunks in tcaches"),
            HeapPart(
                "malloc: free, returned by a trim", trim.total, trim.total, "see malloc_trim(3)"
            ),
            HeapPart(
                "malloc: free, kept by a trim",
                resident_free - trim.total,
                resident_free - trim.total,
                "on pages that are partly in use, or fast chunks and the end of the top",
            ),
            HeapPart(
                "malloc: free, not in memory",
                free - resident_free,
                0,
                "returned already, or never touched, or in swap",
            ),
        ]
    direct = [span for span in spans if span.owner == "mapped"]
    if direct:
        parts.append(
            HeapPart(
                "malloc: direct mappings",
                sum(span.end - span.start for span in direct),
                sum(span.resident for span in direct),
                "large allocations, each a mapping of its own",
            )
        )
    own = [span for span in spans if span.owner == "python"]
    if python is not None and own:
        size = sum(span.end - span.start for span in own)
        resident = sum(span.resident for span in own)
        used = min(python.in_use, resident)
        parts += [
            HeapPart("Python: objects", used, used, "blocks of up to 512 bytes in use"),
            HeapPart(
                "Python: free in arenas",
                size - used,
                resident - used,
                "free blocks, headers of pools, and pools that are not used",
            ),
        ]
    return parts


def arena_of(
    found: FoundArena,
    pages: Any,
    word: int,
    regions: Sequence[Region],
    ranges: list[TrimRange],
) -> HeapArena:
    """The figures of an arena, from what was read of it."""
    state = found.state
    free = new_chunks()
    for chunks in (found.fast_chunks, found.free_chunks):
        if lib.pm_chunks_add_all(free, chunks):
            raise MemoryError
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
    idle = [list_ for list_ in (found.cached, found.fast_chunks) if list_ is not None]
    cached = bool(found.last) and any(
        chunk.address == found.last for chunks in idle for chunk in chunks.list[0 : chunks.count]
    )
    holes = [
        HeapHole(
            int(hole.address),
            int(hole.size),
            resident_in(hole.address, hole.address + hole.size, pages),
            int(walk.used_count - hole.used),
            int(walk.in_use - hole.bytes),
        )
        for hole in walk.holes[0 : walk.hole_count]
        if found.walked
    ]
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
        found.threads,
        found.last or None,
        last_size,
        state.locked,
        not found.threads_sure,
        state.attached,
        cached,
        tuple((row.first, row.end) for row in found.rows),
        tuple(sorted(holes, key=lambda hole: hole.size, reverse=True)),
        sum(end - start for start, end in gaps_in(found, regions)),
    )


def ends_at_break(end: int, regions: Sequence[Region]) -> bool:
    """Whether an address is the program break: only then can malloc move the break down."""
    return any(region.end == end and region.pathname == "[heap]" for region in regions)


def count_sizes(found: FoundArena, sizes: dict[int, tuple[int, int]]) -> None:
    if not found.walked:
        return
    walk = found.walk
    used, fast, free = list(walk.sizes), by_size(found.fast_chunks), by_size(found.free_chunks)
    for large in walk.large.list[0 : walk.large.count]:
        free[1].setdefault(int(large.size), [0, 0])[0] += 1

    def add(size: int, in_use: int, free: int) -> None:
        before = sizes.get(size, (0, 0))
        sizes[size] = (before[0] + in_use, before[1] + free)

    # malloc marks chunks in fast bins as used.
    for index, (one, held, other) in enumerate(zip(used, fast[0], free[0], strict=True)):
        if one or other:
            add(index * 8, one - held, held + other)
    for size, (in_use, unused) in free[1].items():
        add(size, in_use, unused)


def by_size(chunks: Any) -> tuple[list[int], dict[int, list[int]]]:
    """How many chunks there are of each size / 8, and of larger ones: 0 in use, so many free."""
    sizes, large = ffi.new("uint64_t[]", lib.PM_HEAP_SIZES), new_chunks()
    if lib.pm_chunks_sizes(chunks, sizes, large):
        raise MemoryError
    larger: dict[int, list[int]] = {}
    for chunk in large.list[0 : large.count]:
        larger.setdefault(int(chunk.size), [0, 0])[1] += 1
    return list(sizes), larger
