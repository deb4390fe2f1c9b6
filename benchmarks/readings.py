"""smaps(), maps() and residency() against reading their files and doing nothing else."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.baselines import plain_maps, plain_smaps, raw_read, regex_smaps
from benchmarks.compare import Row, Skip, children_time, compare, timed
from benchmarks.targets import Target
from procmem import MeasuredRegion, Process
from procmem.regions.counters import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["maps", "residency", "smaps"]

LARGE = 2_000
"""From so many regions on the targets hold: below, opening the files outweighs reading them."""

RAW_SMAPS = "raw read of smaps"
RAW_MAPS = "raw read of maps"
PLAIN = "plain Python (split, dataclass)"
PSUTIL = "psutil memory_maps(grouped=False)"

OF_KINDS = {
    *"kind kind_guess kind_evidence use use_guess use_evidence owner name".split(),
}
all_counters = attrgetter(*(a for a in ATTRIBUTES.values() if hasattr(MeasuredRegion, a)))
all_of_maps = attrgetter(*"start end perms offset dev inode pathname deleted".split())
all_of_procmaps = attrgetter(
    *"begin_address end_address is_readable is_writable is_executable is_private".split(),
    *"offset device inode pathname".split(),
)


def smaps(effort: Effort) -> Iterator[Row | Skip]:
    if not shutil.which("pmap"):
        yield Skip("smaps", "pmap -X", "pmap is not installed (package procps)")
    for size in effort.sizes:
        with Target(size) as target:
            yield from smaps_of(target, effort)


def smaps_of(target: Target, effort: Effort) -> Iterator[Row]:
    pid, size, process = target.pid, target.regions, Process(target.pid)
    assert len(process.smaps()) == len(regex_smaps(pid)) == size
    assert [r.rss for r in process.smaps()] == [r.counters["Rss"] for r in plain_smaps(pid)]
    made = "smaps()"
    ints = "smaps(), every counter read out as an int"
    attributes = "smaps(), every attribute of a counter read"
    frame = "smaps() as an Arrow table, every counter, kinds left out"
    whole = "smaps() as an Arrow table, kinds and uses told as well"
    names = [name for name in process.smaps().arrow_makers() if name not in OF_KINDS]
    ours = {
        RAW_SMAPS: lambda: raw_read(pid, "smaps"),
        made: lambda: list(process.smaps()),
        ints: lambda: [region._extras() for region in process.smaps()],
        attributes: lambda: [all_counters(region) for region in process.smaps()],
        frame: lambda: process.smaps().select(*names).__arrow_c_stream__(),
        whole: lambda: process.smaps().__arrow_c_stream__(),
    }
    found = compare("smaps", size, sampled(ours, effort), effort)
    goal = 1.25 if size >= LARGE else None
    yield found.row(made, RAW_SMAPS, goal)
    yield found.row(ints, RAW_SMAPS, goal)
    yield found.row(attributes, RAW_SMAPS)
    yield found.row(frame, RAW_SMAPS, 1.15 if size >= LARGE else None)
    yield found.row(whole, RAW_SMAPS)

    # Apart from ours, since they leave a disturbed heap and cold caches behind.
    others: dict[str, Callable[[], object]] = {
        RAW_SMAPS: ours[RAW_SMAPS],
        "one regular expression": lambda: regex_smaps(pid),
        PLAIN: lambda: plain_smaps(pid),
        PSUTIL: lambda: psutil.Process(pid).memory_maps(grouped=False),
    }
    samples = sampled(others, effort)
    if shutil.which("pmap"):
        samples["pmap -X, start included"] = timed(
            lambda: subprocess.run(["pmap", "-X", str(pid)], stdout=subprocess.DEVNULL, check=True),
            effort,
            children_time,
        )
    found = compare("smaps", size, samples, effort)
    for name in list(samples)[1:]:
        yield found.row(name, RAW_SMAPS)


def maps(effort: Effort) -> Iterator[Row | Skip]:
    try:
        procmaps: Any = importlib.import_module("procmaps")
    except ImportError:
        procmaps = None
        yield Skip("maps", "procmaps", "not installed (pip install procmaps)")
    for size in effort.sizes:
        with Target(size) as target:
            yield from maps_of(target, effort, procmaps)


def maps_of(target: Target, effort: Effort, procmaps: Any) -> Iterator[Row]:
    pid, size, process = target.pid, target.regions, Process(target.pid)
    assert [r.start for r in process.maps()] == [r.start for r in plain_maps(pid)]
    sides = {
        RAW_MAPS: lambda: raw_read(pid, "maps"),
        "maps()": lambda: list(process.maps()),
        "maps(), every attribute read": lambda: [all_of_maps(r) for r in process.maps()],
        "maps(), every kind read": lambda: [r.kind for r in process.maps()],
        PLAIN: lambda: plain_maps(pid),
    }
    if procmaps is not None:
        sides["procmaps.from_pid()"] = lambda: procmaps.from_pid(pid)
        sides["procmaps.from_pid(), every attribute read"] = lambda: [
            all_of_procmaps(r) for r in procmaps.from_pid(pid)
        ]
    found = compare("maps", size, sampled(sides, effort), effort)
    for name in list(sides)[1:]:
        yield found.row(name, RAW_MAPS, GOALS.get(name) if size >= LARGE else None)


GOALS = {"maps()": 2.0, "maps(), every attribute read": 2.5, "maps(), every kind read": 3.0}


def residency(effort: Effort) -> Iterator[Row | Skip]:
    for size in effort.sizes:
        with Target(size) as target:
            yield from residency_of(target, effort)


def residency_of(target: Target, effort: Effort) -> Iterator[Row]:
    pid, size, process = target.pid, target.regions, Process(target.pid)
    assert [r.rss for r in process.residency()] == [r.rss for r in process.smaps()]
    sides = {
        RAW_SMAPS: lambda: raw_read(pid, "smaps"),
        RAW_MAPS: lambda: raw_read(pid, "maps"),
        "residency()": lambda: list(process.residency()),
        PSUTIL: lambda: psutil.Process(pid).memory_maps(grouped=False),
    }
    found = compare("residency", size, sampled(sides, effort), effort)
    yield found.row("residency()", RAW_SMAPS, 0.45 if size >= LARGE else None)
    yield found.row("residency()", PSUTIL, 0.1 if size >= LARGE else None)
    yield found.row("residency()", RAW_MAPS)


def sampled(
    sides: dict[str, Callable[[], object]], effort: Effort
) -> dict[str, Callable[[], float]]:
    return {name: timed(run, effort) for name, run in sides.items()}
