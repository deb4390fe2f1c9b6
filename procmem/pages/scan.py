"""PAGEMAP_SCAN: which pages of a range are in some categories, as ranges."""

from __future__ import annotations

import errno
import fcntl
import os
from array import array
from functools import cache
from struct import Struct

from procmem.procfs import probes

__all__ = [
    "IS_FILE",
    "IS_GUARD",
    "IS_HUGE",
    "IS_PRESENT",
    "IS_SOFT_DIRTY",
    "IS_SWAPPED",
    "IS_ZERO",
    "Range",
    "scan_ranges",
    "take_written",
    "user_limit",
]

Range = tuple[int, int, int]
"""Start, end and categories of consecutive pages."""

SCAN_PAGES = 3 << 30 | 96 << 16 | ord("f") << 8 | 16
"""PAGEMAP_SCAN: _IOWR('f', 16, struct pm_scan_arg) (include/uapi/linux/fs.h)."""

SCAN = Struct("=12Q")
RANGES = 1024

IS_FILE, IS_PRESENT, IS_SWAPPED, IS_ZERO = 1 << 2, 1 << 3, 1 << 4, 1 << 5
IS_HUGE, IS_SOFT_DIRTY, IS_GUARD = 1 << 6, 1 << 7, 1 << 8
IS_WRITTEN = 1 << 1
PROTECT_WHAT_MATCHES, FAIL_WITHOUT_ASYNC = 1 << 0, 1 << 1
"""PM_SCAN_WP_MATCHING, PM_SCAN_CHECK_WPASYNC."""

_knows_guards = True


@cache
def user_limit() -> int:
    """Where the user's half of the address space ends: PAGEMAP_SCAN refuses addresses above it.

    1 << 63 where there is no PAGEMAP_SCAN: pagemap itself just ends there.
    """
    if not probes.has_pagemap_scan():
        return 1 << 63
    page_size = os.sysconf("SC_PAGESIZE")
    low, high = 0, (1 << 63) // page_size
    fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while high - low > 1:
            page = (low + high) // 2
            asked = SCAN.pack(
                SCAN.size, 0, (page - 1) * page_size, page * page_size, *[0] * 6, IS_PRESENT, 0
            )
            try:
                fcntl.ioctl(fd, SCAN_PAGES, bytearray(asked))
                low = page
            except OSError as error:
                if error.errno != errno.EFAULT:
                    raise
                high = page
    finally:
        os.close(fd)
    return low * page_size


def scan_ranges(
    fd: int, start: int, end: int, wanted: int, *, without: int = 0
) -> list[Range] | None:
    """The pages of a range that are present or swapped, by PAGEMAP_SCAN (Linux 6.7).

    Args:
        fd: an open /proc/PID/pagemap.
        start: address of the first byte, a multiple of the page size.
        end: address behind the last, likewise.
        wanted: the categories to report for each range; neighbours that are alike are joined.
        without: categories whose pages are left out.

    Returns:
        Ranges in ascending order; None: this kernel can't answer.

    Raises:
        OSError

    Source: Documentation/admin-guide/mm/pagemap.rst.
    """
    global _knows_guards  # noqa: PLW0603 - the kernel's answer holds as long as we run
    if not probes.has_pagemap_scan():
        return None
    room = array("Q", bytes(24 * RANGES))
    found: list[Range] = []
    end = min(end, user_limit())
    while start < end:
        told = wanted if _knows_guards else wanted & ~IS_GUARD
        request = bytearray(
            SCAN.pack(
                SCAN.size, 0, start, end, 0, room.buffer_info()[0], RANGES, 0,
                without, without, IS_PRESENT | IS_SWAPPED, told,
            )
        )  # fmt: skip
        try:
            got = fcntl.ioctl(fd, SCAN_PAGES, request)
        except OSError as error:
            if error.errno == errno.EINVAL and told & IS_GUARD:
                # Kernels before 6.15 know no guard pages and refuse the bit.
                _knows_guards = False
                continue
            if error.errno == errno.ENOTTY:
                return None  # a file of a saved tree
            raise
        found += zip(*(room[at : 3 * got : 3] for at in range(3)), strict=True)
        # walk_end may be stale on a finished scan: the count says whether there is more.
        if got < RANGES:
            break
        start = room[3 * got - 2]
    return found


def take_written(fd: int, start: int, end: int) -> list[tuple[int, int]]:
    """The ranges that were written since the last call.

    Only memory that its process has registered with userfaultfd(2) in mode WP_ASYNC can be asked.

    Args:
        fd: an open /proc/PID/pagemap.
        start: address of the first byte, a multiple of the page size.
        end: address behind the last, likewise.

    Raises:
        OSError: EPERM: some of it isn't registered; ENOTTY: no PAGEMAP_SCAN (Linux 6.7).

    Source: Documentation/admin-guide/mm/pagemap.rst.
    """
    room = array("Q", bytes(24 * RANGES))
    found: list[tuple[int, int]] = []
    while start < end:
        request = bytearray(
            SCAN.pack(
                SCAN.size, PROTECT_WHAT_MATCHES | FAIL_WITHOUT_ASYNC, start, end, 0,
                room.buffer_info()[0], RANGES, 0, 0, IS_WRITTEN, 0, IS_WRITTEN,
            )
        )  # fmt: skip
        got = fcntl.ioctl(fd, SCAN_PAGES, request)
        for at in range(0, 3 * got, 3):
            if found and found[-1][1] == room[at]:
                found[-1] = found[-1][0], room[at + 1]
            else:
                found.append((room[at], room[at + 1]))
        # walk_end may be stale on a finished scan: the count says whether there is more.
        if got < RANGES:
            break
        start = room[3 * got - 2]
    return found
