"""The totals that the kernel keeps for a process, from status and stat."""

from __future__ import annotations

import os
from typing import NamedTuple

from procmem.procfs.text import parse_status

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.procfs.files import ProcessFiles

__all__ = ["Faults", "MemoryUsage", "read_status", "usage_from_status"]


class MemoryUsage(NamedTuple):
    """A process's memory in bytes, from /proc/PID/status (proc_pid_status(5)).

    None where the kernel does not report it.

    Attributes:
        vsz: VmSize, the size of the address space.
        rss: VmRSS, the part of it that is in memory: rss_anon + rss_file + rss_shmem.
        rss_anon, rss_file, rss_shmem: RssAnon, RssFile, RssShmem.
        swap: VmSwap, private memory in swap; swapped shared memory is not in it.
        page_tables: VmPTE, the size of the page tables; in no other figure.
        locked: VmLck, locked in memory (mlock(2)).
        pinned: VmPin, pinned, so that devices can access it.
        peak_vsz: VmPeak, the largest vsz so far.
        peak_rss: VmHWM, the largest rss so far; after munmap(2) it may be up
            to about 128 KiB below the true peak.
        data, stack, text, libraries: VmData, VmStk, VmExe, VmLib.
        hugetlb: HugetlbPages, which are not in rss.
    """

    vsz: int | None
    rss: int | None
    rss_anon: int | None
    rss_file: int | None
    rss_shmem: int | None
    swap: int | None
    page_tables: int | None
    locked: int | None
    pinned: int | None
    peak_vsz: int | None
    peak_rss: int | None
    data: int | None
    stack: int | None
    text: int | None
    libraries: int | None
    hugetlb: int | None


STATUS_FIELDS = (
    "VmSize",
    "VmRSS",
    "RssAnon",
    "RssFile",
    "RssShmem",
    "VmSwap",
    "VmPTE",
    "VmLck",
    "VmPin",
    "VmPeak",
    "VmHWM",
    "VmData",
    "VmStk",
    "VmExe",
    "VmLib",
    "HugetlbPages",
)


def usage_from_status(status: dict[str, str]) -> MemoryUsage:
    """The figures of a parsed /proc/PID/status."""
    return MemoryUsage._make(in_bytes(status.get(field)) for field in STATUS_FIELDS)


def reset_peak_rss(pid: int) -> bool:
    """Sets VmHWM of a process to its VmRSS (proc_pid_clear_refs(5), "5"; Linux 4.0).

    Returns:
        Whether the kernel did it.
    """
    try:
        fd = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.write(fd, b"5") == 1
    except OSError:
        return False
    finally:
        os.close(fd)


def read_status(files: ProcessFiles) -> dict[str, str]:
    """The fields of a process's status, while it has an address space."""
    while True:
        name = files.memory_name("status")
        status = parse_status(files.read(name), f"{files.path}/{name}")
        if "VmSize" in status or not files.is_live:
            return status
        files.explain_empty()


def in_bytes(text: str | None) -> int | None:
    """Turns "12 kB" into 12288."""
    if text is None:
        return None
    number, _, unit = text.partition(" ")
    if not number.isdecimal() or unit.strip() != "kB":
        return None
    return int(number) * 1024


class Faults(NamedTuple):
    """Page faults of a process since it started (proc_pid_stat(5)).

    Attributes:
        minor: resolved without reading from a disk.
        major: that had to read from a disk or from swap.
    """

    minor: int
    major: int
