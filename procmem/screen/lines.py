"""The widgets of the screen: lines above, rows that scroll, hints below; drawn line by line."""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from procmem.screen.tables import RowLayout, TextPiece, TextRows, heading_of, layout_of, pieces_of
from procmem.view.names import cells, only_ascii, printable, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar

    from textual.binding import BindingType
    from textual.events import Click, Key, Paste, Resize

    from procmem.screen.tables import ScreenTable

__all__ = ["FilterLine", "HintLine", "ScreenHead", "ScreenRows"]

STYLES = {"trend": "cyan"}
"""Colours by what they are for; others are "color" and a number of 256."""

SELECTED = "reverse bold"

MORE = ("…", "...")
"""What stands for the rest of a line where there is little room; the second where only ASCII is."""


@lru_cache(1024)
def style_of(words: str, selected: bool = False) -> Style:
    """The style that some words name; a selected row has no colours."""
    if selected:
        return Style.parse(SELECTED)
    parts = [STYLES.get(word, word) for word in words.split()]
    parts = [
        f"color({word[5:]})" if word.startswith("color") and word[5:].isdigit() else word
        for word in parts
    ]
    return Style.parse(" ".join(parts))


def strip_of(pieces: Sequence[TextPiece], width: int, *, selected: bool = False) -> Strip:
    """Pieces as a line of so many cells."""
    segments = [Segment(text, style_of(style, selected)) for text, style in pieces if text]
    return Strip(segments).adjust_cell_length(width, style_of("", selected))


def cut(pieces: Sequence[TextPiece], width: int) -> list[TextPiece]:
    """Pieces that fit into a line, the last one cut with dots."""
    found: list[TextPiece] = []
    room = width
    for text, style in pieces:
        if cells(text) > room:
            part = shorter(text, room) if room > 3 else MORE[only_ascii()][:room]
            return [*found, TextPiece(part, style)]
        found.append(TextPiece(text, style))
        room -= cells(text)
    return found


class ScreenRows(ScrollView, can_focus=True):
    """The rows of a table. Only those on the screen are made.

    Attributes:
        table: the table.
        cursor: the selected row.
        selected: whether the user has moved there.
        made: how many rows were made so far, for tests.
    """

    DEFAULT_CSS = """
    ScreenRows {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        background: ansi_default;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "edge(0)", "first", show=False),
        Binding("end", "edge(1)", "last", show=False),
        Binding("enter", "open", "open", show=False),
    ]

    class Opened(Message):
        """A row was chosen, by Enter or the mouse.

        Args:
            table: the table that it is a row of.
            row: its number.
        """

        def __init__(self, table: ScreenTable, row: int) -> None:
            super().__init__()
            self.table = table
            self.row = row

    def __init__(self) -> None:
        super().__init__()
        self.table: ScreenTable = TextRows([])
        self.cursor = 0
        self.made = 0
        self.message = ""
        self.selected = False
        self._fitted: RowLayout | None = None

    def put(self, table: ScreenTable, message: str = "") -> None:
        """Shows a table. A row that the user has selected stays so, wherever it is now.

        Args:
            table: its rows.
            message: what is said if there are none.
        """
        before = self.table
        if table is not before:
            at = min(self.cursor, max(len(table) - 1, 0))
            if type(table) is not type(before):
                self.selected = False
            if self.selected and table.selectable and self.cursor < len(before):
                found = table.place_of(before.key(self.cursor))
                at = at if found is None else found
            elif not self.selected and table.selectable:
                at = 0
            shift = at - self.cursor
            self.table, self.cursor = table, at
            self._fitted = None
            self.virtual_size = Size(self.size.width, len(table))
            if type(table) is not type(before):
                self.scroll_to(y=0, animate=False, immediate=True)
            elif shift and table.selectable:
                # The selected row stays where it is on the screen.
                self.scroll_to(y=self.scroll_offset.y + shift, animate=False, immediate=True)
            self._follow()
        if table is not before or message != self.message:
            self.message = message
            self.refresh()

    @property
    def fitted(self) -> RowLayout:
        """The columns that fit."""
        if self._fitted is None:
            self._fitted = layout_of(self.table, self.size.width)
        return self._fitted

    def on_resize(self, _event: Resize) -> None:
        """Other columns may fit now."""
        self._fitted = None
        self.virtual_size = Size(self.size.width, len(self.table))
        self._follow()

    def render_line(self, y: int) -> Strip:
        """A line of the screen."""
        width, row = self.size.width, y + self.scroll_offset.y
        if not len(self.table) and self.message:
            if y == 0:
                return strip_of(cut([TextPiece(self.message, "dim")], width), width)
            return Strip.blank(width)
        if not 0 <= row < len(self.table):
            return Strip.blank(width)
        self.made += 1
        selected = self.table.selectable and row == self.cursor
        return strip_of(pieces_of(self.table, row, self.fitted), width, selected=selected)

    def _follow(self) -> None:
        """Scrolls so that the selected row is seen."""
        if not self.table.selectable:
            return
        top, height = self.scroll_offset.y, max(self.size.height, 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def select(self, row: int) -> None:
        """Selects a row, or the nearest that there is."""
        self.cursor = max(0, min(row, len(self.table) - 1))
        self.selected = self.cursor > 0
        self._follow()
        self.refresh()

    def action_move(self, by: int) -> None:
        """Moves by rows."""
        if self.table.selectable:
            self.select(self.cursor + by)
        else:
            self.scroll_to(y=self.scroll_offset.y + by, animate=False, immediate=True)

    def action_page(self, by: int) -> None:
        """Moves by what the screen shows."""
        self.action_move(by * max(1, self.size.height - 1))

    def action_edge(self, end: int) -> None:
        """Moves to the first or the last row."""
        self.action_move((1 if end else -1) * (len(self.table) + 1))

    def action_open(self) -> None:
        """Chooses the selected row."""
        if self.table.selectable and len(self.table):
            self.post_message(self.Opened(self.table, self.cursor))

    def on_click(self, event: Click) -> None:
        """Selects a row; a click on the selected row chooses it."""
        row = event.y + self.scroll_offset.y
        if not self.table.selectable or row >= len(self.table):
            return
        if row == self.cursor:
            self.action_open()
        else:
            self.select(row)


class ScreenHead(Widget):
    """Lines above the rows: what is shown, whether it is live, tabs, titles of columns."""

    DEFAULT_CSS = """
    ScreenHead { height: 3; background: ansi_default; }
    """

    class Chosen(Message):
        """A tab or the title of a column was clicked.

        Args:
            tab: the name of the tab; empty: none.
            column: the key of the column; empty: none.
        """

        def __init__(self, tab: str = "", column: str = "") -> None:
            super().__init__()
            self.tab = tab
            self.column = column

    def __init__(self) -> None:
        super().__init__()
        self.above: list[list[TextPiece]] = []
        self.tabs: Sequence[str] = ()
        self.tab = ""
        self.rows: ScreenRows | None = None

    def put(
        self,
        above: list[list[TextPiece]],
        tabs: Sequence[str],
        tab: str,
        rows: ScreenRows,
        *,
        titles: bool,
    ) -> None:
        """Shows lines, the names of tabs, and the titles of the columns of rows."""
        self.above, self.tabs, self.tab = above, tabs, tab
        self.rows = rows if titles else None
        height = len(above) + bool(tabs) + titles
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height
        self.refresh()

    def tab_pieces(self) -> list[tuple[TextPiece, str]]:
        """The tabs, each with its name; shorter words where the line is short."""
        whole = sum(len(name) + 4 for name in self.tabs)
        most = 99 if whole <= self.size.width else max(1, self.size.width // len(self.tabs) - 3)
        found = []
        for number, name in enumerate(self.tabs, 1):
            style = "reverse" if name == self.tab else ""
            found.append((TextPiece(f" {number} {name[:most]} ", style), name))
        return found

    def render_line(self, y: int) -> Strip:
        """A line of the screen."""
        width = self.size.width
        if y < len(self.above):
            return strip_of(cut(self.above[y], width), width)
        if self.tabs and y == len(self.above):
            return strip_of([piece for piece, _ in self.tab_pieces()], width)
        if self.rows is None or not len(self.rows.table):
            return Strip.blank(width)
        return strip_of(heading_of(self.rows.table, self.rows.fitted), width)

    def on_click(self, event: Click) -> None:
        """Chooses a tab or a column."""
        if self.tabs and event.y == len(self.above):
            end = 0
            for piece, name in self.tab_pieces():
                end += len(piece.text)
                if event.x < end:
                    self.post_message(self.Chosen(tab=name))
                    return
        elif self.rows is not None and event.y == len(self.above) + bool(self.tabs):
            place = self.rows.fitted.column_at(event.x)
            if place is not None:
                self.post_message(self.Chosen(column=self.rows.table.columns[place].key))


class HintLine(Widget):
    """The keys that do something here, each of which can be clicked."""

    DEFAULT_CSS = """
    HintLine { height: 1; background: ansi_default; }
    """

    class Pressed(Message):
        """A hint was clicked.

        Args:
            action: the action of its key.
        """

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def __init__(self) -> None:
        super().__init__()
        self.hints: list[tuple[str, str, str]] = []

    def put(self, hints: list[tuple[str, str, str]]) -> None:
        """Shows hints: of each the key, what it does, and the action."""
        if hints != self.hints:
            self.hints = hints
            self.refresh()

    def render_line(self, _y: int) -> Strip:
        """The line."""
        pieces = []
        for key, words, _ in self.hints:
            pieces += [TextPiece(key, "bold reverse"), TextPiece(f" {words}  ")]
        return strip_of(cut(pieces, self.size.width), self.size.width)

    def on_click(self, event: Click) -> None:
        """Does what a hint says."""
        end = 0
        for key, words, action in self.hints:
            end += cells(key) + cells(words) + 3
            if event.x < end:
                self.post_message(self.Pressed(action))
                return


class FilterLine(Widget, can_focus=True):
    """A line to type a filter in."""

    DEFAULT_CSS = """
    FilterLine { height: 1; display: none; background: ansi_default; }
    FilterLine.shown { display: block; }
    """

    class Typed(Message):
        """The text has changed, or typing has ended.

        Args:
            text: the text.
            done: whether typing has ended.
        """

        def __init__(self, text: str, *, done: bool) -> None:
            super().__init__()
            self.text = text
            self.done = done

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def render_line(self, _y: int) -> Strip:
        """The line."""
        width = self.size.width
        text = shorter(printable(self.text), max(width - 10, 1), keep_end=True)
        pieces = [TextPiece("Filter: ", "bold"), TextPiece(text), TextPiece(" ", "reverse")]
        return strip_of(cut(pieces, width), width)

    def on_key(self, event: Key) -> None:
        """Edits the text."""
        if event.key == "enter":
            self._say(self.text, done=True)
        elif event.key == "escape":
            self._say("", done=True)
        elif event.key in {"backspace", "ctrl+h"}:
            self._say(self.text[:-1])
        elif event.key == "ctrl+u":
            self._say("")
        elif event.is_printable and event.character is not None:
            self._say(self.text + event.character)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: Paste) -> None:
        """Takes the first line of what is pasted."""
        lines = event.text.splitlines()
        self._say(self.text + (lines[0] if lines else ""))
        event.stop()

    def _say(self, text: str, *, done: bool = False) -> None:
        self.text = text
        self.refresh()
        self.post_message(self.Typed(text, done=done))
