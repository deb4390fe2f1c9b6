"""Recordings of specimens, for tests."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from procmem import NoSuchProcess, Process, Recorder, Recording, Snapshot
from procmem.errors import BadArgument
from procmem.snapshots.moment import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from procmem.experiments import Specimen

__all__ = [
    "COMMAND",
    "PAGE",
    "command",
    "mapping",
    "paced",
    "recorder",
    "replace_clock",
    "steps",
    "three_frames",
]

PAGE = os.sysconf("SC_PAGE_SIZE")
COMMAND = [sys.executable, "-m", "procmem"]


def recorder(specimen: Specimen, **how: object) -> Recorder:
    return Recorder(Process(specimen.pid), **how)  # type: ignore[arg-type]


def steps(specimen: Specimen, made: Recorder, count: int) -> None:
    """Maps ten pages and touches them, again and again, with a look after each."""
    for _ in range(count):
        area = specimen.mmap(pages=10).mapping
        assert area is not None
        specimen.touch(area)
        time.sleep(0.002)
        assert made.turn() is not None


def command(*words: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, check=False, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def three_frames(specimen: Specimen, directory: Path) -> tuple[Path, bytes, list[int]]:
    """A recording of three snapshots, its bytes, and where each snapshot ends."""
    path = directory / "three.rec"
    made = recorder(specimen, path=path, detail="smaps")
    ends = [path.stat().st_size]
    for _ in range(2):
        steps(specimen, made, 1)
        ends.append(path.stat().st_size)
    made.close()
    return path, path.read_bytes(), ends


def replace_clock(snapshot: Snapshot, seconds: float) -> Snapshot:
    nanoseconds = round(seconds * 1e9)
    return replace(snapshot, clock=Clock(nanoseconds, nanoseconds, nanoseconds))


def paced(
    specimen: Specimen, work: Callable[[int], object], details: Sequence[str] = ("smaps",)
) -> Recording:
    """Real snapshots after each of 40 pieces of work, as if each had taken 100 ms."""
    found = []
    for number, detail in zip(range(40), itertools.cycle(details), strict=False):
        work(number)
        found.append(replace_clock(specimen.process.snapshot(detail), number / 10))
    return Recording(found)


@contextmanager
def mapping(specimen: Specimen, every: float = 0.05) -> Iterator[None]:
    """A process that maps ten pages, again and again."""
    done = threading.Event()

    def work() -> None:
        with suppress(BadArgument, NoSuchProcess):
            while not done.wait(every):
                specimen.mmap(10 * PAGE)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()
