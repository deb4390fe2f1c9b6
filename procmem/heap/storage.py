"""What malloc keeps in the storage of each thread: the address of its arena, and of its cache."""

from __future__ import annotations

from collections import Counter

from procmem.heap.chunks import PAGE_SIZE, NotAHeap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from procmem.heap.chunks import ChunkReader, FoundArena

__all__ = ["NEAR", "REACH", "ThreadStorage"]

REACH = {8: 4096, 4: 2048}
"""Bytes around a thread's descriptor in which malloc's variables of that thread are searched."""

NEAR = 64
"""Bytes between the variables of malloc that stand together."""

FURTHEST = 4 << 20
"""Bytes before it in which they are searched otherwise: the program's own thread-local variables
may stand between."""


class ThreadStorage:
    """The thread-local storage of a process's threads.

    Args:
        chunks: reads its memory.
        heads: for each of its threads an address in its descriptor (get_robust_list(2)).
    """

    def __init__(self, chunks: ChunkReader, heads: Mapping[int, int]) -> None:
        self.chunks = chunks
        self.heads = dict(heads)
        self.distance: int | None = None

    def arena_places(self, head: int, addresses: Container[int]) -> list[tuple[int, int]]:
        """Where a thread's own storage has the address of an arena, and that address."""
        middle = head + (self.distance or 0)
        reach = REACH[self.chunks.word]
        above = reach if self.distance else 0
        return [
            one for one in self.chunks.words(middle - reach, middle + above) if one[1] in addresses
        ]

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
                start = max(self.chunks.region_start(head), head - FURTHEST)
            except NotAHeap:  # set_robust_list(2) takes any address
                return
            for page in range(head // PAGE_SIZE, start // PAGE_SIZE - 1, -1):
                here = page * PAGE_SIZE
                for address, value in self.chunks.words(here, here):
                    if value in addresses and start <= address < head:
                        self.distance = address - head
                        return

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
