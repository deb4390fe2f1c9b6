"""Reads what malloc and Python have allocated in a process."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from procmem.heap.arena import Trim
from procmem.heap.chunks import PAGE_SIZE
from procmem.heap.figures import arena_of, count_sizes, page_counts, read_pages, resident_in
from procmem.heap.glibc import ArenaReader
from procmem.heap.heap import Heap
from procmem.heap.mapped import MappedChunk, find_mapped
from procmem.heap.others import allocator_name
from procmem.heap.parts import HeapSpan, parts_of
from procmem.heap.python import named_allocator, read_python
from procmem.heap.spans import inside, spans_of
from procmem.native import lib
from procmem.procfs.activity import idle_since
from procmem.procfs.resident import ResidentMemory
from procmem.procfs.totals import read_status, usage_from_status
from procmem.regions.kinds import JOINED, RegionKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from procmem.heap.arena import HeapArena, TrimRange
    from procmem.heap.chunks import FoundArena
    from procmem.heap.layout import MallocParameters
    from procmem.procfs import ProcessFiles
    from procmem.regions.region import Region, ResidentRegion

__all__ = ["HeapLocked", "Locks", "Surroundings", "find_locks", "read_heap"]

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
    python = None
    named_so = has_python(regions)
    if named_so or "cpython" in around.programs:
        python = read_python(memory, anonymous)
        if not python.pools and not named_so:
            python = None
    named = python
    if named is not None and not named.pools:
        paths = (region.pathname or "" for region in regions)
        named = named_allocator(named, paths, files.read("environ"))
    parameters = [one.parameters for one in arenas if one.parameters is not None]
    mmaps = sum(one.mmaps for one in parameters)
    others = [(row.first // PAGE_SIZE * PAGE_SIZE, row.end) for one in arenas for row in one.rows]
    if python is not None:
        others += [(one.address, one.address + one.size) for one in python.arenas]
    # The kernel joins a mapping with an arena that begins where it ends.
    joined = [region for region in regions if region.kind_evidence == JOINED]
    direct = list(find_mapped(memory, [*anonymous, *joined], word, mmaps, others))
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
    doubts += [doubt for one in arenas for doubt in one.doubts] + reader.doubts + unread
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
        mmapped=mapped_bytes(parameters, direct),
        mmaps=mmaps if parameters else None,
        mmap_threshold=parameters[0].threshold if len(parameters) == 1 else None,
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


def mapped_bytes(
    parameters: Sequence[MallocParameters], direct: Sequence[tuple[int, int]]
) -> int | None:
    """Bytes of the allocations that are mappings of their own; None: not known.

    Args:
        parameters: what each C library's malloc counts.
        direct: address and size of each mapping that was found.
    """
    if not parameters:
        return None
    counted = sum(one.mmapped for one in parameters)
    found = sum(size for _, size in direct)
    if len(direct) == sum(one.mmaps for one in parameters) and found <= counted:
        return found
    # Too many by an unknown number of words: see MallocParameters.mmapped.
    return None if counted % PAGE_SIZE else counted


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
