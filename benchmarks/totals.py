"""What each method of Process costs, for information: none of this has a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from benchmarks.baselines import raw_read
from benchmarks.compare import Row, Skip, compare, timed
from benchmarks.targets import Target
from procmem import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["prices", "totals"]

RAW_SMAPS = "raw read of smaps"


def totals(effort: Effort) -> Iterator[Row | Skip]:
    """The totals of a process beside psutil's, which have fewer or more fields."""
    for size in effort.sizes:
        with Target(size) as target:
            process, other = Process(target.pid), psutil.Process(target.pid)
            assert process.memory().rss == other.memory_info().rss
            assert process.rollup().uss == other.memory_full_info().uss
            sides: dict[str, Callable[[], object]] = {
                "psutil memory_info()": other.memory_info,
                "memory()": process.memory,
                "faults()": process.faults,
                "psutil memory_full_info()": other.memory_full_info,
                "rollup()": process.rollup,
                "reconcile()": process.reconcile,
            }
            samples = {name: timed(run, effort) for name, run in sides.items()}
            found = compare("totals", size, samples, effort)
            yield found.row("memory()", "psutil memory_info()")
            yield found.row("faults()", "psutil memory_info()")
            yield found.row("rollup()", "psutil memory_full_info()")
            yield found.row("reconcile()", "psutil memory_full_info()")


def prices(effort: Effort) -> Iterator[Row | Skip]:
    """Every method of Process on one scale, with many regions and with much resident memory."""
    for size in effort.sizes:
        with Target(size) as target:
            yield from prices_of("prices", target, effort)
    with Target(effort.sizes[0], effort.mebibytes) as target:
        yield from prices_of(f"{effort.mebibytes} MiB", target, effort)


def prices_of(benchmark: str, target: Target, effort: Effort) -> Iterator[Row]:
    process = Process(target.pid)
    sides: dict[str, Callable[[], object]] = {
        RAW_SMAPS: lambda: raw_read(target.pid, "smaps"),
        "region_at()": lambda: process.region_at(target.addresses[0]),
        "faults()": process.faults,
        "memory()": process.memory,
        "maps()": process.maps,
        "residency()": process.residency,
        "rollup()": process.rollup,
        "smaps()": process.smaps,
        "reconcile()": process.reconcile,
    }
    samples = {name: timed(run, effort) for name, run in sides.items()}
    found = compare(benchmark, target.regions, samples, effort)
    for name in list(sides)[1:]:
        yield found.row(name, RAW_SMAPS)
