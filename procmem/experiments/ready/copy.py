"""Copying a file: read and write, mappings, or leave it to the kernel. Timed fairly."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import tempfile
import time
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.backing import (
    disk_directory,
    keep_in_memory,
    pages_in_memory,
)
from procmem.experiments.specimen.specimen import Specimen
from procmem.units import size as size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Copier = Callable[[int, int, int], None]

__all__ = ["copy"]

PIECE = 1 << 20


class Took(NamedTuple):
    """One copy: seconds, and this thread's page faults."""

    seconds: float
    minor: int
    major: int


@experiment(
    "copy",
    "Copying a file",
    "Is a file copied faster through a mapping than with read and write?",
    quick={"size": 4 << 20},
)
def copy(tell: Teller, *, size: int = 32 << 20, rounds: int = 7) -> None:
    """Copies a file in several ways, in and out of the page cache, and reports median times.

    Args:
        size: of the file in bytes.
        rounds: copies in each way, in turns; 7 or more, so that the median is meaningful.
    """
    if not 0 < size <= 1 << 32 or not 0 < rounds <= 1000:
        raise BadArgument("size must be 1 byte to 4 GiB, rounds 1 to 1,000")
    place = disk_directory()
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:
        source = file.fileno()
        write_source(source, size)
        in_a_specimen(tell, source, size, place)
        for cold in (False, True):
            timed(tell, source, size, rounds, place, cold=cold)


def write_source(fd: int, size: int) -> None:
    """Random bytes, which no file system stores as holes; on the disk when this returns."""
    left = size
    while left:
        left -= os.write(fd, os.urandom(min(PIECE, left)))
    os.fsync(fd)


def in_a_specimen(tell: Teller, source: int, size: int, place: str) -> None:
    """What a copy through two mappings does to a process's figures."""
    with Specimen() as s, destination(place) as target:
        os.ftruncate(target, size)
        rounded = size_text(size)
        theirs = tell.mapping(
            f"map the source, {rounded}, to read", s.mmap(size, prot="r", file=source)
        )
        ours = tell.mapping(
            f"map the destination, {rounded}, shared", s.mmap(size, shared=True, file=target)
        )
        with keep_in_memory(source, size), keep_in_memory(target, size):
            read, written = s.read(theirs), s.touch(ours)
        tell.step("read the source", read)
        tell.step(
            "write the destination",
            written,
            "RSS counts the pages of both files. They are those of the page cache: the process has"
            " no copies of its own.",
        )
        tell.step("unmap the destination", s.munmap(ours))
        tell.step("unmap the source", s.munmap(theirs))


def timed(tell: Teller, source: int, size: int, rounds: int, place: str, *, cold: bool) -> None:
    what = "not in memory" if cold else "in memory"
    if cold and (left := evict(source, size)):
        tell.impossible(
            "copy a file that is not in memory",
            f"{left:,} of its pages could not be evicted from the page cache",
        )
        return
    took: dict[str, list[Took]] = {name: [] for name in WAYS}
    same = dict.fromkeys(WAYS, 0)
    refused: dict[str, str] = {}
    names = list(WAYS)
    for number in range(rounds):
        # In turns, each of them first once: a slow moment of the machine affects all alike.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if name in refused:
                continue
            if cold and (left := evict(source, size)):
                raise Unsupported(
                    "a file that is not in the page cache", f"{left:,} pages came back in between"
                )
            if not cold:
                warm(source, size)
            with destination(place) as target:
                try:
                    took[name].append(measure(WAYS[name], source, target, size))
                except OSError as error:
                    if error.errno not in NOT_HERE:
                        raise
                    refused[name] = error.strerror or str(error)
                    continue
                same[name] += identical(source, target, size)
    for name in names:
        label = f"{name}, {what}: identical copies"
        if name in refused:
            tell.impossible(label, refused[name])
        else:
            tell.claim(label, rounds, same[name])
    fastest = min(median(t.seconds for t in found) for found in took.values() if found)
    tell.table(
        f"{size_text(size)}, source {what}: median of {rounds}, reported only",
        ("way", "ms", "of the fastest", "least", "most", "minor", "major"),
        [
            (
                name,
                1e3 * median(one.seconds for one in found),
                median(one.seconds for one in found) / fastest,
                1e3 * min(one.seconds for one in found),
                1e3 * max(one.seconds for one in found),
                int(median(one.minor for one in found)),
                int(median(one.major for one in found)),
            )
            for name, found in took.items()
            if found
        ],
        "The destination is a new file each time, and is not synced to the disk. "
        + (
            "The source was evicted from memory before each copy, as mincore(2) confirmed."
            if cold
            else "The source was read before each copy."
        ),
    )


def evict(fd: int, size: int) -> int:
    """Drops a file from the page cache; how many pages are left."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return pages_in_memory(fd, size)


def warm(fd: int, size: int) -> None:
    for at in range(0, size, PIECE):
        os.pread(fd, PIECE, at)


@contextmanager
def destination(place: str) -> Iterator[int]:
    """A new file without a name."""
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:
        yield file.fileno()


def measure(way: Copier, source: int, target: int, size: int) -> Took:
    os.lseek(source, 0, os.SEEK_SET)
    before = resource.getrusage(resource.RUSAGE_THREAD)
    begun = time.perf_counter()
    way(source, target, size)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_THREAD)
    return Took(seconds, after.ru_minflt - before.ru_minflt, after.ru_majflt - before.ru_majflt)


def identical(source: int, target: int, size: int) -> bool:
    return os.fstat(target).st_size == size and all(
        os.pread(source, PIECE, at) == os.pread(target, PIECE, at) for at in range(0, size, PIECE)
    )


# ---- the ways ----------------------------------------------------------------------


def through_buffer(length: int) -> Copier:
    def way(source: int, target: int, _size: int) -> None:
        buffer = memoryview(bytearray(length))
        while got := os.readv(source, [buffer]):
            write_all(target, buffer[:got])

    return way


def write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def map_and_write(source: int, target: int, size: int) -> None:
    with (
        mmap.mmap(source, size, mmap.MAP_SHARED, mmap.PROT_READ) as mapped,
        memoryview(mapped) as view,
    ):
        write_all(target, view)


def map_both(source: int, target: int, size: int) -> None:
    os.ftruncate(target, size)
    with (
        mmap.mmap(source, size, mmap.MAP_SHARED, mmap.PROT_READ) as theirs,
        mmap.mmap(target, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as ours,
        memoryview(theirs) as from_,
        memoryview(ours) as to,
    ):
        to[:] = from_


def send(source: int, target: int, size: int) -> None:
    left = size
    while left and (sent := os.sendfile(target, source, None, left)):
        left -= sent


def by_the_kernel(source: int, target: int, size: int) -> None:
    left = size
    while left and (done := os.copy_file_range(source, target, left)):
        left -= done


WAYS: dict[str, Copier] = {
    "read, write 4 KiB": through_buffer(4 << 10),
    "read, write 64 KiB": through_buffer(64 << 10),
    "read, write 1 MiB": through_buffer(1 << 20),
    "mmap, write": map_and_write,
    "mmap both, memcpy": map_both,
    "sendfile": send,
    "copy_file_range": by_the_kernel,
}

NOT_HERE = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL)
"""Errors of a kernel or file system that can't copy in this way."""
