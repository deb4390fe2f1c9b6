"""Chunks of malloc as a model: their heads and feet, and the pages that writing them touches.

Source: malloc/malloc.c of glibc 2.26 to 2.40.
"""

from __future__ import annotations

from typing import NamedTuple

from procmem.experiments.model.vmas import READ, WRITE
from procmem.units import size as size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from procmem.experiments.model.page_tables import Tally
    from procmem.experiments.model.space import Space

__all__ = ["ChunkMemory", "Learned", "LostTrackError", "bin_of", "chunk_size"]

ALIGN = 16
MINSIZE = 32
HEADER = 16
"""Of a chunk: the size of the previous chunk, and its own."""
LARGE = 1024
PREV_INUSE, IS_MMAPPED, NON_MAIN = 1, 2, 4
FLAGS = 7
TOP_PAD = 128 * 1024
UNSORTED = 1
BINS = 127


class LostTrackError(Exception):
    """The process did something that the model does not predict."""


class Learned(NamedTuple):
    """What differs between builds of glibc, as found out from a process started for that.

    Attributes:
        tcache: size of the chunk that a thread's first malloc takes for its cache of freed chunks.
        arena: bytes before the first chunk of a thread's own arena.
        dtv: size of the chunk that starting a thread takes from the main arena.
        stack_flags: VmFlags that only threads' stacks have.
        stack_pages: pages that a thread has written to when it waits for work, counted from the
            end of its stack.
        by_affinity: the CPUs that the process may use limit the number of arenas, and not the
            CPUs of the system.
        calloc_cached: calloc takes chunks from a thread's cache (since glibc 2.41).
        arena_noreserve: a thread's own arena is mapped with MAP_NORESERVE, so that the kernel never
            merges it with other memory (until glibc 2.40).
    """

    tcache: int = 0x290
    arena: int = 0x8D0
    dtv: int = 0x120
    stack_flags: frozenset[str] = frozenset()
    stack_pages: tuple[int, ...] = (1, 2, 3)
    by_affinity: bool = False
    calloc_cached: bool = False
    arena_noreserve: bool = True


def chunk_size(request: int) -> int:
    """The size of the chunk for a request: 8 bytes more, rounded up to 16, at least 32.

    >>> chunk_size(0), chunk_size(24), chunk_size(25), chunk_size(1000)
    (32, 32, 48, 1008)
    """
    return max(MINSIZE, (request + 8 + ALIGN - 1) & -ALIGN)


def bin_of(size: int) -> int:
    """The number of the bin for free chunks of a size; from 1,024 bytes on a bin holds a range."""
    if size < LARGE:
        return size >> 4
    for shift, limit, base in ((6, 48, 48), (9, 20, 91), (12, 10, 110), (15, 4, 119), (18, 2, 124)):
        if size >> shift <= limit:
            return base + (size >> shift)
    return 126


def nowhere(_length: int, _align: int) -> int | None:
    return None


class ChunkMemory:
    """The address space of the modelled process as malloc uses it.

    Attributes:
        head, foot: the size fields of chunks, by address: the chunk's own with its flags, and the
            size of the previous chunk where that is free.
        said: what was decided in the last call, in sentences.
    """

    def __init__(self, space: Space, learned: Learned) -> None:
        self.space = space
        self.learned = learned
        self.page = space.rules.page_size
        self.head: dict[int, int] = {}
        self.foot: dict[int, int] = {}
        self.said: list[str] = []
        self.place: Callable[[int, int], int | None] = nowhere

    def begin(self, tally: Tally, result: int, place: Callable[[int, int], int | None]) -> None:
        """Before each call: hands over what the model can't know by itself.

        Args:
            tally: counts what the call changes.
            result: what the call returned; below 0: the kernel refused the memory.
            place: called with a length and an alignment; returns where the kernel put a mapping
                whose address no result shows.
        """
        self.tally, self.place, self.said = tally, place, []
        self.mapped_at = result - HEADER if result > 0 else 0
        self.refused = result < 0

    def finish(self) -> None:
        """After each call: lets go of what begin() handed over."""
        self.place = nowhere

    def _write(self, at: int, length: int = 8) -> None:
        first = at // self.page
        count = (at + length - 1) // self.page - first + 1
        self.space.touch(first * self.page, self.tally, count=count)

    def _read(self, at: int, length: int) -> None:
        first = at // self.page
        count = (at + length - 1) // self.page - first + 1
        self.space.touch(first * self.page, self.tally, count=count, write=False)

    def _size(self, chunk: int) -> int:
        return self.head[chunk] & ~FLAGS

    def _set_head(self, chunk: int, head: int) -> None:
        self.head[chunk] = head
        self._write(chunk + 8)

    def _set_foot(self, chunk: int, size: int) -> None:
        self.foot[chunk + size] = size
        self._write(chunk + size)

    def _set_inuse(self, chunk: int, *, to: bool = True) -> None:
        """Sets or clears PREV_INUSE, which says whether the previous chunk is in use."""
        self._set_head(chunk, self.head[chunk] & ~PREV_INUSE | to)

    def _is_free(self, chunk: int) -> bool:
        return not self.head[chunk + self._size(chunk)] & PREV_INUSE

    def _links(self, chunk: int, size: int) -> None:
        """Writes the list pointers of a free chunk, which are in what was the caller's memory."""
        self._write(chunk + HEADER, 16 if size < LARGE else 32)

    def _pages_up(self, size: int) -> int:
        return -(-size // self.page) * self.page

    def _map(self, at: int, length: int, prot: int, flags: Iterable[str] = ()) -> None:
        self.space.mmap(at // self.page, length // self.page, prot, self.tally, flags=flags)

    def _unmap(self, at: int, length: int) -> None:
        self.space.munmap(at // self.page, length // self.page, self.tally)

    def _protect(self, at: int, length: int) -> None:
        self.space.mprotect(at // self.page, length // self.page, READ | WRITE, self.tally)

    def _discard(self, at: int, length: int) -> None:
        self.space.madvise(at // self.page, length // self.page, "dontneed", self.tally)

    def _new_place(self, length: int, align: int) -> int:
        at = self.place(length, align)
        if at is None:
            raise LostTrackError(f"no new mapping of {size_text(length)}")
        return at
