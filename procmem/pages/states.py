"""Which bytes of a range are resident, privately copied or swapped, page by page."""

from __future__ import annotations

from bisect import bisect_right
from itertools import groupby

from procmem.pages.pagemap import PageState, read_pagemap
from procmem.pages.scan import IS_FILE, IS_GUARD, IS_PRESENT, IS_SWAPPED, IS_ZERO, scan_ranges

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

WANTED = IS_FILE | IS_PRESENT | IS_SWAPPED | IS_GUARD


class PageStates:
    """The states of some pages, which answers for any range of bytes in them.

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
        """The part within some ranges, which are in ascending order."""
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
    page looks like one of the process's own and counts as resident and private.

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
            found = scan_ranges(pagemap_fd, start, end, WANTED, without=IS_ZERO)
            if found is None:
                runs += entries(pagemap_fd, start, end, page_size)
            else:
                runs += [(s, e, state_of(c)) for s, e, c in found if not c & IS_GUARD]
    return PageStates(runs)


def state_of(categories: int) -> int:
    if not categories & IS_PRESENT:
        return SWAPPED
    return SHARED if categories & IS_FILE else PRIVATE


def entries(fd: int, start: int, end: int, page_size: int) -> Iterator[Run]:
    """From the page map itself."""
    pages = read_pagemap(fd, start, end, page_size)
    for state, runs in groupby(pages.runs(), lambda run: STATE_OF.get(run.state)):
        if state is not None:
            listed = list(runs)
            yield listed[0].start, listed[-1].end, state


STATE_OF = {
    PageState.ANONYMOUS: PRIVATE,
    PageState.ANONYMOUS_SHARED: PRIVATE,
    PageState.FILE: SHARED,
    PageState.FILE_SHARED: SHARED,
    PageState.SWAPPED: SWAPPED,
}
