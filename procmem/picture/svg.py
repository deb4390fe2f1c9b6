"""Pictures as SVG text: bars, an address space, layers over time, the steps of an experiment.

A picture is one element without scripts and without anything from elsewhere. Its `desc` states in
words what is drawn, so that a screen reader reads the figures, and each shape has a title with the
exact figures. Colours follow the reader's light or dark setting; a letter stands beside each.
"""

from __future__ import annotations

import math
import re
from html import escape
from typing import NamedTuple

from procmem.names import escaped
from procmem.picture.palette import DARK, LIGHT, tone
from procmem.picture.shapes import CHANGED, GONE, MOST_ROWS, NEW, largest_bars, map_rows, marks_in
from procmem.units import about, comparable, kib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from procmem.picture.shapes import MapBlock, MapRow, MapSpan, SizeBar, StepChange, TimeLayer

__all__ = [
    "Panel",
    "address_map",
    "areas",
    "bars",
    "document",
    "is_picture",
    "prose",
    "row_map",
    "size_ticks",
    "stacked",
    "steps",
    "style",
    "time_ticks",
]

WIDTH = 760
"""Units across a picture: CSS pixels, if it is not scaled."""

EDGE = 16
INNER = WIDTH - 2 * EDGE

NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'
START = f'<svg{NAMESPACE} role="img" class="procmem-svg"'

INKS = {
    "ink": ("#1d2329", "#e4e7ea"),
    "dim": ("#56616b", "#a3aeb8"),
    "rule": ("#c9ced3", "#3f4952"),
    "paper": (LIGHT, DARK),
}
"""Colours of text, lines and background, in light and dark."""

CELL = 6.2
"""The width that a character of 11 units is given room for; those of East Asia take two."""

SIGNS = {NEW: "+", GONE: "\u2212", CHANGED: "\u2195", "": ""}
MARK_WORDS = {NEW: "new", GONE: "gone afterwards", CHANGED: "changed"}


class Panel(NamedTuple):
    """A part of a picture; parts stand below each other.

    Attributes:
        height: in units.
        shapes: SVG elements, drawn from (0, 0) on.
        tones: names of the colours in it.
        words: what it shows, as sentences for those who do not see it.
    """

    height: float
    shapes: str
    tones: frozenset[str]
    words: str


# ---- text ---------------------------------------------------------------------------


def text_of(text: str) -> str:
    r"""Text that may stand in an element or an attribute; what can't be seen is written as escapes.

    >>> text_of("<b>&\x1b[2J\udcff\u202e")
    '&lt;b&gt;&amp;\\x1b[2J\\xff\\u202e'
    """
    return escape(visible(text), quote=True)


def visible(text: str) -> str:
    """A text whose names are escaped already; whatever else can't be seen is escaped here."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else escaped(c) for c in text)


def cells(text: str) -> int:
    """The room that a text needs, in characters of usual width."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def cut(text: str, room: float, *, keep_end: bool = False) -> str:
    """A text cut to so many units, with dots for what is missing."""
    most = max(int(room / CELL), 1)
    text = visible(text)
    if cells(text) <= most:
        return text
    kept: list[str] = []
    left = most - 1
    for character in reversed(text) if keep_end else text:
        left -= cells(character)
        if left < 0:
            break
        kept.append(character)
    return "…" + "".join(reversed(kept)) if keep_end else "".join(kept) + "…"


def written(
    x: float, y: float, text: str, look: str = "ink", anchor: str = "", *, more: str = ""
) -> str:
    """A line of text; `look` is one or more classes."""
    placed = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:g}" y="{y:g}" class="{look}"{placed}{more}>{text_of(text)}</text>'


def lines_of(text: str, room: float, most: int = 8) -> list[str]:
    """A sentence in lines that fit; a word that is longer than a line is broken."""
    from textwrap import wrap

    text = visible(text)
    columns = max(int(room / CELL), 8)
    if cells(text) > len(text):
        columns //= 2
    return wrap(text, columns, break_on_hyphens=False, max_lines=most, placeholder=" …")


def heading(title: str) -> str:
    """The title of a panel."""
    return written(0, 10, cut(title, INNER * 0.9), "ink sub")


def box(x: float, y: float, width: float, height: float, look: str, title: str = "") -> str:
    """A rectangle, with the text that is shown where it is pointed at."""
    start = (
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" '
        f'height="{number(height)}" class="{look}"'
    )
    return f"{start}><title>{text_of(title)}</title></rect>" if title else f"{start}/>"


def number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def figure(value: int) -> str:
    """Bytes as a label: whole KiB below 10 MiB, so that pages can be counted."""
    if not value:
        return "0"
    return kib(value) if abs(value) < 10 << 20 else about(value)


def known(value: int | None) -> str:
    return "-" if value is None else figure(value)


def exact(value: int | None) -> str:
    return "not known" if value is None else comparable(value)


def difference(value: int | None) -> str:
    """A change, with its sign; nothing if there is none."""
    return f"{'+' if value > 0 else '-'}{figure(abs(value))}" if value else ""


def class_of(key: str) -> str:
    """The class of a colour: of its tone, since several uses have one."""
    return "t-" + re.sub(r"[^a-z0-9]+", "-", tone(key).name.lower())


# ---- the whole picture --------------------------------------------------------------


def document(
    title: str, said: Sequence[str], panels: Sequence[Panel], *, alone: bool = True
) -> str:
    """The picture of some panels, below each other, as one `svg` element.

    Args:
        title: what is shown, in a few words.
        said: lines below it.
        panels: what is drawn.
        alone: whether it is a file by itself. False: it is part of a page of HTML, which has
            style() once for all its pictures.
    """
    top = EDGE + 14.0
    body = [written(EDGE, top, cut(title, INNER * 0.8), "ink head")]
    for line in said:
        for piece in lines_of(line, INNER):
            top += 16
            body.append(written(EDGE, top, piece, "dim"))
    top += 18
    tones: set[str] = set()
    words = [one.rstrip(".") + "." for one in said if one]
    for panel in panels:
        body.append(f'<g transform="translate({EDGE} {number(top)})">{panel.shapes}</g>')
        top += panel.height + 14
        tones |= panel.tones
        words.append(panel.words)
    height = math.ceil(top + EDGE - 14)
    start = START if alone else START.replace(NAMESPACE, "")
    return "\n".join(
        [
            f'{start} viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
            f"<title>{text_of(title)}</title>",
            f"<desc>{text_of(' '.join(filter(None, words)))}</desc>",
            *([f"<style>{style(tones)}</style>"] if alone else []),
            box(0, 0, WIDTH, height, "paper"),
            *body,
            "</svg>\n",
        ]
    )


def style(tones: Iterable[str]) -> str:
    """The colours as CSS; a program that knows no media queries draws the light ones."""
    looks = [
        ".procmem-svg text{font:11px system-ui,'Segoe UI','DejaVu Sans',sans-serif}",
        ".procmem-svg .head{font-size:16px;font-weight:600}",
        ".procmem-svg .sub{font-size:12px;font-weight:600}",
        ".procmem-svg .mono{font:10px ui-monospace,'DejaVu Sans Mono',monospace}",
        ".procmem-svg .bold{font-weight:700}",
        ".procmem-svg .pale{fill-opacity:.22}",
        ".procmem-svg .line{fill:none;stroke-width:1}",
        ".procmem-svg .strong{fill:none;stroke-width:2}",
        ".procmem-svg .dash{stroke-dasharray:3 3}",
    ]
    chosen = [tone(name) for name in sorted(tones)]
    for at in (0, 1):
        rules = [
            f".procmem-svg .{name}{{fill:{colours[at]}}}"
            f".procmem-svg .{name}-line{{stroke:{colours[at]}}}"
            for name, colours in INKS.items()
        ]
        rules += [
            f".procmem-svg .{class_of(one.name)}{{fill:{(one.light, one.dark)[at]}}}"
            for one in chosen
        ]
        text = "".join(rules)
        looks.append(f"@media (prefers-color-scheme:dark){{{text}}}" if at else text)
    return "\n".join(looks)


def is_picture(start: bytes) -> bool:
    """Whether a file that starts like this is one of our pictures, and may be overwritten."""
    return start.startswith(START.encode())


def prose(title: str, sentences: Sequence[str], most: int = 12) -> Panel:
    """Sentences, each a paragraph."""
    shapes = [heading(title)] if title else []
    top = 12.0 if title else 0.0
    left = len(sentences) - most
    for sentence in [*sentences[:most], *([f"and {left:,} more"] if left > 0 else [])]:
        for at, piece in enumerate(lines_of(sentence, INNER - 14)):
            top += 15
            if not at:
                shapes.append(written(2, top, "•", "dim"))
            shapes.append(written(14, top, piece))
    return Panel(top + 4, "".join(shapes), frozenset(), " ".join([title, *sentences[:most]]))


# ---- bars ---------------------------------------------------------------------------

LABEL, WIDE_LABEL = 170, 250
FIGURE = 78
"""Units for the label of a row, and for the figure behind a bar."""


def bars(
    title: str, figures: Sequence[str], rows: Sequence[SizeBar], total: SizeBar | None = None
) -> Panel:
    """A row for each group, a bar for each of its figures, on a scale of each figure's own.

    Args:
        title: what the groups are.
        figures: names of the figures, such as "RSS".
        rows: the groups, the largest first.
        total: the sums, in a row of their own.
    """
    rows = largest_bars(rows)
    pairs = any(row.before is not None for row in rows)
    column = (INNER - LABEL) / max(len(figures), 1)
    room = column - FIGURE - (82 if pairs else 6)
    high = 30 if pairs else 20
    most = [
        max(
            [side[at] or 0 for row in rows for side in (row.values, row.before or ()) if side]
            or [0]
        )
        for at in range(len(figures))
    ]
    shapes = [heading(title)]
    shapes += [written(LABEL + at * column, 10, name, "ink sub") for at, name in enumerate(figures)]
    words = [f"{title}:"]
    top = 18.0
    for row in [*rows, *([total] if total is not None else [])]:
        whole = row is total
        if whole:
            shapes.append(rule(0, top, INNER, top))
        look = "ink bold" if whole else "ink"
        if not whole:
            shapes.append(box(0, top + high / 2 - 6, 12, 12, class_of(row.key)))
            shapes.append(written(24, top + high / 2 + 4, tone(row.key).mark, "dim mono", "middle"))
        left = 0 if whole else 34
        shapes.append(written(left, top + high / 2 + 4, cut(row.name, LABEL - left - 6), look))
        said = []
        for at, figure in enumerate(figures):
            now = row.values[at]
            was = None if row.before is None else row.before[at]
            x = LABEL + at * column
            label = f"{row.name}: {figure} {exact(now)}"
            if row.before is not None:
                label = f"{row.name}: {figure} {exact(was)} before, {exact(now)} after"
            said.append(label.removeprefix(f"{row.name}: "))
            sides = [(was, top + 4, 9), (now, top + 16, 9)] if pairs else [(now, top + 4, 12)]
            for place, (value, y, tall) in enumerate(sides):
                if whole or not value:
                    width = 0.0
                else:
                    width = max(room * value / most[at], 1)
                    first = pairs and not place
                    look_of = class_of(row.key) + (" pale" if first else "")
                    shapes.append(box(x, y, width, tall, look_of, label))
                shapes.append(written(x + width + 4, y + tall - 1.5, known(value), "ink"))
            if pairs and now is not None and was is not None and now != was:
                shapes.append(
                    written(x + column - 8, top + 19, difference(now - was), "ink bold", "end")
                )
        words.append(f"{row.name}: {', '.join(said)}.")
        top += high
    if pairs:
        top += 14
        shapes.append(
            written(
                0,
                top,
                "Upper bar: before. Lower bar: after. Each column has a scale of its own.",
                "dim",
            )
        )
    else:
        top += 14
        shapes.append(written(0, top, "Each column has a scale of its own.", "dim"))
    tones = frozenset(tone(row.key).name for row in rows)
    return Panel(top + 4, "".join(shapes), tones, " ".join(words))


ROOM_FOR_MARK = 12


def stacked(
    title: str, parts: Sequence[tuple[str, str]], rows: Sequence[tuple[str, Sequence[int]]]
) -> Panel:
    """A bar for each row, made of the same parts; all bars have one scale.

    Args:
        title: what the rows are.
        parts: for each part a word and the name of its colour.
        rows: for each its name, where blanks at the start indent it, and the bytes of each part.
    """
    most = max([sum(values) for _, values in rows] + [1])
    room = INNER - WIDE_LABEL - FIGURE
    shapes = [heading(title)]
    words = [f"{title}:"]
    left = 0.0
    top = 28.0
    for word, key in parts:
        shapes.append(box(left, top - 10, 12, 12, class_of(key)))
        shapes.append(written(left + 16, top, f"{tone(key).mark} {word}", "dim"))
        left += 30 + CELL * (cells(word) + 2)
    top += 8
    for name, values in rows:
        indent = CELL * (len(name) - len(name.lstrip(" ")))
        label = name.strip()
        shapes.append(written(indent, top + 14, cut(label, WIDE_LABEL - indent - 6)))
        x = float(WIDE_LABEL)
        said = []
        for (word, key), value in zip(parts, values, strict=True):
            said.append(f"{word} {exact(value)}")
            width = room * value / most
            if value:
                shapes.append(
                    box(x, top + 4, width, 13, class_of(key), f"{label}: {word} {exact(value)}")
                )
            if width >= ROOM_FOR_MARK:
                shapes.append(written(x + 3, top + 14, tone(key).mark, "paper mono"))
            x += width
        shapes.append(written(x + 4, top + 14, figure(sum(values))))
        words.append(f"{label}: {', '.join(said)}.")
        top += 20
    return Panel(top + 4, "".join(shapes), frozenset(tone(key).name for _, key in parts),
                 " ".join(words))  # fmt: skip


def rule(x: float, y: float, to_x: float, to_y: float, look: str = "rule-line line") -> str:
    return f'<path d="M{number(x)} {number(y)}L{number(to_x)} {number(to_y)}" class="{look}"/>'


# ---- an address space ---------------------------------------------------------------

ADDRESS = 92
"""Units for an address of 12 to 16 hexadecimal digits."""


def address_map(
    title: str,
    after: Sequence[MapSpan],
    before: Sequence[MapSpan] | None = None,
    *,
    most: int = MOST_ROWS,
    headings: tuple[str, str] = ("before", "after"),
) -> Panel:
    """An address space from low addresses down to high ones, gaps drawn as gaps.

    Neither blocks nor gaps are to scale: a block is the higher the larger it is, by its logarithm.

    Args:
        title: whose it is.
        after: the regions.
        before: those of an earlier snapshot, drawn to the left of the others.
        most: the most rows; where there are more regions, neighbours are drawn as one.
        headings: what stands above the two.
    """
    two = before is not None
    return row_map(title, map_rows(after, before or (), most), headings if two else None)


def row_map(title: str, rows: Sequence[MapRow], headings: tuple[str, str] | None = None) -> Panel:
    """An address space whose rows are made already; see address_map().

    Args:
        title: whose it is.
        rows: its rows.
        headings: what stands above the two that are beside each other; None: there is one.
    """
    two = headings is not None
    wide = (INNER - 20) / 2 if two else INNER
    shapes = [heading(title)]
    words = [f"{title}, from low addresses to high ones:"]
    top = 16.0
    if headings is not None:
        top += 16
        shapes += [
            written(side * (wide + 20) + ADDRESS + 8, top, cut(said, wide - ADDRESS - 8), "ink sub")
            for side, said in enumerate(headings)
        ]
        top += 6
    for row in rows:
        if row.gap:
            shapes += gap_shapes(row.gap, top, wide, two=two)
            words.append(f"gap of {about(row.gap)}.")
            top += 18
        sides = [row.before, row.after] if two else [row.after]
        high = max(sum(height_of(block, wide) for block in side) for side in sides)
        for side, column in enumerate(sides):
            y = top
            for at, block in enumerate(column):
                tall = height_of(block, wide)
                if at == len(column) - 1:
                    tall = top + high - y  # the last one fills the row
                shapes += block_shapes(block, side * (wide + 20), y, wide, tall)
                y += tall
        words.append(row_words(row, two=two))
        top += high
    said = "Filled: in memory; pale: address space without memory. Not to scale."
    blocks = [block for row in rows for block in (*row.after, *row.before)]
    if any(block.regions > 1 for block in blocks):
        regions = max(
            sum(block.regions for row in rows for block in row.after),
            sum(block.regions for row in rows for block in row.before),
        )
        said += f" Neighbours are drawn as one: {regions:,} regions in {len(rows)} rows."
    if marks := marks_in(rows):
        said += " " + ", ".join(f"{SIGNS[mark]} {MARK_WORDS[mark]}" for mark in marks) + "."
    for piece in lines_of(said, INNER):
        top += 15
        shapes.append(written(0, top, piece, "dim"))
    tones = frozenset(tone(block.key).name for block in blocks)
    return Panel(top + 4, "".join(shapes), tones, " ".join(words))


def height_of(block: MapBlock, wide: float) -> float:
    """Higher with the logarithm of the size, and high enough for its lines of text."""
    text = 4 + 13 * (3 if block.mark and block.note and wide < INNER else 2)
    return max(text, 22 + 1.5 * max(block.size // 4096, 1).bit_length())


def gap_shapes(gap: int, top: float, wide: float, *, two: bool) -> Iterator[str]:
    for side in range(2 if two else 1):
        x = side * (wide + 20) + ADDRESS + 18
        across = 56 if two else 180
        for at in (x + 4, x + across - 4):
            yield rule(at, top, at, top + 18, "rule-line line dash")
        if not two or side == 1:
            yield written(x + across + 16, top + 12.5, f"gap of {about(gap)}", "dim")


def block_shapes(block: MapBlock, x: float, y: float, wide: float, high: float) -> Iterator[str]:
    """A block with its address to the left and its figures to the right."""
    title = block_words(block)
    left, across = x + ADDRESS + 18, 180 if wide == INNER else 56
    yield written(x + ADDRESS, y + 10, f"{block.start:x}", "dim mono", "end")
    yield written(x + ADDRESS + 11, y + 10, tone(block.key).mark, "dim mono", "middle")
    colour = class_of(block.key)
    yield box(left, y + 0.5, across, high - 1, f"{colour} pale", title)
    if block.resident:
        filled = max(across * min(block.resident / max(block.size, 1), 1), 3)
        yield box(left, y + 0.5, filled, high - 1, colour, title)
    edge = "ink-line strong" if block.mark else "rule-line line"
    yield (
        f'<rect x="{number(left)}" y="{number(y + 0.5)}" width="{across}" '
        f'height="{number(high - 1)}" class="{edge}"/>'
    )
    if block.mark:
        yield written(left + across + 8, y + 12, SIGNS[block.mark], "ink bold", "middle")
    text, room = left + across + 16, wide - (left - x) - across - 18
    name = block.names[0]
    if block.regions > 1:
        name = f"{block.regions:,} regions: {', '.join(block.names[:4])}"
        if len(block.names) > 4:
            name += " …"
    elif block.detail:
        name += f"  {block.detail}"
    yield written(text, y + 12, cut(name, room), "ink bold" if block.mark else "ink")
    figures = figure(block.size)
    if block.resident is not None:
        figures += f", RSS {known(block.resident)}"
    lines = [cut(figures, room)]
    if block.note and block.mark:
        if wide < INNER:
            lines.append(cut(block.note, room))
        else:
            lines = [cut(f"{figures}; {block.note}", room)]
    for at, line in enumerate(lines):
        yield written(text, y + 25 + 13 * at, line, "ink" if at else "dim")


def block_words(block: MapBlock) -> str:
    """All figures of a block, in words."""
    name = block.names[0]
    if block.regions > 1:
        name = f"{block.regions:,} regions ({', '.join(block.names[:8])}"
        name += f" and {len(block.names) - 8:,} more)" if len(block.names) > 8 else ")"
    said = f"{block.start:x}-{block.end:x} {name}"
    said += f" {block.detail}" if block.detail else ""
    said += f": {exact(block.size)}"
    if block.resident is not None:
        said += f", RSS {exact(block.resident)}"
    if block.mark:
        said += f"; {block.note or MARK_WORDS[block.mark]}"
    return said


def row_words(row: MapRow, *, two: bool) -> str:
    if not two:
        return " ".join(f"{block_words(block)}." for block in row.after)
    if row.before and row.after and not row.changed:
        return " ".join(f"{block_words(block)}, unchanged." for block in row.after)
    sides = (("before", row.before), ("after", row.after))
    return " ".join(
        f"{side}: {'; '.join(map(block_words, blocks)) or 'nothing mapped'}."
        for side, blocks in sides
    )


# ---- over time ----------------------------------------------------------------------

PLOT = 240
AXIS = 70


def size_ticks(most: int, count: int = 5) -> list[int]:
    """Round sizes from 0 to the largest: powers of two, about `count` of them.

    >>> size_ticks(10 << 20)
    [0, 2097152, 4194304, 6291456, 8388608, 10485760]
    """
    if most <= 0:
        return [0]
    step = 1
    while step * count < most:
        step *= 2
    return list(range(0, most + 1, step))


def time_ticks(most: float, count: int = 6) -> list[tuple[float, str]]:
    """Round times from 0 to the largest, in seconds, each with its label.

    >>> time_ticks(2.2)
    [(0.0, '0 s'), (0.5, '0.5 s'), (1.0, '1 s'), (1.5, '1.5 s'), (2.0, '2 s')]
    >>> [label for _, label in time_ticks(7200)]
    ['0 min', '20 min', '40 min', '60 min', '80 min', '100 min', '120 min']
    """
    if most <= 0:
        return [(0.0, "0 s")]
    unit, word = (1, "s") if most < 600 else (60, "min") if most < 3 * 3600 else (3600, "h")
    span = most / unit
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * by for by in (1, 2, 5, 10) if span / (power * by) <= count + 0.001)
    return [
        (at * step * unit, f"{at * step:g} {word}") for at in range(int(span / step + 0.001) + 1)
    ]


def areas(
    title: str,
    times: Sequence[float],
    layers: Sequence[TimeLayer],
    *,
    line: Sequence[tuple[float, int]] = (),
    peak: tuple[float, int, str] | None = None,
    notes: Sequence[str] = (),
    ticks: Callable[[float], list[tuple[float, str]]] | None = None,
) -> Panel:
    """Layers on top of each other over time; each value holds until the next one.

    Args:
        title: what is drawn.
        times: seconds of each point.
        layers: what is stacked, the lowest first. Where a value is not known, nothing is drawn.
        line: a line over all of it: times and bytes.
        peak: time, bytes and words of the largest value, which is marked.
        notes: sentences below.
        ticks: places on the axis of time and their labels; None: time_ticks().
    """
    last = max([*times, *(when for when, _ in line), 0.001])
    sums = [sum(layer.values[at] or 0 for layer in layers) for at in range(len(times))]
    most = max([1, *sums, *(value for _, value in line)])
    wide, left = INNER - AXIS - 150, AXIS

    def x_of(when: float) -> float:
        return left + wide * when / last

    def y_of(value: float) -> float:
        return 30 + PLOT * (1 - value / most)

    shapes = [heading(title)]
    for tick in size_ticks(most):
        shapes.append(rule(left, y_of(tick), left + wide, y_of(tick)))
        shapes.append(written(left - 6, y_of(tick) + 4, about(tick) if tick else "0", "dim", "end"))
    lower = [0] * len(times)
    drawn = []
    for layer in layers:
        upper = [low + (value or 0) for low, value in zip(lower, layer.values, strict=True)]
        runs = list(known_runs(layer.values))
        path = "".join(
            area_path(
                times[a:b],
                lower[a:b],
                upper[a:b],
                x_of,
                y_of,
                last if b == len(times) else times[b],
            )
            for a, b in runs
        )
        if path:
            drawn.append(
                f'<path d="{path}" class="{class_of(layer.key)}">'
                f"<title>{text_of(layer.name)}</title></path>"
            )
        lower = upper
    shapes += drawn
    if line:
        path = step_path(line, x_of, y_of)
        shapes.append(f'<path d="{path}" class="ink-line line"><title>RSS</title></path>')
    if peak is not None:
        when, value, said = peak
        x, y = x_of(when), y_of(value)
        shapes.append(rule(x, y, x, 30 + PLOT, "ink-line line dash"))
        shapes.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="3.5" class="ink"/>')
        anchor = "end" if x > left + wide * 0.6 else "start"
        shapes.append(
            written(
                x - 6 if anchor == "end" else x + 6,
                y - 6,
                cut(said, wide * 0.6),
                "ink bold",
                anchor,
            )
        )
    shapes.append(rule(left, 30 + PLOT, left + wide, 30 + PLOT, "ink-line line"))
    for when, label in (ticks or time_ticks)(last):
        shapes.append(rule(x_of(when), 30 + PLOT, x_of(when), 34 + PLOT, "ink-line line"))
        shapes.append(written(x_of(when), 47 + PLOT, label, "dim", "middle"))
    y = 38.0
    for layer in reversed(layers):
        shapes.append(box(left + wide + 14, y - 10, 12, 12, class_of(layer.key)))
        shapes.append(written(left + wide + 38, y, tone(layer.key).mark, "dim mono", "middle"))
        shapes.append(written(left + wide + 46, y, cut(layer.name, 104)))
        y += 17
    words = [f"{title}:"]
    for layer in reversed(layers):
        values = [value for value in layer.values if value is not None]
        if values:
            words.append(
                f"{layer.name}: first {exact(values[0])}, last {exact(values[-1])}, "
                f"most {exact(max(values))}."
            )
    if line:
        words.append(f"RSS: first {exact(line[0][1])}, last {exact(line[-1][1])}.")
    if peak is not None:
        words.append(f"{peak[2]}.")
    top = PLOT + 52.0
    for note in notes:
        for piece in lines_of(note, INNER):
            top += 15
            shapes.append(written(0, top, piece, "dim"))
    tones = frozenset(tone(layer.key).name for layer in layers)
    return Panel(top + 4, "".join(shapes), tones, " ".join([*words, *notes]))


def known_runs(values: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Start and end of each run of known values."""
    start = None
    for at, value in enumerate([*values, None]):
        if value is not None and start is None:
            start = at
        elif value is None and start is not None:
            yield start, at
            start = None


def area_path(
    times: Sequence[float],
    lower: Sequence[int],
    upper: Sequence[int],
    x_of: Callable[[float], float],
    y_of: Callable[[float], float],
    end: float,
) -> str:
    """The outline of an area between two lines of steps; each value holds until the next time."""
    if lower == upper:
        return ""
    there = [(x_of(when), y_of(high)) for when, high in zip(times, upper, strict=True)]
    back = [(x_of(when), y_of(low)) for when, low in zip(times, lower, strict=True)]
    path = [f"M{number(there[0][0])} {number(there[0][1])}"]
    for (x, y), (old_x, old_y) in zip(there[1:], there, strict=False):
        if x != old_x or y != old_y:
            path.append(f"H{number(x)}V{number(y)}")
    path.append(f"H{number(x_of(end))}V{number(back[-1][1])}")
    path += [
        f"H{number(back[at][0])}V{number(back[at - 1][1])}" for at in range(len(back) - 1, 0, -1)
    ]
    return "".join([*path, f"H{number(back[0][0])}Z"])


def step_path(
    line: Sequence[tuple[float, int]],
    x_of: Callable[[float], float],
    y_of: Callable[[float], float],
) -> str:
    """A line of steps, of which a picture can't show more than the least and the most in a unit."""
    columns: dict[int, list[float]] = {}
    for when, value in line:
        columns.setdefault(int(x_of(when)), []).append(y_of(value))
    path: list[str] = []
    for x, heights in columns.items():
        first, last, low, high = heights[0], heights[-1], max(heights), min(heights)
        path.append(f"{'H' if path else 'M'}{x}{'V' if path else ' '}{number(first)}")
        path += [f"V{number(y)}" for y in (low, high) if y != first]
        if last != high:
            path.append(f"V{number(last)}")
    return "".join(path)


# ---- the steps of an experiment -----------------------------------------------------


def steps(title: str, figures: Sequence[str], rows: Sequence[StepChange]) -> Panel:
    """What each step changed: a bar to the right for growth, to the left for what went.

    Args:
        title: what the steps are.
        figures: names of the figures, such as "VSZ" and "RSS".
        rows: the steps in their order.
    """
    label = 230
    column = (INNER - label) / max(len(figures), 1)
    half = column / 2 - 60
    most = max([1, *(abs(value or 0) for row in rows for value in row.changes)])
    shapes = [heading(title)]
    shapes += [
        written(label + (at + 0.5) * column, 10, name, "ink sub", "middle")
        for at, name in enumerate(figures)
    ]
    words = [f"{title}:"]
    top = 20.0
    for step, row in enumerate(rows, 1):
        lines = lines_of(row.name, label - 40, 3)
        high = max(22, 13 * len(lines) + 8)
        shapes.append(written(16, top + 14, str(step), "dim", "end"))
        shapes += [written(22, top + 14 + 13 * at, piece) for at, piece in enumerate(lines)]
        said = []
        for at, (figure, value) in enumerate(zip(figures, row.changes, strict=True)):
            middle = label + (at + 0.5) * column
            shapes.append(rule(middle, top, middle, top + high))
            said.append(f"{figure} {'not known' if value is None else signed(value)}")
            if not value:
                shapes.append(written(middle + 5, top + 14, "-" if value is None else "0", "dim"))
                continue
            width = max(half * abs(value) / most, 1)
            x = middle if value > 0 else middle - width
            text = difference(value)
            shapes.append(
                box(
                    x,
                    top + 4,
                    width,
                    13,
                    class_of(STEP_KEYS[at % 2]),
                    f"{row.name}: {figure} {signed(value)}",
                )
            )
            anchor = "start" if value > 0 else "end"
            beside = middle + width + 5 if value > 0 else middle - width - 5
            shapes.append(written(beside, top + 14.5, text, "ink", anchor))
        verdict = {True: "as predicted", False: "NOT as predicted", None: "not judged"}[row.judged]
        words.append(f"{step}. {row.name}: {', '.join(said)}; {verdict}.")
        if row.judged is False:
            shapes.append(written(INNER, top + 14, verdict, "ink bold", "end"))
        top += high
    top += 15
    shapes.append(written(0, top, "All bars have one scale.", "dim"))
    tones = frozenset(tone(key).name for key in STEP_KEYS)
    return Panel(top + 4, "".join(shapes), tones, " ".join(words))


STEP_KEYS = ("other", "anon")
"""Colours of the figures of steps: address space, and memory."""


def signed(value: int) -> str:
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{comparable(abs(value))}"
