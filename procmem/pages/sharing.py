"""Which processes map the same page frames; what became of a process's pages since fork(2)."""

from __future__ import annotations

import errno
import os
from array import array
from typing import NamedTuple

from procmem.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.pages.pagemap import PageMap

__all__ = ["FrameSharing", "Kin", "compare_with_parent"]


class FrameSharing:
    """The anonymous pages of some processes, by the set of processes that map each.

    It needs page maps with frames. A page that is mapped once takes no memory here, any other 16
    to 32 bytes, however many processes map it.
    """

    def __init__(self) -> None:
        made = lib.pm_sharing_new()
        if made == ffi.NULL:
            raise MemoryError
        self._sharing = ffi.gc(made, lib.pm_sharing_free)
        self._members = 0

    def add(self, pages: Sequence[PageMap]) -> int:
        """Adds a process by its page maps, which don't overlap: it gets the next number, from 0.

        Returns:
            How many of its anonymous pages are mapped nowhere else.
        """
        own = ffi.new("uint64_t *")
        for part in pages:
            first, last = part.start // part.page_size, part.end // part.page_size
            if lib.pm_sharing_add(self._sharing, part.handle, first, last, self._members, own):
                raise MemoryError
        self._members += 1
        return int(own[0])

    def settle(self, kpagecount: int) -> None:
        """Compares how often each page was found with how often it is mapped.

        Args:
            kpagecount: an open /proc/kpagecount. Nothing can be added afterwards.

        Raises:
            OSError: it can't be read.
        """
        status = lib.pm_sharing_settle(self._sharing, kpagecount)
        if status == -errno.ENOMEM:
            raise MemoryError
        if status:
            raise OSError(-status, os.strerror(-status), "kpagecount")

    def of_groups(self, groups: Sequence[int | None], count: int) -> list[int]:
        """The pages that are mapped more than once, and only by processes of one group.

        Args:
            groups: the number of the group of each process, from 0; None: of none.
            count: of groups.
        """
        numbers = array("I", [lib.PM_NO_GROUP if one is None else one for one in groups])
        out = ffi.new("uint64_t[]", max(count, 1))
        if lib.pm_sharing_groups(self._sharing, ffi.from_buffer("uint32_t[]", numbers), out):
            raise MemoryError
        return list(out)[:count]

    def incomplete(self) -> set[int]:
        """The numbers of the processes with pages that a process maps which was not added."""
        found = ffi.new("unsigned char[]", max(self._members, 1))
        lib.pm_sharing_open(self._sharing, found)
        return {number for number, is_open in enumerate(found) if is_open}


class Kin(NamedTuple):
    """Pages of a process compared with its parent's at the same addresses.

    Attributes:
        shared: anonymous, and the parent maps the same page.
        copied: anonymous, and the parent has another page there: since fork(2) one of the two has
            written to it.
        own: anonymous, and the parent has no page there.
        file: of a file or of shared memory.
        swapped: in swap.
    """

    shared: int
    copied: int
    own: int
    file: int
    swapped: int


def compare_with_parent(pages: PageMap, parent: PageMap) -> Kin:
    """Compares the pages of a range with those of the parent process in that range.

    Where frames are hidden, anonymous pages that both map more than once count as shared.

    Args:
        pages: of the process.
        parent: the parent's, at least of the same range.
    """
    counts = ffi.new("uint64_t[]", lib.PM_KINS)
    frames = pages.pfn is not None and parent.pfn is not None
    first, last = pages.start // pages.page_size, pages.end // pages.page_size
    lib.pm_pages_kin(pages.handle, parent.handle, first, last, frames, counts)
    return Kin._make(counts)
