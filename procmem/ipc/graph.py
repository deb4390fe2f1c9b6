"""waits(): who waits for whom, and which of them wait for ever."""

from __future__ import annotations

import os

from procmem.ipc.deadlocks import Waiter, cycles_of, stuck_threads
from procmem.ipc.sentences import Reasons
from procmem.ipc.waiting import SIGCHLD, TIMERS, Scene, bits
from procmem.procfs.blocked import read_states
from procmem.procfs.descriptors import FIFOS, read_descriptors

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from procmem.ipc.ends import Pipes
    from procmem.ipc.waiting import Wait
    from procmem.procfs.blocked import ProcessState

__all__ = ["Waits", "waits"]


class Waits:
    """Who waits for whom.

    Attributes:
        edges: what each blocked thread waits for. A thread that polls several descriptors has
            several, and any of them ends its wait.
        deadlocks: sets of processes, each a list of PIDs, that wait for each other and for nobody
            else: none of them can go on.
        stuck: the threads (IDs) that can never go on, because they wait for a deadlock.
        states: the processes that were read, by PID.
        pipes: all pipes, if a thread waits at one; else none.
        denied: PIDs of the processes that this user may not see, as far as they had to be read:
            what they hold is not known.
    """

    __slots__ = ("deadlocks", "denied", "edges", "pipes", "states", "stuck")

    def __init__(
        self,
        edges: list[Wait],
        deadlocks: list[list[int]],
        stuck: set[int],
        states: dict[int, ProcessState],
        pipes: Pipes,
        denied: list[int],
    ) -> None:
        self.edges = edges
        self.deadlocks = deadlocks
        self.stuck = stuck
        self.states = states
        self.pipes = pipes
        self.denied = denied

    def __repr__(self) -> str:
        return f"<Waits: {len(self.edges)} edges, {len(self.deadlocks)} deadlocks>"

    def of(self, pid: int) -> list[Wait]:
        """What the threads of a process wait for."""
        return [wait for wait in self.edges if wait.pid == pid]

    def is_deadlocked(self, pid: int) -> bool:
        """Whether a thread of a process can never go on, as a part of a deadlock or behind one."""
        return any(wait.tid in self.stuck for wait in self.of(pid))

    @property
    def certain(self) -> bool:
        """Whether every process could be seen: an unseen one may hold an end of a pipe."""
        return not self.denied

    def chain(self, pid: int) -> list[Wait]:
        """The waits of a process, then those of whom it waits for, and so on."""
        found: list[Wait] = []
        asked, seen = [pid], {pid}
        while asked:
            waits = self.of(asked.pop(0))
            found += waits
            for wait in waits:
                new = [other for other in wait.holders if other not in seen]
                asked += new
                seen.update(new)
        return found

    def why(self, pid: int, *, plain: Callable[[str], str] = str) -> str:
        """Why a process does not go on: what it waits for, who could end that, and the verdict.

        Args:
            pid: the process.
            plain: makes the names of processes and files safe to print.

        Raises:
            NoSuchProcess: it was not there.
        """
        if pid not in self.states:
            from procmem.errors import NoSuchProcess

            raise NoSuchProcess(pid)
        return Reasons(
            self.edges,
            self.deadlocks,
            self.stuck,
            self.states,
            self.pipes,
            len(self.denied),
            plain,
        ).why(pid)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "waits": [wait._asdict() for wait in self.edges],
            "deadlocks": self.deadlocks,
            "denied": self.denied,
        }


def waits(pids: Iterable[int] | None = None, *, root: str | os.PathLike[str] = "/proc") -> Waits:
    """Who waits for whom: pipes, FIFOs, sockets, locks, children, signals, time.

    Threads are read twice, before and after what they wait for: only those that did not run in
    between have edges. A deadlock is reported if it was found two times in a row.

    Args:
        pids: only the waits of these processes, and of those that they wait for; None: all.
        root: a live /proc.

    Raises:
        Unsupported: root is no live /proc; or the numbers of this machine's system calls are not
            known.

    Source: proc_pid_syscall(5), proc_pid_fd(5), proc_locks(5), sock_diag(7), futex(2).

    >>> import procmem
    >>> procmem.waits([]).deadlocks
    []
    """
    from procmem.procfs.blocked import NAMES

    if not NAMES:
        from procmem.errors import Unsupported

        raise Unsupported(
            "waits", f"the numbers of system calls of {os.uname().machine} are not known here"
        )
    read_descriptors((), FIFOS, root)  # raises where root is no live /proc
    wanted = None if pids is None else set(pids)
    found = look(root, wanted)
    if found.deadlocks:
        # Now all that are involved are read before what they wait for.
        again = look(root, wanted, found.states)
        lasting = [one for one in found.deadlocks if one in again.deadlocks]
        if lasting != again.deadlocks:
            again.stuck &= found.stuck
        again.deadlocks = lasting
        if not lasting:
            again.stuck = set()
        return again
    return found


def look(root: str | os.PathLike[str], wanted: set[int] | None, first: Iterable[int] = ()) -> Waits:
    """Reads once what threads wait for.

    Args:
        root: the /proc.
        wanted: only these processes, and those that they wait for, however far; None: all.
        first: processes that are read before all else.

    Raises:
        Unsupported: root is no live /proc.
    """
    scene = Scene(root)
    states = scene.states
    if wanted is None:
        states.load_all()
    else:
        states.load(wanted)
        states.load(first)
    asked = [pid for pid in (states.read if wanted is None else wanted) if pid in states]
    before = states.read
    edges: dict[int, list[Wait]] = {}
    seen = set(asked)
    while asked:
        pid = asked.pop()
        for thread in before[pid].threads:
            waits = scene.waits_of(thread)
            if waits:
                edges[thread.tid] = waits
            new = {
                other
                for wait in waits
                for other in wait.holders
                if other not in seen and other in states
            }
            seen |= new
            asked += new
        if before[pid].caught & bits(SIGCHLD):
            new = {other for other in scene.children(pid) if other not in seen}
            seen |= new
            asked += new
    after = read_states(sorted(seen), root)
    same = {
        thread.tid
        for pid in seen
        if pid in after
        for thread in after[pid].threads
        if thread in before[pid].threads and after[pid].start_time == before[pid].start_time
    }
    edges = {tid: waits for tid, waits in edges.items() if tid in same}
    waiters = waiters_of(edges, scene)
    # Threads that were started meanwhile run.
    threads = {
        pid: [thread.tid for thread in (*before[pid].threads, *after[pid].threads)]
        for pid in seen
        if pid in after and after[pid].seen
    }
    for pid in seen:
        if pid in before and not before[pid].threads:
            threads[pid] = []  # a zombie does nothing any more
    stuck = stuck_threads(waiters, threads)
    deadlocks = cycles_of(stuck, waiters, threads)
    listed = [
        wait
        for tid in sorted(edges, key=lambda tid: (edges[tid][0].pid, tid))
        for wait in edges[tid]
    ]
    return Waits(listed, deadlocks, stuck, before, scene.pipes, scene.denied)


def waiters_of(edges: dict[int, list[Wait]], scene: Scene) -> list[Waiter]:
    """The threads without a way out, with those who could end one of their waits."""
    found = []
    for tid, waits in edges.items():
        pid = waits[0].pid
        if any(wait.way_out for wait in waits) or has_timer(pid, scene):
            continue
        threads = frozenset(wait.owner for wait in waits if wait.owner is not None)
        processes = {other for wait in waits if wait.owner is None for other in wait.holders}
        if scene.states[pid].caught & bits(SIGCHLD):
            # A handler runs when a child ends, so whoever lets the child run ends the wait.
            processes.update(scene.children(pid))
        found.append(Waiter(tid, pid, frozenset(processes), threads))
    return found


def has_timer(pid: int, scene: Scene) -> bool:
    """Whether a signal of a timer may interrupt a process.

    Timers of timer_create(2) are in /proc/PID/timers; those of alarm(2) and setitimer(2) are in no
    file, so a handler for their signals counts as one.
    """
    if scene.states[pid].caught & TIMERS:
        return True
    try:
        with open(f"{os.fspath(scene.root)}/{pid}/timers", "rb") as file:
            return bool(file.read(1))
    except OSError:
        return False
