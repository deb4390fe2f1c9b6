"""What the model must know of a file that is mapped: its pages, and which are in memory."""

from __future__ import annotations

import errno
import os
import stat
from typing import Literal

from procmem.calls import mmap
from procmem.errors import BadArgument, SyscallError
from procmem.experiments.vmas import Cache
from procmem.procfs.files import ProcessFiles

__all__ = ["describe"]

Kind = Literal["shmem", "file", "hugetlb"]

_known: dict[tuple[int, int], Cache] = {}


def describe(path: str, page_size: int, warm: bool) -> tuple[Cache, Kind, str | None]:
    """Its page cache, the kind of its file system, and why faults on it can't be predicted.

    On a disk's file system it is dropped from the page cache, and with `warm` read in again
    page by page: a fault maps groups of pages (large folios) whole, and how they are grouped is
    told to nobody but root.

    Raises:
        BadArgument: no regular file.
        SyscallError: it can't be opened.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SyscallError("openat", error.errno or 0, path) from error
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise BadArgument(f"{path}: only regular files can be mapped here")
        kind = kind_of(fd, about.st_dev)
        pages = -(-about.st_size // page_size)
        cache = _known.setdefault((about.st_dev, about.st_ino), Cache(pages))
        cache.pages = pages
        if kind == "shmem":
            cache.held = allocated(fd, about.st_size, page_size)
        if kind != "file" or not pages:
            return cache, kind, None
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        left = held(fd, about.st_size)
        if warm:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            for page in range(pages):
                os.pread(fd, 1, page * page_size)
            cache.held = (1 << pages) - 1
        else:
            cache.held = left
        if left:
            return cache, kind, "another process maps this file, too: its pages stay as they are"
        if not warm:
            return cache, kind, None
        return cache, kind, None if held(fd, about.st_size) == cache.held else "the cache is full"
    finally:
        os.close(fd)


def held(fd: int, size: int) -> int:
    """Bit n: page n is in the page cache."""
    with mmap(size, file=fd, prot="r", shared=True) as mapping:
        found = 0
        for page, present in enumerate(mapping.mincore()):
            found |= present << page
        return found


def kind_of(fd: int, dev: int) -> Kind:
    """The file system decides how its pages are counted and whether writes are told to it."""
    from procmem.process.process import file_systems

    if os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:"):
        return "shmem"
    name = file_systems(ProcessFiles(os.getpid())).get(dev, "")
    if name in ("tmpfs", "devtmpfs", "ramfs"):
        return "shmem"
    return "hugetlb" if name == "hugetlbfs" else "file"


def allocated(fd: int, size: int, page_size: int) -> int:
    """Bit n: page n of a file in memory is no hole."""
    held = at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        at = os.lseek(fd, start, os.SEEK_HOLE)
        held |= (1 << -(-at // page_size)) - (1 << start // page_size)
    return held
