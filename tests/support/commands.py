"""What a command printed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.targets import Mapping

__all__ = ["Ran", "Run", "at", "shell"]


class Ran:
    """What a command printed, and its status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def rows(self) -> list[list[str]]:
        """The words of the rows between the heading's rule and the footer's."""
        lines = self.out.splitlines()
        rules = [i for i, line in enumerate(lines) if line.startswith("---")]
        end = rules[1] if len(rules) > 1 else len(lines)
        return [line.split() for line in lines[rules[0] + 1 : end]]


def at(mapping: Mapping) -> str:
    return f"{mapping.start:x}-{mapping.end:x}"


Run = Callable[..., Ran]
"""What the fixture `run` is."""


def shell(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """Runs the command as its users do."""
    return subprocess.run(
        [sys.executable, "-m", "procmem", *words],
        capture_output=True,
        check=False,
        timeout=60,
        env=env,
    )
