"""Chunks of glibc's malloc in a process: how they are read, followed and listed."""

from __future__ import annotations

import os
import re
import struct
import sys
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from procmem.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from procmem.heap.layout import ArenaState, MallocParameters
    from procmem.procfs.resident import ResidentMemory
    from procmem.regions.region import Region

__all__ = [
    "LIBC",
    "MADE",
    "PAGE_SIZE",
    "ChunkReader",
    "ChunkRow",
    "FoundArena",
    "NotAHeap",
    "broken",
    "links_of",
    "new_chunks",
    "total",
]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

LIBC = re.compile(r".*/libc(\.so\.6|-2[\d.]*\.so)")
"""The file of a C library that programs share."""

NONCONTIGUOUS = 2
"""A bit of malloc_state.flags: the arena's rows need not follow each other."""

MADE = "not a heap that glibc 2.26 to 2.43 would make"
WHY = {
    lib.PM_HEAP_ABSENT: "a page that should hold a chunk's header is not in memory",
    lib.PM_HEAP_SWAPPED: "a page is in swap",
    lib.PM_HEAP_UNREAD: "memory can't be read",
}


class NotAHeap(Exception):
    """The memory does not have the layout of a glibc heap, or it changed while it was read."""


class ChunkRow(NamedTuple):
    """Adjacent chunks: those of [heap], or of one heap of an arena.

    Attributes:
        first: the address of the first chunk.
        end: the end of the memory that malloc has there.
    """

    first: int
    end: int


@dataclass(eq=False)
class FoundArena:
    """An arena as it was read.

    Attributes:
        state: its struct malloc_state.
        rows: the rows of chunks.
        walk: the native walk of all rows; None: not walked yet.
        fast_chunks, free_chunks: native lists of the chunks in fast bins and in other bins.
        fast, bins, top, tcache: bytes.
        walked: whether every row was walked to its end.
        last, last_size: address and size of the chunk in use nearest to the end; 0: none.
        main: whether it is the main arena.
        links: the links of its free lists, to compare them with a second reading.
        parameters: of the main arena, the struct malloc_par of its C library; None: not found.
        cached: a native list of the chunks in the caches of threads.
        threads: IDs of the threads that allocate from it.
        threads_sure: whether the arena counts as many threads, and all keep its address at the
            same place of their storage.
        doubts: what was inconsistent, a phrase each.
        impossible: whether more of it is free than it has.
    """

    state: ArenaState
    rows: list[ChunkRow] = field(default_factory=list)
    walk: Any = None
    fast_chunks: Any = None
    free_chunks: Any = None
    fast: int = 0
    bins: int = 0
    top: int = 0
    tcache: int = 0
    walked: bool = False
    last: int = 0
    last_size: int = 0
    main: bool = False
    links: bytes = b""
    parameters: MallocParameters | None = None
    cached: Any = None
    threads: tuple[int, ...] = ()
    threads_sure: bool = False
    doubts: list[str] = field(default_factory=list)
    impossible: bool = False

    @property
    def contiguous(self) -> bool:
        """Whether each of its rows begins where the break was."""
        return not int.from_bytes(self.state.raw[4:8], sys.byteorder) & NONCONTIGUOUS


def broken(at: int, what: str) -> str:
    """A doubt: what is at an address is not as malloc makes it."""
    return f"{MADE}, at {at:#x}: {what}"


def links_of(chunks: Any) -> bytes:
    """Addresses and sizes of a list of chunks."""
    count = chunks.count * ffi.sizeof("pm_chunk")
    return bytes(ffi.buffer(chunks.list, count)) if count else b""


def new_chunks() -> Any:
    """An empty native list of chunks."""
    made = lib.pm_chunks_new()
    if made == ffi.NULL:
        raise MemoryError
    return ffi.gc(made, lib.pm_chunks_free)


def total(chunks: Any) -> int:
    """Bytes of a list of chunks."""
    return int(lib.pm_chunks_total(chunks))


class ChunkReader:
    """Reads the chunks of one process.

    Args:
        memory: its resident memory.
        regions: its regions, by address.
        word: bytes of an address in its program: 8 or 4.
        running: whether threads run, so that links may change while they are followed.
    """

    def __init__(
        self,
        memory: ResidentMemory,
        regions: Sequence[Region],
        word: int,
        *,
        running: bool = False,
    ) -> None:
        self.running = running
        self.memory = memory
        self.regions = regions
        self.word = word
        self.align = 16
        # Of another /proc, PIDs may be other processes' for process_vm_readv(2).
        self.pid = memory.files.pid if memory.files.has_our_numbers else 0

    def words(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Addresses and values of the words of the pages from one address to another."""
        for page in range(start // PAGE_SIZE, end // PAGE_SIZE + 1):
            data = self.memory.read(page * PAGE_SIZE, PAGE_SIZE)
            values = struct.unpack_from(f"={len(data) // self.word}{'QI'[self.word == 4]}", data)
            for index, value in enumerate(values):
                yield page * PAGE_SIZE + index * self.word, value

    def is_null(self, address: int) -> bool:
        """Whether the word at an address is 0."""
        return self.memory.read(address, self.word) == bytes(self.word)

    def aligned(self, address: int) -> int:
        """The first possible chunk from an address on: the memory after its header is aligned."""
        mask = self.align - 1
        return ((address + 2 * self.word + mask) & ~mask) - 2 * self.word

    def region_start(self, address: int) -> int:
        """The start of the region that an address is in.

        Raises:
            NotAHeap: there is none.
        """
        for region in self.regions:
            if region.start <= address < region.end:
                return region.start
        raise NotAHeap(broken(address, "no memory there"))

    def end_from(self, start: int) -> int:
        """The end of the adjacent anonymous writable regions that start at an address."""
        end = start
        for region in self.regions:
            if region.start <= end < region.end and not region.inode and region.perms.write:
                end = region.end
        return end

    def region_name(self, address: int) -> str | None:
        """The name that maps has for the region that an address is in; None: it has none."""
        names = (r.pathname for r in self.regions if r.start <= address < r.end)
        return next(names, None)

    def new_walk(self, image: Any = None) -> Any:
        """A native reader of chunks.

        Args:
            image: a copy to look into first.
        """
        memory = self.memory
        made = lib.pm_heap_new(
            self.pid, memory.mem, memory.pagemap, PAGE_SIZE, self.word, self.align
        )
        if made == ffi.NULL:
            raise MemoryError
        made.image = image or ffi.NULL
        return ffi.gc(made, lib.pm_heap_free)

    def follow(
        self, lists: Any, first: int, size: int, out: Any, most: int, *, fast: bool = False
    ) -> str:
        """Adds the chunks of a list; what is wrong with it.

        Of a broken list none is added, unless threads run: then those before the break.
        """
        if not first:
            return ""
        before, tries = out.count, []
        # Links are combined with their own address since 2.32. Fast bins link headers.
        for mangled in (1, 0):
            status = lib.pm_heap_list(lists, first, fast, mangled, size, most, out)
            if status == lib.PM_HEAP_END:
                return ""
            tries.append((out.count, mangled, self.why(status, lists, "a list of free chunks")))
            out.count = before
        _, mangled, doubt = max(tries)
        if self.running:
            lib.pm_heap_list(lists, first, fast, mangled, size, most, out)
        return doubt

    def why(self, status: int, walk: Any, what: str) -> str:
        """A doubt: why something could not be read to its end.

        Args:
            status: PM_HEAP_BAD, or another result of a native call that did not succeed.
            walk: the native reader, which has the address.
            what: what was read.
        """
        if status == lib.PM_HEAP_NO_MEMORY:
            raise MemoryError
        at = int(walk.at)
        # A link may lead to where there is no memory.
        if status == lib.PM_HEAP_BAD or not any(r.start <= at < r.end for r in self.regions):
            return broken(at, f"{what} is broken")
        return f"{what} can't be read at {at:#x}: {WHY[status]}"
