"""The experiment lazy-allocation."""

from __future__ import annotations

import os

import pytest

from procmem import experiments
from tests.support.stories import deltas, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


def test_lazy_allocation() -> None:
    assert deltas(story("lazy-allocation")) == [
        # VSZ, RSS, tables, minor, major, regions
        (4, 0, 0, 0, 0, 1),
        (0, 0, 12, 1, 0, 0),
        (0, 4, 0, 1, 0, 0),
        (0, 0, 0, 0, 0, 0),
        (-4, -4, -12, 0, 0, -1),
        (4000, 0, 0, 0, 0, 1),
        (0, 40, 12, 10, 0, 0),
        (-4000, -40, -12, 0, 0, -1),
    ]


def test_lazy_allocation_of_other_sizes() -> None:
    found = deltas(experiments.lazy_allocation(pages=512, touched=512))
    assert found[5:] == [
        (2048, 0, 0, 0, 0, 1),
        (0, 2048, 12, 512, 0, 0),
        (-2048, -2048, -12, 0, 0, -1),
    ]
