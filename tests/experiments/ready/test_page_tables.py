"""The experiment page-tables."""

from __future__ import annotations

import os

import pytest

from procmem import experiments
from procmem.errors import BadArgument
from tests.support.stories import deltas, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


def test_page_tables() -> None:
    told = story("page-tables")
    if any(one.impossible for one in told.told):
        pytest.skip("a terabyte of addresses is not to be had here")
    assert deltas(told) == [
        (1 << 30, 0, 0, 0, 0, 1),
        (0, 0, 12, 1, 0, 0),
        (0, 0, 0, 1, 0, 0),
        (0, 0, 4, 1, 0, 0),
        (0, 0, 8, 1, 0, 0),
        (0, 0, 12, 1, 0, 0),
        (-1 << 30, 0, -36, 0, 0, -1),
        (1 << 20, 0, 0, 0, 0, 1),
        (0, 0, 2056, 1 << 18, 0, 0),
        (0, 0, 0, 0, 0, 0),
        (-1 << 19, 0, -1024, 0, 0, 0),
        (-1 << 19, 0, -1032, 0, 0, -1),
    ]


def test_page_table_arithmetic() -> None:
    told = experiments.page_tables(address=0b11110000111111110000000010101010, levels="10,10,12")
    (table,) = told.tables
    assert [row[2] for row in table.rows] == [963, 1008]
    assert table.notes[0] == "Offset 170 (0xaa) in page 987,120 (0xf0ff0)."
    assert told.agrees
    for levels in ("", "12", "10,0,12", "40,40,12", "ten,10,12", "10,10,-12"):
        with pytest.raises(BadArgument):
            experiments.page_tables(address=1, levels=levels or ",")
    with pytest.raises(BadArgument, match="no address of 32 bits"):
        experiments.page_tables(address=1 << 40, levels="10,10,12")
