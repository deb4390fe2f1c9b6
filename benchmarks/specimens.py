"""What a step of a Specimen costs, against a round trip over its pipes; and its start.

Elapsed times, since a step waits for the other process.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks.compare import compare, timed
from procmem.experiments import Specimen
from procmem.native import lib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort, Row

__all__ = ["specimens"]

PAGES = 200_000


def specimens(effort: Effort) -> Iterator[Row]:
    allowed = os.sched_getaffinity(0)
    cpu = min(allowed)
    with ExitStack() as stack:
        os.sched_setaffinity(0, {cpu})
        stack.callback(os.sched_setaffinity, 0, allowed)
        with Specimen(cpu=cpu) as specimen:
            yield from steps(specimen, "on one CPU", effort)
    with Specimen() as specimen:
        yield from steps(specimen, "unpinned", effort)
    measured = compare(
        "specimen",
        None,
        {
            "start and end of the program alone": wall(bare_start, effort),
            "start and end of a Specimen": wall(lambda: Specimen().close(), effort),
        },
        effort,
    )
    yield measured.row("start and end of a Specimen", "start and end of the program alone")


def steps(specimen: Specimen, where: str, effort: Effort) -> Iterator[Row]:
    mapped = specimen.mmap(pages=PAGES, noreserve=True).mapping
    assert mapped is not None
    place = iter(range(PAGES))

    def touch() -> None:
        step = specimen.touch(mapped, start=next(place), pages=1)
        assert step.agrees

    def map_and_unmap() -> None:
        area = specimen.mmap(pages=3).mapping
        assert area is not None
        specimen.munmap(area)

    measured = compare(
        "specimen",
        None,
        {
            f"bare round trip, {where}": wall(
                lambda: specimen._stepper.helper.quiet(lib.PM_OP_NOTHING), effort
            ),
            f"touch of one page, {where}": wall(touch, effort),
            f"mmap and munmap, two steps, {where}": wall(map_and_unmap, effort),
        },
        effort,
    )
    for name in list(measured.values)[1:]:
        yield measured.row(name, f"bare round trip, {where}")


def bare_start() -> None:
    from procmem import native

    program = os.path.join(os.path.dirname(native.__file__), "specimen")
    subprocess.run([program, str(os.getpid()), "0", "0"], stdin=subprocess.DEVNULL, check=False)


def wall(run: Callable[[], object], effort: Effort) -> Callable[[], float]:
    return timed(run, effort, time.perf_counter)
