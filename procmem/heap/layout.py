"""Where glibc keeps malloc's state, found by its shape: no symbols, no versions.

All offsets are those of malloc/malloc.c and malloc/arena.c of glibc 2.26 to 2.43, whose structures
differ: what differs is recognised by the addresses that the structures hold of each other.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BINS", "ArenaState", "MallocParameters", "find_parameters", "find_states", "state_at"]

BINS = 127
"""NBINS - 1: bin 0 is not used."""

MOST_BEFORE = 16
"""Words before `top` in any version: a lock, flags, up to eleven fast bins."""

DEFAULT = 128 << 10
LARGEST_THRESHOLD = 32 << 20
"""DEFAULT_MMAP_THRESHOLD_MAX of 64-bit programs."""

PARAMETERS = 24
"""Words in which struct malloc_par has the start of the heap (sbrk_base), in any version."""


class ArenaState(NamedTuple):
    """A struct malloc_state.

    Attributes:
        address: of the structure.
        bins: of the first link of the first bin, the one of unsorted chunks.
        word: bytes of a word of the program, 8 or 4.
        locked: whether a thread holds its lock.
        fast: the first chunk of each fast bin, an address of its header; 0: empty.
        top: address of the top chunk; of the first bin itself before the first chunk is made.
        links: first and last chunk of each bin.
        next: address of the next arena's state, in a ring.
        attached: threads that use it (attached_threads).
        system: bytes that it got from the kernel (system_mem).
        most_system: the most that it ever had (max_system_mem).
        raw: all of its bytes.
    """

    address: int
    bins: int
    word: int
    locked: bool
    fast: tuple[int, ...]
    top: int
    links: tuple[tuple[int, int], ...]
    next: int
    attached: int
    system: int
    most_system: int
    raw: bytes

    @property
    def size(self) -> int:
        """Bytes of the structure."""
        return len(self.raw)

    @property
    def has_memory(self) -> bool:
        """Whether there is a top chunk."""
        return self.top != self.head(0)

    def head(self, index: int) -> int:
        """The address at which a bin would be if it were a chunk (bin_at)."""
        return self.bins + (2 * index - 2) * self.word


class MallocParameters(NamedTuple):
    """What struct malloc_par has.

    Attributes:
        mmaps: pieces that are mapped on their own now (n_mmaps).
        mmapped: their bytes (mmapped_mem).
        heap: where the main heap starts (sbrk_base); 0: nowhere yet.
        mmap_threshold: from this size on malloc maps what its arenas have no room for.
    """

    mmaps: int
    mmapped: int
    heap: int
    mmap_threshold: int


def words_of(data: bytes, word: int) -> Sequence[int]:
    return struct.unpack_from(f"={len(data) // word}{'Q' if word == 8 else 'I'}", data)


def after_bins(word: int) -> int:
    """Words of binmap, which stands between the bins and `next`."""
    return 16 // word


def state_at(data: bytes, base: int, bins: int, word: int) -> ArenaState | None:
    """The arena whose first bin's links are at an address; None: there is none.

    Args:
        data: memory around it, with what stands before.
        base: where that starts.
        bins: the address of the first bin's first link.
        word: bytes of a word.
    """
    at = (bins - base) // word
    words = words_of(data, word)
    tail = at + 2 * BINS + after_bins(word)
    if at < 2 or tail + 5 > len(words):
        return None
    links = []
    for index in range(BINS):
        first, last = words[at + 2 * index], words[at + 2 * index + 1]
        head = bins + (2 * index - 2) * word
        # An empty bin's links are its own address; others are chunks', both.
        if (first == head) != (last == head) or not first or first % word or last % word:
            return None
        links.append((first, last))
    following, _, attached, system, most = words[tail : tail + 5]
    top = words[at - 2]
    if system > most or not following or following % word or not top or attached > 1 << 22:
        return None
    return ArenaState(
        0, bins, word, False, (), top, tuple(links), following, attached, system, most,
        data[(at - 2) * word : (tail + 5) * word],
    )  # fmt: skip


def placed(state: ArenaState, address: int, data: bytes, base: int) -> ArenaState | None:
    """A state whose structure starts at an address; None: it can't.

    Before `top` stand the lock, flags, in most versions whether there are fast chunks, and the
    fast bins: ten in 64-bit programs, eleven in 32-bit ones.
    """
    word = state.word
    before = (state.bins - 2 * word - address) // word
    count = 10 if word == 8 else 11
    heads = before - count
    if not 1 <= before <= MOST_BEFORE or (state.bins - address) % word:
        return None
    words = words_of(data[address - base : state.bins - base], word)
    if len(words) < before:
        return None
    fast: tuple[int, ...] = ()
    if heads >= 1:
        if heads > 3:
            return None
        fast = tuple(words[heads : heads + count])
        if any(link % word for link in fast):
            return None
    elif before > 3:
        return None
    lock = struct.unpack_from("=i", data, address - base)[0]
    if not 0 <= lock <= 2:
        return None
    raw = data[address - base : state.bins - base] + state.raw[2 * word :]
    return state._replace(address=address, locked=lock != 0, fast=fast, raw=raw)


def find_states(data: bytes, base: int, word: int) -> Iterator[ArenaState]:
    """The arenas that may stand in a piece of writable data: main arenas.

    An arena's ring of `next` leads back to it: where it is alone, its own address says where it
    starts, and otherwise another arena's does (see `placed`).
    """
    words = words_of(data, word)
    seen = set()
    for index in range(len(words) - 1):
        # An empty bin: both links are 16 bytes (of 64-bit programs) before themselves.
        head = base + (index - 2) * word
        if words[index] != head or words[index + 1] != head:
            continue
        for number in range(BINS):
            bins = base + (index - 2 * number) * word
            if bins in seen or bins < base + 2 * word:
                continue
            seen.add(bins)
            found = state_at(data, base, bins, word)
            if found is not None:
                yield found
        if len(seen) > 4 * BINS:
            # No arena has so many empty bins without being found: give the rest a rest.
            seen.clear()


def find_parameters(
    data: bytes, word: int, heaps: Sequence[tuple[int, int]]
) -> MallocParameters | None:
    """Malloc's parameters in a piece of writable data.

    Args:
        data: the memory.
        word: bytes of a word.
        heaps: start and end of the regions in which the heap may start.
    """
    words = words_of(data, word)
    largest = LARGEST_THRESHOLD if word == 8 else 512 << 10
    for at in range(1, len(words) - PARAMETERS):
        trim, _, threshold = words[at - 1 : at + 2]
        if not threshold or (trim not in (DEFAULT, 2 * threshold) and trim < word):
            continue
        if threshold > largest and threshold != DEFAULT:
            continue
        if threshold != DEFAULT and trim != 2 * threshold:
            continue
        for place in range(at + 4, at + PARAMETERS):
            if not any(start <= words[place] < end for start, end in heaps):
                continue
            mmapped, most = words[place - 2], words[place - 1]
            end = (place - 2) * word
            # Since 2.35 an int before the four of these fills a gap, and another comes behind.
            for start in (end - 16, end - 20):
                mmaps, allowed, peak, fixed = struct.unpack_from("=4i", data, start)
                if mmapped <= most and 0 <= mmaps <= peak and allowed > 0 and fixed in (0, 1):
                    return MallocParameters(mmaps, mmapped, words[place], threshold)
    return None
