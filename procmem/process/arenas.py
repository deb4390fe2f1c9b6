"""Which thread allocates from which arena of glibc's malloc.

A thread keeps the address of its arena in its local storage (thread_arena, malloc/arena.c),
which lies beside its descriptor. A heap of an arena starts with that address, too.
"""

from __future__ import annotations

import struct

from procmem.native import lib
from procmem.process.facts import same_numbers, word_size
from procmem.procfs.resident import ResidentMemory
from procmem.regions.kinds import ARENA_SIZES, RegionKind
from procmem.regions.region import PAGE_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from procmem.procfs import ProcessFiles
    from procmem.regions import RegionTable

__all__ = ["arenas_of"]

REACH = PAGE_SIZE
"""Bytes before and behind a thread's descriptor in which the address of its arena is looked for:
its local storage lies there, that of the C library first or nearly so."""


def arenas_of(files: ProcessFiles, table: RegionTable[Any], tids: Iterable[int]) -> dict[int, int]:
    """Of each thread the address of its arena's first heap; threads without one are left out.

    Args:
        files: the process.
        table: its regions, whose kinds are told.
        tids: its threads.
    """
    regions = [region for region in table if region.kind is RegionKind.ARENA]
    if not regions or not same_numbers(files):
        return {}
    word = word_size(table)
    length = ARENA_SIZES[word == 4]
    pack = struct.Struct("=Q" if word == 8 else "=I").pack
    memory = ResidentMemory(files)
    try:
        arenas: dict[bytes, int] = {}
        for region in regions:
            for start in range(-(-region.start // length) * length, region.end, length):
                arena = int.from_bytes(memory.read(start, word), "little")
                # Its first heap holds the arena itself.
                if start < arena < start + PAGE_SIZE:
                    arenas[pack(arena)] = start
        heads = {tid: lib.pm_robust_list(tid) for tid in tids} if arenas else {}
        # The number of a thread that ended meanwhile may be another process's thread.
        living = set(files.thread_ids()) if heads else set()
        found = {}
        for tid, head in heads.items():
            if head and tid in living:
                heap = nearest(memory, table, head, arenas)
                if heap is not None:
                    found[tid] = heap
        return found
    finally:
        memory.close()


def nearest(
    memory: ResidentMemory, table: RegionTable[Any], head: int, arenas: dict[bytes, int]
) -> int | None:
    """The arena whose address lies nearest to a thread's descriptor, in the same region."""
    region = table.find(head)
    if region is None:
        return None
    first = max(region.start, head - REACH)
    best, least = None, REACH
    for start in (first, first // PAGE_SIZE * PAGE_SIZE + PAGE_SIZE, head // PAGE_SIZE * PAGE_SIZE):
        # Page by page, since those before may not be resident.
        size = min(region.end, head + REACH) - start
        data = memory.read(start, size) if size > 0 else b""
        for address, heap in arenas.items():
            at = data.rfind(address, 0, max(0, head - start))
            for place in (at, data.find(address, max(0, head - start))):
                if place >= 0 and abs(start + place - head) < least:
                    best, least = heap, abs(start + place - head)
    return best
