"""Threads whose stacks' depths are known: the program stacks.c, and what it says of itself."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from procmem import Process
from tests.support.paths import TARGETS
from tests.support.stacks import wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from procmem import LiveStack, Stacks

__all__ = ["Deep", "Truth", "built_stacks"]


class Truth(NamedTuple):
    """What a thread says of its stack.

    Attributes:
        start, end, guard: by pthread_getattr_np(3).
        lowest: the lowest address that it has written to.
        frame: an address in the frame that it waits in, or above it.
        alternate, size: its alternate signal stack; zeros: none.
    """

    start: int
    end: int
    guard: int
    lowest: int
    frame: int
    alternate: int
    size: int


@cache
def built_stacks(directory: str, *flags: str, compiler: str = "cc") -> Path:
    """The program, compiled into a directory; the test is skipped where that can't be done."""
    out = Path(directory) / ("stacks_" + compiler + "".join(flags).replace("-", "_"))
    command = [compiler, "-O1", *flags, "-o", str(out), str(TARGETS / "stacks.c"), "-pthread"]
    try:
        made = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"{compiler} is not installed")
    if made.returncode:
        pytest.skip(f"{compiler} {' '.join(flags)} can't build here: {made.stderr[:200]}")
    return out


class Deep:
    """The running program; it ends with its `with` block.

    Args:
        program: see built_stacks().
        kind: see stacks.c.
        pages: how deep each thread recurses.
        leaves: whether the main thread exits.
        through: a command that runs the program, such as prlimit.
    """

    def __init__(
        self,
        program: Path,
        kind: str,
        *pages: int,
        leaves: bool = False,
        through: Sequence[str] = (),
    ) -> None:
        words = [*through, str(program), *(["exit"] if leaves else []), kind, *map(str, pages)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid
        self.kind = kind
        self.truths: dict[int, Truth] = {}
        for _ in range(1 if kind == "limit" else 1 + len(pages)):
            self.take()
        self.leaves = leaves

    def take(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            pytest.skip(f"stacks {self.kind} can't run here: status {status}")
        tid, *figures = line.split()
        self.truths[int(tid)] = Truth(*(int(word, 16) for word in figures))

    def go(self) -> int:
        """Lets it recurse until SIGSEGV; returns the lowest address that it could touch."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline(), 16)

    def stacks(self) -> Stacks:
        """Its stacks, once all threads wait that are going to."""
        found: list[Stacks] = []

        def settled(one: LiveStack) -> bool:
            main = one.tid == self.pid
            if main and self.leaves:
                return one.state == "Z"
            if self.kind == "runs" and not main:
                return True
            if self.kind in ("signal", "beside") and not main:
                return one.alternate is not None
            return one.state == "S" and (one.in_use is not None or one.start is None)

        def waits() -> bool:
            found[:] = [Process(self.pid).stacks()]
            return all(map(settled, found[0]))

        wait_for(waits)
        return found[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
