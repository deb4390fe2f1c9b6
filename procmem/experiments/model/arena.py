"""Arenas of malloc as a model: which thread uses which, and the heaps that they consist of.

Source: malloc/arena.c of glibc 2.26 to 2.40.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from procmem.experiments.model.chunks import (
    ALIGN,
    BINS,
    HEADER,
    MINSIZE,
    NON_MAIN,
    PREV_INUSE,
    TOP_PAD,
    UNSORTED,
    ChunkMemory,
    Learned,
    LostTrackError,
    bin_of,
)
from procmem.units import size as size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.experiments.model.allocatestack import ThreadStack
    from procmem.experiments.model.space import Space

__all__ = ["HEAP_MAX", "Actor", "Arena", "Arenas", "SubHeap"]

HEAP_MAX = 64 << 20
"""HEAP_MAX_SIZE: addresses of one heap, and their alignment."""
HEAP_INFO = 48
"""sizeof(heap_info), at the start of each heap."""
THRESHOLD = 128 * 1024


@dataclass(eq=False)
class SubHeap:
    """A heap of a thread's arena: 64 MiB of addresses, of which the beginning is writable."""

    start: int
    length: int
    writable: int


@dataclass(eq=False)
class Arena:
    """An arena: free chunks, and the free end of its heap (`top`) that chunks are cut from."""

    main: bool
    top: int = 0
    heaps: list[SubHeap] = field(default_factory=list)
    fast: dict[int, list[int]] = field(default_factory=dict)
    bins: list[list[int]] = field(default_factory=lambda: [[] for _ in range(BINS)])
    has_fast: bool = False
    remainder: int = 0
    attached: int = 0


@dataclass(eq=False)
class Actor:
    """A thread that calls malloc: its arena, its own cache of freed chunks (tcache), its stack."""

    arena: Arena | None = None
    tcache: int = 0
    bins: dict[int, list[int]] = field(default_factory=dict)
    ending: bool = False
    stack: ThreadStack | None = None


class Arenas(ChunkMemory):
    """The arenas of one process.

    Args:
        space: the address space.
        learned: what differs between builds of glibc.
        cpus: how many CPUs glibc counts.
    """

    def __init__(self, space: Space, learned: Learned, cpus: int) -> None:
        super().__init__(space, learned)
        # glibc counts CPUs only when there are more than eight arenas.
        self.most_arenas = max(9, 8 * cpus)
        self.trim_threshold = THRESHOLD
        self.main_arena = Arena(main=True, attached=1)
        self.arenas = [self.main_arena]
        self.by_heap: dict[int, Arena] = {}
        self.free_arenas: list[Arena] = []
        self.next_arena: Arena | None = None

    def _arena_of(self, chunk: int) -> Arena:
        if not self.head[chunk] & NON_MAIN:
            return self.main_arena
        return self.by_heap[chunk & -HEAP_MAX]

    def _arena_for(self, actor: Actor) -> Arena:
        if actor.arena is None:
            actor.arena = self._get_arena(actor)
        return actor.arena

    def _another_arena(self, actor: Actor, arena: Arena) -> Arena:
        """arena_get_retry(): where one has no memory, the main arena; instead of that any other."""
        if not arena.main:
            return self.main_arena
        return self._get_arena(actor)

    def _get_arena(self, actor: Actor) -> Arena:
        """arena_get2(): an unused arena, a new one, or one that other threads use, too."""
        if actor.arena is not None:
            actor.arena.attached -= 1
        if self.free_arenas:
            arena = self.free_arenas.pop()
            arena.attached = 1
        elif len(self.arenas) < self.most_arenas:
            arena = self._new_arena()
        else:
            arena = self.next_arena or self.main_arena
            if arena in self.free_arenas:
                self.free_arenas.remove(arena)
            arena.attached += 1
            self.next_arena = self._after(arena)
            self.said.append(
                f"There are {len(self.arenas)} arenas, the maximum: the thread shares one."
            )
        actor.arena = arena
        return arena

    def _after(self, arena: Arena) -> Arena:
        return self.arenas[(self.arenas.index(arena) + 1) % len(self.arenas)]

    def _detach(self, actor: Actor) -> None:
        """At the end of a thread: an arena that no thread uses is reused by the next thread."""
        arena, actor.arena = actor.arena, None
        if arena is not None:
            arena.attached -= 1
            if not arena.attached:
                self.free_arenas.append(arena)

    def _new_heap(self, size: int) -> SubHeap | None:
        if size > HEAP_MAX:
            return None
        length = self._pages_up(min(size + TOP_PAD, HEAP_MAX))
        at = self._new_place(HEAP_MAX, HEAP_MAX)
        self._map(at, HEAP_MAX, 0, {"noreserve"} if self.learned.arena_noreserve else ())
        self._protect(at, length)
        self.said.append(
            f"A thread's arena takes {size_text(HEAP_MAX)} of addresses from the kernel, of which"
            f" {size_text(length)} are accessible so far; the rest is PROT_NONE."
        )
        return SubHeap(at, length, length)

    def _new_arena(self) -> Arena:
        heap = self._new_heap(self.learned.arena + ALIGN + self.learned.tcache)
        if heap is None:
            raise LostTrackError("no memory for an arena")
        arena = Arena(main=False, heaps=[heap], attached=1)
        self.by_heap[heap.start] = arena
        arena.top = heap.start + self.learned.arena
        self._write(heap.start, self.learned.arena)
        self._set_head(arena.top, heap.length - self.learned.arena | PREV_INUSE)
        self.arenas.insert(1, arena)
        return arena

    def _cut_arena(self, arena: Arena) -> None:
        """heap_trim()."""
        while len(arena.heaps) > 1 and arena.top == arena.heaps[-1].start + HEAP_INFO:
            heap, before = arena.heaps[-1:-3:-1]
            end = before.start + before.length - HEADER
            end -= end % ALIGN
            last = end - self.foot[end]
            size = self._size(last) + before.start + before.length - end
            free = self.foot[last] if not self.head[last] & PREV_INUSE else 0
            if size + free + HEAP_MAX - before.length < TOP_PAD + MINSIZE + self.page:
                break
            self._unmap(heap.start, HEAP_MAX)
            arena.heaps.pop()
            del self.by_heap[heap.start]
            if free:
                last -= free
                self._take_out(arena, last)
            arena.top = last
            self._set_head(last, size + free | PREV_INUSE)
        heap, top = arena.heaps[-1], arena.top
        size = self._size(top)
        if size < self.trim_threshold:
            return
        extra = (size - MINSIZE - 1 - TOP_PAD) // self.page * self.page
        if extra <= 0:
            return
        self._discard(heap.start + heap.length - extra, extra)
        heap.length -= extra
        self._set_head(top, size - extra | PREV_INUSE)
        self.said.append(
            f"{size_text(extra)} at the end of the arena are given back page by page"
            " (MADV_DONTNEED): the memory goes back to the kernel, the addresses stay."
        )

    def _take_out(self, arena: Arena, chunk: int) -> None:
        for kept in (arena.bins[UNSORTED], arena.bins[bin_of(self._size(chunk))]):
            if chunk in kept:
                kept.remove(chunk)
                return
        raise LostTrackError(f"no free chunk at {chunk:#x}")
