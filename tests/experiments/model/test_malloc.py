"""glibc's malloc: the heap, the threshold, what is given back."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from benchmarks.agreement import LibcWalk
from procmem.errors import BadArgument
from procmem.experiments.specimen.libc import verdict
from tests.support.mallocs import PAGE, K, at, good, rss, vsz

if TYPE_CHECKING:
    from procmem.experiments import Specimen

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != PAGE, reason="the figures here are those of 4 KiB pages"
)


def test_the_first_malloc_buys_a_heap(glibc: Specimen) -> None:
    step = glibc.malloc(1)
    assert (vsz(step), rss(step), step.delta.regions, step.delta.minor) == (132, 4, 1, 1)
    (heap,) = (region for region in glibc.process.maps() if region.pathname == "[heap]")
    assert heap.size == 132 * K
    # Behind the thread's cache of freed chunks: 0x290 bytes.
    assert at(step) == heap.start + verdict().learned.tcache + 16


def test_the_threshold_is_131_049_bytes(glibc: Specimen) -> None:
    glibc.malloc(1)
    under = glibc.malloc(131_048)
    over = glibc.malloc(131_049)
    heap = glibc.process.region_at(at(under))
    assert heap is not None
    assert heap.pathname == "[heap]"
    assert (vsz(over), rss(over)) == (132, 4)
    assert at(over) % PAGE == 16
    assert at(over) not in heap


def test_freeing_a_mapping_moves_the_threshold(glibc: Specimen) -> None:
    # A heap for the thread's cache comes with it.
    first = glibc.malloc(200_000)
    assert vsz(first) == 132 + 196
    assert vsz(glibc.free(at(first))) == -196
    again = glibc.malloc(200_000)
    assert vsz(again) == 192
    heap = glibc.process.region_at(at(again))
    assert heap is not None
    assert heap.pathname == "[heap]"
    # It moves for all sizes up to that one, and for none above.
    assert vsz(glibc.malloc(210_000)) == 208


def test_the_threshold_ends_at_32_mib(glibc: Specimen) -> None:
    huge = glibc.malloc(40 << 20)
    good(glibc.free(at(huge)))
    assert vsz(glibc.malloc(200_000)) == 196


def test_ten_of_32_kib_take_few_brk(glibc: Specimen) -> None:
    glibc.malloc(1)
    steps = [glibc.malloc(32 * K) for _ in range(10)]
    assert [vsz(one) for one in steps] == [0, 0, 0, 0, 160, 0, 0, 0, 0, 160]
    assert [vsz(glibc.free(at(one))) for one in steps[:-1]] == [0] * 9
    assert vsz(glibc.free(at(steps[-1]))) == -320
    assert vsz(glibc.trim()) == -128


def test_ten_of_256_kib_take_a_mapping_each(glibc: Specimen) -> None:
    glibc.malloc(1)
    steps = [glibc.malloc(256 * K) for _ in range(10)]
    assert [vsz(one) for one in steps] == [260] * 10
    assert [rss(one) for one in steps] == [4] * 10
    # Side by side, so the kernel shows one region: bytes tell, lines don't.
    assert sum(one.delta.regions for one in steps) <= 1
    assert vsz(glibc.free(at(steps[4]))) == -260


def test_what_malloc_gave_is_touched_page_by_page(glibc: Specimen) -> None:
    block = glibc.malloc(1 << 20)
    touched = good(glibc.touch(at(block), pages=256))
    # The first of them malloc has written to.
    assert (touched.delta.rss, touched.delta.minor) == (255 * PAGE, 255)
    assert rss(glibc.free(at(block))) == -1024


def test_calloc_leaves_fresh_memory_untouched(glibc: Specimen) -> None:
    glibc.malloc(1)
    assert rss(glibc.calloc(1000, 1000)) == 4
    block = glibc.malloc(100_000)
    good(glibc.free(at(block)))
    # From the heap it may be dirty, and is cleared.
    assert rss(glibc.calloc(100, 1000)) >= 92


def test_realloc_of_a_mapping_moves_no_page(glibc: Specimen) -> None:
    block = glibc.malloc(1 << 20)
    good(glibc.touch(at(block), pages=256))
    grown = glibc.realloc(at(block), 4 << 20)
    assert (vsz(grown), rss(grown)) == (3072, 0)
    assert vsz(glibc.realloc(at(grown), 1 << 19)) == -3584
    with pytest.raises(BadArgument, match="free"):
        glibc.realloc(at(grown), 0)


def test_holes_in_the_heap_are_given_back_by_trim(glibc: Specimen) -> None:
    blocks = [glibc.malloc(100_000) for _ in range(3)]
    good(glibc.touch(at(blocks[1]), pages=24))
    good(glibc.free(at(blocks[1])))
    trimmed = glibc.trim()
    assert rss(trimmed) < -80
    assert trimmed.result == 1


def test_an_end_of_minimal_size_is_miscounted(glibc: Specimen) -> None:
    """glibc 2.36: malloc_trim asks for a page more where nothing is left at the heap's end."""
    first = glibc.malloc(24)
    left = 132 * K - (at(first) - 16 + 32 - (at(first) & -PAGE))
    good(glibc.malloc(left - 32 - 8))
    trimmed = glibc.trim()
    assert vsz(trimmed) == 4
    assert "miscounts" in trimmed.why


@pytest.mark.parametrize("seed", range(4))
def test_random_steps_agree(glibc: Specimen, seed: int) -> None:
    walk = LibcWalk(seed)
    try:
        for step in islice(walk, 1500):
            good(step)
    finally:
        walk.close()
