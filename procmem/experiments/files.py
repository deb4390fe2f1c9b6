"""What the model must know of a file that is mapped: its pages, and which are in memory."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.vmas import Cache
from procmem.procfs.files import ProcessFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["describe", "disk_directory", "disk_file", "memory_file", "pages_in_memory"]

Kind = Literal["shmem", "file", "hugetlb"]

PIECE = 1 << 20
LONGEST = 64 << 20
"""Bytes of a file that are read page by page."""

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
            cache.doubt = read_by_pages(fd, about.st_size, page_size, cache)
            cache.held = (1 << pages) - 1
            return cache, kind, cache.doubt
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        cache.held = 0
        return cache, kind, None
    finally:
        os.close(fd)


def read_by_pages(fd: int, size: int, page_size: int, cache: Cache) -> str | None:
    """Brings a file into the page cache in single pages; why it may lie there in larger folios.

    What is written or read in large pieces lies in large folios, and a fault maps more of these
    than of single pages (filemap_map_pages() and finish_fault()).
    """
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    # What stays is mapped: by a specimen, from an earlier call here, or by others.
    left = 0 if cache.single or not size else pages_in_memory(fd, size)
    if size > LONGEST:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
        while os.read(fd, PIECE):
            pass
        return f"files above {LONGEST >> 20} MiB lie in memory in folios of unknown sizes"
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for at in range(0, size, page_size):
        os.pread(fd, 1, at)
    cache.single = not left
    return (
        f"{left:,} of its pages were mapped elsewhere, and may lie in folios of any size"
        if left
        else None
    )


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


# ---- files to experiment with: none has a name, so none can be left behind ----------


@contextmanager
def memory_file(pages: int, page_size: int) -> Iterator[int]:
    """A descriptor of a file in memory (memfd_create(2)), each page beginning with its number.

    The numbers are one byte; page 0 has 1.
    """
    fd = os.memfd_create("procmem-experiment")
    try:
        fill(fd, pages, page_size)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def disk_file(pages: int, page_size: int) -> Iterator[int]:
    """The same on a disk, written there.

    Raises:
        Unsupported: no directory on a disk can be written to.
    """
    with tempfile.TemporaryFile(dir=disk_directory()) as file:
        fill(file.fileno(), pages, page_size)
        os.fsync(file.fileno())
        yield file.fileno()


def fill(fd: int, pages: int, page_size: int) -> None:
    for number in range(pages):
        os.write(fd, bytes([number % 255 + 1]).ljust(page_size, b"."))


def disk_directory() -> str:
    """A directory for temporary files that isn't in memory.

    Raises:
        Unsupported
    """
    tried = []
    for place in dict.fromkeys((tempfile.gettempdir(), "/var/tmp", os.getcwd())):  # noqa: S108
        try:
            with tempfile.TemporaryFile(dir=place) as file:
                about = os.fstat(file.fileno())
                if kind_of(file.fileno(), about.st_dev) == "file":
                    return place
        except OSError:
            pass
        tried.append(place)
    raise Unsupported("a file on a disk", f"none can be made in {', '.join(tried)}; set TMPDIR")


def pages_in_memory(fd: int, length: int) -> int:
    """How many pages of a file the page cache holds, as mincore(2) tells without loading any.

    Raises:
        OSError
    """
    import ctypes
    import mmap

    count = -(-length // mmap.PAGESIZE)
    vector = (ctypes.c_ubyte * count)()
    with mmap.mmap(fd, length, mmap.MAP_PRIVATE) as mapped:
        at = ctypes.c_char.from_buffer(mapped)
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.mincore(
            ctypes.c_void_p(ctypes.addressof(at)), ctypes.c_size_t(length), vector
        )
        del at  # or else the mapping can't be closed
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "mincore")
    return sum(one & 1 for one in vector)
