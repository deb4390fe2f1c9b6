"""The summary of a heap that a snapshot keeps: plain data, from what procmem.heap has read."""

from __future__ import annotations

from dataclasses import replace

from procmem.snapshots.heaps import ArenaSummary, HeapSummary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.heap.heap import Heap
    from procmem.snapshots import Snapshot

__all__ = ["NO_HEAP", "attach", "summary_of"]

NO_HEAP = "no heap of an allocator that procmem can read was found"
"""Why a snapshot has no heap, for Snapshot.unavailable."""


def summary_of(heap: Heap) -> HeapSummary | None:
    """The figures of a heap; None: no allocator was found whose inside is known."""
    python = heap.python if heap.python is not None and heap.python.arenas else None
    if not heap.arenas and python is None:
        return None
    arenas = tuple(
        ArenaSummary(
            one.address,
            one.main,
            one.system,
            one.in_use,
            one.tcache,
            one.free + one.fast + one.top,
            one.resident_free,
            one.trimmable,
        )
        for one in heap.arenas
    )
    return HeapSummary(
        heap.allocator if arenas else None,
        arenas,
        heap.mmapped,
        None if python is None else sum(one.size for one in python.arenas),
        None if python is None else python.in_use,
        None if python is None else python.free,
        tuple(heap.doubts),
    )


def attach(snapshot: Snapshot, summary: HeapSummary | None, why: str = NO_HEAP) -> Snapshot:
    """The snapshot with a summary of the heap, or with the reason why it has none."""
    if summary is not None:
        return replace(snapshot, heap=summary)
    return replace(snapshot, unavailable={**snapshot.unavailable, "heap": why})
