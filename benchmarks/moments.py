"""Diffs, saving and loading of snapshots against the taking of one with smaps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compare import Row, compare, timed
from benchmarks.targets import Target
from procmem import Process, Snapshot, diff, load, parse_smaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["moments"]

TAKEN = "snapshot()"


def moments(effort: Effort) -> Iterator[Row]:
    for size in effort.sizes:
        with Target(size) as target, tempfile.TemporaryDirectory() as directory:
            yield from of_target(target, effort, Path(directory, "one.snap"))


def of_target(target: Target, effort: Effort, path: Path) -> Iterator[Row]:
    process = Process(target.pid)
    text = Path(f"/proc/{target.pid}/smaps").read_bytes()
    before = process.snapshot()
    same = process.snapshot()
    few, all_of_them = changed(text, 100), changed(text, 1)
    assert not diff(before, same).changes
    assert len(diff(before, few).changes) == -(-target.regions // 100)
    assert len(diff(before, all_of_them).changes) == target.regions
    before.save(path)
    assert load(path) == before
    assert path.stat().st_size <= 40 * target.regions + 4096
    sides: dict[str, Callable[[], object]] = {
        TAKEN: process.snapshot,
        "diff(), nothing changed": lambda: diff(before, same),
        "diff(), one region in 100 changed": lambda: diff(before, few),
        "the same, with causes": lambda: diff(before, few).changes,
        "diff(), all regions changed": lambda: diff(before, all_of_them),
        "save()": lambda: before.save(path),
        "load()": lambda: load(path),
    }
    samples = {name: timed(run, effort) for name, run in sides.items()}
    found = compare("moments", target.regions, samples, effort)
    for name in list(sides)[1:]:
        goal = 0.5 if name.startswith("diff(), ") and "all" not in name else None
        yield found.row(name, TAKEN, goal if target.regions >= 2000 else None)


def changed(text: bytes, step: int) -> Snapshot:
    """The same process with another Rss in every so many regions."""
    lines = text.split(b"\n")
    places = [place for place, line in enumerate(lines) if line.startswith(b"Rss:")]
    for place in places[::step]:
        lines[place] = b"Rss: %d kB" % (int(lines[place].split()[1]) + 4)
    return Snapshot(parse_smaps(b"\n".join(lines)))
