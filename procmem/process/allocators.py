"""The heap of a process: read while it runs, or while it is stopped."""

from __future__ import annotations

import contextlib
import time

from procmem.heap.others import is_others, others_in
from procmem.heap.reading import HeapLocked, Surroundings, find_locks, read_heap
from procmem.process.facts import facts_of, word_size
from procmem.process.reading import read_residency, read_smaps
from procmem.procfs.resident import ResidentMemory
from procmem.tracing.holding import Hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.heap.heap import Heap
    from procmem.procfs import ProcessFiles
    from procmem.regions.region import ResidentRegion

__all__ = ["heap_of"]

STOPS = 20
"""How often a process is read while it is stopped, until no thread is inside malloc."""

PAUSE = 0.002
"""Seconds that a process goes on between two stops, at least."""


def heap_of(files: ProcessFiles, *, stop: bool, pages: bool) -> Heap:
    """What malloc and Python hold in a process; see Process.heap()."""
    if not stop:
        return look(files, pages=pages, stopped=False)
    table = read_residency(files)
    regions = list(table)
    # The headers of its ELF files are cached: the process need not wait for them.
    facts_of(files, regions, table.reading)
    held = 0.0
    doubts: tuple[str, ...] = ()
    with ResidentMemory(files, required=True) as memory:
        locks = find_locks(memory, regions, word_size(regions))
        left = STOPS
        while True:
            heap = None
            with Hold(files, good=locks.free) as hold, contextlib.suppress(HeapLocked):
                heap = look(files, pages=pages, stopped=left > 0)
            held += hold.stopped.seconds if hold.stopped else 0
            if heap is not None:
                heap.held = held
                # What is inconsistent since a thread was inside malloc is so elsewhere next time.
                if heap.certain or heap.doubts == doubts or left <= 0:
                    return heap
                doubts = heap.doubts
            left -= 1
            time.sleep(PAUSE * (1 + left % 7))


def look(files: ProcessFiles, *, pages: bool, stopped: bool) -> Heap:
    """Reads the heap of a process as it is now."""
    regions: list[ResidentRegion] = []

    def surroundings() -> Surroundings:
        table = read_residency(files)
        regions[:] = table
        facts = facts_of(files, regions, table.reading)
        table.reading.find_facts = lambda *_: facts
        programs = {} if facts is None else facts.programs
        return Surroundings(regions, word_size(regions), programs)

    heap = read_heap(files, surroundings, pages=pages, stopped=stopped)
    if any(is_others(region, heap.allocator) for region in regions):
        heap.others = tuple(others_in(list(read_smaps(files)), heap.allocator))
    return heap
