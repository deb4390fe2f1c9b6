"""Tables: search, groups, totals; a table as a sequence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem import (
    KiB,
    MeasuredRegion,
    Owner,
    Perms,
    Region,
    RegionKind,
    RegionTable,
    parse_maps,
    parse_smaps,
)
from procmem.columns import plain_values
from procmem.regions.counters import ATTRIBUTES
from tests.support.paths import FIXTURES
from tests.support.texts import (
    CAT,
    Counted,
    Text,
    cat,
    counted,
    kernel_line,
    maps_texts,
    smaps_data,
    smaps_texts,
)


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


def test_sums_are_of_the_regions_of_the_table_and_may_pass_64_bits() -> None:
    huge = (1 << 64) - 2048  # the largest that smaps can print in KiB
    text = b"".join(
        b"%x-%x rw-p 00000000 00:00 0 \nRss: %d kB\nPss: %d kB\n"
        % (at << 12, (at + 1) << 12, huge >> 10, at)
        for at in range(1, 4)
    )
    table = parse_smaps(text)
    assert table.total("rss") == sum(region.rss or 0 for region in table)
    assert (table.total("rss") or 0) > 1 << 64
    assert table.subset([table[0], table[0], table[2]]).total("pss") == (1 + 1 + 3) << 10
    assert table[1:].total("pss") == (2 + 3) << 10
    assert table.total("swap") is None
    assert table.total("uss") is None


def test_columns_are_in_the_order_of_the_table() -> None:
    table = parse_smaps(
        b"1000-2000 rw-p 00000000 00:00 0 \nRss: 4 kB\n"
        b"2000-3000 r--p 00000000 00:00 0 \nRss: 8 kB\n"
    )
    turned = table.subset([*reversed(table)])
    for name in ("start", "rss", "perms"):
        column = plain_values(turned.arrow_makers()[name]())
        assert column == [
            str(getattr(region, name)) if name == "perms" else getattr(region, name)
            for region in turned
        ]
