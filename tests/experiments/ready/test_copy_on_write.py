"""The experiment copy-on-write."""

from __future__ import annotations

import os

import pytest

from procmem import experiments
from tests.support.stories import K, claims, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


def test_copy_on_write() -> None:
    told = story("copy-on-write")
    # P = 100, k = 30
    found = [tuple(one.claim.seen for one in told.told if one.claim)][0]
    before = (400 * K, 200 * K, 400 * K, 0)
    after = (400 * K, 260 * K, 280 * K, 120 * K)
    alone = (400 * K, 400 * K, 0, 400 * K)
    assert found == (*before, *before, *after, *after, 120 * K, *alone)
    faults = [one.step.delta.minor for one in told.told if one.step]
    assert faults == [0, 100, 0, 30, 30, 0, 70, 0]
    rss = [one.step.delta.rss for one in told.told if one.step]
    assert rss == [0, 400 * K, 0, 0, 0, 0, 0, -400 * K]


def test_copy_on_write_of_all_pages() -> None:
    told = experiments.copy_on_write(pages=8, written=8)
    assert told.agrees
    assert claims(told)["the memory of both (Σ Pss) has grown by"] == 32 * K
