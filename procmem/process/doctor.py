"""Which features of this kernel and machine procmem can use, and what each missing one costs."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from procmem.procfs import probes
from procmem.procfs.files import system_file
from procmem.units import kib

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Feature", "doctor"]


class Feature(NamedTuple):
    """A feature of the kernel or the machine that procmem uses if it is there.

    Attributes:
        name: as in its manual page or in the kernel's documentation.
        found: whether it is there for this user.
        serves: what it is used for.
        cost: what is lost without it; empty if it was found.
        detail: what was found.
    """

    name: str
    found: bool
    serves: str
    cost: str
    detail: str


def doctor() -> list[Feature]:
    """Every feature that procmem probes for, found or not. Probing changes nothing.

    >>> all(feature.cost for feature in doctor() if not feature.found)
    True
    """
    kernel = os.uname()
    found: list[Feature] = []

    def feature(name: str, here: bool, serves: str, cost: str, detail: str = "") -> None:
        found.append(Feature(name, here, serves, "" if here else cost, detail))

    def file(path: str, serves: str, cost: str) -> None:
        reason = probes.can_read(path)
        feature(path, not reason, serves, cost, reason)

    def probed(name: str, ask: Callable[[], bool], serves: str, cost: str) -> None:
        try:
            feature(name, ask(), serves, cost)
        except OSError as error:
            # The probe could not run, which says nothing about the kernel.
            seen = f"not known: {error.filename or name}: {error.strerror}"
            feature(name, False, serves, cost, seen)

    def listed(name: str, path: str, here: bool, serves: str, cost: str) -> None:
        """A feature found in a file of the whole system, which subset=pid hides (proc(5))."""
        hidden = not os.path.exists(path)
        why = f"not known: {path} is hidden, as by subset=pid in the mount of /proc (proc(5))"
        feature(name, here, serves, why if hidden else cost)

    feature(
        "/proc",
        os.path.exists("/proc/self/maps"),
        "everything that is read of a process",
        "nothing can be read: mount -t proc proc /proc, as root (proc(5))",
    )

    file("/proc/self/smaps", "smaps(): every counter of every region", "no PSS, USS or flags")
    file(
        "/proc/self/smaps_rollup",
        "rollup(): PSS and USS of a process in one short read",
        "rollup() is unsupported; smaps() has the same sums, and takes ten times as long",
    )
    probed(
        "PROCMAP_QUERY",
        probes.has_procmap_query,
        "region_at(), true names of files with odd names",
        "region_at() reads all of maps; a \\012 in a file's name is taken for a newline",
    )
    probed(
        "PAGEMAP_SCAN",
        probes.has_pagemap_scan,
        "residency(): resident bytes without smaps; pagemap() of empty address space for nothing",
        "residency() and pagemap() read 8 bytes per page; the zero page looks like any other",
    )
    probed(
        "page frame numbers",
        probes.shows_page_frames,
        "which physical page is where: translate(), frames(), sharers()",
        "pagemap shows 0 for them: needs CAP_SYS_ADMIN",
    )
    file("/proc/kpageflags", "frames(): what each page frame is", "frames() is denied: needs root")
    file(
        "/proc/kpagecgroup",
        "container: which control group is charged for a page frame",
        "container shows no parts by process, use and file: needs root (CONFIG_MEMCG)",
    )
    probed(
        "cachestat(2)",
        probes.has_cachestat,
        "cache, container: what of a file is in the page cache, dirty, evicted",
        "mincore(2) has what is cached alone, and takes longer (before Linux 6.5)",
    )
    probed(
        "soft-dirty bits",
        probes.has_soft_dirty,
        "pagemap(): which pages were written since a moment",
        "PageMap.soft_dirty is None (CONFIG_MEM_SOFT_DIRTY)",
    )
    probed(
        "guard pages in pagemap",
        probes.shows_guard_pages,
        "pagemap(): which pages are guards",
        "PageMap.guard is None: guard pages look like swapped ones",
    )
    probed(
        "exact VmRSS",
        lambda: not probes.counters_lag(),
        "memory(), reconcile(), trace, recordings",
        f"VmRSS lags by up to {kib(probes.rss_bound(1))}, more with many threads; rollup(), "
        "smaps() and snapshots of regions are exact",
    )
    file(
        "/proc/1/maps",
        "processes of other users",
        "processes with more privileges than the reader can't be read: maps, smaps and pagemap "
        "need CAP_SYS_PTRACE",
    )
    feature(
        "/proc without hidepid",
        os.path.exists("/proc/1"),
        "processes(): all processes",
        "processes of other users don't show (hidepid=2, proc(5))",
    )
    listed(
        "swap",
        "/proc/swaps",
        len((system_file("swaps") or b"").splitlines()) > 1,
        "experiments: pages that were swapped out, and come back by major faults",
        "MADV_PAGEOUT does nothing; swapon(8) adds swap, as root",
    )
    huge = re.search(rb"HugePages_Free: +(\d+)", system_file("meminfo") or b"")
    listed(
        "free huge pages",
        "/proc/meminfo",
        bool(huge and int(huge[1])),
        "mmap(hugetlb=True)",
        "mmap() with hugetlb fails with ENOMEM; root sets them aside in /proc/sys/vm/nr_hugepages",
    )
    listed(
        "userfaultfd",
        "/proc/sys",
        os.path.exists("/proc/sys/vm/unprivileged_userfaultfd"),
        "Specimen.watch_writes(): which pages were written",
        "watch_writes() is unsupported (CONFIG_USERFAULTFD)",
    )
    scope = probes.ptrace_scope()
    feature(
        "ptrace_scope 0",
        scope in (None, "0"),
        "threads(): stack pointers of processes that are no child of this one",
        "Yama restricts it: threads() of other processes have no stacks",
        "no Yama here, or /proc/sys is hidden" if scope is None else f"ptrace_scope is {scope}",
    )
    feature(
        "64-bit Linux",
        kernel.sysname == "Linux" and os.sysconf("SC_LONG_BIT") == 64,
        "everything",
        "addresses above 4 GiB of other processes can't be scanned",
        f"{kernel.sysname} {kernel.release} {kernel.machine}, "
        f"pages of {os.sysconf('SC_PAGESIZE')} bytes",
    )
    return found
