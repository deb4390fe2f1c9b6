"""Small static HTML: hostile names are shown as text, what is not known is no zero."""

from __future__ import annotations

import pytest

from procmem.picture.markup import (
    MOST_ROWS,
    UNKNOWN,
    BarPart,
    Markup,
    bar,
    block,
    details,
    facts,
    html,
    largest_of,
    table,
)
from procmem.picture.palette import tone
from tests.support.html import Page

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "\x1b[2J\x00\x07",
    "\udcff\udcfe",
    "\u202egnp.exe",
    "&lt;b&gt;",
    "</td></tr></table></details></style>",
    "<!-- ",
    "/" + "d" * 4095,
    "\n".join("a forged line" for _ in range(3)),
)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_shown_as_text(name: str) -> None:
    text = block(
        name,
        bar([BarPart(name, 5), BarPart("heap", 7, name)], name),
        details(name, table([name], [[name]], "<", caption=name, footer=[name], tones=0)),
        facts([(name, name)]),
        name,
    )
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= set(
        "div style p strong svg rect title text details summary table caption thead tbody tfoot tr"
        " th td".split()
    )
    shown = Page("<p>" + html(name) + "</p>").text
    assert page.rows[0] == [shown]
    assert [cell.strip() for cell in page.rows[1]] == [shown.strip()]


def test_a_long_text_keeps_both_ends() -> None:
    path = "/start/" + "d" * 4000 + "/libend.so"
    shown = html(path)
    assert len(shown) < 260
    assert shown.startswith("/start/")
    assert shown.endswith("/libend.so")
    assert html(path, most=None) == path


def test_markup_is_not_escaped_twice() -> None:
    assert html(Markup("<b>x</b>")) == "<b>x</b>"
    assert html(html("<")) == "&lt;"


def test_what_is_not_known_is_no_zero() -> None:
    assert Page(table(["RSS"], [[None]], ">")).rows == [["RSS"], [UNKNOWN]]
    picture = Page(bar([BarPart("heap", None), BarPart("text", 4096)], "RSS"))
    assert picture.labels() == ["RSS: heap unknown, text 4 KiB"]
    assert [name for name, _ in picture.tags].count("rect") == 1


def widths(text: str) -> list[float]:
    return [float(given["width"] or 0) for name, given in Page(text).tags if name == "rect"]


def test_parts_of_a_bar_fill_it_in_proportion() -> None:
    parts = [BarPart("heap", 1 << 20), BarPart("text", 3 << 20)]
    first, second = widths(bar(parts, "RSS"))
    assert (first, second) == (160.0, 480.0)
    first, second = widths(bar(parts, "RSS", total=8 << 20))
    assert (first, second) == (80.0, 240.0)
    assert widths(bar([], "RSS")) == []
    many = widths(bar([BarPart("heap", 1)] * 1000, "RSS"))
    assert sum(many) == pytest.approx(640, abs=60)


def test_a_bar_describes_itself() -> None:
    page = Page(
        bar([BarPart("heap?", 1 << 20), BarPart("text", 3 << 20, "3 MiB of code")], "RSS 4 MiB")
    )
    assert page.labels() == ["RSS 4 MiB: heap? 1 MiB, text 3 MiB of code"]
    assert page.title_texts == ["heap?: 1 MiB", "text: 3 MiB of code"]
    letters = [tone("heap").mark, tone("text").mark]
    assert page.text == "".join(letters)


def test_colours_of_light_and_dark_pages() -> None:
    text = bar([BarPart("heap", 1)], "RSS")
    one = tone("heap")
    assert f'fill="{one.light}"' in text
    assert f"--pm:{one.dark}" in text
    whole = block("a title", text)
    assert "@media(prefers-color-scheme:dark)" in whole
    assert "{{" not in whole
    assert len(whole) < 2500


def test_the_largest_stay_in_their_order() -> None:
    sizes = [7 * at % 101 for at in range(101)]
    shown, others = largest_of(sizes, lambda size: size)
    assert len(shown) == MOST_ROWS
    assert sorted(shown) == list(range(101 - MOST_ROWS, 101))
    assert shown == [size for size in sizes if size in shown]
    assert others == list(range(100 - MOST_ROWS, -1, -1))
    assert largest_of([3, 1], lambda size: size) == ([3, 1], [])
