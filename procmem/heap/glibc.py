"""Reads the arenas of glibc's malloc in a process: chunks in use, free chunks, caches."""

from __future__ import annotations

import struct
import time
from typing import Any

from procmem.heap.arenas import HEAP_LENGTH, ArenaFinder
from procmem.heap.caches import CacheReader
from procmem.heap.chunks import (
    MADE,
    PAGE_SIZE,
    ChunkReader,
    ChunkRow,
    FoundArena,
    NotAHeap,
    broken,
    links_of,
    new_chunks,
    total,
)
from procmem.heap.layout import placed, state_at
from procmem.heap.storage import ThreadStorage
from procmem.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from procmem.heap.layout import ArenaState
    from procmem.procfs.resident import ResidentMemory
    from procmem.regions.region import Region

__all__ = ["ArenaReader"]

FOLLOWED = 1 << 14
"""The most chunks in bins that are followed if the walk has already found all free chunks."""
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
        self.chunks = ChunkReader(memory, regions, word, running=running)
        self.memory = memory
        self.regions = regions
        self.word = word
        storage = ThreadStorage(self.chunks, heads)
        self.finder = ArenaFinder(self.chunks, storage)
        self.caches = CacheReader(self.chunks, storage)
        self.images: dict[int, Any] = {}

    def find(self) -> list[FoundArena]:
        """All arenas, of each C library in the process the main arena first."""
        return self.finder.find()

    def add_caches(self, arenas: Sequence[FoundArena]) -> None:
        """Adds the chunks in the caches of threads to the arenas of a C library."""
        self.caches.add(arenas, list(self.images.values()))

    @property
    def doubts(self) -> list[str]:
        """What was inconsistent outside of the arenas."""
        return self.finder.doubts + self.caches.doubts

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
            start = known.heap if known else self.chunks.region_start(state.top)
            return [ChunkRow(self.chunks.aligned(start), self.chunks.end_from(start))]
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
            rows.append(ChunkRow(self.chunks.aligned(first), heap + size))
            heap = before
        return rows[::-1]

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
        reader = self.chunks.new_walk()
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
        lists = self.chunks.new_walk(image)
        most = min(state.system, 1 << 62) // (4 * word) + 1
        found.fast_chunks, bins = new_chunks(), new_chunks()
        for index, chunk in enumerate(state.fast):
            size = (index + 2) * (16 if word == 8 else 8)
            first = chunk and chunk + 2 * word
            doubt = self.chunks.follow(lists, first, size, found.fast_chunks, most, fast=True)
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
                found.doubts.append(self.chunks.why(status, lists, "a bin"))
        found.links = links_of(found.fast_chunks) + links_of(bins)
        return bins, complete

    def walk(self, found: FoundArena) -> None:
        """Walks each row from chunk to chunk, and adds up what it finds."""
        found.walk = walk = self.chunks.new_walk()
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
                found.doubts.append(self.chunks.why(status, walk, "the row of chunks"))
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
            elif not walk.top_size and row.end - walk.at - walk.fence >= self.chunks.align:
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
        seek = self.chunks.new_walk()
        seek.steps = MOST_STEPS
        if row.first < top < row.end:
            start = lib.pm_heap_seek(
                seek, self.chunks.aligned(after), row.end, top, self.chunks.align
            )
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
                start = lib.pm_heap_seek(seek, self.chunks.aligned(at), region.end, top, PAGE_SIZE)
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
        walk = self.chunks.new_walk()
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
        if not idle and self.caches.changed():
            self.caches.doubts = ["the caches of threads changed while they were read"]
        return found
