"""Snapshots with a heap: what is kept of it, and what a diff proves by it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import Diff, MiB, Process, Snapshot
from procmem.experiments import Specimen
from tests.support.holding import Holding, built_holding
from tests.support.snapshots import same

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GLIBC = "CS_GNU_LIBC_VERSION" in os.confstr_names
pytestmark = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


@pytest.fixture
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holding]:
    with Holding(built_holding(str(tmp_path_factory.getbasetemp()))) as started:
        yield started


def anonymous(change: Diff) -> int:
    """The change of RSS without files: what is called first may bring in pages of the library."""
    return sum(one.rss or 0 for one in change.changes if not one.region.inode)


def test_the_summary_is_that_of_the_heap(target: Holding) -> None:
    target.ask("leak 4")
    process = Process(target.pid)
    heap = process.heap()
    kept = process.snapshot(heap=True).heap
    assert kept is not None
    assert kept.certain
    for name in ("system", "in_use", "tcache", "free", "resident_free", "trimmable"):
        assert getattr(kept, name) == getattr(heap, name), name
    assert kept.mmapped == heap.mmapped
    assert [one.address for one in kept.arenas] == [one.address for one in heap.arenas]
    assert process.snapshot().heap is None


def test_it_is_saved_and_loaded_in_every_form(target: Holding, tmp_path: Path) -> None:
    one = Process(target.pid).snapshot("maps", heap=True)
    assert one.heap is not None
    same(Snapshot.from_json(one.to_json()), one)
    for name in ("a.snap", "a.json"):
        one.save(tmp_path / name)
        same(procmem.load(tmp_path / name), one)


def test_a_leak_is_live(target: Holding) -> None:
    before, after = target.around("leak 8")
    found = (after - before).heap
    assert found is not None
    assert found.live == pytest.approx(8 * MiB, rel=0.1)
    (words,) = [one for one in found.words if "live" in one]
    assert words.startswith("live memory grew by 8")
    assert not any("freed" in one for one in found.words)


def test_freed_and_not_returned(target: Holding) -> None:
    target.ask("take 16")
    before, after = target.around("drop")
    found = (after - before).heap
    assert found is not None
    assert found.free + found.tcache == -found.in_use > 15 * MiB
    assert found.words[0].startswith("live memory shrank by")
    assert (
        "more free: memory was freed, not returned; malloc_trim(0) would return" in (found.words[1])
    )
    assert anonymous(after - before) == 0
    # As the target's own malloc_trim(0) then confirms.
    returned_before, returned = target.around("trim")
    trimmed = returned - returned_before
    assert anonymous(trimmed) == -found.trimmable_now
    assert trimmed.heap is not None
    assert any(
        "are not in memory any more" in one or "returned" in one for one in trimmed.heap.words
    )
    assert not any("freed" in one for one in trimmed.heap.words)


def test_free_memory_that_is_used_again(target: Holding) -> None:
    target.ask("take 16")
    target.ask("drop")
    before, after = target.around("take 8")
    found = (after - before).heap
    assert found is not None
    assert found.words[0].startswith("live memory grew by")
    assert "less free: it was used again" in found.words[1]


def test_memory_that_was_taken_and_freed_in_between(target: Holding) -> None:
    before, after = target.around("take 16", "drop")
    found = (after - before).heap
    assert found is not None
    (words,) = found.words
    assert "more free: it took" in words
    assert "memory was freed, not returned" not in words


def test_two_processes_have_no_history(target: Holding) -> None:
    mine = Process(target.pid).snapshot("maps", heap=True)
    with Holding(target.program) as other:
        theirs = Process(other.pid).snapshot("maps", heap=True)
    assert (theirs - mine).heap is None


def test_what_has_no_heap_says_why() -> None:
    with Specimen() as specimen:
        if specimen.kind != "program":
            pytest.skip("the helper is a child of this process, which has a heap")
        one = specimen.process.snapshot("maps", heap=True)
    assert one.heap is None
    assert "no heap" in one.unavailable["heap"]
