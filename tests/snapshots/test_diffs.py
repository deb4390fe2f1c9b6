"""Diffs of snapshots: every byte is accounted for."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import procmem
from procmem import Cause, ChangeKind, Faults, Process, Snapshot, diff
from procmem.errors import SyscallError
from procmem.experiments import Specimen
from tests.support.snapshots import accounts, anon, change_of, kinds, mirrored, of_file, table
from tests.support.targets import machine

K = ChangeKind
KIB = 1024
PAGE = os.sysconf("SC_PAGE_SIZE")

needs_4k = pytest.mark.skipif(PAGE != 4096, reason="the figures here are those of 4 KiB pages")


# ---- by hand ----


def test_nothing_changed() -> None:
    mine = Process().snapshot()
    found = mine - mine
    assert not found
    assert found.changes == ()
    assert not found.remainder
    assert (found.vsz, found.rss, found.minor, found.major) == (0, 0, 0, 0)


def test_faults_beyond_the_pages_have_a_name() -> None:
    one, other = table(anon(0, 9)), table(anon(0, 9, rss=3))
    later = Snapshot(other.regions, faults=Faults(5, 0), identity=other.identity)
    found = later - one
    assert (found.changes[0].minor, found.remainder.minor) == (3, 2)
    assert "zero page" in found.remainder.why["minor"]
    accounts(found)
    mirrored(found, one - later)


def test_maps_alone_tell_no_rss_by_region() -> None:
    machine.exact_rss_or_skip()
    with Specimen() as s:
        process = Process(s.pid)
        area = s.mmap(pages=4).mapping
        before = process.snapshot("maps")
        assert area is not None
        s.touch(area)
        found = process.snapshot("maps") - before
    assert found.rss == 4 * PAGE
    assert not found.changes
    assert found.remainder.rss == 4 * PAGE
    assert "detail maps" in found.remainder.why["rss"]


# ---- properties ----


@st.composite
def spaces(draw: st.DrawFn) -> Snapshot:
    regions = []
    at = 0
    for _ in range(draw(st.integers(0, 8))):
        at += draw(st.integers(0, 3))
        pages = draw(st.integers(1, 5))
        perms = draw(st.sampled_from(["rw-p", "r--p", "---p"]))
        rss = draw(st.integers(0, pages))
        own = draw(st.integers(0, rss))
        counters = {
            "Swap": draw(st.integers(0, pages - rss)) * 4096,
            "Anonymous": own * 4096,
            "Private_Dirty": own * 4096,
            "Private_Clean": 0,
            "Shared_Clean": 0,
            "Shared_Dirty": (rss - own) * 4096,
            "LazyFree": draw(st.sampled_from([0, 0, own])) * 4096,
            "KSM": draw(st.sampled_from([0, 0, own])) * 4096,
            "AnonHugePages": draw(st.sampled_from([0, 0, own])) * 4096,
            "Pss_Dirty": own * 4096 + (rss - own) * draw(st.sampled_from([2048, 1024])),
        }
        if not draw(st.integers(0, 2)):
            counters["Shared_Clean"] = counters.pop("Shared_Dirty")
            counters["Shared_Dirty"] = 0
        if draw(st.booleans()):
            regions.append(anon(at, pages, perms, rss, **counters))
        else:
            offset = at if draw(st.booleans()) else draw(st.integers(0, 3))
            inode = draw(st.integers(5, 6))
            regions.append(of_file(at, pages, offset, rss=rss, inode=inode, **counters))
        at += pages
    one = table(*regions)
    faults = Faults(draw(st.integers(0, 40)), draw(st.integers(0, 5)))
    return Snapshot(one.regions, faults=faults, identity=one.identity)


@settings(max_examples=400, deadline=None)
@given(spaces(), spaces())
def test_any_two(one: Snapshot, other: Snapshot) -> None:
    found = diff(one, other)
    accounts(found)
    assert (found.remainder.vsz, found.remainder.rss) == (0, 0)
    mirrored(found, diff(other, one))
    assert not diff(one, one)
    assert not diff(other, other)


# ---- live ----


@pytest.mark.parametrize("seed", range(8))
def test_random_walks(seed: int) -> None:
    """Real calls; the diff tells what the kernel's totals tell, region by region."""
    chance = random.Random(seed)
    with Specimen() as s:
        process = Process(s.pid)
        areas = [s.mmap(pages=64).mapping for _ in range(3)]

        def act() -> None:
            area = chance.choice(areas)
            assert area is not None
            start = chance.randrange(48)
            pages = chance.randrange(1, 16)
            where: Any = {"start": start, "pages": pages}
            what = chance.randrange(6)
            if what == 0:
                areas.append(s.mmap(pages=chance.randrange(60, 80)).mapping)
            elif what == 1:
                s.munmap(area, **where)
            elif what == 2:
                s.mprotect(area, chance.choice(["r", "rw", ""]), **where)
            elif what == 3:
                s.madvise(area, "dontneed", **where)
            else:
                s.touch(area, **where)

        before = first = process.snapshot()
        for _ in range(25):
            for _ in range(chance.randrange(1, 4)):
                try:
                    act()
                except SyscallError:
                    continue
            after = process.snapshot()
            found = after - before
            accounts(found)
            assert (found.remainder.vsz, found.remainder.rss) == (0, 0)
            assert found.vsz == after.memory.vsz - before.memory.vsz  # type: ignore[union-attr, operator]
            mirrored(found, before - after)
            before = after
        accounts(before - first)
        mirrored(before - first, first - before)


@needs_4k
def test_what_a_specimen_does() -> None:
    with Specimen() as s:
        process = Process(s.pid)
        found = change_of(process, lambda: s.mmap(pages=1000))
        assert kinds(found) == [["mapped"]]
        assert (found.vsz, found.rss, found.minor) == (4000 * KIB, 0, 0)
        assert found.changes[0].cause is Cause.MEMORY_MAPPED
        assert "RSS unchanged: pages are allocated when first touched" in found.changes[0].why
        area = s.mmap(pages=1000).mapping
        assert area is not None
        found = change_of(process, lambda: s.touch(area, pages=10))
        assert kinds(found) == [["touched"]]
        assert (found.vsz, found.rss, found.changes[0].minor) == (0, 40 * KIB, 10)
        assert found.changes[0].cause is Cause.FIRST_TOUCH
        found = change_of(process, lambda: s.munmap(area, start=3, pages=3))
        assert kinds(found) == [["shrunk", "split", "dropped"]]
        assert (found.vsz, found.rss) == (-12 * KIB, -12 * KIB)
        found = change_of(process, lambda: s.mprotect(area, "r", start=8, pages=4))
        assert kinds(found) == [["split", "protected"]]
        assert found.changes[0].cause is Cause.PROTECTION_CHANGED
        found = change_of(process, lambda: s.madvise(area, "dontneed", start=0, pages=2))
        assert kinds(found) == [["dropped"]]
        assert found.changes[0].cause is Cause.GIVEN_BACK
        found = change_of(process, lambda: s.sbrk(8192))
        assert found.changes[0].cause is Cause.HEAP_STARTED


@needs_4k
def test_copy_on_write() -> None:
    with Specimen() as s:
        process = Process(s.pid)
        area = s.mmap(pages=100).mapping
        assert area is not None
        s.touch(area)
        child = None

        def fork() -> None:
            nonlocal child
            child = s.fork().child

        found = change_of(process, fork)
        assert Cause.SHARING_BEGAN in [change.cause for change in found.changes]
        assert child is not None
        found = change_of(Process(child.pid), lambda: child.touch(area, pages=30))
        change = next(c for c in found.changes if area.start in c.region)
        assert change.cause is Cause.COPY_ON_WRITE
        assert (change.copied, change.minor, change.rss) == (30 * PAGE, 30, 0)
        child.close()


@pytest.mark.parametrize("written", [120, 190])
def test_pages_that_are_copied_beside_pages_that_are_new(written: int) -> None:
    with Specimen() as s:
        area = s.mmap(pages=200).mapping
        assert area is not None
        s.touch(area, pages=100)
        child = s.fork().child
        assert child is not None
        child.touch(area, pages=20)
        found = change_of(Process(child.pid), lambda: child.touch(area, pages=written))
        change = next(c for c in found.changes if area.start in c.region)
        assert (change.copied, change.rss) == (80 * PAGE, (written - 100) * PAGE)
        assert change.cause is (Cause.FIRST_TOUCH if written > 180 else Cause.COPY_ON_WRITE)
        assert "80 pages copied on write" in change.why
        assert f"{written - 100} pages touched for the first time" in change.why
        child.close()


def test_a_diff_of_what_was_saved(tmp_path: Any) -> None:
    with Specimen() as s:
        before = Process(s.pid).snapshot()
        s.mmap(pages=10)
        after = Process(s.pid).snapshot()
    before.save(tmp_path / "a.snap")
    after.save(tmp_path / "b.json")
    found = procmem.load(tmp_path / "b.json") - procmem.load(tmp_path / "a.snap")
    assert found.to_dict() == (after - before).to_dict()
