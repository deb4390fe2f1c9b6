"""Summaries of heaps: their form in files, and which sentences the figures of two prove."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem import MiB, Snapshot, parse_maps
from procmem.snapshots.heaps import (
    ArenaSummary,
    HeapSummary,
    heap_diff,
    summary_from,
)
from procmem.view.diff import diff_table, snapshot_summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def heap(in_use: int = 0, free: int = 0, resident: int | None = None, trim: int = 0) -> HeapSummary:
    """A heap of one arena, in MiB."""
    resident = free if resident is None else resident
    figures = [MiB * one for one in (in_use + free, in_use, 0, free, resident, trim)]
    return HeapSummary("glibc malloc", (ArenaSummary(4096, True, *figures),), mmapped=0)


def words(before: HeapSummary, after: HeapSummary) -> list[str]:
    found = heap_diff(before, after)
    assert found is not None
    return found.words


def test_the_form_in_files_is_read_back() -> None:
    one = heap(5, 6)._replace(python_system=7, python_in_use=8, python_free=9, doubts=("a", "b"))
    assert summary_from(one.to_dict()) == one
    assert summary_from(None) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(allocator=5),
        lambda d: d.update(mmapped="many"),
        lambda d: d.update(python_free=1 << 64),
        lambda d: d.update(doubts=[5]),
        lambda d: d.update(arenas=None),
        lambda d: d["arenas"][0].update(main=1),
        lambda d: d["arenas"][0].update(free=True),
        lambda d: d["arenas"][0].pop("system"),
        lambda d: d.update(arenas=d["arenas"] * ((1 << 16) + 1)),
    ],
)
def test_what_is_no_summary_is_refused(spoil: Callable[[dict[str, Any]], object]) -> None:
    data = heap(1, 1).to_dict()
    spoil(data)
    with pytest.raises((TypeError, ValueError, KeyError)):
        summary_from(data)


def test_the_issue_s_example() -> None:
    (live, free) = words(heap(500), heap(88, 412, trim=400))
    assert live == "live memory shrank by 412 MiB: malloc has 412 MiB less in use"
    assert free == (
        "malloc has 412 MiB more free: memory was freed, not returned; malloc_trim(0) would "
        "return 400 MiB"
    )


def test_a_cause_is_said_only_if_the_figures_prove_it() -> None:
    assert words(heap(5, 5), heap(5, 5)) == []
    assert words(heap(5), heap(9)) == ["live memory grew by 4 MiB: malloc has 4 MiB more in use"]
    # Nothing was freed on balance: it came from the kernel.
    (taken,) = words(heap(5), heap(5, 4))
    assert "it took 4 MiB from the kernel" in taken
    # Some of each.
    _, both = words(heap(5), heap(3, 4))
    assert "2 MiB were freed, and 2 MiB taken from the kernel" in both
    _, again = words(heap(5, 5), heap(9, 1))
    assert again == "malloc has 4 MiB less free: it was used again"
    (gone,) = words(heap(5, 5), heap(5, 1))
    assert gone == "malloc returned 4 MiB to the kernel"
    (trimmed,) = words(heap(5, 5, trim=4), heap(5, 5, resident=1))
    assert trimmed.startswith("4 MiB of what malloc has free are not in memory any more")
    # It is gone, but not by a trim: swapped out, for example.
    assert words(heap(5, 5), heap(5, 5, resident=1)) == []
    _, partly = words(heap(9), heap(1, 8, resident=2))
    assert "2 MiB more of what is free is in memory" in partly


def test_a_doubt_is_said() -> None:
    sure, doubtful = heap(5), heap(9)._replace(doubts=("changed",))
    assert words(sure, doubtful)[-1].startswith("the figures of malloc are not certain")
    assert words(sure, sure._replace(doubts=("changed",))) == []


def test_other_allocators_are_not_compared() -> None:
    assert heap_diff(heap(5), None) is None
    assert heap_diff(heap(5), heap(5)._replace(allocator=None)) is None
    other = heap(5).arenas[0]._replace(address=8192)
    assert heap_diff(heap(5), heap(5)._replace(arenas=(other,))) is None


def test_what_is_not_known_stays_none() -> None:
    found = heap_diff(heap(5)._replace(mmapped=None), heap(5))
    assert found is not None
    assert (found.mmapped, found.python_in_use) == (None, None)
    assert not found


def test_tables_have_it() -> None:
    regions = parse_maps(b"10000000-1000a000 rw-p 00000000 00:00 0 [heap]\n")
    before, after = Snapshot(regions, heap=heap(500)), Snapshot(regions, heap=heap(88, 412, trim=9))
    found = after - before
    assert found
    assert not found.changes
    text = " ".join(diff_table(found).split())
    assert "Malloc has 412 MiB more free: memory was freed, not returned;" in text
    assert found.to_dict()["heap"]["why"] == words(heap(500), heap(88, 412, trim=9))
    assert (before - before).heap is not None
    assert not before - before
    summary = " ".join(snapshot_summary(after, unit="MiB").split())
    assert "malloc 88.0 MiB in use, 412.0 MiB free (412.0 MiB in RSS)" in summary
