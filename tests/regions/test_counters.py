"""Counters of smaps."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from procmem import (
    Counters,
    MeasuredRegion,
)
from procmem.regions.counters import ATTRIBUTES


def test_counters_are_a_mapping() -> None:
    counters = Counters({"Rss": 8192, "Private_Clean": 0, "Private_Dirty": 4096, "Odd": "x"})
    assert dict(counters) == {"Rss": 8192, "Private_Clean": 0, "Private_Dirty": 4096, "Odd": "x"}
    assert counters.rss == counters["Rss"] == 8192
    assert counters.uss == 4096
    assert counters.pss is None
    assert "Pss" not in counters
    assert counters == Counters(dict(counters)) == dict(counters)
    assert hash(counters) == hash(Counters(dict(counters)))
    assert counters != Counters({})
    assert pickle.loads(pickle.dumps(counters)) == counters
    assert copy.deepcopy(counters) == counters
    assert set(ATTRIBUTES.values()) <= set(dir(counters))
    with pytest.raises(KeyError):
        counters["Pss"]
    with pytest.raises(AttributeError, match="odd"):
        _ = counters.odd
    with pytest.raises((AttributeError, TypeError)):
        counters.rss = 5


def test_uss_needs_its_parts_and_leaves_hugetlb_out_as_rss_and_pss_do() -> None:
    assert Counters({"Private_Clean": 4096}).uss is None
    assert Counters({"Private_Dirty": 4096}).uss is None
    both: dict[str, Any] = {"Private_Clean": 4096, "Private_Dirty": 8192}
    assert Counters(both).uss == 12288
    huge = {**both, "Private_Hugetlb": 2 << 20, "Shared_Hugetlb": 4 << 20}
    assert Counters(huge).uss == 12288
    assert Counters(huge).hugetlb == 6 << 20
    assert Counters(both).hugetlb is None
    region = MeasuredRegion(0, 4096, **huge)
    assert region.uss == region.counters.uss == 12288
    assert region.hugetlb == 6 << 20
