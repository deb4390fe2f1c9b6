"""Joins pipes with the threads that are blocked in them; the public pipes()."""

from __future__ import annotations

import os
from functools import partial

from procmem.errors import ParseError
from procmem.ipc.asked import POLLED, RECEIVES, SENDS, TWO_ENDS
from procmem.ipc.ends import Pipe, Pipes, pipes_from
from procmem.ipc.holders import BlockedThread
from procmem.ipc.pairs import Channels, event_fds, socket_pairs
from procmem.ipc.requests import OPENS, opening_of, request_of
from procmem.ipc.sockets import unix_sockets
from procmem.procfs.blocked import NAMES, READS, WRITES, ThreadState
from procmem.procfs.descriptors import ANON, FIFOS, SOCKETS, read_descriptors
from procmem.procfs.files import pids as all_pids
from procmem.procfs.text import parse_stat

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator

    from procmem.procfs.descriptors import BlockedCall

__all__ = ["find_channels", "pipes", "with_blocked"]

PIPE_CALLS = READS | WRITES | POLLED | TWO_ENDS.keys()
"""Calls that block in a pipe."""

SOCKET_CALLS = PIPE_CALLS | RECEIVES | SENDS
"""Calls that block at a socket or an eventfd."""


def pipes(pids: Iterable[int] | None = None, *, root: str | os.PathLike[str] = "/proc") -> Pipes:
    """All pipes and FIFOs: who holds which end, what is in them, who is blocked in them.

    `sockets` and `eventfds` of the result have the pairs of Unix sockets and the eventfds.

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
    >>> (pipe,) = [one for one in procmem.Process().pipes() if one.inode == os.fstat(read).st_ino]
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
    threads = list(threads_in(calls, PIPE_CALLS | OPENS))
    pids = {thread.pid for thread in threads}
    by_end = {
        (end.pid, end.fd): number
        for number, pipe in enumerate(found.listed)
        for end in pipe.readers + pipe.writers
        if end.pid in pids
    }
    blocked: dict[int, list[BlockedThread]] = {}
    for fd, one in blocked_at(threads, by_end, root):
        blocked.setdefault(by_end[one.pid, fd], []).append(one)
    by_file: dict[tuple[int, int], int] = {}
    listed = list(found.listed)
    for thread in threads:
        opening = opening_of(thread, root)
        if opening is None or not sleeps(thread.pid, thread.tid, root):
            continue
        by_file = by_file or {(pipe.dev, pipe.inode): at for at, pipe in enumerate(listed)}
        key = (opening.dev, opening.inode)
        if key not in by_file:
            by_file[key] = len(listed)
            listed.append(only_opened(opening.path, *key))
        who = BlockedThread(thread.pid, thread.tid, thread.call, "open")
        blocked.setdefault(by_file[key], []).append(who)
    for number, waiting in blocked.items():
        listed[number] = listed[number]._replace(blocked=tuple(waiting))
    return Pipes(
        listed, found.processes, found.denied, found.gone, read=partial(find_channels, root)
    )


def threads_in(calls: Iterable[BlockedCall], names: Container[str]) -> Iterator[ThreadState]:
    """The threads that are blocked in some calls."""
    for pid, tid, call, arguments in calls:
        name = NAMES.get(call, "")
        if name in names:
            yield ThreadState(pid, tid, "S", name, arguments, 0)


def blocked_at(
    threads: Iterable[ThreadState],
    ends: Collection[tuple[int, int]],
    root: str | os.PathLike[str],
) -> Iterator[tuple[int, BlockedThread]]:
    """The threads that are blocked at some descriptors, and which that is for each.

    Args:
        threads: with their calls.
        ends: the descriptors, by process and number.
        root: the /proc.
    """
    pids = {pid for pid, _ in ends}
    for thread in threads:
        if thread.pid not in pids:
            continue
        request = request_of(thread, root)
        for fd, to in request.asked if request else ():
            if (thread.pid, fd) in ends and sleeps(thread.pid, thread.tid, root):
                yield fd, BlockedThread(thread.pid, thread.tid, thread.call, to)


def find_channels(root: str | os.PathLike[str] = "/proc") -> Channels:
    """The pairs of Unix sockets and the eventfds that processes hold.

    Raises:
        Unsupported: root is no live /proc.

    Source: sock_diag(7), eventfd(2), proc_pid_fdinfo(5).
    """
    found = read_descriptors(all_pids(root), SOCKETS | ANON, root, calls=True)
    ends = {(one.pid, one.fd) for one in found.listed}
    blocked: dict[tuple[int, int], list[BlockedThread]] = {}
    for fd, thread in blocked_at(threads_in(found.calls, SOCKET_CALLS), ends, root):
        blocked.setdefault((thread.pid, fd), []).append(thread)
    return Channels(
        tuple(socket_pairs(found.listed, unix_sockets() or {}, found.names, blocked, root)),
        tuple(event_fds(found.listed, found.names, blocked, root)),
    )


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
