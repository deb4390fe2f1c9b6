"""The heap in a notebook: the parts add up as those of the Heap do, doubts are shown."""

from __future__ import annotations

import pytest

import procmem
from procmem.heap.arena import Trim
from procmem.heap.heap import Heap
from tests.support.html import number, page_of, rows_below


def test_a_live_heap() -> None:
    heap = procmem.Process().heap()
    page = page_of(heap)
    *rows, footer = rows_below(page, "Part")
    listed = [one for one in heap.parts if one.size or one.resident]
    assert number(footer[1]) == pytest.approx(sum(one.size for one in listed), abs=52)
    for row, part in zip(rows, listed, strict=False):
        assert row[0].rstrip("?") == part.name
        assert row[0].endswith("?") == part.guess
        # To a tenth of a KiB: chunks are no whole KiB.
        assert number(row[1]) == pytest.approx(part.size, abs=52)
        assert number(row[2]) == pytest.approx(part.resident, abs=52)
    *_, total = rows_below(page, "Arena")
    assert number(total[1]) == pytest.approx(heap.system, abs=52)
    assert number(total[2]) == pytest.approx(heap.in_use, abs=52)
    assert number(total[-1]) == pytest.approx(heap.trimmable, abs=52)
    for doubt in heap.doubts:
        assert doubt in page.text


def test_an_unknown_allocator() -> None:
    none = Heap([], mmapped=None, mmaps=None, python=None, doubts=["a <doubt>"],
                trim=Trim(0, ()), sizes={}, pid=7, rss=None)  # fmt: skip
    page = page_of(none)
    assert "allocator unknown" in page.text
    assert "Not certain: a <doubt>." in page.text
