"""python -m benchmarks.deadlocks: random processes and pipes against procmem's verdict.

Each case starts a few processes that hold random ends of random pipes. Each reads, writes to a
full pipe, waits for one of several pipes, waits for its child's end, or sleeps. Who can never go on
is known by construction: nobody who sleeps can be reached. procmem.waits() sees the live processes
alone, and must say the same of each.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import procmem
from procmem.procfs.blocked import parse_call

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Case"]

DEADLINE = 60.0
"""Seconds until all processes of a case must be blocked."""


class Case:
    """Some processes that are blocked, and what is true of them.

    Attributes:
        pids: the processes.
        stuck: those that can never go on.
    """

    def __init__(self, made: random.Random) -> None:
        count = made.randint(2, 6)
        pipes = [os.pipe() for _ in range(made.randint(1, 6))]
        full = [made.random() < 0.3 for _ in pipes]
        for (_, write), is_full in zip(pipes, full, strict=True):
            if is_full:
                os.set_blocking(write, False)
                try:
                    while os.write(write, bytes(4096)):
                        pass
                except BlockingIOError:
                    os.set_blocking(write, True)
        holds = [
            [(made.random() < 0.35, made.random() < 0.35) for _ in pipes] for _ in range(count)
        ]
        plans: list[tuple[str, list[int]]] = []
        for mine in holds:
            reads = [at for at, (read, _) in enumerate(mine) if read and not full[at]]
            writes = [at for at, (_, write) in enumerate(mine) if write and full[at]]
            choices: list[tuple[str, list[int]]] = [("sleep", [])]
            choices += [("read", [at]) for at in reads] * 3
            choices += [("write", [at]) for at in writes] * 3
            if len(reads) > 1:
                choices += [("select", made.sample(reads, 2))] * 3
            plans.append(made.choice(choices))
        # A pipe without the other end would not block.
        for what, asked in plans:
            for at in asked:
                side = 1 if what in ("read", "select") else 0
                if not any(mine[at][side] for mine in holds):
                    chosen = made.randrange(count)
                    read, write = holds[chosen][at]
                    holds[chosen][at] = (True, write) if side == 0 else (read, True)
        self.pids: list[int] = []
        self.plans, self.holds = plans, holds
        for (what, asked), mine in zip(plans, holds, strict=True):
            self.pids.append(start(run_of(what, asked, mine, pipes)))
        for ends in pipes:
            for fd in ends:
                os.close(fd)
        self.stuck = self.pids_of(self.truth())

    def truth(self) -> set[int]:
        """The numbers of the processes that nobody who goes on can help."""
        going = {number for number, (what, _) in enumerate(self.plans) if what == "sleep"}
        while True:
            helped = {
                number
                for number, (what, asked) in enumerate(self.plans)
                for at in asked
                for other in going
                if self.holds[other][at][0 if what == "write" else 1]
            }
            if helped <= going:
                return set(range(len(self.plans))) - going
            going |= helped

    def pids_of(self, numbers: set[int]) -> set[int]:
        """The processes of some numbers."""
        return {self.pids[number] for number in numbers}

    def __enter__(self) -> Case:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def settle(self) -> None:
        """Waits until all processes are blocked."""
        deadline = time.monotonic() + DEADLINE
        for pid, (what, _) in zip(self.pids, self.plans, strict=True):
            while not is_blocked(pid, what):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"process {pid} does not {what}")
                time.sleep(0.001)

    def verdict(self) -> str:
        """Empty, or what procmem says wrongly."""
        self.settle()
        found = procmem.waits(self.pids)
        said = {pid for pid in self.pids if found.is_deadlocked(pid)}
        if said != self.stuck:
            return f"stuck are {sorted(self.stuck)}, said {sorted(said)}: {self.plans} {self.holds}"
        cycles = {pid for cycle in found.deadlocks for pid in cycle} & set(self.pids)
        if not cycles <= self.stuck or bool(cycles) != bool(self.stuck):
            return f"stuck are {sorted(self.stuck)}, deadlocks {found.deadlocks}"
        return ""


def start(run: Callable[[], None]) -> int:
    """A child of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            run()
        finally:
            os._exit(0)
    return pid


def run_of(
    what: str, asked: list[int], mine: list[tuple[bool, bool]], pipes: list[tuple[int, int]]
) -> Callable[[], None]:
    """What a process does: it closes what it is not to hold, and blocks."""

    def run() -> None:
        keep = {fd for ends, held in zip(pipes, mine, strict=True)
                for fd, yes in zip(ends, held, strict=True) if yes}  # fmt: skip
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) not in keep:
                try:
                    os.close(int(name))
                except OSError:
                    continue
        if what == "read":
            os.read(pipes[asked[0]][0], 1)
        elif what == "write":
            os.write(pipes[asked[0]][1], b"x")
        elif what == "select":
            select.select([pipes[at][0] for at in asked], [], [])
        else:
            time.sleep(100_000)

    return run


CALLS = {
    "read": ("read",),
    "write": ("write",),
    "select": ("select", "pselect6"),
    "sleep": ("clock_nanosleep", "nanosleep", "select", "pselect6"),
}


def is_blocked(pid: int, what: str) -> bool:
    """Whether a process is blocked in the call that it is to make."""
    call = parse_call(Path(f"/proc/{pid}/syscall").read_bytes())
    return call is not None and call[0] in CALLS[what]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deadlocks", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="the first case's")
    arguments = parser.parse_args()
    wrong = stuck = 0
    for seed in range(arguments.seed, arguments.seed + arguments.cases):
        with Case(random.Random(seed)) as case:  # noqa: S311 - repeatable on purpose
            said = case.verdict()
            stuck += bool(case.stuck)
        if said:
            wrong += 1
            print(f"case {seed}: {said}")
    print(
        f"{arguments.cases} cases, {stuck} with a deadlock: the verdict was right "
        f"{arguments.cases - wrong} times"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
