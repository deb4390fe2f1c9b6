"""Huge pages and their zeros: exactly the pages that were never written."""

from __future__ import annotations

import pytest

import procmem
from procmem.process.huge import zero_bytes
from procmem.procfs import probes
from tests.support.targets import PAGE, Advice, Target

HUGE = 2 << 20


def test_zeros_of_huge_pages() -> None:
    if not probes.has_pagemap_scan():
        pytest.skip("this kernel lacks PAGEMAP_SCAN (Linux 6.7)")
    with Target() as target:
        mapping = target.map(4 * HUGE // PAGE)
        target.madvise(mapping, Advice.HUGEPAGE)
        first = -(-mapping.start // HUGE) * HUGE
        for block in range(first, mapping.end - HUGE + 1, HUGE):
            for page in (3, 100, 511):
                target.poke(block + page * PAGE + 5, b"x")
        process = procmem.Process(target.pid)
        found = [one for one in process.huge_pages() if one.start == mapping.start]
        (region,) = [one for one in process.smaps() if one.start == mapping.start]
        if not found:
            assert region.huge == 0
            pytest.skip("the kernel had no huge page free, or makes none")
        (one,) = found
        assert one.huge == region.huge
        assert one.huge % HUGE == 0
        assert one.zeros == one.huge // HUGE * 509 * PAGE
        # Memory that was only read has the huge page of zeros, which is in no RSS.
        only_read = target.map(2 * HUGE // PAGE)
        target.madvise(only_read, Advice.HUGEPAGE)
        target.read(only_read)
        assert only_read.start not in [one.start for one in process.huge_pages()]


def test_zero_bytes() -> None:
    assert zero_bytes(bytes(3 * PAGE)) == 3 * PAGE
    assert zero_bytes(bytes(PAGE) + b"x" + bytes(2 * PAGE - 1)) == 2 * PAGE
    assert zero_bytes(b"x" * PAGE + bytes(PAGE - 1)) == 0
    assert zero_bytes(b"") == 0


def test_the_counter() -> None:
    counters = procmem.Counters({"AnonHugePages": 4096, "FilePmdMapped": 8192})
    assert counters.huge == 12288
    assert procmem.Counters({"Rss": 4096}).huge is None
