"""A model of glibc's malloc: what each call asks of the kernel, and which pages it writes to.

The model is given the same calls as the process and makes the same decisions, so that it knows at
which address each chunk will be; Space then works out what that changes in the address space.

Source: malloc/malloc.c, elf/dl-tls.c of glibc 2.26 to 2.40. Whether the libc of this machine
works like that is tried out, not concluded from its version.
"""

from __future__ import annotations

import copy

from procmem.experiments.model.allocatestack import (
    STACK_CACHE_MAX,
    STACK_MINIMUM,
    StackCache,
    ThreadStack,
)
from procmem.experiments.model.arena import HEAP_INFO, HEAP_MAX, THRESHOLD, Actor, Arena, Arenas
from procmem.experiments.model.chunks import (
    ALIGN,
    BINS,
    FLAGS,
    HEADER,
    IS_MMAPPED,
    LARGE,
    MINSIZE,
    NON_MAIN,
    PREV_INUSE,
    TOP_PAD,
    UNSORTED,
    Learned,
    LostTrackError,
    bin_of,
    chunk_size,
)
from procmem.experiments.model.vmas import READ, WRITE
from procmem.units import size as size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.experiments.model.space import Space

__all__ = ["Malloc"]

MAX_FAST = 128
TCACHE_BINS, TCACHE_COUNT = 64, 7
CONSOLIDATE = 65536
THRESHOLD_MAX = 32 << 20
MMAPS_MAX = 65536
PTRDIFF_MAX = (1 << 63) - 1


class Malloc(Arenas):
    """The state of malloc in one process.

    begin() must come before each call. Each call returns the address that the caller gets, or
    None where there is no memory.

    Args:
        space: the address space.
        learned: what differs between builds of glibc.
        default_stack: bytes of a thread's stack whose size is not given.
        cpus: how many CPUs glibc counts.
    """

    def __init__(self, space: Space, learned: Learned, default_stack: int, cpus: int) -> None:
        super().__init__(space, learned, cpus)
        self.default_stack = default_stack
        self.stacks = StackCache()
        self.threshold = THRESHOLD
        self.mmaps = 0
        self.main = Actor(self.main_arena)
        self.threaded = False

    def fork(self, space: Space) -> Malloc:
        """The child's."""
        self.space, mine = space, self.space
        try:
            return copy.deepcopy(self, {id(space): space})
        finally:
            self.space = mine

    # ---- calls -------------------------------------------------------------

    def malloc(self, actor: Actor, request: int) -> int | None:
        """malloc(3)."""
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
            f"{size_text(request)} take a chunk of {size:,} bytes: 8 more for the size field,"
            f" rounded up to a multiple of {ALIGN}."
        )

    def calloc(self, actor: Actor, request: int) -> int | None:
        """Clears the memory, unless it comes fresh from the kernel, which is zero."""
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
        """Resizes in place where it fits, a mapping of its own by mremap, else copies."""
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
        """Gives a chunk back to malloc, which may keep it for later requests."""
        if not address:
            self.said.append("free(NULL) does nothing.")
            return
        chunk = address - HEADER
        size = self._size(chunk)
        if self.head[chunk] & IS_MMAPPED:
            if self.threshold < size | IS_MMAPPED <= THRESHOLD_MAX:
                self.threshold, self.trim_threshold = size, 2 * size
                self.said.append(
                    "Freeing a mapping raises the threshold: from now on requests below"
                    f" {size_text(size)} come from the heap."
                )
            self._unmap_chunk(chunk)
            return
        self._need_tcache(actor)
        self._release(actor, self._arena_of(chunk), chunk)

    def trim(self, pad: int) -> bool:
        """malloc_trim(3): gives whole free pages of every arena back to the kernel."""
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
        """_int_malloc(): a free chunk of the arena, one from its end, or new memory."""
        if size <= MAX_FAST and (kept := arena.fast.get(size)):
            chunk = kept.pop()
            bin_ = actor.bins.setdefault(size, []) if actor.tcache else None
            while bin_ is not None and kept and len(bin_) < TCACHE_COUNT:
                self._to_tcache(actor, kept.pop())
            self.said.append("A free chunk of that size is reused.")
            return chunk
        number = bin_of(size)
        if size < LARGE:
            if free := arena.bins[number]:
                chunk = self._use_whole(arena, free.pop())
                while free and actor.tcache and len(actor.bins.get(size, ())) < TCACHE_COUNT:
                    self._to_tcache(actor, self._use_whole(arena, free.pop()))
                self.said.append("A free chunk of that size is reused.")
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
                self.said.append("It is cut from the free end of the heap.")
                return self._cut_from_top(arena, size)
            if not arena.has_fast:
                return self._ask_kernel(actor, arena, size)
            self._consolidate(arena)

    def _sort(self, actor: Actor, arena: Arena, size: int, cacheable: bool) -> int | None:
        """Sorts recently freed chunks into bins, unless one of them fits the request."""
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
                # The first chunk of a size is also in the list of sizes: glibc takes the second.
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
        """Cuts a chunk; the rest is free, and the next to be looked at."""
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
        """malloc_consolidate(): merges the chunks of fast bins with free neighbours."""
        arena.has_fast = False
        for size in sorted(arena.fast):
            kept, arena.fast[size] = arena.fast[size], []
            for chunk in reversed(kept):
                self._merge(arena, chunk)

    def _merge(self, arena: Arena, chunk: int) -> int:
        """Merges a chunk with free neighbours on both sides; its size afterwards."""
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

    def _release(self, actor: Actor, arena: Arena, chunk: int) -> None:
        """_int_free()."""
        size = self._size(chunk)
        cached = len(actor.bins.get(size, ()))
        if actor.tcache and size <= cached_most() and cached < TCACHE_COUNT:
            self._to_tcache(actor, chunk)
            self.said.append(
                "The thread keeps the chunk in its cache (tcache): nothing is given back."
            )
            return
        if size <= MAX_FAST:
            arena.has_fast = True
            arena.fast.setdefault(size, []).append(chunk)
            self._write(chunk + HEADER)
            self.said.append("malloc keeps the chunk for later requests: nothing is given back.")
            return
        if self._merge(arena, chunk) < CONSOLIDATE:
            self.said.append("malloc keeps the chunk for later requests: nothing is given back.")
            return
        if arena.has_fast:
            self._consolidate(arena)
        if not arena.main:
            self._cut_arena(arena)
        elif self._size(arena.top) >= self.trim_threshold:
            self._cut_top(TOP_PAD)
        else:
            self.said.append(
                f"{size_text(self._size(arena.top))} are free at the end of the heap: below"
                f" {size_text(self.trim_threshold)} (M_TRIM_THRESHOLD) malloc gives nothing back."
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
        self.said.append("A chunk of that size from the thread's cache (tcache) is reused.")
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
                    f"That reaches the threshold of {size_text(self.threshold)} (M_MMAP_THRESHOLD):"
                    " malloc asks the kernel for a mapping of its own."
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
            raise LostTrackError(f"a mapping of {size_text(length)} was expected")
        self._map(at, length, READ | WRITE)
        self.mmaps += 1
        self.foot[at] = 0
        self._set_head(at, length | IS_MMAPPED)
        return at

    def _unmap_chunk(self, chunk: int) -> None:
        self.mmaps -= 1
        self.said.append(
            "It had a mapping of its own, which goes back to the kernel at once (munmap)."
        )
        self._unmap(chunk, self._size(chunk))

    def _resize_mapping(self, actor: Actor, chunk: int, old: int, request: int) -> int | None:
        size = chunk_size(request)
        length = self._pages_up(size + 8)
        if length == old:
            self.said.append("It fits into the pages that its mapping has.")
            return chunk + HEADER
        if self.refused:
            return self.malloc(actor, request)
        target = self.mapped_at
        if target % self.page:
            raise LostTrackError(f"a mapping of {size_text(length)} was expected")
        self.space.mremap(
            chunk // self.page, old // self.page, length // self.page, target // self.page,
            self.tally,
        )  # fmt: skip
        self.said.append("mremap resizes its mapping: no page is copied.")
        self._set_head(target, length | IS_MMAPPED)
        return target + HEADER

    def _grow_main(self, arena: Arena, size: int) -> None:
        """Grows the main arena by brk: the request, and 128 KiB more for later ones."""
        old_top = arena.top
        old = self._size(old_top) if old_top else 0
        more = self._pages_up(size + TOP_PAD + MINSIZE - old)
        brk = self.space.brk[1]
        self.space.set_brk(brk + more, self.tally)
        self.said.append(
            f"malloc asks the kernel for {size_text(more)} (brk): what is needed, and"
            f" {size_text(TOP_PAD)} for later requests (M_TOP_PAD), in whole pages."
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
            raise LostTrackError("the end of the heap was moved by something else")

    def _cut_top(self, pad: int) -> bool:
        """systrim(): gives the free end of the heap back, but for `pad` bytes."""
        arena = self.main_arena
        if not arena.top:
            return False
        size = self._size(arena.top)
        room = size - MINSIZE - 1
        # A top chunk of minimal size makes this -1, which glibc compares as unsigned: it then
        # grows the heap by a page, where it meant to give memory back.
        if 0 <= room <= pad:
            return False
        extra = (room - pad) // self.page * self.page
        if not extra:
            return False
        self.space.set_brk(self.space.brk[1] - extra, self.tally)
        self._set_head(arena.top, size - extra | PREV_INUSE)
        if extra < 0:
            self.said.append(
                "Nothing is free at the end of the heap, a case that glibc miscounts: it asks the"
                f" kernel for {size_text(-extra)} more (brk)."
            )
            return True
        self.said.append(
            f"{size_text(size)} are free at the end of the heap: {size_text(extra)} go back to the"
            " kernel (brk)."
        )
        return True

    def _grow_arena(self, actor: Actor, arena: Arena, size: int) -> bool:
        heap, top = arena.heaps[-1], arena.top
        old = self._size(top)
        length = heap.length + self._pages_up(MINSIZE + size - old)
        if length <= HEAP_MAX:
            if length > heap.writable:
                self._protect(heap.start + heap.writable, length - heap.writable)
                heap.writable = length
                self.said.append(
                    "A further part of the arena is made accessible by the kernel (mprotect)."
                )
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
        # Fenceposts, so that nothing is merged with what is behind the last chunk.
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
                self.said.append("It grows in place, into the free end of the heap.")
                return chunk
            if following != arena.top and self._is_free(following) and old + after >= size:
                self._take_out(arena, following)
                have = old + after
                self.said.append("It grows in place, into the free chunk behind it.")
            else:
                new = self._take(actor, arena, size)
                if new is None:
                    return None
                if new == following:
                    have = old + self._size(new)
                else:
                    self._copy(new + HEADER, chunk + HEADER, old - 8)
                    self.said.append("It is copied to another chunk, and the old one is freed.")
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
        """pthread_create(3), until the thread waits for work."""
        self.threaded = True
        length = self._pages_up((stack_size or self.default_stack) + self.page)
        stack = self.stacks.take(length)
        if stack is None:
            stack = self._new_stack(length)
        else:
            self.said.append(
                f"A stack of {size_text(stack.length)} from glibc's cache of stacks is reused."
            )
        for number in self.learned.stack_pages:
            self._write(stack.start + stack.length - number * self.page)
        return Actor(stack=stack)

    def _new_stack(self, length: int) -> ThreadStack:
        at = self._new_place(length, self.page)
        self._map(at, length, 0, self.learned.stack_flags)
        self._protect(at + self.page, length - self.page)
        self.said.append(
            f"The thread's stack is a mapping of {size_text(length)}: the size that was asked for,"
            " or `ulimit -s`, and one inaccessible page below it, the guard."
        )
        kept, self.said = self.said, []
        address = self.calloc(self.main, self.learned.dtv - HEADER)
        asked = [one for one in self.said if "kernel" in one]
        self.said = kept + (
            ["Its table of thread-local storage comes from malloc.", *asked] if asked else []
        )
        if address is None:
            raise LostTrackError("no memory for a thread")
        return ThreadStack(at, length, address)

    def join(self, actor: Actor) -> None:
        """The end of a thread, and pthread_join(3)."""
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
        said = (
            "glibc keeps the stack for the next thread, as long as its cache of stacks does not"
            f" exceed {size_text(STACK_CACHE_MAX)}: VSZ stays."
        )
        gone = self.stacks.keep(stack)
        for old in gone:
            self.free(self.main, old.dtv)
            self._unmap(old.start, old.length)
        self.said = [f"{said} Older stacks exceed that, and are unmapped." if gone else said]


def cached_most() -> int:
    """The largest chunk that a thread's cache (tcache) takes."""
    return MINSIZE + (TCACHE_BINS - 1) * ALIGN
