from __future__ import annotations

import os

import pytest

import procmem
from tests.support.allocating import Allocating
from tests.support.plotted import plotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.allocating import MallocInfo

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)


PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

MOST_RESIZED = 100_000
"""More often than the program calls realloc(3): see MallocInfo.hblkhd."""


def agree(heap: procmem.Heap, info: MallocInfo) -> None:
    assert heap.doubts == ()
    assert heap.certain
    assert [(a.system, a.fast, a.free + a.top) for a in heap.arenas] == list(info.arenas)
    assert heap.in_use + heap.tcache == info.uordblks
    assert heap.free == info.fordblks
    assert heap.mmaps == info.hblks
    if len(heap.mapped) < info.hblks and info.hblkhd != info.mapped:
        # Not all are found, and the count of malloc is too large.
        assert heap.mmapped == (None if info.hblkhd % PAGE_SIZE else info.hblkhd)
    else:
        assert heap.mmapped == info.mapped
    assert info.hblkhd in range(info.mapped, info.mapped + 16 * MOST_RESIZED, 16)
    assert heap.arenas[0].top == info.keepcost
    sizes = heap.by_size()
    assert sum(one.size * one.free for one in sizes) == sum(a.free + a.fast for a in heap.arenas)
    assert sum(one.in_use for one in sizes) == sum(a.chunks or 0 for a in heap.arenas)


@pytest.mark.parametrize("threads", [0, 1, 3, 9])
def test_each_arena_equals_what_malloc_says_of_itself(program: Path, threads: int) -> None:
    with Allocating(program, threads) as target:
        process = procmem.Process(target.pid)
        for seed in range(6):
            target.go(seed, [10, 300, 5000, 20000][seed % 4])
            agree(process.heap(), target.info())


def test_a_plot_has_the_parts_of_each_arena(program: Path) -> None:
    with Allocating(program, 2) as target:
        target.go(1, 300)
        heap = procmem.Process(target.pid).heap()
    axes = plotted(heap.plot)
    widths = [bar.get_width() for bar in axes.patches]
    count = len(heap.arenas)
    assert len(widths) == 5 * count
    for at, arena in enumerate(heap.arenas):
        assert sum(widths[at::count]) == arena.system
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "main arena"
