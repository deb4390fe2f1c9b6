from __future__ import annotations

import os

import pytest

import procmem
from procmem.heap.parts import HeapPart, HeapSpan, parts_of
from tests.support.allocating import Allocating, Shaped, built
from tests.support.still import at_rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

glibc = pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc")


def test_parts_of_no_heap_are_those_of_the_regions() -> None:
    table = procmem.Process().residency()
    parts = parts_of(list(table), [], [])
    assert sum(part.size for part in parts) == sum(r.size for r in table if r.start >> 63 == 0)
    assert sum(part.resident for part in parts) == sum(r.rss or 0 for r in table)


def test_what_is_known_inside_a_region_is_taken_off() -> None:
    table = procmem.Process().residency()
    largest = max(table, key=lambda region: region.size)
    span = HeapSpan(largest.start, largest.start + 4096, 0, "python")
    inside = HeapPart("known", 4096, 0, "")
    parts = parts_of(list(table), [span], [inside])
    assert parts[0] == inside
    assert sum(part.size for part in parts) == sum(r.size for r in table if r.start >> 63 == 0)


def test_a_region_that_has_grown_since_it_was_read_is_not_negative() -> None:
    table = procmem.Process().residency()
    largest = max(table, key=lambda region: region.size)
    span = HeapSpan(largest.start, largest.end - 4096, 1 << 40, "python")
    parts = parts_of(list(table), [span], [])
    assert min(part.resident for part in parts) == 0


@glibc
@pytest.mark.parametrize("threads", [0, 3])
def test_parts_add_up_to_vsz_and_rss(threads: int, tmp_path: Path) -> None:
    with Allocating(built(str(tmp_path)), threads) as target:
        target.go(7, 20000)
        process = procmem.Process(target.pid)
        heap, table = at_rest(process, lambda: (process.heap(stop=True), process.residency()))
        assert sum(part.size for part in heap.parts) == process.memory().vsz
        assert sum(part.resident for part in heap.parts) == sum(r.rss or 0 for r in table)
        named = {part.name: part for part in heap.parts}
        # malloc counts each arena's first page, with its headers, as in use.
        assert named["malloc: in use"].size == heap.in_use
        assert named["malloc: caches of threads"].size == heap.tcache
        assert named["malloc: free, returned by a trim"].resident == heap.trimmable
        assert heap.free == sum(
            part.size for part in heap.parts if part.name.startswith("malloc: free")
        )


@glibc
def test_direct_mappings_are_a_part(tmp_path: Path) -> None:
    with Shaped(tmp_path, "direct") as target:
        heap = procmem.Process(target.pid).heap()
        (part,) = (part for part in heap.parts if part.name == "malloc: direct mappings")
        assert part.size == target.said.hblkhd
        assert part.resident == sum(one.resident for one in heap.mapped)
