"""The experiment protection."""

from __future__ import annotations

import os

import pytest

from tests.support.stories import K, labelled, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


def test_protection() -> None:
    told = story("protection")
    regions = [one.step.delta.regions for one in told.told if one.step]
    assert regions[:8] == [1, 0, 2, 0, 0, -2, 1, -2]
    guarded = labelled(told, "write to page after page from the first of them").step
    assert guarded is not None
    assert guarded.fault is not None
    assert (guarded.result, guarded.delta.rss, guarded.fault.code) == (4, 16 * K, 2)
