"""Small static HTML for `_repr_html_()` of procmem's classes: escaped text, tables, bars.

No script, no link, no file: notebooks' viewers strip scripts, and a mail has no network. Colours
follow the page: text and lines have its own (currentColor), fills have a rule for dark pages. Where
a viewer strips `<style>`, the colours of light pages are left.
"""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import NamedTuple

from procmem.names import escaped
from procmem.picture.palette import PAGE_TONES, ink, tone
from procmem.units import about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    from procmem.picture.palette import Tone

    T = TypeVar("T")

__all__ = [
    "MOST_ROWS",
    "UNKNOWN",
    "BarPart",
    "Markup",
    "bar",
    "block",
    "details",
    "facts",
    "html",
    "kib",
    "largest_of",
    "line",
    "signed_kib",
    "strip",
    "table",
]

UNKNOWN = "unknown"
"""The word for what could not be read; it is never drawn as 0."""

LONGEST = 256
"""Characters of a text that are shown; a path may have 4,096, and a table shows many."""


class Markup(str):
    """Text that is HTML already: the functions of this module escape every other text."""

    __slots__ = ()


def html(text: str | None, *, most: int | None = LONGEST) -> Markup:
    r"""Text as HTML, fit for attributes, too: nothing in it becomes a tag or a line of its own.

    Control characters, characters that change the direction of writing, and bytes that are no text
    are made visible first, as on a terminal.

    Args:
        text: any text; Markup stays as it is; None: what was not read, shown as "unknown".
        most: characters that are kept, the end and the beginning of a longer text; None: all.

    >>> html("</script><img onerror=1>\x1b[2J\udcff")
    '&lt;/script&gt;&lt;img onerror=1&gt;\\x1b[2J\\xff'
    >>> html(None)
    'unknown'
    """
    if isinstance(text, Markup):
        return text
    if text is None:
        return Markup(UNKNOWN)
    shown = escaped(text)
    if most is not None and len(shown) > most:
        half = max(0, most - 5) // 2
        shown = f"{shown[:half]} ... {shown[len(shown) - half :]}"
    return Markup(escape(shown, quote=True))


class BarPart(NamedTuple):
    """A part of a bar.

    Attributes:
        name: the kind or use, which determines its tone; "?" after it marks a guess.
        value: its length; None: not known, then it is listed but not drawn.
        text: the value in words; empty: as bytes.
    """

    name: str
    value: int | None
    text: str = ""


WIDTH = 640
HEIGHT = 22
LETTER = 12
"""The least width of a part that has its letter in it."""


def bar(parts: Sequence[BarPart], title: str, *, total: int | None = None) -> Markup:
    """A bar of parts side by side as an inline SVG, each in its tone with its letter.

    Args:
        parts: the parts, in their order; negative values are drawn by their size.
        title: what the whole is, for those who see no picture.
        total: the length of the whole bar, if it is more than the parts; None: their sum.
    """
    known = [part for part in parts if part.value]
    whole = max(total or 0, sum(abs(part.value or 0) for part in known)) or 1
    drawn: list[str] = []
    done = 0
    for part in known:
        one, length = tone(part.name), abs(part.value or 0)
        # Both ends are rounded, not the length: parts stay side by side.
        start, end = WIDTH * done / whole, WIDTH * (done + length) / whole
        done += length
        width = max(end - start, 0.5)
        said = html(f"{part.name}: {words(part)}")
        drawn.append(
            f'<rect {filled(one.light, one.dark)} x="{start:.1f}" y="0.5" width="{width:.1f}" '
            f'height="{HEIGHT - 1}" stroke="currentColor" stroke-width="0.5">'
            f"<title>{said}</title></rect>"
        )
        if width >= LETTER:
            drawn.append(letter_at(one, (start + end) / 2))
    listed = ", ".join(f"{part.name} {words(part)}" for part in parts[:12])
    if len(parts) > 12:
        listed += f", and {len(parts) - 12} more"
    label = html(f"{title}: {listed}" if parts else f"{title}: nothing", most=None)
    return Markup(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" style="max-width:100%">{"".join(drawn)}</svg>'
    )


MOST_ROWS = 50
"""Rows of a table: a notebook shows what is largest, and how much it left out."""


def largest_of(all_of_them: Iterable[T], weight: Callable[[T], Any]) -> tuple[list[T], list[T]]:
    """The MOST_ROWS largest in the order that they were in, and the others, the largest first."""
    listed = list(all_of_them)
    order = sorted(range(len(listed)), key=lambda at: weight(listed[at]), reverse=True)
    shown, others = sorted(order[:MOST_ROWS]), order[MOST_ROWS:]
    return [listed[at] for at in shown], [listed[at] for at in others]


def kib(value: int | None) -> str | None:
    """Bytes in KiB for a table; None, not known, stays None.

    >>> kib(4 << 20), kib(-4096), kib(512), kib(None)
    ('4,096', '-4', '0.5', None)
    """
    if value is None:
        return None
    return f"{value / 1024:,.1f}" if value % 1024 else f"{value // 1024:,}"


def signed_kib(value: int | None) -> str | None:
    """A difference of bytes in KiB for a table, with its sign.

    >>> signed_kib(4096), signed_kib(0), signed_kib(None)
    ('+4', '0', None)
    """
    return f"+{kib(value)}" if value and value > 0 else kib(value)


def line(values: Sequence[int | None], title: str) -> Markup:
    """A line through values at equal distances as an inline SVG; unknown values leave gaps.

    Of many values the smallest and the largest of each column are drawn, so that no peak is lost.

    Args:
        values: bytes.
        title: what they are, for those who see no picture.
    """
    top = max((value for value in values if value is not None), default=0) or 1
    high = 3 * HEIGHT
    columns = min(len(values), WIDTH // 2)
    runs: list[list[str]] = [[]]
    for column in range(columns):
        part = values[column * len(values) // columns : (column + 1) * len(values) // columns]
        known = [value for value in part if value is not None]
        if not known:
            runs.append([])
            continue
        x = WIDTH * (column + 0.5) / columns
        # In the order in which they came.
        ends = [min(known), max(known)]
        for value in sorted(set(ends), key=known.index):
            runs[-1].append(f"{x:.1f},{high - (high - 4) * value / top - 2:.1f}")
    drawn = "".join(
        f'<polyline points="{" ".join(run)}" fill="none" stroke="currentColor" stroke-width="2"/>'
        for run in runs
        if len(run) > 1
    ) + "".join(
        f'<circle cx="{run[0].partition(",")[0]}" cy="{run[0].partition(",")[2]}" r="2" '
        f'fill="currentColor"/>'
        for run in runs
        if len(run) == 1
    )
    rule = f'<path d="M0 {high - 0.5}H{WIDTH}" stroke="currentColor" stroke-width="0.5"/>'
    return Markup(
        f'<svg role="img" aria-label="{html(title, most=None)}" viewBox="0 0 {WIDTH} {high}" '
        f'width="{WIDTH}" height="{high}" style="max-width:100%">{drawn}{rule}</svg>'
    )


def strip(letters: str, title: str) -> Markup:
    """A row of states of pages, one letter each, as an inline SVG.

    Args:
        letters: those of PAGE_TONES; neighbours that are alike are one shape.
        title: what is shown, for those who see no picture.
    """
    tones = {one.mark: one for one in PAGE_TONES.values()}
    drawn: list[str] = []
    at = 0
    for letter, run in groupby(letters):
        count = len(list(run))
        start, width = WIDTH * at / len(letters), WIDTH * count / len(letters)
        at += count
        if letter == ".":
            continue
        one = tones[letter]
        drawn.append(
            f'<rect {filled(one.light, one.dark)} x="{start:.1f}" y="0.5" width="{width:.1f}" '
            f'height="{HEIGHT - 1}"><title>{html(one.name)}</title></rect>'
        )
        if width >= LETTER:
            drawn.append(letter_at(one, start + width / 2))
    frame = (
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" fill="none" '
        f'stroke="currentColor" stroke-width="0.5"/>'
    )
    return Markup(
        f'<svg role="img" aria-label="{html(title, most=None)}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" style="max-width:100%">{"".join(drawn)}{frame}</svg>'
    )


def letter_at(one: Tone, x: float) -> str:
    return (
        f'<text {filled(ink(one.light), ink(one.dark))} x="{x:.1f}" y="{HEIGHT / 2 + 4:.0f}" '
        f'text-anchor="middle" font-size="11" font-family="sans-serif" aria-hidden="true">'
        f"{html(one.mark)}</text>"
    )


def words(part: BarPart) -> str:
    """The value of a part in words."""
    if part.text or part.value is None:
        return part.text or UNKNOWN
    return ("-" if part.value < 0 else "") + about(part.value)


def swatch(name: str) -> Markup:
    """A small square in the tone of a kind or use, with its letter, as in a legend."""
    one = tone(name)
    return Markup(
        f'<svg aria-hidden="true" width="14" height="14" viewBox="0 0 14 14">'
        f'<rect {filled(one.light, one.dark)} width="14" height="14"/>'
        f'<text {filled(ink(one.light), ink(one.dark))} x="7" y="11" text-anchor="middle" '
        f'font-size="10" font-family="sans-serif">{html(one.mark)}</text></svg> '
    )


def table(
    heading: Sequence[str],
    rows: Iterable[Sequence[str | None]],
    align: str,
    *,
    caption: str = "",
    footer: Sequence[str | None] | None = None,
    tones: int | None = None,
) -> Markup:
    """A table.

    Args:
        heading: a title for each column.
        rows: texts, one for each column, escaped unless they are Markup; None: "unknown".
        align: "<" or ">" for each column.
        caption: a line above it; empty: none.
        footer: a last row, such as totals.
        tones: the column of kinds or uses, which get a swatch; None: there is none.
    """

    def row(cells: Sequence[str | None], tag: str, *, swatches: bool = False) -> str:
        made = []
        for at, (text, way) in enumerate(zip(cells, align, strict=True)):
            side = "right;white-space:nowrap" if way == ">" else "left"
            colour = swatch(text) if swatches and at == tones and text else ""
            scope = ' scope="col"' if tag == "th" else ""
            made.append(f'<{tag}{scope} style="text-align:{side}">{colour}{html(text)}</{tag}>')
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(cells, "td", swatches=True) for cells in rows)
    foot = "" if footer is None else f"<tfoot>{row(footer, 'td')}</tfoot>"
    said = f"<caption>{html(caption, most=None)}</caption>" if caption else ""
    return Markup(
        f"<table>{said}<thead>{row(heading, 'th')}</thead><tbody>{body}</tbody>{foot}</table>"
    )


def facts(rows: Iterable[tuple[str, str | None]]) -> Markup:
    """A table of names and values, one pair in each row."""
    made = "".join(
        f'<tr><th scope="row" style="text-align:left">{html(name)}</th>'
        f'<td style="text-align:left">{html(value)}</td></tr>'
        for name, value in rows
    )
    return Markup(f"<table><tbody>{made}</tbody></table>")


def details(summary: str, *inside: str) -> Markup:
    """A part that opens on a click, such as the table behind a picture."""
    return Markup(
        f"<details><summary>{html(summary, most=None)}</summary>{joined(inside)}</details>"
    )


def block(title: str, *inside: str, label: str = "") -> Markup:
    """A whole answer: a title and its parts, with the style that they need.

    Args:
        title: a line of text.
        inside: tables, bars and texts in their order; texts become paragraphs.
        label: what the whole is, for screen readers; empty: the title.
    """
    return Markup(
        f'<div class="procmem" role="group" aria-label="{html(label or title, most=None)}">'
        f"<style>{STYLE}</style><p><strong>{html(title, most=None)}</strong></p>"
        f"{joined(inside)}</div>"
    )


def joined(inside: Iterable[str]) -> str:
    return "".join(
        part if isinstance(part, Markup) else f"<p>{html(part, most=None)}</p>"
        for part in inside
        if part
    )


DARK_PAGES = (
    'body[data-jp-theme-light="false"]',  # JupyterLab and Notebook 7
    ".vscode-dark",
    ".vscode-high-contrast",
    'html[theme="dark"]',  # Colab
    "body.theme-dark",
)
"""Pages that are dark whatever the system's setting is."""


STYLE = (
    ".procmem{{font-size:13px}}.procmem p{{margin:.3em 0}}"
    ".procmem table{{font-size:13px;border-collapse:collapse}}"
    ".procmem table{{margin:.3em 0;font-variant-numeric:tabular-nums}}"
    ".procmem caption{{text-align:left}}"
    ".procmem th,.procmem td{{padding:1px 8px 1px 0;overflow-wrap:anywhere}}"
    ".procmem thead th{{border-bottom:1px solid currentColor}}"
    ".procmem tfoot td{{border-top:1px solid currentColor}}"
    ":is({pages}) .procmem .pm{{fill:var(--pm)}}"
    "@media(prefers-color-scheme:dark){{"
    'body:not([data-jp-theme-light="true"],.vscode-light) .procmem .pm{{fill:var(--pm)}}}}'
).format(pages=",".join(DARK_PAGES))
"""Rules that hold inside of a block only; `--pm` is an element's colour on dark pages."""


def filled(light: str, dark: str) -> str:
    """The attributes of an SVG element: its colour on light pages, and on dark ones."""
    return f'class="pm" fill="{light}" style="--pm:{dark}"'
