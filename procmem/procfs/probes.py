"""What this kernel supports, found out by trying it. Answers are cached."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from functools import cache

from procmem.native import ffi, lib
from procmem.procfs.text import parse_statm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "averages_map_counts",
    "can_read",
    "counters_lag",
    "has_cachestat",
    "has_pagemap_scan",
    "has_procmap_query",
    "has_soft_dirty",
    "ptrace_scope",
    "rss_bound",
    "rss_error",
    "shows_guard_pages",
    "shows_page_frames",
    "zero_frame",
]


@cache
def counters_lag() -> bool:
    """Whether VmRSS of this kernel lags behind what the page table holds.

    Before Linux 6.2 each thread counts its pages by itself, up to 64 page faults long, each of
    which may map 16 pages of a file; from then until the middle of 2025 each CPU does, up to a
    batch. So a few pages are touched: they show at once, or not. Several times, since what was
    held back before may show just then.
    """
    pages = 8
    page_size = os.sysconf("SC_PAGESIZE")

    def resident() -> int:
        with open("/proc/self/statm", "rb", buffering=0) as statm:
            return parse_statm(statm.read()).resident

    def shows() -> bool:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        with mmap.mmap(-1, pages * page_size, flags=flags) as memory:
            before = resident()
            for page in range(pages):
                memory[page * page_size] = 1
            return resident() - before >= pages

    return not all(shows() for _ in range(4))


THREAD_BATCH = 64
"""TASK_RSS_EVENTS_THRESH (mm/memory.c, before Linux 6.2): page faults that a thread counts by
itself."""

FAULT_AROUND = 64 << 10
"""fault_around_bytes: what one fault on a file maps at most, unless it is set otherwise."""

COUNTERS = 3
"""RssAnon, RssFile and RssShmem, which VmRSS adds up."""


def rss_error(threads: int) -> int:
    """Bytes by which VmRSS, its parts, VmSwap and statm may be off here; 0: they are exact.

    What holds for both ways of counting that lag; see counters_lag(). Batches of CPUs: max(32,
    2 * CPUs) pages (lib/percpu_counter.c), of each counter.

    Args:
        threads: of the process.
    """
    return rss_bound(threads) if counters_lag() else 0


def rss_bound(threads: int) -> int:
    """Bytes by which counters may be off where they lag."""
    cpus = os.cpu_count() or 1
    page_size = os.sysconf("SC_PAGESIZE")
    by_threads = (THREAD_BATCH + 1) * max(page_size, FAULT_AROUND) * threads
    return max(by_threads, COUNTERS * max(32, 2 * cpus) * cpus * page_size)


@cache
def has_procmap_query() -> bool:
    """Whether /proc/PID/maps answers PROCMAP_QUERY (Linux 6.11)."""
    fd = os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC)
    try:
        vma = ffi.new("pm_vma *")
        return bool(lib.pm_query_vma(fd, 0, 1, ffi.NULL, vma) == 0)
    finally:
        os.close(fd)


@cache
def has_pagemap_scan() -> bool:
    """Whether /proc/PID/pagemap answers PAGEMAP_SCAN (Linux 6.7)."""
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # One empty record below every mapping: nothing to count, but an answer.
        words = ffi.new("uint64_t[]", [0, 4096] + [0] * (lib.PM_HEADER_WORDS + 1))
        info = ffi.new("pm_residency *")
        stride = len(words)
        status = lib.pm_residency_scan(fd, words, 1, stride, lib.PM_HEADER_WORDS - 1, info)
        return bool(status != -errno.ENOTTY)
    finally:
        os.close(fd)


@cache
def has_cachestat() -> bool:
    """Whether cachestat(2) is there (Linux 6.5), and not forbidden by a seccomp(2) filter."""
    fd = os.memfd_create("probe", os.MFD_CLOEXEC)
    try:
        return bool(lib.pm_cachestat(fd, 0, 0, ffi.new("pm_cached *")) == 0)
    finally:
        os.close(fd)


@cache
def shows_page_frames() -> bool:
    """Whether pagemap shows page frame numbers (CAP_SYS_ADMIN)."""
    return bool(entry_of_a_page(written) & FRAME)


@cache
def zero_frame() -> int:
    """The frame of the zero page, which is mapped when untouched memory is read; 0 if not shown."""
    return entry_of_a_page(looked_at) & FRAME


@cache
def has_soft_dirty() -> bool:
    """Whether this kernel keeps soft-dirty bits (CONFIG_MEM_SOFT_DIRTY): else they read 0."""
    return bool(entry_of_a_page(written) & 1 << 55)


@cache
def shows_guard_pages() -> bool:
    """Whether pagemap shows guard pages (Linux 6.15), those of MADV_GUARD_INSTALL."""
    return bool(entry_of_a_page(guarded) & 1 << 58)


@cache
def averages_map_counts() -> bool | None:
    """Whether kpagecount has one rounded average for all pages of a large folio.

    Kernels that are built with CONFIG_NO_PAGE_MAPCOUNT (Linux 6.15) do not count how often each
    of these pages is mapped. None: the kernel's configuration can't be read.

    Source: Documentation/admin-guide/mm/pagemap.rst.
    """
    for path in ("/proc/config.gz", f"/boot/config-{os.uname().release}"):
        try:
            with open(path, "rb") as file:
                data = file.read()
            if path.endswith(".gz"):
                import gzip

                data = gzip.decompress(data)
        except (OSError, EOFError):
            continue
        return has_averages(data)
    return None


def has_averages(config: bytes) -> bool:
    r"""The answer of averages_map_counts() by the text of a kernel's configuration.

    >>> has_averages(b"CONFIG_MMU=y\nCONFIG_NO_PAGE_MAPCOUNT=y\n")
    True
    >>> has_averages(b"# CONFIG_NO_PAGE_MAPCOUNT is not set\nCONFIG_PAGE_MAPCOUNT=y\n")
    False
    """
    return b"CONFIG_NO_PAGE_MAPCOUNT=y" in config.split(b"\n")


FRAME = (1 << 55) - 1
GUARD_INSTALL = 102
"""MADV_GUARD_INSTALL (include/uapi/asm-generic/mman-common.h)."""


def written(memory: mmap.mmap) -> None:
    memory[0] = 1


def looked_at(memory: mmap.mmap) -> None:
    memory[0]


def guarded(memory: mmap.mmap) -> None:
    memory.madvise(GUARD_INSTALL)


def entry_of_a_page(prepare: Callable[[mmap.mmap], None]) -> int:
    """The pagemap entry of a new page of this process; 0 if it can't be read."""
    page_size = os.sysconf("SC_PAGESIZE")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        with mmap.mmap(-1, page_size, flags=flags) as memory:
            prepare(memory)
            address = int(ffi.cast("uintptr_t", ffi.from_buffer(memory)))
            return int.from_bytes(os.pread(fd, 8, address // page_size * 8), sys.byteorder)
    except OSError:
        return 0
    finally:
        os.close(fd)


def can_read(path: str) -> str:
    """An empty string if the file can be opened for reading, else the reason why not."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def ptrace_scope() -> str | None:
    """The Yama setting (Documentation/admin-guide/LSM/Yama.rst); None without Yama."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as setting:
            return setting.read().strip()
    except OSError:
        return None
