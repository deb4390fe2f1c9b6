from __future__ import annotations

import os
from array import array

import pytest

import procmem
from procmem.heap.pinned import HeapPages
from tests.support.allocating import Allocating, Shaped, built

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

GLIBC = "CS_GNU_LIBC_VERSION" in os.confstr_names
live = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


def test_pages_by_what_is_in_use_on_them() -> None:
    uses = array("Q", [0x1000, 48, 1, 0x1010, 48, 0x3000, 4000, 9, 0x2FF0, 64])
    pages = HeapPages(uses, page_size=4096, resident=10, whole=3, returned=2)
    assert (pages.partly, pages.free, len(pages)) == (2, 5, 2)
    assert [bucket[2:] for bucket in pages.by_use()] == [
        (5, 5 * 4096),
        (1, 4048),
        (0, 0),
        (0, 0),
        (1, 96),
        (3, 0),
    ]
    assert [page.address for page in pages.held()] == [0x1000]
    assert pages.holders() == [(48, 1)]
    assert pages.to_dict()["partly"][1]["chunks"] == 9


@live
@pytest.mark.parametrize("flags", [(), ("-m32",)])
def test_pages_that_one_small_chunk_keeps(flags: tuple[str, ...], tmp_path: Path) -> None:
    with Shaped(tmp_path, "pages", *flags) as target:
        heap = procmem.Process(target.pid).heap(pages=True)
        assert heap.doubts == ()
        assert heap.pages is not None
        ((size, count),) = heap.pages.holders(64)
        assert size == 48
        assert count == target.said.number
        for page in heap.pages.held(64):
            assert page.address <= page.chunk < page.chunk + page.size <= page.address + 4096


@live
def test_pages_add_up(tmp_path: Path) -> None:
    with Allocating(built(str(tmp_path)), 3) as target:
        target.go(5, 20000)
        heap = procmem.Process(target.pid).heap(pages=True)
        pages = heap.pages
        assert pages is not None
        assert sum(bucket.pages for bucket in pages.by_use()) == pages.resident
        assert pages.returned * 4096 == heap.trimmable == len(list(heap.trim().pages())) * 4096
        assert pages.returned <= pages.free
        assert sum(page.in_use for page in pages) + pages.whole * 4096 <= heap.in_use
        target.ask("trim")
        after = procmem.Process(target.pid).heap(pages=True).pages
        assert after is not None
        assert pages.resident - after.resident == pages.returned
        # A trim changes nothing in use.
        assert (after.partly, after.whole) == (pages.partly, pages.whole)


@live
def test_the_chunk_at_the_top_that_keeps_all_below_it(tmp_path: Path) -> None:
    with Shaped(tmp_path, "top") as target:
        (arena,) = procmem.Process(target.pid).heap().arenas
        hole = arena.holes[0]
        assert hole.size == target.said.number
        assert (hole.above, hole.above_bytes) == (1, 48)
        assert hole.resident == hole.size
