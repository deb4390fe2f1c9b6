"""Children that block in a call of the test's choice, and how to know that they do."""

from __future__ import annotations

import os
import signal
import time
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem.procfs.blocked import NAMES, parse_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

needs_calls = pytest.mark.skipif(
    not NAMES or not os.path.exists("/proc/self/syscall"),
    reason="no /proc/PID/syscall, or the numbers of this machine's system calls are unknown",
)


@contextmanager
def forked(run: Callable[[], object]) -> Iterator[int]:
    """A child of this process that runs a function and exits; killed at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of pytest's workers
        pid = os.fork()
    if not pid:
        try:
            run()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def call_of(pid: int, tid: int | None = None) -> str:
    """The call that a thread is blocked in; "" while it runs."""
    try:
        text = Path(f"/proc/{pid}/task/{tid or pid}/syscall").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    call = parse_call(text)
    return call[0] if call else ""


def until(true: Callable[[], object]) -> None:
    """Waits until something is true, which it will be however busy the machine is."""
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def until_blocked(pid: int, *calls: str) -> None:
    """Waits until a process sleeps in one of these calls."""
    until(lambda: call_of(pid) in calls and state_of(pid) == "S")


def state_of(pid: int) -> str:
    """The letter of its state."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat[stat.rindex(")") + 2]


def until_asleep(pid: int) -> None:
    """Waits until a process sleeps: one that has just written a line goes on to its next read."""
    until(lambda: state_of(pid) == "S")


class Children:
    """Several children, killed together."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: set[int] = set()
        self.pids: list[int] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, run: Callable[[], object], *calls: str) -> int:
        """Starts one, and waits until it is blocked in one of these calls."""
        pid = self._stack.enter_context(forked(run))
        self.pids.append(pid)
        if calls:
            until_blocked(pid, *calls)
        return pid

    def pipe(self) -> tuple[int, int]:
        """A pipe of this process, whose ends are closed at the end unless close() did it."""
        ends = os.pipe()
        self._open.update(ends)
        for fd in ends:
            self._stack.callback(self.close, fd)
        return ends

    def close(self, fd: int) -> None:
        """Closes an end of such a pipe, once: the number may be another descriptor's then."""
        if fd in self._open:
            self._open.remove(fd)
            os.close(fd)
