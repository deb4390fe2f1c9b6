"""Sentences, from waits that were made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from procmem.ipc.ends import Pipes
from procmem.ipc.sentences import Reasons, listed
from procmem.ipc.waiting import TIME, UNSEEN, Wait
from procmem.procfs.blocked import ProcessState, ThreadState


def wait(pid: int, kind: str, to: str, **more: Any) -> Wait:
    rest: dict[str, Any] = {
        "call": "read", "on": "", "fd": None, "holders": (), "owner": None, "way_out": "",
        "guess": False, "tid": pid, "name": f"p{pid}",
    }  # fmt: skip
    return Wait(pid=pid, kind=kind, to=to, **{**rest, **more})


def state(pid: int, threads: int = 1, *, seen: bool = True) -> ProcessState:
    all_of_them = tuple(ThreadState(pid, pid + n, "S", "read", (), 0) for n in range(threads))
    return ProcessState(pid, f"p{pid}", 1, pid, 7, 0, 0, all_of_them, seen)


def why(pid: int, *edges: Wait, states: Any = None, **more: Any) -> str:
    known = {1: state(1), 2: state(2), 3: state(3)}
    rest: dict[str, Any] = {"deadlocks": [], "stuck": set(), "denied": 0, **more}
    made = Reasons(
        edges,
        rest["deadlocks"],
        rest["stuck"],
        states or known,
        Pipes([], 1, [], 0),
        rest["denied"],
    )
    return made.why(pid)


@pytest.mark.parametrize(
    "edge, said",
    [
        (
            wait(1, "pipe", "read", on="pipe 8", holders=(1, 2)),
            "1 (p1) reads pipe 8, which is empty; its writers are 1 itself and 2 (p2)",
        ),
        (
            wait(1, "pipe", "write", on="pipe 8", call="write", holders=(2,)),
            "1 (p1) writes to pipe 8, which is full; its only reader is 2 (p2)",
        ),
        (
            wait(1, "pipe", "read", on="pipe 8", way_out=UNSEEN),
            "1 (p1) reads pipe 8, which is empty; its writer can't be seen.",
        ),
        (
            wait(1, "pipe", "read", on="pipe 8", call="poll", holders=(2,), way_out=TIME),
            "1 (p1) waits to read pipe 8, which is empty, for a limited time; its only writer is",
        ),
        (
            wait(1, "socket", "read", on="socket 8", call="recvfrom", holders=(1, 2)),
            "reads socket 8, which has nothing to read; its other side is held by 1 itself and 2",
        ),
        (wait(1, "terminal", "read", on="/dev/pts/1", way_out="x"), "somebody must type"),
        (wait(1, "signal", "wake", call="pause", way_out="x"), "waits for a signal (pause)"),
        (wait(1, "time", "wake", call="nanosleep", way_out=TIME), "until a time limit is over"),
        (wait(1, "stop", "go on", way_out="x"), "SIGCONT makes it go on"),
        (wait(1, "tracer", "go on", holders=(3,)), "is stopped by its tracer 3 (p3)"),
        (
            wait(1, "process", "end", call="wait4", holders=(2, 3)),
            "waits for its 2 children 2 (p2) and 3 (p3) to end",
        ),
        (
            wait(1, "process", "end", on="vfork", call="vfork", holders=(2,)),
            "waits until 2 (p2) ends or calls execve",
        ),
        (
            wait(1, "futex", "lock", on="a lock at 0x40", holders=(2,), owner=2, guess=True),
            "waits for a lock at 0x40, which thread 2 of 2 (p2) has (by the layout of glibc's",
        ),
        (
            wait(1, "futex", "wake", on="address 0x40", holders=(1,)),
            "waits in futex at address 0x40 until another of its threads wakes it",
        ),
        (wait(1, "other", "go on", call="semop", on="semop"), "is blocked in semop."),
    ],
)  # fmt: skip
def test_what_a_thread_waits_for(edge: Wait, said: str) -> None:
    assert said in why(1, edge)


def test_those_that_are_waited_for_follow() -> None:
    said = why(
        1,
        wait(1, "pipe", "read", on="pipe 8", holders=(2,)),
        wait(2, "pipe", "read", on="pipe 9", holders=(3,)),
    )
    assert said.endswith(
        "2 (p2) reads pipe 9, which is empty; its only writer is 3 (p3). 3 (p3) runs."
    )


def test_one_of_several() -> None:
    said = why(
        1,
        wait(1, "pipe", "read", on="pipe 8", call="poll", holders=(2,)),
        wait(1, "pipe", "read", on="pipe 9", call="poll", holders=(3,)),
    )
    assert "1 (p1) waits in poll for one of pipe 8 or pipe 9, held by 2 (p2) and 3 (p3)" in said


def test_verdicts() -> None:
    edges = (
        wait(1, "pipe", "read", on="pipe 8", holders=(2,)),
        wait(2, "pipe", "read", on="pipe 9", holders=(1,)),
        wait(3, "process", "end", call="wait4", holders=(2,)),
    )
    verdict = {"deadlocks": [[1, 2]], "stuck": {1, 2, 3}}
    assert "So 1 and 2 wait for each other, for ever: only a signal can end it" in why(
        1, *edges, **verdict
    )
    assert "So 3 will wait for ever, too" in why(3, *edges, **verdict)
    assert "could not be seen" not in why(1, *edges, **verdict)
    assert "2 processes could not be seen" in why(1, *edges, **verdict, denied=2)
    guessed = wait(1, "futex", "lock", on="a lock", holders=(1,), owner=1, guess=True)
    assert "rests on the layout" in why(1, guessed, deadlocks=[[1]], stuck={1})


def test_states_without_waits() -> None:
    assert why(1) == "1 (p1) runs: none of its threads stayed blocked in one call."
    assert "has ended; its parent 1 has not waited" in why(1, states={1: state(1, 0)})
    assert "can't be seen" in why(1, states={1: state(1, seen=False)})


def test_threads_that_wait_for_the_same_are_named_once() -> None:
    edges = [wait(1, "signal", "wake", tid=1 + n, call="pause", way_out="x") for n in range(3)]
    said = why(1, *edges, states={1: state(1, 4)})
    assert said.count("waits for a signal") == 1
    assert "1 of its 4 threads did not wait" in said


def test_lists() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"], "or") == "a or b"
