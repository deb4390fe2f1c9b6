"""Reads the arenas of glibc's malloc in a process: chunks in use, free chunks, caches."""

from __future__ import annotations

import os
import re
import struct
import sys
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from procmem.heap.layout import find_parameters, find_states, placed, state_at
from procmem.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from procmem.heap.layout import ArenaState, MallocParameters

    Inside = Callable[[int], "FoundArena | None"]
    from procmem.procfs.resident import ResidentMemory
    from procmem.regions.region import Region

__all__ = ["ArenaReader", "ChunkRow", "FoundArena", "NotAHeap"]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
HEAP_LENGTH = {8: 64 << 20, 4: 1 << 20}
"""HEAP_MAX_SIZE (malloc/arena.c): the heaps of threads' arenas are aligned to it."""

BEFORE_TOP = {8: (12, 11, 2, 1, 3), 4: (14, 13, 3, 2, 1)}
"""Possible numbers of words before `top` in struct malloc_state: with have_fastchunks (2.27),
without it, without fast bins."""

MOST_CACHED = 1 << 16
"""The most chunks in a list of a thread's cache: they are counted in 16 bits."""

FOLLOWED = 1 << 14
"""The most chunks in bins that are followed if the walk has already found all free chunks."""

MOST_ARENAS = 4096
"""The most arenas: malloc makes eight for each processor at most."""

MOST_LIBRARIES = 64
"""The most files whose data are searched: dlmopen(3) makes up to 16 namespaces."""

LARGEST_DATA = 4 << 20
"""The most bytes of a region of a file's writable data that are searched."""

TRIES = 40
PATIENCE = 0.2
LEAST_TRIES = 8
"""How often, and for how many seconds, an arena is read that changes while it is read; and how
often at least, if it is so small that it is copied."""

COPIED = 64 << 20
"""The most bytes that are copied, and then looked into. A copy takes so little time that few heaps
change meanwhile; larger heaps are read as they are walked."""

MOST_STEPS = 1 << 24
"""The most words and chunks that are tried to find a row of chunks."""

NONCONTIGUOUS = 2
"""A bit of malloc_state.flags: the arena's rows need not follow each other."""

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

MADE = "not a heap that glibc 2.26 to 2.43 would make"
WHY = {
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


class ArenaReader:
    """Reads the arenas of one process.

    Args:
        memory: its resident memory.
        regions: its regions, by address.
        word: bytes of an address in its program: 8 or 4.
        heads: for each of its threads an address in its descriptor (get_robust_list(2)).
        running: whether threads run, so that links may change while they are followed.
    """

    def __init__(
        self,
        memory: ResidentMemory,
        regions: Sequence[Region],
        word: int,
        heads: Mapping[int, int],
        *,
        running: bool = False,
    ) -> None:
        self.running = running
        self.memory = memory
        self.regions = regions
        self.word = word
        self.align = 16
        self.heads = dict(heads)
        self.distance: int | None = None
        self.doubts: list[str] = []
        self.images: dict[int, Any] = {}
        self.ring_doubts: list[str] = []
        self.taken: set[int] = set()
        self.seen: dict[int, tuple[Tcache, bytes]] = {}
        # Of another /proc, PIDs may be other processes' for process_vm_readv(2).
        self.pid = memory.files.pid if memory.files.has_our_numbers else 0

    # ---- arenas ----------------------------------------------------------

    def find(self) -> list[FoundArena]:
        """All arenas, of each C library in the process the main arena first."""
        groups: list[list[FoundArena]] = []
        self.ring_doubts = []
        self.taken = set()
        places = [r for r in self.regions if self._writable_file(r)]
        places = [r for r in places if LIBC.fullmatch(r.pathname or "")] or places
        del places[MOST_LIBRARIES:]
        for region in places:
            data = self.memory.read(region.start, min(region.size, LARGEST_DATA))
            for candidate in find_states(data, region.start, self.word):
                ring = self.ring(candidate, data, region.start)
                if ring:
                    ring[0].parameters = self._parameters([region, *places])
                    groups.append(ring)
                    break
        # First that whose heap is below the break: the C library of the program itself.
        groups.sort(key=lambda ring: self._region_name(ring[0].state.top) != "[heap]")
        return [one for ring in groups for one in ring]

    def _region_name(self, address: int) -> str | None:
        names = (r.pathname for r in self.regions if r.start <= address < r.end)
        return next(names, None)

    def _writable_file(self, region: Region) -> bool:
        perms = region.perms
        return bool(perms.write and perms.private and region.inode)

    def _parameters(self, places: Sequence[Region]) -> MallocParameters | None:
        heaps = [(r.start, r.end) for r in self.regions if r.perms.write and not r.inode]
        for region in places:
            data = self.memory.read(region.start, min(region.size, LARGEST_DATA))
            found = find_parameters(data, self.word, heaps)
            if found is not None:
                return found
        return None

    def ring(self, main: ArenaState, data: bytes, base: int) -> list[FoundArena]:
        """A main arena and all arenas linked with it; empty: main is not really an arena.

        If the ring does not lead back, those before the wrong link.
        """
        others: list[FoundArena] = []
        seen: set[int] = set()
        at = main.next
        before = None
        whole = None
        while not base <= at < main.bins:
            state = self.arena(at)
            if state is None or len(others) >= MOST_ARENAS or at in seen:
                whole = self.placed_anyhow(main, data, base, before)
                if whole is not None:
                    self.ring_doubts.append(broken(at, "no arena, but one is linked there"))
                break
            seen.add(at)
            others.append(FoundArena(state))
            before = (state.bins - state.address) // self.word
            at = state.next
        else:
            whole = placed(main, at, data, base)
            if before and whole and (whole.bins - whole.address) // self.word != before:
                return []
        if whole is None:
            return []
        return [FoundArena(whole, main=True), *others]

    def placed_anyhow(
        self, main: ArenaState, data: bytes, base: int, words: int | None
    ) -> ArenaState | None:
        """A main arena whose start no other arena names, if it has memory.

        Args:
            main: the arena.
            data: the memory around it.
            base: the address of data.
            words: how many words another arena has before its bins; None: there is no other.
        """
        if not any(r.start <= main.top < r.end and r.perms.write for r in self.regions):
            return None
        found = {}
        for before in BEFORE_TOP[self.word]:
            address = main.bins - (before + 2) * self.word
            whole = placed(main, address, data, base) if address >= base else None
            if whole is not None and words in (None, before + 2):
                found[address] = whole
        # The first thread uses it, so that its own storage has the address.
        for head in self.heads.values():
            for _, address in self.arena_places(head, found):
                return found[address]
        return next(iter(found.values()), None)

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
            known = found.parameters
            start = known.heap if known else self._region_start(state.top)
            return [ChunkRow(self.aligned(start), self.end_from(start))]
        length = HEAP_LENGTH[word]
        heap = state.top // length * length
        head = state.address % length
        rows = []
        seen = set()
        left = state.system
        while heap:
            info = self.memory.read(heap, 4 * word)
            if len(info) < 4 * word or heap in seen or heap % length:
                raise NotAHeap(broken(heap, "no heap of an arena, but one is linked there"))
            seen.add(heap)
            arena, before, size, _ = struct.unpack(f"=4{'Q' if word == 8 else 'I'}", info)
            # system_mem is the sum of the sizes.
            left -= size
            if arena != state.address or not 0 < size <= length or left < 0:
                raise NotAHeap(broken(heap, f"not a heap of the arena at {state.address:#x}"))
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
        raise NotAHeap(broken(address, "no memory there"))

    def end_from(self, start: int) -> int:
        """The end of the adjacent anonymous writable regions that start at an address."""
        end = start
        for region in self.regions:
            if region.start <= end < region.end and not region.inode and region.perms.write:
                end = region.end
        return end

    # ---- what is in them -------------------------------------------------

    def _new_walk(self, image: Any = None) -> Any:
        memory = self.memory
        made = lib.pm_heap_new(
            self.pid, memory.mem, memory.pagemap, PAGE_SIZE, self.word, self.align
        )
        if made == ffi.NULL:
            raise MemoryError
        made.image = image or ffi.NULL
        return ffi.gc(made, lib.pm_heap_free)

    def measure(self, found: FoundArena) -> None:
        """Walks the chunks of an arena, and follows its free lists.

        The bytes in bins are the sum of the free chunks found by the walk. The lists of the bins
        are followed, too: up to FOLLOWED chunks, or, if the walk fails, to their ends.
        """
        until = time.monotonic() + PATIENCE
        best = None
        for attempt in range(TRIES):
            state = self.again(found.state) or found.state
            tried = FoundArena(state, main=found.main, parameters=found.parameters)
            self._measure(tried)
            if best is None or not best.walked or (tried.walked and not tried.doubts):
                best = tried
            # A thread that holds the lock may be about to change what does not fit.
            if self.unchanged(tried, lists=bool(tried.doubts)) and not (
                tried.doubts and tried.state.locked
            ):
                best = tried
                break
            least = LEAST_TRIES if tried.state.address in self.images else 1
            if attempt >= least and time.monotonic() > until:
                break
            # Its threads get on, if they share this one's processor.
            time.sleep(0.0001 * attempt)
        if best is not None:
            vars(found).update(vars(best))

    def _measure(self, found: FoundArena) -> None:
        state, word = found.state, self.word
        found.doubts, found.impossible = [], False
        found.top = 0
        self.walk(found)
        if not found.walked and state.has_memory:
            data = self.memory.read(state.top + word, word)
            found.top = int.from_bytes(data, "little") & ~7
            for row in found.rows:
                # A top that was overwritten still ends where the memory of the arena does.
                if row.first <= state.top < row.end < state.top + found.top:
                    found.top = row.end - state.top
        bins, complete = self.follow_lists(found, self.images.get(state.address))
        if not found.walked:
            found.bins = total(bins)
        elif complete and total(bins) != found.bins:
            found.doubts.append(
                f"{MADE}: of the arena at {state.address:#x}, the free chunks have"
                f" {found.bins} bytes, those in bins {total(bins)}"
            )
        found.free_chunks = ffi.addressof(found.walk, "free") if found.walked else bins
        found.impossible = found.fast + found.bins + found.top > state.system
        if found.impossible:
            found.doubts.append(broken(state.address, "more of the arena is free than it has"))

    def copy(self, found: FoundArena) -> Any:
        """A copy of an arena's resident memory; None: there is too much."""
        self.images.pop(found.state.address, None)
        left = COPIED - sum(image.size for image in self.images.values())
        reader = self._new_walk()
        image = ffi.gc(lib.pm_image_new(), lib.pm_image_free)
        if image == ffi.NULL:
            raise MemoryError
        for row in sorted(found.rows):
            if row.end - row.first > left:
                return None
            status = lib.pm_image_add(reader, image, row.first, row.end, left)
            if status == lib.PM_HEAP_NO_MEMORY:
                raise MemoryError
            if status != lib.PM_HEAP_END:
                return None
        self.images[found.state.address] = image
        return image

    def follow_lists(self, found: FoundArena, image: Any = None) -> tuple[Any, bool]:
        """Follows the lists of an arena's free chunks.

        Args:
            found: the arena, with its state.
            image: a copy to look into.

        Returns:
            The chunks in bins, and whether these are all.
        """
        state, word = found.state, self.word
        lists = self._new_walk(image)
        most = min(state.system, 1 << 62) // (4 * word) + 1
        found.fast_chunks, bins = new_chunks(), new_chunks()
        for index, chunk in enumerate(state.fast):
            size = (index + 2) * (16 if word == 8 else 8)
            first = chunk and chunk + 2 * word
            doubt = self._follow(lists, first, size, found.fast_chunks, most, fast=True)
            found.doubts += [doubt] if doubt else []
        found.fast = total(found.fast_chunks)
        if found.walked:
            most = FOLLOWED
        complete = True
        for index, (first, _) in enumerate(state.links):
            if first == state.head(index):
                continue
            before = bins.count
            status = lib.pm_heap_bin(lists, state.head(index), most - before, bins)
            if status == lib.PM_HEAP_BAD and bins.count >= most and found.walked:
                complete = False
                break
            if status != lib.PM_HEAP_END:
                bins.count = before
                complete = False
                found.doubts.append(self._why(status, lists, "a bin"))
        found.links = links_of(found.fast_chunks) + links_of(bins)
        return bins, complete

    def _follow(
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
            tries.append((out.count, mangled, self._why(status, lists, "a list of free chunks")))
            out.count = before
        _, mangled, doubt = max(tries)
        if self.running:
            lib.pm_heap_list(lists, first, fast, mangled, size, most, out)
        return doubt

    def _why(self, status: int, walk: Any, what: str) -> str:
        if status == lib.PM_HEAP_NO_MEMORY:
            raise MemoryError
        at = int(walk.at)
        # A link may lead to where there is no memory.
        if status == lib.PM_HEAP_BAD or not any(r.start <= at < r.end for r in self.regions):
            return broken(at, f"{what} is broken")
        return f"{what} can't be read at {at:#x}: {WHY[status]}"

    def walk(self, found: FoundArena) -> None:
        """Walks each row from chunk to chunk, and adds up what it finds."""
        found.walk = walk = self._new_walk()
        found.walked, found.rows, found.bins, found.last = False, [], 0, 0
        try:
            found.rows = self.rows(found)
        except NotAHeap as doubt:
            found.doubts.append(str(doubt))
            return
        top = found.state.top if found.state.has_memory else 0
        walk.image = self.copy(found) or ffi.NULL
        found.walked = True
        rows, found.rows = found.rows, []
        while rows:
            row = rows.pop(0)
            status = lib.pm_heap_walk(walk, row.first, row.end, top)
            if status != lib.PM_HEAP_END:
                found.doubts.append(self._why(status, walk, "the row of chunks"))
                found.walked = False
            elif found.main and not walk.top_size:
                after = int(walk.at) + int(walk.fence)
                rows = rows or self.further_rows(found, row, after)
                row = ChunkRow(row.first, after)
                if not rows:
                    found.doubts.append(
                        broken(walk.at, f"the row of chunks ends there, before its top at {top:#x}")
                    )
                    found.walked = False
            elif not walk.top_size and row.end - walk.at - walk.fence >= self.align:
                found.doubts.append(broken(walk.at, "a row of chunks ends there, before its heap"))
            if walk.top_size:
                found.top = int(walk.top_size)
            if found.main and walk.top_size:
                row = ChunkRow(row.first, int(walk.at + walk.top_size))
            found.rows.append(row)
            if walk.last_in_use:
                found.last = int(walk.last_in_use)
                found.last_size = int(walk.last_size)
        found.bins = int(walk.free_bytes)
        lib.pm_heap_forget(walk)

    def further_rows(self, found: FoundArena, row: ChunkRow, after: int) -> list[ChunkRow]:
        """The rows of a main arena after one that ends before the arena's top.

        If somebody else has moved the break (sbrk(2)), malloc goes on behind that memory. If the
        break can't be moved, malloc maps memory for further rows, and so it does in a C library
        that was loaded by dlmopen(3).
        """
        top = found.state.top
        seek = self._new_walk()
        seek.steps = MOST_STEPS
        if row.first < top < row.end:
            start = lib.pm_heap_seek(seek, self.aligned(after), row.end, top, self.align)
            return [ChunkRow(start, row.end)] if start else []
        if found.contiguous:
            return []
        rows = []
        for region in self.regions:
            perms = region.perms
            if region.inode or not perms.write or not perms.private:
                continue
            at = region.start
            while at < region.end:
                start = lib.pm_heap_seek(seek, self.aligned(at), region.end, top, PAGE_SIZE)
                if not start:
                    break
                end = int(seek.at) + int(seek.top_size or seek.fence)
                if start != row.first:
                    rows.append(ChunkRow(start, end))
                at = -(-end // PAGE_SIZE) * PAGE_SIZE
        if not any(one.first <= top < one.end for one in rows):
            return []
        total = sum(-(-one.end // PAGE_SIZE) - one.first // PAGE_SIZE for one in rows)
        total += -(-after // PAGE_SIZE) - row.first // PAGE_SIZE
        if total * PAGE_SIZE != found.state.system:
            found.doubts.append(
                f"{total * PAGE_SIZE} bytes of the arena at {found.state.address:#x} were found, "
                f"which has {found.state.system}"
            )
        return sorted(rows, key=lambda one: one.first <= top < one.end)

    def walk_pages(self, found: FoundArena, pages: Any) -> tuple[Any, bool]:
        """A second walk, which counts what is in use on each resident page.

        Returns:
            The walk, and whether it found as much in use as the first.
        """
        walk = self._new_walk()
        idle = new_chunks()
        for chunks in (found.fast_chunks, found.cached):
            if chunks is not None:
                for chunk in chunks.list[0 : chunks.count]:
                    lib.pm_chunks_add(idle, chunk.address, chunk.size)
        lib.pm_heap_sort(idle)
        walk.pages, walk.cached = pages, idle
        top = found.state.top if found.state.has_memory else 0
        fits = True
        for row in found.rows:
            # Chunks come by address; the heaps of an arena may not.
            walk.cached_at = 0
            fits = lib.pm_heap_walk(walk, row.first, row.end, top) == lib.PM_HEAP_END and fits
            if lib.pm_heap_last_page(walk) == lib.PM_HEAP_NO_MEMORY:
                raise MemoryError
        return walk, fits and walk.in_use == found.walk.in_use

    def again(self, state: ArenaState) -> ArenaState | None:
        """An arena's struct malloc_state, read once more; None: it is none any longer."""
        data = self.memory.read(state.address, state.size)
        found = state_at(data, state.address, state.bins, self.word)
        return None if found is None else placed(found, state.address, data, state.address)

    def unchanged(self, found: FoundArena, *, lists: bool = True) -> bool:
        """Whether an arena's struct malloc_state and free lists are as they were read."""
        state = found.state
        if self.memory.read(state.address, state.size) != state.raw:
            return False
        if not lists:
            return True
        second = FoundArena(state, walked=found.walked)
        self.follow_lists(second)
        return second.links == found.links

    def changes(self, arenas: Sequence[FoundArena], *, idle: bool) -> list[str]:
        """What has changed since it was read.

        Args:
            arenas: as they were read.
            idle: no thread has run since then: only what is cheap to compare is compared.
        """
        changed = [one for one in arenas if not self.unchanged(one, lists=not idle)]
        found = []
        for one in arenas:
            if one in changed:
                # What did not fit is no sign of a broken heap then.
                one.doubts = []
            elif one.state.locked:
                one.doubts.append(f"a thread holds the lock of the arena at {one.state.address:#x}")
        if len(changed) == 1:
            found = [f"the arena at {changed[0].state.address:#x} changed while it was read"]
        elif changed:
            found = [f"{len(changed)} of {len(arenas)} arenas changed while they were read"]
        if not idle and any(
            self.cached(layout, address)[2] != links
            for address, (layout, links) in self.seen.items()
        ):
            self.doubts = ["the caches of threads changed while they were read"]
        return found

    # ---- threads -----------------------------------------------------------

    def _words(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Addresses and values of the words of the pages from one address to another."""
        for page in range(start // PAGE_SIZE, end // PAGE_SIZE + 1):
            data = self.memory.read(page * PAGE_SIZE, PAGE_SIZE)
            values = struct.unpack_from(f"={len(data) // self.word}{'QI'[self.word == 4]}", data)
            for index, value in enumerate(values):
                yield page * PAGE_SIZE + index * self.word, value

    def arena_places(self, head: int, addresses: Container[int]) -> list[tuple[int, int]]:
        """Where a thread's own storage has the address of an arena, and that address."""
        middle = head + (self.distance or 0)
        reach = REACH[self.word]
        above = reach if self.distance else 0
        return [one for one in self._words(middle - reach, middle + above) if one[1] in addresses]

    def thread_arena(self, head: int, addresses: Container[int]) -> tuple[int, int] | None:
        """Where a thread keeps the address of its arena (thread_arena), and that address."""
        middle = head + (self.distance or 0)
        places = self.arena_places(head, addresses)
        return min(places, key=lambda one: abs(one[0] - middle), default=None)

    def find_distance(self, arenas: Sequence[FoundArena]) -> None:
        """How far from threads' descriptors malloc's variables are, the same for all threads."""
        addresses = {one.state.address for one in arenas}
        self.distance = None
        if any(self.thread_arena(head, addresses) for head in self.heads.values()):
            self.distance = 0
            return
        # Only the first thread: before the storage of others is their stack.
        for head in list(self.heads.values())[:1]:
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

    def caches(self, head: int, inside: Inside) -> Iterator[tuple[Tcache, int, int]]:
        """What may be the caches of a thread, and where its own storage has their addresses."""
        middle = head + (self.distance or 0)
        reach = REACH[self.word]
        seen: dict[int, list[Tcache]] = {}
        for place, value in self._words(middle - reach, middle + reach):
            if value % self.align or inside(value) is None:
                continue
            # With the bits PREV_INUSE, which the chunk before decides, and NON_MAIN_ARENA.
            if value not in seen:
                size = int.from_bytes(self.memory.read(value - self.word, self.word), "little")
                seen[value] = [one for one in TCACHES[self.word] if size & ~5 == one.chunk]
            for layout in seen[value]:
                yield layout, value, place

    def add_caches(self, arenas: Sequence[FoundArena]) -> None:
        """Adds the chunks in the caches of threads to the arenas that they belong to."""
        main = arenas[0]
        self.find_distance(arenas)
        if self.distance is None:
            if main.state.has_memory:
                self.doubts.append(
                    "the caches of threads were not found: what they hold counts as in use"
                )
            return
        self.find_threads(arenas)
        addresses = {one.state.address for one in arenas}
        for one in arenas:
            one.cached = new_chunks()
        ranges = sorted(
            ((row.first, row.end, one) for one in arenas for row in one.rows),
            key=lambda entry: entry[0],
        )
        starts = [first for first, _, _ in ranges]
        counted = set()

        def inside(address: int) -> FoundArena | None:
            index = bisect_right(starts, address) - 1
            return ranges[index][2] if index >= 0 and address < ranges[index][1] else None

        images = None
        for image in self.images.values():
            image.next = images or ffi.NULL
            images = image
        heads = list(self.heads.values())
        places = {head: self.arena_places(head, addresses) for head in heads}
        near = {head: list(self.caches(head, inside)) for head in heads}
        # Each C library has its place near that of the arena's address, the same in all threads.
        common = {
            place - head
            for head in heads
            for _, _, place in near[head]
            if any(abs(own - place) <= NEAR for own, _ in places[head])
        }
        # A pointer that only resembles it is one in some threads: the true place holds in each
        # thread a cache, or nothing yet.
        held = {head: {place for _, _, place in near[head]} for head in heads}
        common = {
            n
            for n in common
            if all(head + n in held[head] or self.is_null(head + n) for head in heads)
        } or common
        for head in heads:
            doubts = []
            recognized = False
            for layout, address, place in near[head]:
                if common and place - head not in common:
                    continue
                if address in counted:
                    recognized = True
                    continue
                chunks, doubt, links = self.cached(layout, address, images)
                self.seen[address] = layout, links
                if doubt:
                    # What holds no chunk at all is something else than a cache.
                    if not self.running or chunks.count or common:
                        doubts.append(doubt)
                    if not self.running or not chunks.count:
                        continue
                recognized = recognized or not doubt
                counted.add(address)
                for chunk in chunks.list[0 : chunks.count]:
                    owner = inside(chunk.address)
                    if owner is not None:
                        owner.tcache += chunk.size
                        lib.pm_chunks_add(owner.cached, chunk.address, chunk.size)
            own = self.thread_arena(head, addresses)
            # A thread that has only asked for aligned memory has no cache.
            if recognized or not own or (common and all(self.is_null(head + n) for n in common)):
                continue
            if doubts or not self.has_no_cache(own[0]):
                self.doubts += [doubt for doubt in doubts if doubt not in self.doubts] or [
                    "a thread's cache was not found: what it holds counts as in use"
                ]
        for one in arenas:
            if one.fast + one.bins + one.top + one.tcache > one.state.system:
                one.tcache, one.cached = 0, new_chunks()
                self.doubts.append(
                    "the caches of threads hold more than the arena at"
                    f" {one.state.address:#x} has: they count as in use"
                )

    def is_null(self, address: int) -> bool:
        """Whether the word at an address is 0."""
        return self.memory.read(address, self.word) == bytes(self.word)

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

    def cached(self, layout: Tcache, address: int, images: Any = None) -> tuple[Any, str, bytes]:
        """The chunks of a thread's cache, or why it can't be one, and its links.

        Args:
            layout: of its structure.
            address: of the structure.
            images: copies to look into.
        """
        word = self.word
        chunks = new_chunks()
        lists = self._new_walk(images)
        first = address + layout.counters
        words = ffi.new("uint64_t[]", layout.lists)
        if lib.pm_heap_words(lists, first, layout.lists, words) != lib.PM_HEAP_END:
            return chunks, f"a thread's cache at {address:#x} can't be read", b""
        data = bytes(ffi.buffer(words))
        entries = list(words)
        if any(entry % self.align for entry in entries):
            return chunks, broken(address, "a thread's cache is broken"), data
        doubt = ""
        for index, entry in enumerate(entries):
            size = 4 * word + index * 16 if index < 64 else 0
            doubt = self._follow(lists, entry, size, chunks, MOST_CACHED) or doubt
        return chunks, doubt, data + links_of(chunks)

    def find_threads(self, arenas: Sequence[FoundArena]) -> None:
        """Finds the threads whose own storage has the address of an arena (thread_arena)."""
        addresses = {one.state.address for one in arenas}
        places: dict[int, tuple[int, int]] = {}
        for tid, head in self.heads.items():
            nearest = self.thread_arena(head, addresses)
            if nearest is not None:
                places[tid] = nearest[0] - head, nearest[1]
        usual = Counter(place for place, _ in places.values()).most_common(1)
        for one in arenas:
            threads = [tid for tid, (_, address) in places.items() if address == one.state.address]
            one.threads = tuple(sorted(threads))
            one.threads_sure = len(threads) == one.state.attached and all(
                places[tid][0] == usual[0][0] for tid in threads
            )


def total(chunks: Any) -> int:
    """Bytes of a list of chunks."""
    return int(lib.pm_chunks_total(chunks))
