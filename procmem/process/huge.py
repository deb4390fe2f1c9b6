"""Transparent huge pages of a process, and how much of them is zeros."""

from __future__ import annotations

from typing import NamedTuple

from procmem.pages.scan import IS_HUGE, IS_ZERO, scan_ranges
from procmem.process.reading import read_maps
from procmem.procfs.mapped import read_memory
from procmem.regions.region import PAGE_SIZE

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.procfs import ProcessFiles

__all__ = ["HugeRegion", "huge_regions"]

PIECE = 2 << 20
"""Bytes that are read at once."""

ZEROS = bytes(PAGE_SIZE)


class HugeRegion(NamedTuple):
    """A region of anonymous memory that has transparent huge pages. Sizes are bytes.

    Attributes:
        start, end: of the region.
        huge: what huge pages map of it.
        zeros: of that, pages of the usual size that contain nothing but zeros. Without huge
            pages, those that were never written would not be in memory: RSS without them is
            what the program has used. A page that the program has filled with zeros is among them.
    """

    start: int
    end: int
    huge: int
    zeros: int


def huge_regions(files: ProcessFiles) -> list[HugeRegion]:
    """The anonymous regions of a process that have huge pages; see Process.huge_pages()."""
    from procmem.errors import AccessDenied, Unsupported

    regions = [region for region in read_maps(files) if not region.inode and region.end < 1 << 63]
    found = []
    with files.memory("pagemap", beside_maps=True) as pagemap:
        for region in regions:
            # The huge page of zeros, which is mapped where memory was only read, is in no RSS.
            ranges = scan_ranges(pagemap.fd, region.start, region.end, IS_HUGE, without=IS_ZERO)
            if ranges is None:
                raise Unsupported(
                    "PAGEMAP_SCAN", "this kernel does not show where huge pages are (Linux 6.7)"
                )
            huge = zeros = 0
            for start, end, categories in ranges:
                if not categories & IS_HUGE:
                    continue
                huge += end - start
                for at in range(start, end, PIECE):
                    data = read_memory(files, at, min(PIECE, end - at))
                    if not data:
                        pagemap.check()
                        raise AccessDenied(
                            files.pid,
                            f"{files.path}/mem can't be read: it needs the rights of ptrace(2)",
                        )
                    zeros += zero_bytes(data)
            if huge:
                found.append(HugeRegion(region.start, region.end, huge, zeros))
        pagemap.check()
    return found


def zero_bytes(data: bytes) -> int:
    """The bytes of whole pages that contain nothing but zeros."""
    if data.count(0) == len(data):
        return len(data) // PAGE_SIZE * PAGE_SIZE
    return sum(
        PAGE_SIZE
        for at in range(0, len(data) - PAGE_SIZE + 1, PAGE_SIZE)
        if data[at : at + PAGE_SIZE] == ZEROS
    )
