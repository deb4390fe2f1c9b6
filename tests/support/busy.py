"""A process that allocates as fast as it can, and what it holds at any time."""

from __future__ import annotations

import mmap
import struct
import subprocess
import time
from enum import IntEnum
from typing import NamedTuple

import procmem
from tests.support.allocating import compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["Bounds", "Busy", "Mode", "busy_program", "distance", "nonsense", "wrong"]

CALLS = 4000
"""After so many calls a thread has an arena and blocks."""

ROWS = 16
HEAD = struct.Struct("=3q")
ROW = struct.Struct("=6q")


class Mode(IntEnum):
    """What its threads do."""

    PARKED = 0
    HOT = 1
    BURSTS = 2
    LEAVE = 3


class Bounds(NamedTuple):
    """What malloc had in use since begin(), at least and at most, in bytes; and its calls."""

    low: int
    high: int
    calls: int


def busy_program(directory: Path) -> Path:
    """The program, compiled into a directory."""
    return compiled("busy", str(directory))


class Busy:
    """The running program; it ends with its `with` block."""

    def __init__(self, program: Path, directory: Path, threads: int, *, forks: bool = True) -> None:
        self.threads = threads
        board = directory / f"board{threads}"
        board.write_bytes(bytes(HEAD.size + ROWS * ROW.size))
        with board.open("r+b") as file:
            self.board = mmap.mmap(file.fileno(), 0)
        self.board[16:24] = struct.pack("=q", forks)
        self.process = subprocess.Popen([program, str(threads), board])
        self.pid = self.process.pid
        self.constant = 0
        """Bytes that malloc has in use beside the blocks."""

    def settle(self) -> procmem.Heap:
        """Has the threads make a heap, and learns what malloc has in use beside the blocks."""
        self.park()
        self.begin()
        self.run(Mode.HOT)
        while any(row[5] < CALLS for row in self.rows()):
            assert self.process.poll() is None
            time.sleep(0.001)
        self.park()
        self.begin()
        heap = procmem.Process(self.pid).heap()
        low, high, _ = self.bounds()
        assert low == high
        self.constant = heap.in_use - low
        return heap

    def rows(self) -> list[tuple[int, ...]]:
        return [
            ROW.unpack_from(self.board, HEAD.size + ROW.size * number)
            for number in range(self.threads)
        ]

    def run(self, mode: Mode) -> None:
        """Has the threads do something else."""
        self.board[8:16] = struct.pack("=q", mode)

    def park(self) -> None:
        """Has all threads wait, and returns when they do."""
        self.run(Mode.PARKED)
        while not all(row[1] for row in self.rows()):
            assert self.process.poll() is None
            time.sleep(0.001)

    def begin(self) -> None:
        """From now on the bounds count."""
        (epoch,) = struct.unpack_from("=q", self.board, 0)
        self.board[0:8] = struct.pack("=q", epoch + 1)
        while any(row[0] != epoch + 1 for row in self.rows()):
            assert self.process.poll() is None
            time.sleep(0.0001)

    def bounds(self) -> Bounds:
        """What was in use since begin()."""
        rows = self.rows()
        low, high, calls = (sum(row[place] for row in rows) for place in (3, 4, 5))
        return Bounds(low, high, calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.run(Mode.LEAVE)
        self.process.wait()
        self.board.close()


def distance(target: Busy, heap: procmem.Heap) -> int:
    """How far from what it was since begin() the bytes in use are; 0: within the bounds."""
    bounds = target.bounds()
    in_use = heap.in_use - target.constant
    return max(bounds.low - in_use, in_use - bounds.high, 0)


def wrong(target: Busy, heap: procmem.Heap) -> list[str]:
    """What is wrong with a heap that was read since begin()."""
    found = nonsense(heap)
    bounds = target.bounds()
    in_use = heap.in_use - target.constant
    if heap.certain and not bounds.low <= in_use <= bounds.high:
        found.append(f"{in_use} in use, and certain, but between {bounds.low} and {bounds.high}")
    return found


def nonsense(heap: procmem.Heap) -> list[str]:
    """What no heap can be, however doubtful."""
    found = []
    for arena in heap.arenas:
        parts = (arena.in_use, arena.tcache, arena.fast, arena.free, arena.top)
        if min(parts) < 0 or sum(parts) != arena.system:
            found.append(f"{parts} of {arena.system}")
        if not 0 <= arena.resident_free <= arena.fast + arena.free + arena.top:
            found.append(f"free in RSS {arena.resident_free} of {parts}")
        if not 0 <= arena.trimmable <= arena.resident_free:
            found.append(f"trim {arena.trimmable} of {arena.resident_free}")
        if arena.chunks is not None and not 0 <= arena.chunks * 32 <= arena.system:
            found.append(f"{arena.chunks} chunks in {arena.system} bytes")
        if arena.system > 1 << 30:
            found.append(f"an arena of {arena.system} bytes")
    found += [str(one) for one in heap.by_size() if min(one) < 0]
    found += [str(one) for one in heap.parts if min(one.size, one.resident) < 0]
    if not heap.arenas and heap.certain:
        found.append("no arena")
    return found
