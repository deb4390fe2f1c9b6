"""The installed `size` as an oracle, and our command beside it."""

from __future__ import annotations

import functools
import io
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from procmem.cli import size as command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Said", "gnu", "is_known", "needs_size", "ours", "same"]

MEMORY = 1_000_000_000
"""Bytes that the oracle may take: it takes 24 GB for a hostile core of 4 MB."""


OLDEST = 2, 40
"""Of GNU Binutils, what ours is like."""

DIFFERS = 2, 44
"""From here on size -A shows sections of the type SHT_GROUP behind the others, and files are read
whose section names do not end with a zero byte; before, their format was not recognized."""


@functools.cache
def version() -> tuple[int, ...]:
    """Of GNU Binutils; empty: no size that can be compared with."""
    if not shutil.which("size") or not shutil.which("prlimit"):
        return ()
    done = subprocess.run(["size", "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"GNU size .* (\d+)\.(\d+)", done.stdout.partition("\n")[0])
    return tuple(map(int, found.groups())) if found else ()


needs_size = pytest.mark.skipif(
    version() < OLDEST, reason="no size of GNU Binutils 2.40 or newer, or no prlimit, here"
)


class Said(NamedTuple):
    status: int
    out: bytes
    err: bytes


class Stream:
    """A standard stream that is no terminal."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()

    def write(self, text: str) -> None:
        self.buffer.write(text.encode("utf-8", "surrogateescape"))

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def without_usage(err: bytes) -> bytes:
    at = err.lower().find(b"usage: ")
    return err if at < 0 else err[:at]


def ours(arguments: Sequence[str]) -> Said:
    out, err = Stream(), Stream()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        status = command.main(list(arguments))
    finally:
        sys.stdout, sys.stderr = before
    return Said(status, out.buffer.getvalue(), without_usage(err.buffer.getvalue()))


def gnu(arguments: Sequence[str], cwd: Path | None = None) -> Said:
    done = subprocess.run(
        ["prlimit", f"--as={MEMORY}", "size", *arguments],
        capture_output=True,
        check=False,
        timeout=300,
        cwd=cwd,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    return Said(done.returncode, done.stdout, without_usage(done.stderr))


def same(arguments: Sequence[str]) -> bool:
    return ours(arguments) == gnu(arguments)


def is_known(expected: Said) -> bool:
    """Whether this answer about a damaged file is one that newer versions alone give."""
    names = re.search(rb": string table \[\d+\] is corrupt$", expected.err, re.MULTILINE)
    return version() >= DIFFERS and names is not None
