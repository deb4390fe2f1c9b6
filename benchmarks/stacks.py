"""stacks() against plain reads of the files that it needs: maps, and two of each thread."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from benchmarks.compare import Row, Skip, compare, timed
from procmem import Process
from tests.support.deep import Deep, built_stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["stacks"]


def stacks(effort: Effort) -> Iterator[Row | Skip]:
    """A thread has two regions, its stack and its guard."""
    with tempfile.TemporaryDirectory() as folder:
        for size in effort.sizes[:2]:
            with Deep(built_stacks(folder), "plain", *[2] * (size // 2)) as target:
                process = Process(target.pid)
                found = process.stacks()
                assert {one.tid for one in found} == set(target.truths)
                sides: dict[str, Callable[[], object]] = {
                    "plain reads": lambda pid=target.pid: plain_reads(pid),  # type: ignore[misc]
                    "maps() with kinds": lambda process=process: process.maps()[0].kind,  # type: ignore[misc]
                    "stacks()": process.stacks,
                }
                samples = {name: timed(run, effort) for name, run in sides.items()}
                measured = compare("stacks", found.regions, samples, effort)
            yield measured.row("stacks()", "plain reads")
            yield measured.row("stacks()", "maps() with kinds")


def plain_reads(pid: int) -> int:
    total = len(read(f"/proc/{pid}/maps"))
    for tid in os.listdir(f"/proc/{pid}/task"):
        for name in ("stat", "syscall"):
            total += len(read(f"/proc/{pid}/task/{tid}/{name}"))
    return total


def read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
    finally:
        os.close(fd)
