"""A process with a heap whose history is known: the program holding.c."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

from procmem import Process, Snapshot
from tests.support.paths import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Holding", "built_holding"]


@cache
def built_holding(directory: str) -> Path:
    """The program, compiled into a directory; the test is skipped where that can't be done."""
    out = Path(directory) / "holding"
    command = ["cc", "-O1", "-o", str(out), str(TARGETS / "holding.c")]
    try:
        made = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no C compiler here")
    assert made.returncode == 0, made.stderr
    return out


class Holding:
    """The running program; it ends with its `with` block."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid
        self.ask("none")

    def ask(self, command: str) -> None:
        """Carries out a command of holding.c."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def around(self, *commands: str) -> tuple[Snapshot, Snapshot]:
        """Snapshots with the heap before and after some commands."""
        process = Process(self.pid)
        before = process.snapshot(heap=True)
        for command in commands:
            self.ask(command)
        return before, process.snapshot(heap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
