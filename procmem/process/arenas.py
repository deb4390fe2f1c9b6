"""Finds the arena of glibc's malloc that each thread allocates from.

A thread keeps the address of its arena in its thread-local storage (thread_arena, malloc/arena.c),
which is next to its descriptor. Each heap of an arena also starts with the arena's address.
"""

from __future__ import annotations

import struct

from procmem.native import lib
from procmem.process.facts import word_size
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
"""Bytes before and after a thread's descriptor that are searched for the address of its arena.
Thread-local storage is next to the descriptor, and that of the C library is nearest to it."""


def arenas_of(files: ProcessFiles, table: RegionTable[Any], tids: Iterable[int]) -> dict[int, int]:
    """The address of the first heap of each thread's arena, by thread ID.

    Threads without an arena of their own, and those for which it is not found, are left out.

    Args:
        files: the process.
        table: its regions, with kinds.
        tids: IDs of its threads.
    """
    regions = [region for region in table if region.kind is RegionKind.ARENA]
    if not regions or not files.has_our_numbers:
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
                # The arena itself is in its first heap.
                if start < arena < start + PAGE_SIZE:
                    arenas[pack(arena)] = start
        heads = {tid: lib.pm_robust_list(tid) for tid in tids} if arenas else {}
        # The ID of a thread that ended meanwhile may now be of another process's thread.
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
    """The first heap of the arena whose address is stored nearest to a thread's descriptor.

    None: no such address is in the descriptor's region, within REACH bytes.
    """
    region = table.find(head)
    if region is None:
        return None
    first = max(region.start, head - REACH)
    best, least = None, REACH
    for start in (first, first // PAGE_SIZE * PAGE_SIZE + PAGE_SIZE, head // PAGE_SIZE * PAGE_SIZE):
        # From several pages on, because earlier pages may not be resident.
        size = min(region.end, head + REACH) - start
        data = memory.read(start, size) if size > 0 else b""
        for address, heap in arenas.items():
            at = data.rfind(address, 0, max(0, head - start))
            for place in (at, data.find(address, max(0, head - start))):
                if place >= 0 and abs(start + place - head) < least:
                    best, least = heap, abs(start + place - head)
    return best
