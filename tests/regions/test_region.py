"""Regions, their parts and their tables: values that behave as values."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem import (
    MeasuredRegion,
    Region,
    ResidentRegion,
    VmFlags,
    parse_smaps,
)
from tests.support.texts import (
    CAT,
    cat,
    maps_texts,
    smaps_data,
    smaps_texts,
)

# ---- Region ----


def test_a_region_says_what_its_line_says() -> None:
    region = cat()
    assert (region.start, region.end, region.size) == (0x400000, 0x40B000, 0xB000)
    assert (region.offset, region.inode, region.pathname) == (0x1000, 7, "/bin/cat")
    assert region.perms == "r-xp"
    assert region.dev == (0xFE, 1)
    assert not region.deleted
    assert region.line() + b"\n" == CAT


@pytest.mark.parametrize("cls", [Region, MeasuredRegion, ResidentRegion])
def test_regions_can_not_be_changed(cls: type[Region]) -> None:
    region = cls(0, 4096)
    for name in (
        "start",
        "end",
        "size",
        "perms",
        "pathname",
        "kind",
        "rss",
        "anything",
        "_reading",
    ):
        with pytest.raises((AttributeError, TypeError)):
            setattr(region, name, 1)
        with pytest.raises((AttributeError, TypeError)):
            delattr(region, name)
    assert not hasattr(region, "__dict__")


def test_address_in_region() -> None:
    region = cat()
    assert region.start in region
    assert region.end - 1 in region
    assert region.end not in region
    assert region.start - 1 not in region
    for far in (-1, 2**63, 2**64, -(2**200), 2**200):
        assert far not in region
    with pytest.raises(TypeError):
        "x" in region  # noqa: B015
    with pytest.raises(TypeError):
        1.5 in region  # noqa: B015


def test_the_last_region_of_all() -> None:
    region = Region(2**64 - 4096, 2**64 - 1)
    assert 2**64 - 2 in region
    assert 2**64 - 1 not in region
    assert region.size == 4095


def test_regions_are_ordered_by_start() -> None:
    first, second = Region(0, 4096, pathname="/z"), Region(4096, 8192, pathname="/a")
    assert first < second
    assert second > first
    assert first <= first <= second
    assert sorted([second, first]) == [first, second]
    assert Region(0, 4096) < Region(0, 8192)
    assert Region(0, 4096) < Region(0, 4096, pathname="/a") < Region(0, 4096, pathname="/b")
    with pytest.raises(TypeError):
        first < 5  # noqa: B015
    assert first != 5


def test_equal_regions_are_one_in_a_set() -> None:
    assert cat() == cat()
    assert hash(cat()) == hash(cat())
    assert len({cat(), cat(), Region(0, 4096)}) == 2
    assert cat() != MeasuredRegion(*fields(cat()))
    assert cat() == Region(*fields(cat()))


def fields(region: Region) -> tuple[Any, ...]:
    return (
        region.start,
        region.end,
        region.perms,
        region.offset,
        region.dev,
        region.inode,
        region.pathname,
        region.deleted,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"start": 0},
        {"end": 0x40C000},
        {"perms": "rw-p"},
        {"offset": 0},
        {"dev": (0xFE, 2)},
        {"inode": 8},
        {"pathname": "/bin/dog"},
        {"pathname": None},
        {"deleted": True},
    ],
)
def test_any_other_field_is_another_region(change: dict[str, Any]) -> None:
    names = ("start", "end", "perms", "offset", "dev", "inode", "pathname", "deleted")
    same = dict(zip(names, fields(cat()), strict=True))
    assert Region(**same) == cat()
    assert Region(**(same | change)) != cat()


def test_a_region_shows_itself() -> None:
    assert repr(cat()) == "<Region 00400000-0040b000 r-xp '/bin/cat'>"
    assert repr(Region(0, 4096)) == "<Region 00000000-00001000 rw-p>"
    gone = Region(0, 4096, pathname="/x\x1b\n", deleted=True)
    assert repr(gone) == "<Region 00000000-00001000 rw-p '/x\\x1b\\n' (deleted)>"
    assert repr(MeasuredRegion(0, 4096)).startswith("<MeasuredRegion ")


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        " ",
        "  two first",
        "/a",
        "/new\nline",
        "/literal\\012",
        "/literal\\012 (deleted)",
        "/x (deleted)",
        "/x (deleted) (deleted)",
        " (deleted)",
        "[heap]",
        "[anon:x (deleted)]",
        "[x] (deleted)",
        "/\udcff\udc85",
        "/höhle-日本-🦊",
        "/x\x00y",
        "/" + "n" * 5000,
    ],
)
@pytest.mark.parametrize("deleted", [False, True])
def test_made_by_hand_with_any_name(name: str | None, deleted: bool) -> None:
    region = Region(0, 4096, pathname=name, deleted=deleted)
    assert (region.pathname, region.deleted) == (name, deleted)
    again = pickle.loads(pickle.dumps(region))
    assert (again, again.pathname, again.deleted) == (region, name, deleted)


@pytest.mark.parametrize(
    "bad",
    [
        {"start": -1},
        {"start": 8193},
        {"end": 2**64},
        {"offset": -1},
        {"offset": 2**64},
        {"inode": -1},
        {"inode": 2**64},
        {"dev": (-1, 0)},
        {"dev": (0, 2**32)},
        {"perms": "rw-"},
        {"perms": "rw-p "},
        {"perms": ""},
        {"perms": "r w-"},
        {"perms": "rw\np"},
        {"perms": "rwäp"},
    ],
)
def test_what_is_no_region_is_a_value_error(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Region(**({"start": 4096, "end": 8192} | bad))


def test_counters_belong_to_the_regions_that_have_them() -> None:
    with pytest.raises(TypeError, match="Rss"):
        Region(0, 4096, Rss=4096)
    with pytest.raises(TypeError, match="pss"):
        ResidentRegion(0, 4096, pss=4096)
    with pytest.raises(TypeError):
        MeasuredRegion(0, 4096, Rss=4096, rss=4096)
    with pytest.raises(ValueError):
        MeasuredRegion(0, 4096, Rss=-1)
    hostile: dict[str, Any] = {"X: 1\n00001000-00002000 rw-p 00000000 00:00 0 \nY": 1}
    with pytest.raises(ValueError):
        MeasuredRegion(0, 4096, **hostile)


def test_a_measured_region_by_the_kernels_names_or_by_attribute() -> None:
    one = MeasuredRegion(0, 8192, Rss=8192, Private_Dirty=4096, Private_Clean=0, VmFlags="rd wr")
    two = MeasuredRegion(
        0, 8192, rss=8192, private_dirty=4096, private_clean=0, vm_flags=VmFlags("rd wr")
    )
    assert one == two
    assert (one.rss, one.uss, one.pss) == (8192, 4096, None)
    assert one.vm_flags == VmFlags("wr rd")
    assert one != MeasuredRegion(0, 8192, Rss=8192)
    assert MeasuredRegion(0, 8192, Unheard_Of=12).counters["Unheard_Of"] == 12


def test_a_resident_region() -> None:
    region = ResidentRegion(0, 8192, rss=4096)
    assert (region.rss, region.swap) == (4096, None)
    assert region != ResidentRegion(0, 8192, rss=0)
    assert pickle.loads(pickle.dumps(region)) == region


@given(st.one_of(maps_texts.map(lambda text: text.data), smaps_texts.map(smaps_data)))
def test_copies_and_pickles_are_equal(data: bytes) -> None:
    for region in parse_smaps(data):
        assert copy.copy(region) is copy.deepcopy(region) is region
        again = pickle.loads(pickle.dumps(region))
        assert again == region
        assert type(again) is type(region)
        assert hash(again) == hash(region)
        assert again.raw_pathname == region.raw_pathname
