"""Which bytes of a range are resident, privately copied or swapped, page by page."""

from __future__ import annotations

import errno
import fcntl
import os
from array import array
from bisect import bisect_right
from itertools import groupby
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Bytes", "PageStates", "read_states"]

SHARED, PRIVATE, SWAPPED = 1, 2, 3
"""What a page is: present and its file's (or shared memory's), present and the process's own,
in swap. Pages that are neither, and the zero page, have no state."""

Bytes = tuple[int, int, int]
"""Resident, of which private, and swapped bytes."""

Run = tuple[int, int, int]
"""Start, end and state of consecutive pages."""

SCAN_PAGES = 3 << 30 | 96 << 16 | ord("f") << 8 | 16
"""PAGEMAP_SCAN: _IOWR('f', 16, struct pm_scan_arg) (include/uapi/linux/fs.h)."""

SCAN = Struct("=12Q")
RANGES = 1024

IS_FILE, IS_PRESENT, IS_SWAPPED, IS_ZERO, IS_GUARD = 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 8

ENTRIES = 1 << 16
"""Entries of pagemap that one read takes."""

_scan_refused = False
_knows_guards = True


class PageStates:
    """The states of some pages, to be asked about any bytes among them.

    Args:
        runs: in ascending order, without overlap.
    """

    __slots__ = ("_starts", "_sums", "runs")

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = list(runs)
        self._starts = [run[0] for run in self.runs]
        resident = private = swapped = 0
        # What all runs before one add up to.
        self._sums: list[Bytes] = [(0, 0, 0)]
        for start, end, state in self.runs:
            if state == SWAPPED:
                swapped += end - start
            else:
                resident += end - start
                if state == PRIVATE:
                    private += end - start
            self._sums.append((resident, private, swapped))

    def below(self, address: int) -> Bytes:
        """Resident, private and swapped bytes below an address."""
        index = bisect_right(self._starts, address)
        if not index:
            return 0, 0, 0
        _, end, state = self.runs[index - 1]
        over = end - address
        resident, private, swapped = self._sums[index]
        if over <= 0:
            return resident, private, swapped
        if state == SWAPPED:
            return resident, private, swapped - over
        return resident - over, private - over if state == PRIVATE else private, swapped

    def within(self, start: int, end: int) -> Bytes:
        """Resident, private and swapped bytes of a range."""
        if end <= start:
            return 0, 0, 0
        a, b = self.below(start), self.below(end)
        return b[0] - a[0], b[1] - a[1], b[2] - a[2]

    @property
    def total(self) -> Bytes:
        """Of all pages."""
        return self._sums[-1]

    def clip(self, spans: Iterable[tuple[int, int]]) -> PageStates:
        """What lies within some ranges, which are in ascending order."""
        return PageStates(part for start, end in spans for part in self._cut(start, end))

    def _cut(self, start: int, end: int) -> Iterator[Run]:
        index = max(0, bisect_right(self._starts, start) - 1)
        for first, last, state in self.runs[index:]:
            if first >= end:
                return
            if last > start:
                yield max(first, start), min(last, end), state


def read_states(pagemap_fd: int, spans: Iterable[tuple[int, int]], page_size: int) -> PageStates:
    """The states of all pages of some ranges.

    By PAGEMAP_SCAN (Linux 6.7); elsewhere from eight bytes for each page, where the zero
    page can't be told from one of the process's own and counts as resident and private.

    Args:
        pagemap_fd: an open /proc/PID/pagemap.
        spans: in ascending order, without overlap.
        page_size: in bytes.

    Raises:
        OSError

    Source: Documentation/admin-guide/mm/pagemap.rst.
    """
    runs: list[Run] = []
    for start, end in spans:
        if end <= 1 << 63:  # above it lies only the kernel's [vsyscall]
            found = scan(pagemap_fd, start, end)
            runs += entries(pagemap_fd, start, end, page_size) if found is None else found
    return PageStates(runs)


def scan(fd: int, start: int, end: int) -> list[Run] | None:
    """By PAGEMAP_SCAN; None: read the entries."""
    global _scan_refused, _knows_guards  # noqa: PLW0603 - the kernel's answers hold
    if _scan_refused:
        return None
    room = array("Q", bytes(24 * RANGES))
    found: list[Run] = []
    while start < end:
        wanted = IS_FILE | IS_PRESENT | IS_SWAPPED | (IS_GUARD if _knows_guards else 0)
        request = bytearray(
            SCAN.pack(
                SCAN.size, 0, start, end, 0, room.buffer_info()[0], RANGES, 0,
                IS_ZERO, IS_ZERO, IS_PRESENT | IS_SWAPPED, wanted,
            )
        )  # fmt: skip
        try:
            got = fcntl.ioctl(fd, SCAN_PAGES, request)
        except OSError as error:
            if error.errno == errno.EINVAL and _knows_guards:
                # Kernels before 6.15 know no guard pages and refuse the bit.
                _knows_guards = False
                continue
            if error.errno == errno.ENOTTY:
                _scan_refused = True
                return None
            raise
        for at in range(0, 3 * got, 3):
            first, last, categories = room[at], room[at + 1], room[at + 2]
            if not categories & IS_GUARD:
                found.append((first, last, state_of(categories)))
        # walk_end may be stale on a finished scan: the count says whether there is more.
        if got < RANGES:
            break
        start = room[3 * got - 2]
    return found


def state_of(categories: int) -> int:
    if not categories & IS_PRESENT:
        return SWAPPED
    return SHARED if categories & IS_FILE else PRIVATE


def entries(fd: int, start: int, end: int, page_size: int) -> Iterator[Run]:
    """From the page map itself."""
    page, last = start // page_size, end // page_size
    while page < last:
        raw = os.pread(fd, min(last - page, ENTRIES) * 8, page * 8)
        if len(raw) < 8:
            return
        # Bits 63 present, 62 swapped, 61 file or shared, 58 guard.
        heads = [entry >> 58 for entry in memoryview(raw[: len(raw) // 8 * 8]).cast("Q")]
        for head, same in groupby(heads):
            count = sum(1 for _ in same)
            if not head & 1 and head & 0b110000:
                state = SWAPPED if not head & 0b100000 else SHARED if head & 0b1000 else PRIVATE
                yield page * page_size, (page + count) * page_size, state
            page += count
