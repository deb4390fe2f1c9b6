"""Diffs of random sequences of memory calls: they tell what was done, page by page.

python -m benchmarks.sequences runs thousands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.sequences import Mismatch, Page, Sequences, agrees
from procmem import Faults, Process, Snapshot
from procmem.experiments import Specimen
from tests.support.snapshots import mirrored, of_file, table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", range(4))
def test_a_diff_tells_what_was_done(seed: int, tmp_path: Path) -> None:
    sequences = Sequences(seed, str(tmp_path))
    for number in range(40):
        sequences.run(number)


@pytest.mark.slow
def test_thousands_of_sequences(tmp_path: Path) -> None:
    sequences = Sequences(0, str(tmp_path))
    for number in range(5_000):
        sequences.run(number)


def test_memory_moved_over_a_part_of_its_like(tmp_path: Path) -> None:
    Sequences(0, str(tmp_path)).run(1610)


def test_the_model_finds_what_is_wrong() -> None:
    with Specimen() as s:
        process = Process(s.pid)
        before = process.snapshot()
        area = s.mmap(pages=4).mapping
        assert area is not None
        s.touch(area, pages=1)
        found = process.snapshot() - before
        first = area.start // area.page_size
    pages = {page: Page("rw-p", resident=page == first) for page in range(first, first + 4)}
    agrees(found, {}, pages)
    for page, wrong in (
        (first, Page("rw-p")),
        (first + 1, Page("rw-p", resident=True)),
        (first + 4, Page("rw-p")),
    ):
        with pytest.raises(Mismatch):
            agrees(found, {}, pages | {page: wrong})
    with pytest.raises(Mismatch):
        agrees(found, {first: Page("r--p")}, pages)


@pytest.mark.parametrize("inode", [0, 5])
def test_a_diff_against_a_core_is_a_mirror_too(inode: int) -> None:
    """A core's files have no inodes: what is of a file may not depend on which side is asked."""
    counters = {"Private_Dirty": 0, "Private_Clean": 0, "Shared_Dirty": 0, "Shared_Clean": 0}
    one = table(of_file(0, 9, rss=9, inode=inode, Anonymous=0, **counters))
    counters["Private_Dirty"] = 8 * 4096
    other = table(of_file(0, 9, rss=9, inode=5 - inode, Anonymous=8 * 4096, **counters))
    later = Snapshot(other.regions, faults=Faults(20, 0), identity=one.identity)
    found = later - one
    mirrored(found, one - later)
    assert [c.copied for c in found.changes] == [8 * 4096]
    assert [c.minor for c in found.changes] == [8]
