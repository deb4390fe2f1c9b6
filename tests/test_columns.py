"""Columns of Python values and of packed records, as Arrow's libraries read them."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import pytest

from procmem.arrow import Selection
from procmem.columns import (
    ABSENT,
    ArrowColumn,
    PackedRows,
    booleans,
    categories,
    durations,
    floats,
    numbers,
    steps,
    text_of,
    texts,
    times,
)
from procmem.native import ffi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pyarrow: Any = pytest.importorskip("pyarrow")
polars: Any = pytest.importorskip("polars")

MISSING = (1 << 64) - 1


def read(*columns: ArrowColumn) -> Any:
    """The columns as pyarrow reads them; all checks that it has are made."""
    makers = {f"{at}": (lambda column=column: column) for at, column in enumerate(columns)}
    table = pyarrow.table(Selection(makers, {}))
    table.validate(full=True)
    return table


@pytest.mark.parametrize(
    "make, values",
    [
        (numbers, [0, 1, MISSING - 1, MISSING]),
        (lambda name, values: numbers(name, values, signed=True), [-(1 << 63), -1, 0, 1]),
        (floats, [0.5, -1.0, 1e300]),
        (booleans, [True, False] * 9),
        (texts, ["", "a", "\u00e9\U0001f40d", "x" * 300]),
        (categories, ["b", "a", "b", "b", ""]),
    ],
    ids=["uint64", "int64", "float64", "bool", "text", "categories"],
)
@pytest.mark.parametrize("missing", [[], [0], [1], [0, 1, 2], [2]], ids=str)
def test_values_come_back(
    make: Callable[[str, Sequence[Any]], ArrowColumn], values: list[Any], missing: list[int]
) -> None:
    given = [None if place in missing else value for place, value in enumerate(values)]
    table = read(make("one", given).described("bytes", "here"))
    assert table.column(0).to_pylist() == given
    assert table.column(0).null_count == len(missing)
    assert table.schema.field(0).metadata == {b"unit": b"bytes", b"source": b"here"}
    assert polars.DataFrame(table).to_series().to_list() == given


def test_no_rows() -> None:
    empty = [make("one", []) for make in (numbers, floats, booleans, texts, categories)]
    assert read(*empty, steps("six", 0, 1, 0)).num_rows == 0


def test_times() -> None:
    table = read(times("time", [1_600_000_000_000_000_001, None]), durations("long", [5, None]))
    assert str(table.schema.field(0).type) == "timestamp[ns, tz=UTC]"
    assert str(table.schema.field(1).type) == "duration[ns]"
    assert table.column(0).cast(pyarrow.int64()).to_pylist() == [1_600_000_000_000_000_001, None]
    assert table.column(1).cast(pyarrow.int64()).to_pylist() == [5, None]


def test_numbers_that_do_not_fit() -> None:
    for value in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            numbers("one", [value])


def test_names_that_are_no_text() -> None:
    assert text_of("a\udcffb") == b"a\\xffb"
    assert read(texts("\udcff", ["\udce9"])).to_pylist() == [{"\\xff": "\\xe9"}]


class TestPackedRows:
    """Records of three words; the rows are the third, the first and the second of four."""

    @pytest.fixture
    def rows(self) -> PackedRows:
        words = [1, MISSING, 0xAB_0000_0002, 5, 7, 0x01_0000_0001, 9, 3, 0, 100, 200, 300]
        return PackedRows(ffi.new("uint64_t[]", words), 3, 3, array("I", [2, 0, 1]))

    def test_words(self, rows: PackedRows) -> None:
        table = read(
            rows.words("plain", 0),
            rows.words("missing", 1, missing=True),
            rows.words("when", 0, when=(1, 7, 7)),
            rows.words("negative", 0, kind="l", negative=True),
            rows.words("masked", 0, mask=1),
            rows.difference("difference", 0, 1, missing=True),
            rows.sum("sum", 0, 1),
        )
        assert [column.to_pylist() for column in table.columns] == [
            [9, 1, 5],
            [3, None, 7],
            [None, 1, 5],
            [-9, -1, -5],
            [1, 1, 1],
            [6, None, -2],
            [12, None, 12],
        ]

    def test_parts(self, rows: PackedRows) -> None:
        high, valid, nulls = rows.parts(2, 32, 32)
        assert list(memoryview(high).cast("I")) == [0, 0xAB, 1]
        assert (valid, nulls) == (b"\x07", 0)
        low, valid, nulls = rows.parts(2, 0, 32, array("I", [ABSENT, 30, 20]))
        assert list(memoryview(low).cast("I")) == [0, 20, 30]
        assert (valid, nulls) == (b"\x06", 1)
        _, valid, nulls = rows.parts(2, 32, 32, array("I", [1, 1]))
        assert (valid, nulls) == (b"\x05", 1), "a number beyond the table is missing"

    def test_a_block_of_words(self, rows: PackedRows) -> None:
        block = rows.block({"one": 0, "two": 1})
        table = read(block["one"], block["two"])
        assert table.column(0).to_pylist() == [9, 1, 5]
        assert table.column(1).to_pylist() == [3, None, 7]
        assert bytes(block["two"].buffers[0] or b"") == b"\x05"

    def test_which_parts_there_are(self, rows: PackedRows) -> None:
        assert rows.seen(2, 32, 32, 1000) == [0, 1, 0xAB]
        assert rows.seen(2, 32, 32, 2) == [0, 1], "0xAB is beyond"

    def test_dictionary(self, rows: PackedRows) -> None:
        column = rows.dictionary("name", 2, 0, 32, {1: "one", 2: "two"}, 3)
        assert read(column).column(0).to_pylist() == [None, "two", "one"]

    def test_bits(self, rows: PackedRows) -> None:
        odd, doubtful = rows.bits("odd", 0, 3, 1), rows.bits("odd", 0, 3, 1, (0, 8, 8))
        table = read(odd, doubtful)
        assert table.column(0).to_pylist() == [True, True, True]
        assert table.column(1).to_pylist() == [None, True, True]

    def test_many_rows(self) -> None:
        """Bitmaps whose last byte is not full."""
        for count in (7, 8, 9, 63, 64, 65):
            words = [MISSING if at % 3 == 0 else at for at in range(count)]
            rows = PackedRows(ffi.new("uint64_t[]", words), 1, count)
            table = read(rows.words("one", 0, missing=True), steps("two", 8, 4, count))
            expected = [None if value == MISSING else value for value in words]
            assert table.column(0).to_pylist() == expected
            assert table.column(1).to_pylist() == list(range(8, 8 + 4 * count, 4))
