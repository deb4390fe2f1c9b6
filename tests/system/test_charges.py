"""Each bar of a control group moves by exactly what was mapped, written, filled and copied."""

from __future__ import annotations

import os
from array import array
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.native import ffi, lib
from procmem.pages.frames import FrameFlags
from procmem.procfs import probes
from procmem.system import charges as module
from procmem.system.charges import charges_of, kind_of
from procmem.system.controlgroup import ControlGroup
from tests.support.targets import PAGE, Target, machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from procmem.system.charges import Charges


@pytest.fixture
def group() -> Iterator[Path]:
    with machine.memory_cgroup(1 << 30) as setting:
        path = setting.or_skip().path
        if not os.path.exists("/proc/kpagecgroup"):
            pytest.skip("this kernel has no /proc/kpagecgroup")
        yield path


def join(group: Path, pid: int) -> None:
    (group / "cgroup.procs").write_text(f"{pid}\n")


def now(group: Path) -> Charges:
    return ControlGroup(group).charges


def mapped(charges: Charges) -> int:
    """Anonymous memory that its processes map: what was freed may be charged a little longer."""
    return sum(row.size for row in charges.anon)


def anon(charges: Charges, pid: int | None) -> int:
    return sum(row.size for row in charges.anon if row.pid == pid)


def test_anonymous_memory_moves_by_what_was_touched_and_copied(group: Path) -> None:
    with Target() as target:
        join(group, target.pid)
        target.touch(target.map(1))
        before = now(group)
        mapping = target.map(400)
        target.touch(mapping, 300)
        touched = now(group)
        assert mapped(touched) - mapped(before) == 300 * PAGE
        assert anon(touched, target.pid) - anon(before, target.pid) == 300 * PAGE
        with target.fork() as child:
            child.touch(mapping, 1)
            child.ping()
            forked = now(group)
            # They share the others, which are counted once.
            assert anon(forked, None) >= 299 * PAGE
            child.touch(mapping, 41)
            copied = now(group)
            assert mapped(copied) - mapped(forked) == 40 * PAGE
            assert anon(copied, child.pid) - anon(forked, child.pid) == 40 * PAGE
            assert anon(copied, target.pid) - anon(forked, target.pid) == 40 * PAGE
            assert anon(copied, None) - anon(forked, None) == -40 * PAGE
            assert target.pid not in copied.unread
        assert (
            sum(row.size for row in touched.anon) + touched.anon_unmapped
            == (touched.frames["anon"])
        )


def test_shared_memory_and_files_by_name(group: Path, tmp_path: Path) -> None:
    file = tmp_path / "cached"
    file.touch()
    os.truncate(file, 200 * PAGE)
    with Target() as target:
        join(group, target.pid)
        before = now(group)
        shared = target.map_memfd("bar", 250)
        target.touch(shared, 210)
        cached = target.map_file(file, 200, "rw-s")
        target.touch(cached, 130)
        # Locked pages stay, however short of memory the machine is.
        target.lock(cached)
        after = now(group)
        rows = {row.path: row for row in after.files}
        memfd = rows["/memfd:bar"]
        assert (memfd.shmem, memfd.size, memfd.mapped) == (True, 210 * PAGE, 210 * PAGE)
        row = rows[str(file)]
        assert (row.size, row.mapped, row.cached) == (200 * PAGE, 200 * PAGE, 200 * PAGE)
        if row.shmem:  # the test's directory is a tmpfs
            assert after.frames["shmem"] - before.frames["shmem"] == 410 * PAGE
        else:
            assert after.frames["shmem"] - before.frames["shmem"] == 210 * PAGE
            assert 0 <= (row.dirty or 0) <= 200 * PAGE


def test_a_page_belongs_to_the_group_that_touched_it_first(group: Path) -> None:
    other = group / "other"
    first = group / "first"
    machine.count_inside(group)
    other.mkdir()
    first.mkdir()
    try:
        with Target() as target:
            mapping = target.map(150, "rw-s")
            with target.fork() as child:
                join(first, target.pid)
                join(other, child.pid)
                target.touch(mapping, 100)
                child.touch(mapping)
                inner = charges_of(str(other), [child.pid])
                assert inner.frames["shmem"] == 50 * PAGE
                (row,) = [row for row in inner.files if row.shmem]
                assert (row.size, row.cached) == (50 * PAGE, 150 * PAGE)
                payers = {one.name: one.size for one in inner.charged_elsewhere}
                assert payers[str(first)] >= 100 * PAGE
                target.read(mapping)
                inner = charges_of(str(other), [child.pid])
                (outside,) = [one for one in inner.outside if one.pid == target.pid]
                assert outside.size >= 50 * PAGE
                # The group above has both, and nobody else maps them.
                both = now(group)
                assert both.frames["shmem"] == 150 * PAGE
                # Others may map pages of libraries that these two brought back.
                assert {target.pid, child.pid}.isdisjoint(one.pid for one in both.outside)
    finally:
        machine.remove_group(other)
        machine.remove_group(first)


def test_what_nobody_has_open_is_left(group: Path, tmp_path: Path) -> None:
    file = tmp_path / "closed"
    file.touch()
    os.truncate(file, 64 * PAGE)
    with Target() as target, file.open("rb") as held:
        join(group, target.pid)
        mapping = target.map_file(file, 64, "rw-s")
        target.touch(mapping)
        before = now(group)
        target.unmap(mapping)
        after = now(group)
        assert held.fileno() >= 0
        if before.frames["file"] == 0:
            pytest.skip("the test's directory is a tmpfs")
        assert str(file) in [row.path for row in before.files]
        assert str(file) not in [row.path for row in after.files]
        # Unless somebody says where to look. The pages may have been reclaimed by now.
        (use,) = procmem.page_cache(file)
        found = ControlGroup(group, files=[str(tmp_path)]).charges
        sizes = [row.size for row in found.files if row.path == str(file)]
        assert use.cache is not None
        assert sizes == [use.cache.cached] or sizes == [] or use.cache.cached < 64 * PAGE


def test_only_root_sees_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "shows_page_frames", lambda: False)
    with pytest.raises(procmem.Unsupported, match="root alone"):
        charges_of("/", [])


@pytest.mark.parametrize(
    "flags, kind",
    [
        (FrameFlags.ANON | FrameFlags.SWAPBACKED | FrameFlags.LRU, "anon"),
        (FrameFlags.LRU | FrameFlags.UPTODATE | FrameFlags.SWAPBACKED, "shmem"),
        (FrameFlags.UPTODATE, "file"),
        (FrameFlags.MMAP | FrameFlags.LRU, "file"),
        (FrameFlags.PGTABLE, "page tables"),
        (FrameFlags(0), "other"),
        (FrameFlags.COMPOUND_HEAD, "other"),
    ],
)
def test_what_a_frame_is(flags: FrameFlags, kind: str) -> None:
    assert kind_of(flags) == kind


def test_the_tail_of_a_huge_page_is_what_its_head_is() -> None:
    head = FrameFlags.ANON | FrameFlags.COMPOUND_HEAD | FrameFlags.THP
    found = module.ChargedFrames(
        array("Q", [8, 9, 20]), {8: head, 9: FrameFlags.COMPOUND_TAIL, 20: FrameFlags.LRU}
    )
    assert found.kinds == {8: "anon", 9: "anon", 20: "file"}


def test_frames_of_groups_are_picked() -> None:
    words = [0, 7, 3, 9, 7, 12, 2]
    for groups in ([7], [3, 7], [2, 3, 7, 9, 12], [1, 13], [0]):
        out = ffi.new("uint64_t[]", len(words))
        got = lib.pm_frames_of_groups(words, len(words), 100, groups, len(groups), out)
        expected = [100 + i for i, word in enumerate(words) if word and word in groups]
        assert list(out[0:got]) == expected
    assert lib.pm_frames_of_groups(words, len(words), 0, [], 0, ffi.NULL) == 0
