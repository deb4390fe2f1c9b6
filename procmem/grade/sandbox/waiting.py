"""What a program waits for, as /proc shows it (/proc/PID/task/TID/syscall, proc(5))."""

from __future__ import annotations

import contextlib
import os
import platform
import struct
from typing import NamedTuple

from procmem.errors import Unsupported
from procmem.procfs.blocked import (
    EPOLLS,
    NAMES,
    POLLS,
    READS,
    SELECTS,
    WAITS,
    ThreadState,
    parse_call,
    state_and_turns,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Seen", "ThreadState", "descendants", "look"]

DEV_TTY = os.makedev(5, 0)

FUTEX_WAITS = (0, 6, 9, 11, 13)
"""FUTEX_WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2 (futex(2))."""


class Seen(NamedTuple):
    """The state of all threads of a sandbox at one time.

    Attributes:
        waits: whether one waits for input from the terminal, and none runs.
        sleeps: the call that the first of them sleeps in, if none runs and none waits for input.
        forever: whether they sleep and nothing can wake them: a deadlock.
        threads: each thread.
    """

    waits: bool
    sleeps: str
    forever: bool
    threads: tuple[ThreadState, ...]

    @property
    def turns(self) -> int:
        """How often the threads have given up the CPU, together."""
        return sum(thread.turns for thread in self.threads)


def check_machine() -> None:
    """Raises Unsupported where the numbers of system calls are not known."""
    if not NAMES:
        raise Unsupported("waiting for input", f"system calls of {platform.machine()} are unknown")


def can_be_watched(pid: int) -> bool:
    """Whether this machine shows what a child process waits for."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/syscall", "rb") as file:
        return bool(file.read())
    return False


def descendants(pid: int) -> list[int]:
    """The descendants of a process, from /proc/PID/task/TID/children."""
    found: list[int] = []
    asked = [pid]
    while asked:
        parent = asked.pop()
        with contextlib.suppress(OSError):
            for tid in os.listdir(f"/proc/{parent}/task"):
                with (
                    contextlib.suppress(OSError),
                    open(f"/proc/{parent}/task/{tid}/children", "rb") as file,
                ):
                    children = [int(word) for word in file.read().split()]
                    found += children
                    asked += children
    return found


def threads(pids: Iterable[int]) -> list[ThreadState] | None:
    """The states of their threads; None if one is not known, because it runs or ends."""
    found = []
    for pid in pids:
        try:
            for tid in os.listdir(f"/proc/{pid}/task"):
                thread = look_at(pid, int(tid))
                if thread is None:
                    return None
                if thread.state != "Z":
                    found.append(thread)
                elif int(tid) != pid:
                    return None  # it stays until its tracer has heard of its end
        except (FileNotFoundError, ProcessLookupError):
            return None
    return found


def look_at(pid: int, tid: int) -> ThreadState | None:
    directory = f"/proc/{pid}/task/{tid}"
    with open(f"{directory}/status", "rb") as file:
        status = file.read()
    state, turns = state_and_turns(status)
    if state in "RD":
        return None
    if state not in "ST":
        return ThreadState(pid, tid, "Z" if state in "ZX" else state, "", (), turns)
    with open(f"{directory}/syscall", "rb") as file:
        call = parse_call(file.read())
    if call is None:
        return None
    return ThreadState(pid, tid, state, *call, turns)


def look(first: int, terminal: os.stat_result) -> Seen | None:
    """The state of all descendants of a process; None if any of them runs.

    Two looks that agree prove that there was a moment, between them, at which none ran.

    Args:
        first: the sandbox's first process.
        terminal: what fstat(2) tells of the terminal that is the programs' standard input.

    Raises:
        PermissionError: they may not be looked at.
    """
    once = threads(descendants(first))
    if not once:
        return None
    # A single thread, too, may have begun another one after the threads were listed.
    if threads(descendants(first)) != once:
        return None
    # A whole process may be stopped for long; a single thread, for the moment of a signal alone.
    stopped = {thread.pid for thread in once if thread.state == "t"}
    if any(thread.pid in stopped and thread.state != "t" for thread in once):
        return None
    waits = any(asks(thread, terminal) for thread in once)
    asleep = "" if waits else next((thread.call for thread in once if thread.call), "")
    if not waits and all(thread.state in "Tt" for thread in once):
        asleep = "a stop signal"
    forever = not waits and all(stuck(thread) for thread in once)
    return Seen(waits, asleep or ("" if waits else "no system call"), forever, tuple(once))


def asks(thread: ThreadState, terminal: os.stat_result) -> bool:
    """Whether a thread waits until somebody types."""
    call, arguments = thread.call, thread.arguments
    if thread.state != "S":
        return False
    if call in READS:
        return leads_to(thread, arguments[0], terminal)
    if call in POLLS:
        data = memory(thread.pid, arguments[0], 8 * min(arguments[1], 1024))
        asked = struct.iter_unpack("=ihh", data[: len(data) // 8 * 8])
        return any(events & 1 and leads_to(thread, fd, terminal) for fd, events, _ in asked)
    if call in SELECTS:
        data = memory(thread.pid, arguments[1], (min(arguments[0], 1024) + 7) // 8)
        return any(
            data[fd // 8] >> fd % 8 & 1 and leads_to(thread, fd, terminal)
            for fd in range(len(data) * 8)
        )
    if call in EPOLLS:
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{thread.pid}/fdinfo/{arguments[0] & 0x7FFFFFFF}", "rb") as file,
        ):
            return any(
                leads_to(thread, int(line.split()[1]), terminal)
                for line in file
                if line.startswith(b"tfd:")
            )
    return False


def leads_to(thread: ThreadState, fd: int, terminal: os.stat_result) -> bool:
    try:
        found = os.stat(f"/proc/{thread.pid}/fd/{fd & 0xFFFFFFFF}")
    except OSError:
        return False
    # A sandbox has but one terminal that /dev/tty may stand for.
    return found.st_rdev == DEV_TTY or (found.st_rdev, found.st_ino, found.st_dev) == (
        terminal.st_rdev,
        terminal.st_ino,
        terminal.st_dev,
    )


def memory(pid: int, address: int, size: int) -> bytes:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        if address and size:
            return os.pread(file.fileno(), size, address)
    return b""


def stuck(thread: ThreadState) -> bool:
    """Whether only another thread can wake it."""
    call, arguments = thread.call, thread.arguments
    if thread.state != "S":
        return False
    if call == "futex":
        return arguments[1] & 0x7F in FUTEX_WAITS and arguments[3] == 0
    return call in WAITS
