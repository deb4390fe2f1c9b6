"""Why memory changed: real processes whose truth is known, each cause and what only resembles it.

The target is a dynamically linked program: its RELRO pages, which nobody can write, are shared
with its children for as long as these live.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem import Cause, ChangeKind, Diff, MeasuredRegion, Process, Snapshot, diff
from procmem.errors import Unsupported
from procmem.experiments import Specimen
from procmem.experiments.specimen.libc import verdict
from procmem.regions.threads import Thread
from tests.support.blocking import until, until_asleep
from tests.support.snapshots import accounts, anon, change_of, table
from tests.support.specimens import in_memory
from tests.support.targets import PAGE, Advice, Mapping, Target, TargetError, needs
from tests.support.targets.machine import alone, hugepage_size, hugepages, swap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procmem import Change
    from tests.support.targets import Commands

C = Cause
KIB = 1024
PAGES = 200
HUGE = PAGE // 8 * PAGE
KSM = Path("/sys/kernel/mm/ksm")
LAGGING = 32
"""Pages that MADV_FREE may pass over: the newest wait in a list of the CPU (mm/swap.c), of each CPU
that the process was on."""


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as made:
        yield made


def mapped(target: Commands, pages: int = PAGES, touched: int | None = None) -> Mapping:
    area = target.map(pages)
    target.touch(area, pages if touched is None else touched)
    return area


def of(target: Commands, do: Callable[[], Any]) -> Diff:
    """What a call changes; all sums hold."""
    process = Process(target.pid)
    before = process.snapshot()
    do()
    found = process.snapshot() - before
    left = found.remainder
    assert sum(one.rss or 0 for one in found.causes) + left.rss == found.rss
    assert sum(one.vsz for one in found.causes) + left.vsz == found.vsz
    mirror = before - found.after
    assert [c.unshared for c in mirror.changes] == [
        None if c.unshared is None else -c.unshared for c in found.changes
    ]
    return found


def at(found: Diff, area: Mapping) -> Change:
    (change,) = [one for one in found.changes if any(area.start in r for r in one.after)]
    return change


def causes(found: Diff) -> set[Cause]:
    return {one.cause for one in found.causes}


def on_one_cpu(target: Target) -> None:
    """From now on it runs on one CPU."""
    os.sched_setaffinity(target.pid, {min(os.sched_getaffinity(target.pid))})


def until_alone(target: Commands, area: Mapping) -> None:
    """Waits until no other process has the pages of an area.

    Whoever reads the maps of a process that ends, as top does, keeps its pages a little longer.
    """

    def shares() -> bool:
        (region,) = [one for one in Process(target.pid).smaps() if area.start in one]
        return bool(region.shared_clean or region.shared_dirty)

    until(lambda: not shares())


def noise(target: Commands, faults: int) -> None:
    """Faults that leave no page."""
    area = target.map(faults)
    target.touch(area)
    target.unmap(area)


# ---- another process shares the pages ----


def test_a_child_began(target: Target) -> None:
    area = mapped(target)
    child = None

    def fork() -> None:
        nonlocal child
        child = target.fork()

    found = of(target, fork)
    change = at(found, area)
    assert change.cause is C.SHARING_BEGAN
    assert (change.unshared, change.copied, change.rss) == (-PAGES * PAGE, 0, 0)
    assert "fork(2)" in change.why
    assert C.COPY_ON_WRITE not in causes(found)
    assert child is not None
    child.close()


@pytest.mark.parametrize("unrelated", [0, 50, PAGES, 5 * PAGES])
def test_a_child_ended(target: Target, unrelated: int) -> None:
    area = mapped(target)
    child = target.fork()

    def end() -> None:
        child.close()
        until_alone(target, area)
        if unrelated:
            noise(target, unrelated)

    found = of(target, end)
    change = at(found, area)
    assert change.cause is C.SHARING_ENDED
    assert change.unshared == PAGES * PAGE
    assert not change.copied
    assert "the other process that shared them has ended" in change.why
    assert C.COPY_ON_WRITE not in causes(found)
    assert "copied on write" not in " ".join(one.words for one in found.causes)
    (one,) = [one for one in found.causes if one.cause is C.SHARING_ENDED]
    assert change in one.changes
    assert one.size == sum(change.unshared or 0 for change in one.changes)


@pytest.mark.parametrize("copied", [100, PAGES])
def test_pages_that_are_copied_while_the_child_lives(target: Target, copied: int) -> None:
    area = mapped(target)
    with target.fork():
        found = of(target, lambda: target.touch(area, copied))
        change = at(found, area)
        assert change.cause is C.COPY_ON_WRITE
        assert (change.copied, change.unshared) == (copied * PAGE, copied * PAGE)
        assert change.minor == copied
        assert f"{copied:,} page" in change.why
        assert not causes(found) & {C.SHARING_ENDED, C.SHARING_CHANGED}


def test_a_page_that_is_copied_may_as_well_be_the_childs_work(target: Target) -> None:
    """As many faults as one page takes are soon there for another reason."""
    area = mapped(target)
    with target.fork():
        change = at(of(target, lambda: target.touch(area, 1)), area)
        assert change.unshared == PAGE
        assert change.copied in (PAGE, None)
        assert "copied on write" in change.why
        assert change.copied or "either" in change.why


@pytest.mark.parametrize("unrelated", [0, 30, 10 * PAGES])
def test_pages_that_the_child_writes_are_not_copied_by_the_parent(
    target: Target, unrelated: int
) -> None:
    area = mapped(target)
    with target.fork() as child:

        def write() -> None:
            child.touch(area, 100)
            if unrelated:
                noise(target, unrelated)

        found = of(target, write)
        change = at(found, area)
        assert change.cause is C.SHARING_CHANGED
        assert change.unshared == 100 * PAGE
        assert not change.copied
        assert "either" in change.why
        assert "the other process wrote to them" in change.why
        assert "that shared them has ended" not in change.why
        assert C.COPY_ON_WRITE not in causes(found)


@pytest.mark.parametrize("first", ["copied", "ended"])
def test_some_are_written_and_the_child_ends(target: Target, first: str) -> None:
    """A first write takes a fault whether the page is copied or not: only a bound is known."""
    area = mapped(target)
    child = target.fork()

    def both() -> None:
        if first == "copied":
            target.touch(area, 70)
        child.close()
        until_alone(target, area)
        if first == "ended":
            target.touch(area, 70)

    found = of(target, both)
    change = at(found, area)
    assert change.cause is C.SHARING_ENDED
    assert change.copied is None
    assert "at most 7" in change.why
    assert C.COPY_ON_WRITE not in causes(found)


def test_a_child_that_starts_another_program() -> None:
    code = """
import os, sys
go, done = os.pipe(), os.pipe()
child = os.fork()
if not child:
    os.read(go[0], 1)
    os.set_inheritable(done[1], True)
    os.execvp("sh", ["sh", "-c", f"echo >&{done[1]}; read nothing", "sh"])
print(flush=True)
sys.stdin.readline()
os.write(go[1], b"x")
os.read(done[0], 1)
print(flush=True)
sys.stdin.readline()
os.kill(child, 9)
os.waitpid(child, 0)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        until_asleep(process.pid)
        before = Process(process.pid).snapshot()
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        until_asleep(process.pid)
        found = Process(process.pid).snapshot() - before
        process.stdin.write(b"\n")
        process.stdin.close()
    (ended,) = [one for one in found.causes if one.cause is C.SHARING_ENDED]
    assert "or started another program" in ended.words
    assert ended.size > 256 * PAGE
    assert all(change.region.inode for change in found.changes if change.copied)


def test_one_child_ends_and_another_begins(target: Target) -> None:
    """As servers replace their workers: what is older is shared as before."""
    area = mapped(target)
    old = target.fork()
    later = mapped(target)
    new = None

    def replace() -> None:
        nonlocal new
        old.close()
        new = target.fork()

    found = of(target, replace)
    assert all(area.start not in region for c in found.changes for region in c.after)
    assert at(found, later).cause is C.SHARING_BEGAN
    assert C.COPY_ON_WRITE not in causes(found)
    assert new is not None
    new.close()


def test_saved_texts_have_no_faults(target: Target) -> None:
    """Without the number of faults, and without pages that nobody writes, both are named."""

    area = mapped(target)
    texts = []
    with target.fork():
        for pages in (1, 50):
            target.touch(area, pages)
            texts.append(Path(f"/proc/{target.pid}/smaps").read_bytes())
    one, other = (procmem.Snapshot(procmem.parse_smaps(text)) for text in texts)
    change = at(other - one, area)
    assert change.unshared == 49 * PAGE
    assert change.copied is None
    assert "either they were copied on write, or the other process wrote to them" in change.why


def test_a_child_begins_and_some_pages_are_copied(target: Target) -> None:
    area = mapped(target)
    child = None

    def both() -> None:
        nonlocal child
        child = target.fork()
        target.touch(area, 50)

    change = at(of(target, both), area)
    assert change.cause is C.SHARING_BEGAN
    assert change.unshared == -(PAGES - 50) * PAGE
    assert child is not None
    child.close()


def test_a_child_of_a_child(target: Target) -> None:
    area = mapped(target)
    child = target.fork()
    grandchild = child.fork()
    found = of(target, grandchild.close)
    assert not causes(found) & {C.COPY_ON_WRITE, C.SHARING_BEGAN}
    # Two share what three shared: RSS and what is private are the same.
    assert all(area.start not in region for c in found.changes for region in c.after)

    def end() -> None:
        child.close()
        until_alone(target, area)

    found = of(target, end)
    assert at(found, area).cause is C.SHARING_ENDED


def test_one_of_two_children_ends(target: Target) -> None:
    """What it alone shared is the parent's own, though others are still shared."""
    area = mapped(target)
    with target.fork():
        later = mapped(target)
        other = target.fork()

        def end() -> None:
            other.close()
            until_alone(target, later)
            noise(target, 3 * PAGES)

        found = of(target, end)
        change = at(found, later)
        assert change.cause is C.SHARING_CHANGED
        assert "one of the other processes has ended" in change.why
        assert all(area.start not in region for c in found.changes for region in c.after)


def test_what_a_child_sees(target: Target) -> None:
    area = mapped(target)
    with target.fork() as child:
        found = of(child, lambda: target.touch(area, 40))
        change = at(found, area)
        assert change.cause is C.SHARING_CHANGED
        assert not change.copied
        # The 40 are the child's own, which its first writes find out by faults that copy nothing.
        found = of(child, lambda: child.touch(area, 120))
        change = at(found, area)
        assert change.unshared == 80 * PAGE
        assert change.copied in (80 * PAGE, None)
        found = of(child, lambda: child.touch(area))
        change = at(found, area)
        assert change.cause is C.COPY_ON_WRITE
        assert change.copied == 80 * PAGE


def test_a_child_that_shares_all_memory_changes_nothing() -> None:
    """vfork(2), as posix_spawn(3) calls it."""
    code = "import os; input(); p = os.posix_spawn('/bin/true', ['true'], {}); os.waitpid(p, 0);"
    with subprocess.Popen(
        [sys.executable, "-c", f"print(flush=True); {code} print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        until_asleep(process.pid)
        before = Process(process.pid).snapshot()
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        until_asleep(process.pid)
        found = Process(process.pid).snapshot() - before
        process.stdin.write(b"\n")
        process.stdin.close()
    sharing = {C.SHARING_BEGAN, C.SHARING_ENDED, C.SHARING_CHANGED, C.COPY_ON_WRITE}
    mine = [one for one in found.causes if one.cause in sharing]
    # Pages of Python's own files that it writes for the first time are copies of these.
    assert all(change.region.inode for one in mine for change in one.changes)


def test_copies_of_files(target: Target, tmp_path: Path) -> None:
    """A written page of a private mapping is a copy, whoever shares it."""
    path = tmp_path / "mapped"
    with path.open("wb") as file:
        file.write(b"x" * (32 * PAGE))
        # Dirty pages of the file could not be told from copies.
        os.fsync(file.fileno())
    area = target.map_file(path, 32, "rw-p")
    with in_memory(path):
        target.read(area)
        found = of(target, lambda: target.touch(area, 9))
    change = at(found, area)
    assert change.cause is C.COPY_ON_WRITE
    assert (change.copied, change.rss, change.minor) == (9 * PAGE, 0, 9)
    anonymous = mapped(target, 1)
    child = target.fork()
    (region,) = [r for r in Process(target.pid).smaps() if area.start in r]

    def end() -> None:
        child.close()
        until_alone(target, anonymous)

    found = of(target, end)
    assert C.COPY_ON_WRITE not in causes(found)
    assert C.SHARING_ENDED in causes(found)
    if (region.private_dirty or 0) + (region.shared_dirty or 0) == region.anonymous:
        assert at(found, area).unshared == 9 * PAGE

    def drop() -> None:
        target.madvise(area, Advice.DONTNEED)
        target.read(area)

    found = of(target, drop)
    assert at(found, area).cause is C.GIVEN_BACK
    assert "copies were given back" in at(found, area).why


# ---- given back ----


def test_freed_lazily_and_written_again_and_reclaimed(target: Target) -> None:
    # With swap, MADV_PAGEOUT would write out what is in use.
    with alone("swap"):
        freed_lazily(target)


def freed_lazily(target: Target) -> None:
    on_one_cpu(target)
    area = mapped(target)
    found = of(target, lambda: target.madvise(area, Advice.FREE))
    change = at(found, area)
    assert change.kinds == (ChangeKind.LAZILY_FREED,)
    assert change.cause is C.LAZILY_FREED
    assert (PAGES - LAGGING) * PAGE <= (change.lazy_free or 0) <= PAGES * PAGE
    assert change.rss == 0
    assert "may be reclaimed" in change.why
    assert found
    found = of(target, lambda: target.touch(area, 60))
    change = at(found, area)
    assert change.cause is C.WRITTEN_AGAIN
    assert -60 * PAGE <= (change.lazy_free or 0) <= -(60 - LAGGING) * PAGE
    found = of(target, lambda: target.madvise(area, Advice.PAGEOUT))
    change = at(found, area)
    if not change.rss:
        pytest.skip("this kernel did not reclaim pages that MADV_FREE had marked")
    assert C.RECLAIMED in causes(found)
    assert "either the kernel reclaimed them, or madvise(MADV_DONTNEED)" in change.why


def test_touched_and_freed_lazily_at_once(target: Target) -> None:
    on_one_cpu(target)
    area = target.map(PAGES)

    def free() -> None:
        target.touch(area)
        target.madvise(area, Advice.FREE)

    found = of(target, free)
    assert {C.FIRST_TOUCH, C.LAZILY_FREED} <= causes(found)
    sums = {one.cause: one.size for one in found.causes}
    assert sums[C.FIRST_TOUCH] == PAGES * PAGE
    assert sums[C.LAZILY_FREED] >= (PAGES - LAGGING) * PAGE


def test_given_back(target: Target) -> None:
    area = mapped(target)
    found = of(target, lambda: target.madvise(area, Advice.DONTNEED))
    change = at(found, area)
    assert change.cause is C.GIVEN_BACK
    for candidate in ("either madvise(MADV_DONTNEED)", "MADV_FREE", "MAP_FIXED", "mremap(2)"):
        assert candidate in change.why
    assert "the kernel" not in change.why


def test_what_has_other_permissions_and_no_page_may_be_a_new_mapping(target: Target) -> None:
    area = mapped(target)
    found = of(target, lambda: target.protect(area, "r--p"))
    assert "(mprotect)" in at(found, area).why
    found = diff(table(anon(0, 4, rss=2)), table(anon(0, 4, "---p")))
    (change,) = found.changes
    assert change.cause is C.PROTECTION_CHANGED
    assert "(mprotect, or mmap with MAP_FIXED in its place)" in change.why


def private_file(rss: int, anonymous: int, dirty: int) -> MeasuredRegion:
    at, more = 0x1000_0000, {"inode": 5, "pathname": "/data", "dev": (8, 1)}
    figures = {"Rss": rss, "Anonymous": anonymous, "Private_Dirty": dirty, "Shared_Dirty": 0}
    figures |= {"Private_Clean": rss - dirty, "Shared_Clean": 0}
    pages = {name: pages * 4096 for name, pages in figures.items()}
    return MeasuredRegion(at, at + (64 << 12), "rw-p", 0, **more, **pages)  # type: ignore[arg-type]


def test_dirty_pages_of_a_file_that_are_read_are_not_allocated() -> None:
    """The page cache has them: only anonymous pages of a private mapping were written here."""
    found = diff(table(private_file(0, 0, 0)), table(private_file(64, 0, 64)))
    (change,) = found.changes
    assert (change.cause, change.explanation.parts[1:]) == (C.FILE_READ, ())  # type: ignore[union-attr]
    found = diff(table(private_file(0, 0, 0)), table(private_file(64, 16, 64)))
    accounts(found)
    sums = {one.cause: one.rss for one in found.causes}
    assert sums == {C.FILE_READ: 48 << 12, C.FIRST_TOUCH: 16 << 12}


def test_what_is_copied_and_touched_in_a_private_mapping_was_not_read(tmp_path: Path) -> None:
    """What was copied had been written before the fork: the new pages are not the file's."""
    file = tmp_path / "file"
    file.write_bytes(bytes(2 * PAGE))
    with Specimen() as specimen:
        area = specimen.mmap(pages=2, file=file).mapping
        assert area is not None
        specimen.touch(area, pages=1)
        child = specimen.fork().child
        assert child is not None
        with child:
            process = Process(specimen.pid)
            before = process.snapshot()
            specimen.touch(area)
            found = process.snapshot() - before
    (change,) = [each for each in found.changes if each.region.start == area.start]
    assert change.rss == PAGE
    assert C.FILE_READ not in causes(found)


def test_without_smaps_pages_of_a_file_may_have_been_written(
    target: Target, tmp_path: Path
) -> None:
    path = tmp_path / "mapped"
    path.write_bytes(b"x" * (8 * PAGE))
    area = target.map_file(path, 8, "rw-p")
    process = Process(target.pid)
    before = process.snapshot("residency")
    target.touch(area)
    change = at(process.snapshot("residency") - before, area)
    assert (change.cause, change.rss) == (C.FILE_READ, 8 * PAGE)
    assert "8 pages of the file read or written for the first time" in change.why
    assert "not written here" not in str(change.evidence)


def test_huge_pages_without_faults_were_not_touched() -> None:
    """khugepaged and MADV_COLLAPSE fill up what had no page."""
    at, size = 0x4000_0000, 4 * HUGE

    def memory(small: int, huge: int) -> Snapshot:
        return table(MeasuredRegion(at, at + size, "rw-p", Rss=small + huge, AnonHugePages=huge))

    found = diff(memory(4 * 4096, 0), memory(0, size))
    accounts(found)
    assert causes(found) == {C.HUGE_PAGES_MADE}
    assert "touched for the first time" not in str([one.words for one in found.causes])
    found = diff(memory(4 * 4096, 0), memory(8 * 4096, 3 * HUGE))
    accounts(found)
    assert {one.cause: one.rss for one in found.causes if one.rss} == {
        C.HUGE_PAGES_MADE: 3 * HUGE, C.FIRST_TOUCH: 4 * 4096,
    }  # fmt: skip


def test_no_note_that_rss_is_unchanged_where_it_moved() -> None:
    """mremap(2) with MREMAP_DONTUNMAP: one mapping has the pages, the other none."""
    before = table(anon(0, 8, rss=8))
    notes = diff(before, table(anon(0, 8), anon(100, 8, rss=8))).notes
    assert not any("RSS unchanged" in note for note in notes)
    assert any("RSS unchanged" in note for note in diff(table(), table(anon(0, 8))).notes)


def test_one_executable_mapping_of_a_file_is_no_library() -> None:
    def code(start: int, perms: str) -> MeasuredRegion:
        at = 0x1000_0000 + start * 4096
        return MeasuredRegion(at, at + 4096, perms, start * 4096, (8, 1), 5, "/opt/jit.bin")

    found = diff(table(), table(code(0, "r-xp")))
    assert [one.cause for one in found.causes] == [C.FILE_MAPPED]
    found = diff(table(), table(code(0, "r-xp"), code(1, "rw-p")))
    assert [one.cause for one in found.causes] == [C.LIBRARY_LOADED]


def test_a_deleted_file_is_named_so_in_the_evidence() -> None:
    at = 0x1000_0000

    def mapping(deleted: bool) -> MeasuredRegion:
        return MeasuredRegion(at, at + 4096, "r--p", 0, (8, 1), 5, "/data", deleted)

    (change,) = diff(table(mapping(False)), table(mapping(True))).changes
    assert change.evidence == ("'/data' became '/data', deleted",)


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("how", ["truncate", "hole"])
def test_a_file_that_loses_pages(target: Target, tmp_path: Path, how: str, locked: bool) -> None:
    path = tmp_path / "mapped"
    path.write_bytes(b"x" * (64 * PAGE))
    area = target.map_file(path, 64, "rw-s")
    target.touch(area)
    if locked:
        with needs("locked memory"):
            target.lock(area)

    def lose() -> None:
        if how == "truncate":
            os.truncate(path, 16 * PAGE)
            return
        with path.open("r+b") as file:
            punch(file.fileno(), 16 * PAGE, 48 * PAGE)

    change = at(of(target, lose), area)
    # A large folio at the new end may be unmapped as a whole.
    assert -64 * PAGE <= (change.rss or 0) <= -48 * PAGE
    if locked:
        assert change.cause is C.FILE_TRUNCATED
        assert "either" not in change.why
    else:
        assert change.cause is C.FILE_PAGES_DROPPED
        for candidate in ("either", "reclaimed them", "MADV_DONTNEED", "truncated", "hole"):
            assert candidate in change.why


def punch(descriptor: int, offset: int, length: int) -> None:
    """fallocate(2) with FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate64.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if libc.fallocate64(descriptor, 3, offset, length):
        error = ctypes.get_errno()
        pytest.skip(f"no holes can be punched here: {os.strerror(error)}")


def test_own_copies_of_a_file_are_not_reclaimed(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "mapped"
    path.write_bytes(b"x" * (64 * PAGE))
    area = target.map_file(path, 64, "rw-p")
    target.touch(area)
    change = at(of(target, lambda: os.truncate(path, 16 * PAGE)), area)
    assert change.cause is C.FILE_PAGES_DROPPED
    assert "reclaimed them" not in change.why
    assert "truncated" in change.why


# ---- huge pages ----


@pytest.fixture
def huge(target: Target) -> tuple[Target, Mapping]:
    """Four huge pages' worth of addresses, where huge pages may be had, and a bit more."""
    if not Path("/sys/kernel/mm/transparent_hugepage/enabled").exists():
        pytest.skip("the kernel has no transparent huge pages")
    if "[never]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
        pytest.skip("transparent huge pages are switched off here")
    whole = target.map(5 * HUGE // PAGE + 7)
    start = -(-whole.start // HUGE) * HUGE
    area = whole.page((start - whole.start) // PAGE, 4 * HUGE // PAGE)
    return target, area


def test_huge_pages(huge: tuple[Target, Mapping]) -> None:
    target, area = huge
    target.madvise(area, Advice.HUGEPAGE)
    found = of(target, lambda: target.touch(area))
    change = at(found, area)
    if (change.anon_huge_pages or 0) < 4 * HUGE:
        pytest.skip("no huge pages could be had: memory is in pieces")
    assert change.cause is C.FIRST_TOUCH
    assert (change.rss, change.minor) == (4 * HUGE, 4)
    assert f"4 huge pages of {HUGE >> 10:,} KiB" in change.why
    assert "small" not in change.why
    found = of(target, lambda: target.madvise(area.page(0, 2 * HUGE // PAGE), Advice.FREE))
    assert at(found, area).lazy_free == 2 * HUGE
    one = area.page(3 * HUGE // PAGE + 5, 1)
    # Otherwise khugepaged may make a huge page again of what is split, at any time.
    target.madvise(area, Advice.NOHUGEPAGE)
    found = of(target, lambda: target.madvise(one, Advice.DONTNEED))
    assert C.HUGE_PAGES_SPLIT in causes(found)
    assert at(found, area).rss == -PAGE
    found = of(target, lambda: target.madvise(area, Advice.DONTNEED))
    assert "huge page" in at(found, area).why
    assert at(found, area).rss == PAGE - 4 * HUGE


def test_huge_pages_made_of_small_ones(huge: tuple[Target, Mapping]) -> None:
    target, area = huge
    target.madvise(area, Advice.NOHUGEPAGE)
    target.touch(area)

    def collapse() -> None:
        # Not before: from then on khugepaged does the same, whenever it wants.
        target.madvise(area, Advice.HUGEPAGE)
        try:
            target.madvise(area, Advice.COLLAPSE)
        except TargetError as error:
            pytest.skip(f"MADV_COLLAPSE: {error}")

    found = of(target, collapse)
    change = at(found, area)
    assert change.cause is C.HUGE_PAGES_MADE
    assert change.anon_huge_pages == 4 * HUGE
    assert "4 huge pages made of small pages" in change.why


def test_a_copy_splits_a_huge_page(huge: tuple[Target, Mapping]) -> None:
    target, area = huge
    target.madvise(area, Advice.HUGEPAGE)
    target.touch(area)
    with target.fork():
        found = of(target, lambda: target.touch(area, 64))
        change = at(found, area)
        if not change.anon_huge_pages:
            pytest.skip("no huge pages could be had: memory is in pieces")
        assert change.cause in {C.COPY_ON_WRITE, C.HUGE_PAGES_SPLIT}
        assert change.copied == 64 * PAGE
        assert "64 pages copied on write" in change.why
        assert "1 huge page split" in change.why


# ---- equal pages ----


def test_ksm(target: Target) -> None:
    if not os.access(KSM / "run", os.W_OK):
        pytest.skip("KSM can't be switched on here")
    with alone("ksm"):
        merged_by_ksm(target)


def merged_by_ksm(target: Target) -> None:
    kept = {name: (KSM / name).read_text() for name in ("run", "pages_to_scan", "sleep_millisecs")}
    area = mapped(target)
    try:
        with contextlib.suppress(OSError):
            (KSM / "pages_to_scan").write_text("5000")
            (KSM / "sleep_millisecs").write_text("10")
        process = Process(target.pid)
        before = process.snapshot()
        target.madvise(area, Advice.MERGEABLE)
        (KSM / "run").write_text("1")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            (region,) = [r for r in process.smaps() if area.start in r]
            if (region.ksm or 0) >= (PAGES - 1) * PAGE:
                break
            time.sleep(0.05)
        else:
            pytest.skip("smaps has no KSM counter, or KSM merged nothing in 5 s")
        found = process.snapshot() - before
        change = at(found, area)
        assert change.cause is C.MERGED_BY_KSM
        assert not causes(found) & {C.SHARING_BEGAN, C.COPY_ON_WRITE}
        assert "MADV_MERGEABLE" in change.why
        # It would merge them again.
        (KSM / "run").write_text("0")
        found = of(target, lambda: target.touch(area, 40))
        change = at(found, area)
        assert change.cause is C.UNMERGED
        assert change.ksm == -40 * PAGE
        assert "SHARING" not in {cause.name[:7] for cause in causes(found)}
    finally:
        for name, text in kept.items():
            (KSM / name).write_text(text)


# ---- the heap ----


def test_a_heap_that_grows_after_fork(target: Target) -> None:
    """It is a second region, and many small mallocs."""
    for _ in range(300):
        target.malloc(1000)
    with target.fork() as child:

        def grow() -> None:
            for _ in range(700):
                child.malloc(1000)

        found = of(child, grow)
        grown = [one for one in found.causes if one.cause is C.HEAP_GREW]
        assert C.HEAP_STARTED not in causes(found)
        assert len(grown) == 1
        assert "first malloc" not in grown[0].words
        assert grown[0].vsz == found.vsz
        assert "several extensions" in grown[0].words
        heaps = [r for r in found.after.regions if r.raw_pathname == b"[heap]"]
        assert len(heaps) > 1


def test_a_heap_that_starts_grows_and_shrinks() -> None:
    from procmem.experiments import Specimen

    with Specimen() as s:
        process = Process(s.pid)
        shots = [process.snapshot()]
        for change in (33, 40, -20, -53, 5):
            s.sbrk(change * PAGE)
            shots.append(process.snapshot())
    told = [(b - a).changes[0].cause for a, b in pairwise(shots)]
    assert told == [C.HEAP_STARTED, C.HEAP_GREW, C.HEAP_SHRANK, C.HEAP_SHRANK, C.HEAP_STARTED]
    assert "first malloc" in (shots[1] - shots[0]).changes[0].why
    # These were calls of brk, and no malloc at all.
    for one, other in ((0, 1), (1, 2)):
        assert "or the program moved the break itself" in (shots[other] - shots[one]).changes[0].why
    assert "first malloc" not in (shots[2] - shots[1]).changes[0].why


# ---- flags ----


def test_locked(target: Target) -> None:
    area = target.map(PAGES)
    with needs("locked memory"):
        found = of(target, lambda: target.lock(area))
    change = at(found, area)
    assert {C.FIRST_TOUCH, C.ADVISED} <= causes(found)
    assert "mlock(2) or mlockall(2)" in change.why
    assert change.rss == PAGES * PAGE
    found = of(target, lambda: target.unlock(area))
    assert "munlock(2)" in at(found, area).why


# ---- hugetlb ----


def test_pages_of_hugetlbfs(target: Target) -> None:
    with hugepages(3) as setting:
        setting.or_skip()
        size = hugepage_size()
        area = target.map_huge(3 * size)
        found = of(target, lambda: target.touch(area))
        change = at(found, area)
        assert (change.hugetlb, change.rss) == (3 * size, 0)
        assert change.cause is C.HUGETLB_TOUCHED
        assert f"3 pages of hugetlbfs of {size >> 10:,} KiB" in change.why
        found = of(target, lambda: target.unmap(area))
        assert C.HUGETLB_GIVEN_BACK in causes(found)


# ---- swap ----


def test_swapped_out_and_in(target: Target) -> None:
    with swap(64) as setting:
        setting.or_skip()
        swapped(target)


def swapped(target: Target) -> None:
    area = mapped(target)
    found = of(target, lambda: target.madvise(area, Advice.PAGEOUT))
    change = at(found, area)
    if not change.swap:
        pytest.skip("MADV_PAGEOUT wrote nothing to swap")
    assert change.cause is C.SWAPPED_OUT
    assert change.swap == -(change.rss or 0)
    assert not causes(found) & {C.GIVEN_BACK, C.SHARING_ENDED, C.COPY_ON_WRITE}
    out = change.swap
    found = of(target, lambda: target.touch(area, 50))
    change = at(found, area)
    assert change.cause is C.SWAPPED_IN
    assert change.swap is not None
    assert change.swap <= -50 * PAGE
    assert C.FIRST_TOUCH not in causes(found)
    rest = out + change.swap
    found = of(target, lambda: target.madvise(area, Advice.DONTNEED))
    if rest:
        assert C.SWAP_FREED in causes(found)


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


@pytest.mark.skipif(PAGE != 4096, reason="the figures here are those of 4 KiB pages")
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
        until_asleep(child.pid)
        process = Process(child.pid)
        before = process.snapshot()
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        until_asleep(child.pid)
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
    """A process that became another program: its stack is at another address."""
    import subprocess

    with subprocess.Popen(
        ["sh", "-c", "read x; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        until_asleep(child.pid)  # it reads a line
        process = Process(child.pid)
        before = process.snapshot()
        child.stdin.write(b"\nx\n")
        child.stdin.flush()
        child.stdout.readline()
        until_asleep(child.pid)
        after = process.snapshot()
        child.stdin.close()
    found = after - before
    accounts(found)
    causes = {change.cause for change in found.changes}
    assert causes == {Cause.PROGRAM_REPLACED} or Cause.UNKNOWN not in causes


needs_4k = pytest.mark.skipif(PAGE != 4096, reason="the figures here are those of 4 KiB pages")


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
