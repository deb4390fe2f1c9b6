"""What the model must know of a file that is mapped: its pages, and which are in memory."""

from __future__ import annotations

import errno
import os
from typing import Literal

from procmem.errors import BadArgument
from procmem.experiments.vmas import Cache
from procmem.procfs.files import ProcessFiles

__all__ = ["describe"]

Kind = Literal["shmem", "file", "hugetlb"]

PIECE = 1 << 20

_known: dict[tuple[int, int], Cache] = {}


def describe(path: str, page_size: int, warm: bool) -> tuple[Cache, Kind, str | None]:
    """Its page cache, the kind of its file system, and why faults on it can't be predicted.

    With `warm` it is read into the page cache first, else dropped from there.

    Raises:
        BadArgument: no regular file.
        OSError
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        about = os.fstat(fd)
        if not os.path.isfile(path):
            raise BadArgument(f"{path}: only regular files can be mapped here")
        kind = kind_of(fd, about.st_dev)
        pages = -(-about.st_size // page_size)
        cache = _known.setdefault((about.st_dev, about.st_ino), Cache(pages))
        cache.pages = pages
        if kind == "hugetlb":
            return cache, kind, None
        if kind == "shmem":
            cache.held = allocated(fd, about.st_size, page_size)
            return cache, kind, None
        if warm:
            while os.read(fd, PIECE):
                pass
            cache.held = (1 << pages) - 1
            return cache, kind, None
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        cache.held = 0
        return cache, kind, None
    finally:
        os.close(fd)


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
