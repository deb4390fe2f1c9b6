"""What each region of a reading is like, in a byte per region, worked out in C.

Of 30,000 regions most are plain anonymous memory, which needs no thought. So nothing in Python
goes through all of them: it asks for those with a mark.
"""

from __future__ import annotations

from itertools import compress

from procmem.native import HEADER_WORDS, ffi, lib
from procmem.regions.kinds import ARENA_SIZES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["Marks", "where"]


class Marks:
    """The marks of all regions of a reading; each is a byte of 0 or 1 for each region.

    Attributes:
        count: how many regions there are.
        named: has a name.
        noted: its VmFlags have "ht" (hugetlbfs), or the marks of a stack with guard pages in it.
        reserved: private memory that may not be accessed (`---p`).
        barred: memory that may not be accessed.
        executable: may be executed.
        apart: does not start where the region before it ends.
        by_file: has an inode, or is the region after one that has: that may be its bss.
        stack_like: private anonymous memory without a name of two pages or more, which may be
            read and written.
        heap_like: contains an address that a heap of one of malloc's arenas may start at.
        word_size: of an address of the program in bytes: only a 64-bit one has memory above 4 GiB.
    """

    def __init__(
        self, words: Any, stride: int, count: int, page_size: int, strings: Sequence[bytes] = ()
    ) -> None:
        """Args: the records, words in each, their number, and the strings of VmFlags by number."""
        self.count = count
        self._words = words
        self._stride = stride
        noted = bytes(map(is_noted, strings)) if stride > HEADER_WORDS else b""
        rows = ffi.new("pm_rows *", (words, stride, ffi.NULL, count))
        made = bytearray(lib.PM_MARKS * count)
        sizes = ffi.new("uint64_t[2]", ARENA_SIZES[::-1])
        room = ffi.from_buffer("unsigned char[]", made)
        wide = lib.pm_column_marks(rows, noted, len(noted), page_size, sizes, room)
        self.word_size = 8 if wide else 4
        planes = [bytes(made[mark * count : (mark + 1) * count]) for mark in range(lib.PM_MARKS)]
        self.named = planes[lib.PM_NAMED]
        self.noted = planes[lib.PM_NOTED]
        self.reserved = planes[lib.PM_RESERVED]
        self.barred = planes[lib.PM_BARRED]
        self.executable = planes[lib.PM_EXECUTABLE]
        self.apart = planes[lib.PM_APART]
        self.by_file = planes[lib.PM_BY_FILE]
        self.stack_like = planes[lib.PM_STACK_LIKE]
        self.heap_like = planes[lib.PM_HEAP_LIKE]

    def column(self, word: int) -> list[int]:
        """A word of each record, by its index in a record."""
        if not self.count:
            return []
        size = self.count * self._stride * 8
        return memoryview(ffi.buffer(self._words, size)).cast("Q")[word :: self._stride].tolist()


def is_noted(flags: bytes) -> bool:
    """Whether kinds depend on these VmFlags, of a region without a name."""
    if b"ht" not in flags and b"gu" not in flags:
        return False
    words = flags.split()
    return b"ht" in words or (b"gu" in words and b"nh" in words)


def where(marks: bytes, first: int = 0, stop: int | None = None) -> list[int]:
    """The indices with a mark.

    >>> where(bytes([0, 1, 0, 1, 1])), where(bytes([1, 1, 0, 1, 1]), 1, 4)
    ([1, 3, 4], [1, 3])
    """
    stop = len(marks) if stop is None else stop
    if marks.count(1, first, stop) * DENSE > stop - first:
        return [*compress(range(first, stop), marks[first:stop])]
    found = []
    at = marks.find(1, first, stop)
    while at >= 0:
        found.append(at)
        at = marks.find(1, at + 1, stop)
    return found


DENSE = 8
"""compress() goes through eight regions in the time that one find() takes."""
