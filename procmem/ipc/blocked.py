"""Joins pipes with the threads that are blocked in them; the public pipes()."""

from __future__ import annotations

import os

from procmem.errors import ParseError
from procmem.ipc.asked import POLLED, TWO_ENDS
from procmem.ipc.ends import BlockedThread, Pipe, Pipes, pipes_from
from procmem.ipc.requests import OPENS, opening_of, request_of
from procmem.procfs.blocked import NAMES, READS, WRITES, ThreadState
from procmem.procfs.descriptors import FIFOS, read_descriptors
from procmem.procfs.files import pids as all_pids
from procmem.procfs.text import parse_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from procmem.procfs.descriptors import BlockedCall

__all__ = ["pipes", "with_blocked"]

INTERESTING = READS | WRITES | POLLED | OPENS | TWO_ENDS.keys()
"""Calls that block in a pipe or in opening a FIFO."""


def pipes(pids: Iterable[int] | None = None, *, root: str | os.PathLike[str] = "/proc") -> Pipes:
    """All pipes and FIFOs: who holds which end, what is in them, who is blocked in them.

    The descriptors of all processes are read, since any of them can hold an end. Capacity and fill
    come from a copy of one end (pidfd_getfd(2)) that exists for microseconds: no end is opened.

    Args:
        pids: only pipes that one of these processes holds an end of or is blocked in; None: all.
        root: a live /proc.

    Raises:
        Unsupported: root is no live /proc.

    Source: pipe(7), fifo(7), proc_pid_fd(5), proc_pid_syscall(5).

    >>> import os, procmem
    >>> read, write = os.pipe()
    >>> os.write(write, b"hello")
    5
    >>> (pipe,) = [pipe for pipe in procmem.Process().pipes() if pipe.writers[0].fd == write]
    >>> pipe.waiting, pipe.capacity, pipe.readers[0].fd == read
    (5, 65536, True)
    >>> os.close(read), os.close(write)
    (None, None)
    """
    found = read_descriptors(all_pids(root), FIFOS, root, calls=True)
    joined = with_blocked(pipes_from(found, root), found.calls, root)
    if pids is None:
        return joined
    chosen = joined.among(set(pids))
    for pipe in chosen:
        for end in (*pipe.readers, *pipe.writers):
            end.flags  # noqa: B018 - reads them while the descriptor is there
    return chosen


def with_blocked(
    found: Pipes, calls: Iterable[BlockedCall], root: str | os.PathLike[str] = "/proc"
) -> Pipes:
    """The pipes with the threads that are blocked in them.

    A FIFO that somebody is blocked in opening, and that nobody holds, is added.
    """
    by_end = {
        (end.pid, end.fd): number
        for number, pipe in enumerate(found)
        for end in (*pipe.readers, *pipe.writers)
    }
    by_file = {(pipe.dev, pipe.inode): number for number, pipe in enumerate(found)}
    blocked: dict[int, list[BlockedThread]] = {}
    listed = list(found)
    for pid, tid, call, arguments in calls:
        name = NAMES.get(call)
        if name not in INTERESTING:
            continue
        thread = ThreadState(pid, tid, "S", name, arguments, 0)
        if name in OPENS:
            opening = opening_of(thread, root)
            if opening is None or not sleeps(pid, tid, root):
                continue
            key = (opening.dev, opening.inode)
            if key not in by_file:
                by_file[key] = len(listed)
                listed.append(only_opened(opening.path, *key))
            who = BlockedThread(pid, tid, name, "open")
            blocked.setdefault(by_file[key], []).append(who)
            continue
        request = request_of(thread, root)
        for fd, to in request.asked if request else ():
            number = by_end.get((pid, fd))
            if number is not None and sleeps(pid, tid, root):
                blocked.setdefault(number, []).append(BlockedThread(pid, tid, name, to))
    joined = [
        pipe._replace(blocked=tuple(blocked[number])) if number in blocked else pipe
        for number, pipe in enumerate(listed)
    ]
    return Pipes(joined, found.processes, found.denied, found.gone)


def sleeps(pid: int, tid: int, root: str | os.PathLike[str]) -> bool:
    """Whether a thread sleeps, and is not stopped in its call (SIGSTOP, ptrace(2))."""
    try:
        with open(f"{os.fspath(root)}/{pid}/task/{tid}/stat", "rb", buffering=0) as file:
            return parse_stat(file.read(4096)).state == "S"
    except (OSError, ParseError):
        return False


def only_opened(path: str, dev: int, inode: int) -> Pipe:
    """A FIFO that nobody holds: what is in it can't be seen, since it has no descriptor yet."""
    return Pipe(inode, dev, path, None, None, None, None, (), (), None, None, ())
