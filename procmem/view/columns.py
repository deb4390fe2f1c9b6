"""Plain tables of text."""

from __future__ import annotations

from typing import NamedTuple

from procmem.errors import BadArgument
from procmem.units import in_unit
from procmem.view.colours import faint, has_colours, without_colours
from procmem.view.names import cells, padded, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Column", "columns", "fitted", "fitted_columns", "kib", "narrowed", "pairs", "prose"]

kib = in_unit("KiB")
"""Bytes in KiB, as pmap and ps print them; "-" for what was not read."""

GAP = 2
"""Blanks between columns."""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        key: its name for --columns.
        title: its heading.
        align: "<" or ">".
        rank: the order in which columns are left out if a line is too narrow: the highest rank
            first, rank 0 never.
        floor: the width to which its texts are cut before columns are left out; 0: never cut.
        keep_end: texts are cut at the start, as for paths.
        wrapped: texts continue in further lines instead of being cut; only for the last column.
        paint: makes a coloured text of what is shown of a cell, and of the whole cell; called
            only if the output has colours, and not for heading and footer.
        like: the key of the column whose whole cell `paint` is given instead, if that column is
            left out; otherwise this one is not painted.
    """

    key: str
    title: str
    align: str = "<"
    rank: int = 0
    floor: int = 0
    keep_end: bool = False
    wrapped: bool = False
    paint: Callable[[str, str], str] | None = None
    like: str = ""


def columns(
    heading: Sequence[str],
    rows: Iterable[Sequence[str]],
    align: str,
    *,
    footer: Sequence[str] | None = None,
) -> str:
    """A table whose columns are as wide as their texts.

    Args:
        heading: a title for each column.
        rows: texts, one for each column; the last column is not padded.
        align: "<" or ">" for each column.
        footer: a last row, set off by a rule.
    """
    made = [Column("", title, way) for title, way in zip(heading, align, strict=True)]
    return fitted(made, rows, footer=footer)


def fitted(
    made: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    footer: Sequence[str] | None = None,
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """A table that fits the terminal.

    Columns are left out in a fixed order, and a last line names them.

    Args:
        made: the columns.
        rows: texts, one for each column.
        footer: a last row, set off by a rule.
        width: cells per line; None: as many as needed.
        chosen: keys of the columns to show, in their order; None: all.

    Raises:
        BadArgument: there is no such column.
    """
    body = [*zip(*[map(str, row) for row in rows], strict=True)] or [()] * len(made)
    return fitted_columns(made, body, footer=footer, width=width, chosen=chosen)


def fitted_columns(
    made: Sequence[Column],
    body: Sequence[Sequence[str]],
    *,
    footer: Sequence[str] | None = None,
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """A table that fits the terminal, from the texts of each column; see fitted()."""
    places = list(range(len(made)))
    if chosen is not None:
        keys = [column.key for column in made]
        places = [keys.index(known(key, keys, "column")) for key in chosen]
    heading = [column.title for column in made]
    natural = {
        place: max(
            cells(heading[place]), cells(footer[place]) if footer else 0, widest(body[place])
        )
        for place in places
    }
    shown, widths = places_that_fit(made, places, natural, width)
    rule = (" " * GAP).join("-" * widths[place] for place in shown)
    lines = [*row_lines(made, shown, heading, widths, inside=False), rule]
    lines += body_lines(made, shown, body, widths)
    if footer:
        lines += [rule, *row_lines(made, shown, footer, widths, inside=False)]
    text = "\n".join(lines) + "\n"
    return text + left_out([made[place].title for place in places if place not in shown], width)


def widest(texts: Sequence[str]) -> int:
    """The cells of the widest text."""
    count = len if "".join(texts).isascii() else cells
    return max(map(count, texts), default=0)


def body_lines(
    made: Sequence[Column],
    shown: Sequence[int],
    body: Sequence[Sequence[str]],
    widths: dict[int, int],
) -> list[str]:
    """The rows as lines. See row_lines()."""
    if has_colours() or any(made[place].wrapped for place in shown):
        rows = zip(*body, strict=True)
        return [line for row in rows for line in row_lines(made, shown, row, widths, inside=True)]
    # Column by column: a table may have 30,000 rows.
    parts: list[Sequence[str]] = []
    for place in shown:
        column, room, texts = made[place], widths[place], body[place]
        if widest(texts) > room:
            texts = [shorter(text, room, keep_end=column.keep_end) for text in texts]
        if not "".join(texts).isascii():
            texts = [padded(text, room, column.align) for text in texts]
        elif column.align == ">":
            texts = [text.rjust(room) for text in texts]
        elif place != shown[-1]:
            texts = [text.ljust(room) for text in texts]
        parts.append(texts)
    return [line.rstrip() for line in map((" " * GAP).join, zip(*parts, strict=True))]


def places_that_fit(
    made: Sequence[Column], places: list[int], natural: dict[int, int], width: int | None
) -> tuple[list[int], dict[int, int]]:
    """The columns that fit into a line, and their widths."""
    shown = list(places)
    while True:
        widths = {place: natural[place] for place in shown}
        if width is None:
            return shown, widths
        over = sum(widths.values()) + GAP * (len(shown) - 1) - width
        # Those that may be cut give what they can, the last one first.
        for place in reversed(shown):
            floor = made[place].floor
            if over > 0 and floor and widths[place] > floor:
                given = min(over, widths[place] - floor)
                widths[place] -= given
                over -= given
        if over <= 0:
            return shown, widths
        least = max(shown, key=lambda place: made[place].rank)
        if not made[least].rank or len(shown) == 1:
            # None is left that may go: all are cut, the last one first.
            for place in reversed(shown):
                given = min(max(over, 0), widths[place] - 1)
                widths[place] -= given
                over -= given
            return shown, widths
        shown.remove(least)


def row_lines(
    made: Sequence[Column],
    shown: Sequence[int],
    row: Sequence[str],
    widths: dict[int, int],
    *,
    inside: bool,
) -> list[str]:
    """A row as lines; more than one if its last column is wrapped.

    Args:
        made: the columns.
        shown: the places of those that are shown.
        row: a text for each column.
        widths: cells, by place.
        inside: whether it is neither heading nor footer.
    """
    parts, rest = [], []
    coloured = inside and has_colours()
    place_of = {column.key: place for place, column in enumerate(made)} if coloured else {}
    for place in shown:
        column, room = made[place], widths[place]
        text = row[place]
        if column.wrapped and inside and cells(text) > room:
            text, *rest = wrapped(text, room)
        else:
            text = shorter(text, room, keep_end=column.keep_end)
        cell = padded(text, room, column.align)
        if coloured and column.paint is not None and text:
            # The escape sequences take no cells: blanks were counted without them.
            source = place_of.get(column.like, place)
            if not column.like or source not in shown:
                cell = cell.replace(text, column.paint(text, row[source]), 1)
        parts.append(cell)
    indent = sum(widths[place] + GAP for place in shown[:-1])
    return [(" " * GAP).join(parts).rstrip(), *(" " * indent + text for text in rest)]


MOST_NAMED = 6


def left_out(titles: Sequence[str], width: int | None) -> str:
    """A line that names the columns that were left out."""
    if not titles or width is None:
        return ""
    named = ", ".join(titles[:MOST_NAMED])
    if len(titles) > MOST_NAMED:
        named += f" and {len(titles) - MOST_NAMED} more"
    return faint(prose(f"Not in {width} columns: {named} (--columns selects).", width))


def known(word: str, names: Sequence[str], what: str) -> str:
    """The word, if it is one of the names.

    Raises:
        BadArgument: it is none of them; the message suggests a name and lists all.
    """
    if word in names:
        return word
    from procmem.view.names import printable

    raise BadArgument(
        f"unknown {what} {printable(word)!r}{did_you_mean(word, names)}; "
        f"expected one of {', '.join(names)}"
    )


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A suggestion of the name that was probably meant; empty if no name is similar."""
    from difflib import SequenceMatcher

    typed = word.lower()
    by_lower = {name.lower(): name for name in names}
    near = {name: SequenceMatcher(None, name, typed).ratio() for name in by_lower}
    # Of two that are equally near ("mapz": maps, pmap) the one with the same first letter.
    best = max(near, key=lambda name: (near[name], name.startswith(typed[:1])), default="")
    return f", did you mean {by_lower[best]!r}?" if near.get(best, 0) >= LIKENESS else ""


LIKENESS = 0.6
"""How like a name a word is at least that was probably meant for it (difflib's ratio)."""


def prose(text: str, width: int | None, indent: str = "") -> str:
    """A text in lines that fit; in one line if there is no width."""
    if width is None:
        return text + "\n"
    first, *rest = wrapped(text, width, len(indent))
    return "\n".join([first, *(indent + line for line in rest)]) + "\n"


def narrowed(text: str, width: int | None) -> str:
    """A text made for 80 cells, for a narrower terminal: sentences are wrapped, rows are cut.

    Args:
        text: lines of printable characters, and of colours; lines that do not fit lose them.
        width: cells per line; None: the text stays as it is.
    """
    if width is None:
        return text
    lines = []
    for coloured in text.splitlines():
        line = without_colours(coloured)
        indent = len(line) - len(line.lstrip(" "))
        if cells(line) <= width:
            lines.append(coloured)
        elif set(line) <= {"-", " "} or "  " in line.strip():
            lines.append(shorter(line, width))
        else:
            lines += prose(line, width, " " * min(indent + 2, width // 2)).splitlines()
    return "".join(f"{line}\n" for line in lines)


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """A text wrapped to a width; words that are longer than a line are broken.

    Args:
        text: printable characters.
        width: cells per line.
        indent: by how much the lines after the first are narrower.
    """
    lines: list[str] = []
    first, *words = text.lstrip(" ").split(" ")
    line = text[: len(text) - len(text.lstrip(" "))] + first
    for word in [None, *words]:
        room = max(width - (indent if lines else 0), 1)
        if word is None:
            pass  # the first has no neighbour
        elif cells(line) + 1 + cells(word) <= room:
            line = f"{line} {word}"
        else:
            lines.append(line)
            line = word
        room = max(width - (indent if lines else 0), 1)
        while cells(line) > room:
            part = shorter(line, room, dots="") or line[:1]
            lines.append(part)
            line = line[len(part) :]
            room = max(width - indent, 1)
    return [*lines, line]


def pairs(
    rows: Iterable[tuple[str, str]],
    screen: int | None = None,
    paints: Mapping[str, Callable[[str, str], str]] | None = None,
) -> str:
    """Lines with a name and a value each.

    Args:
        rows: pairs of a name and a value.
        screen: cells per line; longer values are wrapped. None: they are not.
        paints: how values are coloured, by their names; see Column.paint.
    """
    listed = list(rows)
    width = max(cells(name) for name, _ in listed)
    text = ""
    for name, value in listed:
        head = padded(name, width + GAP)
        if screen is None or width + GAP + cells(value) <= screen:
            paint = (paints or {}).get(name) if has_colours() else None
            text += f"{head}{paint(value, value) if paint else value}".rstrip() + "\n"
            continue
        room = screen - width - GAP
        indent = " " * (width + GAP)
        if room < NARROW:
            text += shorter(name, screen) + "\n"
            room, indent, head = max(screen - GAP, 1), " " * GAP, " " * GAP
        first, *rest = wrapped(value, room)
        text += f"{head}{first}\n" + "".join(f"{indent}{line}\n" for line in rest)
    return text


NARROW = 16
"""If values have fewer cells than this, they stand below their names."""
