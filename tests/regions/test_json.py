"""Tables as JSON and back."""

from __future__ import annotations

import contextlib
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem import (
    ParseError,
    Process,
    RegionTable,
    format_maps,
    parse_maps,
    parse_smaps,
)
from tests.support.paths import FIXTURES
from tests.support.texts import (
    CAT,
    Counted,
    Text,
    kernel_line,
    maps_texts,
    smaps_data,
    smaps_texts,
)

if TYPE_CHECKING:
    from pathlib import Path


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
