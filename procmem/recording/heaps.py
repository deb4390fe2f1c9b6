"""Whether memory that grew is live, was freed and kept, or is fragmented: by the heap's figures."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.snapshots.heaps import HeapSummary

__all__ = ["HeapGrowth", "heap_growth"]

MOST_OF_IT = 0.75
"""The share of the growth that a figure must account for to be its cause."""

PART_OF_IT = 0.2
"""The least share that is worth naming beside another."""

TRIMMABLE = 0.5
"""The share of free memory from which on it is kept rather than fragmented."""


class HeapGrowth(NamedTuple):
    """What an allocator gained in regions that grew. Differences in bytes.

    Attributes:
        verdict: "live": what is in use grew; "kept": memory was freed and not returned, and
            malloc_trim(0) would return most of it; "fragmented": memory was freed, and cannot be
            returned since it shares pages (of Python: arenas) with what is in use; "mixed": both
            live and free memory grew.
        allocator: "malloc" or "Python".
        since, until: the times of the two snapshots that are compared, in seconds from the first.
        gained: memory of the regions between these two.
        in_use: what the program has allocated.
        resident_free: free memory that is resident.
        trimmable: what malloc_trim(0) would return.
        trimmable_now: that of the later snapshot.
        certain: whether both heaps were read without a doubt.
    """

    verdict: str
    allocator: str
    since: float
    until: float
    gained: int
    in_use: int
    resident_free: int
    trimmable: int
    trimmable_now: int
    certain: bool


class Held(NamedTuple):
    """What an allocator holds in the regions of one kind."""

    in_use: int
    resident_free: int
    trimmable: int


def heap_growth(
    kind: str, gained: int, before: HeapSummary, after: HeapSummary, since: float, until: float
) -> HeapGrowth | None:
    """The growth of an allocator's memory between two summaries.

    Args:
        kind: the kind of the regions that grew, as tables show it.
        gained: bytes of memory that they gained between the two snapshots.
        before: the earlier summary.
        after: the later one.
        since: the time of the earlier one, in seconds.
        until: the time of the later one.

    Returns:
        None: these regions are no allocator's, or its figures do not account for their growth.
    """
    if gained <= 0 or not before.is_of(after):
        return None
    for allocator, held in HOLDERS.get(kind.rstrip("?"), ()):
        one, other = held(before), held(after)
        if one is None or other is None:
            continue
        live, free, trim = (new - old for new, old in zip(other, one, strict=True))
        verdict = verdict_of(gained, live, free, trim)
        if verdict is not None:
            return HeapGrowth(
                verdict, allocator, since, until, gained, live, free, trim, other.trimmable,
                before.certain and after.certain,
            )  # fmt: skip
    return None


def verdict_of(gained: int, live: int, free: int, trim: int) -> str | None:
    """The cause of the growth; None: the figures do not account for it.

    >>> verdict_of(100, 90, 5, 0), verdict_of(100, 3, 95, 90), verdict_of(100, 3, 95, 1)
    ('live', 'kept', 'fragmented')
    >>> verdict_of(100, 50, 45, 45), verdict_of(100, 60, 16, 0)
    ('mixed', None)
    """
    if live + free < MOST_OF_IT * gained:
        return None
    if live >= MOST_OF_IT * gained and free < PART_OF_IT * gained:
        return "live"
    if free >= MOST_OF_IT * gained:
        return "kept" if trim >= TRIMMABLE * free else "fragmented"
    return "mixed" if min(live, free) >= PART_OF_IT * gained else None


def main_arena(heap: HeapSummary) -> Held | None:
    return arenas(heap, main=True)


def other_arenas(heap: HeapSummary) -> Held | None:
    return arenas(heap, main=False)


def arenas(heap: HeapSummary, *, main: bool) -> Held | None:
    if not heap.arenas:
        return None
    own = [one for one in heap.arenas if one.main is main]
    return Held(
        sum(one.in_use for one in own),
        # Caches of threads are free memory, too, which the next calls of malloc use.
        sum(one.resident_free + one.tcache for one in own),
        sum(one.trimmable for one in own),
    )


def mappings(heap: HeapSummary) -> Held | None:
    """Allocations that are mappings of their own, which are unmapped when they are freed."""
    return None if heap.mmapped is None else Held(heap.mmapped, 0, 0)


def python_arenas(heap: HeapSummary) -> Held | None:
    if heap.python_system is None or heap.python_in_use is None:
        return None
    return Held(heap.python_in_use, heap.python_system - heap.python_in_use, 0)


HOLDERS = {
    "heap": (("malloc", main_arena),),
    "arena": (("malloc", other_arenas),),
    "anon": (("malloc", mappings), ("Python", python_arenas)),
}
"""For each kind of region whose memory may be there, and what holds it."""
