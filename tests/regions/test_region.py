"""Regions, their parts and their tables: values that behave as values."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import pickle
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem import (
    Counters,
    Device,
    KiB,
    MeasuredRegion,
    Owner,
    ParseError,
    Perms,
    Process,
    Region,
    RegionKind,
    RegionTable,
    ResidentRegion,
    VmFlags,
    format_maps,
    native,
    parse_maps,
    parse_smaps,
)
from procmem.regions.counters import ATTRIBUTES
from procmem.regions.perms import VM_FLAG_MEANINGS
from tests.support.paths import FIXTURES
from tests.support.texts import (
    Counted,
    Text,
    counted,
    kernel_line,
    maps_texts,
    smaps_data,
    smaps_texts,
)

if TYPE_CHECKING:
    from pathlib import Path

CAT = b"00400000-0040b000 r-xp 00001000 fe:01 7                                  /bin/cat\n"


def cat() -> Region:
    return parse_maps(CAT)[0]


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


def test_a_record_that_nobody_filled_is_empty_and_harmless() -> None:
    empty = native.Record.__new__(native.Record)
    for name in ("start", "end", "size", "_reading", "_perms", "_extra0", "_index"):
        with pytest.raises(AttributeError):
            getattr(empty, name)
    with pytest.raises(AttributeError):
        0 in empty  # noqa: B015
    with pytest.raises(AttributeError):
        empty._extras()


@pytest.mark.parametrize(
    "arguments",
    [(0, 64, 1), (1, 0, 1), (1, 64, -1), (0, 1, 2**40)],
)
def test_records_are_not_made_of_nonsense(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        native.make(native.Record, None, *arguments)
    with pytest.raises((TypeError, ValueError)):
        native.make("no class", None, 0, 64, 0)  # type: ignore[arg-type]


# ---- Perms, Device, VmFlags, Counters ----


def test_perms() -> None:
    perms = cat().perms
    assert isinstance(perms, Perms)
    assert (perms.read, perms.write, perms.execute) == (True, False, True)
    assert (perms.private, perms.shared) == (True, False)
    assert Region(0, 1, "---s").perms.shared
    assert f"{perms}" == str(perms) == "r-xp"
    assert pickle.loads(pickle.dumps(perms)) == perms
    odd = Region(0, 1, "RWXP").perms
    assert not any((odd.read, odd.write, odd.execute, odd.private, odd.shared))


def test_device() -> None:
    dev = cat().dev
    assert isinstance(dev, Device)
    assert (dev.major, dev.minor, str(dev), repr(dev)) == (
        254,
        1,
        "fe:01",
        "Device(major=254, minor=1)",
    )
    assert pickle.loads(pickle.dumps(dev)) == dev
    assert copy.deepcopy(dev) == dev == (254, 1)
    assert str(Device(0, 0x12345)) == "00:12345"


def test_vm_flags_are_a_set_in_the_kernels_order() -> None:
    flags = VmFlags("rd wr zz mr")
    assert list(flags) == ["rd", "wr", "zz", "mr"]
    same: Any = {"rd", "wr", "mr", "zz"}
    assert flags == VmFlags(["zz", "mr", "wr", "rd"])
    assert same == flags
    assert flags == same
    assert hash(flags) == hash(VmFlags("zz mr wr rd"))
    assert flags & {"rd", "xx"} == {"rd"}
    assert flags - {"rd"} == {"wr", "zz", "mr"}
    assert flags >= {"rd"}
    assert flags.unknown == ("zz",)
    assert flags.meanings() == {
        "rd": "readable",
        "wr": "writable",
        "zz": None,
        "mr": "may be made readable",
    }
    assert pickle.loads(pickle.dumps(flags)) == flags
    assert not VmFlags("")


def test_every_flag_of_the_kernels_has_a_meaning() -> None:
    codes = (
        "rd wr ex sh mr mw me ms gd pf gu lo io sr rr dc de lf ac nr ht sf ar wf dd bt sd mm hg"
        " nh mg um uw mt ui ss dp sl ?? dw mp nl ur"
    )
    assert set(codes.split()) <= set(VM_FLAG_MEANINGS)


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


# ---- the table: find, filter, groups, totals ----


@st.composite
def ordered_tables(draw: st.DrawFn) -> RegionTable[Region]:
    """Regions in order, some side by side, some of them empty or in the kernel's half."""
    place, text = 0, []
    for _ in range(draw(st.integers(0, 12))):
        start = place + draw(st.sampled_from([0, 0, 1, 4096, 1 << 30, 1 << 60]))
        place = start + draw(st.sampled_from([1, 4096, 8192, 1 << 20, 0]))
        perms = draw(st.sampled_from(["rw-p", "r--p", "---p", "r-xp", "rw-s"]))
        name = draw(st.sampled_from([b"", b"/a", b"/b/a", b"/b (deleted)", b"[heap]", b"[stack]"]))
        text.append(kernel_line(start, place, perms, 0, (0, 0), 0, name).text + b"\n")
    return parse_maps(b"".join(text))


def linear(table: RegionTable[Region], address: int) -> Region | None:
    return next((r for r in table if r.start <= address < r.end), None)


@given(st.one_of(ordered_tables(), maps_texts.map(lambda text: parse_maps(text.data))), st.data())
def test_find_is_a_search_from_the_start(table: RegionTable[Region], data: st.DataObject) -> None:
    edges = [at + d for region in table for at in (region.start, region.end) for d in (-1, 0, 1)]
    for address in [*edges, data.draw(st.integers(-1, 2**64)), 2**200, -5]:
        found, expected = table.find(address), linear(table, address)
        if table.ordered:
            assert found is expected
        else:
            assert (found is None) == (expected is None)
            assert found is None or address in found


def test_find_in_a_table_out_of_order_and_in_a_reversed_one() -> None:
    text = CAT + kernel_line(0, 4096, "rw-p", 0, (0, 0), 0, b"/low").text + b"\n"
    table = parse_maps(text)
    assert not table.ordered
    assert not table.consistent
    low, high = table.find(17), table.find(0x400000)
    assert low is not None
    assert high is not None
    assert (low.pathname, high.pathname) == ("/low", "/bin/cat")
    turned = table[::-1]
    assert turned.ordered
    assert turned.find(17) == low
    assert table.find(4096) is None


@given(ordered_tables())
def test_kinds_and_paths_part_a_table(table: RegionTable[Region]) -> None:
    for groups in (table.by_kind(), table.by_path()):
        assert sum(len(group) for group in groups.values()) == len(table)
        assert all(len(group) for group in groups.values())
        merged = sorted(region for group in groups.values() for region in group)
        assert merged == sorted(table)
        sizes = [group.total("size") for group in groups.values()]
        assert sum(size or 0 for size in sizes) == table.total("size")
    for kind, group in table.by_kind().items():
        assert all(region.kind is kind for region in group)
        assert table.filter(kind=kind) == table.filter(kind=str(kind)) == group
    for path, group in table.by_path().items():
        assert all(region.pathname == path for region in group)
        if path is not None:
            assert set(group) <= set(table.filter(path=path))
    first = [region.kind for region in table]
    assert list(table.by_kind()) == sorted(set(first), key=first.index)


@given(ordered_tables(), st.integers(0, 1 << 62), st.integers(0, 1 << 62))
def test_filter_by_place(table: RegionTable[Region], one: int, two: int) -> None:
    start, end = sorted((one, two))
    inside = [r for r in table if r.end > start and r.start < end]
    assert list(table.filter(start=start, end=end)) == inside
    assert list(table.filter(lambda r: r.end > start and r.start < end)) == inside


@given(ordered_tables(), st.sampled_from(["rw-p", "????", "r??p", "..x.", "?w?p", "---p"]))
def test_filter_by_letters(table: RegionTable[Region], perms: str) -> None:
    kept = table.filter(perms=perms)
    for region in table:
        fits = all(p in "?." or p == q for p, q in zip(perms, region.perms, strict=True))
        assert (region in kept) == fits


def test_filter_by_path() -> None:
    lines = [b"/usr/lib/libc.so.6", b"/usr/lib/libm.so.6 (deleted)", b"[heap]", b"", b"/l[1].so"]
    table = parse_maps(
        b"".join(
            kernel_line(n << 12, (n + 1) << 12, "r--p", 0, (0, 0), 0, name).text + b"\n"
            for n, name in enumerate(lines)
        )
    )

    def found(path: str) -> list[int]:
        return [region.start >> 12 for region in table.filter(path=path)]

    assert found("libc.so.6") == found("/usr/lib/libc.so.6") == [0]
    assert found("lib*") == found("/usr/lib/lib?.so.6") == [0, 1]
    assert found("libm.so.6") == [1]
    assert found("[heap]") == [2]
    assert found("*.so*") == [0, 1, 4]
    assert found("/l[1].so") == [4]
    assert found("nothing") == []


@pytest.mark.parametrize("condition", [{"kind": "nothing"}, {"perms": "rw"}, {"perms": "rw-p-"}])
def test_a_condition_that_can_not_be_is_a_value_error(condition: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        parse_maps(CAT).filter(**condition)  # type: ignore[arg-type]


def test_conditions_add_up() -> None:
    table = parse_maps((FIXTURES / "linux-5.4-x86_64.maps").read_bytes())
    both = table.filter(kind=RegionKind.TEXT, path="libc*", perms="r-xp")
    assert len(both) == 1
    assert both[0].owner is Owner.LIBRARY


@given(smaps_texts)
def test_totals_add_up_or_are_none(regions: list[Counted]) -> None:
    table = parse_smaps(smaps_data(regions))
    totals = table.totals()
    assert totals["regions"] == len(table)
    assert totals["size"] == sum(region.size for region in table)
    for name, attribute in ATTRIBUTES.items():
        values = [each.counters.get(name) for each in regions]
        if name in ("THPeligible", "ProtectionKey", "KernelPageSize", "MMUPageSize"):
            for word in (name, attribute):
                with pytest.raises(ValueError, match="means nothing"):
                    table.total(word)
            continue
        if name == "Size" or not table:
            continue
        numbers = [value for value in values if isinstance(value, int)]
        expected = sum(numbers) if len(numbers) == len(values) else None
        assert table.total(name) == table.total(attribute) == expected
        if hasattr(MeasuredRegion, attribute):
            assert totals[attribute] == expected


def test_the_total_of_size_is_of_the_regions_and_the_kernels_own_is_apart() -> None:
    text = CAT + b"Size:                 48 kB\n"
    table = parse_smaps(text)
    assert table.total("size") == 44 * KiB
    assert table.total("Size") == 48 * KiB


def test_totals_of_nothing() -> None:
    maps, smaps = parse_maps(b""), parse_smaps(b"")
    assert maps.total() == smaps.total("rss") == smaps.total("Rss") == 0
    assert maps.totals() == {"regions": 0, "size": 0}
    for table, field in ((maps, "rss"), (parse_maps(CAT), "rss"), (smaps, "nonsense")):
        with pytest.raises(ValueError, match="has no field"):
            table.total(field)
    for field in ("perms", "pathname", "deleted", "name"):
        with pytest.raises(ValueError):
            parse_smaps(CAT).filter(path="/bin/cat").total(field)


def test_a_counter_that_nobody_knows_can_be_summed() -> None:
    table = parse_smaps((CAT + b"New: 4 kB\n") * 2)
    assert table.total("New") == 8192
    assert parse_smaps(CAT + b"New: 4 kB\n" + CAT).total("New") is None
    with pytest.raises(ValueError, match="not a number"):
        parse_smaps(CAT + b"New: word\n").total("New")


def test_a_sum_of_what_was_not_read_is_none() -> None:
    table = parse_smaps(CAT + b"Rss: 4 kB\n" + CAT)
    assert table.total("rss") is None
    assert table[:1].total("rss") == 4096


# ---- the table as a sequence ----


@given(maps_texts, st.data())
def test_a_table_is_a_sequence_like_a_tuple(text: Text, data: st.DataObject) -> None:
    table = parse_maps(text.data)
    regions = tuple(table)
    assert len(table) == len(regions)
    assert [table[n] for n in range(-len(regions), len(regions))] == [*regions, *regions]
    part = data.draw(st.slices(max(1, len(regions))))
    assert tuple(table[part]) == regions[part]
    assert isinstance(table[part], RegionTable)
    assert table[part] == table[part]
    assert tuple(reversed(table)) == regions[::-1]
    assert all(region in table for region in regions)
    assert table[:] == table
    assert hash(table[:]) == hash(table)
    for beyond in (len(regions), -len(regions) - 1):
        with pytest.raises(IndexError):
            table[beyond]


def test_a_table_can_not_be_changed() -> None:
    table = parse_maps(CAT)
    for change in ("append", "sort", "clear", "__setitem__", "__delitem__"):
        assert not hasattr(table, change)
    assert not hasattr(table, "__dict__")
    assert table != parse_smaps(CAT)
    assert table != [cat()]
    assert table != ()


def test_a_table_shows_itself() -> None:
    assert repr(parse_maps(CAT)) == "<RegionTable of 1 Regions from <maps>>"
    assert "inconsistent" in repr(parse_maps(CAT * 2))
    assert parse_maps(CAT, source="a dump").source == "a dump"
    assert parse_maps(CAT, exe="/bin/x\udcff").exe == "/bin/x\udcff"
    assert parse_maps(CAT).exe is None


@pytest.mark.parametrize(
    "starts, consistent",
    [((0, 2, 4), True), ((0, 1, 2), True), ((0, 0, 2), False), ((4, 2), False)],
)
def test_overlaps_make_a_table_inconsistent(starts: tuple[int, ...], consistent: bool) -> None:
    text = b"".join(
        kernel_line(at << 12, (at + 1) << 12, "rw-p", 0, (0, 0), 0, b"").text + b"\n"
        for at in starts
    )
    assert parse_maps(text).consistent is parse_maps(text).ordered is consistent


def test_regions_that_overlap_in_part_make_a_table_inconsistent() -> None:
    text = (
        kernel_line(0, 8192, "rw-p", 0, (0, 0), 0, b"").text
        + b"\n"
        + kernel_line(4096, 16384, "rw-p", 0, (0, 0), 0, b"").text
    )
    assert not parse_maps(text).consistent
    assert not parse_smaps(text).consistent


# ---- records and JSON ----


def everything(table: RegionTable[Any]) -> list[Any]:
    return [
        [
            (r, r.raw_pathname, r.line(), r.kind, r.owner, r.kind_evidence, r.name, r.to_record())
            for r in table
        ],
        table.source,
        table.page_size,
        table.exe,
        table.consistent,
        table.ordered,
        format_maps(table),
        type(table[0]) if len(table) else None,
    ]


def assert_no_loss(table: RegionTable[Any]) -> None:
    for again in (
        RegionTable.from_json(table.to_json()),
        RegionTable.from_json(table.to_json(indent=2).encode()),
        pickle.loads(pickle.dumps(table)),
    ):
        assert again == table
        assert everything(again) == everything(table)


@given(maps_texts)
def test_maps_to_json_and_back_lose_nothing(text: Text) -> None:
    assert_no_loss(parse_maps(text.data, source="\udcff", exe="/bin/\udc80", page_size=65536))


@given(smaps_texts)
def test_smaps_to_json_and_back_lose_nothing(regions: list[Counted]) -> None:
    table = parse_smaps(smaps_data(regions))
    assert_no_loss(table)
    assert [dict(r.counters) for r in RegionTable.from_json(table.to_json())] == [
        each.counters for each in regions
    ]


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.*maps")), ids=lambda path: path.name)
def test_dumps_to_json_and_back_lose_nothing(path: Path) -> None:
    parse = parse_maps if path.name.endswith(".maps") else parse_smaps
    table: RegionTable[Any] = parse(path.read_bytes())
    assert_no_loss(table)
    # A part has lost its neighbours, but not what they told.
    assert_no_loss(table[::2])
    assert_no_loss(table.filter(perms="?w??"))


def test_live_tables_to_json_and_back_lose_nothing() -> None:
    me = Process()
    for table in (me.maps(), me.smaps(), me.residency()):
        assert_no_loss(table)


def test_a_residency_that_could_not_be_had_stays_none() -> None:
    table = Process().residency()
    reading = table.reading
    reading.scan.set_residency(0, None, None)
    assert table[0].rss is None
    assert table.total("rss") is None
    assert_no_loss(table)


def test_names_that_were_resolved_stay_so() -> None:
    table = parse_maps(kernel_line(0, 1, "r--p", 0, (8, 1), 5, b"/x\\012y (deleted)").text)
    table.reading.overrides[0] = ("/x\\012y (deleted)", False)
    assert_no_loss(table)
    assert RegionTable.from_json(table.to_json())[0].pathname == "/x\\012y (deleted)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "5",
        '"x"',
        "{",
        "nonsense",
        '{"format": "procmem.regions/2"}',
        '{"format": "procmem.regions/1"}',
        '{"format": "procmem.regions/1", "type": "Region"}',
        "[" * 100_000,
        b"\xff\xfe",
        b"",
        "9" * 10_000,
    ],
)
def test_what_is_no_table_is_a_parse_error(text: str | bytes) -> None:
    with pytest.raises(ParseError) as caught:
        RegionTable.from_json(text)
    assert caught.value.source == "<json>"


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["rw-p", "heap", "0:0", "x\n00000000-00001000 rw-p 00000000 00:00 0 ", "\ud800"]
    ),
    st.just([]),
    st.just({}),
    st.just([1]),
    st.just({"a": 1}),
)

SMAPS = (FIXTURES / "future.smaps").read_bytes()


@given(st.data())
def test_damaged_json_is_a_parse_error_or_a_table(data: st.DataObject) -> None:
    table: RegionTable[Any] = data.draw(
        st.sampled_from([parse_maps(CAT * 2), parse_smaps(SMAPS), Process().residency()[:2]])
    )
    parts = json.loads(table.to_json())
    for _ in range(data.draw(st.integers(1, 3))):
        rows = parts.get("regions")
        where = parts
        if (
            isinstance(rows, list)
            and rows
            and isinstance(rows[0], dict)
            and data.draw(st.booleans())
        ):
            where = rows[0]
        if not where:
            break
        key = data.draw(st.sampled_from(sorted(where)))
        if data.draw(st.booleans()):
            where[key] = data.draw(JUNK)
        else:
            del where[key]
    try:
        again = RegionTable.from_json(json.dumps(parts))
    except ParseError as error:
        assert error.reason
    else:
        # What was taken must be whole: every answer can be had.
        everything(again)
        assert repr(again)


@given(st.data())
def test_json_cut_or_changed_is_a_parse_error_or_a_table(data: st.DataObject) -> None:
    text = parse_smaps(SMAPS).to_json().encode()
    place = data.draw(st.integers(0, len(text)))
    damaged = (
        text[:place]
        + data.draw(st.binary(max_size=4))
        + text[place + data.draw(st.integers(0, 4)) :]
    )
    with contextlib.suppress(ParseError):
        everything(RegionTable.from_json(damaged))


@given(counted())
def test_records_are_flat_rows_of_plain_values(region: Counted) -> None:
    table = parse_smaps(smaps_data([region]))
    (row,) = table.to_records()
    assert row["start"] == table[0].start
    assert row["size"] == table[0].size
    assert row["perms"] == str(table[0].perms)
    assert row["kind"] in {kind.value for kind in RegionKind}
    assert row["pathname"] == table[0].pathname
    for name, attribute in ATTRIBUTES.items():
        if name in region.counters and name != "Size":
            assert row[attribute] == region.counters[name]
        elif name != "Size":
            assert attribute not in row
    for value in row.values():
        assert value is None or isinstance(value, (int, str, bool, dict))
        assert type(value) is not Perms
    json.dumps(row)
