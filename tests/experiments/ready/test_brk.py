"""The experiment brk."""

from __future__ import annotations

import os

import pytest

from tests.support.stories import deltas, labelled, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


def test_brk() -> None:
    found = [(vsz, rss, minor, regions) for vsz, rss, _, minor, _, regions in deltas(story("brk"))]
    assert found == [
        (132, 0, 0, 1),
        (0, 12, 3, 0),
        (4, 0, 0, 0),
        (0, 0, 0, 0),
        (-4, 0, 0, 0),
        (-124, -4, 0, 0),
        (0, 0, 0, 0),
        (4, 0, 0, 0),
        (0, 0, 1, 0),
        (-12, -8, 0, -1),
    ]
    behind = labelled(story("brk"), "read beyond the break").step
    assert behind is not None
    assert behind.fault is not None
    assert (behind.fault.signal, behind.fault.code) == (11, 1)
