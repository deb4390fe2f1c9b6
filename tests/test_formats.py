"""CSV, JSON lines, HTML, Arrow and Parquet: each has every value, and gives hostile names back."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import procmem
from procmem.columns import original_text, plain_values
from procmem.errors import BadArgument, MissingExtra
from procmem.formats import FORMATS, JoinedTables, PlainRows, format_of, quoted, text_lines
from tests.support.saved_tables import saved_table

if TYPE_CHECKING:
    from pathlib import Path

    from procmem.arrow import Columnar

FIELDS: dict[str, dict[str, Any]] = {
    "text": {"type": ["string", "null"]},
    "number": {"type": ["integer", "null"], "minimum": 0},
    "change": {"type": ["integer", "null"]},
    "flag": {"type": ["boolean", "null"]},
    "real": {"type": ["number", "null"]},
    "kind": {"type": ["string", "null"], "enum": ["heap", "stack", None]},
    "inside": {"type": "array"},
}


def written(table: Columnar, wanted: str) -> bytes:
    file = io.BytesIO()
    procmem.write_table(table, file, wanted)
    return file.getvalue()


def read_csv(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


HOSTILE = [
    "plain", "", None, 'a "quoted", one', "two\nlines", "cr\r\nlf", "caf\udce9", r"caf\xe9",
    r"\\x41", "tab\there", "=1+1", "\u202e", "NULL", "\udcff\udcfe", "\\", r"\x", "\\x4\udce9",
]  # fmt: skip


class TestCsv:
    def test_hostile_names_come_back(self) -> None:
        rows = [{"text": text, "number": at} for at, text in enumerate(HOSTILE)]
        fields = {name: FIELDS[name] for name in ("text", "number")}
        data = written(PlainRows(rows, fields), "csv")
        _, *read = read_csv(data)
        assert [original_text(text) for text, _ in read] == [text or "" for text in HOSTILE]

    @given(st.binary(max_size=12))
    def test_any_bytes_come_back(self, raw: bytes) -> None:
        name = raw.decode("utf-8", "surrogateescape")
        data = written(PlainRows([{"text": name, "number": 1}], FIELDS), "csv")
        assert original_text(read_csv(data)[1][0]) == name

    def test_none_is_empty_and_no_0(self) -> None:
        none, nought = (dict.fromkeys(FIELDS, value) for value in (None, 0))
        lines = written(PlainRows([none, {**nought, "text": "", "kind": "heap"}], FIELDS), "csv")
        assert lines.split(b"\r\n")[1] == b"," * (len(FIELDS) - 1)
        assert lines.split(b"\r\n")[2] == b'"",0,0,false,0.0,heap,0'

    def test_lines_and_quotes_are_those_of_rfc_4180(self) -> None:
        assert quoted('say "hi"') == '"say ""hi"""'
        table = saved_table().select("start", "rss")
        assert written(table, "csv").startswith(b"start,rss\r\n")
        assert written(table, "csv").count(b"\r\n") == 1 + len(saved_table())

    def test_polars_reads_the_values(self) -> None:
        pl = pytest.importorskip("polars")
        table = procmem.Process().smaps().select("start", "rss", "pathname", "kind")
        frame = pl.read_csv(io.BytesIO(written(table, "csv")), infer_schema_length=None)
        assert frame["start"].to_list() == pl.DataFrame(table)["start"].to_list()
        assert frame["rss"].to_list() == pl.DataFrame(table)["rss"].to_list()


class TestJsonLines:
    def test_each_line_is_an_object_with_the_same_keys(self) -> None:
        table = saved_table()
        rows = [json.loads(line) for line in written(table, "jsonl").splitlines()]
        assert len(rows) == len(table)
        names = list(table.arrow_makers())
        assert [list(row) for row in rows] == [names] * len(rows)
        assert [row["rss"] for row in rows] == [40960, 4096, None, None]

    def test_lists_stay_lists(self) -> None:
        rows = [{"inside": [1, {"a": None}]}]
        assert (
            json.loads(written(PlainRows(rows, {"inside": FIELDS["inside"]}), "jsonl")) == rows[0]
        )

    def test_names_come_back(self) -> None:
        rows = [{"text": text} for text in HOSTILE]
        lines = written(PlainRows(rows, {"text": FIELDS["text"]}), "jsonl").splitlines()
        found = [json.loads(line)["text"] for line in lines]
        assert [None if text is None else original_text(text) for text in found] == HOSTILE

    def test_times(self) -> None:
        from procmem.columns import times
        from procmem.formats import csv_rows, json_rows

        column = times("at", [1_500_000_000_123_456_789, None])
        assert "".join(json_rows([column])).splitlines() == [
            '{"at": "2017-07-14T02:40:00.123456789Z"}',
            '{"at": null}',
        ]
        assert [*csv_rows([column], heading=False)] == [
            "2017-07-14T02:40:00.123456789Z\r\n",
            "\r\n",
        ]


def test_html_is_static_and_escaped() -> None:
    rows = [{"text": "<script>alert(1)</script>\udcff", "number": None, "change": -3}]
    page = written(PlainRows(rows, FIELDS), "html").decode()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\\xff" in page
    assert "-3" in page


class TestBinary:
    def test_parquet_and_arrow(self, tmp_path: Path) -> None:
        pl = pytest.importorskip("polars")
        table = saved_table()
        for name, read in (("x.parquet", pl.read_parquet), ("x.arrow", pl.read_ipc)):
            procmem.write_table(table, tmp_path / name)
            assert read(tmp_path / name)["rss"].to_list() == [40960, 4096, None, None]
        assert pl.read_ipc_stream(written(table, "arrow"))["start"].to_list()[3] > 1 << 63

    def test_polars_writes_where_pyarrow_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pl = pytest.importorskip("polars")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        table = saved_table()
        assert pl.read_ipc_stream(written(table, "arrow"))["rss"].to_list()[0] == 40960
        assert pl.read_parquet(written(table, "parquet"))["rss"].to_list()[0] == 40960

    @pytest.mark.parametrize("wanted", ["arrow", "parquet"])
    def test_without_either(self, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
        for name in ("pyarrow", "polars"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtra, match=r"procmem-live\[frames\]"):
            written(saved_table(), wanted)


def test_all_formats_have_the_same_columns_and_values() -> None:
    pa = pytest.importorskip("pyarrow")
    table = procmem.Process().smaps()
    arrow = pa.table(table)
    heading, *rows = read_csv(written(table, "csv"))
    assert heading == arrow.schema.names
    lines = [json.loads(line) for line in written(table, "jsonl").splitlines()]
    for name, make in table.arrow_makers().items():
        values = arrow[name].to_pylist()
        assert [line[name] for line in lines] == values
        assert plain_values(make()) == values
        at = heading.index(name)
        for row, value in zip(rows, values, strict=True):
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            assert row[at] == ("" if value is None else shown)


class TestJoined:
    def test_two_processes(self) -> None:
        table = saved_table()
        both = JoinedTables([({"pid": 7}, table), ({"pid": None}, table)])
        _, *rows = read_csv(written(both, "csv"))
        assert [row[0] for row in rows] == ["7"] * 4 + [""] * 4
        assert [row[1:] for row in rows[:4]] == [row[1:] for row in rows[4:]]

    def test_columns_that_one_lacks_are_missing(self) -> None:
        parts: list[tuple[dict[str, int | str | None], PlainRows]] = [
            ({}, PlainRows([{"number": 1}], {"number": FIELDS["number"]})),
            ({}, PlainRows([{"text": "a"}, {"text": "b"}], {"text": FIELDS["text"]})),
        ]
        assert written(JoinedTables(parts), "csv") == b"number,text\r\n1,\r\n,a\r\n,b\r\n"

    def test_none_at_all(self) -> None:
        assert [*text_lines(JoinedTables([]), "csv")] == []


class TestFiles:
    def test_the_name_says_which(self, tmp_path: Path) -> None:
        for name in FORMATS:
            if name in {"arrow", "parquet"}:
                pytest.importorskip("pyarrow")
            procmem.write_table(saved_table(), tmp_path / f"x.{name}")
            assert (tmp_path / f"x.{name}").stat().st_size > 100
        assert format_of("a.NDJSON") == "jsonl"
        assert format_of("csv") is None

    @pytest.mark.parametrize("given", [("x.txt",), ("x.csv", "xml"), (io.BytesIO(),)])
    def test_a_format_that_is_not_known(self, given: Any) -> None:
        with pytest.raises(BadArgument, match="csv, jsonl, html, arrow, parquet"):
            procmem.write_table(saved_table(), *given)
