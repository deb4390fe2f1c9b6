"""Pictures in reports: what the program's memory was at its waits, side by side."""

from __future__ import annotations

from html import escape

from procmem.grade.exports.shown import line
from procmem.picture.svg import bars, document, row_map, style
from procmem.units import kib, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from procmem.grade.results import PhasePicture

__all__ = ["TITLE", "pictures_html", "pictures_markdown", "pictures_style"]

TITLE = "What the program built"


def caption(one: PhasePicture) -> str:
    """What is seen, in a line."""
    if not one.before:
        rss = "not known" if one.rss is None else kib(one.rss)
        return f"{line(one.after)}: VSZ {kib(one.vsz)}, RSS {rss}"
    rss = "not known" if one.rss is None else signed(one.rss)
    return f"{line(one.before)} → {line(one.after)}: VSZ {signed(one.vsz)}, RSS {rss}"


def drawing(one: PhasePicture) -> str:
    """The picture as an `svg` element for a page that has its style."""
    headings = (line(one.before), line(one.after)) if one.before else None
    *rows, whole = one.bars
    panels = [
        row_map("Address space", one.rows, headings),
        bars("By kind", one.figures, rows, whole),
    ]
    return document(caption(one), [], panels, alone=False)


def pictures_style(pictures: Sequence[PhasePicture]) -> str:
    """The style that the page needs for its pictures."""
    keys = {bar.key for one in pictures for bar in one.bars}
    keys |= {
        block.key for one in pictures for row in one.rows for block in (*row.after, *row.before)
    }
    return style(keys) if pictures else ""


def pictures_html(pictures: Sequence[PhasePicture]) -> Iterator[str]:
    """The pictures as a section of a page; the first one is open."""
    if not pictures:
        return
    yield f"<section><h2>{TITLE}</h2>"
    for at, one in enumerate(pictures):
        shown = "" if at else " open"
        yield f'<details class="picture"{shown}><summary>{escape(caption(one))}</summary>'
        yield drawing(one).rstrip()
        yield "</details>"
    yield "</section>"


def pictures_markdown(pictures: Sequence[PhasePicture]) -> Iterator[tuple[str, list[list[str]]]]:
    """A caption and a table for each picture: the kinds of memory that changed."""
    for one in pictures:
        *rows, whole = one.bars
        told = [row for row in rows if row.before is None or row.before != row.values]
        yield (
            caption(one),
            [
                [line(row.name), figures(one, row.before), figures(one, row.values)]
                for row in (*told, whole)
            ],
        )


def figures(one: PhasePicture, values: tuple[int | None, ...] | None) -> str:
    if values is None:
        return "-"
    return ", ".join(
        f"{line(name)} {'not known' if value is None else kib(value)}"
        for name, value in zip(one.figures, values, strict=False)
    )
