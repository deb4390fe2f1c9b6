from __future__ import annotations

import os
import struct

import pytest

import procmem
from procmem.heap.layout import find_parameters, find_states
from tests.support.allocating import Shaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

GLIBC = "CS_GNU_LIBC_VERSION" in os.confstr_names
live = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX, ARENA_TEST, ARENA_MAX = -1, -2, -3, -4, -7, -8
"""Parameters of mallopt(3): malloc.h."""


def test_arbitrary_memory_holds_no_arena() -> None:
    for seed in range(20):
        data = os.urandom(1 << 14) if seed else bytes(1 << 14)
        assert list(find_states(data, 0x7F0000000000, 8)) == []
        assert list(find_states(data, 0x8000000, 4)) == []
        assert find_parameters(data, 8, [(0x555555559000, 0x555555590000)]) is None


@pytest.mark.parametrize("heap", [0x555555559000, 0])
@pytest.mark.parametrize("mmaps, mmapped, most", [
    (0, 0, 0), (2, 0x301000, 0x501000), (2, 0x301060, 0x501040), (0, 96, 0x501040),
])  # fmt: skip
def test_parameters_of_glibc_2_43(mmaps: int, mmapped: int, most: int, heap: int) -> None:
    """Its count of bytes grows by 16 with each realloc(3) that resizes a mapping.

    A program that has only mappings has no heap.
    """
    threshold = 0x100FF0 if most else 128 << 10
    settings = [2 * threshold if most else threshold, 128 << 10, threshold, 8, 0, 3, 0, 0]
    data = struct.pack(
        "=40x8Q5i4x3Q40x", *settings, 0, mmaps, 65536, 5 if most else 0, 0, mmapped, most, heap
    )
    found = find_parameters(data, 8, [(0x555555559000, 0x555555659000)])
    assert found == (mmaps, mmapped, heap, threshold)


def test_memory_that_only_has_empty_bins_is_no_arena() -> None:
    base = 0x7F0000000000
    words = [base + (index // 2 * 2 - 2) * 8 for index in range(2048)]
    data = b"".join(word.to_bytes(8, "little") for word in words)
    for found in find_states(data, base, 8):
        assert found.system <= found.most_system


def agrees(target: Shaped) -> None:
    said = target.said
    heap = procmem.Process(target.pid).heap()
    assert heap.doubts == ()
    assert (heap.mmaps, heap.mmapped) == (said.hblks, said.hblkhd)
    assert len(heap.mapped) == said.hblks
    assert heap.arenas[0].system == said.arena
    assert heap.in_use + heap.tcache == said.uordblks
    assert heap.free == said.fordblks


@live
@pytest.mark.parametrize("flags", [(), ("-static",), ("-m32",)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {MMAP_THRESHOLD: 65536},
        {MMAP_THRESHOLD: 500_000},
        {MMAP_THRESHOLD: 4096},
        {MMAP_THRESHOLD: 0},
        {TRIM_THRESHOLD: 0},
        {TRIM_THRESHOLD: -1},
        {TRIM_THRESHOLD: 10 << 20, MMAP_THRESHOLD: 1 << 18},
        {TOP_PAD: 1 << 20},
        {MMAP_MAX: 0},
        {MMAP_MAX: 1},
        {ARENA_MAX: 1},
        {TRIM_THRESHOLD: 5000, TOP_PAD: 0, MMAP_THRESHOLD: 4096, MMAP_MAX: 100, ARENA_MAX: 2},
    ],
    ids=str,
)
def test_settings_of_mallopt(
    options: dict[int, int], flags: tuple[str, ...], tmp_path: Path
) -> None:
    with Shaped(tmp_path, "mixed", *flags, options=options) as target:
        agrees(target)


@live
@pytest.mark.parametrize(
    "tunables",
    [
        "glibc.malloc.mmap_threshold=65536",
        "glibc.malloc.mmap_threshold=400000:glibc.malloc.trim_threshold=1",
        "glibc.malloc.trim_threshold=100000000",
        "glibc.malloc.top_pad=0",
        "glibc.malloc.mmap_max=0",
        "glibc.malloc.arena_max=1:glibc.malloc.arena_test=3",
        "glibc.malloc.hugetlb=1",
        "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=200000",
        "glibc.malloc.tcache_count=100",
        "glibc.malloc.mxfast=0:glibc.malloc.mmap_threshold=131072",
    ],
)
def test_settings_of_tunables(tunables: str, tmp_path: Path) -> None:
    with Shaped(tmp_path, "mixed", tunables=tunables) as target:
        agrees(target)
