from __future__ import annotations

import itertools
import os
import re
import signal

import pytest

from procmem.errors import Unsupported
from procmem.procfs import blocked
from procmem.procfs.blocked import parse_call, read_states, state_and_turns
from tests.support.blocking import Children, needs_calls

LINES = (
    b"State:\tS (sleeping)",
    b"voluntary_ctxt_switches:\t150",
    b"nonvoluntary_ctxt_switches:\t545",
    b"x86_Thread_features:\tshstk",
)


def test_lines_of_status_may_come_in_any_order() -> None:
    for lines in itertools.permutations(LINES):
        # A newline in a name is printed as \\n (proc_pid_status(5)).
        name = b"Name:\tnonvoluntary_ctxt_switches:\\nvoluntary_ctxt_switches:\\t7\\nState:\\tR"
        assert state_and_turns(b"\n".join((name, *lines)) + b"\n") == ("S", 695)


@pytest.mark.parametrize(
    "last", [b"x86_Thread_features:\t", b"Later:\t1 kB", b"THP_enabled:\t1", b""]
)
def test_lines_may_follow_the_context_switches(last: bytes) -> None:
    assert state_and_turns(b"\n".join((*LINES[:3], last, b"x86_Thread_features_locked:\t\n"))) == (
        "S",
        695,
    )


@pytest.mark.parametrize("missing", range(3))
def test_a_missing_line_is_an_error_and_no_zero(missing: int) -> None:
    with pytest.raises(Unsupported):
        state_and_turns(b"\n".join(LINES[:missing] + LINES[missing + 1 :]))


def test_this_kernel() -> None:
    with open(f"/proc/self/task/{os.getpid()}/status", "rb") as file:
        state, turns = state_and_turns(file.read())
    assert state == "R"
    assert turns >= 0


def test_a_call_of_no_name_keeps_its_number() -> None:
    assert parse_call(b"99999 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffc 0x7f12\n") == (
        "system call 99999",
        (1, 2, 3, 4, 5, 6),
    )
    assert parse_call(b"running\n") is None
    assert parse_call(b"") is None


@needs_calls
def test_a_switch_that_is_counted_late_is_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that was just stopped is off its CPU, and counted so, once `syscall` was read."""
    read_at = blocked.read_at
    waited = False

    def late(directory: int, name: str) -> bytes:
        nonlocal waited
        data = read_at(directory, name)
        waited = waited or name.endswith("syscall")
        counted = re.search(rb"(?<=\nnonvoluntary_ctxt_switches:\t)\d+", data)
        if waited and counted:
            more = b"%d" % (int(counted[0]) + 1)
            return data[: counted.start()] + more + data[counted.end() :]
        return data

    with Children() as children:
        child = children.start(signal.pause, "pause", "rt_sigsuspend", "ppoll")
        monkeypatch.setattr(blocked, "read_at", late)
        assert read_states([child]) == read_states([child])


@needs_calls
def test_a_process_is_read_with_its_threads_and_their_calls() -> None:
    with Children() as children:
        read, _ = children.pipe()
        child = children.start(lambda: os.read(read, 1), "read")
        before = read_states([child])[child]
        assert before.parent == os.getpid()
        assert before.group == os.getpgid(child)
        assert before.seen
        (thread,) = before.threads
        assert (thread.pid, thread.tid, thread.state, thread.call) == (child, child, "S", "read")
        assert thread.arguments[0] == read
        assert read_states([child])[child] == before
    assert read_states([child]) == {}
