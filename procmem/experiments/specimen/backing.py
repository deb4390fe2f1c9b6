"""Files that are mapped: how many pages they have, and which are in the page cache."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from contextlib import contextmanager
from typing import Literal

from procmem.calls import mmap
from procmem.errors import BadArgument, SyscallError, Unsupported
from procmem.experiments.model.vmas import Cache
from procmem.procfs.files import ProcessFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "describe", "disk_directory", "disk_file", "keep_in_memory", "memory_file", "pages_in_memory",
]  # fmt: skip

Kind = Literal["shmem", "file", "hugetlb"]

PIECE = 1 << 20
LONGEST = 64 << 20
"""The largest file, in bytes, that is read page by page."""

ELSEWHERE = "pages of this file are mapped elsewhere, and may be in folios of any size"

_known: dict[tuple[int, int], Cache] = {}


def describe(path: str, page_size: int, warm: bool) -> tuple[Cache, Kind, str | None]:
    """A file's page cache, the kind of its file system, and why faults on it can't be predicted.

    A file on a disk is dropped from the page cache, and with `warm` read in again page by page:
    a fault maps a large folio (a group of pages) as a whole, and only root can find out which
    pages form a folio.

    Raises:
        BadArgument: it is not a regular file.
        SyscallError: it can't be opened.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SyscallError("openat", error.errno or 0, path) from error
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise BadArgument(f"{path} is not a regular file, and can't be mapped here")
        kind = kind_of(fd, about.st_dev)
        pages = -(-about.st_size // page_size)
        cache = _known.setdefault((about.st_dev, about.st_ino), Cache(pages))
        cache.pages = pages
        if kind == "shmem":
            cache.held = allocated(fd, about.st_size, page_size)
            return cache, kind, None
        if kind == "hugetlb" or not pages:
            return cache, kind, None
        if warm:
            cache.doubt = read_by_pages(fd, about.st_size, page_size, cache)
            cache.held = (1 << pages) - 1
            return cache, kind, cache.doubt
        cache.held = drop(fd, about.st_size)
        return cache, kind, ELSEWHERE if cache.held else None
    finally:
        os.close(fd)


def read_by_pages(fd: int, size: int, page_size: int, cache: Cache) -> str | None:
    """Reads a file into the page cache page by page; why it may have larger folios there.

    Data that is written or read in large pieces gets large folios, and a fault maps more of these
    than of single pages (filemap_map_pages() and finish_fault()).
    """
    # Pages that stay are mapped: by a specimen, since an earlier call here, or by others.
    left = drop(fd, size, once=cache.single)
    if cache.single:
        left = 0
    if size > LONGEST:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
        while os.read(fd, PIECE):
            pass
        return f"files above {LONGEST >> 20} MiB are in memory in folios of unknown sizes"
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for at in range(0, size, page_size):
        os.pread(fd, 1, at)
    cache.single = not left
    return ELSEWHERE if left else None


def drop(fd: int, size: int, *, once: bool = False) -> int:
    """Drops a file from the page cache; bit n of the result: page n stays.

    A page that is being written back, or is on another CPU's list, stays the first time: so it is
    tried several times.
    """
    for delay in (0, 0) if once else (0, 0, 0.001, 0.01, 0.05):
        time.sleep(delay)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        left = held_pages(fd, size)
        if not left:
            break
    return left


def kind_of(fd: int, dev: int) -> Kind:
    """The kind of a file system, which decides how its pages are counted and written."""
    from procmem.process.reading import file_systems

    if os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:"):
        return "shmem"
    name = file_systems(ProcessFiles(os.getpid())).get(dev, "")
    if name in ("tmpfs", "devtmpfs", "ramfs"):
        return "shmem"
    return "hugetlb" if name == "hugetlbfs" else "file"


def allocated(fd: int, size: int, page_size: int) -> int:
    """The pages of a file in memory that are not holes, as bits."""
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
    """A descriptor of a file in memory (memfd_create(2)), whose pages begin with their numbers.

    A number is one byte; page 0 has 1.
    """
    fd = os.memfd_create("procmem-experiment")
    try:
        fill(fd, pages, page_size)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def disk_file(pages: int, page_size: int) -> Iterator[int]:
    """The same for a file on a disk, which is written there.

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
    """A directory for temporary files that is not in memory.

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
    raise Unsupported("a file on a disk", f"none can be created in {', '.join(tried)}; set TMPDIR")


def pages_in_memory(fd: int, length: int) -> int:
    """How many pages of a file are in the page cache.

    Raises:
        SyscallError
    """
    return held_pages(fd, length).bit_count()


def held_pages(fd: int, length: int) -> int:
    """The pages of a file that are in the page cache, as bits, by mincore(2)."""
    with mmap(length, file=fd, prot="r", shared=True) as mapping:
        return sum(present << page for page, present in enumerate(mapping.mincore()))


@contextmanager
def keep_in_memory(fd: int, length: int) -> Iterator[bool]:
    """Brings a file into the page cache and keeps it there, by mlock(2); whether it is kept.

    The kernel may take clean pages back at any time, however much memory is free (DAMON does),
    and a fault on such a page is a major one. RLIMIT_MEMLOCK limits how much can be kept.
    """
    with mmap(length, file=fd, prot="r", shared=True) as mapping:
        try:
            mapping.lock()
        except SyscallError:
            yield False
        else:
            yield True
