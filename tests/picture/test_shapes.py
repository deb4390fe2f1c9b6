"""Rows that pictures are drawn from: which regions are drawn as one."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from procmem.picture.shapes import (
    CHANGED,
    GONE,
    NEW,
    MapRow,
    MapSpan,
    SizeBar,
    added,
    largest_bars,
    map_rows,
    marks_in,
)

PAGE = 4096


def span(start: int, pages: int, name: str = "anon", **more: object) -> MapSpan:
    made = MapSpan(start * PAGE, (start + pages) * PAGE, "anon", name, resident=pages * PAGE // 2)
    return made._replace(**more)  # type: ignore[arg-type]


def test_few_regions_have_a_row_each_and_gaps_their_size() -> None:
    rows = map_rows([span(1, 2, "a"), span(3, 1, "b"), span(10, 5, "c")])
    assert [row.gap for row in rows] == [0, 0, 6 * PAGE]
    assert [row.after[0].names for row in rows] == [("a",), ("b",), ("c",)]
    assert [row.after[0].size for row in rows] == [2 * PAGE, PAGE, 5 * PAGE]
    assert not any(row.before for row in rows)


def test_nothing_is_nothing() -> None:
    assert map_rows([]) == []
    assert marks_in([]) == ()


@pytest.mark.parametrize("count", [41, 1000, 30_000])
def test_many_regions_fit_and_none_is_lost(count: int) -> None:
    numbers = random.Random(count)
    regions, at = [], 1
    for number in range(count):
        at += numbers.choice((0, 0, 0, 1, 1 << 20))
        regions.append(span(at, pages := numbers.randrange(1, 50), f"n{number % 7}"))
        at += pages
    rows = map_rows(regions, most=40)
    assert len(rows) == 40
    blocks = [block for row in rows for block in row.after]
    assert sum(block.regions for block in blocks) == count
    assert sum(block.size for block in blocks) == added(one.end - one.start for one in regions)
    assert added(block.resident for block in blocks) == added(one.resident for one in regions)
    assert blocks[0].start == regions[0].start
    assert blocks[-1].end == regions[-1].end
    edges = [(one.end, other.start) for one, other in pairwise(blocks)]
    assert [row.gap for row in rows[1:]] == [start - end for end, start in edges]


def test_the_segments_of_one_file_are_joined_first() -> None:
    libraries = [span(100 * n + part, 1, f"lib{n}") for n in range(1, 11) for part in range(5)]
    rows = map_rows(libraries, most=10)
    assert [row.after[0].names for row in rows] == [(f"lib{n}",) for n in range(1, 11)]
    assert {row.after[0].regions for row in rows} == {5}


def test_a_change_keeps_its_row_among_many_regions() -> None:
    regions = [span(2 * n, 1, "same") for n in range(5000)]
    regions[2500] = span(5000, 1, "same", mark=NEW, note="mapped")
    rows = map_rows(regions, most=10)
    [marked] = [row for row in rows if row.changed]
    assert marked.after[0].regions == 1
    assert marked.after[0].note == "mapped"
    assert marks_in(rows) == (NEW,)


def test_thousands_of_equal_changes_are_drawn_as_one() -> None:
    regions = [span(2 * n, 1, mark=NEW, note="mapped") for n in range(5000)]
    rows = map_rows([span(0, 1), *regions[1:]], most=4)
    assert len(rows) == 4
    blocks = [block for row in rows for block in row.after if block.mark]
    assert {block.mark for block in blocks} == {NEW}
    assert sum(block.regions for block in blocks) == 4999
    assert any(block.note.endswith("regions new") for block in blocks)


def test_both_snapshots_are_aligned_by_address() -> None:
    before = [span(1, 4, "a"), span(100, 10, "heap", mark=CHANGED), span(200, 1, "x", mark=GONE)]
    after = [span(1, 4, "a"), span(100, 15, "heap", mark=CHANGED), span(300, 1, "y", mark=NEW)]
    rows = map_rows(after, before)
    names = [([b.names[0] for b in row.before], [b.names[0] for b in row.after]) for row in rows]
    assert names == [(["a"], ["a"]), (["heap"], ["heap"]), (["x"], []), ([], ["y"])]
    assert marks_in(rows) == (NEW, GONE, CHANGED)


def test_a_split_region_stands_beside_its_parts() -> None:
    parts = [span(10, 3, "a", mark=CHANGED), span(13, 2, "b", mark=CHANGED), span(15, 1, "c")]
    [row] = map_rows(parts, [span(10, 6, "whole", mark=CHANGED)])
    assert [block.names[0] for block in row.before] == ["whole"]
    assert [block.names[0] for block in row.after] == ["a", "b", "c"]
    many = [span(10 + at, 1, f"p{at}") for at in range(40)]
    [row] = map_rows(many, [span(10, 40, "whole")])
    assert [block.regions for block in row.after] == [40]


def test_what_was_not_read_of_one_is_not_known_of_all() -> None:
    rows = map_rows([span(1, 1), span(2, 1, resident=None)], most=1)
    assert rows[0].after[0].resident is None
    assert added([1, None]) is None
    assert added([]) == 0


def test_overlapping_regions_of_a_torn_reading_are_in_one_row() -> None:
    [row] = map_rows([span(1, 5, "a"), span(3, 5, "b")])
    assert [block.names[0] for block in row.after] == ["a", "b"]


def test_many_bars_end_in_a_sum() -> None:
    bars = [SizeBar(f"k{n}", "anon", (n, None if n == 3 else n)) for n in range(30, 0, -1)]
    shown = largest_bars(bars, 5)
    assert shown[:4] == bars[:4]
    assert shown[4] == SizeBar("26 others", "other", (sum(range(1, 27)), None))
    assert largest_bars(bars[:5], 5) == bars[:5]
    pairs = [bar._replace(before=bar.values) for bar in bars]
    assert largest_bars(pairs, 5)[4].before == shown[4].values


def test_a_row_without_marks_is_unchanged() -> None:
    assert not MapRow(0, ()).changed
