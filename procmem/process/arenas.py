"""Which thread allocates from which arena of glibc's malloc.

A thread keeps the address of its arena in its local storage (thread_arena, malloc/arena.c),
which lies beside its descriptor. A heap of an arena starts with that address, too.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from procmem.native import lib
from procmem.process.facts import Memory, same_numbers, word_size
from procmem.regions.kinds import ARENA_SIZES, RegionKind
from procmem.regions.model import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from procmem.procfs import ProcessFiles
    from procmem.regions import RegionTable

__all__ = ["arenas_of"]

PAGES = 2
"""Pages before and behind the descriptor's in which local storage is looked for."""


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
    memory = Memory(files)
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
                data = around(memory, head)
                used = [heap for arena, heap in arenas.items() if arena in data]
                if len(used) == 1:
                    found[tid] = used[0]
        return found
    finally:
        memory.close()


def around(memory: Memory, address: int) -> bytes:
    """The pages around an address that are resident, one after the other."""
    page = address // PAGE_SIZE * PAGE_SIZE
    first = page - PAGES * PAGE_SIZE
    starts = range(first, page + (PAGES + 1) * PAGE_SIZE, PAGE_SIZE)
    return b"".join(memory.read(start, PAGE_SIZE) for start in starts)
