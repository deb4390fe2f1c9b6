"""The experiment sharing."""

from __future__ import annotations

import os

import pytest

from tests.support.stories import claims, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures are of 4 KiB pages"
)


def test_who_sees_a_write() -> None:
    told = story("sharing")
    if told.skipped:
        pytest.skip(told.skipped)
    seen = claims(told)
    assert seen["the parent writes 3 to the shared page: the child reads"] == 3
    assert seen["procmem.segments(): segments that both map"] == 1
    assert seen["the other's private mapping then"] == 20
