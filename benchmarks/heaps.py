"""Random histories of malloc: what procmem reads from outside against what malloc says itself.

Run `python -m benchmarks.heaps --histories 10000 --seed 1`, or `--busy 1000`: that many readings
of processes that allocate as fast as they can, or in bursts, in up to eight threads, with trims and
forks. What they hold is known within bounds at any time, and each answer is right for a time within
the reading, or said to be doubtful.

`--python 1000` compares that many histories of objects in an interpreter with
sys._debugmallocstats(): each size class is equal, since nothing is allocated between the report and
the reading. `--interpreter` names another one than this.

A history is a number of random calls of malloc, free, realloc, calloc, aligned forms and
malloc_trim in up to ten threads, which free each other's pieces, end and begin. After each, every
arena's figures are compared with malloc_info(3) and mallinfo2(3) to the byte, and after some
malloc_trim(3) is called and what it returned compared with what was predicted.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import procmem
from tests.support.allocating import Allocating, built
from tests.support.busy import Busy, Mode, busy_program, wrong
from tests.support.interpreters import Interpreted, class_differences

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.support.allocating import MallocInfo


def differences(heap: procmem.Heap, info: MallocInfo) -> list[str]:
    """What is not equal."""
    found = list(heap.doubts)
    ours = [(a.system, a.fast, a.free + a.top) for a in heap.arenas]
    if ours != list(info.arenas):
        found.append(f"arenas {ours} and {info.arenas}")
    for name, mine, theirs in (
        ("uordblks", heap.in_use + heap.tcache, info.uordblks),
        ("fordblks", heap.free, info.fordblks),
        ("hblks", heap.mmaps, info.hblks),
        ("hblkhd", heap.mmapped, info.hblkhd),
    ):
        if mine != theirs:
            found.append(f"{name} {mine} and {theirs}")
    return found


def trimmed(target: Allocating, process: procmem.Process, heap: procmem.Heap) -> list[str]:
    """What malloc_trim(0) did otherwise than predicted."""
    gone = target.trim(process)
    return [] if gone == heap.trimmable else [f"trim {heap.trimmable} and {gone}"]


def busy(readings: int, program: Path, directory: Path) -> int:
    """Reads heaps that change meanwhile; 1: an answer was wrong."""
    ways = [(1, Mode.BURSTS), (2, Mode.BURSTS), (8, Mode.HOT), (4, Mode.BURSTS), (1, Mode.HOT)]
    certain = right = done = 0
    times = []
    for number, (threads, mode) in enumerate(ways):
        with Busy(program, directory, threads) as target:
            target.settle()
            process = procmem.Process(target.pid)
            target.run(mode)
            for _ in range(readings * (number + 1) // len(ways) - done):
                target.begin()
                before = time.monotonic()
                heap = process.heap()
                times.append(time.monotonic() - before)
                faults = wrong(target, heap)
                done += 1
                right += not faults
                certain += heap.certain
                if faults:
                    print(f"reading {done}, {threads} threads, {mode.name}: {'; '.join(faults)}")
        print(f"{done} readings: {right} right or doubtful, {certain} of them certain", flush=True)
    print(f"longest reading {max(times):.2f} s")
    return right != done


def python(histories: int, seed: int, interpreter: str) -> int:
    """Compares size classes of an interpreter with its own report; 1: one was not equal."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    equal = done = compared = 0
    while done < histories:
        with Interpreted(interpreter) as target:
            process = procmem.Process(target.pid)
            for _ in range(min(100, histories - done)):
                one, steps = chance.randrange(1 << 30), chance.choice([1, 10, 100, 1000, 10000])
                truth = target.go(one, steps)
                found = process.heap()
                wrong = [*found.doubts, *class_differences(found.python, truth)]
                done += 1
                equal += not wrong
                compared += len(truth.classes)
                if wrong:
                    print(f"history {done}, seed {one}, {steps} steps: {'; '.join(wrong)}")
    print(f"{equal} of {done} histories equal, in {compared} size classes")
    return equal != done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--busy", type=int, help="only read so often what changes meanwhile")
    parser.add_argument("--python", type=int, help="only compare so many of CPython's objects")
    parser.add_argument("--interpreter", default=sys.executable, help="with --python: which one")
    options = parser.parse_args()
    if options.python:
        return python(options.python, options.seed, options.interpreter)
    chance = random.Random(options.seed)  # noqa: S311 - repeatable on purpose
    equal = done = trims = 0
    with tempfile.TemporaryDirectory() as directory:
        if options.busy:
            return busy(options.busy, busy_program(Path(directory)), Path(directory))
        program = built(directory)
        while done < options.histories:
            threads = chance.choice([0, 0, 1, 2, 4, 9])
            with Allocating(program, threads) as target:
                process = procmem.Process(target.pid)
                for _ in range(min(50, options.histories - done)):
                    seed, steps = chance.randrange(1 << 30), chance.choice([1, 10, 100, 1000, 5000])
                    if chance.random() < 0.1:
                        target.ask("renew")
                    largest = chance.choice([2000, 100_000, 400_000, 3_000_000])
                    target.go(seed, steps, largest, chance.randrange(threads + 1))
                    heap = process.heap()
                    wrong = differences(heap, target.info())
                    if chance.random() < 0.2:
                        trims += 1
                        wrong += trimmed(target, process, heap)
                    done += 1
                    equal += not wrong
                    if wrong:
                        print(f"history {done}, {threads} threads, seed {seed}: {'; '.join(wrong)}")
    print(f"{equal} of {done} histories equal, with {trims} trims")
    return equal != done


if __name__ == "__main__":
    raise SystemExit(main())
