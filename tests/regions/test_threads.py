"""Threads and their stacks."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from procmem import (
    KiB,
    NoSuchProcess,
    Process,
    RegionKind,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem import Thread
    from tests.support.targets import Target

    Start = Callable[..., Target]


@pytest.fixture
def process(target: Target) -> Process:
    return Process(target.pid)


def waiting_threads(process: Process, besides: int = 0) -> dict[int, Thread]:
    """All threads once each waits: one that is still running shows no stack pointer."""
    deadline = time.monotonic() + 300
    while True:
        threads = process.threads()
        if all(thread.stack is not None for thread in threads if thread.tid != besides):
            return {thread.tid: thread for thread in threads}
        assert time.monotonic() < deadline
        os.sched_yield()


def test_threads_and_their_stacks(target: Target, process: Process) -> None:
    started = target.threads(5, stack=256 * KiB, name="a\nname )x")
    threads = waiting_threads(process)
    assert set(threads) == {target.pid, *(thread.tid for thread in started.threads)}
    for thread in started.threads:
        found = threads[thread.tid]
        assert found.name == "a\nname )x"
        assert found.stack is not None
        assert thread.local in found.stack
        assert found.stack_pointer in found.stack
        assert found.stack.kind is RegionKind.THREAD_STACK
    leader = threads[target.pid]
    assert leader.stack is not None
    assert leader.stack.pathname == "[stack]"
    assert leader.name == "target"


def test_a_thread_that_runs_is_listed(target: Target, process: Process) -> None:
    worker = target.spin()
    assert worker.tid in [thread.tid for thread in process.threads()]


def test_threads_after_the_leader_has_exited(target: Target, process: Process) -> None:
    tid = target.exit_leader()
    threads = waiting_threads(process, besides=target.pid)
    stack = threads[tid].stack
    assert stack is not None
    assert stack.perms == "rw-p"
    assert threads[target.pid].stack is None


def test_a_process_that_ends_among_its_threads_has_none(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = start()
    target.threads(5)
    process = Process(target.pid)
    seen: list[int] = []

    def look(_: object, tid: int) -> None:
        seen.append(tid)
        if len(seen) == 2:
            target.kill()

    monkeypatch.setattr("procmem.regions.threads.stack_pointer", look)
    with pytest.raises(NoSuchProcess):
        process.threads()
    assert len(seen) == 2


def test_a_thread_that_ends_meanwhile_is_left_out(
    target: Target, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.threads(5)
    seen: list[int] = []

    def look(_: object, tid: int) -> None:
        seen.append(tid)
        if len(seen) == 2:
            target.join_threads()

    monkeypatch.setattr("procmem.regions.threads.stack_pointer", look)
    left = [thread.tid for thread in process.threads()]
    # Joined is not quite gone: who has ended may show for a moment yet.
    assert target.pid in left
    assert set(left) <= set(seen)
