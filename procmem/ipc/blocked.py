"""Joins pipes with the threads that are blocked in them; the public pipes()."""

from __future__ import annotations

from dataclasses import replace

from procmem.ipc.ends import BlockedThread, Pipe, Pipes, find_pipes
from procmem.ipc.requests import OPENS, opening_of, request_of
from procmem.procfs.blocked import read_states

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from procmem.procfs.blocked import ProcessState

__all__ = ["pipes", "with_blocked"]


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
    found = find_pipes(root)
    if pids is not None:
        wanted = set(pids)
        # Who opens a FIFO holds no end yet, so all of the wanted are asked.
        states = read_states(sorted({*wanted, *holders(found.among(wanted))}), root)
        return with_blocked(found, states, root).among(wanted)
    return with_blocked(found, read_states(all_readable(found, root), root), root)


def all_readable(found: Pipes, root: str | os.PathLike[str]) -> list[int]:
    """All processes whose threads may be blocked in a pipe, or in opening a FIFO."""
    from procmem.procfs.files import pids

    denied = set(found.denied)
    return [pid for pid in pids(root) if pid not in denied]


def holders(found: Pipes) -> set[int]:
    """The processes that hold an end."""
    return {pid for pipe in found for pid in pipe.pids}


def with_blocked(
    found: Pipes, states: dict[int, ProcessState], root: str | os.PathLike[str] = "/proc"
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
    for state in states.values():
        for thread in state.threads:
            if thread.state != "S" or not thread.call:
                continue
            if thread.call in OPENS:
                opening = opening_of(thread, root)
                if opening is None:
                    continue
                key = (opening.dev, opening.inode)
                if key not in by_file:
                    by_file[key] = len(listed)
                    listed.append(only_opened(opening.path, *key))
                who = BlockedThread(thread.pid, thread.tid, thread.call, "open")
                blocked.setdefault(by_file[key], []).append(who)
                continue
            request = request_of(thread, root)
            for fd, to in request.asked if request else ():
                number = by_end.get((thread.pid, fd))
                if number is not None:
                    who = BlockedThread(thread.pid, thread.tid, thread.call, to)
                    blocked.setdefault(number, []).append(who)
    joined = [
        replace(pipe, blocked=tuple(blocked[number])) if number in blocked else pipe
        for number, pipe in enumerate(listed)
    ]
    return Pipes(joined, found.processes, found.denied, found.gone)


def only_opened(path: str, dev: int, inode: int) -> Pipe:
    """A FIFO that nobody holds: what is in it can't be seen, since it has no descriptor yet."""
    return Pipe(inode, dev, path, None, None, None, None, (), (), None, None, ())
