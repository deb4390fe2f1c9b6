"""What the regions of one reading share."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

from procmem import (
    MeasuredRegion,
    parse_maps,
    parse_smaps,
)
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
