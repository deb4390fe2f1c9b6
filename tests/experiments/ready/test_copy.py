"""The experiment copy."""

from __future__ import annotations

import os

import pytest

from procmem import experiments
from tests.support.stories import M, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


def test_copy() -> None:
    told = story("copy")
    if told.skipped:
        pytest.skip(told.skipped)
    steps = [(one.step.delta.vsz, one.step.delta.rss) for one in told.told if one.step]
    size = 4 * M
    assert steps == [(size, 0), (size, 0), (0, size), (0, size), (-size, -size), (-size, -size)]
    for table in told.tables:
        assert len(table.rows) >= 6
        assert all(row[1] > 0 for row in table.rows)  # type: ignore[operator]


def test_copy_of_a_size_that_is_no_whole_page() -> None:
    told = experiments.copy(size=100_001, rounds=1)
    assert told.skipped or told.agrees
