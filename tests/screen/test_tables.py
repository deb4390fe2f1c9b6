"""Columns that fit, rows that are cut, small pictures."""

from __future__ import annotations

import pytest

from procmem.screen.tables import (
    RowLayout,
    ScreenTable,
    TextPiece,
    TextRows,
    bar,
    heading_of,
    layout_of,
    ordered,
    pieces_of,
    spark,
)
from procmem.view.columns import Column
from procmem.view.names import cells, show_only_ascii


class Two(ScreenTable):
    def __init__(self) -> None:
        columns = [Column("a", "A", ">"), Column("b", "Bee", rank=1), Column("c", "C", floor=3)]
        super().__init__(columns, [4, 5, 20], 2, "b")

    def cells(self, row: int) -> list[str | TextPiece]:
        return ["12", TextPiece("日本語", "bold"), f"a long name {row}"]

    def whole(self, row: int) -> TextPiece | None:
        return TextPiece("all of it " * 5, "dim") if row else None


def text(pieces: list[TextPiece]) -> str:
    return "".join(piece.text for piece in pieces)


@pytest.mark.parametrize("width", [1, 5, 12, 20, 33, 80])
def test_rows_are_as_wide_as_the_line(width: int) -> None:
    table = Two()
    layout = layout_of(table, width)
    for row in range(2):
        assert cells(text(pieces_of(table, row, layout))) <= max(width, 4)
    assert cells(text(heading_of(table, layout))) <= max(width, 4)


def test_a_row() -> None:
    table = Two()
    layout = layout_of(table, 33)
    assert text(pieces_of(table, 0, layout)) == "  12  日...  a long name 0       "
    assert TextPiece("日...", "bold") in pieces_of(table, 0, layout)
    assert text(heading_of(table, layout)).rstrip() == "   A  Bee    C"
    assert TextPiece("Bee", "bold underline") in heading_of(table, layout)
    assert text(pieces_of(table, 1, layout)).startswith("all of it all")


def test_which_column_is_at_a_cell() -> None:
    layout = RowLayout([0, 2], {0: 4, 2: 10})
    assert [layout.column_at(x) for x in (0, 5, 6, 17, 18)] == [0, 0, 2, 2, None]


def test_rows_are_found_again() -> None:
    assert Two().place_of(1) == 1
    assert Two().place_of(7) is None
    rows = TextRows(["one", TextPiece("two", "bold")])
    assert len(rows) == 2
    assert text(pieces_of(rows, 1, layout_of(rows, 10))) == "two       "


def test_order() -> None:
    values = [3, None, 1, 2]
    assert ordered(range(4), values.__getitem__, rising=False) == [0, 3, 2, 1]
    assert ordered(range(4), values.__getitem__, rising=True) == [2, 3, 0, 1]


def test_pictures_in_ascii() -> None:
    show_only_ascii(True)
    try:
        assert spark([1, 2, 3], 3).isascii()
        assert bar(1, 2, 4) == "##  "
    finally:
        show_only_ascii(False)


def test_pictures() -> None:
    assert spark([], 3) == spark([None, None], 3) == "   "
    assert spark([0, 10, 5], 3) == "▁█▄"
    assert bar(3, 3, 4) == "████"
    assert bar(9, 3, 4) == "████"
    assert bar(1, None, 2) == "  "
