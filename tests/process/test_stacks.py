"""Stacks against what threads know of themselves: they recurse a known number of pages."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from procmem import (
    AlternateStack,
    KiB,
    LiveStack,
    MiB,
    Process,
    ProcmemError,
    RegionKind,
    Stacks,
)
from procmem.experiments import Specimen
from procmem.process.stacks import IS_X86, StackSearch, guard_gap, used
from procmem.procfs import probes
from tests.support.deep import Deep, built_stacks
from tests.support.stacks import wait_for

if TYPE_CHECKING:
    from tests.support.deep import Truth

PAGE = os.sysconf("SC_PAGESIZE")
NO_MARKS = "no MADV_GUARD_INSTALL (Linux 6.13) that pagemap shows (6.15), or no glibc"
GLIBC = "CS_GNU_LIBC_VERSION" in os.confstr_names


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("stacks"))


def agrees(one: LiveStack, truth: Truth, *, exact: bool = True) -> None:
    """The stack is as deep as the thread says."""
    assert one.start is not None
    assert one.end is not None
    assert one.touched is not None
    assert one.end - one.touched == truth.lowest // PAGE * PAGE
    assert one.in_use is not None
    assert truth.frame - PAGE < one.end - one.in_use <= truth.frame
    if exact:
        assert (one.start, one.end) == (truth.start, truth.end)


def stack_of(tid: int, stacks: Stacks) -> LiveStack:
    """The stack of a thread: PIDs begin anew at the last one, so that the main thread's is not
    always the first."""
    (found,) = [one for one in stacks if one.tid == tid]
    return found


def of_threads(target: Deep, stacks: Stacks) -> list[tuple[LiveStack, Truth]]:
    """Each stack but the main thread's, with the truth."""
    assert [one.tid for one in stacks] == sorted(target.truths)
    return [(one, target.truths[one.tid]) for one in stacks if one.tid != target.pid]


BUILDS = [("cc",), ("cc", "-static"), ("cc", "-m32"), ("musl-gcc",), ("musl-gcc", "-static")]


@pytest.mark.parametrize("build", BUILDS, ids=" ".join)
def test_threads_are_as_deep_as_they_recursed(place: str, build: tuple[str, ...]) -> None:
    program = built_stacks(place, *build[1:], compiler=build[0])
    with Deep(program, "plain", 18, 24) as target:
        stacks = target.stacks()
        for one, truth in of_threads(target, stacks):
            if one.guess and one.start is None:
                continue  # stacks side by side, without a guard region or a descriptor
            assert one.guess == (build[0] != "cc" or "-m32" in build)
            # musl's end is below the thread's own variables.
            agrees(one, truth, exact=build[0] == "cc")
            assert one.guard == (truth.guard or one.guard)
            assert one.limit == one.reserved
            assert one.headroom == (one.limit or 0) - (one.touched or 0)
            assert one.elsewhere is None
        main = stack_of(target.pid, stacks)
        truth = target.truths[target.pid]
        assert main.end is not None
        assert main.end - (main.touched or 0) <= truth.lowest // PAGE * PAGE
        assert main.limited_by is not None


def test_depth_without_pagemap_scan(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 6.7, where each page has to be read."""
    monkeypatch.setattr("procmem.process.stacks.scan_ranges", lambda *_, **__: None)
    with Deep(built_stacks(place), "plain", 18, 40) as target:
        for one, truth in of_threads(target, target.stacks()):
            agrees(one, truth)


def test_names_and_states_are_those_of_ps(place: str) -> None:
    if shutil.which("ps") is None:
        pytest.skip("ps(1) is not installed")
    with Deep(built_stacks(place), "plain", 5, 6, 7) as target:
        stacks = target.stacks()
        listed = subprocess.run(
            ["ps", "-L", "-o", "tid=,s=,comm=", "-p", str(target.pid)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        # ps lists threads in the order in which they were started.
        assert [[str(one.tid), one.state, one.name] for one in stacks] == sorted(
            (line.split() for line in listed.splitlines()), key=lambda words: int(words[0])
        )
        assert {one.name for one in stacks} >= {"deep-5", "deep-6", "deep-7"}


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_stacks_that_the_program_made_itself(place: str) -> None:
    with Deep(built_stacks(place), "own", 15, 20) as target:
        for one, truth in of_threads(target, target.stacks()):
            agrees(one, truth)
            assert (one.reserved, one.guard, one.guess) == (256 * KiB, 0, False)


def test_threads_without_a_descriptor_are_marked_as_guesses(place: str) -> None:
    with Deep(built_stacks(place), "clone", 15, 20) as target:
        for one, truth in of_threads(target, target.stacks()):
            assert one.guess
            assert one.guard == PAGE
            agrees(one, truth)


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_guard_marks_are_no_stack(place: str) -> None:
    if not probes.shows_guard_pages():
        pytest.skip(NO_MARKS)
    with Deep(built_stacks(place), "marks", 15) as target:
        ((one, truth),) = of_threads(target, target.stacks())
        agrees(one, truth, exact=False)
        assert (one.guard, one.reserved) == (2 * PAGE, 256 * KiB - 2 * PAGE)
        assert one.guard_marks


@pytest.mark.skipif(not IS_X86, reason="interrupted stack pointers are read on x86 only")
@pytest.mark.parametrize("kind", ["signal", "beside"])
def test_a_handler_on_an_alternate_stack(place: str, kind: str) -> None:
    """Also if the alternate stack and the thread's are one region, as with glibc 2.42."""
    if kind == "beside" and not (GLIBC and probes.shows_guard_pages()):
        pytest.skip(NO_MARKS)
    with Deep(built_stacks(place), kind, 18) as target:
        ((one, truth),) = of_threads(target, target.stacks())
        assert one.alternate is not None
        assert (one.alternate.start, one.alternate.size) == (truth.alternate, truth.size)
        assert 0 < one.alternate.in_use < truth.size
        assert one.elsewhere == "an alternate signal stack"
        agrees(one, truth, exact=kind == "signal")  # in use is what was interrupted


def test_only_a_frame_that_fits_shows_an_alternate_stack() -> None:
    """Words of struct ucontext; a region of a runtime's heap is not searched."""
    start, size, pointer, interrupted = 0x10000, 0x8000, 0x17000, 0x7FFF0000

    def found(
        words: list[int], kind: RegionKind = RegionKind.ANON, use: str | None = None
    ) -> object:
        data = struct.pack(f"={len(words)}Q", *words)
        search = SimpleNamespace(word=8, memory=SimpleNamespace(read=lambda _, n: data[:n]))
        region = SimpleNamespace(start=start, end=start + size, inode=0, use=use, kind=kind)
        return StackSearch.alternate(search, pointer, region)  # type: ignore[arg-type]

    frame = [0, 0, start, 0, size, *[0] * 15, interrupted if IS_X86 else 0]
    stack = AlternateStack(start, size, start + size - pointer)
    expected = stack, interrupted if IS_X86 else None
    assert found(frame) == expected
    assert found(frame, RegionKind.THREAD_STACK, "thread stack with 4 KiB of guard pages") == (
        expected
    )
    assert found(frame, use="Go heap") is None
    for place, odd in ((2, start - 4096), (2, pointer + 8), (3, 4), (4, 64), (4, size + 4096)):
        assert found([odd if at == place else word for at, word in enumerate(frame)]) is None
    assert found([]) is None
    assert found(frame[:5]) == (stack, None)


def test_a_running_thread_shows_no_stack_pointer(place: str) -> None:
    with Deep(built_stacks(place), "runs", 18) as target:
        ((one, truth),) = of_threads(target, target.stacks())
        assert one.in_use is None
        assert one.end is not None
        assert one.end - (one.touched or 0) == truth.lowest // PAGE * PAGE


def test_a_process_that_is_stopped_shows_all_stack_pointers(place: str) -> None:
    with Deep(built_stacks(place), "runs", 18) as target:
        target.stacks()
        stacks = Process(target.pid).stacks(stop=True)
        ((one, truth),) = of_threads(target, stacks)
        assert one.state == "R"
        agrees(one, truth)
        assert stacks.stopped is not None
        assert stacks.stopped.threads == 2
        assert stacks.to_dict()["stopped"]["seconds"] == stacks.stopped.seconds > 0
        # It goes on.
        assert Process(target.pid).stacks().stopped is None
        wait_for(lambda: stack_of(one.tid, Process(target.pid).stacks()).state == "R")
    with pytest.raises(ProcmemError):
        Process().stacks(stop=True)


def test_the_main_thread_has_exited(place: str) -> None:
    with Deep(built_stacks(place), "plain", 18, leaves=True) as target:
        stacks = target.stacks()
        main = stack_of(target.pid, stacks)
        assert (main.state, main.in_use) == ("Z", None)
        ((one, truth),) = of_threads(target, stacks)
        agrees(one, truth)


@pytest.mark.parametrize("access", [0, 1])
def test_the_main_thread_reaches_its_limit_and_no_further(place: str, access: int) -> None:
    """A mapping below it ends its growth, with the kernel's gap if it can be accessed."""
    with Deep(built_stacks(place), "limit", access) as target:
        (main,) = target.stacks()
        assert main.limited_by is not None
        assert main.limited_by.startswith("the mapping below it")
        assert main.end is not None
        assert main.end - target.go() == main.limit
        (after,) = Process(target.pid).stacks()
        assert (after.touched, after.headroom) == (main.limit, 0)


def test_the_main_thread_is_limited_by_rlimit_stack(place: str) -> None:
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit(1) is not installed")
    program = built_stacks(place)
    with Deep(program, "limit", 1, through=["prlimit", f"--stack={MiB}"]) as target:
        (main,) = target.stacks()
        assert (main.limit, main.limited_by) == (MiB, "RLIMIT_STACK")
        assert main.end is not None
        assert main.end - target.go() == MiB


def test_regions_are_counted_as_the_kernel_counts_them(place: str) -> None:
    with Deep(built_stacks(place), "plain", *[2] * 40) as target:
        stacks = target.stacks()
        lines = Path(f"/proc/{target.pid}/maps").read_text().splitlines()
        assert stacks.regions == sum("[vsyscall]" not in line for line in lines)
        assert stacks.max_regions == int(Path("/proc/sys/vm/max_map_count").read_text())
        assert sum(one.regions for one in stacks.groups) == stacks.regions
        one = next(one for one in stacks if one.tid != target.pid)
        if GLIBC and one.guard and not one.guard_marks:
            assert stacks.groups[0][:2] == ("thread stacks and their guards", 80)
        assert stacks.total("reserved") == sum(one.reserved or 0 for one in stacks)
        assert stacks.deepest is not None
        assert stacks.deepest.touched == max(one.touched or 0 for one in stacks)


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_without_the_rights_of_ptrace(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under kernel.yama.ptrace_scope 1: maps and pagemap may be read, mem and syscall not."""

    class Refusing:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def open(self, name: str, *rest: int, **more: int) -> int:
            if name.endswith("mem"):
                raise PermissionError(13, "refused", name)
            return os.open(name, *rest, **more)

    with Deep(built_stacks(place), "plain", 18) as target:
        target.stacks()
        monkeypatch.setattr("procmem.procfs.resident.os", Refusing())
        monkeypatch.setattr("procmem.process.facts.stack_pointer", lambda *_: None)
        stacks = Process(target.pid).stacks()
        ((one, truth),) = of_threads(target, stacks)
        assert stacks.unknown
        assert "ptrace" in stacks.unknown[0]
        assert one.in_use is None
        if one.start is not None:  # else its region has other memory, too (glibc 2.42)
            assert one.end is not None
            assert one.guess
            assert (one.start, one.end) == (truth.start, truth.end)
            assert one.end - (one.touched or 0) == truth.lowest // PAGE * PAGE
        # The main thread's stack is known by its name.
        assert stack_of(target.pid, stacks).touched
        assert not stack_of(target.pid, stacks).guess


def test_reading_touches_no_page(place: str) -> None:
    def anonymous(process: Process) -> list[tuple[int, int | None, int | None]]:
        # Pages of files come and go with the page cache.
        return [(r.start, r.rss, r.swap) for r in process.smaps() if not r.inode]

    with Deep(built_stacks(place), "plain", 18, 19) as target:
        target.stacks()
        process = Process(target.pid)
        before = anonymous(process)
        process.stacks()
        assert anonymous(process) == before


def test_a_program_without_a_c_library() -> None:
    with Specimen() as specimen:
        (one,) = Process(specimen.pid).stacks()
        assert one.tid == specimen.pid
        assert (one.touched or 0) <= (one.reserved or 0) <= (one.limit or 0)


def test_what_has_no_stacks_is_an_error() -> None:
    with pytest.raises(ProcmemError):
        Process(2).stacks()
    with Specimen() as specimen:
        process = Process(specimen.pid)
    with pytest.raises(ProcmemError):
        process.stacks()


def test_a_stack_pointer_elsewhere_is_no_use_of_the_stack() -> None:
    stack = LiveStack(1, "a", "S", 0x1000, 0x3000)
    assert [used(stack, at) for at in (None, 0xFFF, 0x1000, 0x2FFF, 0x3000)] == [
        None, None, 0x2000, 1, None,
    ]  # fmt: skip
    assert used(LiveStack(1, "a", "S"), 0x1000) is None


def test_the_gap_is_that_of_the_kernel_s_command_line(tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_bytes(b"quiet stack_guard_gap=16 ro\n")
    assert guard_gap(str(tmp_path)) == 16 * PAGE
    assert guard_gap(str(tmp_path / "none")) == 256 * PAGE
