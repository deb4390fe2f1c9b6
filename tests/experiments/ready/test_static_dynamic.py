"""The experiment static-dynamic."""

from __future__ import annotations

import os

import pytest

from tests.support.stories import K, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


def test_static_dynamic() -> None:
    told = story("static-dynamic")
    if told.skipped:
        pytest.skip(told.skipped)
    (table,) = told.tables
    rows = {row[0]: row[1:] for row in table.rows}
    static, dynamic = rows["VSZ"]
    assert isinstance(static, int)
    assert isinstance(dynamic, int)
    assert static < 512 * K < dynamic
    assert rows["regions"][0] < rows["regions"][1]  # type: ignore[operator]
