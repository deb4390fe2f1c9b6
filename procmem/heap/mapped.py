"""Allocations that malloc has made a mapping of their own (M_MMAP_THRESHOLD, mallopt(3))."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from procmem.procfs.resident import ResidentMemory
    from procmem.regions.region import Region

__all__ = ["MappedChunk", "find_mapped", "mapped_at"]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
IS_MMAPPED = 2
SIZE_BITS = 7
MMAP_HP = 1
"""In prev_size of glibc 2.43: the mapping is of huge pages (glibc.malloc.hugetlb=2)."""
MOST_TRIED = 20_000
"""Pages without a header of such a chunk that are read."""


class MappedChunk(NamedTuple):
    """An allocation that is a mapping of its own.

    Attributes:
        address: the start of the mapping.
        size: its size in bytes, the header and what alignment needs included.
        resident: its bytes in memory.
    """

    address: int
    size: int
    resident: int


def mapped_at(page: bytes, room: int, word: int) -> int:
    """The size of the mapping that begins with a page, if it is one of malloc's; 0: it is none.

    The header of the chunk is at its start, or, for what is aligned (memalign(3)), `prev_size`
    bytes after it: just before an address that is aligned.
    """
    header = 2 * word
    boundary = 16
    while boundary <= len(page):
        offset = boundary - header
        before, head = struct.unpack_from(f"=2{'QI'[word == 4]}", page, offset)
        if head & SIZE_BITS == IS_MMAPPED and before & ~MMAP_HP == offset:
            # Since 2.43 the size does not include the header.
            size = offset + (head & ~SIZE_BITS)
            for whole in (size, size + header):
                if whole and whole % PAGE_SIZE == 0 and whole <= room:
                    return int(whole)
        boundary *= 2
    return 0


def find_mapped(
    memory: ResidentMemory,
    regions: Sequence[Region],
    word: int,
    count: int,
    others: Sequence[tuple[int, int]] = (),
) -> Iterator[tuple[int, int]]:
    """Address and size of each allocation that is a mapping of its own.

    The kernel joins adjacent mappings to one region, so a region may contain several, beside
    memory that the program mapped itself.

    Args:
        memory: the resident memory.
        regions: the regions in which they may be: anonymous, private and writable; the most
            likely ones first.
        word: bytes of an address in the program.
        count: how many there are (n_mmaps of struct malloc_par).
        others: starts and ends of ranges that are known to be something else.
    """
    ends = dict(others)
    tried = 0
    for region in regions:
        at = region.start
        while at < region.end and count > 0 and tried < MOST_TRIED:
            if at in ends:
                at = ends[at]
                continue
            size = mapped_at(memory.read(at, PAGE_SIZE), region.end - at, word)
            if size:
                yield at, size
                count -= 1
            else:
                tried += 1
            at += size or PAGE_SIZE
