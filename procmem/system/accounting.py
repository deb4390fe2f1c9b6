"""The memory files of a control group, of both versions, as figures. Nothing is opened here."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FILES", "GroupFigures", "figures_of", "parse_flat"]

FILES = {
    1: (
        "memory.usage_in_bytes",
        "memory.limit_in_bytes",
        "memory.max_usage_in_bytes",
        "memory.failcnt",
        "memory.memsw.limit_in_bytes",
        "memory.memsw.usage_in_bytes",
        "memory.kmem.usage_in_bytes",
        "memory.oom_control",
        "memory.stat",
    ),
    2: (
        "memory.current",
        "memory.max",
        "memory.high",
        "memory.peak",
        "memory.swap.current",
        "memory.swap.max",
        "memory.events",
        "memory.stat",
    ),
}
"""The files of each version that are read, the usage first."""

KERNEL_ROWS = {
    "kernel_stack": "kernel stacks",
    "pagetables": "page tables",
    "sec_pagetables": "page tables of guests and of the IOMMU",
    "percpu": "per-CPU data",
    "vmalloc": "vmalloc",
    "slab_reclaimable": "slab, reclaimable",
    "slab_unreclaimable": "slab, not reclaimable",
    "zswap": "zswap",
}
"""The rows of memory.stat that are parts of the row `kernel` (cgroup-v2.rst)."""

UNLIMITED = 1 << 62
"""Version 1 prints the largest number of pages, in bytes, for "no limit"."""


class GroupFigures(NamedTuple):
    """What the kernel's files show of a control group and all groups below it.

    Bytes; None: this kernel does not show it.

    Attributes:
        usage, peak, swap: as of ControlGroup.
        limit, swap_limit: of memory and of swap; None: there is none, or it is not shown.
        high: memory.high of version 2, above which the group is slowed down and reclaimed from;
            None likewise.
        anon, shmem, file: as of ControlGroup.
        swapcached: pages that are in memory and in swap, which `anon` may count too.
        kernel: kernel memory in all.
        kernel_parts: its parts by what they are for, where the kernel shows any.
        sock: buffers of sockets.
        hugetlb: huge pages of hugetlbfs, where they are charged to memory groups.
        file_mapped, file_dirty, file_writeback: page cache that is mapped, changed, being
            written; shared memory is in the first.
        inactive_file, active_file: page cache on the lists that reclaim takes from.
        unevictable: locked pages and the like.
        slab_reclaimable: slab that reclaim can take.
        events: how often what happened, by the kernel's names.
    """

    usage: int | None
    limit: int | None
    high: int | None
    peak: int | None
    swap: int | None
    swap_limit: int | None
    anon: int | None
    shmem: int | None
    file: int | None
    swapcached: int | None
    kernel: int | None
    kernel_parts: dict[str, int]
    sock: int | None
    hugetlb: int | None
    file_mapped: int | None
    file_dirty: int | None
    file_writeback: int | None
    inactive_file: int | None
    active_file: int | None
    unevictable: int | None
    slab_reclaimable: int | None
    events: dict[str, int]


def parse_flat(text: bytes) -> dict[str, int]:
    r"""A file of lines with a name and a number; other lines are left out.

    >>> parse_flat(b"anon 4096\nfile 8192\n")
    {'anon': 4096, 'file': 8192}
    """
    found = {}
    for line in text.split(b"\n"):
        words = line.split()
        if len(words) == 2 and words[1].isdigit():
            found[words[0].decode("ascii", "replace")] = int(words[1])
    return found


def number(text: bytes | None) -> int | None:
    """The number that a file contains; None: there is none ("max")."""
    words = (text or b"").split()
    return int(words[0]) if len(words) == 1 and words[0].isdigit() else None


def limit_of(text: bytes | None) -> int | None:
    found = number(text)
    return None if found is None or found >= UNLIMITED else found


def figures_of(version: int, files: Mapping[str, bytes]) -> GroupFigures:
    """The figures of a group.

    Args:
        version: 1 or 2.
        files: the contents of those of FILES that are there.

    Source: Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst.
    """
    stat = parse_flat(files.get("memory.stat", b""))
    return (first if version == 1 else second)(files.get, stat)


def less(whole: int | None, *parts: int | None) -> int | None:
    """A figure without some parts of it; a part that the kernel does not show is not there."""
    if whole is None:
        return None
    return max(whole - sum(part or 0 for part in parts), 0)


def first(get: Callable[[str], bytes | None], stat: dict[str, int]) -> GroupFigures:
    """Version 1: rows that begin with "total_" count the groups below, too."""

    def row(name: str) -> int | None:
        return stat.get(f"total_{name}", stat.get(name))

    usage = number(get("memory.usage_in_bytes"))
    swap_usage = number(get("memory.memsw.usage_in_bytes"))
    swap = row("swap")
    if swap is None and usage is not None and swap_usage is not None:
        swap = max(swap_usage - usage, 0)
    oom = parse_flat(get("memory.oom_control") or b"")
    failures = number(get("memory.failcnt"))
    events = {} if failures is None else {"max": failures}
    if "oom_kill" in oom:
        events["oom_kill"] = oom["oom_kill"]
    # `cache` counts every page of a file, shared memory and the swap cache among them.
    cache = row("cache")
    return GroupFigures(
        usage=usage,
        limit=limit_of(get("memory.limit_in_bytes")),
        high=None,
        peak=number(get("memory.max_usage_in_bytes")),
        swap=swap,
        swap_limit=limit_of(get("memory.memsw.limit_in_bytes")),
        anon=row("rss"),
        shmem=row("shmem"),
        file=less(cache, row("shmem"), row("swapcached")),
        swapcached=row("swapcached"),
        kernel=number(get("memory.kmem.usage_in_bytes")),
        kernel_parts={},
        sock=None,
        hugetlb=None,
        file_mapped=row("mapped_file"),
        file_dirty=row("dirty"),
        file_writeback=row("writeback"),
        inactive_file=row("inactive_file"),
        active_file=row("active_file"),
        unevictable=row("unevictable"),
        slab_reclaimable=None,
        events=events,
    )


def second(get: Callable[[str], bytes | None], stat: dict[str, int]) -> GroupFigures:
    """Version 2: every row counts the groups below, too."""
    row = stat.get
    parts = {words: stat[name] for name, words in KERNEL_ROWS.items() if name in stat}
    kernel = row("kernel")
    if kernel is None and parts:
        # Before Linux 5.18 there is no sum.
        kernel = sum(parts.values())
    return GroupFigures(
        usage=number(get("memory.current")),
        limit=number(get("memory.max")),
        high=number(get("memory.high")),
        peak=number(get("memory.peak")),
        swap=number(get("memory.swap.current")),
        swap_limit=number(get("memory.swap.max")),
        anon=row("anon"),
        shmem=row("shmem"),
        file=less(row("file"), row("shmem"), row("swapcached")),
        swapcached=row("swapcached"),
        kernel=kernel,
        kernel_parts=parts,
        sock=row("sock"),
        hugetlb=row("hugetlb"),
        file_mapped=row("file_mapped"),
        file_dirty=row("file_dirty"),
        file_writeback=row("file_writeback"),
        inactive_file=row("inactive_file"),
        active_file=row("active_file"),
        unevictable=row("unevictable"),
        slab_reclaimable=row("slab_reclaimable"),
        events=parse_flat(get("memory.events") or b""),
    )
