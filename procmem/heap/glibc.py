"""Reads the arenas of glibc's malloc in a process: chunks in use, free chunks, caches."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from procmem.heap.layout import find_parameters, find_states, placed, state_at
from procmem.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from procmem.heap.layout import ArenaState, MallocParameters
    from procmem.procfs.resident import ResidentMemory
    from procmem.regions.region import Region

__all__ = ["ArenaReader", "ChunkRow", "FoundArena", "NotAHeap"]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
HEAP_LENGTH = {8: 64 << 20, 4: 1 << 20}
"""HEAP_MAX_SIZE (malloc/arena.c): the heaps of threads' arenas are aligned to it."""

BEFORE_TOP = {8: (12, 11, 2, 1, 3), 4: (14, 13, 3, 2, 1)}
"""Possible numbers of words before `top` in struct malloc_state: with have_fastchunks (2.27),
without it, without fast bins."""

MOST = 1 << 26
"""The most chunks of a free list: a longer one is a loop."""

FOLLOWED = 1 << 14
"""The most chunks in bins that are followed if the walk has already found all free chunks."""

MOST_ARENAS = 4096
LARGEST_DATA = 4 << 20
"""The most bytes of a region of a file's writable data that are searched."""

LIBC = re.compile(r".*/libc(\.so\.6|-2[\d.]*\.so)")
REACH = {8: 4096, 4: 2048}
"""Bytes around a thread's descriptor in which malloc's variables of that thread are searched."""

NEAR = 64
"""Bytes between the variables of malloc that stand together."""

FURTHEST = 4 << 20
"""Bytes before it in which they are searched otherwise: the program's own thread-local variables
may stand between."""


class NotAHeap(Exception):
    """The memory does not have the layout of a glibc heap, or it changed while it was read."""


class Tcache(NamedTuple):
    """A layout of struct tcache_perthread_struct.

    Attributes:
        chunk: bytes of the chunk that it is in.
        counters: bytes of its counters.
        lists: the number of its lists.
    """

    chunk: int
    counters: int
    lists: int


TCACHES = {
    8: (
        Tcache(0x290, 128, 64),  # glibc 2.30 to 2.41
        Tcache(0x250, 64, 64),  # 2.26 to 2.29
        Tcache(0x300, 152, 76),  # 2.42
        Tcache(0x310, 152, 76),  # 2.43
    ),
    4: (Tcache(0x190, 128, 64), Tcache(0x150, 64, 64), Tcache(0x1D0, 152, 76)),
}

WHY = {
    lib.PM_HEAP_BAD: "not a chunk that glibc makes",
    lib.PM_HEAP_ABSENT: "a page that should hold a chunk's header is not in memory",
    lib.PM_HEAP_SWAPPED: "a page is in swap",
    lib.PM_HEAP_UNREAD: "memory can't be read",
}


class ChunkRow(NamedTuple):
    """Adjacent chunks: those of [heap], or of one heap of an arena.

    Attributes:
        first: the address of the first chunk.
        end: the end of the memory that malloc has there.
    """

    first: int
    end: int


@dataclass
class FoundArena:
    """An arena as it was read.

    Attributes:
        state: its struct malloc_state.
        rows: the rows of chunks.
        walk: the native walk of all rows; None: not walked yet.
        fast_chunks, free_chunks: native lists of the chunks in fast bins and in other bins.
        fast, bins, top, tcache: bytes.
        tcached: the number of chunks in the caches of threads.
        walked: whether every row was walked to its end.
        last, last_size: address and size of the chunk in use nearest to the end; 0: none.
        main: whether it is the main arena.
        doubts: what was inconsistent, a phrase each.
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
    tcached: int = 0
    walked: bool = False
    last: int = 0
    last_size: int = 0
    main: bool = False
    doubts: list[str] = field(default_factory=list)


def new_chunks() -> Any:
    """An empty native list of chunks."""
    made = lib.pm_chunks_new()
    if made == ffi.NULL:
        raise MemoryError
    return ffi.gc(made, lib.pm_chunks_free)


class ArenaReader:
    """Reads the arenas of one process.

    Args:
        memory: its resident memory.
        regions: its regions, by address.
        word: bytes of an address in its program: 8 or 4.
        heads: an address in each of its threads' descriptors (get_robust_list(2)).
    """

    def __init__(
        self, memory: ResidentMemory, regions: Sequence[Region], word: int, heads: Iterable[int]
    ) -> None:
        self.memory = memory
        self.regions = regions
        self.word = word
        self.align = 16
        self.heads = list(heads)
        self.distance: int | None = None
        self.doubts: list[str] = []
        self.parameters: MallocParameters | None = None

    # ---- arenas ----------------------------------------------------------

    def find(self) -> list[FoundArena]:
        """All arenas, the main arena first, of each C library in the process."""
        found: list[FoundArena] = []
        places = [r for r in self.regions if self._writable_file(r)]
        first = [r for r in places if LIBC.fullmatch(r.pathname or "")]
        for region in first or places:
            data = self.memory.read(region.start, min(region.size, LARGEST_DATA))
            for candidate in find_states(data, region.start, self.word):
                ring = self.ring(candidate, data, region.start)
                if ring:
                    found += ring
                    break
        if found:
            self._find_parameters(first or places)
        return found

    def _writable_file(self, region: Region) -> bool:
        perms = region.perms
        return bool(perms.write and perms.private and region.inode)

    def _find_parameters(self, places: Sequence[Region]) -> None:
        heaps = [(r.start, r.end) for r in self.regions if r.perms.write and not r.inode]
        for region in places:
            data = self.memory.read(region.start, min(region.size, LARGEST_DATA))
            found = find_parameters(data, self.word, heaps)
            if found is not None:
                self.parameters = found
                return

    def ring(self, main: ArenaState, data: bytes, base: int) -> list[FoundArena]:
        """A main arena and all arenas linked with it; empty: main is not really an arena."""
        others: list[FoundArena] = []
        at = main.next
        before = None
        while not base <= at < main.bins:
            state = self.arena(at)
            if state is None or len(others) >= MOST_ARENAS:
                return []
            if any(one.state.address == at for one in others):
                return []
            others.append(FoundArena(state))
            before = (state.bins - state.address) // self.word
            at = state.next
        whole = placed(main, at, data, base)
        if whole is None or (before and (whole.bins - whole.address) // self.word != before):
            return []
        return [FoundArena(whole, main=True), *others]

    def arena(self, address: int) -> ArenaState | None:
        """The arena at an address, which must be in its first heap; None: there is none.

        This applies to all arenas but the main one.
        """
        word = self.word
        start = address // HEAP_LENGTH[word] * HEAP_LENGTH[word]
        if not 4 * word <= address - start <= 16 * word:
            return None
        if int.from_bytes(self.memory.read(start, word), "little") != address:
            return None
        data = self.memory.read(start, PAGE_SIZE)
        for before in BEFORE_TOP[word]:
            found = state_at(data, start, address + (before + 2) * word, word)
            if found is not None:
                whole = placed(found, address, data, start)
                if whole is not None and (len(whole.fast) > 0) == (before > 3):
                    return whole
        return None

    # ---- rows ------------------------------------------------------------

    def rows(self, found: FoundArena) -> list[ChunkRow]:
        """The rows of chunks of an arena, in the order in which they were made.

        Raises:
            NotAHeap: the memory does not have the layout of a heap.
        """
        state, word = found.state, self.word
        if not state.has_memory:
            return []
        if found.main:
            start = self.parameters.heap if self.parameters else self._region_start(state.top)
            return [ChunkRow(self.aligned(start), self.end_from(start))]
        length = HEAP_LENGTH[word]
        heap = state.top // length * length
        head = state.address % length
        rows = []
        seen = set()
        while heap:
            info = self.memory.read(heap, 4 * word)
            if len(info) < 4 * word or heap in seen:
                raise NotAHeap(f"not a heap of an arena, at {heap:#x}")
            seen.add(heap)
            arena, before, size, _ = struct.unpack(f"=4{'Q' if word == 8 else 'I'}", info)
            if arena != state.address or not 0 < size <= length:
                raise NotAHeap(f"not a heap of the arena at {state.address:#x}, at {heap:#x}")
            first = heap + head
            if heap == state.address // length * length:
                first = state.address + state.size
            rows.append(ChunkRow(self.aligned(first), heap + size))
            heap = before
        return rows[::-1]

    def aligned(self, address: int) -> int:
        """The first possible chunk from an address on: the memory after its header is aligned."""
        mask = self.align - 1
        return ((address + 2 * self.word + mask) & ~mask) - 2 * self.word

    def _region_start(self, address: int) -> int:
        for region in self.regions:
            if region.start <= address < region.end:
                return region.start
        raise NotAHeap(f"no region at {address:#x}")

    def end_from(self, start: int) -> int:
        """The end of the adjacent anonymous writable regions that start at an address."""
        end = start
        for region in self.regions:
            if region.start <= end < region.end and not region.inode and region.perms.write:
                end = region.end
        return end

    # ---- what is in them -------------------------------------------------

    def _new_walk(self) -> Any:
        made = lib.pm_heap_new(
            self.memory.files.pid, self.memory.pagemap, PAGE_SIZE, self.word, self.align
        )
        if made == ffi.NULL:
            raise MemoryError
        return ffi.gc(made, lib.pm_heap_free)

    def measure(self, found: FoundArena) -> None:
        """Walks the chunks of an arena, and follows its free lists.

        The bytes in bins are the sum of the free chunks found by the walk. The lists of the bins
        are followed, too: up to FOLLOWED chunks, or, if the walk fails, to their ends.
        """
        state, word = found.state, self.word
        lists = self._new_walk()
        found.fast_chunks, bins = new_chunks(), new_chunks()
        for index, chunk in enumerate(state.fast):
            size = (index + 2) * (16 if word == 8 else 8)
            self._follow(
                found, lists, chunk and chunk + 2 * word, size, found.fast_chunks, fast=True
            )
        found.fast = total(found.fast_chunks)
        if state.has_memory:
            data = self.memory.read(state.top + word, word)
            found.top = int.from_bytes(data, "little") & ~7
        self.walk(found)
        most = FOLLOWED if found.walked else MOST
        for index, (first, _) in enumerate(state.links):
            if first == state.head(index):
                continue
            status = lib.pm_heap_bin(lists, state.head(index), most - bins.count, bins)
            if status == lib.PM_HEAP_BAD and found.walked and bins.count >= most:
                break
            self._judge(found, status, lists, "a bin")
            if status != lib.PM_HEAP_END and found.walked:
                break
        else:
            if not found.walked:
                found.bins = total(bins)
            elif total(bins) != found.bins:
                found.doubts.append(
                    f"the free chunks have {found.bins} bytes, those in bins {total(bins)}"
                )
        found.free_chunks = found.walk.free if found.walked else bins

    def _follow(
        self, found: FoundArena, lists: Any, first: int, size: int, out: Any, *, fast: bool = False
    ) -> None:
        if not first:
            return
        before = out.count
        status = lib.PM_HEAP_BAD
        # Links are combined with their own address since 2.32. Fast bins link headers.
        for mangled in (1, 0):
            out.count = before
            status = lib.pm_heap_list(lists, first, fast, mangled, size, MOST, out)
            if status != lib.PM_HEAP_BAD:
                break
        self._judge(found, status, lists, "a list of free chunks")

    def _judge(self, found: FoundArena, status: int, walk: Any, what: str) -> None:
        if status == lib.PM_HEAP_NO_MEMORY:
            raise MemoryError
        if status != lib.PM_HEAP_END:
            found.doubts.append(f"{what} is broken at {int(walk.at):#x}: {WHY[status]}")

    def walk(self, found: FoundArena) -> None:
        """Walks each row from chunk to chunk, and adds up what it finds."""
        found.walk = walk = self._new_walk()
        try:
            found.rows = self.rows(found)
        except NotAHeap as doubt:
            found.doubts.append(str(doubt))
            return
        top = found.state.top if found.state.has_memory else 0
        found.walked = True
        for row in found.rows:
            status = lib.pm_heap_walk(walk, row.first, row.end, top)
            if status != lib.PM_HEAP_END:
                self._judge(found, status, walk, "the row of chunks")
                found.walked = False
            elif found.main and not walk.top_size:
                found.doubts.append(
                    f"the row of chunks ends at {int(walk.at):#x}, before its top at {top:#x}"
                )
                found.walked = False
            elif not walk.top_size and row.end - walk.at - walk.fence >= self.align:
                found.doubts.append(f"a row of chunks ends at {int(walk.at):#x}, before its heap")
            if walk.last_in_use:
                found.last = int(walk.last_in_use)
                data = self.memory.read(found.last + self.word, self.word)
                found.last_size = int.from_bytes(data, "little") & ~7
        found.bins = int(walk.free_bytes)

    def unchanged(self, found: FoundArena) -> bool:
        """Whether an arena's struct malloc_state has not changed since it was read."""
        state = found.state
        return self.memory.read(state.address, state.size) == state.raw

    # ---- threads -----------------------------------------------------------

    def _words(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Addresses and values of the words of the pages from one address to another."""
        for page in range(start // PAGE_SIZE, end // PAGE_SIZE + 1):
            data = self.memory.read(page * PAGE_SIZE, PAGE_SIZE)
            values = struct.unpack_from(f"={len(data) // self.word}{'QI'[self.word == 4]}", data)
            for index, value in enumerate(values):
                yield page * PAGE_SIZE + index * self.word, value

    def thread_arena(self, head: int, addresses: Container[int]) -> tuple[int, int] | None:
        """Where a thread keeps the address of its arena (thread_arena), and that address."""
        middle = head + (self.distance or 0)
        reach = REACH[self.word]
        above = reach if self.distance else 0
        near = (one for one in self._words(middle - reach, middle + above) if one[1] in addresses)
        return min(near, key=lambda one: abs(one[0] - middle), default=None)

    def find_distance(self, arenas: Sequence[FoundArena]) -> None:
        """How far from threads' descriptors malloc's variables are, the same for all threads."""
        addresses = {one.state.address for one in arenas}
        self.distance = None
        if any(self.thread_arena(head, addresses) for head in self.heads):
            self.distance = 0
            return
        # Only the first thread: before the storage of others is their stack.
        for head in self.heads[:1]:
            try:
                start = max(self._region_start(head), head - FURTHEST)
            except NotAHeap:  # set_robust_list(2) takes any address
                return
            for page in range(head // PAGE_SIZE, start // PAGE_SIZE - 1, -1):
                here = page * PAGE_SIZE
                for address, value in self._words(here, here):
                    if value in addresses and start <= address < head:
                        self.distance = address - head
                        return

    def caches(self, head: int) -> Iterator[tuple[Tcache, int]]:
        """What may be the caches of a thread: its own storage has their addresses."""
        middle = head + (self.distance or 0)
        reach = REACH[self.word]
        seen = set()
        for _, value in self._words(middle - reach, middle + reach):
            if value in seen or not value or value % self.align:
                continue
            seen.add(value)
            # With the bits PREV_INUSE, which the chunk before decides, and NON_MAIN_ARENA.
            size = int.from_bytes(self.memory.read(value - self.word, self.word), "little")
            for layout in TCACHES[self.word]:
                if size & ~5 == layout.chunk:
                    yield layout, value

    def add_caches(self, arenas: Sequence[FoundArena]) -> None:
        """Adds the chunks in the caches of threads to the arenas that they belong to."""
        main = arenas[0]
        self.doubts = []
        self.find_distance(arenas)
        if self.distance is None:
            if main.state.has_memory:
                self.doubts.append(
                    "the caches of threads were not found: what they hold counts as in use"
                )
            return
        addresses = {one.state.address for one in arenas}
        ranges = sorted(
            ((row.first, row.end, one) for one in arenas for row in one.rows),
            key=lambda entry: entry[0],
        )
        counted: set[int] = set()
        for head in self.heads:
            doubts = []
            recognized = False
            for layout, address in self.caches(head):
                if not any(first <= address < end for first, end, _ in ranges):
                    continue
                if address in counted:
                    recognized = True
                    continue
                chunks, doubt = self.cached(layout, address, main)
                if doubt:
                    doubts.append(doubt)
                    continue
                recognized = True
                counted.add(address)
                for chunk in chunks.list[0 : chunks.count]:
                    for first, end, one in ranges:
                        if first <= chunk.address < end:
                            one.tcache += chunk.size
                            one.tcached += 1
                            break
            own = None if recognized else self.thread_arena(head, addresses)
            if own and (doubts or not self.has_no_cache(own[0])):
                doubts = doubts or [
                    "a thread's cache was not found: what it holds counts as in use"
                ]
                main.doubts += [doubt for doubt in doubts if doubt not in main.doubts]

    def has_no_cache(self, place: int) -> bool:
        """Whether a thread has freed nothing yet, in glibc 2.43: only then its cache is made.

        Until then its own storage has the address of an empty one in read-only data, near the place
        of its arena's address.
        """
        constant = [
            (r.start, r.end)
            for r in self.regions
            if r.inode and r.perms.read and not r.perms.write and not r.perms.execute
        ]
        layout = max(TCACHES[self.word], key=lambda one: one.lists)
        empty = bytes(layout.counters + layout.lists * self.word)
        return any(
            self.memory.read(value, len(empty)) == empty
            for address, value in self._words(place - NEAR, place + NEAR)
            if value
            and abs(address - place) <= NEAR
            and not value % self.align
            and any(start <= value < end for start, end in constant)
        )

    def cached(self, layout: Tcache, address: int, arena: FoundArena) -> tuple[Any, str]:
        """The chunks of a thread's cache, or why it can't be one."""
        word = self.word
        chunks = new_chunks()
        data = self.memory.read(address, layout.counters + layout.lists * word)
        if len(data) < layout.counters + layout.lists * word:
            return chunks, f"a thread's cache at {address:#x} can't be read"
        entries = struct.unpack_from(f"={layout.lists}{'QI'[word == 4]}", data, layout.counters)
        if any(entry % self.align for entry in entries):
            return chunks, f"a thread's cache at {address:#x} is broken"
        lists = self._new_walk()
        probe = FoundArena(arena.state)
        for index, entry in enumerate(entries):
            size = 4 * word + index * 16 if index < 64 else 0
            self._follow(probe, lists, entry, size, chunks)
        return chunks, "; ".join(probe.doubts)

    def serving(
        self, arenas: Sequence[FoundArena], heads: Mapping[int, int]
    ) -> dict[int, tuple[int, ...]]:
        """For each arena the threads whose thread-local storage has its address (thread_arena)."""
        addresses = {one.state.address for one in arenas}
        found: dict[int, list[int]] = {}
        for tid, head in heads.items():
            nearest = self.thread_arena(head, addresses)
            if nearest is not None:
                found.setdefault(nearest[1], []).append(tid)
        return {address: tuple(sorted(tids)) for address, tids in found.items()}


def total(chunks: Any) -> int:
    return sum(chunk.size for chunk in chunks.list[0 : chunks.count]) if chunks.count else 0
