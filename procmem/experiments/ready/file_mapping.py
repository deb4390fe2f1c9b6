"""Mapped files: when they are read, who sees what is written, and what is beyond their end."""

from __future__ import annotations

import os

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.backing import (
    disk_file,
    keep_in_memory,
    memory_file,
    pages_in_memory,
)
from procmem.experiments.specimen.specimen import Specimen

__all__ = ["file_mapping"]


@experiment(
    "file-mapping",
    "Mapping a file",
    "When is a mapped file read, and who sees what I write to it?",
)
def file_mapping(tell: Teller, *, pages: int = 64) -> None:
    """Maps a file in memory and a file on a disk, shared and private, and beyond the end.

    Args:
        pages: of each file.
    """
    if not 2 <= pages <= 1 << 15:
        raise BadArgument(f"pages must be 2 to 32,768, not {pages}")
    with Specimen() as s:
        unit = s.space.rules.page_size
        with memory_file(pages, unit) as fd:
            in_memory(tell, s, fd, pages)
        try:
            with disk_file(pages, unit) as fd:
                on_disk(tell, s, fd, pages)
        except Unsupported as error:
            tell.impossible("the same with a file on a disk", str(error))


def in_memory(tell: Teller, s: Specimen, fd: int, pages: int) -> None:
    unit = s.space.rules.page_size

    def byte() -> int:
        return os.pread(fd, 1, 0)[0]

    shared = tell.mapping(
        f"map a file of {pages} pages, shared",
        s.mmap(pages=pages, file=fd, shared=True),
        "The file is a memfd: its data is in memory, as in a tmpfs. Mapping it reads nothing.",
    )
    tell.step(
        "read one byte of it",
        s.read(shared, pages=1),
        "One fault maps up to 16 pages that are in memory already, for later reads.",
    )
    tell.step(
        "write to page 0, shared",
        s.touch(shared, pages=1, value=200),
        "The page is mapped since the read; for a file in memory it is mapped writable: no fault.",
    )
    tell.claim(
        "read() of the file sees the write", 200, byte(), "At once, since it is the same page."
    )
    private = tell.mapping("map it privately", s.mmap(pages=pages, file=fd))
    tell.step(
        "write to page 0, privately",
        s.touch(private, pages=1, value=100),
        "From now on this page is anonymous: this mapping no longer shows the file's page.",
    )
    tell.claim(
        "the file stays as it was",
        200,
        byte(),
        "A write to a private mapping is visible only there.",
    )
    longer = tell.mapping(
        "map one page more than the file has",
        s.mmap(pages=pages + 1, file=fd, prot="r"),
        "mmap accepts that: the region may be longer than the file.",
    )
    tell.step(
        "read beyond the end of the file",
        s.read(longer, start=pages),
        "There is a region, so it is not SIGSEGV; but the file has no such page: SIGBUS. The"
        " pages that were mapped along are before the end.",
    )
    for area, name in ((longer, "longer"), (private, "private"), (shared, "shared")):
        tell.step(f"unmap the {name} mapping", s.munmap(area))
    tell.bytes(
        "the file's size after all this", pages * unit, os.fstat(fd).st_size,
        "No write through a mapping makes a file longer.",
    )  # fmt: skip


def on_disk(tell: Teller, s: Specimen, fd: int, pages: int) -> None:
    unit = s.space.rules.page_size
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if left := pages_in_memory(fd, pages * unit):
        tell.impossible(
            "read a file that is not in memory",
            f"{left} of {pages} pages could not be evicted from the page cache",
        )
    else:
        cold = tell.mapping(
            "map a file on a disk that isn't in memory",
            s.mmap(pages=pages, file=fd, prot="r", warm=False),
        )
        tell.step(
            "madvise: it will be read in random order",
            s.madvise(cold, "random"),
            "MADV_RANDOM turns readahead off; otherwise one fault would bring in many pages.",
        )
        tell.step(
            f"read all {pages} pages",
            s.read(cold),
            "A major fault waits for the disk; a minor fault does not.",
        )
        tell.step("unmap it", s.munmap(cold), "The file stays in the page cache.")
    warm = tell.mapping(
        "map it again, now that it is in memory",
        s.mmap(pages=pages, file=fd, shared=True),
    )
    with keep_in_memory(fd, pages * unit):
        read = s.read(warm)
    tell.step(f"read all {pages} pages", read, "No major fault, and few minor ones.")
    tell.step(
        "write to one of them",
        s.touch(warm, pages=1, value=50),
        "The kernel will have to write this page back.",
    )
    tell.claim("read() of the file sees the write", 50, os.pread(fd, 1, 0)[0])
    tell.step("unmap it", s.munmap(warm))
