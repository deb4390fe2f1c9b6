from __future__ import annotations

import os

import pytest

import procmem
from procmem.heap.spans import spans_of
from tests.support.allocating import Shaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

MAPS = b"""\
10000-20000 rw-p 00000000 00:00 0
20000-30000 rw-p 00000000 00:00 0
40000-50000 rw-p 00000000 00:00 0
"""


def test_spans_are_cut_by_regions_and_do_not_overlap() -> None:
    regions = procmem.parse_maps(MAPS)
    mapped = [(0x18000, 0x10000), (0x20000, 0x4000), (0x48000, 0x20000)]
    assert spans_of([], mapped, None, regions, 4096) == [
        (0x18000, 0x20000, "mapped"),
        (0x20000, 0x28000, "mapped"),
        (0x48000, 0x50000, "mapped"),
    ]


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc")
def test_what_others_took_below_the_break_counts_as_in_use(tmp_path: Path) -> None:
    with Shaped(tmp_path, "foreign") as target:
        heap = procmem.Process(target.pid).heap(stop=True)
        (arena,) = heap.arenas
        assert arena.others
        named = {part.name: part for part in heap.parts}
        assert named["malloc: in use"].size == heap.in_use
