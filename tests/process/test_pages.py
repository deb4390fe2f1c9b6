"""The page maps, frames, translations and sharers of processes whose pages are known."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import FrameFlags, PageMap
from procmem.pages import pagemap as module
from procmem.process import pages as process_pages
from procmem.procfs import probes
from tests.support.targets import PAGE, Advice, TargetError, kernel_thread, machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.targets import Commands, Mapping, Target

    Start = Callable[..., Target]


HUGE = PAGE * (PAGE // 8)


needs_frames = pytest.mark.skipif(
    not probes.shows_page_frames(), reason="page frame numbers take CAP_SYS_ADMIN"
)


needs_scan = pytest.mark.skipif(
    not probes.has_pagemap_scan(), reason="kernel feature missing: PAGEMAP_SCAN"
)


def pages_of(target: Commands, mapping: Mapping) -> PageMap:
    return procmem.Process(target.pid).pagemap(mapping.start, mapping.end)


def test_errors(target: Target) -> None:
    process = procmem.Process(target.pid)
    zombie = procmem.Process(target.zombie())
    for error, of in (
        (procmem.ZombieProcess, zombie),
        (procmem.KernelThread, kernel_thread()),
        (procmem.NoSuchProcess, process),
    ):
        if of is process:
            target.kill()
        elif of is None:
            continue
        asked = procmem.Process(of) if isinstance(of, int) else of
        with pytest.raises(error):
            asked.pagemap(0, 1 << 40)
        with pytest.raises(error):
            asked.page_tables()


def test_exec_in_the_middle_is_told(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = target.map(4)
    read = module.read_pagemap

    def read_late(*args: object, **options: object) -> PageMap:
        target.exec()
        return read(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(process_pages, "read_pagemap", read_late)
    with pytest.raises(procmem.ProcessChanged):
        procmem.Process(target.pid).pagemap(mapping.start, mapping.end)


def test_a_leader_that_has_exited(target: Target) -> None:
    mapping = target.map(4)
    target.touch(mapping, 2)
    target.exit_leader()
    assert pages_of(target, mapping).row() == "AA.."


def test_a_saved_tree_has_none(target: Target, tmp_path: Path) -> None:
    (tmp_path / "77").mkdir()
    with pytest.raises(procmem.Unsupported, match="pagemap"):
        procmem.Process(77, root=tmp_path).pagemap(0, 4096)


def test_a_storm_is_survived(target: Target) -> None:
    storm = target.storm()
    process = procmem.Process(target.pid)
    for _ in range(20):
        pages = process.pagemap(storm.span.start, storm.span.end)
        assert sum((run.end - run.start) // PAGE for run in pages.runs()) == storm.span.pages
        process.page_tables()
    target.stop(storm)


@needs_frames
def test_frames_of_a_fork(target: Target) -> None:
    mapping = target.map(8)
    target.touch(mapping, 6)
    process = procmem.Process(target.pid)
    frames = process.frames(mapping.start, mapping.end)
    assert [frame.address for frame in frames] == [mapping.page(i).start for i in range(6)]
    assert {frame.mapped for frame in frames} == {1}
    assert all(FrameFlags.ANON in frame.flags for frame in frames)
    assert all("MMAP" in frame.flags.names for frame in frames)
    pages = process.pagemap(mapping.start, mapping.end)
    assert [frame.pfn for frame in frames] == list(pages.pfn or ())[:6]
    with target.fork() as child:
        assert {frame.mapped for frame in process.frames(mapping.start, mapping.end)} == {2}
        child.touch(mapping, 2)
        counts = [frame.mapped for frame in process.frames(mapping.start, mapping.end)]
        assert counts == [1, 1, 2, 2, 2, 2]


@needs_frames
def test_translation(target: Target) -> None:
    mapping = target.map(4)
    target.touch(mapping, 1)
    process = procmem.Process(target.pid)
    found = process.translate(mapping.start + 123)
    pfn = process.pagemap(mapping.start, mapping.end)[0].pfn
    assert found.frame == pfn
    assert pfn is not None
    assert found.physical == pfn * PAGE + 123
    assert (found.offset, found.region, found.mapping_size) == (
        123,
        process.maps().find(mapping.start),
        PAGE if probes.has_pagemap_scan() else None,
    )
    never = process.translate(mapping.page(2).start)
    assert (never.frame, never.physical) == (None, None)
    assert "never touched" in never.why
    nothing = process.translate(PAGE)
    assert (nothing.region, nothing.why) == (None, "nothing is mapped there")
    with pytest.raises(procmem.Unsupported):
        process.translate((1 << 64) - 1)
    with pytest.raises(ValueError, match="no address"):
        process.translate(1 << 64)


@needs_frames
def test_the_same_frame_through_two_processes(target: Target) -> None:
    first = target.map_memfd("frame", 1)
    target.poke(first.start, b"here")
    process = procmem.Process(target.pid)
    with target.fork() as child:
        child.read(first)
        there = procmem.Process(child.pid).translate(first.start)
        assert there.physical == process.translate(first.start).physical is not None


@needs_frames
def test_a_huge_page_is_mapped_by_one_entry(target: Target) -> None:
    mapping = target.map(2 * HUGE // PAGE)
    huge = mapping.page(-mapping.start % HUGE // PAGE, HUGE // PAGE)
    with contextlib.suppress(TargetError):
        target.madvise(huge, Advice.HUGEPAGE)
    target.touch(huge.page(0))
    process = procmem.Process(target.pid)
    if process.pagemap(huge.start, huge.end).present.count(True) == 1:
        pytest.skip("the kernel found no huge page")
    found = process.translate(huge.start + HUGE - 1)
    assert found.mapping_size == (HUGE if probes.has_pagemap_scan() else None)
    assert found.frame == (process.translate(huge.start).frame or 0) + HUGE // PAGE - 1


@needs_frames
def test_translation_of_a_page_in_swap(start: Start) -> None:
    with machine.swap() as setting:
        setting.or_skip()
        target = start()
        mapping = target.map(16)
        target.touch(mapping)
        process = procmem.Process(target.pid)
        for _ in range(50):
            target.madvise(mapping, Advice.PAGEOUT)
            pages = process.pagemap(mapping.start, mapping.end)
            if pages.swapped.count(True):
                break
        else:
            pytest.skip("the kernel swapped nothing out")
        page = next(page for page in pages if page.swapped)
        found = process.translate(page.address)
        assert found.frame is None
        assert "in swap" in found.why


@needs_frames
def test_sharers(target: Target) -> None:
    mapping = target.map(20)
    target.touch(mapping, 10)
    process = procmem.Process(target.pid)
    alone = process.sharers(mapping.start, mapping.end)
    assert (alone.shares, alone.asked, alone.processes) == ([], 0, 0)
    with target.fork() as child:
        child.touch(mapping.page(3, 2))
        found = process.sharers(mapping.start, mapping.end)
        assert found.asked == 8
        assert [(s.process.pid, s.start, s.end, s.at) for s in found.shares] == [
            (child.pid, mapping.start, mapping.page(3).start, mapping.start),
            (child.pid, mapping.page(5).start, mapping.page(10).start, mapping.page(5).start),
        ]


@needs_frames
def test_sharers_by_process(target: Target, tmp_path: Path) -> None:
    one, two = target.map(20), target.map(30)
    target.touch(one)
    target.touch(two)
    with target.fork() as child, target.fork() as other:
        for each in (target, child, other):
            each.touch(one.page(0))  # what they need to answer is written now
        process = procmem.Process(target.pid)
        before = own_of(process.sharers(one.start, two.end), child.pid)
        child.touch(one.page(5, 10))
        other.touch(two.page(0, 29))
        found = process.sharers(one.start, two.end)
        shares = {share.process.pid: share for share in found.by_process()}
        assert list(shares) == [child.pid, other.pid]
        first, second = shares[child.pid], shares[other.pid]
        assert first.name == second.name != "?"
        assert (first.size, second.size) == ((19 - 10 + 30) * PAGE, (19 + 1) * PAGE)
        assert [size for _, size in first.regions] == [9 * PAGE, 30 * PAGE]
        assert first.regions[0][0].start == one.start
        # It copied 10 pages; page 0 of `one` was its own before.
        assert own_of(found, child.pid) - before == 10 * PAGE
        assert first.frees == own_of(found, child.pid)
        pages = procmem.Process(child.pid).pagemap(0, 1 << 47).counts()
        assert first.frees == pages.anonymous * PAGE
    ended = {share.process.pid: share for share in found.by_process()}
    assert ended[child.pid].name == "?"


def own_of(sharers: procmem.Sharers, pid: int) -> int:
    return sharers.own[pid]


@needs_frames
def test_a_process_that_maps_pages_twice_shares_with_itself(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * PAGE))
    one, two = (target.map_file(path, 4, "rw-s") for _ in range(2))
    target.touch(one, 2)
    target.touch(two, 2)
    found = procmem.Process(target.pid).sharers(one.start, one.page(2).start)
    assert [(s.process.pid, s.start, s.end, s.at) for s in found.shares] == [
        (target.pid, one.start, one.page(2).start, two.start)
    ]
    (itself,) = found.by_process()
    assert (itself.process.pid, itself.size, itself.frees) == (target.pid, 2 * PAGE, None)
    frames = procmem.Process(target.pid).frames(one.start, one.page(2).start)
    assert [frame.mapped for frame in frames] == [2, 2]


@needs_frames
def test_those_that_end_or_deny_are_counted(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = target.map(2)
    target.touch(mapping)
    read = process_pages.pagemap_of
    with contextlib.ExitStack() as stack:
        child, *strangers = [stack.enter_context(target.fork()) for _ in range(4)]
        # No others: those of the machine may end meanwhile.
        known = [procmem.Process(each.pid) for each in (target, child, *strangers)]
        monkeypatch.setattr("procmem.process.process.processes", lambda *_, **__: iter(known))
        errors: list[Exception] = [
            procmem.NoSuchProcess(1),
            procmem.AccessDenied(1),
            procmem.ProcessChanged(1, "exec"),
        ]

        def read_some(files: procmem.procfs.ProcessFiles, start: int, end: int) -> PageMap:
            if files.pid not in (target.pid, child.pid) and errors:
                raise errors.pop()
            return read(files, start, end)

        monkeypatch.setattr(process_pages, "pagemap_of", read_some)
        found = procmem.Process(target.pid).sharers(mapping.start, mapping.end)
    assert [share.process.pid for share in found.shares] == [child.pid]
    assert (found.gone, found.denied) == (2, 1)
