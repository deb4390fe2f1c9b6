"""Diffs of snapshots: every byte accounted for, every change with its cause."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import procmem
from procmem import Cause, ChangeKind, Diff, Faults, MeasuredRegion, Process, Snapshot, diff
from procmem.errors import SyscallError, Unsupported
from procmem.experiments import Specimen
from procmem.experiments.specimen.libc import verdict
from procmem.regions.text import parse_smaps
from procmem.regions.threads import Thread
from procmem.snapshots.moment import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

K = ChangeKind
KIB = 1024
PAGE = os.sysconf("SC_PAGE_SIZE")

needs_4k = pytest.mark.skipif(PAGE != 4096, reason="the figures here are those of 4 KiB pages")


def table(*regions: MeasuredRegion) -> Snapshot:
    """A snapshot of regions made by hand."""
    lines = []
    for region in regions:
        lines.append(region.line())
        for name, value in region.counters.items():
            if name != "Size":
                lines.append(f"{name}: {int(value) // 1024} kB".encode())
        if region.vm_flags is not None:
            lines.append(b"VmFlags: " + str(region.vm_flags).encode())
    identity = Identity(7, 7, "boot", "x", None, ())
    return Snapshot(
        parse_smaps(b"".join(line + b"\n" for line in lines)),
        faults=Faults(0, 0),
        identity=identity,
    )


def anon(start: int, pages: int, perms: str = "rw-p", rss: int = 0, **more: Any) -> MeasuredRegion:
    at = 0x1000_0000 + start * 4096
    return MeasuredRegion(at, at + pages * 4096, perms, Rss=rss * 4096, **more)


def of_file(start: int, pages: int, offset: int = 0, **more: Any) -> MeasuredRegion:
    at = 0x1000_0000 + start * 4096
    more = {"inode": 5, "pathname": "/data", "dev": (8, 1), **more}
    more["Rss"] = more.pop("rss", 0) * 4096
    return MeasuredRegion(at, at + pages * 4096, "r--p", offset * 4096, **more)


def kinds(found: Diff) -> list[list[str]]:
    return [[kind.value for kind in change.kinds] for change in found.changes]


def accounts(found: Diff) -> None:
    """What each diff must hold, whatever happened."""
    changes = found.changes
    left = found.remainder
    assert sum(c.vsz for c in changes) + left.vsz == found.vsz
    assert sum(c.rss or 0 for c in changes) + left.rss == (found.rss or 0)
    if found.minor is not None:
        assert sum(c.minor or 0 for c in changes) + left.minor == found.minor
        assert sum(c.major or 0 for c in changes) + left.major == found.major
    assert all(left.why[name] for name in ("vsz", "rss", "minor", "major") if getattr(left, name))
    sums = found.causes
    assert sum(one.vsz for one in sums) == sum(change.vsz for change in changes)
    if None not in [one.rss for one in sums]:
        assert sum(one.rss or 0 for one in sums) == sum(change.rss or 0 for change in changes)
    assert {id(change) for one in sums for change in one.changes} == set(map(id, changes))
    assert all(one.words and one.evidence for one in sums)
    for change in changes:
        assert change.kinds
        assert change.why
        assert change.evidence
        assert isinstance(change.cause, Cause)
        if K.MOVED not in change.kinds:
            gained = sum(end - start for start, end in change.gained)
            assert gained - sum(end - start for start, end in change.lost) == change.vsz
    told = [change for one in found.explanations for change in one.changes]
    assert sorted(map(id, told)) == sorted(map(id, changes))


FIGURES = (
    "vsz", "rss", "swap", "copied", "unshared", "minor", "major", "anon_huge_pages", "lazy_free",
    "ksm", "hugetlb",
)  # fmt: skip

MIRROR = {
    K.MAPPED: K.UNMAPPED,
    K.GROWN: K.SHRUNK,
    K.SPLIT: K.MERGED,
    K.TOUCHED: K.DROPPED,
}
MIRROR |= {other: one for one, other in MIRROR.items()}


def mirrored(one: Diff, other: Diff) -> None:
    assert (one.vsz, one.rss, one.minor) == tuple(
        None if v is None else -v for v in (other.vsz, other.rss, other.minor)
    )
    assert len(one.changes) == len(other.changes)
    mirror = {(change.after, change.before): change for change in other.changes}
    for a in one.changes:
        b = mirror[a.before, a.after]
        assert {MIRROR.get(kind, kind) for kind in a.kinds} == set(b.kinds)
        assert (a.before, a.after, a.gained, a.lost) == (b.after, b.before, b.lost, b.gained)
        for name in FIGURES:
            value = getattr(a, name)
            assert getattr(b, name) == (None if value is None else -value)


# ---- by hand ----


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ([], [anon(0, 1)], [["mapped"]]),
        ([anon(0, 1, rss=1)], [], [["unmapped", "dropped"]]),
        ([anon(0, 1)], [anon(0, 3, rss=2)], [["grown", "touched"]]),
        ([anon(1, 1)], [anon(0, 3)], [["grown"]]),
        (
            [anon(0, 9, rss=9)],
            [anon(0, 3, rss=3), anon(5, 4, rss=4)],
            [["shrunk", "split", "dropped"]],
        ),
        ([anon(0, 3), anon(5, 4)], [anon(0, 9)], [["grown", "merged"]]),
        ([anon(0, 9)], [anon(0, 3), anon(3, 6, "r--p")], [["split", "protected"]]),
        ([anon(0, 3), anon(3, 3, "---p")], [anon(0, 4), anon(4, 2, "---p")], [["protected"]]),
        ([anon(0, 4, rss=4, Swap=0)], [anon(0, 4, rss=1, Swap=3 * 4096)], [["swapped"]]),
        (
            [anon(0, 4, rss=4, Swap=0)],
            [anon(0, 4, rss=1, Swap=4096)],
            [["dropped", "swapped"]],
        ),
        ([anon(0, 4, rss=3)], [anon(70, 4, rss=3)], [["moved"]]),
        ([anon(0, 4)], [anon(70, 4)], [["moved"]]),
        ([anon(0, 4)], [anon(70, 4, "r--p")], [["unmapped"], ["mapped"]]),
        ([anon(0, 4)], [anon(70, 4), anon(90, 5)], [["unmapped"], ["mapped"], ["mapped"]]),
        ([anon(0, 4)], [anon(70, 4, rss=1)], [["unmapped"], ["mapped", "touched"]]),
        (
            [anon(0, 4, rss=3), anon(9, 4, rss=3)],
            [anon(70, 4, rss=3)],
            [["unmapped", "dropped"]] * 2 + [["mapped", "touched"]],
        ),
        ([of_file(0, 4)], [of_file(70, 4)], [["moved"]]),
        ([of_file(0, 4)], [of_file(0, 4, 1)], [["unmapped"], ["mapped"]]),
        ([of_file(0, 4)], [of_file(0, 4, pathname="/new")], [["renamed"]]),
        ([of_file(0, 4)], [of_file(0, 4, deleted=True)], [["renamed"]]),
        ([of_file(0, 4)], [anon(0, 4)], [["unmapped"], ["mapped"]]),
        ([anon(0, 4)], [anon(0, 4, pathname="[anon:pool]")], [["renamed"]]),
        ([anon(0, 4, vm_flags="rd wr sd")], [anon(0, 4, vm_flags="rd wr lo")], [["advised"]]),
        ([anon(0, 4, vm_flags="rd wr sd")], [anon(0, 4, vm_flags="rd wr")], []),
        (
            [of_file(0, 4, rss=4, Anonymous=0)],
            [of_file(0, 4, rss=4, Anonymous=8192)],
            [["copied"]],
        ),
    ],
)
def test_kinds(before: Any, after: Any, expected: Any) -> None:
    one, other = table(*before), table(*after)
    found = diff(one, other)
    assert kinds(found) == expected
    accounts(found)
    mirrored(found, diff(other, one))
    assert not found.remainder


@pytest.mark.parametrize(
    "before, after, causes",
    [
        (
            [anon(0, 9, rss=9)],
            [anon(0, 3, rss=3), anon(5, 4, rss=4), anon(70, 2, rss=2)],
            [Cause.REMAPPED] * 2,
        ),
        ([anon(0, 20, rss=20)], [anon(70, 40, rss=20)], [Cause.REMAPPED] * 2),
        (
            [anon(0, 20, rss=2)],
            [anon(70, 40, rss=2)],
            [Cause.MEMORY_UNMAPPED, Cause.MEMORY_MAPPED],
        ),
        (
            [anon(0, 9, rss=9)],
            [anon(0, 7, rss=7), anon(70, 2, "r--p", rss=2)],
            [Cause.MEMORY_UNMAPPED, Cause.MEMORY_MAPPED],
        ),
        ([anon(0, 9)], [anon(3, 9)], [Cause.REMAPPED]),
        ([anon(0, 9)], [anon(3, 9, rss=1)], [Cause.REMAPPED]),
        ([anon(0, 9)], [anon(3, 19)], [Cause.MEMORY_MAPPED]),
        ([], [anon(0, 9, "---p", rss=1)], [Cause.MEMORY_MAPPED]),
    ],
)
def test_what_was_remapped(before: Any, after: Any, causes: list[Cause]) -> None:
    found = diff(table(*before), table(*after))
    assert [change.cause for change in found.changes] == causes
    accounts(found)


def test_no_thread_ends_where_all_stay() -> None:
    stack = (anon(0, 1, "---p"), anon(1, 40, rss=1))
    one, other = table(*stack), table()
    same = tuple(
        Snapshot(it.regions, threads=(Thread(7, "x", None, None),), identity=it.identity)
        for it in (one, other)
    )
    assert {change.cause for change in diff(*same).changes} == {Cause.MEMORY_UNMAPPED}
    assert {change.cause for change in diff(one, other).changes} == {Cause.THREAD_ENDED}


@pytest.mark.parametrize("inode", [0, 5])
def test_a_diff_against_a_core_is_a_mirror_too(inode: int) -> None:
    """A core's files have no inodes: what is of a file may not depend on which side is asked."""
    counters = {"Private_Dirty": 0, "Private_Clean": 0, "Shared_Dirty": 0, "Shared_Clean": 0}
    one = table(of_file(0, 9, rss=9, inode=inode, Anonymous=0, **counters))
    counters["Private_Dirty"] = 8 * 4096
    other = table(of_file(0, 9, rss=9, inode=5 - inode, Anonymous=8 * 4096, **counters))
    later = Snapshot(other.regions, faults=Faults(20, 0), identity=one.identity)
    found = later - one
    mirrored(found, one - later)
    assert [c.copied for c in found.changes] == [8 * 4096]
    assert [c.minor for c in found.changes] == [8]


def test_ten_mappings_that_become_one_region() -> None:
    one = table(anon(0, 3, rss=1))
    other = table(anon(0, 3 + 10 * 65, rss=11))
    found = other - one
    assert kinds(found) == [["grown", "touched"]]
    assert found.changes[0].vsz == 10 * 65 * 4096
    assert found.changes[0].rss == 10 * 4096
    assert not found.remainder


def test_thousands_of_regions_that_hang_together() -> None:
    """Every boundary lies elsewhere, so that all are one group: no work for each pair."""
    both = ["rw-p", "r--p"]
    one = table(*(anon(2 * i, 2, both[i % 2], rss=1) for i in range(8000)))
    other = table(*(anon(2 * i + 1, 2, both[i % 2], rss=1) for i in range(8000)))
    found = other - one
    assert kinds(found) == [["grown", "shrunk", "protected"]]
    assert (found.changes[0].gained, found.changes[0].lost) != ((), ())
    accounts(found)
    mirrored(found, one - other)


def test_nothing_changed() -> None:
    mine = Process().snapshot()
    found = mine - mine
    assert not found
    assert found.changes == ()
    assert not found.remainder
    assert (found.vsz, found.rss, found.minor, found.major) == (0, 0, 0, 0)


def test_what_is_no_snapshot() -> None:
    with pytest.raises(TypeError):
        Process().snapshot("maps") - 3  # type: ignore[operator]


def test_faults_beyond_the_pages_have_a_name() -> None:
    one, other = table(anon(0, 9)), table(anon(0, 9, rss=3))
    later = Snapshot(other.regions, faults=Faults(5, 0), identity=other.identity)
    found = later - one
    assert (found.changes[0].minor, found.remainder.minor) == (3, 2)
    assert "zero page" in found.remainder.why["minor"]
    accounts(found)
    mirrored(found, one - later)


def test_maps_alone_tell_no_rss_by_region() -> None:
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


def test_what_was_not_read_is_none() -> None:
    one = table(anon(0, 3, rss=1, Anonymous=4096))
    plain = Snapshot(procmem.parse_maps(b""), faults=Faults(0, 0), identity=one.identity)
    (change,) = (one - plain).changes
    assert (change.rss, change.swap, change.copied, change.minor) == (None, None, None, None)
    with Specimen() as s:
        process = Process(s.pid)
        before = process.snapshot("maps")
        s.mmap(pages=4)
        (change,) = (process.snapshot("maps") - before).changes
    assert (change.vsz, change.rss, change.minor) == (4 * PAGE, None, None)


def test_details_may_differ() -> None:
    with Specimen() as s:
        process = Process(s.pid)
        before = process.snapshot("maps")
        s.mmap(pages=4)
        found = process.snapshot("smaps") - before
        assert kinds(found) == [["mapped"]]
        assert kinds(before - process.snapshot("smaps")) == [["unmapped"]]


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


def change_of(process: Process, do: Callable[[], Any]) -> Diff:
    before = process.snapshot()
    do()
    found = process.snapshot() - before
    accounts(found)
    return found


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


@pytest.fixture
def glibc() -> Any:
    try:
        made = Specimen(libc=True)
    except Unsupported as error:
        pytest.skip(str(error))
    with made:
        found = verdict()
        if found.malloc or found.threads:
            pytest.skip(found.malloc or found.threads or "")
        yield made


@needs_4k
def test_malloc_and_threads(glibc: Specimen) -> None:
    s = glibc
    process = Process(s.pid)
    found = change_of(process, lambda: s.malloc(1000))
    assert found.changes[0].why.startswith(
        "heap grew by 132 KiB: the first malloc extends brk by its request plus the top pad"
    )
    assert found.changes[0].cause is Cause.HEAP_STARTED
    assert not found.remainder
    found = change_of(process, lambda: s.malloc(200_000))
    assert [change.cause for change in found.changes] == [Cause.MEMORY_MAPPED]
    step: Any = None

    def thread() -> None:
        nonlocal step
        step = s.thread()

    found = change_of(process, thread)
    told = [one for one in found.explanations if one.cause is Cause.THREAD_STARTED]
    assert len(told) == 1
    assert told[0].vsz == step.delta.vsz
    assert "threads: 1 before, 2 after" in told[0].evidence
    if step.delta.vsz == 8196 * KIB:
        assert told[0].words.startswith("VSZ +8,196 KiB: one thread's stack and its guard")
    found = change_of(process, lambda: s.malloc(1000, thread=step.thread))
    assert {change.cause for change in found.changes} == {Cause.ARENA_MADE}
    assert found.vsz == 65536 * KIB


def test_a_library_that_is_loaded() -> None:
    import subprocess
    import sys

    code = (
        "import sys; print(flush=True); sys.stdin.readline(); import _decimal, _bisect;"
        "print(flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        process = Process(child.pid)
        before = process.snapshot()
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        found = process.snapshot() - before
        child.stdin.close()
    accounts(found)
    names = [one.words for one in found.explanations if one.cause is Cause.LIBRARY_LOADED]
    if not names:
        pytest.skip("this Python has _decimal built in")
    assert any("_decimal" in name or "libmpdec" in name for name in names)
    assert not found.remainder.vsz
    assert not found.remainder.rss


def test_two_processes() -> None:
    with Specimen() as one, Specimen() as other:
        found = Process(other.pid).snapshot() - Process(one.pid).snapshot()
    accounts(found)
    assert found.same_process is False
    assert found.minor is None
    assert {change.cause for change in found.changes} <= {Cause.OTHER_PROCESS}


def test_exec() -> None:
    """A process that became another program: its stack lies elsewhere."""
    import subprocess

    with subprocess.Popen(
        ["sh", "-c", "read x; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        process = Process(child.pid)
        before = process.snapshot()
        child.stdin.write(b"\nx\n")
        child.stdin.flush()
        child.stdout.readline()
        after = process.snapshot()
        child.stdin.close()
    if before.identity.comm != "sh":
        pytest.skip("the shell had not started yet")
    found = after - before
    accounts(found)
    causes = {change.cause for change in found.changes}
    assert causes == {Cause.PROGRAM_REPLACED} or Cause.UNKNOWN not in causes


def test_a_diff_of_what_was_saved(tmp_path: Any) -> None:
    with Specimen() as s:
        before = Process(s.pid).snapshot()
        s.mmap(pages=10)
        after = Process(s.pid).snapshot()
    before.save(tmp_path / "a.snap")
    after.save(tmp_path / "b.json")
    found = procmem.load(tmp_path / "b.json") - procmem.load(tmp_path / "a.snap")
    assert found.to_dict() == (after - before).to_dict()
