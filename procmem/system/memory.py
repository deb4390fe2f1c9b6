"""What the machine's memory is used for, by the kernel's own sums: meminfo and zoneinfo."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from procmem.procfs import system_file

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KernelSums", "MemoryPart", "parse_meminfo", "parts_of", "read_sums"]

PAGE_SIZE = os.sysconf("SC_PAGESIZE")


class MemoryPart(NamedTuple):
    """A part of the machine's memory.

    Attributes:
        name: what uses it.
        size: bytes.
        source: the figures of the kernel that it is computed from.
        note: what to know about it; empty: nothing.
    """

    name: str
    size: int
    source: str
    note: str = ""


class KernelSums(NamedTuple):
    """The kernel's sums over the whole machine, read within a short time.

    Attributes:
        meminfo: the fields of /proc/meminfo in bytes (proc_meminfo(5)).
        on_lists: free pages that CPUs keep for themselves, in bytes (/proc/zoneinfo), which
            MemFree leaves out; None: not known.
        sockets: bytes that network buffers may use (/proc/net/sockstat); None: not known.
    """

    meminfo: Mapping[str, int]
    on_lists: int | None
    sockets: int | None


def read_sums(root: str = "/proc") -> KernelSums:
    """Reads the sums of the machine.

    Raises:
        Unsupported: the tree has no meminfo.
    """
    zones = system_file("zoneinfo", root)
    sockets = system_file("net/sockstat", root)
    found = system_file("meminfo", root)
    if found is None:
        from procmem.errors import Unsupported

        raise Unsupported("meminfo", f"{root}/meminfo can't be read")
    return KernelSums(
        parse_meminfo(found),
        None if zones is None else parse_zoneinfo(zones),
        None if sockets is None else parse_sockstat(sockets),
    )


def parse_meminfo(data: bytes) -> dict[str, int]:
    r"""A text of /proc/meminfo: sizes in bytes; counts of huge pages as they are.

    >>> parse_meminfo(b"MemTotal:  8 kB\nHugePages_Total:  2\n")
    {'MemTotal': 8192, 'HugePages_Total': 2}
    """
    found = {}
    for line in data.split(b"\n"):
        name, colon, value = line.partition(b":")
        words = value.split()
        if colon and words and words[0].isdigit():
            scale = 1024 if words[1:] == [b"kB"] else 1
            found[name.decode("ascii", "replace")] = int(words[0]) * scale
    return found


def parse_zoneinfo(data: bytes) -> int:
    """The bytes on the CPUs' lists of free pages, from a text of /proc/zoneinfo."""
    counts = re.findall(rb"^ +count: +(\d+)$", data, re.MULTILINE)
    return sum(map(int, counts)) * PAGE_SIZE


def parse_sockstat(data: bytes) -> int:
    """The bytes of network buffers, from a text of /proc/net/sockstat."""
    pages = re.findall(rb"^(?:TCP|UDP):.* mem (\d+)", data, re.MULTILINE)
    fragments = re.findall(rb"^FRAG:.* memory (\d+)", data, re.MULTILINE)
    return sum(map(int, pages)) * PAGE_SIZE + sum(map(int, fragments))


SMALL = 0.02
"""The part of what all processes map that may be missing where all of them were read: their memory
changes during the reading, and the kernel's sums lag."""


def parts_of(
    sums: KernelSums, *, pss: int, pss_shmem: int | None, unread: int
) -> tuple[list[MemoryPart], int, list[str]]:
    """The parts of MemTotal, what remains, and the likely causes of that.

    Args:
        sums: the kernel's sums.
        pss: of all processes that could be read.
        pss_shmem: the part of it that is tmpfs or shared memory; None: not known.
        unread: processes that could not be read.

    Returns:
        The parts; MemTotal minus their sum; likely causes of the remainder, in words.
    """
    info = sums.meminfo
    parts = [MemoryPart("processes", pss, "Σ Pss of smaps_rollup")]

    def add(name: str, source: str, size: int | None = None, note: str = "") -> None:
        if size is None:
            size = info.get(source)
        if size is not None:
            parts.append(MemoryPart(name, size, source, note))

    mapped = info.get("Mapped", 0)
    everything = info.get("AnonPages", 0) + mapped
    rest = max(0, everything - pss)
    add(
        "mapped by processes that were not read",
        "AnonPages + Mapped - Σ Pss",
        rest,
        "of other users, or not shown by this /proc (PID namespaces, hidepid); and what changed "
        "during the reading",
    )
    cached = info.get("Cached", 0) + info.get("Buffers", 0)
    shmem = info.get("Shmem", 0)
    if pss_shmem is None or unread or rest > everything * SMALL:
        add(
            "page cache that no process maps",
            "Cached + Buffers - Mapped",
            max(0, cached - mapped),
            "tmpfs and shared memory are among it",
        )
    else:
        alone = max(0, shmem - pss_shmem)
        add(
            "page cache that no process maps",
            "Cached + Buffers - Mapped, without tmpfs",
            max(0, cached - mapped - alone),
        )
        add(
            "tmpfs and shared memory that no process maps",
            "Shmem - Σ Pss_Shmem",
            alone,
            "swap is the only way to reclaim it",
        )
    add("slab, reclaimable", "SReclaimable")
    add("slab, not reclaimable", "SUnreclaim")
    other = info.get("KReclaimable", 0) - info.get("SReclaimable", 0)
    if other > 0:
        add("other reclaimable kernel memory", "KReclaimable - SReclaimable", other)
    add("page tables", "PageTables")
    if info.get("SecPageTables"):
        add("page tables of devices and guests", "SecPageTables")
    stacks = info.get("KernelStack")
    add("kernel stacks", "KernelStack")
    add("per-CPU memory", "Percpu")
    vmalloc = info.get("VmallocUsed")
    if vmalloc is not None:
        add(
            "vmalloc",
            "VmallocUsed - KernelStack",
            max(0, vmalloc - (stacks or 0)),
            "kernel stacks are taken out, as VmallocUsed includes them if the kernel has "
            "CONFIG_VMAP_STACK (likely)",
        )
    add("huge pages of hugetlbfs", "Hugetlb")
    for name, source in (
        ("compressed swap (zswap)", "Zswap"),
        ("given back to the host (balloon)", "Balloon"),
        ("bounce buffers", "Bounce"),
    ):
        if info.get(source):
            add(name, source)
    add("free", "MemFree")
    if sums.on_lists is not None:
        add("free, on the CPUs' own lists", "count of zoneinfo", sums.on_lists)
    total = info.get("MemTotal", 0)
    return parts, total - sum(part.size for part in parts), causes(sums)


def causes(sums: KernelSums) -> list[str]:
    """Likely causes of a remainder, in words."""
    info = sums.meminfo
    found = ["memory that drivers and the kernel took in whole pages, which no sum counts"]
    if sums.sockets:
        found.append(f"network buffers: up to {sums.sockets >> 10:,} KiB, partly in the slab")
    if info.get("AnonHugePages"):
        found.append("huge pages of which a process has given back a part")
    if info.get("SwapCached"):
        found.append(f"pages that are in swap, too: up to {info['SwapCached'] >> 10:,} KiB")
    found.append("sums that each CPU keeps to itself for a while, and changes during the reading")
    return found
