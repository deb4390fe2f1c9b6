"""The memory files of both versions: real ones of version 2, and what each row counts."""

from __future__ import annotations

import pytest

from procmem.system.accounting import FILES, figures_of, parse_flat
from tests.support.paths import FIXTURES

ID = "0123456789abcdef" * 4
KERNELS = ("linux-6.12-v2", "linux-6.1-v2")

STAT_1 = b"""\
cache 1000
rss 2000
shmem 300
swapcached 50
total_cache 10000
total_rss 20000
total_shmem 3000
total_swapcached 500
total_mapped_file 700
total_dirty 100
total_writeback 20
total_inactive_file 4000
total_active_file 2000
total_unevictable 8
"""


def saved(kernel: str) -> dict[str, bytes]:
    folder = FIXTURES / f"cgroups/{kernel}/tree/system.slice/docker-{ID}.scope"
    return {name: (folder / name).read_bytes() for name in FILES[2]}


def test_version_1_counts_the_groups_below() -> None:
    files = {
        "memory.usage_in_bytes": b"40000\n",
        "memory.limit_in_bytes": b"9223372036854771712\n",
        "memory.max_usage_in_bytes": b"50000\n",
        "memory.failcnt": b"3\n",
        "memory.memsw.usage_in_bytes": b"47000\n",
        "memory.memsw.limit_in_bytes": b"100000\n",
        "memory.kmem.usage_in_bytes": b"6000\n",
        "memory.oom_control": b"oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        "memory.stat": STAT_1,
    }
    found = figures_of(1, files)
    assert (found.usage, found.limit, found.peak) == (40000, None, 50000)
    assert (found.anon, found.shmem, found.kernel) == (20000, 3000, 6000)
    # The cache of the kernel has shared memory and the swap cache in it.
    assert found.file == 10000 - 3000 - 500
    assert (found.swap, found.swap_limit) == (7000, 100000)
    assert found.events == {"max": 3, "oom_kill": 2}
    assert (found.file_mapped, found.file_dirty, found.file_writeback) == (700, 100, 20)


@pytest.mark.parametrize("kernel", KERNELS)
def test_version_2_as_two_kernels_print_it(kernel: str) -> None:
    found = figures_of(2, saved(kernel))
    assert (found.limit, found.high, found.swap_limit) == (64 << 20, None, None)
    # It wrote 12 MiB to tmpfs, which the kernel's row "file" counts, too.
    assert (found.shmem, found.file) == (12 << 20, 0)
    assert found.anon == 53248
    assert found.kernel_parts["page tables"] + found.kernel_parts["slab, reclaimable"] > 0
    assert found.kernel is not None
    assert sum(found.kernel_parts.values()) <= found.kernel
    assert found.events["oom_kill"] == 0
    rest = (found.usage or 0) - (12 << 20) - 53248 - found.kernel
    # A machine with one CPU.
    assert 0 <= rest <= 64 * 4096


def test_events_after_a_process_was_killed() -> None:
    text = (FIXTURES / "cgroups/linux-6.12-v2/memory.events.after-oom").read_bytes()
    assert parse_flat(text)["oom_kill"] == 1


def test_what_is_not_there_is_none() -> None:
    for version in (1, 2):
        found = figures_of(version, {})
        assert {value for value in found if value not in ({}, None)} == set()
        odd = figures_of(version, {"memory.stat": b"\xff\xfe 1\nanon -5\nanon\nrss x\n 1 2 3"})
        assert odd.anon is None


def test_before_linux_5_18_kernel_memory_is_the_sum_of_its_parts() -> None:
    stat = b"anon 1\nfile 2\nkernel_stack 16384\nslab_reclaimable 100\nslab_unreclaimable 50\n"
    assert figures_of(2, {"memory.stat": stat}).kernel == 16534
