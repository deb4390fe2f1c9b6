"""The experiment grow."""

from __future__ import annotations

import os

import pytest

from tests.support.stories import M, claims, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


def test_grow() -> None:
    told = story("grow")
    if told.skipped:
        pytest.skip(told.skipped)
    seen = claims(told)
    assert [seen[f"{n} KiB string is in the"] for n in (1, 2, 4, 8, 16, 32, 64)] == ["heap"] * 7
    assert seen["16,384 KiB string is in the"] == "mapping"
    assert seen["16,384 KiB string: VSZ changes by"] == 8 * M
