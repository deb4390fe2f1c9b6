"""Comparing, saving and loading snapshots, against taking one with smaps."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compare import Row, compare, timed
from benchmarks.targets import Target
from procmem import Process, diff, load, parse_smaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort
    from procmem import MeasuredRegion, RegionTable, Snapshot

__all__ = ["snapshots"]

TAKEN = "snapshot()"


def snapshots(effort: Effort) -> Iterator[Row]:
    for size in effort.sizes:
        with Target(size) as target, tempfile.TemporaryDirectory() as directory:
            yield from of_target(target, effort, Path(directory, "one.snap"))


def of_target(target: Target, effort: Effort, path: Path) -> Iterator[Row]:
    process = Process(target.pid)
    text = Path(f"/proc/{target.pid}/smaps").read_bytes()
    before = process.snapshot()
    same = process.snapshot()
    few, all_of_them = (
        with_totals(before, changed(text, 100)),
        with_totals(before, changed(text, 1)),
    )
    none = with_totals(before, parse_smaps(b""))
    assert not diff(before, same).changes
    assert len(diff(before, few).changes) == -(-target.regions // 100)
    assert len(diff(before, all_of_them).changes) == target.regions
    assert len(diff(none, before).changes) == target.regions
    before.save(path)
    assert load(path) == before
    assert path.stat().st_size <= 40 * target.regions + 4096
    sides: dict[str, Callable[[], object]] = {
        TAKEN: process.snapshot,
        "diff(), nothing changed": lambda: sums(before, same),
        "diff(), one region in 100 touched": lambda: sums(before, few),
        "diff(), all regions touched": lambda: sums(before, all_of_them),
        "diff(), all regions mapped": lambda: sums(none, before),
        "the kinds of all changes, one in 100 touched": lambda: kinds(before, few),
        "the kinds of all changes, all touched": lambda: kinds(before, all_of_them),
        "the causes of all changes, one in 100 touched": lambda: causes(before, few),
        "the causes of all changes, all touched": lambda: causes(before, all_of_them),
        "the causes of all changes, all mapped": lambda: causes(none, before),
        "save()": lambda: before.save(path),
        "load()": lambda: load(path),
    }
    samples = {name: timed(run, effort) for name, run in sides.items()}
    found = compare("snapshots", target.regions, samples, effort)
    for name in list(sides)[1:]:
        goal = 0.5 if name.startswith("diff(), ") else None
        yield found.row(name, TAKEN, goal if target.regions >= 2000 else None)


def sums(before: Snapshot, after: Snapshot) -> object:
    """A diff with the totals of all changes."""
    found = after - before
    return found.vsz, found.rss, found.minor, found.remainder, bool(found)


def kinds(before: Snapshot, after: Snapshot) -> object:
    return [(change.kinds, change.vsz, change.rss) for change in (after - before).changes]


def causes(before: Snapshot, after: Snapshot) -> object:
    return [change.cause for change in (after - before).changes]


def with_totals(whole: Snapshot, regions: RegionTable[MeasuredRegion]) -> Snapshot:
    """The snapshot with other regions, and with the totals of `whole`."""
    return replace(whole, regions=regions)


def changed(text: bytes, step: int) -> RegionTable[MeasuredRegion]:
    """The same regions; every `step`-th has 4 KiB more of Rss."""
    lines = text.split(b"\n")
    places = [place for place, line in enumerate(lines) if line.startswith(b"Rss:")]
    for place in places[::step]:
        lines[place] = b"Rss: %d kB" % (int(lines[place].split()[1]) + 4)
    return parse_smaps(b"\n".join(lines))
