"""Resident bytes without smaps are those of smaps, whatever memory is touched."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from procmem import (
    MiB,
    Process,
    RegionKind,
    ZombieProcess,
    doctor,
)
from procmem.procfs import ProcessFiles, probes
from procmem.procfs.files import MemoryFile
from tests.support.targets import PAGE, Advice, Mapping, Target, TargetError, machine, needs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from procmem import MeasuredRegion, RegionTable, ResidentRegion

    Start = Callable[..., Target]


HUGE = 2 * MiB


def feature(name: str) -> bool:
    return next(each.found for each in doctor() if each.name == name)


def at(table: RegionTable[Any], mapping: Mapping) -> Any:
    """The region that has exactly the bounds of the mapping."""
    region = table.find(mapping.start)
    assert region is not None, mapping
    assert (region.start, region.end) == (mapping.start, mapping.end)
    return region


@pytest.fixture
def process(target: Target) -> Process:
    return Process(target.pid)


def settled(process: Process) -> tuple[RegionTable[MeasuredRegion], RegionTable[ResidentRegion]]:
    """smaps and residency of one moment: what both show was the same before and after."""

    def shown(table: RegionTable[MeasuredRegion]) -> list[tuple[int, int, int | None, int | None]]:
        # Shares of files change with any process that maps them.
        return [(r.start, r.end, r.rss, r.swap) for r in table]

    for _ in range(50):
        before, resident, after = process.smaps(), process.residency(), process.smaps()
        if shown(before) == shown(after):
            return before, resident
    raise AssertionError("the target never stands still")


def assert_same_residency(process: Process) -> None:
    measured, resident = settled(process)
    assert [(r.start, r.end) for r in measured] == [(r.start, r.end) for r in resident]
    for one, other in zip(measured, resident, strict=True):
        assert other.rss == one.rss, (one, one.rss, other.rss)
        assert other.swap in (None, one.swap), (one, one.swap, other.swap)


def huge(target: Target, **options: Any) -> Mapping:
    mapping = target.map(2 * HUGE // PAGE, **options)
    target.madvise(mapping, Advice.HUGEPAGE)
    return mapping


def anonymous(target: Target, _: Path) -> None:
    target.touch(target.map(100), 37)


def zero_pages(target: Target, _: Path) -> None:
    mapping = target.map(600)
    target.madvise(mapping, Advice.NOHUGEPAGE)
    target.read(mapping, 200)
    target.touch(mapping.page(50, 20))


def many_ranges(target: Target, _: Path) -> None:
    # Every second page, so that there are more ranges than one call of PAGEMAP_SCAN returns.
    mapping = target.map(12_000)
    target.madvise(mapping, Advice.NOHUGEPAGE)
    target.touch(mapping)
    for n in range(0, 12_000, 2):
        target.madvise(mapping.page(n), Advice.DONTNEED)


def transparent_huge_pages(target: Target, _: Path) -> None:
    mapping = huge(target)
    target.touch(mapping, 1)
    target.touch(mapping.page(HUGE // PAGE, 10))
    target.madvise(mapping.page(5), Advice.DONTNEED)


def huge_zero_page(target: Target, _: Path) -> None:
    target.read(huge(target), 1)


def huge_shared_memory(target: Target, _: Path) -> None:
    mapping = huge(target, perms="rw-s")
    target.touch(mapping)
    with contextlib.suppress(TargetError):
        target.madvise(mapping, Advice.COLLAPSE)


def guards(target: Target, _: Path) -> None:
    mapping = target.map(60)
    target.touch(mapping)
    with needs("MADV_GUARD_INSTALL"):
        target.madvise(mapping.page(10, 7), Advice.GUARD_INSTALL)
        target.madvise(mapping.page(30), Advice.GUARD_INSTALL)
        target.madvise(mapping.page(12), Advice.GUARD_REMOVE)


def freed(target: Target, _: Path) -> None:
    mapping = target.map(60)
    target.touch(mapping)
    target.madvise(mapping.page(10, 20), Advice.FREE)
    target.touch(mapping.page(15, 3))
    target.madvise(mapping.page(40, 5), Advice.DONTNEED)


def forbidden(target: Target, _: Path) -> None:
    mapping = target.map(60)
    target.touch(mapping, 20)
    target.protect(mapping, "---p")


def locked(target: Target, _: Path) -> None:
    target.lock(target.map(60))
    target.lock(target.map(60), on_fault=True)


def moved(target: Target, _: Path) -> None:
    mapping = target.map(60)
    target.touch(mapping, 20)
    target.remap(mapping, 100 * PAGE)
    other = target.map(60)
    target.touch(other, 20)
    with needs("MREMAP_DONTUNMAP"):
        target.remap(other, other.size, flags=5)


def files(target: Target, place: Path) -> None:
    path = place / "data"
    path.write_bytes(b"x" * 64 * PAGE)
    target.read(target.map_file(path, 64))
    target.touch(target.map_file(path, 64, "rw-p"), 11)
    target.touch(target.map_file(path, 64, "rw-s"), 13)
    target.map_file(path, 64)
    # Half of it lies behind the end of the file.
    target.read(target.map_file(path, 64, offset=32 * PAGE), 32)


def dev_zero(target: Target, _: Path) -> None:
    target.touch(target.map_file("/dev/zero", 10, "rw-p"), 3)
    target.touch(target.map_file("/dev/zero", 10, "rw-s"), 4)
    target.read(target.map_file("/dev/zero", 10, "rw-p"), 3)


def shared_memory(target: Target, _: Path) -> None:
    for mapping in (target.map(20, "rw-s"), target.map_memfd("x", 20), target.map_shm(NAME, 20)):
        target.touch(mapping, 7)
        target.read(mapping, 12)
    private = target.map_memfd("y", 20, "rw-p")
    target.touch(private, 4)
    target.read(private, 9)
    with contextlib.suppress(TargetError):
        target.touch(target.map_sysv(20), 5)


NAME = f"{machine.MARK}{os.getpid()}-residency"


def secret(target: Target, _: Path) -> None:
    with needs("memfd_secret"):
        target.touch(target.map_secret(5), 3)


def io_uring(target: Target, _: Path) -> None:
    with needs("io_uring"):
        target.map_uring()


def perf_event(target: Target, _: Path) -> None:
    with needs("perf_event_open"):
        target.read(target.map_perf(4))


def aio(target: Target, _: Path) -> None:
    with needs("io_setup"):
        target.map_aio(100)


def packet_ring(target: Target, _: Path) -> None:
    with needs("packet sockets for this user"):
        target.map_packet(8)


def tcp_window(target: Target, _: Path) -> None:
    with needs("mapping of TCP sockets"):
        target.map_tcp()


def heap_and_stacks(target: Target, _: Path) -> None:
    target.threads(4, malloc=1 << 20)
    target.malloc(1 << 20)
    target.grow_stack(30)
    target.brk(100 * PAGE)


def collapsed(target: Target, _: Path) -> None:
    mapping = target.map(HUGE // PAGE)
    target.touch(mapping, 100)
    with needs("MADV_COLLAPSE"):
        target.madvise(mapping, Advice.COLLAPSE)


@pytest.mark.parametrize(
    "fill",
    [
        anonymous,
        zero_pages,
        many_ranges,
        transparent_huge_pages,
        huge_zero_page,
        huge_shared_memory,
        guards,
        freed,
        forbidden,
        locked,
        moved,
        files,
        dev_zero,
        shared_memory,
        secret,
        io_uring,
        perf_event,
        aio,
        packet_ring,
        tcp_window,
        heap_and_stacks,
        collapsed,
    ],
    ids=lambda fill: fill.__name__,
)
def test_residency_is_rss_of_smaps(
    target: Target, process: Process, tmp_path: Path, fill: Callable[[Target, Path], None]
) -> None:
    if not feature("PAGEMAP_SCAN"):
        pytest.skip("kernel feature missing: PAGEMAP_SCAN")
    fill(target, tmp_path)
    assert_same_residency(process)


def test_residency_of_a_shared_copy(target: Target, process: Process) -> None:
    mapping = target.map(50)
    target.touch(mapping, 40)
    with target.fork() as child:
        child.touch(mapping, 10)
        assert_same_residency(process)
        assert_same_residency(Process(child.pid))


def test_hugetlb_is_in_no_rss(target: Target, process: Process) -> None:
    if not feature("PAGEMAP_SCAN"):
        pytest.skip("kernel feature missing: PAGEMAP_SCAN")
    with machine.hugepages(4) as setting:
        setting.or_skip()
        private = target.map_huge(2 * HUGE)
        target.touch(private.page(0, 1))
        shared = target.map_memfd("huge", HUGE // PAGE, flags=4)
        target.touch(shared.page(0, 1))
        attached = target.map_sysv(HUGE // PAGE, huge=True)
        target.touch(attached.page(0, 1))
        assert_same_residency(process)
        for mapping, kind in ((private, "private"), (shared, "private"), (attached, "private")):
            resident = at(process.residency(), mapping)
            measured = at(process.smaps(), mapping)
            assert resident.rss == measured.rss == 0
            assert getattr(measured, f"{kind}_hugetlb") == HUGE
            assert measured.hugetlb == HUGE
            assert measured.uss == measured.pss == 0
            assert measured.kind is RegionKind.HUGETLB
            assert measured.kernel_page_size == HUGE
        assert process.memory().hugetlb == 3 * HUGE
        target.close()


def test_swapped_pages(target: Target, process: Process) -> None:
    with machine.swap() as setting:
        setting.or_skip()
        mapping = target.map(64)
        target.touch(mapping)
        shared = target.map(64, "rw-s")
        target.touch(shared)
        with needs("MADV_PAGEOUT"):
            target.madvise(mapping.page(0, 48), Advice.PAGEOUT)
            target.madvise(shared, Advice.PAGEOUT)
        measured, resident = settled(process)
        out = at(measured, mapping)
        assert out.swap is not None
        if not out.swap:
            pytest.skip("nothing could be swapped out")
        told = at(resident, mapping)
        assert (told.rss, told.swap) == (out.rss, out.swap)
        assert out.rss + out.swap == mapping.size
        assert process.memory().swap == measured.total("swap") or at(measured, shared).swap
        # The page table has no entry for a page of shared memory that is out.
        told = at(resident, shared)
        assert told.rss == at(measured, shared).rss
        assert told.swap is None
        assert resident.total("swap") is None
        target.read(mapping)
        assert at(process.residency(), mapping).swap == 0
        assert_same_residency(process)
        # The leader's mounts can't be asked for any more.
        target.exit_leader()
        assert at(process.residency(), shared).swap is None
        target.close()


@pytest.fixture
def no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "has_pagemap_scan", lambda: False)


@pytest.mark.usefixtures("no_scan")
@pytest.mark.parametrize(
    "fill",
    [anonymous, transparent_huge_pages, guards, freed, forbidden, moved, files, shared_memory],
    ids=lambda fill: fill.__name__,
)
def test_pagemap_gives_the_same_where_it_can(
    target: Target, process: Process, tmp_path: Path, fill: Callable[[Target, Path], None]
) -> None:
    fill(target, tmp_path)
    measured, resident = settled(process)
    for one, other in zip(measured, resident, strict=True):
        if one.kind not in (RegionKind.VVAR, RegionKind.VDSO, RegionKind.VSYSCALL):
            zero_page = target.truths.bss <= one.start < target.truths.bss + (1 << 17)
            assert other.rss == one.rss or (zero_page and (other.rss or 0) >= (one.rss or 0)), one
            assert other.swap in (None, one.swap)


@pytest.mark.usefixtures("no_scan")
def test_pagemap_counts_the_zero_page(target: Target, process: Process) -> None:
    mapping = target.map(40)
    target.madvise(mapping, Advice.NOHUGEPAGE)
    target.read(mapping, 30)
    assert at(process.residency(), mapping).rss == 30 * PAGE
    assert at(process.smaps(), mapping).rss == 0


@pytest.mark.usefixtures("no_scan")
def test_pagemap_of_swapped_pages(target: Target, process: Process) -> None:
    with machine.swap() as setting:
        setting.or_skip()
        mapping = target.map(64)
        target.touch(mapping)
        with needs("MADV_PAGEOUT"):
            target.madvise(mapping, Advice.PAGEOUT)
        measured, resident = settled(process)
        assert at(resident, mapping).swap == at(measured, mapping).swap
        target.close()


def test_rollup_of_a_leader_that_has_exited_on_older_kernels(
    target: Target, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They open its smaps_rollup, and refuse to read it."""
    worker = target.spin()
    original = MemoryFile.read

    def read(self: MemoryFile) -> bytes:
        if "/task/" not in self.path:
            raise ZombieProcess(target.pid)
        return original(self)

    def switch(self: ProcessFiles) -> bool:
        switched, self._thread = self._thread is None, worker.tid
        return switched

    mapping = target.map(70)
    target.touch(mapping)
    monkeypatch.setattr(MemoryFile, "read", read)
    monkeypatch.setattr(ProcessFiles, "use_living_thread", switch)
    assert (process.rollup().rss or 0) >= 70 * PAGE
    target.stop(worker)
