"""States of pages, counted over ranges that cut through pages."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

from procmem.pages import states
from procmem.pages.states import PRIVATE, SHARED, SWAPPED, PageStates
from procmem.procfs import probes
from tests.support.targets import PAGE, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    Start = Callable[..., Target]
    Build = Callable[[str], Path]


def test_bytes_of_ranges_that_cut_through_pages() -> None:
    pages = PageStates(
        [(0x1000, 0x3000, SHARED), (0x3000, 0x4000, PRIVATE), (0x6000, 0x8000, SWAPPED)]
    )
    assert pages.total == (0x3000, 0x1000, 0x2000)
    assert pages.within(0, 1 << 64) == pages.total
    assert pages.within(0x2FFF, 0x3001) == (2, 1, 0)
    assert pages.within(0x3800, 0x6800) == (0x800, 0x800, 0x800)
    assert pages.within(0x5000, 0x5000) == pages.within(0x5000, 0x4000) == (0, 0, 0)
    clipped = pages.clip([(0x1800, 0x2000), (0x3F00, 0x7000)])
    assert clipped.runs == [
        (0x1800, 0x2000, SHARED), (0x3F00, 0x4000, PRIVATE), (0x6000, 0x7000, SWAPPED),
    ]  # fmt: skip


def test_scan_and_entries_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    with mmap.mmap(-1, 64 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for page in (0, 1, 7, 9, 63):
            memory[page * PAGE] = 1
        fd = os.open("/proc/self/pagemap", os.O_RDONLY)
        try:
            spans = [(start, start + 64 * PAGE)]
            scanned = states.read_states(fd, spans, PAGE).runs
            monkeypatch.setattr(probes, "has_pagemap_scan", lambda: False)
            told = states.read_states(fd, spans, PAGE).runs
        finally:
            os.close(fd)
    assert [(a - start) // PAGE for a, _, _ in told] == [0, 7, 9, 63]
    assert scanned == told
