"""What a program waits for, as /proc shows it (/proc/PID/task/TID/syscall, proc(5))."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import struct
from typing import NamedTuple

from procmem.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Seen", "ThreadState", "descendants", "look"]

X86 = {
    "read": 0, "readv": 19, "pread64": 17, "preadv": 295, "preadv2": 327,
    "poll": 7, "ppoll": 271, "select": 23, "pselect6": 270,
    "epoll_wait": 232, "epoll_pwait": 281, "epoll_pwait2": 441,
    "nanosleep": 35, "clock_nanosleep": 230, "pause": 34, "rt_sigsuspend": 130,
    "rt_sigtimedwait": 128, "futex": 202, "wait4": 61, "waitid": 247, "restart_syscall": 219,
    "write": 1, "futex_wait": 455, "open": 2, "openat": 257,
}  # fmt: skip
GENERIC = {
    "read": 63, "readv": 65, "pread64": 67, "preadv": 69, "preadv2": 286,
    "ppoll": 73, "pselect6": 72, "epoll_pwait": 22, "epoll_pwait2": 441,
    "nanosleep": 101, "clock_nanosleep": 115, "rt_sigsuspend": 133,
    "rt_sigtimedwait": 137, "futex": 98, "wait4": 260, "waitid": 95, "restart_syscall": 128,
    "write": 64, "futex_wait": 455, "openat": 56,
}  # fmt: skip
NUMBERS = {"x86_64": X86, "aarch64": GENERIC, "riscv64": GENERIC, "loongarch64": GENERIC}
NAMES = {number: name for name, number in NUMBERS.get(platform.machine(), {}).items()}

READS = frozenset(("read", "readv", "pread64", "preadv", "preadv2"))
POLLS = frozenset(("poll", "ppoll"))
SELECTS = frozenset(("select", "pselect6"))
EPOLLS = frozenset(("epoll_wait", "epoll_pwait", "epoll_pwait2"))
SLEEPS = frozenset((
    "nanosleep", "clock_nanosleep", "pause", "rt_sigsuspend", "rt_sigtimedwait", "restart_syscall",
))  # fmt: skip
SIGNALS = frozenset(("pause", "rt_sigsuspend", "rt_sigtimedwait"))
WAITS = frozenset(("wait4", "waitid"))

STATE = re.compile(rb"^State:\s*(\S)", re.MULTILINE)
SWITCHES = re.compile(rb"^(?:non)?voluntary_ctxt_switches:\s*(\d+)[ \t]*$", re.MULTILINE)

DEV_TTY = os.makedev(5, 0)

FUTEX_WAITS = (0, 6, 9, 11, 13)
"""FUTEX_WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2 (futex(2))."""


class ThreadState(NamedTuple):
    """The state of one thread.

    Attributes:
        pid, tid: its IDs.
        state: the letter of proc_pid_stat(5).
        call: the system call that it is blocked in; "" if it runs, or is blocked in none.
        arguments: of the call.
        turns: how often it gave up the CPU; if that is unchanged, it did not run in between.
    """

    pid: int
    tid: int
    state: str
    call: str
    arguments: tuple[int, ...]
    turns: int


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
        words = file.read().split()
    if not words or words[0] == b"running":
        return None
    number = int(words[0])
    arguments = tuple(int(word, 16) for word in words[1:7])
    call = NAMES.get(number, f"system call {number}") if number >= 0 else ""
    return ThreadState(pid, tid, state, call, arguments, turns)


def state_and_turns(status: bytes) -> tuple[str, int]:
    r"""The letter of `State:`, and how often the thread gave up the CPU.

    Lines are found by name: their order may change, and newer kernels print more
    (x86_Thread_features is the last one since Linux 6.6).

    >>> state_and_turns(b"Name:\tcat\nState:\tS (sleeping)\nvoluntary_ctxt_switches:\t3\n"
    ...                 b"nonvoluntary_ctxt_switches:\t1\nx86_Thread_features:\t\n")
    ('S', 4)

    Raises:
        Unsupported: one of them is not there.

    Source: proc_pid_status(5); fs/proc/array.c.
    """
    state, turns = STATE.search(status), SWITCHES.findall(status)
    if state is None or len(turns) != 2:
        raise Unsupported("/proc/PID/status", "it has no State: or no context switches here")
    return state[1].decode(), sum(map(int, turns))


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
