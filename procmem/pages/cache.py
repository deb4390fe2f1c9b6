"""What of a file is in the page cache, by cachestat(2) or mincore(2)."""

from __future__ import annotations

import errno
import os
from array import array
from typing import NamedTuple

from procmem.native import ffi, lib
from procmem.procfs import probes

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CacheUse", "cache_frames", "cache_of"]

WINDOW = 1 << 14
"""Pages of a file that are mapped at once."""

FRAME = (1 << 55) - 1
PRESENT = 1 << 63

NOT_HERE = (errno.ENOSYS, errno.EOPNOTSUPP)
DENIED = (errno.EPERM, errno.EACCES)


class CacheUse(NamedTuple):
    """How much of a file is in the page cache, in bytes. None: not known.

    Attributes:
        size: of the file.
        cached: in the page cache, in whole pages.
        dirty: of these, changed and not written yet.
        writeback: of these, being written.
        evicted: pages of the file that reclaim has taken, as far as the kernel remembers.
        recently_evicted: of these, so recently that reading them again would mean that memory
            is short.
        source: "cachestat", or "mincore", which knows `cached` alone.
    """

    size: int
    cached: int
    dirty: int | None
    writeback: int | None
    evicted: int | None
    recently_evicted: int | None
    source: str


def cache_of(fd: int, page_size: int) -> CacheUse:
    """How much of an open regular file is in the page cache.

    cachestat(2) (Linux 6.5) answers at once, whatever the file's size. Elsewhere the file is
    mapped, and mincore(2) is asked about each page.

    Args:
        fd: an open descriptor.
        page_size: in bytes.

    Raises:
        PermissionError: this user neither owns the file nor may write it, and the kernel says
            nothing to others.
        OSError: the file can't be mapped (huge pages), or the kernel failed.

    Source: cachestat(2), mincore(2); mm/filemap.c.
    """
    size = os.fstat(fd).st_size
    room = ffi.new("pm_cached *")
    status = lib.pm_cachestat(fd, 0, 0, room)
    if -status in DENIED and not probes.has_cachestat():
        status = -errno.ENOSYS  # a seccomp(2) filter of a container refuses the call
    if status and -status not in NOT_HERE:
        raise OSError(-status, os.strerror(-status), "cachestat")
    # An overlay's own inode has no pages: those of the file beneath are reached by mapping.
    if status or (not room.cached and size):
        found = resident(fd, size, page_size)
        if status or found:
            return CacheUse(size, found, None, None, None, None, "mincore")
    sizes = [
        int(value) * page_size
        for value in (room.cached, room.dirty, room.writeback, room.evicted, room.recently_evicted)
    ]
    return CacheUse._make([size, *sizes, "cachestat"])


def may_ask(fd: int) -> bool:
    """Whether mincore(2) tells this user the truth about a file (can_do_mincore(), mm/mincore.c).

    It says of every page of other users' files that it is there.
    """
    if os.geteuid() in (0, os.fstat(fd).st_uid):
        return True
    return os.access(f"/proc/self/fd/{fd}", os.W_OK)


def resident(fd: int, size: int, page_size: int) -> int:
    """Bytes of a file in the page cache, by mincore(2)."""
    if not may_ask(fd):
        raise PermissionError(
            errno.EPERM, "only its owner, who may write it, and root may ask mincore(2)"
        )
    pages = 0
    for first, count in windows(size, page_size):
        room = bytearray(count)
        status = lib.pm_file_resident(
            fd, first, count, page_size, ffi.from_buffer("unsigned char[]", room)
        )
        if status:
            raise OSError(-status, os.strerror(-status), "mincore")
        pages += sum(room)
    return pages * page_size


def windows(size: int, page_size: int) -> Iterator[tuple[int, int]]:
    """The pages of a file, some at a time: the first, and how many."""
    last = -(-size // page_size)
    for first in range(0, last, WINDOW):
        yield first, min(WINDOW, last - first)


def cache_frames(fd: int, page_size: int) -> array[int]:
    """The page frames of a file that are in the page cache, ascending by their place in it.

    The pages are mapped into this process, some at a time, which neither reads the file nor marks
    them as used (from Linux 6.3 on).

    Args:
        fd: an open descriptor of a regular file.
        page_size: in bytes.

    Raises:
        OSError: the file can't be mapped, or this kernel can't (before Linux 5.14).
    """
    found = array("Q")
    pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for first, count in windows(os.fstat(fd).st_size, page_size):
            room = array("Q", bytes(8 * count))
            status = lib.pm_file_entries(
                fd, pagemap, first, count, page_size, ffi.from_buffer("uint64_t[]", room)
            )
            if status:
                raise OSError(-status, os.strerror(-status), "mmap")
            found.extend(entry & FRAME for entry in room if entry & PRESENT)
    finally:
        os.close(pagemap)
    return found
