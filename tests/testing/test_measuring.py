"""The fixture `memory`: figures of a part of a test, against what the part mapped and touched."""

from __future__ import annotations

import gc
import mmap
from typing import TYPE_CHECKING

import pytest

from procmem import calls
from procmem.testing.measuring import MemoryOfTest

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = mmap.PAGESIZE
ANON = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

ARENAS = 4 << 20
"""The interpreter itself may map, or give back, arenas of 1 MiB meanwhile."""


@pytest.fixture
def measuring() -> Iterator[MemoryOfTest]:
    made = MemoryOfTest()
    # What other tests have left is not freed while this one measures.
    gc.collect()
    gc.disable()
    try:
        yield made
    finally:
        gc.enable()
        made.end()


def test_what_was_mapped_and_touched(measuring: MemoryOfTest) -> None:
    with measuring.measure() as used:
        area = mmap.mmap(-1, 20_000 * PAGE, flags=ANON)
        for page in range(10_000):
            area[page * PAGE] = 1
    assert used.vsz is not None
    assert abs(used.vsz - 20_000 * PAGE) <= ARENAS
    assert used.own is not None
    assert abs(used.own - 10_000 * PAGE) <= ARENAS
    assert "mapped" in used.why
    area.close()


def test_what_was_given_back(measuring: MemoryOfTest) -> None:
    area = mmap.mmap(-1, 10_000 * PAGE, flags=ANON)
    for page in range(10_000):
        area[page * PAGE] = 1
    with measuring.measure() as used:
        area.close()
    assert used.own is not None
    assert abs(used.own + 10_000 * PAGE) <= ARENAS
    assert "unmapped" in used.why


def test_one_call(measuring: MemoryOfTest) -> None:
    found = measuring.bracket(calls.mmap, pages=7)
    assert found.delta.vsz == 7 * PAGE
    found.result.close()
