"""Finds the state of glibc's malloc by its layout, without symbols or version numbers.

All offsets are those of malloc/malloc.c and malloc/arena.c of glibc 2.26 to 2.43. Where their
structures differ, the layout is recognised by pointers between the structures.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BINS", "ArenaState", "MallocParameters", "find_parameters", "find_states", "state_at"]

BINS = 127
"""NBINS - 1: bin 0 is not used."""

MOST_BEFORE = 16
"""The most words before `top` in any version: a lock, flags, up to eleven fast bins."""

DEFAULT = 128 << 10
"""The first value of M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD (mallopt(3))."""

LARGEST_THRESHOLD = {8: 32 << 20, 4: 512 << 10}
"""DEFAULT_MMAP_THRESHOLD_MAX: malloc itself sets no larger one."""

MMAPS = 65536
"""DEFAULT_MMAP_MAX, the first value of M_MMAP_MAX."""

ARENA_TEST = {8: 8, 4: 2}
"""The first value of M_ARENA_TEST: NARENAS_FROM_NCORES(1)."""

MOST_ARENAS = 1 << 20
"""M_ARENA_TEST and M_ARENA_MAX beyond this are not believed."""

MOST_SETTINGS = 9
"""The most words of struct malloc_par before its ints: limits, and sizes of huge pages."""

PAGE = os.sysconf("SC_PAGE_SIZE")


class ArenaState(NamedTuple):
    """A struct malloc_state.

    Attributes:
        address: the address of the structure.
        bins: the address of the first link of the first bin, which has unsorted chunks.
        word: bytes of an address in the program: 8 or 4.
        locked: whether a thread holds its lock.
        fast: for each fast bin the address of the header of its first chunk; 0: the bin is empty.
        top: the address of the top chunk; before there is one, of the first bin itself.
        links: the addresses of the first and the last chunk of each bin.
        next: the address of the next arena's state, in a ring.
        attached: the number of threads that use the arena (attached_threads).
        system: bytes that it has obtained from the kernel (system_mem).
        most_system: the most that it ever had (max_system_mem), in bytes.
        raw: all bytes of the structure.

    Source: malloc/malloc.c of glibc.
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
        """The size of the structure in bytes."""
        return len(self.raw)

    @property
    def has_memory(self) -> bool:
        """Whether there is a top chunk."""
        return self.top != self.head(0)

    def head(self, index: int) -> int:
        """The address that a bin would have if it were a chunk (bin_at in malloc/malloc.c)."""
        return self.bins + (2 * index - 2) * self.word


class MallocParameters(NamedTuple):
    """Fields of struct malloc_par.

    Attributes:
        mmaps: the number of allocations that are mappings of their own now (n_mmaps).
        mmapped: bytes of these mappings (mmapped_mem). In glibc 2.43 each realloc(3) that resizes
            one adds two words too many (mremap_chunk).
        heap: the address at which the main heap starts (sbrk_base); 0: there is none yet.
        threshold: the size in bytes from which an allocation that does not fit into free memory
            becomes a mapping of its own (mmap_threshold), as it is now.

    Source: malloc/malloc.c of glibc.
    """

    mmaps: int
    mmapped: int
    heap: int
    threshold: int


def words_of(data: bytes, word: int) -> Sequence[int]:
    return struct.unpack_from(f"={len(data) // word}{'Q' if word == 8 else 'I'}", data)


def after_bins(word: int) -> int:
    """The number of words of binmap, which is between the bins and `next`."""
    return 16 // word


def state_at(data: bytes, base: int, bins: int, word: int) -> ArenaState | None:
    """The arena whose first bin's links are at an address; None: there is none.

    Args:
        data: the memory around that address, including the start of the arena's structure.
        base: the address of data.
        bins: the address of the first bin's first link.
        word: bytes of an address in the program.

    Returns:
        A state in which address, locked and fast are not yet set: see placed().
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
        # Both links of an empty bin are its own address; else both point to chunks.
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
    """A state, completed for a structure that starts at an address; None: it can't start there.

    Before `top` are the lock, flags, in most versions have_fastchunks, and the fast bins: ten in
    64-bit programs, eleven in 32-bit programs.
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
    """Candidates for main arenas in a part of a file's writable data.

    The ring of `next` pointers leads back to the main arena, so the last pointer is the address
    at which its structure starts (see `placed`).
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
            # An arena with so many empty bins would have been found: forget the addresses tried.
            seen.clear()


def find_parameters(
    data: bytes, word: int, heaps: Sequence[tuple[int, int]]
) -> MallocParameters | None:
    """The struct malloc_par in a part of a file's writable data; None: it is not there.

    If several places are possible, that at which most settings have their first values.

    Args:
        data: the memory.
        word: bytes of an address in the program.
        heaps: start and end of each region in which the heap may start.
    """
    words = words_of(data, word)
    places: list[int] = []
    starts = sorted(start for start, _ in heaps)
    ends = sorted(end for _, end in heaps)
    lowest, highest = (starts[0], ends[-1]) if heaps else (0, 0)
    for at, value in enumerate(words):
        if lowest <= value < highest:
            index = bisect_right(starts, value) - 1
            if index >= 0 and value < ends[index]:
                places.append(at)
        elif value == DEFAULT and at >= 2:
            # Before the first small allocation there is no heap: trim_threshold and top_pad, which
            # stands behind it, or mmap_threshold, which follows, have their first values; or the
            # thresholds are those that malloc itself sets when a mapping is freed.
            if DEFAULT in words[at - 2 : at]:
                third = at if words[at - 2] == DEFAULT else at + 1
            elif DEFAULT < words[at - 1] == 2 * max(words[at + 1 : at + 2], default=0):
                third = at + 1
            else:
                continue
            places += [one for one in range(third + 5, third + 15) if not any(words[one : one + 1])]
    found = [one for place in places for one in parameters_at(data, words, place, word)]
    return max(found, key=lambda one: one[0])[1] if found else None


def parameters_at(
    data: bytes, words: Sequence[int], place: int, word: int
) -> Iterator[tuple[int, MallocParameters]]:
    """What struct malloc_par may be around a word, and how many settings have their first values.

    Until the program sets a limit by mallopt(3) or a tunable, malloc changes the limits itself, in
    a way that is known. Afterwards (no_dyn_threshold) they may have any value.

    Args:
        data: the memory.
        words: its words.
        place: the index of the word that may be sbrk_base.
        word: bytes of an address.
    """
    if not MOST_SETTINGS + 5 <= place < len(words):
        return
    mmapped, most = words[place - 2], words[place - 1]
    # No whole pages, and not 0 without any mapping: see MallocParameters.mmapped.
    if mmapped > most or mmapped % (2 * word) or most % (2 * word):
        return
    whole = not (mmapped % PAGE or most % PAGE)
    # Since 2.35 an int of padding may follow the four ints, and another int precedes them.
    for start in ((place - 2) * word - 16, (place - 2) * word - 20):
        mmaps, allowed, peak, fixed = struct.unpack_from("=4i", data, start)
        if not 0 <= mmaps <= peak or fixed not in (0, 1):
            continue
        if (mmaps and not mmapped) or (peak == 0) != (most == 0):
            continue
        for settings in range(5, MOST_SETTINGS + 1):
            first = start // word - settings
            trim, pad, threshold, test, arenas = words[first : first + 5]
            dynamic = trim == threshold == DEFAULT or (
                DEFAULT < threshold <= LARGEST_THRESHOLD[word] and trim == 2 * threshold
            )
            if not (dynamic or fixed) or max(test, arenas) > MOST_ARENAS:
                continue
            usual = (trim == DEFAULT, pad == DEFAULT, threshold == DEFAULT, allowed == MMAPS)
            count = 2 * (sum(usual) + (test == ARENA_TEST[word]) + 2 * dynamic) + (arenas == 0)
            # Counts of mappings that fit each other.
            count += mmaps > 0
            count += whole and (mmaps == 0) == (mmapped == 0)
            # Zeros are everywhere: at least one of the other values.
            if count >= (3 if words[place] else 11):
                yield count, MallocParameters(mmaps, mmapped, words[place], threshold)
