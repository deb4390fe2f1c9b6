"""Why a process does not go on, in words."""

from __future__ import annotations

from procmem.ipc.asked import POLLED
from procmem.ipc.waiting import TIME, UNSEEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from procmem.ipc.ends import Pipe, Pipes
    from procmem.ipc.waiting import Wait
    from procmem.procfs.blocked import ProcessState

__all__ = ["Reasons", "listed"]

STEPS = 8
"""How many processes are named on the way to the last one that is waited for."""

MOST = 4
"""How many holders are named, and how many different threads of a process."""


def listed(words: Sequence[str], joint: str = "and") -> str:
    """Words as a list in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {joint} {words[-1]}"


class Reasons:
    """Words for what processes wait for.

    Args:
        edges: what each blocked thread waits for.
        deadlocks: sets of processes that wait for each other.
        stuck: IDs of the threads that can never go on.
        states: all processes.
        pipes: all pipes.
        denied: how many processes could not be seen.
        plain: makes a command name safe to print.
    """

    def __init__(
        self,
        edges: Iterable[Wait],
        deadlocks: list[list[int]],
        stuck: set[int],
        states: dict[int, ProcessState],
        pipes: Pipes,
        denied: int,
        plain: Callable[[str], str] = str,
    ) -> None:
        self.waits: dict[int, list[list[Wait]]] = {}
        by_thread: dict[int, list[Wait]] = {}
        for wait in edges:
            by_thread.setdefault(wait.tid, []).append(wait)
        for waits in by_thread.values():
            self.waits.setdefault(waits[0].pid, []).append(waits)
        self.deadlocks = deadlocks
        self.stuck = stuck
        self.states = states
        self.pipes = {pipe.name: pipe for pipe in pipes}
        self.denied = denied
        self.plain = plain

    # ---- the whole ----

    def why(self, pid: int) -> str:
        """Why a process does not go on: what it waits for, who could end that, and the verdict."""
        state = self.states[pid]
        if not state.threads:
            if state.start_time and not state.seen:
                return f"{self.who(pid)} is a thread of the kernel."
            return f"{self.who(pid)} has ended; its parent {state.parent} has not waited for it."
        if not state.seen:
            return (
                f"What {self.who(pid)} waits for can't be seen: run as its user, as root, or with "
                "CAP_SYS_PTRACE."
            )
        groups = self.of(pid)
        if not groups:
            return f"{self.who(pid)} runs: none of its threads stayed blocked in one call."
        parts = []
        shown: set[int] = {pid}
        chosen = self.telling(groups)
        for waits in chosen[:MOST]:
            parts += self.thread(waits, shown, several=len(state.threads) > 1)
        more = len(chosen) - MOST
        if more > 0:
            parts.append(f"{more} other threads wait for something else")
        idle = len(state.threads) - len(groups)
        if idle > 0 and len(state.threads) > 1:
            parts.append(f"{idle} of its {len(state.threads)} threads did not wait")
        return ". ".join([*parts, *self.verdict(pid)]) + "."

    def of(self, pid: int) -> list[list[Wait]]:
        """What the threads of a process wait for, the main thread first."""
        return sorted(self.waits.get(pid, ()), key=lambda waits: waits[0].tid != pid)

    def telling(self, groups: list[list[Wait]]) -> list[list[Wait]]:
        """One of the threads that wait for the same, stuck ones first."""
        seen: dict[tuple[object, ...], list[Wait]] = {}
        for waits in groups:
            key = tuple((wait.kind, wait.to, wait.on, wait.holders) for wait in waits)
            seen.setdefault(key, waits)
        return sorted(seen.values(), key=lambda waits: waits[0].tid not in self.stuck)

    def thread(self, waits: list[Wait], shown: set[int], *, several: bool) -> list[str]:
        """What a thread waits for, and then those that it waits for."""
        first = waits[0]
        subject = self.who(first.pid)
        if several and first.tid != first.pid:
            subject = f"thread {first.tid} of {subject}"
        parts = [f"{subject} {self.clauses(waits)}"]
        asked = [pid for wait in waits for pid in wait.holders]
        while asked and len(shown) < STEPS:
            pid = asked.pop(0)
            if pid in shown:
                continue
            shown.add(pid)
            groups = self.of(pid)
            state = self.states.get(pid)
            if state is None or not state.seen:
                parts.append(f"{self.who(pid)} can't be seen")
            elif groups:
                waits = self.telling(groups)[0]
                parts.append(f"{self.who(pid)} {self.clauses(waits)}")
                asked += [other for wait in waits for other in wait.holders]
            else:
                parts.append(
                    f"{self.who(pid)} runs" if state.threads else f"{self.who(pid)} has ended"
                )
        return parts

    def verdict(self, pid: int) -> list[str]:
        """Whether it can ever go on."""
        mine = [waits for waits in self.of(pid) if waits[0].tid in self.stuck]
        if not mine:
            return [self.ways_out(pid)] if self.ways_out(pid) else []
        cycle = next((one for one in self.deadlocks if pid in one), None)
        whole = len(mine) == len(self.states[pid].threads)
        if cycle is None:
            said = f"So {pid} will wait for ever, too"
        elif len(cycle) == 1:
            said = f"So {pid} waits for itself, and will wait for ever"
        else:
            said = f"So {listed([str(one) for one in cycle])} wait for each other, for ever"
        if not whole:
            said += " (not all threads)"
        found = [f"{said}: only a signal can end it"]
        advice = self.advice(cycle or self.cycle_behind(pid))
        if advice:
            found.append(f"To mend the program: {advice}")
        guesses = {
            wait.tid for one in self.waits.values() for waits in one for wait in waits if wait.guess
        }
        if guesses & self.stuck:
            found.append(GUESSED)
        if self.denied:
            processes = "process" if self.denied == 1 else "processes"
            found.append(
                f"{self.denied} {processes} could not be seen: one that holds an end of a pipe "
                "here could still end it"
            )
        return found

    def cycle_behind(self, pid: int) -> list[int]:
        """The deadlock that a process waits for."""
        asked, seen = [pid], {pid}
        while asked:
            one = asked.pop()
            for cycle in self.deadlocks:
                if one in cycle:
                    return cycle
            for waits in self.of(one):
                new = [other for wait in waits for other in wait.holders if other not in seen]
                seen.update(new)
                asked += new
        return []

    def advice(self, cycle: list[int]) -> str:
        """What a program of the cycle would have to do otherwise."""
        found = []
        at_ends = {
            wait.pid: wait.to
            for pid in cycle
            for waits in self.of(pid)
            for wait in waits
            if wait.tid in self.stuck and wait.on in self.pipes
        }
        if len(cycle) > 1 and len(at_ends) == len(cycle) and set(at_ends.values()) == {"read"}:
            return "one of them must write, or close its write end, before it reads"
        for pid in at_ends:
            for wait in [wait for waits in self.of(pid) for wait in waits]:
                pipe = self.pipes.get(wait.on)
                if pipe is None:
                    continue
                if wait.to == "write":
                    found += [
                        f"{reader} must read {pipe.name} before it waits for anything else"
                        for reader in sorted({end.pid for end in pipe.readers} & set(cycle))
                        if reader != pid
                    ]
                else:
                    found += [
                        f"close the write end (descriptor {end.fd}) in {end.pid}"
                        + (" before it reads" if end.pid == pid else "")
                        for end in pipe.writers
                        if not self.writes(end.pid, pipe)
                    ]
        return listed(list(dict.fromkeys(found))[:MOST])

    def writes(self, pid: int, pipe: Pipe) -> bool:
        """Whether a process is blocked in a write to a pipe."""
        return any(
            wait.on == pipe.name and wait.to == "write" for waits in self.of(pid) for wait in waits
        )

    def ways_out(self, pid: int) -> str:
        """What may let it go on, if that is not what was said already."""
        found = []
        asked, seen = [pid], {pid}
        while asked:
            one = asked.pop(0)
            for waits in self.of(one):
                for wait in waits:
                    said = wait.to == "open" or wait.way_out in SAID
                    if wait.way_out and wait.kind in ENDS and not said:
                        found.append(wait.way_out)
                    new = [other for other in wait.holders if other not in seen]
                    seen.update(new)
                    asked += new
        if not found:
            return ""
        return f"What could still end it: {listed(list(dict.fromkeys(found))[:MOST], 'or')}"

    # ---- words ----

    def who(self, pid: int, reader: int | None = None) -> str:
        """A process with its name."""
        if pid == reader:
            return f"{pid} itself"
        state = self.states.get(pid)
        return f"{pid} ({self.plain(state.name)})" if state and state.name else str(pid)

    def clauses(self, waits: list[Wait]) -> str:
        """What a thread waits for, without its subject."""
        if len(waits) == 1:
            return self.clause(waits[0])
        first = waits[0]
        objects = [self.shown(wait) for wait in waits[:MOST]]
        more = f" and {len(waits) - MOST} more" if len(waits) > MOST else ""
        holders = sorted({pid for wait in waits for pid in wait.holders})
        said = f"waits in {first.call} for one of {listed(objects, 'or')}{more}"
        return said + (f", held by {self.names(holders, first.pid)}" if holders else "")

    def shown(self, wait: Wait) -> str:
        """What a thread waits at."""
        return (
            self.plain(wait.on) if wait.on else {"time": "a time limit"}.get(wait.kind, wait.kind)
        )

    def names(self, pids: Sequence[int], reader: int) -> str:
        """Some processes."""
        names = [self.who(pid, reader) for pid in pids[:MOST]]
        more = len(pids) - MOST
        return listed([*names, f"{more} more"] if more > 0 else names)

    def clause(self, wait: Wait) -> str:
        """One wait, without its subject."""
        on = self.shown(wait)
        if wait.kind in ("pipe", "fifo", "socket", "eventfd"):
            return self.at_end(wait, on)
        if wait.kind == "process":
            if wait.on == "vfork":
                return f"waits until {self.names(wait.holders, wait.pid)} ends or calls execve"
            if not wait.holders:
                return f"waits for the end of {on}"
            which = "child" if len(wait.holders) == 1 else f"{len(wait.holders)} children"
            return f"waits for its {which} {self.names(wait.holders, wait.pid)} to end"
        if wait.kind in ("lock", "futex"):
            return self.at_lock(wait, on)
        if wait.kind in QUEUES:
            return self.at_queue(wait, on)
        if wait.kind == "signal":
            return f"waits for a signal ({wait.call})"
        if wait.kind == "time":
            return f"waits until a time limit is over ({wait.call})"
        if wait.kind == "terminal":
            does = "waits for input from" if wait.to == "read" else "writes to"
            return f"{does} the terminal {on}: " + (
                "somebody must type" if wait.to == "read" else "its output is held up"
            )
        if wait.kind == "stop":
            return "is stopped (SIGSTOP, SIGTSTP): SIGCONT makes it go on"
        if wait.kind == "tracer":
            return f"is stopped by its tracer {self.names(wait.holders, wait.pid)}"
        return f"is blocked in {wait.call or 'the kernel'}" + (
            f" on {on}" if on != wait.call else ""
        )

    def at_end(self, wait: Wait, on: str) -> str:
        """A wait at a pipe, FIFO, socket or eventfd."""
        if wait.to == "open":
            side = wait.way_out.rpartition(" ")[2]
            return (
                f"opens the FIFO {on} and waits until a process opens it for {side}: none has yet"
            )
        role, does, state = {
            "read": ("writer", "reads", "which is empty"),
            "write": ("reader", "writes to", "which is full"),
        }.get(wait.to, ("other side", "waits for the end of the other side of", ""))
        if wait.kind == "socket":
            role, state = "other side", "which has nothing to read" if wait.to == "read" else state
        if wait.kind == "eventfd":
            role = "holder"
        if wait.call in POLLED:
            does = {"reads": "waits to read", "writes to": "waits to write to"}.get(does, does)
        limit = ", for a limited time" if wait.way_out == TIME else ""
        said = f"{does} {on}" + (f", {state}" if state else "") + limit
        if not wait.holders:
            return f"{said}; its {role} can't be seen"
        count = "only " if len(wait.holders) == 1 else ""
        verb = "is" if len(wait.holders) == 1 or role == "other side" else "are"
        roles = role if len(wait.holders) == 1 or role == "other side" else f"{role}s"
        held = "held by " if role == "other side" else ""
        count = "" if role == "other side" else count
        return f"{said}; its {count}{roles} {verb} {held}{self.names(wait.holders, wait.pid)}"

    def at_queue(self, wait: Wait, on: str) -> str:
        """A wait at a semaphore, a message queue or an io_uring."""
        said = {
            "rise": f"waits until {on}, rises",
            "zero": f"waits until {on}, becomes 0",
            "receive": f"waits for a message in {on}",
            "send": f"waits until it can send to {on}",
        }.get(wait.to, f"waits for {on}")
        said += f" ({wait.call})" + (", for a limited time" if wait.way_out == TIME else "")
        if not wait.holders:
            return said
        if wait.guess:
            return f"{said}; {self.names(wait.holders, wait.pid)} changed it last"
        return f"{said}; open in {self.names(wait.holders, wait.pid)}"

    def at_lock(self, wait: Wait, on: str) -> str:
        """A wait for a lock."""
        if wait.kind == "lock":
            said = f"waits for a lock ({wait.call}) on {on}"
            if not wait.holders:
                return f"{said}; who has it can't be seen"
            return f"{said}, which {self.names(wait.holders, wait.pid)} has"
        if wait.to == "end":
            return f"waits for {on}"
        if wait.owner is not None:
            owner = f"thread {wait.owner}"
            if wait.holders != (wait.pid,):
                owner += f" of {self.names(wait.holders, wait.pid)}"
            sure = " (by the layout of glibc's mutex)" if wait.guess else ""
            return f"waits for {on}, which {owner} has{sure}"
        who = "another of its threads" if wait.holders == (wait.pid,) else "another process"
        return f"waits in futex at {on} until {who} wakes it"


QUEUES = ("semaphore", "message queue", "io_uring")
ENDS = ("fifo", "pipe", "socket", "futex", "eventfd", *QUEUES)
SAID = ("", TIME, UNSEEN)
"""Ways out that the words for a wait have already."""

GUESSED = "Who owns the lock rests on the layout of glibc's mutex"
