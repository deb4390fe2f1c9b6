"""What threads are blocked in: /proc/PID/task/TID/syscall and status as values."""

from __future__ import annotations

import os
import platform
import re
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "EPOLLS",
    "NAMES",
    "POLLS",
    "READS",
    "SELECTS",
    "SIGNALS",
    "SLEEPS",
    "WAITS",
    "WRITES",
    "ProcessState",
    "ThreadState",
    "parse_call",
    "read_states",
    "state_and_turns",
]

X86 = {
    "read": 0, "readv": 19, "pread64": 17, "preadv": 295, "preadv2": 327,
    "write": 1, "writev": 20, "pwrite64": 18, "pwritev": 296, "pwritev2": 328,
    "splice": 275, "tee": 276, "vmsplice": 278, "sendfile": 40, "copy_file_range": 326,
    "poll": 7, "ppoll": 271, "select": 23, "pselect6": 270,
    "epoll_wait": 232, "epoll_pwait": 281, "epoll_pwait2": 441,
    "nanosleep": 35, "clock_nanosleep": 230, "pause": 34, "rt_sigsuspend": 130,
    "rt_sigtimedwait": 128, "futex": 202, "wait4": 61, "waitid": 247, "restart_syscall": 219,
    "futex_wait": 455, "futex_waitv": 449, "open": 2, "openat": 257, "openat2": 437,
    "creat": 85, "flock": 73, "fcntl": 72, "ioctl": 16, "accept": 43, "accept4": 288,
    "connect": 42, "recvfrom": 45, "recvmsg": 47, "recvmmsg": 299, "sendto": 44, "sendmsg": 46,
    "sendmmsg": 307, "semop": 65, "semtimedop": 220, "msgrcv": 70, "msgsnd": 69,
    "mq_timedreceive": 243, "mq_timedsend": 242, "vfork": 58, "clone": 56, "clone3": 435,
    "io_getevents": 208, "io_uring_enter": 426,
}  # fmt: skip
GENERIC = {
    "read": 63, "readv": 65, "pread64": 67, "preadv": 69, "preadv2": 286,
    "write": 64, "writev": 66, "pwrite64": 68, "pwritev": 70, "pwritev2": 287,
    "splice": 76, "tee": 77, "vmsplice": 75, "sendfile": 71, "copy_file_range": 285,
    "ppoll": 73, "pselect6": 72, "epoll_pwait": 22, "epoll_pwait2": 441,
    "nanosleep": 101, "clock_nanosleep": 115, "rt_sigsuspend": 133,
    "rt_sigtimedwait": 137, "futex": 98, "wait4": 260, "waitid": 95, "restart_syscall": 128,
    "futex_wait": 455, "futex_waitv": 449, "openat": 56, "openat2": 437,
    "flock": 32, "fcntl": 25, "ioctl": 29, "accept": 202, "accept4": 242,
    "connect": 203, "recvfrom": 207, "recvmsg": 212, "recvmmsg": 243, "sendto": 206,
    "sendmsg": 211, "sendmmsg": 269, "semop": 193, "semtimedop": 192, "msgrcv": 188,
    "msgsnd": 189, "mq_timedreceive": 183, "mq_timedsend": 182, "clone": 220, "clone3": 435,
    "io_getevents": 4, "io_uring_enter": 426,
}  # fmt: skip
NUMBERS = {"x86_64": X86, "aarch64": GENERIC, "riscv64": GENERIC, "loongarch64": GENERIC}
NAMES = {number: name for name, number in NUMBERS.get(platform.machine(), {}).items()}
"""The calls that can block for long, by their numbers on this machine."""

READS = frozenset(("read", "readv", "pread64", "preadv", "preadv2"))
WRITES = frozenset(("write", "writev", "pwrite64", "pwritev", "pwritev2", "vmsplice"))
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
CAUGHT = re.compile(rb"^SigCgt:\s*([0-9a-f]+)", re.MULTILINE)
TRACER = re.compile(rb"^TracerPid:\s*(\d+)", re.MULTILINE)


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


class ProcessState(NamedTuple):
    """A process and the states of its threads.

    Attributes:
        pid: its ID.
        name: its command name (comm).
        parent: PID of its parent.
        group: its process group.
        start_time: in clock ticks from boot.
        tracer: PID of the process that traces it (ptrace(2)); 0: none.
        caught: a bit for each signal that it has a handler for, SIGHUP (1) in the lowest.
        threads: its threads; empty for a zombie.
        seen: whether this user may see what they are blocked in (the rights of ptrace(2)).
    """

    pid: int
    name: str
    parent: int
    group: int
    start_time: int
    tracer: int
    caught: int
    threads: tuple[ThreadState, ...]
    seen: bool


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
        from procmem.errors import Unsupported

        raise Unsupported("/proc/PID/status", "it has no State: or no context switches here")
    return state[1].decode(), sum(map(int, turns))


def parse_call(data: bytes) -> tuple[str, tuple[int, ...]] | None:
    r"""A text of /proc/PID/syscall: the call's name and its arguments; None: the thread runs.

    The name is "" for a thread that is blocked outside of a call (in a page fault), and
    "system call N" for calls that procmem does not know.

    >>> parse_call(b"running\n"), parse_call(b"-1 0x7ffc 0x7f12\n")
    (None, ('', ()))

    Source: proc_pid_syscall(5).
    """
    words = data.split()
    if not words or words[0] == b"running":
        return None
    number = int(words[0])
    if number < 0:
        return "", ()
    arguments = tuple(int(word, 16) for word in words[1:7])
    return NAMES.get(number, f"system call {number}"), arguments


def read_states(
    pids: Iterable[int], root: str | os.PathLike[str] = "/proc"
) -> dict[int, ProcessState]:
    """The states of processes and of their threads, by PID.

    Processes that end meanwhile are left out. Those whose calls this user may not see have threads
    without calls, and `seen` is False.
    """
    found = {}
    for pid in pids:
        try:
            directory = os.open(
                f"{os.fspath(root)}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            )
        except OSError:
            continue
        try:
            state = read_state(directory, pid)
        except (OSError, ValueError):
            continue
        finally:
            os.close(directory)
        found[pid] = state
    return found


def read_state(directory: int, pid: int) -> ProcessState:
    """The state of one process.

    Raises:
        OSError: it has ended.
    """
    from procmem.procfs.text import parse_stat

    stat = parse_stat(read_at(directory, "stat"))
    threads = []
    seen = not stat.is_kernel_thread
    task = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        # The kernel says that a thread sleeps or is stopped, and counts the switch only when it
        # leaves its CPU. `syscall` waits for that (wait_task_inactive()): it is read first.
        calls = {pid: call_at(directory, "syscall") if seen else None}
        status = read_at(directory, "status")
        tids = [] if stat.is_kernel_thread else [int(name) for name in os.listdir(task)]
        for tid in sorted(tids):
            if tid not in calls:
                calls[tid] = call_at(task, f"{tid}/syscall") if seen else None
            about = status if tid == pid else read_at(task, f"{tid}/status")
            state, turns = state_and_turns(about)
            call = calls[tid] if state in "SDTt" and seen else None
            if call is DENIED:
                seen, call = False, None
            elif call is None and state in "SDTt" and seen:
                state = "R"
            if state not in "ZX":
                name, arguments = call or ("", ())
                threads.append(ThreadState(pid, tid, state, name, arguments, turns))
    finally:
        os.close(task)
    caught, tracer = CAUGHT.search(status), TRACER.search(status)
    return ProcessState(
        pid,
        stat.comm.decode("utf-8", "surrogateescape"),
        stat.ppid,
        stat.pgrp,
        stat.starttime,
        int(tracer[1]) if tracer else 0,
        int(caught[1], 16) if caught else 0,
        tuple(threads),
        seen,
    )


DENIED = "denied", ()
"""In place of a call that this user may not see."""


def call_at(directory: int, name: str) -> tuple[str, tuple[int, ...]] | None:
    """The call of a thread, by its file `syscall`; None: it runs, or it has ended."""
    try:
        return parse_call(read_at(directory, name))
    except PermissionError:
        return DENIED
    except ProcessLookupError:
        return None


def read_at(directory: int, name: str) -> bytes:
    """All of a small file below an open directory."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        data = os.read(fd, 65536)
        while more := os.read(fd, 65536):
            data += more
        return data
    finally:
        os.close(fd)
