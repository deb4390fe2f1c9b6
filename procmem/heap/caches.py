"""The caches of threads (tcache): chunks that are free, although their row says "in use"."""

from __future__ import annotations

import sys
from bisect import bisect_right
from typing import Any, NamedTuple

from procmem.heap.chunks import LIBC, PAGE_SIZE, broken, links_of, new_chunks
from procmem.heap.mapped import mapped_at
from procmem.heap.storage import NEAR, REACH
from procmem.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from procmem.heap.chunks import ChunkReader, FoundArena
    from procmem.heap.storage import ThreadStorage

    Inside = Callable[[int], FoundArena | None]

__all__ = ["CacheReader"]

MOST_CACHED = 1 << 16
"""The most chunks in a list of a thread's cache: they are counted in 16 bits."""


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


class Candidate(NamedTuple):
    """What may be the cache of a thread.

    Attributes:
        layouts: those that it may have.
        address: of the structure.
        place: where the thread's own storage has that address.
    """

    layouts: list[Tcache]
    address: int
    place: int


def finder(arenas: Sequence[FoundArena]) -> Inside:
    """A function that finds the arena which an address is in."""
    ranges = sorted(
        ((row.first, row.end, one) for one in arenas for row in one.rows),
        key=lambda entry: entry[0],
    )
    starts = [first for first, _, _ in ranges]

    def inside(address: int) -> FoundArena | None:
        index = bisect_right(starts, address) - 1
        return ranges[index][2] if index >= 0 and address < ranges[index][1] else None

    return inside


class CacheReader:
    """Reads the caches of the threads of one process.

    Args:
        chunks: reads its memory.
        storage: of its threads.
    """

    def __init__(self, chunks: ChunkReader, storage: ThreadStorage) -> None:
        self.chunks = chunks
        self.storage = storage
        self.doubts: list[str] = []
        self.seen: dict[int, tuple[Tcache, bytes]] = {}

    def add(self, arenas: Sequence[FoundArena], images: Sequence[Any]) -> None:
        """Adds the chunks in the caches of threads to the arenas that they belong to.

        Args:
            arenas: those of one C library.
            images: copies of their memory to look into.
        """
        storage = self.storage
        storage.find_distance(arenas)
        if storage.distance is None:
            if arenas[0].state.has_memory:
                self.doubts.append(
                    "the caches of threads were not found: what they hold counts as in use"
                )
            return
        storage.find_threads(arenas)
        addresses = {one.state.address for one in arenas}
        for arena in arenas:
            arena.cached = new_chunks()
        inside = finder(arenas)
        copies = None
        for image in images:
            image.next = copies or ffi.NULL
            copies = image
        heads = list(storage.heads.values())
        places = {
            head: [place for place, _ in storage.arena_places(head, addresses)] for head in heads
        }
        near = {head: list(self.candidates(head, places[head], inside)) for head in heads}
        common = self.common_places(places, near)
        # Where malloc's variables stand in a program without shared libraries is not as certain.
        shared = LIBC.fullmatch(self.chunks.region_name(arenas[0].state.address) or "") is not None
        counted: set[int] = set()
        for head in heads:
            doubts = []
            recognized = False
            for one in near[head]:
                if common and one.place - head not in common:
                    continue
                if one.address in counted:
                    recognized = True
                    continue
                chunks, doubt = self.read(one, copies)
                if doubt:
                    # What holds no chunk at all is something else than a cache.
                    if not self.chunks.running or chunks.count or common:
                        doubts.append(doubt)
                    if not self.chunks.running or not chunks.count:
                        continue
                recognized = recognized or not doubt
                counted.add(one.address)
                for chunk in chunks.list[0 : chunks.count]:
                    owner = inside(chunk.address)
                    if owner is not None:
                        owner.tcache += chunk.size
                        lib.pm_chunks_add(owner.cached, chunk.address, chunk.size)
            own = storage.thread_arena(head, addresses)
            # A thread that has only asked for aligned memory has no cache.
            empty = common and all(self.chunks.is_null(head + n) for n in common)
            if recognized or not own or empty:
                continue
            none = not near[head] and shared and self.points_nowhere(own[0], inside)
            if doubts or not (none or self.has_no_cache(own[0])):
                doubts = doubts or [
                    "a thread's cache was not found: what it holds counts as in use"
                ]
                self.doubts += [doubt for doubt in doubts if doubt not in self.doubts]
        for arena in arenas:
            if arena.fast + arena.bins + arena.top + arena.tcache > arena.state.system:
                arena.tcache, arena.cached = 0, new_chunks()
                self.doubts.append(
                    "the caches of threads hold more than the arena at"
                    f" {arena.state.address:#x} has: they count as in use"
                )

    def candidates(self, head: int, places: Sequence[int], inside: Inside) -> Iterator[Candidate]:
        """What may be the caches of a thread.

        Args:
            head: an address in its descriptor.
            places: where its own storage has the address of its arena.
            inside: which arena an address is in.
        """
        middle = head + (self.storage.distance or 0)
        reach = REACH[self.chunks.word]
        seen: dict[int, list[Tcache]] = {}
        for place, value in self.chunks.words(middle - reach, middle + reach):
            if value % self.chunks.align or not value:
                continue
            if value not in seen:
                seen[value] = []
                if inside(value) is not None:
                    seen[value] = self.layouts(value)
                elif any(abs(place - own) <= NEAR for own in places):
                    seen[value] = self.mapped_layouts(value)
            if seen[value]:
                yield Candidate(seen[value], value, place)

    def layouts(self, address: int) -> list[Tcache]:
        """The layouts whose size a chunk has.

        It is larger if what would be left of it is smaller than any chunk (MINSIZE).
        """
        word = self.chunks.word
        head = int.from_bytes(self.chunks.memory.read(address - word, word), sys.byteorder)
        # With the bits PREV_INUSE, which the chunk before decides, and NON_MAIN_ARENA.
        size = head & ~5
        return [one for one in TCACHES[word] if one.chunk <= size < one.chunk + 4 * word]

    def mapped_layouts(self, address: int) -> list[Tcache]:
        """The layouts that a chunk may have which is a mapping of its own.

        malloc makes it one if M_MMAP_THRESHOLD (mallopt(3)) is lower than its size.
        """
        start = address - self.chunks.align
        if start % PAGE_SIZE:
            return []
        room = self.chunks.end_from(start) - start
        word = self.chunks.word
        size = mapped_at(self.chunks.memory.read(start, PAGE_SIZE), room, word)
        # All have less than a page.
        return list(TCACHES[word]) if size == PAGE_SIZE else []

    def common_places(
        self, places: Mapping[int, Sequence[int]], near: Mapping[int, Sequence[Candidate]]
    ) -> set[int]:
        """Where threads keep the address of their cache, from their descriptors on.

        Each C library has its place near that of the arena's address, the same in all threads.

        Args:
            places: where each thread's storage has the address of its arena.
            near: what may be its caches.
        """
        found = {
            one.place - head
            for head, listed in near.items()
            for one in listed
            if any(abs(own - one.place) <= NEAR for own in places[head])
        }
        # A pointer that only resembles it is one in some threads: the true place holds in each
        # thread a cache, or nothing yet.
        held = {head: {one.place for one in listed} for head, listed in near.items()}
        return {
            n
            for n in found
            if all(head + n in held[head] or self.chunks.is_null(head + n) for head in near)
        } or found

    def read(self, one: Candidate, images: Any) -> tuple[Any, str]:
        """The chunks of what may be a cache, and why it can't be one.

        If it may have several layouts, the one that fits and by which it holds most chunks: an
        empty cache is the same in all.
        """
        found = [(self.cached(layout, one.address, images), layout) for layout in one.layouts]
        best = max(found, key=lambda each: (not each[0][1], each[0][0].count))
        (chunks, doubt, links), layout = best
        self.seen[one.address] = layout, links
        return chunks, doubt

    def changed(self) -> bool:
        """Whether a cache is not as it was read."""
        return any(
            self.cached(layout, address)[2] != links
            for address, (layout, links) in self.seen.items()
        )

    def points_nowhere(self, place: int, inside: Inside) -> bool:
        """Whether no variable near the address of a thread's arena points into an arena."""
        return not any(
            inside(value) is not None or self.mapped_layouts(value)
            for address, value in self.chunks.words(place - NEAR, place + NEAR)
            if value and abs(address - place) <= NEAR
        )

    def has_no_cache(self, place: int) -> bool:
        """Whether a thread has freed nothing yet, in glibc 2.43: only then its cache is made.

        Until then its own storage has the address of an empty one in read-only data, near the place
        of its arena's address.
        """
        constant = [
            (r.start, r.end)
            for r in self.chunks.regions
            if r.inode and r.perms.read and not r.perms.write and not r.perms.execute
        ]
        layout = max(TCACHES[self.chunks.word], key=lambda one: one.lists)
        empty = bytes(layout.counters + layout.lists * self.chunks.word)
        return any(
            self.chunks.memory.read(value, len(empty)) == empty
            for address, value in self.chunks.words(place - NEAR, place + NEAR)
            if value
            and abs(address - place) <= NEAR
            and not value % self.chunks.align
            and any(start <= value < end for start, end in constant)
        )

    def cached(self, layout: Tcache, address: int, images: Any = None) -> tuple[Any, str, bytes]:
        """The chunks of a thread's cache, or why it can't be one, and its links.

        Args:
            layout: of its structure.
            address: of the structure.
            images: copies to look into.
        """
        word = self.chunks.word
        chunks = new_chunks()
        lists = self.chunks.new_walk(images)
        first = address + layout.counters
        words = ffi.new("uint64_t[]", layout.lists)
        if lib.pm_heap_words(lists, first, layout.lists, words) != lib.PM_HEAP_END:
            return chunks, f"a thread's cache at {address:#x} can't be read", b""
        data = bytes(ffi.buffer(words))
        entries = list(words)
        if any(entry % self.chunks.align for entry in entries):
            return chunks, broken(address, "a thread's cache is broken"), data
        doubt = ""
        for index, entry in enumerate(entries):
            size = 4 * word + index * 16 if index < 64 else 0
            doubt = self.chunks.follow(lists, entry, size, chunks, MOST_CACHED) or doubt
        return chunks, doubt, data + links_of(chunks)
