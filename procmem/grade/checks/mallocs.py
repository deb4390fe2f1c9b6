"""What glibc's malloc will do next, read from the memory of the process itself."""

from __future__ import annotations

import itertools
import os
import re
import struct
from typing import NamedTuple

from procmem.regions.kinds import RegionKind
from procmem.regions.region import PAGE_SIZE
from procmem.units import KiB, MiB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.runs.run import Run

__all__ = ["MallocState", "malloc_state"]

HEADER = struct.Struct("=QQ")
SIZE_BITS = ~7
PREV_INUSE = 1
MINIMUM = 32
"""MINSIZE: no chunk is smaller, and the top chunk keeps as much (malloc/malloc.c)."""

DEFAULT = 128 * KiB
LARGEST_THRESHOLD = 32 * MiB
"""DEFAULT_MMAP_THRESHOLD_MAX: freeing a mapped block raises the threshold to its size, up to
this."""

PARAMETERS = 24
"""Words in which struct malloc_par names the start of the heap (sbrk_base), in any version."""

LIBC = re.compile(r".*/libc(\.so\.6|-[\d.]+\.so)")


class MallocState(NamedTuple):
    """What decides where the next large block comes from.

    Attributes:
        room: the largest request that the main heap can serve without growing, in bytes.
        threshold: the size from which malloc maps a block that does not fit into the heap.
    """

    room: int
    threshold: int


def malloc_state(run: Run) -> MallocState | None:
    """What malloc will do next in a program that is waiting.

    The heap is a row of chunks, each with its size in its second word, from the start of [heap] to
    the top chunk at its end; a chunk is free if the one after it lacks PREV_INUSE. Chunks in fast
    bins and thread caches count as used: they are small. The threshold is one of malloc's
    parameters (`mp_`) in the C library's data: they are found by the default of M_TOP_PAD, by a
    trim threshold that is twice the other or the default, and by the address of the heap.

    Returns:
        None: there is no such heap (another malloc, a 32-bit process), or it may not be read.
    """
    table = run.process.maps()
    # A heap may be continued behind a fork(2) as a second region.
    heap = [region for region in table if region.kind is RegionKind.HEAP]
    if not heap or any(a.end != b.start for a, b in itertools.pairwise(heap)):
        return None
    try:
        with open(f"/proc/{run.pid}/mem", "rb", buffering=0) as file:
            room = largest(file.fileno(), heap[0].start, heap[-1].end)
            for region in table:
                if region.perms == "rw-p" and LIBC.fullmatch(region.pathname or ""):
                    data = os.pread(file.fileno(), region.size, region.start)
                    threshold = threshold_in(data, heap[0].start)
                    if threshold is not None and room is not None:
                        return MallocState(room, threshold)
    except OSError:
        pass
    return None


def threshold_in(data: bytes, heap: int) -> int | None:
    """mmap_threshold of the malloc_par somewhere in this memory."""
    count = len(data) // 8
    words: tuple[int, ...] = struct.unpack_from(f"={count}Q", data)
    for at in range(1, count - 1):
        trim, pad, threshold = words[at - 1 : at + 2]
        if pad != DEFAULT or not DEFAULT <= threshold <= LARGEST_THRESHOLD:
            continue
        if trim not in (DEFAULT, 2 * threshold):
            continue
        if any(heap <= word < heap + PAGE_SIZE for word in words[at : at + PARAMETERS]):
            return threshold
    return None


def largest(memory: int, start: int, end: int) -> int | None:
    """The largest block that a heap can serve; None: it is not a heap of malloc."""
    pages: dict[int, bytes] = {}

    def size_word(address: int) -> int:
        # Every chunk's header was written once, so that its page is in memory.
        page = address & -PAGE_SIZE
        if page not in pages:
            pages[page] = os.pread(memory, PAGE_SIZE, page)
        found: int = HEADER.unpack_from(pages[page], address - page)[1]
        return found

    chunk, room, before = start, 0, 0
    while True:
        word = size_word(chunk)
        size = word & SIZE_BITS
        if before and not word & PREV_INUSE:
            # A chunk serves what it holds, but for its own size word.
            room = max(room, before - 8)
        if size < MINIMUM or size % 16 or chunk + size > end:
            return None
        if chunk + size == end:
            return max(room, size - MINIMUM - 8)
        chunk, before = chunk + size, size
