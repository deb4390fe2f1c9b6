from __future__ import annotations

import os
import signal

import pytest

import procmem
import procmem.heap.reading as module
from procmem.heap.glibc import ArenaReader
from tests.support.allocating import Allocating
from tests.support.blocking import until_asleep
from tests.support.busy import Busy, Mode, busy_program, nonsense, wrong
from tests.support.targets import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)


def test_reading_changes_nothing(program: Path) -> None:
    with Allocating(program, 2) as target:
        process = procmem.Process(target.pid)
        target.go(1, 20000)
        target.ask("trim")
        until_asleep(target.pid)
        before = process.smaps()
        process.heap()
        after = process.smaps()
        assert [(r.start, r.anonymous, r.private_dirty, r.swap) for r in before] == [
            (r.start, r.anonymous, r.private_dirty, r.swap) for r in after
        ]
        # The kernel may drop pages of files at any time, but none comes.
        for one, other in zip(before, after, strict=True):
            assert (other.rss or 0) <= (one.rss or 0)


@pytest.mark.parametrize(
    "threads, mode", [(1, Mode.BURSTS), (2, Mode.BURSTS), (4, Mode.HOT), (1, Mode.HOT)]
)
def test_a_heap_that_changes_is_right_or_doubtful(
    threads: int, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0)
    with Busy(busy_program(tmp_path), tmp_path, threads) as target:
        settled = target.settle()
        assert settled.certain
        assert len(settled.arenas) == threads
        target.run(mode)
        process = procmem.Process(target.pid)
        for _ in range(8):
            target.begin()
            assert wrong(target, process.heap()) == []
        target.park()
        target.begin()
        heap = process.heap()
        assert heap.certain
        assert wrong(target, heap) == []


def test_a_process_without_a_heap_of_glibc() -> None:
    with pytest.raises(procmem.ProcessError):
        procmem.Process(2).heap()


STEPS = ["find", "measure", "add_caches", "changes"]
"""Of a reading: before each something happens to the process, in turn."""


def meanwhile(step: str, happens: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Has something happen before a step of the next reading."""
    real = getattr(ArenaReader, step)
    todo = [happens]

    def first(reader: ArenaReader, *args: object, **words: object) -> object:
        if todo:
            todo.pop()()
        return real(reader, *args, **words)

    patch.setattr(ArenaReader, step, first)


@pytest.mark.parametrize("reaped", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_ends_while_it_is_read(
    program: Path, step: str, reaped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)

        def end() -> None:
            assert target.process.stdin is not None
            target.process.stdin.close()
            os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)
            if reaped:
                target.process.wait()

        meanwhile(step, end, monkeypatch)
        with pytest.raises((procmem.NoSuchProcess, procmem.ZombieProcess)):
            procmem.Process(target.pid).heap()


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_runs_another_program_while_it_is_read(
    program: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        # The other program is cat, which answers with what it is sent.
        meanwhile(step, lambda: target.ask("exec\ndone"), monkeypatch)
        with pytest.raises(procmem.ProcessChanged):
            procmem.Process(target.pid).heap()


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_forks_while_it_is_read(
    program: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        children: list[int] = []
        meanwhile(step, lambda: children.extend(map(int, target.ask("fork"))), monkeypatch)
        try:
            heap = procmem.Process(target.pid).heap()
            (child,) = children
            same = procmem.Process(child).heap()
            info = target.info()
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
        assert heap.doubts == same.doubts == ()
        assert [(a.system, a.fast, a.free + a.top) for a in heap.arenas] == list(info.arenas)
        assert heap.in_use + heap.tcache == same.in_use + same.tcache == info.uordblks
        assert heap.trimmable == same.trimmable


@pytest.mark.slow
def test_what_is_in_swap_stays_there(program: Path) -> None:
    """Not beside other tests: with swap the kernel may page out what their processes have."""
    with machine.swap() as setting:
        setting.or_skip()
        with Allocating(program) as target:
            target.go(1, 20000)
            process = procmem.Process(target.pid)
            for _ in range(50):
                target.ask("pageout")
                before = [(r.start, r.rss or 0, r.swap or 0) for r in process.smaps()]
                if any(swapped for *_, swapped in before):
                    break
            else:
                pytest.skip("the kernel swapped nothing out")
            heap = process.heap()
            after = [(r.start, r.rss or 0, r.swap or 0) for r in process.smaps()]
        assert not heap.certain
        assert any("in swap" in doubt for doubt in heap.doubts)
        assert nonsense(heap) == []
        # The kernel may have gone on swapping out.
        for (start, rss, swapped), (start_now, rss_now, swapped_now) in zip(
            before, after, strict=True
        ):
            assert (start, rss >= rss_now, swapped <= swapped_now) == (start_now, True, True)
