from __future__ import annotations

from procmem.heap.arena import Trim, TrimRange


def test_a_trim_has_each_of_its_pages() -> None:
    trim = Trim(3 * 4096, (TrimRange(0x10000, 2 * 4096), TrimRange(0x20000, 4096)))
    assert list(trim.pages()) == [0x10000, 0x11000, 0x20000]
