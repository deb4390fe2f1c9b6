"""The memory of malloc and of Python by address, and the parts that it consists of."""

from __future__ import annotations

from typing import Any

from procmem.heap.chunks import PAGE_SIZE
from procmem.heap.parts import HeapPart
from procmem.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from procmem.heap.arena import HeapArena, Trim
    from procmem.heap.chunks import FoundArena
    from procmem.heap.parts import HeapSpan
    from procmem.heap.python import PythonHeap
    from procmem.regions.region import Region

__all__ = ["gaps_in", "inside", "spans_of"]


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
                # The arenas of a process that runs may have grown since the regions were read.
                max(size - free - tcache, 0),
                max(resident - resident_free - cached, 0),
                "chunks of the program, and malloc's own data",
            ),
            HeapPart("malloc: caches of threads", tcache, cached, "free chunks in tcaches"),
            HeapPart(
                "malloc: free, returned by a trim", trim.total, trim.total, "see malloc_trim(3)"
            ),
            HeapPart(
                "malloc: free, kept by a trim",
                max(resident_free - trim.total, 0),
                max(resident_free - trim.total, 0),
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
