"""The parts of the machine's memory, from texts whose sums are known."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from procmem import Unsupported
from procmem.system.memory import (
    PAGE_SIZE,
    KernelSums,
    parse_meminfo,
    parse_sockstat,
    parse_zoneinfo,
    parts_of,
    read_sums,
)

if TYPE_CHECKING:
    from pathlib import Path

KB = 1024

INFO = {
    "MemTotal": 1000,
    "MemFree": 300,
    "Buffers": 10,
    "Cached": 190,
    "AnonPages": 150,
    "Mapped": 50,
    "Shmem": 40,
    "KReclaimable": 65,
    "SReclaimable": 60,
    "SUnreclaim": 30,
    "KernelStack": 8,
    "PageTables": 12,
    "VmallocUsed": 20,
    "Percpu": 4,
    "Hugetlb": 64,
}


def sums(**more: int) -> KernelSums:
    return KernelSums({name: value * KB for name, value in {**INFO, **more}.items()}, 16 * KB, 0)


def test_the_parts_and_the_remainder_are_all_of_it() -> None:
    parts, remainder, causes = parts_of(sums(), pss=200 * KB, pss_shmem=15 * KB, unread=0)
    sizes = {part.name: part.size // KB for part in parts}
    assert sizes == {
        "processes": 200,
        "mapped by processes that were not read": 0,
        "page cache that no process maps": 190 + 10 - 50 - 25,
        "tmpfs and shared memory that no process maps": 40 - 15,
        "slab, reclaimable": 60,
        "slab, not reclaimable": 30,
        "other reclaimable kernel memory": 5,
        "page tables": 12,
        "kernel stacks": 8,
        "per-CPU memory": 4,
        "vmalloc": 20 - 8,
        "huge pages of hugetlbfs": 64,
        "free": 300,
        "free, on the CPUs' own lists": 16,
    }
    assert remainder == (1000 - sum(sizes.values())) * KB
    assert causes


def test_what_was_not_read_is_a_part_of_its_own() -> None:
    parts, _, _ = parts_of(sums(), pss=120 * KB, pss_shmem=0, unread=3)
    found = {part.name: part for part in parts}
    assert found["mapped by processes that were not read"].size == (150 + 50 - 120) * KB
    # Which shared memory those map is not known, so it is not taken out of the page cache.
    assert found["page cache that no process maps"].size == (190 + 10 - 50) * KB
    assert "tmpfs and shared memory that no process maps" not in found


def test_processes_that_this_proc_does_not_show() -> None:
    """As in a container: all that is shown was read, and it is little."""
    parts, _, _ = parts_of(sums(), pss=20 * KB, pss_shmem=0, unread=0)
    found = {part.name: part.size for part in parts}
    assert found["mapped by processes that were not read"] == 180 * KB
    assert found["page cache that no process maps"] == (190 + 10 - 50) * KB
    assert "tmpfs and shared memory that no process maps" not in found


def test_a_field_that_this_kernel_lacks_is_no_part() -> None:
    fewer = KernelSums({"MemTotal": 9 * KB, "MemFree": 5 * KB}, None, None)
    parts, remainder, _ = parts_of(fewer, pss=KB, pss_shmem=None, unread=0)
    assert [part.name for part in parts if part.size] == ["processes", "free"]
    assert remainder == 3 * KB


def test_causes_depend_on_what_there_is() -> None:
    plain = parts_of(sums(), pss=0, pss_shmem=0, unread=0)[2]
    more = sums(AnonHugePages=2048, SwapCached=12)._replace(sockets=8 * KB)
    assert len(parts_of(more, pss=0, pss_shmem=0, unread=0)[2]) == len(plain) + 3


def test_texts_of_the_kernel() -> None:
    assert parse_meminfo(b"MemTotal:  12 kB\nHugePages_Total:   3\nodd\nBad: x kB\n") == {
        "MemTotal": 12 * KB,
        "HugePages_Total": 3,
    }
    zones = b"Node 0, zone DMA\n  pages free 9\n    cpu: 0\n              count:    5\n" * 2
    assert parse_zoneinfo(zones + b"              high:  7\n") == 10 * 4096
    sockets = b"sockets: used 9\nTCP: inuse 1 mem 3\nUDP: inuse 0 mem 1\nFRAG: inuse 0 memory 7\n"
    assert parse_sockstat(sockets) == 4 * 4096 + 7


def test_a_tree_without_meminfo(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="meminfo"):
        read_sums(str(tmp_path))


FLAGS = {"anon": 12, "slab": 7, "tables": 26, "free": 10}
"""Bits of /proc/kpageflags (Documentation/admin-guide/mm/pagemap.rst)."""

NEAR = 0.03
"""What other programs may allocate while 24 GiB of flags are read, as a part of MemTotal."""


def frames_by_use() -> dict[str, int]:
    """Bytes of the page frames of some kinds, by the kernel's flags of each."""
    numpy = pytest.importorskip("numpy")
    counts = dict.fromkeys(FLAGS, 0)
    with open("/proc/kpageflags", "rb", buffering=0) as file:
        while data := file.read(1 << 20):
            flags = numpy.frombuffer(data, dtype=numpy.uint64)
            for name, bit in FLAGS.items():
                counts[name] += int(((flags >> numpy.uint64(bit)) & numpy.uint64(1)).sum())
    return {name: count * PAGE_SIZE for name, count in counts.items()}


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/kpageflags", os.R_OK), reason="page flags are for root")
def test_the_parts_agree_with_the_flags_of_all_page_frames() -> None:
    """The machine goes on meanwhile, so it is tried until both readings are of a quiet second."""
    apart: dict[str, int] = {}
    for _ in range(30):
        sums = read_sums()
        flags = frames_by_use()
        info, total = sums.meminfo, sums.meminfo["MemTotal"]
        parts = {part.name: part.size for part in parts_of(sums, pss=0, pss_shmem=0, unread=0)[0]}
        slab = parts["slab, reclaimable"] + parts["slab, not reclaimable"]
        apart = {
            "anon": flags["anon"] - info["AnonPages"],
            "tables": flags["tables"] - parts["page tables"],
            # Older kernels flag only the first page of each slab.
            "slab": max(0, flags["slab"] - slab),
            "free": flags["free"] - parts["free"],
        }
        if all(abs(size) < NEAR * total for size in apart.values()):
            break
    else:
        pytest.fail(f"apart by bytes: {apart}")
