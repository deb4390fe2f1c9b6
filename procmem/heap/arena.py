"""An arena of malloc, its free chunks, and what malloc_trim(3) would return of it: plain data."""

from __future__ import annotations

from typing import NamedTuple

from procmem.heap.chunks import PAGE_SIZE

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HeapArena", "HeapHole", "HeapSize", "Trim", "TrimRange"]


class HeapSize(NamedTuple):
    """The chunks of one size: how many are in use, and how many are free (in bins and fast bins).

    Chunks in the caches of threads (tcache) count as in use, because malloc marks them so.

    Attributes:
        size: bytes of each, including its header.
        in_use: the number of chunks in use.
        free: the number of free chunks.
    """

    size: int
    in_use: int
    free: int


class TrimRange(NamedTuple):
    """Adjacent resident pages that malloc_trim(3) would return: their address, and their bytes."""

    start: int
    resident: int


class Trim(NamedTuple):
    """What malloc_trim(0) would return to the kernel.

    Attributes:
        total: resident bytes that it would return.
        ranges: where these are: whole resident pages.
    """

    total: int
    ranges: tuple[TrimRange, ...]

    def pages(self) -> Iterator[int]:
        """The address of each resident page that it would return."""
        for one in self.ranges:
            yield from range(one.start, one.start + one.resident, PAGE_SIZE)


class HeapHole(NamedTuple):
    """A large free chunk of an arena.

    Attributes:
        address: of the chunk.
        size: its bytes.
        resident: those in memory.
        above: the number of chunks in use between it and the top: as long as there is one, the
            arena can't be shortened by this hole.
        above_bytes: the bytes of these chunks.
    """

    address: int
    size: int
    resident: int
    above: int
    above_bytes: int


class HeapArena(NamedTuple):
    """An arena of glibc's malloc. Sizes are in bytes and include the headers of chunks.

    Attributes:
        address: the address of its struct malloc_state.
        main: whether it is the main arena, which grows by brk(2).
        system: bytes that it has obtained from the kernel (`system_mem`).
        in_use: bytes that are neither free nor in a thread's cache: the program's chunks, and
            malloc's own data. mallinfo2(3)'s uordblks is in_use + tcache.
        tcache: bytes in the caches of threads, which serve the next calls of malloc.
        fast: free bytes in fast bins.
        free: free bytes in the other bins.
        top: bytes of the free chunk at the end. mallinfo2(3)'s fordblks is free + fast + top.
        resident_free: bytes of fast, free and top that are resident.
        trimmable: resident bytes of this arena that malloc_trim(0) would return.
        chunks: the number of chunks in use, including those in caches; None: the chunks could
            not be walked.
        threads: IDs of the threads whose thread-local storage has this arena's address
            (thread_arena): they allocate from it.
        threads_guess: whether that is no proof: the arena counts more or fewer threads.
        attached: the number of threads that use it, by its own count (attached_threads).
        last_in_use: the address of the chunk in use that is nearest to the top: memory before
            it can't be returned by moving the top; None: there is none, or it is not known.
        last_size: the size of that chunk; None: not known.
        last_cached: whether that chunk is free, and kept in a thread's cache or a fast bin.
        locked: whether a thread held the arena's lock while it was read.
        heaps: start and end of each piece of memory that it has: below the break, or in heaps of
            up to 64 MiB.
        holes: its largest free chunks of a page or more, the largest first.
        largest_free: bytes of the largest free chunk but the top; None: the chunks could not be
            walked.
        others: bytes of `system` that somebody else has obtained between two pieces of the main
            arena by moving the break (sbrk(2)). malloc counts them as in use.

    Source: malloc/malloc.c of glibc, struct malloc_state; mallinfo(3).
    """

    address: int
    main: bool
    system: int
    in_use: int
    tcache: int
    fast: int
    free: int
    top: int
    resident_free: int
    trimmable: int
    chunks: int | None
    threads: tuple[int, ...]
    last_in_use: int | None
    last_size: int | None
    locked: bool
    threads_guess: bool = False
    attached: int = 0
    last_cached: bool = False
    heaps: tuple[tuple[int, int], ...] = ()
    holes: tuple[HeapHole, ...] = ()
    others: int = 0
    largest_free: int | None = None
