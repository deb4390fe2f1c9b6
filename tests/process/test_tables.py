"""The page tables of live processes: every table is accounted for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.pages import scan
from procmem.pages.tables import (
    AARCH64_16K,
    AARCH64_64K,
    X86_64,
    X86_64_5,
)
from procmem.process import tables as module
from procmem.process.tables import machine_scheme
from procmem.procfs import probes
from tests.support.targets import PAGE, Advice, TargetError, machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.targets import Target

HUGE = PAGE * (PAGE // 8)

# ---- live ---------------------------------------------------------------------------------

live = pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64"), reason="page tables not known here"
)


@live
@pytest.mark.parametrize("fallback", [False, True], ids=["PAGEMAP_SCAN", "pagemap"])
def test_every_table_is_accounted_for(
    target: Target, monkeypatch: pytest.MonkeyPatch, fallback: bool
) -> None:
    if fallback:
        monkeypatch.setattr(probes, "has_pagemap_scan", lambda: False)
        scan.user_limit.cache_clear()
    process = procmem.Process(target.pid)
    before = process.page_tables()
    assert before.bound == "exact", before
    assert before.exact
    assert before.difference == 0
    assert before.vm_pte == process.memory().page_tables
    assert [level.counted for level in before.levels][:1] == [False]
    # Far away, in 2 MiB steps: one table of the lowest level each.
    for step in range(1, 4):
        target.touch(target.map(1))
        after = process.page_tables()
        assert after.bound == "exact", after
        assert 0 < after.vm_pte - before.vm_pte <= 3 * step * PAGE
    scan.user_limit.cache_clear()


@live
def test_pages_of_zeros_cost_tables(target: Target) -> None:
    process = procmem.Process(target.pid)
    before = process.page_tables()
    mapping = target.map(16 * HUGE // PAGE)
    with_zeros = mapping.page(-mapping.start % HUGE // PAGE, 8 * HUGE // PAGE)
    target.madvise(with_zeros, Advice.NOHUGEPAGE)
    target.read(with_zeros)
    after = process.page_tables()
    if probes.has_pagemap_scan():
        assert after.bound == "exact"
        assert after.levels[-1].tables - before.levels[-1].tables == 8
    else:
        # Regions without Rss are not read there: reading each page would take too long.
        assert after.bound == "lower bound"
    assert (process.memory().rss or 0) < 8 * HUGE


@live
def test_tables_that_hold_nothing_any_more_are_the_difference(target: Target) -> None:
    mapping = target.map(64 * PAGE)
    # A huge page has no table of its own.
    target.madvise(mapping, Advice.NOHUGEPAGE)
    target.touch(mapping.page(1))
    target.touch(mapping.page(5))
    target.madvise(mapping.page(1), Advice.DONTNEED)
    target.madvise(mapping.page(5), Advice.DONTNEED)
    tables = procmem.Process(target.pid).page_tables()
    assert tables.bound == "lower bound"
    assert tables.difference > 0
    assert not tables.exact
    assert "once held" in tables.why


@live
def test_huge_pages_keep_a_table(target: Target) -> None:
    mapping = target.map(4 * HUGE // PAGE)
    huge = mapping.page(-mapping.start % HUGE // PAGE, 2 * HUGE // PAGE)
    try:
        target.madvise(huge, Advice.HUGEPAGE)
    except TargetError:
        pytest.skip("kernel feature missing: transparent huge pages")
    target.touch(huge)
    assert procmem.Process(target.pid).page_tables().bound == "exact"


@live
def test_hugetlb_needs_no_lowest_table(target: Target) -> None:
    size = machine.hugepage_size()
    with machine.hugepages(3) as setting:
        setting.or_skip()
        process = procmem.Process(target.pid)
        before = process.page_tables()
        mapping = target.map_huge(3 * size)
        target.touch(mapping)
        after = process.page_tables()
        if probes.has_pagemap_scan():
            assert after.bound == "exact", (before, after)
            assert after.levels[-1].tables == before.levels[-1].tables
        target.unmap(mapping)


@live
def test_swapped_pages_need_their_tables(start: Callable[..., Target]) -> None:
    with machine.swap() as setting:
        setting.or_skip()
        target = start()
        mapping = target.map(64)
        target.touch(mapping)
        target.madvise(mapping, Advice.PAGEOUT)
        assert procmem.Process(target.pid).page_tables().bound == "exact"


@live
def test_guard_pages_need_their_tables(target: Target) -> None:
    mapping = target.map(64)
    try:
        target.madvise(mapping, Advice.GUARD_INSTALL)
    except TargetError:
        pytest.skip("kernel feature missing: MADV_GUARD_INSTALL")
    assert procmem.Process(target.pid).page_tables().bound == "exact"


def test_a_process_that_moves_is_said_to(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter(range(1 << 20))
    monkeypatch.setattr(module, "charged", lambda _: next(told) * 4096)
    assert procmem.Process(target.pid).page_tables().bound == "moved"


def test_fewer_than_needed_is_not_hidden(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "charged", lambda _: 4096)
    tables = procmem.Process(target.pid).page_tables()
    assert tables.bound == "unexplained"
    assert tables.difference < 0


def test_five_levels_count_three(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    process = procmem.Process(target.pid)
    four = process.page_tables()
    if four.scheme is not X86_64:
        pytest.skip("no x86-64 of four levels")
    monkeypatch.setattr(module, "cpu_flags", lambda: "flags : fpu la57")
    five = process.page_tables()
    assert five.predicted == four.predicted
    assert [level.counted for level in five.levels] == [False, False, True, True, True]


def test_schemes_of_machines() -> None:
    assert machine_scheme("x86_64", 4096) is X86_64
    assert machine_scheme("x86_64", 4096, "flags\t: fpu la57 sse") is X86_64_5
    assert machine_scheme("aarch64", 16384) is AARCH64_16K
    assert machine_scheme("aarch64", 65536) is AARCH64_64K
    for unknown in (("s390x", 4096), ("aarch64", 8192)):
        with pytest.raises(procmem.Unsupported, match="lays"):
            machine_scheme(*unknown)
