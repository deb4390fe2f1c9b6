"""The Specimen: every figure from theory, and what happens when a step can't be had."""

from __future__ import annotations

import errno
import gc
import os
import platform
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.agreement import Walk
from procmem import GiB, KiB, MiB, native
from procmem.calls.constants import Prot
from procmem.errors import BadArgument, NoSuchProcess, SyscallError, Unsupported
from procmem.experiments import Area, Delta, Specimen, Step
from procmem.experiments.specimen import launch as launching
from procmem.experiments.specimen.arguments import names, order_of
from procmem.experiments.specimen.kernel import huge_pages
from procmem.native import lib
from procmem.procfs import probes
from tests.support.targets import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = resource.getpagesize()
pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")

KINDS = ["program", "libc", "fork"]


@pytest.fixture
def specimen() -> Iterator[Specimen]:
    with Specimen() as one:
        yield one


def moved(step: Step) -> dict[str, int]:
    """What changed, after measurement and prediction were found equal."""
    assert step.exact, step.reason
    assert step.agrees, (step, step.differences, step.delta, step.predicted)
    return {name: value for name, value in step.delta._asdict().items() if value}


def shared(step: Step) -> int | None:
    """Bytes of shared memory that came: by smaps_rollup, without RssShmem, all not anonymous."""
    moved(step)
    delta = step.delta
    if delta.rss_shmem is None:
        return (delta.rss or 0) - (delta.rss_anon or 0)
    return delta.rss_shmem


def untrue(step: Step) -> str:
    """Which of a step's words its measured figures contradict; "" if none."""
    why, delta = " ".join(step.why.split()), step.delta

    def said(pattern: str) -> int:
        found = re.search(r"([\d,]+) " + pattern, why)
        return int(found[1].replace(",", "")) if found else 0

    fresh, filled = said("pages? touched for"), said("pages? only read until")
    zeros, found, around = said("pages? only read:"), said("pages? already"), said("neighbouring")
    copies, noted = said("pages? of a private"), said("pages? of a shared")
    unshared = said("pages? shared since")
    tables = said("page tables? more") - said("(?:emptied )?page tables? freed")
    faults, rss = delta.minor + delta.major, (delta.rss or 0) // PAGE
    came = fresh + filled + found + around
    untrue = {
        "nothing is said": not why,
        "page tables": tables * PAGE != delta.page_tables,
        "faults": not found and not around
        and faults != fresh + filled + zeros + copies + noted + unshared,
        "faults without a reason": bool(faults and not came + zeros + copies + noted + unshared),
        "pages": step.operation in ("read", "write") and not came <= rss <= came + copies,
        "RSS stays": ("RSS stays" in why or "RSS +0" in why) and rss != 0,
        "nothing moves": "nothing moves" in why and any(delta),
        "no page moves": "o page moves" in why and bool(rss or faults),
        "protection": "stay as they are" in why and bool(rss or faults),
        "VSZ": ("VSZ" in why) != bool(delta.vsz),
    }  # fmt: skip
    return ", ".join(name for name, wrong in untrue.items() if wrong)


def area(step: Step) -> Area:
    assert step.mapping is not None
    return step.mapping


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


class TestTheory:
    def test_the_mmap_report(self, specimen: Specimen) -> None:
        mapped = specimen.mmap(PAGE)
        assert moved(mapped) == {"vsz": PAGE, "regions": 1}
        # Its first page in this part of the address space: a table on each of three levels.
        assert moved(specimen.read(area(mapped))) == {"page_tables": 12 * KiB, "minor": 1}
        written = specimen.touch(area(mapped))
        assert moved(written) == {"rss": PAGE, "rss_anon": PAGE, "minor": 1}
        assert moved(specimen.touch(area(mapped))) == {}
        gone = specimen.munmap(area(mapped))
        assert moved(gone) == {
            "vsz": -PAGE, "rss": -PAGE, "rss_anon": -PAGE, "page_tables": -12 * KiB, "regions": -1,
        }  # fmt: skip

    def test_a_thousand_pages(self, specimen: Specimen) -> None:
        mapped = specimen.mmap(pages=1000)
        assert moved(mapped) == {"vsz": 4000 * KiB, "regions": 1}
        ten = specimen.touch(area(mapped), pages=10)
        assert ten.delta.rss == ten.predicted.rss == 40 * KiB
        assert ten.delta.minor == 10
        rest = specimen.touch(area(mapped), order="random", seed=3)
        # 1,000 pages span two lowest tables.
        assert moved(rest) == {
            "rss": 3960 * KiB, "rss_anon": 3960 * KiB, "page_tables": 4 * KiB, "minor": 990,
        }  # fmt: skip

    def test_lengths_are_rounded_up(self, specimen: Specimen) -> None:
        assert specimen.mmap(1).delta.vsz == PAGE
        assert specimen.mmap(PAGE + 1).delta.vsz == 2 * PAGE

    def test_part_of_a_mapping_is_unmapped(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=8))
        specimen.touch(mapped)
        middle = specimen.munmap(mapped, start=3, pages=2)
        assert moved(middle) == {"vsz": -2 * PAGE, "rss": -2 * PAGE, "rss_anon": -2 * PAGE,
                                 "regions": 1}  # fmt: skip
        assert moved(specimen.munmap(mapped, start=3, pages=2)) == {}

    def test_populate(self, specimen: Specimen) -> None:
        step = specimen.mmap(pages=100, populate=True)
        assert (step.delta.rss, step.delta.minor) == (100 * PAGE, 100)
        moved(step)

    def test_zero_pages_cost_page_tables(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(GiB, prot="r", place="slot"))
        step = specimen.read(mapped, pages=512, stride=2 * MiB)
        # 512 lowest tables, one above them, one above that.
        assert moved(step) == {"page_tables": 2056 * KiB, "minor": 512}

    def test_page_tables_by_distance(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(1 << 40, prot="rw", noreserve=True, place="slot"))
        deltas = [
            specimen.touch(mapped.start + offset).delta.page_tables
            for offset in (0, PAGE, 2 * MiB, GiB, 512 * GiB)
        ]
        assert deltas == [12 * KiB, 0, 4 * KiB, 8 * KiB, 12 * KiB]

    def test_brk(self, specimen: Specimen) -> None:
        grown = specimen.sbrk(10 * PAGE)
        assert (grown.delta.vsz, grown.delta.rss) in {(10 * PAGE, 0), (11 * PAGE, 0)}
        moved(grown)
        start = -(-area(grown).start // PAGE) * PAGE
        assert moved(specimen.touch(start, pages=5))["rss"] == 5 * PAGE
        shrunk = specimen.sbrk(-8 * PAGE)
        assert shrunk.delta.vsz == -8 * PAGE
        assert moved(shrunk)["rss"] in {-3 * PAGE, -4 * PAGE}
        assert moved(specimen.sbrk(0)) == {}

    def test_copy_on_write(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=100))
        specimen.touch(mapped)
        forked = specimen.fork()
        assert moved(forked) == {}
        child = forked.child
        assert child is not None
        with child:
            rollup = child.process.smaps().filter(start=mapped.start, end=mapped.end)[0]
            assert (rollup.rss, rollup.pss, rollup.shared_dirty) == (
                100 * PAGE, 50 * PAGE, 100 * PAGE,
            )  # fmt: skip
            assert moved(child.touch(mapped, pages=30)) == {"minor": 30}
            after = child.process.smaps().filter(start=mapped.start, end=mapped.end)[0]
            assert after.private_dirty == 30 * PAGE
            assert after.shared_dirty == 70 * PAGE
            assert after.pss == 30 * PAGE + 35 * PAGE
            # The parent's pages are its own again, but that is found out by a fault each.
            assert moved(specimen.touch(mapped, pages=30)) == {"minor": 30}
            assert moved(specimen.touch(mapped, pages=30)) == {}
        assert moved(specimen.touch(mapped)) == {"minor": 70}

    def test_a_childs_memory_is_its_own(self, specimen: Specimen) -> None:
        child = specimen.fork().child
        assert child is not None
        mapped = area(child.mmap(pages=3))
        assert moved(child.touch(mapped))["rss"] == 3 * PAGE
        assert specimen.touch(mapped).fault is not None
        child.close()
        assert is_gone(child.pid)
        assert specimen.is_alive

    def test_protection_splits_and_joins(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=10))
        assert moved(specimen.mprotect(mapped, "r", start=4, pages=2)) == {"regions": 2}
        refused = specimen.touch(mapped)
        assert refused.result == 4
        assert refused.fault is not None
        assert (refused.fault.signal, refused.fault.code) == (signal.SIGSEGV, 2)
        moved(refused)
        assert moved(specimen.mprotect(mapped, "rw", start=4, pages=2)) == {"regions": -2}

    def test_neighbours_are_joined(self, specimen: Specimen) -> None:
        first = area(specimen.mmap(pages=2))
        assert moved(specimen.mmap(pages=2, address=first.end)) == {"vsz": 2 * PAGE}

    def test_lock(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=4))
        locked = specimen.mlock(mapped)
        assert (locked.delta.rss, locked.delta.locked) == (4 * PAGE, 4 * PAGE)
        moved(locked)
        assert moved(specimen.munlock(mapped)) == {"locked": -4 * PAGE}

    def test_give_back(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=20))
        specimen.touch(mapped)
        step = specimen.madvise(mapped, "dontneed", start=0, pages=5)
        assert moved(step) == {"rss": -5 * PAGE, "rss_anon": -5 * PAGE}

    def test_move(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=20))
        specimen.touch(mapped, pages=10)
        there = mapped.start + GiB
        step = specimen.mremap(mapped, pages=30, to=there)
        assert area(step).start == there
        assert moved(step)["vsz"] == 10 * PAGE
        assert "rss" not in moved(step)
        assert moved(specimen.touch(area(step), pages=10)) == {}

    def test_shared_memory(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=32, shared=True))
        # A read allocates, too: shared memory has no zero page.
        assert shared(specimen.read(mapped, pages=2)) == 2 * PAGE
        specimen.touch(mapped)
        assert shared(specimen.madvise(mapped, "dontneed")) == -32 * PAGE
        # Still there: a fault maps 16 pages at once (fault-around, 64 KiB).
        again = specimen.read(mapped)
        assert (shared(again), again.delta.minor) == (32 * PAGE, 2)
        moved(again)

    def test_guard_pages(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=4))
        try:
            moved(specimen.madvise(mapped, "guard_install", start=1, pages=1))
        except SyscallError as error:
            pytest.skip(f"kernel feature missing: MADV_GUARD_INSTALL ({error})")
        step = specimen.touch(mapped)
        moved(step)
        assert step.fault is not None
        assert step.fault.address == mapped.start + PAGE

    def test_faults_of_the_program(self, specimen: Specimen) -> None:
        segv, maperr, accerr = signal.SIGSEGV, 1, 2
        shared = area(specimen.mmap(pages=2, shared=True))
        longer = specimen.mremap(shared, pages=4, to=shared.start + GiB)
        writable = area(specimen.mmap(pages=1))
        cases = [
            (specimen.read(0), segv, maperr, 0),
            (specimen.touch(writable.end), segv, maperr, writable.end),
            (specimen.touch(0x401000 if specimen.kind == "program" else 0), segv, None, None),
            (specimen.read(area(specimen.mmap(pages=1, prot=""))), segv, accerr, None),
            (specimen.touch(area(specimen.mmap(pages=1, prot="r"))), segv, accerr, None),
            (specimen.jump(writable.start), segv, accerr, writable.start),
            (specimen.read(1 << 62), segv, None, None),
            (specimen.read(area(longer), start=2), signal.SIGBUS, 2, area(longer).start + 2 * PAGE),
        ]
        for step, number, code, address in cases:
            assert step.fault is not None, step
            assert step.fault.signal == number
            assert code in {None, step.fault.code}
            assert address in {None, step.fault.address}
            assert step.agrees, (step, step.differences, step.fault, step.predicted_fault)


class TestFiles:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "file"
        file.write_bytes(os.urandom(64 * PAGE))
        return file

    def test_a_fault_brings_its_neighbours(self, specimen: Specimen, file: Path) -> None:
        mapped = area(specimen.mmap(pages=64, file=file))
        step = specimen.read(mapped, pages=1)
        if not step.exact:
            pytest.skip(f"not possible here: {step.reason}")
        around = specimen.space.rules.around
        assert step.delta.rss == around * PAGE
        assert moved(step)["minor"] == 1
        rest = specimen.read(mapped)
        assert rest.delta.minor == 64 // around - 1
        moved(rest)

    def test_private_writes_are_copies(self, specimen: Specimen, file: Path) -> None:
        before = file.read_bytes()
        mapped = area(specimen.mmap(pages=64, file=file))
        step = specimen.touch(mapped, value=77)
        if step.exact:
            assert (step.delta.rss_anon, step.delta.minor) == (64 * PAGE, 64)
            moved(step)
        assert file.read_bytes() == before

    def test_shared_writes_are_the_files(self, specimen: Specimen, file: Path) -> None:
        mapped = area(specimen.mmap(pages=64, file=file, shared=True))
        specimen.touch(mapped, value=77, pages=2)
        assert file.read_bytes()[::PAGE][:2] == b"MM"

    def test_cold_pages_are_major_faults(self, specimen: Specimen, file: Path) -> None:
        mapping = specimen.mmap(pages=64, file=file, warm=False)
        mapped = area(mapping)
        specimen.madvise(mapped, "random")
        step = specimen.read(mapped, pages=40)
        if not step.predicted.major:
            pytest.skip("the temporary files here lie in memory")
        assert step.delta.major == 40
        moved(step)

    def test_readahead_is_not_predicted(self, specimen: Specimen, file: Path) -> None:
        step = specimen.read(area(specimen.mmap(pages=64, file=file, warm=False)), pages=1)
        if not step.predicted.major:
            pytest.skip("the temporary files here lie in memory")
        assert not step.exact
        assert step.reason is not None
        assert "readahead" in step.reason

    def test_a_descriptor(self, specimen: Specimen) -> None:
        with tempfile.TemporaryFile(dir="/dev/shm") as file:
            file.write(bytes(8 * PAGE))
            file.flush()
            step = specimen.read(area(specimen.mmap(pages=8, file=file.fileno())))
            assert shared(step) == 8 * PAGE

    def test_a_file_that_is_none(self, specimen: Specimen, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        for path in (fifo, tmp_path, "/dev/zero"):
            with pytest.raises(BadArgument, match="regular"):
                specimen.mmap(pages=1, file=path)
        with pytest.raises(SyscallError, match="No such file"):
            specimen.mmap(pages=1, file=tmp_path / "nothing")


class TestWrites:
    @pytest.fixture
    def watched(self, specimen: Specimen) -> Area:
        mapped = area(specimen.mmap(pages=600))
        try:
            specimen.watch_writes(mapped).close()
        except Unsupported as error:
            pytest.skip(f"kernel feature missing: {error}")
        return area(specimen.mmap(pages=600))

    def test_page_by_page(self, specimen: Specimen, watched: Area) -> None:
        specimen.touch(watched, pages=300)
        with specimen.watch_writes(watched) as watch:
            assert watch.written() == []
            step = specimen.touch(watched, start=10, pages=5)
            assert not step.exact
            specimen.read(watched, start=400, pages=50)
            specimen.touch(watched, start=512, pages=1)
            pages = [(start - watched.start, end - watched.start) for start, end in watch.written()]
            assert pages == [(10 * PAGE, 15 * PAGE), (512 * PAGE, 513 * PAGE)]
            assert watch.written() == []
            specimen.touch(watched, start=10, pages=1)
            assert watch.written() == [(watched.start + 10 * PAGE, watched.start + 11 * PAGE)]

    def test_more_ranges_than_one_scan_holds(self, specimen: Specimen, watched: Area) -> None:
        large = area(specimen.mmap(pages=5000))
        with specimen.watch_writes(large) as watch:
            specimen.touch(large, pages=2500, stride=2 * PAGE)
            written = watch.written()
            assert len(written) == 2500
            assert all(end - start == PAGE for start, end in written)

    def test_a_specimen_that_is_gone(self, specimen: Specimen, watched: Area) -> None:
        watch = specimen.watch_writes(watched)
        os.kill(specimen.pid, signal.SIGKILL)
        assert is_gone(specimen.pid)
        with pytest.raises(NoSuchProcess):
            watch.written()
        watch.close()


class TestMachine:
    def test_huge_pages_of_hugetlbfs(self, specimen: Specimen) -> None:
        with machine.hugepages(2) as setting:
            setting.or_skip()
            mapped = specimen.mmap(pages=2, hugetlb=True)
            size = area(mapped).page_size
            assert moved(mapped) == {"vsz": 2 * size, "regions": 1}
            step = specimen.touch(area(mapped))
            assert (step.delta.hugetlb, step.delta.rss, step.delta.minor) == (2 * size, 0, 2)
            moved(step)
            assert moved(specimen.munmap(area(mapped)))["hugetlb"] == -2 * size

    def test_no_huge_pages(self, specimen: Specimen) -> None:
        try:
            with pytest.raises(SyscallError) as raised:
                specimen.mmap(pages=1 << 20, hugetlb=True)
        except Unsupported as error:
            pytest.skip(str(error))
        assert "huge pages" in str(raised.value)

    def test_transparent_huge_pages(self) -> None:
        if huge_pages() == "never":
            pytest.skip("kernel feature missing: transparent huge pages are off")
        with Specimen(thp=True) as specimen:
            mapped = area(specimen.mmap(4 * MiB))
            specimen.madvise(mapped, "hugepage")
            step = specimen.touch(mapped, pages=1)
            assert not step.exact
            if step.delta.rss == PAGE:
                pytest.skip("no huge page was free")
            assert (step.delta.rss, step.delta.minor) == (2 * MiB, 1)
            assert step.agrees

    def test_they_are_off_otherwise(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(4 * MiB))
        specimen.madvise(mapped, "hugepage")
        assert specimen.touch(mapped, pages=1).delta.rss == PAGE

    def test_swap(self) -> None:
        cpu = min(os.sched_getaffinity(0))
        with machine.swap() as setting, Specimen(cpu=cpu) as specimen:
            setting.or_skip()
            mapped = area(specimen.mmap(pages=64))
            specimen.touch(mapped)
            out = specimen.madvise(mapped, "pageout")
            assert moved(out) == {
                "rss": -64 * PAGE, "rss_anon": -64 * PAGE, "swap": 64 * PAGE,
            }  # fmt: skip
            back = specimen.touch(mapped)
            assert back.delta.swap == -64 * PAGE
            assert back.delta.major == 64
            moved(back)

    def test_swap_unpinned(self, specimen: Specimen) -> None:
        if len(os.sched_getaffinity(0)) == 1:
            pytest.skip("there is one CPU")
        mapped = area(specimen.mmap(pages=64))
        assert not specimen.madvise(mapped, "pageout").exact

    def test_a_limit_on_the_address_space(self, specimen: Specimen) -> None:
        resource.prlimit(specimen.pid, resource.RLIMIT_AS, (MiB, MiB))
        with pytest.raises(SyscallError, match="mmap: Cannot allocate memory"):
            specimen.mmap(2 * MiB)
        assert moved(specimen.mmap(PAGE))["vsz"] == PAGE

    def test_a_control_group_that_is_full(self) -> None:
        with machine.memory_cgroup(4 * MiB) as setting:
            setting.or_skip()
            assert setting.path is not None
            with Specimen() as specimen:
                (setting.path / "cgroup.procs").write_text(f"{specimen.pid}\n")
                mapped = area(specimen.mmap(64 * MiB))
                assert moved(specimen.touch(mapped, pages=100))["rss"] == 100 * PAGE
                with pytest.raises(NoSuchProcess, match="SIGKILL"):
                    specimen.touch(mapped)
            assert is_gone(specimen.pid)

    def test_a_file_system_that_is_full(self, specimen: Specimen) -> None:
        with machine.mounted("tmpfs", "-o", "size=64k") as setting:
            setting.or_skip()
            assert setting.path is not None
            file = setting.path / "sparse"
            with file.open("wb") as opened:
                opened.truncate(64 * PAGE)
            mapped = area(specimen.mmap(pages=64, file=file, shared=True))
            step = specimen.touch(mapped)
            assert step.fault is not None
            assert step.fault.signal == signal.SIGBUS
            assert step.result == 16
            assert not step.exact
            specimen.munmap(mapped)


class TestLife:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind(self, kind: str) -> None:
        with Specimen(kind=kind) as specimen:
            mapped = specimen.mmap(pages=100)
            assert moved(mapped)["vsz"] == 100 * PAGE
            assert moved(specimen.touch(area(mapped), pages=7))["rss"] == 7 * PAGE
            child = specimen.fork().child
            assert child is not None
            assert moved(child.touch(area(mapped), pages=9))["minor"] == 9
            child.close()
            assert specimen.touch(0).fault is not None
            pid = specimen.pid
        assert is_gone(pid)

    def test_it_is_small(self, specimen: Specimen) -> None:
        if specimen.kind != "program":
            pytest.skip("the program can't be run here")
        figures = specimen.figures
        regions = len(specimen.process.maps())
        assert figures.regions == regions <= 9
        assert figures.vsz <= 256 * KiB
        assert (figures.rss or 0) <= 64 * KiB
        program = Path(native.__file__).with_name("specimen")
        assert program.stat().st_size < 16 * KiB

    def test_without_the_program_a_child_serves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(launching.PROGRAMS, "program", "no-such-program")
        with Specimen() as specimen:
            assert specimen.kind == "fork"
        with pytest.raises(Unsupported, match="no-such-program"):
            Specimen(kind="program")

    def test_a_forked_child_has_a_heap_that_is_not_joined(self) -> None:
        """Python's own lies before it; its pages are linked with the parent's."""
        with Specimen(kind="fork") as specimen:
            grown = specimen.sbrk(10 * PAGE)
            moved(grown)
            moved(specimen.touch(-(-area(grown).start // PAGE) * PAGE, pages=5))
            moved(specimen.sbrk(-10 * PAGE))

    @pytest.mark.parametrize("source", ["status", "smaps_rollup"])
    def test_sources(self, source: str) -> None:
        with Specimen(source=source) as specimen:
            mapped = area(specimen.mmap(pages=10))
            step = specimen.touch(mapped, pages=3)
            if source == "status" and probes.counters_lag():
                assert not step.exact
                assert "not exact" in (step.reason or "")
                return
            assert step.delta.rss == 3 * PAGE
            assert step.agrees
            assert (step.delta.rss_file is None) == (source == "smaps_rollup")

    def test_pinned(self) -> None:
        cpu = min(os.sched_getaffinity(0))
        with Specimen(cpu=cpu) as specimen:
            assert os.sched_getaffinity(specimen.pid) == {cpu}
        with pytest.raises(BadArgument, match="cpu"):
            Specimen(cpu=1 << 20)

    def test_closing_twice(self, specimen: Specimen) -> None:
        specimen.close()
        specimen.close()
        assert is_gone(specimen.pid)
        assert not specimen.is_alive
        with pytest.raises(BadArgument, match="closed"):
            specimen.mmap(PAGE)
        with pytest.raises(BadArgument, match="closed"):
            _ = specimen.figures

    def test_a_fork_of_its_owner_can_ask_nothing_of_it(self, specimen: Specimen) -> None:
        """Its model would know nothing of that."""
        mapped = area(specimen.mmap(PAGE))
        child = specimen.fork().child
        assert child is not None
        pid = os.fork()
        if not pid:
            refused = 0
            for ask in (specimen.touch, specimen.munmap):
                try:
                    ask(mapped)
                except BadArgument:
                    refused += 1
            child.close()
            specimen.close()
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
        assert moved(specimen.touch(mapped))["minor"] == 1
        assert child.is_alive
        child.close()

    def test_forgotten(self) -> None:
        specimen = Specimen()
        pid = specimen.pid
        del specimen
        gc.collect()
        assert is_gone(pid)

    def test_a_parent_closed_before_its_child(self) -> None:
        specimen = Specimen()
        child = specimen.fork().child
        assert child is not None
        specimen.close()
        assert is_gone(child.pid)
        with pytest.raises(NoSuchProcess):
            child.mmap(PAGE)
        child.close()

    def test_killed(self, specimen: Specimen) -> None:
        os.kill(specimen.pid, signal.SIGKILL)
        with pytest.raises(NoSuchProcess, match="killed by SIGKILL"):
            specimen.mmap(PAGE)
        assert not specimen.is_alive

    def test_killed_in_the_middle_of_a_step(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(16 * GiB, prot="r", noreserve=True))
        timer = threading.Timer(0.05, os.kill, (specimen.pid, signal.SIGKILL))
        timer.start()
        with pytest.raises(NoSuchProcess):
            while True:  # reads zero pages, which take nothing but page tables
                specimen.read(mapped)
                specimen.madvise(mapped, "dontneed")
        timer.join()

    def test_it_outlives_the_thread_that_started_it(self) -> None:
        made: list[Specimen] = []
        thread = threading.Thread(target=lambda: made.append(Specimen()))
        thread.start()
        thread.join()
        with made[0] as specimen:
            time.sleep(0.05)
            assert moved(specimen.mmap(PAGE))["vsz"] == PAGE

    def test_it_dies_with_its_parent(self) -> None:
        code = (
            "import os, sys\n"
            "from procmem.experiments import Specimen\n"
            "s = Specimen(); c = s.fork().child\n"
            "print(s.pid, c.pid, flush=True); os.kill(os.getpid(), 9)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == -9
        for pid in done.stdout.split():
            assert is_gone(int(pid))

    def test_a_fork_of_this_process_lets_it_live(self, specimen: Specimen) -> None:
        pid = os.fork()
        if not pid:
            specimen.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert moved(specimen.mmap(PAGE))["vsz"] == PAGE

    def test_an_interrupt_loses_no_step(self, specimen: Specimen) -> None:
        class Stop(Exception):
            pass

        def stop(*_: object) -> None:
            raise Stop

        mapped = area(specimen.mmap(8 * GiB, prot="r", noreserve=True))
        former = signal.signal(signal.SIGALRM, stop)
        try:
            with pytest.raises(Stop):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                for _ in range(1000):
                    specimen.read(mapped)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)
        assert specimen.mmap(PAGE).delta.vsz == PAGE

    def test_several_threads(self, specimen: Specimen) -> None:
        wrong: list[Step] = []

        def work() -> None:
            for _ in range(50):
                mapped = specimen.mmap(pages=3)
                touched = specimen.touch(area(mapped), pages=2)
                wrong.extend(step for step in (mapped, touched) if not step.agrees)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_a_filter_that_forbids_a_call(self) -> None:
        code = """
import ctypes, struct, sys
from procmem.experiments import Specimen
from procmem.errors import SyscallError
from procmem.native import lib
# Allows all but mlock(2), which fails with EPERM (seccomp(2), SECCOMP_MODE_FILTER).
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, lib.SYS_mlock), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
filters = b"".join(struct.pack("=HBBI", *step) for step in steps)
room = ctypes.create_string_buffer(filters)
program = struct.pack("@HP", len(steps), ctypes.addressof(room))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit(77)
with Specimen() as s:
    mapped = s.mmap(pages=2).mapping
    try:
        s.mlock(mapped)
    except SyscallError as error:
        print(error.syscall, error.errno)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode == 77:
            pytest.skip("kernel feature missing: seccomp filters")
        assert (done.stdout, done.stderr) == ("mlock 1\n", "")

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ENOMEM])
    @pytest.mark.parametrize(
        "call",
        [
            *(
                f"madvise {advice}"
                for advice in (
                    "dontneed free guard_install guard_remove populate_write populate_read hugepage"
                    " nohugepage dontfork wipeonfork sequential dontdump mergeable pageout"
                ).split()
            ),
            "mprotect r",
            "mprotect -",
            "munmap",
            "mremap 90",
            "mremap 9",
            "mmap",
        ],
    )
    def test_a_refused_call_has_done_nothing(
        self, specimen: Specimen, call: str, number: int
    ) -> None:
        """As where a kernel is older than the call: MADV_GUARD_INSTALL is of Linux 6.13."""
        s = specimen
        mapped, other = area(s.mmap(pages=64)), area(s.mmap(pages=64))
        s.touch(mapped, pages=9)
        name, _, argument = call.partition(" ")
        refuse(s, name, number)
        with pytest.raises(SyscallError) as caught:
            match name:
                case "madvise":
                    s.madvise(mapped, argument)
                case "mprotect":
                    s.mprotect(mapped, argument.strip("-"))
                case "munmap":
                    s.munmap(mapped)
                case "mremap":
                    s.mremap(mapped, pages=int(argument))
                case _:
                    s.mmap(pages=5)
        assert caught.value.errno == number
        for step in (s.touch(mapped, pages=40), s.touch(other), s.read(mapped)):
            moved(step)

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.ENOMEM, errno.EAGAIN])
    @pytest.mark.parametrize("call", ["mlock", "mlock2", "munlock"])
    def test_refused_locks(self, specimen: Specimen, call: str, number: int) -> None:
        s = specimen
        mapped = area(s.mmap(pages=64))
        s.touch(mapped, pages=9)
        refuse(s, call, number)
        with pytest.raises(SyscallError):
            if call == "munlock":
                s.munlock(mapped)
            else:
                s.mlock(mapped, on_fault=call == "mlock2")
        step = s.touch(mapped, pages=40)
        if number in (errno.ENOMEM, errno.EAGAIN):
            # These come in the middle of it, too.
            assert not step.exact
            assert "what it had changed is unknown" in (step.reason or "")
        else:
            moved(step)

    def test_the_kernel_refuses_for_a_reason_that_the_model_does_not_see(
        self, specimen: Specimen
    ) -> None:
        s = specimen
        mapped = area(s.mmap(pages=64))
        s.touch(mapped, pages=9)
        s.mprotect(mapped, "r", start=50, pages=4)
        refuse(s, "madvise", errno.ENOMEM, but_length=0)
        with pytest.raises(SyscallError):
            s.madvise(mapped, "dontneed", pages=50)  # one region
        moved(s.touch(mapped, pages=40))
        with pytest.raises(SyscallError):
            s.madvise(mapped, "dontneed")  # the first may have been done
        step = s.touch(mapped, pages=40)
        assert not step.exact
        assert "what it had changed is unknown" in (step.reason or "")

    def test_mremap_may_unmap_its_target_and_fail_then(self, specimen: Specimen) -> None:
        s = specimen
        one, two = area(s.mmap(pages=8)), area(s.mmap(pages=8))
        s.touch(two)
        s.munmap(one, start=4, pages=4)
        # Grown from a range with a hole, which no kernel does; some notice it after the unmapping.
        with pytest.raises(SyscallError):
            s.mremap(one, pages=9, to=two.start)
        there = s.process.region_at(two.start) is not None
        step = s.touch(two)
        moved(step)
        assert (step.fault is None) == there


def refuse(s: Specimen, name: str, number: int, *, but_length: int | None = None) -> None:
    """From now on the kernel answers one system call of the specimen so (seccomp(2)).

    Args:
        s: it.
        name: of the call.
        number: the errno.
        but_length: a second argument with which the call is allowed.
    """
    prctl = lib.PM_OP_CALL + {"x86_64": 157, "aarch64": 167, "riscv64": 167}.get(
        platform.machine(), -1
    )
    if prctl < lib.PM_OP_CALL:
        pytest.skip(f"the number of prctl(2) on {platform.machine()} is needed")
    load, equal, answer = 0x20, 0x15, 6
    steps = [(load, 0, 0, 0), (equal, 0, 3, getattr(lib, f"SYS_{name}"))]
    steps += [(load, 0, 0, 24 if sys.byteorder == "little" else 28)]
    steps += [(equal, 1, 0, 0xFFFFFFFF if but_length is None else but_length)]
    steps += [(answer, 0, 0, 0x50000 | number), (answer, 0, 0, 0x7FFF0000)]
    filters = b"".join(struct.pack("=HBBI", *step) for step in steps)
    helper = s._stepper.helper
    helper.store(filters.ljust(64, b"\0") + struct.pack("@HP", len(steps), helper.scratch))
    # PR_SET_NO_NEW_PRIVS, and PR_SET_SECCOMP with SECCOMP_MODE_FILTER
    if helper.quiet(prctl, 38, 1, 0, 0, 0) or helper.quiet(prctl, 22, 2, helper.scratch + 64):
        pytest.skip("kernel feature missing: seccomp filters")


class TestBadInput:
    def test_lengths(self, specimen: Specimen) -> None:
        with pytest.raises(SyscallError, match="mmap: Invalid argument"):
            specimen.mmap(0)
        with pytest.raises(SyscallError, match="address space"):
            specimen.mmap(1 << 60)
        for length, pages in ((None, None), (1, 1), (-1, None), (None, -1), (1 << 70, None)):
            with pytest.raises(BadArgument):
                specimen.mmap(length, pages=pages)

    def test_addresses(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(PAGE))
        with pytest.raises(SyscallError, match="something is mapped there"):
            specimen.mmap(PAGE, address=mapped.start)
        with pytest.raises(SyscallError):
            specimen.mmap(PAGE, address=mapped.start + 1)
        with pytest.raises(SyscallError):
            specimen.munmap(Area(mapped.start + 1, PAGE, PAGE))

    def test_words(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(PAGE))
        wrongs: list[Callable[[], object]] = [
            lambda: specimen.mmap(PAGE, prot="rwz"),
            lambda: specimen.mmap(PAGE, place="anywhere"),
            lambda: specimen.touch(mapped, order="sideways", pages=2),
            lambda: specimen.touch(mapped, pages=0),
            lambda: specimen.touch(mapped, stride=0),
            lambda: specimen.madvise(mapped, "something"),
            lambda: specimen.munmap(mapped, start=-1),
            lambda: Specimen(source="ps"),
        ]
        for wrong in wrongs:
            with pytest.raises(BadArgument):
                wrong()

    @pytest.mark.parametrize("wrong", [1.5, float("nan"), "3", b"3", 1 << 64, -1 << 64])
    def test_what_is_no_word_leaves_no_trace(self, specimen: Specimen, wrong: Any) -> None:
        mapped = area(specimen.mmap(pages=10))
        before = specimen.figures
        calls: list[Callable[[], object]] = [
            lambda: specimen.mmap(wrong),
            lambda: specimen.mmap(pages=wrong),
            lambda: specimen.mmap(PAGE, address=wrong),
            lambda: specimen.mmap(PAGE, offset=wrong),
            lambda: specimen.touch(wrong),
            lambda: specimen.touch(mapped, pages=wrong),
            lambda: specimen.touch(mapped, start=wrong),
            lambda: specimen.touch(mapped, stride=wrong),
            lambda: specimen.munmap(wrong),
            lambda: specimen.munmap(mapped, start=wrong),
            lambda: specimen.mlock(mapped, pages=wrong),
            lambda: specimen.mremap(mapped, pages=wrong),
            lambda: specimen.mremap(mapped, pages=1, to=wrong),
            lambda: specimen.brk(wrong),
            lambda: specimen.sbrk(wrong),
            lambda: specimen.jump(wrong),
            lambda: specimen.watch_writes(wrong),
            lambda: Specimen(kind=wrong),
        ]
        for call in calls:
            with pytest.raises(BadArgument):
                call()
        assert specimen.figures == before
        moved(specimen.touch(area(specimen.mmap(pages=3))))

    def test_numbers_of_other_types(self, specimen: Specimen) -> None:
        """As numpy's: whatever has __index__."""

        class Number:
            def __index__(self) -> int:
                return 3

        three: Any = Number()
        mapped = specimen.mmap(pages=three)
        assert mapped.delta.vsz == 3 * PAGE
        assert specimen.touch(area(mapped), pages=three).delta.rss_anon == 3 * PAGE

    def test_a_refused_call_changes_nothing(self, specimen: Specimen) -> None:
        before = specimen.figures
        wrongs: list[Callable[[], object]] = [
            lambda: specimen.mmap(0),
            lambda: specimen.brk(4096),
            lambda: specimen.madvise(
                Area(specimen._stepper.place(PAGE, "near"), PAGE, PAGE), "dontneed"
            ),
        ]
        for wrong in wrongs:
            with pytest.raises(SyscallError):
                wrong()
        assert specimen.figures == before
        moved(specimen.mmap(PAGE))


class TestAgreement:
    @pytest.mark.parametrize("seed", [1, 2])
    def test_random_steps(self, seed: int) -> None:
        self.walk(seed, 1000, [])

    def test_random_steps_on_a_file_in_memory(self) -> None:
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
            file.write(os.urandom(700 * PAGE))
            file.flush()
            self.walk(3, 1000, [file.name])

    def walk(self, seed: int, steps: int, files: list[str]) -> None:
        walk = Walk(seed, files=files)
        try:
            for step in islice(walk, steps):
                assert step.agrees or not step.exact, (
                    step, step.differences, step.delta, step.predicted,
                )  # fmt: skip
                if step.exact:
                    assert not untrue(step), (step, untrue(step), step.why, step.delta)
        finally:
            walk.close()

    def test_a_model_that_is_wrong_is_seen(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=10))
        specimen.space.munmap(
            mapped.start // PAGE, 1, type(specimen.touch(mapped)._prediction.tally)()
        )
        step = specimen.touch(mapped)
        assert not step.agrees
        assert "fault" in step.differences
        assert "differs" in repr(step)


class TestWords:
    def test_calls_as_one_would_write_them(self, specimen: Specimen) -> None:
        step = specimen.mmap(pages=2)
        start = hex(area(step).start)
        assert step.call == (
            f"mmap({start}, 8192, PROT_READ|PROT_WRITE,"
            " MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE, -1, 0)"
        )
        assert specimen.munmap(area(step)).call == f"munmap({start}, 8192)"
        assert names(0, Prot) == "PROT_NONE"

    def test_why(self, specimen: Specimen) -> None:
        mapped = specimen.mmap(pages=2)
        assert "RSS +0" in mapped.why
        assert "first time" in specimen.touch(area(mapped)).why
        assert "no fault" in specimen.touch(area(mapped)).why
        assert "not allowed" in specimen.touch(0).why
        assert "write-protected" in specimen.fork().why
        mapped = specimen.mmap(pages=9)
        specimen.read(area(mapped))
        assert "9 pages only read until now, now written" in specimen.touch(area(mapped)).why
        assert "in place. VSZ -12 KiB. 3 pages given back" in (
            specimen.mremap(area(mapped), pages=6).why
        )
        assert "first accessed" in specimen.mlock(area(mapped), pages=6, on_fault=True).why
        populated = specimen.mmap(pages=4, populate=True)
        assert "at once" in populated.why
        assert "RSS +0" not in populated.why
        assert "No page moves" in specimen.madvise(area(populated), "willneed").why

    def test_unknown_figures_are_not_compared(self) -> None:
        assert Delta(rss_file=None).differences(Delta(rss_file=4096)) == []
        assert Delta(vsz=1).differences(Delta()) == ["vsz"]

    @pytest.mark.parametrize("count", [1, 2, 7, 512, 1000])
    def test_orders_visit_every_page_once(self, count: int) -> None:
        for order in ("forward", "backward", "random"):
            factor, shift = order_of(order, count, 5)
            assert sorted((n * factor + shift) % count for n in range(count)) == list(range(count))
