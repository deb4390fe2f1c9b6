"""What the regions of one reading share."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest

from procmem import (
    MeasuredRegion,
    parse_maps,
    parse_smaps,
)
from procmem.regions.kinds import Kind, RegionKind
from procmem.regions.table import raw_records
from tests.support.paths import FIXTURES
from tests.support.texts import CAT, cat


def test_a_region_outlives_its_table() -> None:
    table = parse_maps(CAT * 100)
    region = table[57]
    del table
    gc.collect()
    assert region == cat()
    assert region.name == "cat"


def test_a_table_of_records_holds_no_cycle_and_leaks_nothing() -> None:
    gc.collect()
    gc.disable()
    try:
        table = parse_smaps((FIXTURES / "future.smaps").read_bytes())
        _ = [region.kind for region in table]
        reading = table[0]._reading
        before = sys.getrefcount(MeasuredRegion)
        assert sys.getrefcount(reading) > len(table)
        gone = weakref.ref(native_scan(reading))
        del table, reading
        assert gone() is None
        assert sys.getrefcount(MeasuredRegion) < before
    finally:
        gc.enable()


def native_scan(reading: Any) -> Any:
    """Something of the reading that can be referred to weakly: what frees its memory."""
    return reading.scan._scan


def test_a_kind_that_is_retold_stays_and_the_others_are_found() -> None:
    table = parse_maps(CAT * 2)
    reading = table.reading
    assert reading.kinds is None
    better = Kind(RegionKind.RODATA, None, "elf", "better known")
    reading.retell(1, better)
    assert reading.kinds is None
    assert table[0].kind is RegionKind.TEXT
    assert (table[1].kind, table[1].kind_evidence, table[1].name) == (
        RegionKind.RODATA,
        "elf",
        "better known",
    )
    assert reading.kinds == [reading.kind(0), better]
    reading.retell(0, better)
    assert table[0].name == "better known"


def test_kinds_that_are_all_retold_are_not_looked_for() -> None:
    table = parse_maps(CAT)
    table.reading.find_facts = lambda *_: pytest.fail("facts were looked for")
    table.reading.retell(0, Kind(RegionKind.OTHER, None, "elf", "known"))
    assert table[0].kind is RegionKind.OTHER


def test_raw_records_are_those_of_the_table() -> None:
    table = parse_maps(CAT * 3)
    whole = raw_records(table)
    size = len(whole) // 3
    assert raw_records(table[::2]) == whole[:size] + whole[2 * size :]
    assert raw_records(table[:0]) == b""
