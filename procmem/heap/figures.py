"""The figures of an arena, from what was read of it and from the page table."""

from __future__ import annotations

import time

from procmem.heap.arena import HeapArena, HeapHole, TrimRange
from procmem.heap.chunks import PAGE_SIZE, new_chunks
from procmem.heap.pinned import HeapPages, page_uses
from procmem.heap.spans import gaps_in
from procmem.native import ffi, lib
from procmem.pages.pagemap import new_pages
from procmem.procfs import probes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from procmem.heap.arena import Trim
    from procmem.heap.chunks import FoundArena
    from procmem.heap.glibc import ArenaReader
    from procmem.heap.parts import HeapSpan
    from procmem.procfs.resident import ResidentMemory
    from procmem.regions.region import Region

__all__ = ["arena_of", "count_sizes", "page_counts", "read_pages", "resident_in"]

PIECE = 8192
PAUSE = 20e-6
"""Pages whose entries are read without a pause, and its seconds. The kernel holds mmap_lock for
each 512 entries; without a pause the process would get it for an mmap(2) only after 4 ms."""


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
        int(walk.largest_free) if found.walked else None,
    )


def ends_at_break(end: int, regions: Sequence[Region]) -> bool:
    """Whether an address is the program break: only then can malloc move the break down."""
    return any(region.end == end and region.pathname == "[heap]" for region in regions)


def count_sizes(found: FoundArena, sizes: dict[int, tuple[int, int]]) -> None:
    """Adds how many chunks of each size an arena has in use, and free."""
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


def read_pages(
    memory: ResidentMemory, spans: Iterable[tuple[int, int, str]]
) -> tuple[Any, list[str]]:
    """The page table entries of some ranges, and what could not be read."""
    pages = new_pages()
    file = memory.pagemap
    scans = probes.has_pagemap_scan()
    behind = 0
    for start, end, _ in spans:
        at = ffi.new("uint64_t *", max(behind, start // PAGE_SIZE))
        last = -(-end // PAGE_SIZE)
        while at[0] < last:
            stop = min(last, at[0] + PIECE)
            if scans:
                status = lib.pm_pages_scan(pages, file, PAGE_SIZE, at, stop)
            else:
                status = lib.pm_pages_read(pages, file, PAGE_SIZE, at, stop, 0, 0)
            if status:
                where = at[0] * PAGE_SIZE
                return pages, [f"the page table can't be read from {where:#x} on"]
            if at[0] < last:
                time.sleep(PAUSE)
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
