"""What each blocked thread waits for, and which processes could end its wait."""

from __future__ import annotations

import os
import re
import stat
from typing import Any, NamedTuple

from procmem.ipc.asked import POLLED
from procmem.ipc.ends import Pipes, find_pipes
from procmem.ipc.holders import number_after
from procmem.ipc.locks import holds_lock, parse_locks
from procmem.ipc.mutexes import futex_wait
from procmem.ipc.queues import (
    MESSAGES,
    POSIX_MESSAGES,
    SEMAPHORES,
    ring_wait,
    same_ipc_namespace,
    system_v_wait,
)
from procmem.ipc.requests import OPENS, memory_of, opening_of, request_of
from procmem.ipc.sockets import unix_sockets
from procmem.procfs.blocked import SIGNALS, SLEEPS, WAITS, read_states
from procmem.procfs.descriptors import ANON, FIFOS, FILES, SOCKETS, fdinfo_of, read_descriptors
from procmem.procfs.files import ProcessFiles, pids, system_file

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from procmem.ipc.asked import CallRequest
    from procmem.ipc.ends import Pipe
    from procmem.ipc.locks import FileLock
    from procmem.ipc.mutexes import FutexWait
    from procmem.ipc.queues import QueueWait
    from procmem.ipc.sockets import UnixSocket
    from procmem.procfs.blocked import ProcessState, ThreadState
    from procmem.procfs.descriptors import Descriptor

__all__ = ["Scene", "Wait", "is_denied"]


class Wait(NamedTuple):
    """One thing that a thread waits for: an edge of the graph "waits for".

    Attributes:
        pid, tid: the process and the thread that wait.
        name: the process's command name (comm).
        call: the system call that the thread is blocked in.
        kind: "pipe", "fifo", "socket", "eventfd", "process", "lock", "futex", "semaphore",
            "message queue", "io_uring", "signal", "time", "terminal", "tracer", "stop" or "other".
        to: what it wants: "read", "write", "open", "end" (of the other side, of a process), "lock",
            "wake", "rise" or "zero" (of a semaphore), "receive", "send", "complete", "go on".
        on: what it waits at, such as "pipe 81"; empty if `kind` says it.
        fd: the descriptor; None without one.
        holders: the processes that could end the wait, ascending: holders of the other end,
            children, the owner of a lock.
        owner: the thread that has the lock; None: not known, or any thread of the holders will do.
        way_out: why the wait may end although all holders wait, too: a time limit, a signal, a
            holder that can't be seen; empty: it can't.
        guess: whether holders rest on the layout of glibc's mutex, which the kernel does not know;
            or, of a semaphore or a message queue, are only who changed it last.
    """

    pid: int
    tid: int
    name: str
    call: str
    kind: str
    to: str
    on: str
    fd: int | None
    holders: tuple[int, ...]
    owner: int | None
    way_out: str
    guess: bool


CLONE_VFORK = 0x4000
SIGINT, SIGALRM, SIGCHLD, SIGVTALRM, SIGPROF = 2, 14, 17, 26, 27


def bits(*signals: int) -> int:
    """The bits of some signals in a mask of /proc/PID/status."""
    return sum(1 << number - 1 for number in signals)


TIMERS = bits(SIGALRM, SIGVTALRM, SIGPROF)
ASYNCHRONOUS = ~bits(SIGINT, 4, 5, 6, 7, 8, 11, SIGCHLD, 28, 31, 32, 33) & (1 << 64) - 1
"""Signals whose handler may wake a thread: all but SIGINT, which Python always handles, and which
somebody must send; SIGCHLD, which comes from children; SIGWINCH, which readline(3) handles; those
of faults; and the two that the C library uses itself."""


class States:
    """The states of processes, each read when it is first asked for.

    Args:
        root: the /proc.

    Attributes:
        read: those that were read, by PID.
    """

    def __init__(self, root: str | os.PathLike[str] = "/proc") -> None:
        self.root = root
        self.read: dict[int, ProcessState] = {}
        self._absent: set[int] = set()
        self._whole = False

    def get(self, pid: int) -> ProcessState | None:
        """The state of a process; None: there is none."""
        if pid not in self.read and pid not in self._absent:
            self.load((pid,))
        return self.read.get(pid)

    def load(self, pids: Iterable[int]) -> None:
        """Reads some processes that were not read yet."""
        new = [pid for pid in pids if pid not in self.read]
        self.read.update(read_states(new, self.root))
        self._absent.update(pid for pid in new if pid not in self.read)

    def load_all(self) -> dict[int, ProcessState]:
        """All processes."""
        if not self._whole:
            self._whole = True
            self.load(pids(self.root))
        return self.read

    def __getitem__(self, pid: int) -> ProcessState:
        found = self.get(pid)
        if found is None:
            raise KeyError(pid)
        return found

    def __contains__(self, pid: object) -> bool:
        return isinstance(pid, int) and self.get(pid) is not None


class Threads:
    """The threads of a /proc, to ask whether there is one of an ID."""

    def __init__(self, root: str | os.PathLike[str] = "/proc") -> None:
        self.root = root

    def __contains__(self, tid: object) -> bool:
        return isinstance(tid, int) and self.process_of(tid) is not None

    def process_of(self, tid: int) -> int | None:
        """The process that a thread belongs to; None: there is no such thread."""
        if tid <= 0:
            return None
        try:
            with open(f"{os.fspath(self.root)}/{tid}/status", "rb", buffering=0) as file:
                return number_after(file.read(65536) or b"", b"Tgid:")
        except OSError:
            return None


class Scene:
    """What was read of the machine at one time, to find out what a thread waits for.

    Everything is read where a thread needs it: most wait for what one process shows.

    Args:
        root: the /proc.

    Attributes:
        states: the processes.
        threads: the threads.
    """

    def __init__(self, root: str | os.PathLike[str] = "/proc") -> None:
        self.root = root
        self.states = States(root)
        self.threads = Threads(root)
        self._pipes: Pipes | None = None
        self._ends: dict[tuple[int, int], Pipe] = {}
        self._children: dict[int, list[int]] | None = None
        self._denied: set[int] = set()
        self._tables: dict[int, dict[int, Descriptor]] = {}
        self._locks: list[FileLock] | None = None
        self._others: dict[tuple[int, int], Descriptor] | None = None
        self._sockets: dict[int, UnixSocket] | None = None
        self._eventfds: dict[tuple[int, int], int] | None = None

    # ---- what is read only where a thread needs it ----

    @property
    def pipes(self) -> Pipes:
        """All pipes if a thread needed them, else none."""
        return Pipes((), 0, [], 0) if self._pipes is None else self._pipes

    @property
    def denied(self) -> list[int]:
        """The processes whose descriptors or threads were needed and may not be read."""
        unseen = (pid for pid, state in self.states.read.items() if is_denied(state))
        return sorted({*self._denied, *self.pipes.denied, *unseen})

    def ends(self) -> dict[tuple[int, int], Pipe]:
        """The pipe that each descriptor of an end leads to."""
        if self._pipes is None:
            self._pipes = find_pipes(self.root)
            self._ends = {
                (end.pid, end.fd): pipe
                for pipe in self._pipes
                for end in (*pipe.readers, *pipe.writers)
            }
        return self._ends

    def children(self, pid: int) -> list[int]:
        """The children of a process that have not ended."""
        if self._children is None:
            self._children = {}
            for state in self.states.load_all().values():
                if state.threads:
                    self._children.setdefault(state.parent, []).append(state.pid)
        return self._children.get(pid, [])

    def descriptor(self, pid: int, fd: int) -> Descriptor | None:
        """A descriptor of a process; None: it is not there."""
        if pid not in self._tables:
            found = read_descriptors([pid], FIFOS | SOCKETS | ANON | FILES, self.root)
            self._tables[pid] = {one.fd: one for one in found.listed}
        return self._tables[pid].get(fd)

    def locks(self) -> list[FileLock]:
        """The locks that processes wait for."""
        if self._locks is None:
            self._locks = parse_locks(system_file("locks", self.root) or b"")
        return self._locks

    def others(self) -> dict[tuple[int, int], Descriptor]:
        """The descriptors of all processes that are no pipes, by process and number."""
        if self._others is None:
            found = read_descriptors(pids(self.root), SOCKETS | ANON | FILES, self.root)
            self._denied.update(found.denied)
            self._others = {(one.pid, one.fd): one for one in found.listed}
        return self._others

    def sockets(self) -> dict[int, UnixSocket]:
        """The Unix sockets by inode."""
        if self._sockets is None:
            self._sockets = unix_sockets() or {}
        return self._sockets

    def eventfds(self) -> dict[tuple[int, int], int]:
        """The number of the eventfd that each descriptor of one leads to."""
        if self._eventfds is None:
            self._eventfds = {
                key: number
                for key, one in self.others().items()
                if one.name == b"anon_inode:[eventfd]"
                and (number := number_after(fdinfo_of(*key, self.root), b"eventfd-id:")) is not None
            }
        return self._eventfds

    # ---- threads ----

    def waits_of(self, thread: ThreadState) -> list[Wait]:
        """What a thread waits for; nothing if it runs or is about to."""
        return self._waits(thread, self.states[thread.pid])

    def _waits(self, thread: ThreadState, state: ProcessState) -> list[Wait]:
        def wait(kind: str, to: str, **more: Any) -> Wait:
            return made(thread, state.name, kind, to, **more)

        if thread.state == "T":
            return [wait("stop", "go on", way_out="SIGCONT makes it go on")]
        if thread.state == "t":
            holders = (state.tracer,) if state.tracer else ()
            return [wait("tracer", "go on", holders=holders, way_out="" if holders else UNSEEN)]
        call, arguments = thread.call, thread.arguments
        if thread.state not in "SD" or not call:
            return []
        if call == "vfork" or (call == "clone" and arguments[0] & CLONE_VFORK):
            return [wait("process", "end", on="vfork", holders=self._waited_for(thread.pid))]
        if thread.state == "D":
            return [wait("other", "go on", on="the disk or a device", way_out=KERNEL)]
        if call in OPENS:
            return [self._opening(thread, wait)]
        if call in WAITS:
            return [self._child(thread, state, wait)]
        if call in ("flock", "fcntl"):
            return [self._lock(thread, wait)]
        futex = futex_wait(
            call,
            arguments,
            lambda address, size: memory_of(thread.pid, address, size, self.root),
            self.threads,
            {one.tid for one in state.threads},
        )
        if futex is not None:
            return [self._futex(thread, state, futex, wait)]
        if call in SIGNALS:
            limited = call == "rt_sigtimedwait" and arguments[2] != 0
            return [wait("signal", "wake", way_out=TIME if limited else "a signal")]
        if call in SLEEPS:
            return [wait("time", "wake", way_out=TIME)]
        if call in SEMAPHORES | MESSAGES:
            return self._system_v(thread, wait)
        if call in POSIX_MESSAGES:
            return [self._posix_queue(thread, wait)]
        if call == "io_uring_enter":
            return [self._ring(thread, wait)]
        request = request_of(thread, self.root)
        if request is None:
            return [wait("other", "go on", on=call, way_out="what it waits for is not known")]
        return self._request(thread, state, request, wait)

    def _request(
        self,
        thread: ThreadState,
        state: ProcessState,
        request: CallRequest,
        wait: Callable[..., Wait],
    ) -> list[Wait]:
        polled = thread.call in POLLED
        if polled and not request.asked:
            way_out = TIME if request.limited else "a signal"
            if not request.complete:
                way_out = "its descriptors could not be read"
            return [wait("time" if request.limited else "signal", "wake", way_out=way_out)]
        found = []
        for fd, to in request.asked:
            one = self._descriptor(thread, state, fd, to, wait, polled=polled)
            if one is None:
                return []  # it is about to run
            if request.limited:
                one = one._replace(way_out=TIME)
            elif not request.complete:
                one = one._replace(way_out="not all of its descriptors could be read")
            found.append(one)
        return found

    def _descriptor(
        self,
        thread: ThreadState,
        state: ProcessState,
        fd: int,
        to: str,
        wait: Callable[..., Wait],
        *,
        polled: bool,
    ) -> Wait | None:
        other = self.descriptor(thread.pid, fd)
        pipe = self.ends().get((thread.pid, fd)) if other is None or other.is_fifo else None
        if pipe is not None:
            return self._pipe(state, pipe, fd, to, wait, polled=polled)
        if other is None or other.is_fifo:
            return wait("other", to, on=f"descriptor {fd}", fd=fd, way_out=UNSEEN)
        if other.is_socket:
            return self._socket(thread, state, other, to, wait, polled=polled)
        name = os.fsdecode(other.name)
        if name == "anon_inode:[eventfd]":
            return self._eventfd(thread, state, fd, to, wait)
        if name.endswith("[pidfd]"):
            pid = number_after(fdinfo_of(thread.pid, fd, self.root), b"Pid:")
            known = pid is not None and pid in self.states
            return wait(
                "process",
                "end",
                on=f"process {pid}" if known else "a process",
                fd=fd,
                holders=(pid,) if known else (),
                way_out="" if known else UNSEEN,
            )
        kind, way_out = outside(name)
        if stat.S_ISCHR(other.mode) and other.rdev >> 32 in TERMINALS:
            kind, way_out = "terminal", "somebody types" if to == "read" else "it is read"
            if other.rdev == PTMX:
                way_out = "the programs of the terminal"
        return wait(kind, to, on=name, fd=fd, way_out=way_out)

    def _pipe(
        self,
        state: ProcessState,
        pipe: Pipe,
        fd: int,
        to: str,
        wait: Callable[..., Wait],
        *,
        polled: bool,
    ) -> Wait | None:
        end = next(
            end for end in (*pipe.readers, *pipe.writers) if (end.pid, end.fd) == (state.pid, fd)
        )
        if to == "end":
            to_others = pipe.writers if end.reads else pipe.readers
        elif to == "read":
            if pipe.waiting:
                return None
            to_others = pipe.writers
        else:
            if pipe.full is False:
                return None
            to_others = pipe.readers
        holders = pids_of(to_others)
        way_out = ""
        if not holders:
            way_out = UNSEEN
        elif pipe.path is not None and not pipe.path.endswith(" (deleted)"):
            way_out = "another process that opens the FIFO"
        elif pipe.waiting is None:
            way_out = "what is in it could not be read"
        elif polled and state.pid in holders and state.caught & ASYNCHRONOUS:
            way_out = "a signal handler of its own that writes to it"
        return wait(
            "fifo" if pipe.path is not None else "pipe",
            to,
            on=pipe.name,
            fd=fd,
            holders=holders,
            way_out=way_out,
        )

    def _socket(
        self,
        thread: ThreadState,
        state: ProcessState,
        other: Descriptor,
        to: str,
        wait: Callable[..., Wait],
        *,
        polled: bool,
    ) -> Wait | None:
        known = self.sockets().get(other.inode)
        on = f"socket {other.inode}"
        if known is None:
            return wait("socket", to, on=on, fd=other.fd, way_out="the network")
        if known.peer is None:
            way_out = "another process that connects or sends"
            return wait("socket", to, on=known.name or on, fd=other.fd, way_out=way_out)
        if to == "read" and known.waiting:
            return None
        # A holder of either end can shut it down.
        peers = self._holders_of_socket(known.peer)
        holders = tuple(sorted({*peers, *self._holders_of_socket(other.inode)}))
        way_out = "" if peers else UNSEEN
        if polled and thread.pid in peers and state.caught & ASYNCHRONOUS:
            way_out = "a signal handler of its own that writes to it"
        return wait("socket", to, on=on, fd=other.fd, holders=holders, way_out=way_out)

    def _holders_of_socket(self, inode: int) -> set[int]:
        return {
            pid for (pid, _), one in self.others().items() if one.is_socket and one.inode == inode
        }

    def _eventfd(
        self,
        thread: ThreadState,
        state: ProcessState,
        fd: int,
        to: str,
        wait: Callable[..., Wait],
    ) -> Wait:
        number = self.eventfds().get((thread.pid, fd))
        if number is None:
            return wait("eventfd", to, on="an eventfd", fd=fd, way_out=UNSEEN)
        holders = tuple(sorted({pid for (pid, _), one in self.eventfds().items() if one == number}))
        way_out = ""
        if thread.pid in holders and state.caught & ASYNCHRONOUS:
            way_out = "a signal handler of its own that writes to it"
        return wait("eventfd", to, on=f"eventfd {number}", fd=fd, holders=holders, way_out=way_out)

    def _opening(self, thread: ThreadState, wait: Callable[..., Wait]) -> Wait:
        opening = opening_of(thread, self.root)
        if opening is None:
            return wait("other", "open", on="a file", way_out=KERNEL)
        way_out = f"a process that opens it for {'writing' if opening.to == 'read' else 'reading'}"
        return wait("fifo", "open", on=opening.path, way_out=way_out)

    def _waited_for(self, pid: int) -> tuple[int, ...]:
        """The processes for whose end a process may wait: its children, and those it traces."""
        states = self.states.load_all().values()
        traced = [state.pid for state in states if state.tracer == pid]
        return tuple(sorted({*self.children(pid), *traced}))

    def _system_v(self, thread: ThreadState, wait: Callable[..., Wait]) -> list[Wait]:
        here = same_ipc_namespace(thread.pid, self.root)
        found = system_v_wait(
            thread.call,
            thread.arguments,
            lambda address, size: memory_of(thread.pid, address, size, self.root),
            here=here,
        )
        return [] if found is None else [self._queued(thread, found, wait)]

    def _queued(self, thread: ThreadState, found: QueueWait, wait: Callable[..., Wait]) -> Wait:
        """A wait at something that any process may change: who did it last is only a guess."""
        way_out = WAYS[found.to]
        last = found.last if found.last != thread.pid else None
        if last is not None and last not in self.states:
            way_out += f"; {last}, which changed it last, has ended"
            last = None
        return wait(
            found.kind,
            found.to,
            on=found.on,
            holders=() if last is None else (last,),
            guess=last is not None,
            way_out=TIME if found.limited else way_out,
        )

    def _posix_queue(self, thread: ThreadState, wait: Callable[..., Wait]) -> Wait:
        """A wait at a POSIX message queue, which is a file (mq_overview(7))."""
        fd = thread.arguments[0] & 0x7FFFFFFF
        to = "receive" if thread.call == "mq_timedreceive" else "send"
        file = self.descriptor(thread.pid, fd)
        if file is None:
            return wait("message queue", to, on=f"descriptor {fd}", fd=fd, way_out=UNSEEN)
        state = "empty" if to == "receive" else "full"
        holders = {
            pid
            for (pid, _), one in self.others().items()
            if (one.dev, one.inode) == (file.dev, file.inode)
        }
        return wait(
            "message queue",
            to,
            on=f"the message queue {os.fsdecode(file.name)}, which is {state}",
            fd=fd,
            holders=tuple(sorted(holders)),
            way_out=TIME if thread.arguments[4] else "another process that opens the queue",
        )

    def _ring(self, thread: ThreadState, wait: Callable[..., Wait]) -> Wait:
        fd = thread.arguments[0] & 0x7FFFFFFF
        found = ring_wait(
            thread.arguments,
            fdinfo_of(thread.pid, fd, self.root),
            lambda address, size: memory_of(thread.pid, address, size, self.root),
        )
        return self._queued(thread, found, wait)._replace(fd=fd)

    def _child(self, thread: ThreadState, state: ProcessState, wait: Callable[..., Wait]) -> Wait:
        children = self._waited_for(thread.pid)
        asked = thread.arguments[0] & 0xFFFFFFFF
        asked = asked - (1 << 32) if asked >> 31 else asked
        which: tuple[int, ...] = children
        if thread.call == "waitid":
            if asked == 1:  # P_PID
                which = tuple(pid for pid in children if pid == thread.arguments[1])
            elif asked == 3:  # P_PIDFD
                pid = number_after(fdinfo_of(thread.pid, thread.arguments[1], self.root), b"Pid:")
                which = tuple(one for one in children if one == pid)
        elif asked > 0:
            which = tuple(pid for pid in children if pid == asked)
        elif asked != -1:
            group = -asked if asked else state.group
            which = tuple(pid for pid in children if self.states[pid].group == group)
        # In another PID namespace they have other numbers.
        which = which or children
        names = f"process {which[0]}" if len(which) == 1 else "its children"
        return wait("process", "end", on=names, holders=which, way_out="" if which else UNSEEN)

    def _lock(self, thread: ThreadState, wait: Callable[..., Wait]) -> Wait:
        mine = [lock for lock in self.locks() if lock.pid in (thread.pid, -1, 0)]
        kinds = ("flock",) if thread.call == "flock" else ("fcntl", "OFD")
        fd = thread.arguments[0] & 0x7FFFFFFF
        file = self.descriptor(thread.pid, fd)
        lock = next(
            (
                one
                for one in mine
                if one.kind in kinds and (file is None or one.inode == file.inode)
            ),
            None,
        )
        if lock is None or file is None:
            on = os.fsdecode(file.name) if file else f"descriptor {fd}"
            return wait("lock", "lock", on=on, fd=fd, way_out=UNSEEN)
        on = os.fsdecode(file.name)
        if lock.kind == "fcntl" and lock.owner in self.states:
            return wait("lock", "lock", on=on, fd=fd, holders=(lock.owner,))
        # It belongs to an open file, which several processes may hold since fork(2).
        holders = {
            key[0]
            for key, one in self.others().items()
            if one.inode == lock.inode
            and holds_lock(fdinfo_of(*key, self.root), lock.kind, lock.inode)
        }
        return wait(
            "lock",
            "lock",
            on=on,
            fd=fd,
            holders=tuple(sorted(holders)),
            way_out="" if holders else UNSEEN,
        )

    def _futex(
        self,
        thread: ThreadState,
        state: ProcessState,
        futex: FutexWait,
        wait: Callable[..., Wait],
    ) -> Wait:
        place = f"{futex.address:#x}"
        way_out = TIME if futex.limited else ""
        if futex.owner is not None:
            owner = self.threads.process_of(futex.owner) or futex.owner
            if futex.ends:
                on = f"the end of thread {futex.owner}"
                return wait("futex", "end", on=on, holders=(owner,), owner=futex.owner,
                            way_out=way_out)  # fmt: skip
            return wait("futex", "lock", on=f"a lock at {place}{self._segment(thread, futex)[0]}",
                        holders=(owner,), owner=futex.owner, way_out=way_out,
                        guess=futex.guess)  # fmt: skip
        where, holders = self._segment(thread, futex)
        if not way_out and state.caught & ASYNCHRONOUS:
            way_out = "a signal handler of its own that wakes it"
        return wait("futex", "wake", on=f"address {place}{where}", holders=holders, way_out=way_out)

    def _segment(self, thread: ThreadState, futex: FutexWait) -> tuple[str, tuple[int, ...]]:
        """Where a futex word is, in words, and which processes can wake it."""
        alone = (thread.pid,)
        if futex.private:
            return "", alone
        line = mapping_of(maps_of(thread.pid, self.root), futex.address)
        if line is None or line[1][3:4] != b"s":
            return "", alone
        name = os.fsdecode(line[5]) if len(line) > 5 else "shared memory"
        if futex.owner is not None:
            return f" in {name}", alone
        same = re.compile(rb" %s %s(?: |$)" % (re.escape(line[3]), line[4]), re.MULTILINE)
        mappers = {pid for pid in pids(self.root) if same.search(maps_of(pid, self.root))}
        return f" in {name}", tuple(sorted({thread.pid, *mappers}))


def made(thread: ThreadState, name: str, kind: str, to: str, **more: Any) -> Wait:
    """A wait of a thread, with defaults."""
    rest = {"on": "", "fd": None, "holders": (), "owner": None, "way_out": "", "guess": False}
    return Wait(thread.pid, thread.tid, name, thread.call, kind, to, **{**rest, **more})


UNSEEN = "who could end it can't be seen"
KERNEL = "the kernel"
TIME = "a time limit"
PTMX = 5 << 32 | 2
TERMINALS = (4, 5, 136, 137, 138, 139, 140, 141, 142, 143, 204, 229)
"""Major numbers of terminals (Documentation/admin-guide/devices.txt)."""


WAYS = {
    "rise": "a process that raises it",
    "zero": "a process that lowers it",
    "receive": "a process that sends",
    "send": "a process that receives",
    "complete": "the kernel, when a request of the ring completes",
}
"""What ends a wait at a semaphore, a message queue or an io_uring."""


def is_denied(state: ProcessState) -> bool:
    """Whether a process has threads that may not be seen; kernel threads have none here."""
    return bool(state.threads) and not state.seen


def maps_of(pid: int, root: str | os.PathLike[str]) -> bytes:
    """The text of a process's maps; empty if it can't be read."""
    from procmem.errors import ProcmemError

    try:
        return ProcessFiles(pid, root).read("maps")
    except (ProcmemError, OSError):
        return b""


def mapping_of(maps: bytes, address: int) -> list[bytes] | None:
    """The fields of the line of maps that covers an address; None: there is none."""
    for line in maps.split(b"\n"):
        fields = line.split(None, 5)
        if len(fields) < 5:
            continue
        start, _, end = fields[0].partition(b"-")
        if int(start, 16) <= address < int(end, 16):
            return fields
    return None


def outside(name: str) -> tuple[str, str]:
    """Kind and way out of a descriptor that no process serves."""
    return {
        "anon_inode:[timerfd]": ("time", TIME),
        "anon_inode:[signalfd]": ("signal", "a signal"),
        "anon_inode:inotify": ("other", "a change of a file"),
    }.get(name, ("other", "what it waits for is not known"))


def pids_of(ends: Iterable[object]) -> tuple[int, ...]:
    """The processes that hold ends, ascending."""
    return tuple(sorted({end.pid for end in ends}))  # type: ignore[attr-defined]
