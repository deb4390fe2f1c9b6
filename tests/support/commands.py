"""What a command printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.targets import Mapping

__all__ = ["Ran", "Run", "at", "shell", "without_proc"]


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
        timeout=300,
        env=env,
    )


def without_proc(*words: str) -> Ran:
    """Runs the command in a mount namespace in which /proc is not mounted."""
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("a mount namespace needs root and unshare(1)")
    made = ["unshare", "-m", "sh", "-c", 'umount -l /proc || exit 77; exec "$@"', "sh"]
    done = subprocess.run(
        [*made, sys.executable, "-m", "procmem", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"no mount namespace without /proc can be made here: {done.stderr.strip()}")
    return Ran(done.returncode, done.stdout, done.stderr)
