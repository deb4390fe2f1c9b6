"""pagemap() of 1 GiB against the reading of its bytes from /proc/PID/pagemap."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.compare import Row, compare, timed
from procmem import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["pagemaps"]

PAGE = os.sysconf("SC_PAGESIZE")
PIECE = 512 * 1024

CHILD = """
import ctypes, mmap, sys
size, step, write, huge = map(int, sys.argv[1:])
memory = mmap.mmap(-1, size + (1 << 21), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
skip = -address % (1 << 21)
for at in range(skip, skip + size, step) if step else ():
    if write:
        memory[at] = 1
    else:
        memory[at]
print(address + skip, flush=True)
sys.stdin.read()
"""

KINDS = {
    "dense": (PAGE, 1, 0, 1.3),
    "untouched": (0, 1, 0, 0.05),
    "every other page": (2 * PAGE, 1, 0, None),
    "a page in 2 MiB": (1 << 21, 1, 0, None),
    "pages of zeros": (PAGE, 0, 0, None),
    "huge pages": (PAGE, 1, 1, None),
}


def pagemaps(effort: Effort) -> Iterator[Row]:
    size = (2 * effort.mebibytes) << 20
    for kind, (step, write, huge, goal) in KINDS.items():
        words = [sys.executable, "-c", CHILD, *map(str, (size, step, write, huge))]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            start = int(child.stdout.readline())
            there = Process(child.pid).pagemap(start, start + size).present.count(True)
            assert there == (size // step if step else 0) or huge
            yield from side_by_side(child.pid, start, size, kind, goal, effort)
            child.kill()


def side_by_side(
    pid: int, start: int, size: int, kind: str, goal: float | None, effort: Effort
) -> Iterator[Row]:
    process, end = Process(pid), start + size
    raw, ours = f"raw read, {kind}", f"pagemap(), {kind}"
    counted = f"pagemap() and counts(), {kind}"
    sides: dict[str, Callable[[], object]] = {
        raw: lambda: raw_read(pid, start, size),
        ours: lambda: process.pagemap(start, end),
        counted: lambda: process.pagemap(start, end).counts(),
    }
    samples = {name: timed(run, effort) for name, run in sides.items()}
    found = compare("pagemap", None, samples, effort)
    yield found.row(ours, raw, goal)
    yield found.row(counted, raw)


def raw_read(pid: int, start: int, size: int) -> None:
    """The entries of a range, a piece at a time, thrown away."""
    fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    try:
        at, end = start // PAGE * 8, (start + size) // PAGE * 8
        while at < end:
            at += len(os.pread(fd, min(PIECE, end - at), at))
    finally:
        os.close(fd)
