"""Resident and swapped bytes of every region, from the page table and not from smaps."""

from __future__ import annotations

import errno

from procmem import native
from procmem.native import ffi, lib
from procmem.procfs import probes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Residency", "measure_residency"]


class Residency:
    """What reading the page table showed besides the figures of the regions.

    Attributes:
        source: "PAGEMAP_SCAN" or "pagemap".
        stray: bytes that were populated outside of every region: the process
            has mapped memory since its regions were read.
    """

    __slots__ = ("source", "stray")

    def __init__(self, source: str, stray: int) -> None:
        self.source = source
        self.stray = stray


def measure_residency(
    pagemap_fd: int,
    scan: native.Scan,
    page_size: int,
    is_hugetlb: Callable[[int], bool | None],
    is_shmem: Callable[[int], bool],
) -> Residency:
    """Fills the records of a scan of maps (mode RESIDENT) from an open pagemap.

    Kernels from 6.7 on answer PAGEMAP_SCAN; elsewhere eight bytes are read for
    each page of the address space, where neither the zero page nor hugetlbfs,
    which Rss leaves out, can be distinguished from other pages.

    Args:
        pagemap_fd: an open /proc/PID/pagemap.
        scan: the finished scan, its regions in order.
        page_size: in bytes.
        is_hugetlb: asked about a record of a file that maps huge pages: whether they
            are of hugetlbfs, which Rss leaves out. None: not known.
        is_shmem: asked, with a device as maps has it (major << 32 | minor), whether its
            files live in memory, and so in swap.

    Raises:
        OSError

    Source: Documentation/admin-guide/mm/pagemap.rst.
    """
    info = ffi.new("pm_residency *")
    records = (scan.words, scan.count, scan.stride, native.HEADER_WORDS)
    status = -errno.ENOTTY
    if probes.has_pagemap_scan():
        status = lib.pm_residency_scan(pagemap_fd, *records, info)
    source = "PAGEMAP_SCAN"
    if status == -errno.ENOTTY:
        source = "pagemap"
        status = lib.pm_residency_read(pagemap_fd, *records, page_size, info)
    if status:
        raise OSError(-status, "the page table can't be read", "pagemap")
    if info.huge:
        leave_out_hugetlb(scan, is_hugetlb)
    if lib.pm_total_swap():
        forget_swap_of_shmem(scan, is_shmem)
    return Residency(source, int(info.stray))


def leave_out_hugetlb(scan: native.Scan, is_hugetlb: Callable[[int], bool | None]) -> None:
    inodes = scan.column(native.INODE)
    for record, huge in enumerate(scan.column(native.HUGE)):
        if huge and inodes[record]:
            answer = is_hugetlb(record)
            if answer is not False:
                swap = scan.residency(record)[1]
                scan.set_residency(record, 0 if answer else None, swap)


def forget_swap_of_shmem(scan: native.Scan, is_shmem: Callable[[int], bool]) -> None:
    """The page table has no entry for a page of shared memory that is swapped out."""
    inodes = scan.column(native.INODE)
    asked: dict[int, bool] = {}
    for record, dev in enumerate(scan.column(native.DEV)):
        # Only file systems without a disk have the major number 0.
        if dev >> 32 or not inodes[record]:
            continue
        if dev not in asked:
            asked[dev] = is_shmem(dev)
        if asked[dev]:
            scan.set_residency(record, scan.residency(record)[0], None)
