"""Rows of the screen: made one by one when they are drawn, so that their number costs nothing."""

from __future__ import annotations

from typing import NamedTuple

from procmem.view.columns import GAP, Column, places_that_fit
from procmem.view.names import only_ascii, padded, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

__all__ = [
    "RowLayout",
    "ScreenTable",
    "TextPiece",
    "TextRows",
    "bar",
    "heading_of",
    "layout_of",
    "ordered",
    "pieces_of",
    "spark",
]


class TextPiece(NamedTuple):
    """A text in one style.

    Attributes:
        text: printable characters.
        style: words of a style, such as "bold", "dim", "reverse", or a colour; see lines.STYLES.
    """

    text: str
    style: str = ""


class RowLayout(NamedTuple):
    """Which columns are shown, and how wide each is.

    Attributes:
        places: the places of the shown columns.
        widths: cells of each column that is shown, by its place.
    """

    places: list[int]
    widths: dict[int, int]

    def column_at(self, x: int) -> int | None:
        """The place of the column at a cell of the line; None: it is right of all."""
        end = 0
        for place in self.places:
            end += self.widths[place] + GAP
            if x < end:
                return place
        return None


class ScreenTable:
    """Rows that can be drawn. The last column takes the room that the others leave.

    Args:
        columns: the columns.
        widths: cells of each, the last one included.
        count: how many rows there are.
        sorted_by: the key of the column that the rows are sorted by; empty: none.
    """

    selectable = True
    """Whether a row can be selected; otherwise the rows are a text to scroll in."""

    def __init__(
        self, columns: Sequence[Column], widths: Sequence[int], count: int, sorted_by: str = ""
    ) -> None:
        self.columns = columns
        self.widths = widths
        self.count = count
        self.sorted_by = sorted_by

    def __len__(self) -> int:
        return self.count

    def key(self, row: int) -> Hashable:
        """What a row is of, so that it is found again in the next table."""
        return row

    def cells(self, row: int) -> Sequence[str | TextPiece]:
        """The texts of a row, one for each column."""
        raise NotImplementedError

    def whole(self, _row: int) -> TextPiece | None:
        """A text that takes the place of all columns of a row; None: the row has columns."""
        return None

    def place_of(self, key: Hashable) -> int | None:
        """The row of a key; None: there is none."""
        return next((row for row in range(self.count) if self.key(row) == key), None)


class TextRows(ScreenTable):
    """Lines of text.

    Args:
        lines: printable characters, each with a style or as it is.
    """

    selectable = False

    def __init__(self, lines: Sequence[str | TextPiece]) -> None:
        super().__init__((Column("text", ""),), (1 << 16,), len(lines))
        self.lines = lines

    def cells(self, row: int) -> Sequence[str | TextPiece]:
        """The line."""
        return (self.lines[row],)


def layout_of(table: ScreenTable, width: int) -> RowLayout:
    """Which columns fit into a number of cells."""
    natural = dict(enumerate(table.widths))
    places, widths = places_that_fit(table.columns, list(natural), natural, max(width, 1))
    left = width - sum(widths.values()) - GAP * (len(places) - 1)
    if left > 0:
        widths[places[-1]] += left
    return RowLayout(places, widths)


def heading_of(table: ScreenTable, layout: RowLayout) -> list[TextPiece]:
    """The titles of the columns; that of the column which the rows are sorted by is marked."""
    found = []
    for place in layout.places:
        column = table.columns[place]
        style = "bold underline" if column.key == table.sorted_by else "bold"
        text = shorter(column.title, layout.widths[place], dots="")
        blanks = " " * (layout.widths[place] - len(text))
        parts = [TextPiece(blanks), TextPiece(text, style)]
        found += [*(parts if column.align == ">" else reversed(parts)), TextPiece(" " * GAP)]
    return found[:-1]


def pieces_of(table: ScreenTable, row: int, layout: RowLayout) -> list[TextPiece]:
    """A row of the table."""
    whole = table.whole(row)
    if whole is not None:
        width = sum(layout.widths.values()) + GAP * (len(layout.places) - 1)
        return [whole._replace(text=padded(shorter(whole.text, width), width))]
    texts = table.cells(row)
    found = []
    for place in layout.places:
        column, room, text = table.columns[place], layout.widths[place], texts[place]
        style = ""
        if isinstance(text, TextPiece):
            text, style = text
        text = padded(shorter(text, room, keep_end=column.keep_end), room, column.align)
        found += [TextPiece(text, style), TextPiece(" " * GAP)]
    return found[:-1]


# ---- small pictures -----------------------------------------------------------------


SPARKS = "▁▂▃▄▅▆▇█"
ASCII_SPARKS = "_.:-=+*#"


def spark(values: Sequence[int | None], width: int) -> str:
    """The last values as a line of bars between the least and the largest of them.

    Values that never change are all at the bottom; a blank stands where there is none.

    >>> spark([1, 2, 3, None, 8], 6), spark([5, 5], 3)
    (' ▁▂▃ █', ' ▁▁')
    """
    shown = list(values[-width:]) if width > 0 else []
    known = [value for value in shown if value is not None]
    if not known:
        return " " * width
    low, room = min(known), max(known) - min(known)
    marks = ASCII_SPARKS if only_ascii() else SPARKS
    top = len(marks) - 1
    line = "".join(
        " " if value is None else marks[(value - low) * top // room if room else 0]
        for value in shown
    )
    return line.rjust(width)


EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(part: int | None, whole: int | None, width: int) -> str:
    """A part of a whole as a bar; what is not 0 has at least an eighth of a cell.

    >>> bar(1, 2, 4), bar(1, 1000, 2), bar(0, 3, 2), bar(None, 3, 2)
    ('██  ', '▏ ', '  ', '  ')
    """
    if not part or not whole or width <= 0:
        return " " * max(width, 0)
    if only_ascii():
        return ("#" * max(1, min(width, part * width // whole))).ljust(width)
    eighths = max(1, min(8 * width, part * 8 * width // whole))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(width)


def ordered(
    rows: Sequence[int], value: Callable[[int], int | str | None], *, rising: bool
) -> list[int]:
    """Rows in the order of a value; those without one are last."""
    known = [row for row in rows if value(row) is not None]
    unknown = [row for row in rows if value(row) is None]
    known.sort(key=lambda row: value(row) or 0, reverse=not rising)
    return known + unknown
