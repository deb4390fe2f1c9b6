"""A grade for people: text, Markdown, HTML."""

from __future__ import annotations

import csv as standard
import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from procmem.grade.exports import (
    FORMATS,
    autolab,
    csv,
    html,
    junit,
    markdown,
    text,
    written,
)
from tests.support.grades import MIXED, UNBUILT, Tags, hostile

if TYPE_CHECKING:
    from procmem.grade.results import Grade

ALLOWED = set(
    "html head meta title style body h1 h2 p small div span section dl dt dd b pre footer "
    "details summary svg desc g rect text path".split()
)
DRAWN = set(
    "role viewbox width height x y d transform text-anchor open lang charset name content "
    "http-equiv class style".split()
)


def test_html_is_whole_and_holds_nothing_active(grade: Grade) -> None:
    page = Tags(html(grade))
    assert page.open == []
    assert set(page.tags) <= ALLOWED
    assert page.attributes <= DRAWN
    assert "http" not in re.sub("http-equiv", "", html(MIXED))
    assert page.tags.count("style") == 1


def test_html_tells_a_student_what_happened() -> None:
    said = " ".join("".join(Tags(html(MIXED)).said).split())
    told = "3.5 of 13 points, 3 not judged|136 KiB|4 KiB|+132 KiB is the heap|Who allocates"
    told += '|hidden check 1|valgrind is not installed|needs "title of failed"'
    for words in told.split("|"):
        assert words in said
    assert "not judged" in said
    unbuilt = "".join(Tags(html(UNBUILT)).said)
    assert "a.c:1:1: error: `x' <y>" in unbuilt
    assert "it does not build" not in unbuilt  # the compiler has said it


def test_markdown_keeps_words_from_being_markup(grade: Grade) -> None:
    told = markdown(grade)
    outside = re.sub(r"^(`{3,})text\n.*?\n\1$", "", told, flags=re.S | re.M)
    assert not re.search(r"<(?!br>)", outside)
    assert "@" not in outside
    # Of headings there are only our own.
    own = len(re.findall(r"^#", outside, re.M))
    rows = len(re.findall(r"^\| ", outside, re.M))
    assert own <= 2 + rows
    for row in re.findall(r"^\|.*$", outside, re.M):
        assert len(re.findall(r"(?<!\\)\|", row)) == 4


def test_a_terminal_gets_eighty_columns() -> None:
    assert max(map(len, text(MIXED).splitlines())) <= 80
    told = " ".join(text(MIXED).split())
    for words in ("expected 4 KiB", "seen 136 KiB", "when after the 1st answer", "three of four"):
        assert words in told
    assert "error: `x' <y>" in text(UNBUILT)


def test_a_terminal_gets_no_control_characters(grade: Grade) -> None:
    assert not [char for char in text(grade) if not (char.isprintable() or char == "\n")]


@settings(deadline=None)
@given(st.text(st.characters(), max_size=200))
def test_any_text_is_safe(words: str) -> None:
    grade = hostile(words)
    for form in FORMATS:
        written(grade, form).decode()
    ET.fromstring(junit(grade))
    page = Tags(html(grade))
    assert set(page.tags) <= ALLOWED
    assert len(list(standard.reader(io.StringIO(csv([grade]), newline="")))) == 2
    assert len(autolab(grade).splitlines()) == 2
    assert text(grade)
