"""Interpreters as other processes: answers, errors, blocked calls, ends."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

import pytest

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.specimen.interpreter import (
    WAITS,
    Interpreter,
    pipe_pair,
    read_exactly,
    waiting,
)
from tests.support.blocking import needs_calls


def test_answers_are_values_and_errors_are_names() -> None:
    with Interpreter() as one:
        assert one.ask("os.getpid()") == one.pid
        assert one.ask("os.open('/nowhere', 0)") == "ENOENT"
        assert one.ask("b'a' * 3") == b"aaa"
        with pytest.raises(BadArgument):
            one.begin("1\n2")
    assert not Path(f"/proc/{one.pid}").exists()


@needs_calls
def test_a_call_that_blocks_in_a_pipe() -> None:
    with pipe_pair() as (read, write, inode), Interpreter([read]) as one:
        one.begin(f"os.read({read}, 9)")
        assert one.outcome(inode) == WAITS
        assert one.blocked_in(inode)
        assert not one.blocked_in(inode + 1)
        os.write(write, b"here")
        assert one.answer() == b"here"
        assert not one.blocked_in(inode)
        one.begin("7")
        assert one.outcome(inode) == 7


def test_the_last_expression() -> None:
    with Interpreter() as one:
        assert one.last("os._exit(3)") == 3
    with Interpreter() as one:
        assert one.last("os.kill(os.getpid(), 9)") == -signal.SIGKILL
    with Interpreter() as one:
        assert one.last("1 + 1") is None
    with Interpreter() as one:
        assert one.end() == -signal.SIGKILL


def test_an_interpreter_that_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("/bin/false", "/nowhere/python", ""):
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(Unsupported), Interpreter() as one:
            one.ask("1")


def test_the_c_library() -> None:
    with pipe_pair() as (read, write, _), Interpreter([write], stdio=True) as one:
        assert one.ask(f"globals().update(file=libc.fdopen({write}, b'w'))") is None
        assert one.ask("write(file, b'hello')") == 5
        assert one.ask("libc.ftell(file)") == -1  # a pipe has no positions
        assert one.ask("libc.fflush(file)") == 0
        assert waiting(read) == 5
        assert read_exactly(read, 5) == b"hello"


def test_ends_are_closed_once() -> None:
    gc.collect()  # what earlier tests have left may hold some
    before = sorted(os.listdir("/proc/self/fd"))
    with pipe_pair() as (read, write, inode):
        assert os.fstat(write).st_ino == inode
        assert read > 2
        os.close(write)
        other = os.dup(0)  # has the number of the end that was closed
    os.fstat(other)
    os.close(other)
    assert sorted(os.listdir("/proc/self/fd")) == before
