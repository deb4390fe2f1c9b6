"""Finds the arenas of glibc's malloc in a process."""

from __future__ import annotations

from procmem.heap.chunks import LIBC, PAGE_SIZE, FoundArena, broken
from procmem.heap.layout import find_parameters, find_states, placed, state_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.heap.chunks import ChunkReader
    from procmem.heap.layout import ArenaState, MallocParameters
    from procmem.heap.storage import ThreadStorage
    from procmem.regions.region import Region

__all__ = ["HEAP_LENGTH", "ArenaFinder"]

HEAP_LENGTH = {8: 64 << 20, 4: 1 << 20}
"""HEAP_MAX_SIZE (malloc/arena.c): the heaps of threads' arenas are aligned to it."""

BEFORE_TOP = {8: (12, 11, 2, 1, 3), 4: (14, 13, 3, 2, 1)}
"""Possible numbers of words before `top` in struct malloc_state: with have_fastchunks (2.27),
without it, without fast bins."""
MOST_ARENAS = 4096
"""The most arenas: malloc makes eight for each processor at most."""

MOST_LIBRARIES = 64
"""The most files whose data are searched: dlmopen(3) makes up to 16 namespaces."""

LARGEST_DATA = 4 << 20
"""The most bytes of a region of a file's writable data that are searched."""


class ArenaFinder:
    """Finds the arenas of one process.

    Args:
        chunks: reads its memory.
        storage: of its threads.
    """

    def __init__(self, chunks: ChunkReader, storage: ThreadStorage) -> None:
        self.chunks = chunks
        self.storage = storage
        self.doubts: list[str] = []
        """Links between arenas that lead to none."""

    def find(self) -> list[FoundArena]:
        """All arenas, of each C library in the process the main arena first."""
        groups: list[list[FoundArena]] = []
        self.doubts = []
        places = [r for r in self.chunks.regions if self._writable_file(r)]
        places = [r for r in places if LIBC.fullmatch(r.pathname or "")] or places
        del places[MOST_LIBRARIES:]
        for region in places:
            data = self.chunks.memory.read(region.start, min(region.size, LARGEST_DATA))
            for candidate in find_states(data, region.start, self.chunks.word):
                ring = self.ring(candidate, data, region.start)
                if ring:
                    ring[0].parameters = self._parameters([region, *places])
                    groups.append(ring)
                    break
        # First that whose heap is below the break: the C library of the program itself.
        groups.sort(key=lambda ring: self.chunks.region_name(ring[0].state.top) != "[heap]")
        return [one for ring in groups for one in ring]

    def _writable_file(self, region: Region) -> bool:
        perms = region.perms
        return bool(perms.write and perms.private and region.inode)

    def _parameters(self, places: Sequence[Region]) -> MallocParameters | None:
        heaps = [(r.start, r.end) for r in self.chunks.regions if r.perms.write and not r.inode]
        for region in places:
            data = self.chunks.memory.read(region.start, min(region.size, LARGEST_DATA))
            found = find_parameters(data, self.chunks.word, heaps)
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
                    self.doubts.append(broken(at, "no arena, but one is linked there"))
                break
            seen.add(at)
            others.append(FoundArena(state))
            before = (state.bins - state.address) // self.chunks.word
            at = state.next
        else:
            whole = placed(main, at, data, base)
            if before and whole and (whole.bins - whole.address) // self.chunks.word != before:
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
        if not any(r.start <= main.top < r.end and r.perms.write for r in self.chunks.regions):
            return None
        found = {}
        for before in BEFORE_TOP[self.chunks.word]:
            address = main.bins - (before + 2) * self.chunks.word
            whole = placed(main, address, data, base) if address >= base else None
            if whole is not None and words in (None, before + 2):
                found[address] = whole
        # The first thread uses it, so that its own storage has the address.
        for head in self.storage.heads.values():
            for _, address in self.storage.arena_places(head, found):
                return found[address]
        return next(iter(found.values()), None)

    def arena(self, address: int) -> ArenaState | None:
        """The arena at an address, which must be in its first heap; None: there is none.

        This applies to all arenas but the main one.
        """
        word = self.chunks.word
        start = address // HEAP_LENGTH[word] * HEAP_LENGTH[word]
        if not 4 * word <= address - start <= 16 * word:
            return None
        if int.from_bytes(self.chunks.memory.read(start, word), "little") != address:
            return None
        data = self.chunks.memory.read(start, PAGE_SIZE)
        for before in BEFORE_TOP[word]:
            found = state_at(data, start, address + (before + 2) * word, word)
            if found is not None:
                whole = placed(found, address, data, start)
                if whole is not None and (len(whole.fast) > 0) == (before > 3):
                    return whole
        return None
