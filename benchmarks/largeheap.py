"""heap() of 1 GiB against a plain reading of its bytes, and what the process notices of it."""

from __future__ import annotations

import ctypes
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.compare import Comparison, Row, compare, timed
from benchmarks.targets import built
from procmem import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["large_heap"]

READINGS = 3
"""Of the heap, in the time in which a thread's calls are timed."""

EVERY = 8
"""A chunk of so many is free, in the target that has free ones."""


class LargeHeap:
    """A process with a large heap; it ends with its `with` block."""

    def __init__(self, mebibytes: int, every: int) -> None:
        program = built("heap.c", "-pthread")
        self.process = subprocess.Popen(
            [program, str(mebibytes), str(every)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid
        assert self.answer() == "ready"

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def longest(self, meanwhile: Callable[[], object]) -> tuple[float, float]:
        """The longest call of a thread while something is done, and the longest but 1 in 10,000."""
        self.ask("begin")
        self.answer()
        meanwhile()
        self.ask("end")
        _, longest, usual = map(int, self.answer().split())
        self.answer()
        return longest / 1e9, usual / 1e9

    def __enter__(self) -> LargeHeap:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def large_heap(effort: Effort) -> Iterator[Row]:
    size = 2 * effort.mebibytes
    read_all = ctypes.CDLL(str(built("bare.c", "-shared", "-fPIC"))).read_all
    read_all.argtypes = [ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64]
    for every, goal in ((0, 1.5), (EVERY, None)):
        with LargeHeap(size, every) as target:
            process = Process(target.pid)
            heap = process.heap()
            assert heap.certain, heap.doubts
            (arena,) = heap.arenas
            assert arena.chunks is not None
            assert arena.chunks > (size << 20) // 112 * 7 // 8
            (region,) = process.maps().filter(kind="heap")
            plainly = partial(read_all, target.pid, region.start, region.end)
            form = "" if not every else f", 1 in {every} free"
            ours, plain = f"heap(), 100-byte chunks{form}", f"process_vm_readv in C{form}"
            found = compare(
                "heap",
                None,
                {
                    plain: timed(plainly, effort),
                    ours: timed(process.heap, effort),
                },
                effort,
            )
            yield found.row(ours, plain, goal)
            if not every:
                yield from stalls(target, process, effort)


def stalls(target: LargeHeap, process: Process, effort: Effort) -> Iterator[Row]:
    """The longest calls of a thread, with and without a reader, in turn."""
    before = time.monotonic()
    for _ in range(READINGS):
        process.heap()
    took = time.monotonic() - before
    ways: dict[str, Callable[[], object]] = {
        "alone": lambda: time.sleep(took),
        "while heap() reads": lambda: [process.heap() for _ in range(READINGS)],
        "while smaps_rollup is read": lambda: again(process.rollup, took),
    }
    longest = Comparison("heap", None, "s")
    usual = Comparison("heap", None, "s")
    for _ in range(effort.rounds):
        for name, meanwhile in ways.items():
            all_, most = target.longest(meanwhile)
            longest.values.setdefault(f"longest call, {name}", []).append(all_)
            usual.values.setdefault(f"1 call in 10,000 is longer, {name}", []).append(most)
    for found in (longest, usual):
        alone, *others = found.values
        for other in others:
            yield found.row(other, alone)


def again(call: Callable[[], object], seconds: float) -> None:
    """Calls something for so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        call()
