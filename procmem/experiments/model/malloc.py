"""A model of glibc's malloc: what each call asks of the kernel, and which pages it writes to.

It is told the same calls as the process and makes the same decisions, so that it knows where a
chunk will lie; what follows for the address space is left to Space. It keeps the heads of chunks
as malloc does, in front of each.

Source: malloc/malloc.c, malloc/arena.c, nptl/allocatestack.c, nptl/nptl-stack.c, elf/dl-tls.c of
glibc 2.26 to 2.40. Whether a libc works so is tried out, not read off its version.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import NamedTuple

from procmem.experiments.model.vmas import READ, WRITE
from procmem.units import size as told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from procmem.experiments.model.page_tables import Tally
    from procmem.experiments.model.space import Space

__all__ = ["Actor", "Learned", "LostTrackError", "Malloc"]

ALIGN = 16
MINSIZE = 32
HEADER = 16
"""Of a chunk: the size of the one before, and its own."""
LARGE = 1024
PREV_INUSE, IS_MMAPPED, NON_MAIN = 1, 2, 4
FLAGS = 7
MAX_FAST = 128
TCACHE_BINS, TCACHE_COUNT = 64, 7
CONSOLIDATE = 65536
TOP_PAD = THRESHOLD = 128 * 1024
THRESHOLD_MAX = 32 << 20
HEAP_MAX = 64 << 20
HEAP_INFO = 48
MMAPS_MAX = 65536
PTRDIFF_MAX = (1 << 63) - 1
STACK_CACHE_MAX = 40 << 20
STACK_MINIMUM = 16384
UNSORTED = 1
BINS = 127


class LostTrackError(Exception):
    """The process did what the model doesn't know."""


class Learned(NamedTuple):
    """What differs between builds of glibc, seen in a process that was started to look at.

    Attributes:
        tcache: the chunk that a thread's first malloc takes for its cache of freed chunks.
        arena: bytes before the first chunk of a thread's own arena.
        dtv: the chunk that starting a thread takes from the main arena.
        stack_flags: VmFlags of a thread's stack that other memory hasn't.
        stack_pages: pages that a thread has written to when it waits for work, from the end of
            its stack.
        by_affinity: the number of arenas is capped by the CPUs that the process may use, and not
            by those that there are.
        calloc_cached: calloc takes from a thread's cache of freed chunks (glibc 2.41).
        arena_noreserve: a thread's own arena is mapped with MAP_NORESERVE, so that the kernel joins
            it with no other memory (not so since glibc 2.41).
    """

    tcache: int = 0x290
    arena: int = 0x8D0
    dtv: int = 0x120
    stack_flags: frozenset[str] = frozenset()
    stack_pages: tuple[int, ...] = (1, 2, 3)
    by_affinity: bool = False
    calloc_cached: bool = False
    arena_noreserve: bool = True


@dataclass(eq=False)
class Heap:
    """Of an arena that isn't the main one: 64 MiB of addresses, of which a part is writable."""

    start: int
    length: int
    writable: int


@dataclass(eq=False)
class Arena:
    """What several threads share: free chunks, and the end of the heap (`top`) to cut from."""

    main: bool
    top: int = 0
    heaps: list[Heap] = field(default_factory=list)
    fast: dict[int, list[int]] = field(default_factory=dict)
    bins: list[list[int]] = field(default_factory=lambda: [[] for _ in range(BINS)])
    has_fast: bool = False
    remainder: int = 0
    attached: int = 0


@dataclass(eq=False)
class Stack:
    """Of a thread: the lowest page is the guard."""

    start: int
    length: int
    dtv: int


@dataclass(eq=False)
class Actor:
    """A thread: its arena, and its own cache of freed chunks."""

    arena: Arena | None = None
    tcache: int = 0
    bins: dict[int, list[int]] = field(default_factory=dict)
    ending: bool = False
    stack: Stack | None = None


def chunk_size(request: int) -> int:
    """What a request takes: eight bytes for its size, rounded up to 16, at least 32.

    >>> chunk_size(0), chunk_size(24), chunk_size(25), chunk_size(1000)
    (32, 32, 48, 1008)
    """
    return max(MINSIZE, (request + 8 + ALIGN - 1) & -ALIGN)


def bin_of(size: int) -> int:
    """The number of the bin that holds free chunks of a size; from 1,024 bytes on a range."""
    if size < LARGE:
        return size >> 4
    for shift, limit, base in ((6, 48, 48), (9, 20, 91), (12, 10, 110), (15, 4, 119), (18, 2, 124)):
        if size >> shift <= limit:
            return base + (size >> shift)
    return 126


class Malloc:
    """The state of malloc in one process.

    Before each call `begin` says what it may not know by itself: the call's result, where the
    kernel put what has no say in where it goes.

    Attributes:
        said: what was decided in the last call, in sentences.
    """

    def __init__(self, space: Space, learned: Learned, default_stack: int, cpus: int) -> None:
        self.space = space
        self.learned = learned
        self.default_stack = default_stack
        # CPUs are counted when there are nine, and not before.
        self.most_arenas = max(9, 8 * cpus)
        self.page = space.rules.page_size
        self.head: dict[int, int] = {}
        self.foot: dict[int, int] = {}
        self.threshold = THRESHOLD
        self.trim_threshold = THRESHOLD
        self.mmaps = 0
        self.main_arena = Arena(main=True, attached=1)
        self.arenas = [self.main_arena]
        self.by_heap: dict[int, Arena] = {}
        self.free_arenas: list[Arena] = []
        self.next_arena: Arena | None = None
        self.main = Actor(self.main_arena)
        self.threaded = False
        self.stacks: list[Stack] = []
        self.stacks_size = 0
        self.said: list[str] = []

    def begin(self, tally: Tally, result: int, place: Callable[[int, int], int | None]) -> None:
        """Before a call.

        Args:
            tally: what it changes.
            result: what it returned; below 0: the kernel had no memory for it.
            place: where the kernel put so many bytes, aligned so, that no result tells.
        """
        self.tally, self.place, self.said = tally, place, []
        self.mapped_at = result - HEADER if result > 0 else 0
        self.refused = result < 0

    def fork(self, space: Space) -> Malloc:
        """The child's."""
        self.space, mine = space, self.space
        self.place = lambda *_: None
        try:
            return copy.deepcopy(self, {id(space): space})
        finally:
            self.space = mine

    # ---- memory ------------------------------------------------------------

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
        """The bit in a chunk that tells whether the one before it is in use."""
        self._set_head(chunk, self.head[chunk] & ~PREV_INUSE | to)

    def _is_free(self, chunk: int) -> bool:
        return not self.head[chunk + self._size(chunk)] & PREV_INUSE

    def _links(self, chunk: int, size: int) -> None:
        """Writes the places of a free chunk in its list, in what was the caller's memory."""
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
            raise LostTrackError(f"no new mapping of {told(length)}")
        return at

    # ---- calls -------------------------------------------------------------

    def malloc(self, actor: Actor, request: int) -> int | None:
        """The address that the caller gets; None: no memory."""
        if request > PTRDIFF_MAX:
            return None
        size = chunk_size(request)
        self._say_size(request, size)
        self._need_tcache(actor)
        if found := self._from_tcache(actor, size):
            return found + HEADER
        arena = self._arena_for(actor)
        chunk = self._take(actor, arena, size)
        if chunk is None and self.threaded:
            chunk = self._take(actor, self._another_arena(actor, arena), size)
        return None if chunk is None else chunk + HEADER

    def _say_size(self, request: int, size: int) -> None:
        self.said.append(
            f"{told(request)} take a chunk of {size:,} bytes: eight for its size, rounded up to"
            f" {ALIGN}."
        )

    def calloc(self, actor: Actor, request: int) -> int | None:
        """Clears what it gives, unless it comes fresh from the kernel."""
        if request > PTRDIFF_MAX:
            return None
        size = chunk_size(request)
        self._say_size(request, size)
        self._need_tcache(actor)
        if self.learned.calloc_cached and (found := self._from_tcache(actor, size)):
            self._write(found + HEADER, self._size(found) - 8)
            return found + HEADER
        arena = self._arena_for(actor)
        old_top = arena.top
        old_size = self._size(old_top) if old_top else 0
        if not arena.main:
            heap = arena.heaps[-1]
            old_size = max(old_size, heap.start + heap.writable - old_top)
        chunk = self._take(actor, arena, size)
        if chunk is None and self.threaded:
            chunk = self._take(actor, self._another_arena(actor, arena), size)
        if chunk is None:
            return None
        if not self.head[chunk] & IS_MMAPPED:
            clear = self._size(chunk)
            if chunk == old_top and clear > old_size:
                clear = old_size
            self._write(chunk + HEADER, clear - 8)
        return chunk + HEADER

    def realloc(self, actor: Actor, address: int, request: int) -> int | None:
        """In place where it fits, by mremap for a mapping of its own, else by a copy."""
        if request > PTRDIFF_MAX:
            return None
        size, chunk = chunk_size(request), address - HEADER
        self._say_size(request, size)
        old = self._size(chunk)
        if self.head[chunk] & IS_MMAPPED:
            return self._resize_mapping(actor, chunk, old, request)
        self._need_tcache(actor)
        arena = self._arena_of(chunk)
        new = self._resize(actor, arena, chunk, size)
        if new is None and self.threaded and (made := self.malloc(actor, request)):
            self._copy(made, address, old - 8)
            self._release(actor, arena, chunk)
            return made
        return None if new is None else new + HEADER

    def free(self, actor: Actor, address: int) -> None:
        """Gives back to malloc, which may keep it."""
        if not address:
            self.said.append("free(NULL) does nothing.")
            return
        chunk = address - HEADER
        size = self._size(chunk)
        if self.head[chunk] & IS_MMAPPED:
            if self.threshold < size | IS_MMAPPED <= THRESHOLD_MAX:
                self.threshold, self.trim_threshold = size, 2 * size
                self.said.append(
                    f"What was mapped and is freed moves the threshold: from now on less than"
                    f" {told(size)} comes from the heap."
                )
            self._unmap_chunk(chunk)
            return
        self._need_tcache(actor)
        self._release(actor, self._arena_of(chunk), chunk)

    def trim(self, pad: int) -> bool:
        """malloc_trim: every arena gives back whole pages that are free."""
        some = False
        for arena in self.arenas:
            self._consolidate(arena)
            for number in (UNSORTED, *range(bin_of(self.page), BINS)):
                for chunk in reversed(arena.bins[number]):
                    size = self._size(chunk)
                    if size <= self.page - 1 + 48:
                        continue
                    first = self._pages_up(chunk + 48)
                    if (inside := chunk + size - first) >= self.page:
                        self._discard(first, inside & -self.page)
                        some = True
            if arena.main and self._cut_top(pad):
                some = True
        return some

    # ---- the heap's memory ---------------------------------------------------

    def _take(self, actor: Actor, arena: Arena, size: int) -> int | None:
        """_int_malloc(): a chunk from the arena's free ones, from its end, or from the kernel."""
        if size <= MAX_FAST and (kept := arena.fast.get(size)):
            chunk = kept.pop()
            bin_ = actor.bins.setdefault(size, []) if actor.tcache else None
            while bin_ is not None and kept and len(bin_) < TCACHE_COUNT:
                self._to_tcache(actor, kept.pop())
            self.said.append("One of that size was free: it is used again.")
            return chunk
        number = bin_of(size)
        if size < LARGE:
            if free := arena.bins[number]:
                chunk = self._use_whole(arena, free.pop())
                while free and actor.tcache and len(actor.bins.get(size, ())) < TCACHE_COUNT:
                    self._to_tcache(actor, self._use_whole(arena, free.pop()))
                self.said.append("One of that size was free: it is used again.")
                return chunk
        elif arena.has_fast:
            self._consolidate(arena)
        cacheable = actor.tcache and size <= cached_most()
        while True:
            found = self._sort(actor, arena, size, bool(cacheable))
            if found is None:
                found = self._best_fit(arena, size, number)
            if found is not None:
                self.said.append("A free chunk is large enough: no system call.")
                return found
            if arena.top and self._size(arena.top) >= size + MINSIZE:
                self.said.append("It is cut from the end of the heap.")
                return self._cut_from_top(arena, size)
            if not arena.has_fast:
                return self._ask_kernel(actor, arena, size)
            self._consolidate(arena)

    def _sort(self, actor: Actor, arena: Arena, size: int, cacheable: bool) -> int | None:
        """Puts what was freed lately into its bins, unless it fits."""
        unsorted, cached = arena.bins[UNSORTED], False
        turns = 0
        while unsorted:
            chunk = unsorted[-1]
            have = self._size(chunk)
            if (
                size < LARGE
                and len(unsorted) == 1
                and chunk == arena.remainder
                and have > size + MINSIZE
            ):
                unsorted.pop()
                rest = self._split(arena, chunk, size)
                arena.remainder = rest
                return chunk
            unsorted.pop()
            if have == size:
                self._use_whole(arena, chunk)
                if cacheable and len(actor.bins.get(size, ())) < TCACHE_COUNT:
                    self._to_tcache(actor, chunk)
                    cached = True
                    continue
                return chunk
            self._into_bin(arena, chunk, have)
            turns += 1
            if turns >= 10000:
                break
        return self._from_tcache(actor, size) if cached else None

    def _into_bin(self, arena: Arena, chunk: int, size: int) -> None:
        kept = arena.bins[bin_of(size)]
        self._links(chunk, size)
        if size < LARGE:
            kept.insert(0, chunk)
            return
        for place, other in enumerate(kept):
            if self._size(other) <= size:
                kept.insert(place + (self._size(other) == size), chunk)
                return
        kept.append(chunk)

    def _best_fit(self, arena: Arena, size: int, number: int) -> int | None:
        if size >= LARGE:
            kept = arena.bins[number]
            if kept and self._size(kept[0]) >= size:
                fitting = min(self._size(chunk) for chunk in kept if self._size(chunk) >= size)
                same = [chunk for chunk in kept if self._size(chunk) == fitting]
                # The first of a size is the one that the next sizes are linked with.
                chunk = same[1] if len(same) > 1 else same[0]
                kept.remove(chunk)
                return self._use_part(arena, chunk, size)
        for larger in range(number + 1, BINS):
            if arena.bins[larger]:
                return self._use_part(arena, arena.bins[larger].pop(), size)
        return None

    def _use_part(self, arena: Arena, chunk: int, size: int) -> int:
        if self._size(chunk) - size < MINSIZE:
            return self._use_whole(arena, chunk)
        rest = self._split(arena, chunk, size)
        if size < LARGE:
            arena.remainder = rest
        return chunk

    def _split(self, arena: Arena, chunk: int, size: int) -> int:
        """The rest is free, and first in line to be used."""
        rest, left = chunk + size, self._size(chunk) - size
        arena.bins[UNSORTED].insert(0, rest)
        self._links(rest, left)
        self._set_head(chunk, size | PREV_INUSE | NON_MAIN * (not arena.main))
        self._set_head(rest, left | PREV_INUSE)
        self._set_foot(rest, left)
        return rest

    def _use_whole(self, arena: Arena, chunk: int) -> int:
        self._set_inuse(chunk + self._size(chunk))
        if not arena.main:
            self._set_head(chunk, self.head[chunk] | NON_MAIN)
        return chunk

    def _cut_from_top(self, arena: Arena, size: int) -> int:
        chunk, have = arena.top, self._size(arena.top)
        arena.top = chunk + size
        self._set_head(chunk, size | PREV_INUSE | NON_MAIN * (not arena.main))
        self._set_head(arena.top, have - size | PREV_INUSE)
        return chunk

    def _consolidate(self, arena: Arena) -> None:
        """malloc_consolidate(): small chunks that were kept as they are join their neighbours."""
        arena.has_fast = False
        for size in sorted(arena.fast):
            kept, arena.fast[size] = arena.fast[size], []
            for chunk in reversed(kept):
                self._merge(arena, chunk)

    def _merge(self, arena: Arena, chunk: int) -> int:
        """Joins a chunk with free ones on both sides; its size then."""
        size = self._size(chunk)
        following = chunk + size
        if not self.head[chunk] & PREV_INUSE:
            before = self.foot[chunk]
            chunk -= before
            size += before
            self._take_out(arena, chunk)
        if following == arena.top:
            size += self._size(following)
            self._set_head(chunk, size | PREV_INUSE)
            arena.top = chunk
            return size
        if self._is_free(following):
            size += self._size(following)
            self._take_out(arena, following)
        else:
            self._set_inuse(following, to=False)
        arena.bins[UNSORTED].insert(0, chunk)
        self._links(chunk, size)
        self._set_head(chunk, size | PREV_INUSE)
        self._set_foot(chunk, size)
        return size

    def _take_out(self, arena: Arena, chunk: int) -> None:
        for kept in (arena.bins[UNSORTED], arena.bins[bin_of(self._size(chunk))]):
            if chunk in kept:
                kept.remove(chunk)
                return
        raise LostTrackError(f"no free chunk at {chunk:#x}")

    def _release(self, actor: Actor, arena: Arena, chunk: int) -> None:
        """_int_free()."""
        size = self._size(chunk)
        cached = len(actor.bins.get(size, ()))
        if actor.tcache and size <= cached_most() and cached < TCACHE_COUNT:
            self._to_tcache(actor, chunk)
            self.said.append("The thread keeps it, to use it again: nothing is given back.")
            return
        if size <= MAX_FAST:
            arena.has_fast = True
            arena.fast.setdefault(size, []).append(chunk)
            self._write(chunk + HEADER)
            self.said.append("malloc keeps it, to use it again: nothing is given back.")
            return
        if self._merge(arena, chunk) < CONSOLIDATE:
            self.said.append("malloc keeps it, to use it again: nothing is given back.")
            return
        if arena.has_fast:
            self._consolidate(arena)
        if not arena.main:
            self._cut_arena(arena)
        elif self._size(arena.top) >= self.trim_threshold:
            self._cut_top(TOP_PAD)
        else:
            self.said.append(
                f"{told(self._size(arena.top))} are free at the end of the heap, less than the"
                f" {told(self.trim_threshold)} from which on they are given back."
            )

    # ---- the thread's cache ----------------------------------------------------

    def _to_tcache(self, actor: Actor, chunk: int) -> None:
        actor.bins.setdefault(self._size(chunk), []).append(chunk)
        self._write(chunk + HEADER, 16)

    def _from_tcache(self, actor: Actor, size: int) -> int | None:
        kept = actor.bins.get(size) if actor.tcache else None
        if not kept:
            return None
        chunk = kept.pop()
        self._write(chunk + HEADER, 16)
        self.said.append("The thread had freed one of that size: it is used again.")
        return chunk

    def _need_tcache(self, actor: Actor) -> None:
        if actor.tcache or actor.ending:
            return
        arena = self._arena_for(actor)
        size = self.learned.tcache
        said, self.said = self.said, []
        chunk = self._take(actor, arena, size)
        if chunk is None and self.threaded:
            chunk = self._take(actor, self._another_arena(actor, arena), size)
        if chunk is None:
            raise LostTrackError("no memory for a thread's cache")
        self.said = said + [one for one in self.said if "kernel" in one or "arena" in one]
        actor.tcache = chunk
        self._write(chunk + HEADER, size - HEADER)

    # ---- the kernel ------------------------------------------------------------

    def _ask_kernel(self, actor: Actor, arena: Arena, size: int) -> int | None:
        """sysmalloc()."""
        refused = self.refused and size > HEAP_MAX
        if size >= self.threshold and self.mmaps < MMAPS_MAX:
            if not refused:
                self.said.append(
                    f"That is no less than the threshold of {told(self.threshold)}: malloc asks"
                    " the kernel for a mapping of its own."
                )
                return self._map_chunk(size)
            tried = True
        else:
            tried = False
        if arena.main:
            if refused:
                return None
            self._grow_main(arena, size)
        elif not self._grow_arena(actor, arena, size):
            if tried or refused:
                return None
            return self._map_chunk(size)
        if self._size(arena.top) < size + MINSIZE:
            return None
        return self._cut_from_top(arena, size)

    def _map_chunk(self, size: int) -> int:
        length = self._pages_up(size + 8)
        at = self.mapped_at
        if not at or at % self.page:
            raise LostTrackError(f"a mapping of {told(length)} was expected")
        self._map(at, length, READ | WRITE)
        self.mmaps += 1
        self.foot[at] = 0
        self._set_head(at, length | IS_MMAPPED)
        return at

    def _unmap_chunk(self, chunk: int) -> None:
        self.mmaps -= 1
        self.said.append("It had a mapping of its own, which goes back to the kernel at once.")
        self._unmap(chunk, self._size(chunk))

    def _resize_mapping(self, actor: Actor, chunk: int, old: int, request: int) -> int | None:
        size = chunk_size(request)
        length = self._pages_up(size + 8)
        if length == old:
            self.said.append("It fits into the pages that it has.")
            return chunk + HEADER
        if self.refused:
            return self.malloc(actor, request)
        target = self.mapped_at
        if target % self.page:
            raise LostTrackError(f"a mapping of {told(length)} was expected")
        self.space.mremap(
            chunk // self.page, old // self.page, length // self.page, target // self.page,
            self.tally,
        )  # fmt: skip
        self.said.append("mremap gives its mapping another size: no page is copied.")
        self._set_head(target, length | IS_MMAPPED)
        return target + HEADER

    def _grow_main(self, arena: Arena, size: int) -> None:
        """brk: the request, and 128 KiB more for the next ones."""
        old_top = arena.top
        old = self._size(old_top) if old_top else 0
        more = self._pages_up(size + TOP_PAD + MINSIZE - old)
        brk = self.space.brk[1]
        self.space.set_brk(brk + more, self.tally)
        self.said.append(
            f"malloc asks the kernel for {told(more)} (brk): what is needed, and"
            f" {told(TOP_PAD)} for later requests (M_TOP_PAD), in whole pages."
        )
        if not old_top:
            start = (brk + ALIGN - 1) & -ALIGN
            end = self._pages_up(brk + more)
            self.space.set_brk(end, self.tally)
            arena.top = start
            self._set_head(start, end - start | PREV_INUSE)
        elif brk == old_top + old:
            self._set_head(old_top, old + more | PREV_INUSE)
        else:
            raise LostTrackError("somebody else moved the end of the heap")

    def _cut_top(self, pad: int) -> bool:
        """systrim(): the free end of the heap goes back, but for a pad."""
        arena = self.main_arena
        if not arena.top:
            return False
        size = self._size(arena.top)
        room = size - MINSIZE - 1
        # An end as small as can be is -1 here, which glibc compares without a sign: it then
        # takes a page more, where it meant to give some back.
        if 0 <= room <= pad:
            return False
        extra = (room - pad) // self.page * self.page
        if not extra:
            return False
        self.space.set_brk(self.space.brk[1] - extra, self.tally)
        self._set_head(arena.top, size - extra | PREV_INUSE)
        if extra < 0:
            self.said.append(
                f"Nothing is free at the end of the heap. That is a case which glibc miscounts: it"
                f" asks the kernel for {told(-extra)} more (brk)."
            )
            return True
        self.said.append(
            f"{told(size)} are free at the end of the heap: {told(extra)} go back to the kernel"
            " (brk)."
        )
        return True

    # ---- arenas ------------------------------------------------------------------

    def _arena_of(self, chunk: int) -> Arena:
        if not self.head[chunk] & NON_MAIN:
            return self.main_arena
        return self.by_heap[chunk & -HEAP_MAX]

    def _arena_for(self, actor: Actor) -> Arena:
        if actor.arena is None:
            actor.arena = self._get_arena(actor)
        return actor.arena

    def _another_arena(self, actor: Actor, arena: Arena) -> Arena:
        """Where one has no memory: the main arena, or for that any other."""
        if not arena.main:
            return self.main_arena
        return self._get_arena(actor)

    def _get_arena(self, actor: Actor) -> Arena:
        """arena_get2(): one that nobody uses, a new one, or one that others use, too."""
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
                f"There are {len(self.arenas)} arenas, as many as may be: the thread shares one."
            )
        actor.arena = arena
        return arena

    def _after(self, arena: Arena) -> Arena:
        return self.arenas[(self.arenas.index(arena) + 1) % len(self.arenas)]

    def _detach(self, actor: Actor) -> None:
        """At the end of a thread: its arena is the next thread's, if it was the last one there."""
        arena, actor.arena = actor.arena, None
        if arena is not None:
            arena.attached -= 1
            if not arena.attached:
                self.free_arenas.append(arena)

    def _new_heap(self, size: int) -> Heap | None:
        if size > HEAP_MAX:
            return None
        length = self._pages_up(min(size + TOP_PAD, HEAP_MAX))
        at = self._new_place(HEAP_MAX, HEAP_MAX)
        self._map(at, HEAP_MAX, 0, {"noreserve"} if self.learned.arena_noreserve else ())
        self._protect(at, length)
        self.said.append(
            f"A thread's arena takes {told(HEAP_MAX)} of addresses from the kernel, of which"
            f" {told(length)} may be used as yet; the rest is PROT_NONE."
        )
        return Heap(at, length, length)

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

    def _grow_arena(self, actor: Actor, arena: Arena, size: int) -> bool:
        heap, top = arena.heaps[-1], arena.top
        old = self._size(top)
        length = heap.length + self._pages_up(MINSIZE + size - old)
        if length <= HEAP_MAX:
            if length > heap.writable:
                self._protect(heap.start + heap.writable, length - heap.writable)
                heap.writable = length
                self.said.append("More of the arena becomes writable (mprotect, by the kernel).")
            heap.length = length
            self._set_head(top, heap.start + length - top | PREV_INUSE)
            return True
        new = self._new_heap(size + MINSIZE + HEAP_INFO)
        if new is None:
            return False
        self._write(new.start, HEAP_INFO)
        arena.heaps.append(new)
        self.by_heap[new.start] = arena
        arena.top = new.start + HEAP_INFO
        self._set_head(arena.top, new.length - HEAP_INFO | PREV_INUSE)
        # A fence, so that nobody looks for a chunk behind the last one.
        old = (old - MINSIZE) & -ALIGN
        self._set_head(top + old + HEADER, PREV_INUSE)
        if old >= MINSIZE:
            self._set_head(top + old, HEADER | PREV_INUSE)
            self._set_foot(top + old, HEADER)
            self._set_head(top, old | PREV_INUSE | NON_MAIN)
            self._release(actor, arena, top)
        else:
            self._set_head(top, old + HEADER | PREV_INUSE)
            self._set_foot(top, old + HEADER)
        return True

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
            f"{told(extra)} at the end of the arena are given back page by page"
            " (MADV_DONTNEED): the kernel has the memory, the addresses stay."
        )

    # ---- realloc -----------------------------------------------------------------

    def _copy(self, to: int, source: int, length: int) -> None:
        self._read(source, length)
        self._write(to, length)

    def _resize(self, actor: Actor, arena: Arena, chunk: int, size: int) -> int | None:
        """_int_realloc()."""
        old = self._size(chunk)
        have = old
        if old < size:
            following = chunk + old
            after = self._size(following)
            if following == arena.top and old + after >= size + MINSIZE:
                self._set_head(chunk, size | self.head[chunk] & FLAGS)
                arena.top = chunk + size
                self._set_head(arena.top, old + after - size | PREV_INUSE)
                self.said.append("It grows into the free end of the heap, where it is.")
                return chunk
            if following != arena.top and self._is_free(following) and old + after >= size:
                self._take_out(arena, following)
                have = old + after
                self.said.append("It grows into the free chunk behind it.")
            else:
                new = self._take(actor, arena, size)
                if new is None:
                    return None
                if new == following:
                    have = old + self._size(new)
                else:
                    self._copy(new + HEADER, chunk + HEADER, old - 8)
                    self.said.append("It is copied, and the old one freed.")
                    self._release(actor, arena, chunk)
                    return new
        if have - size < MINSIZE:
            self._set_head(chunk, have | self.head[chunk] & FLAGS)
            self._set_inuse(chunk + have)
        else:
            self._set_head(chunk, size | self.head[chunk] & FLAGS)
            rest = chunk + size
            self._set_head(rest, have - size | PREV_INUSE | NON_MAIN * (not arena.main))
            self._set_inuse(chunk + have)
            self._release(actor, arena, rest)
        return chunk

    # ---- threads -----------------------------------------------------------------

    def thread(self, stack_size: int | None) -> Actor:
        """pthread_create, until the thread waits for work."""
        self.threaded = True
        length = self._pages_up((stack_size or self.default_stack) + self.page)
        actor = Actor(stack=self._cached_stack(length) or self._new_stack(length))
        stack = actor.stack
        assert stack is not None  # noqa: S101 - made just now
        for number in self.learned.stack_pages:
            self._write(stack.start + stack.length - number * self.page)
        return actor

    def _cached_stack(self, length: int) -> Stack | None:
        fitting = [one for one in self.stacks if one.length >= length]
        if not fitting:
            return None
        best = min(fitting, key=lambda one: one.length)
        if best.length > 4 * length:
            return None
        self.stacks.remove(best)
        self.stacks_size -= best.length
        self.said.append(f"A stack of {told(best.length)} that glibc had kept is used again.")
        return best

    def _new_stack(self, length: int) -> Stack:
        at = self._new_place(length, self.page)
        self._map(at, length, 0, self.learned.stack_flags)
        self._protect(at + self.page, length - self.page)
        said, self.said = self.said, []
        kept = [
            (
                f"The thread's stack is a mapping of {told(length)}: the size that was asked for,"
                " or that of ulimit -s, and a page below it that nobody may touch, the guard."
            ),
            *said,
        ]
        address = self.calloc(self.main, self.learned.dtv - HEADER)
        asked = [one for one in self.said if "kernel" in one]
        self.said = kept + (
            ["Its table of thread-local storage comes from malloc.", *asked] if asked else []
        )
        if address is None:
            raise LostTrackError("no memory for a thread")
        return Stack(at, length, address)

    def join(self, actor: Actor) -> None:
        """The end of a thread, and pthread_join."""
        stack = actor.stack
        assert stack is not None  # noqa: S101 - the main thread is never joined
        if actor.tcache:
            actor.ending, cache, actor.tcache = True, actor.tcache, 0
            for size in sorted(actor.bins):
                for chunk in reversed(actor.bins[size]):
                    self.free(actor, chunk + HEADER)
            self.free(actor, cache + HEADER)
        self.said = []
        self._detach(actor)
        kept = max(self.learned.stack_pages) * self.page + STACK_MINIMUM
        if stack.length > kept:
            self._discard(stack.start, stack.length - kept)
        self.stacks.insert(0, stack)
        self.stacks_size += stack.length
        self.said.append(
            f"glibc keeps the stack for the next thread, as long as it has no more than"
            f" {told(STACK_CACHE_MAX)} of them: VSZ stays."
        )
        if self.stacks_size > STACK_CACHE_MAX:
            said = self.said
            while self.stacks and self.stacks_size > STACK_CACHE_MAX:
                old = self.stacks.pop()
                self.stacks_size -= old.length
                self.free(self.main, old.dtv)
                self._unmap(old.start, old.length)
            self.said = [f"{said[0]} Older ones were more, and go."]


def cached_most() -> int:
    """The largest chunk that a thread keeps for itself."""
    return MINSIZE + (TCACHE_BINS - 1) * ALIGN
