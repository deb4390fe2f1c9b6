"""Pictures in reports: both waits with what changed, and the same in words."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

from procmem.grade.exports import html, markdown
from procmem.grade.exports.pictures import (
    TITLE,
    pictures_html,
    pictures_markdown,
    pictures_style,
)
from tests.support.grades import MIXED, hostile, picture


def drawings(page: str) -> list[ET.Element]:
    """The pictures of a page; each must be well-formed by itself."""
    found = []
    while "<svg" in page:
        start = page.index("<svg")
        end = page.index("</svg>") + len("</svg>")
        found.append(ET.fromstring(page[start:end]))
        page = page[end:]
    return found


def test_a_report_has_the_pictures_with_their_words() -> None:
    page = html(MIXED)
    assert page.count(TITLE) == 1
    both, one = drawings(page)
    assert both.findtext("title") == "wait → wait: VSZ +4 KiB, RSS not known"
    assert one.findtext("title") == "wait: VSZ 4 KiB, RSS not known"
    words = both.findtext("desc") or ""
    assert "before: 1000-3000 wait wait: 8 KiB, RSS 4 KiB" in words
    assert "gap of 1 TiB" in words
    assert page.count("<details") == 2
    assert page.count(" open>") == 1
    assert "@media (prefers-color-scheme:dark){.procmem-svg" in page


def test_a_report_without_pictures_has_no_section() -> None:
    page = html(replace(MIXED, pictures=()))
    assert TITLE not in page
    assert "procmem-svg" not in page
    assert TITLE not in markdown(replace(MIXED, pictures=()))
    assert list(pictures_html(())) == []
    assert pictures_style(()) == ""


def test_markdown_has_a_table_of_what_changed() -> None:
    [(caption, rows)] = pictures_markdown([picture("heap")])
    assert caption == "heap → heap: VSZ +4 KiB, RSS not known"
    assert rows == [["heap", "VSZ 4 KiB, RSS 0 KiB", "VSZ 8 KiB, RSS not known"]] * 2
    assert "| heap | VSZ 4 KiB, RSS 0 KiB | VSZ 8 KiB, RSS not known |" in markdown(
        replace(MIXED, pictures=(picture("heap"),))
    )


def test_hostile_names_stay_text() -> None:
    for words in ("</svg><script>alert(1)</script>", "\x1b\udcff\u202e", "a" * 5000):
        for one in drawings(html(hostile(words))):
            assert {element.tag for element in one.iter()} <= set(
                "svg title desc g rect text path".split()
            )
