"""Colours on a terminal: what is coloured, what is not, and that no column moves by it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from procmem.picture.palette import PAGE_TONES, VERDICT_TONES, escape_sequence, tone
from procmem.regions import parse_smaps
from procmem.view.colours import (
    RESET,
    TRUECOLOR,
    by_kind,
    by_letter,
    by_use,
    by_word,
    faint,
    has_colours,
    painted,
    show_colours,
)
from procmem.view.columns import Column, fitted, pairs
from procmem.view.maps import counter_table, grouped_table, region_table
from tests.support.goldens import same_as_golden
from tests.support.paths import TESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> str:
    return SEQUENCE.sub("", text)


@pytest.fixture(params=[256, TRUECOLOR])
def colours(request: pytest.FixtureRequest) -> Iterator[int]:
    show_colours(request.param)
    yield request.param
    show_colours(0)


@pytest.fixture
def few_colours() -> Iterator[None]:
    show_colours(256)
    yield
    show_colours(0)


def start(name: str, colours: int) -> str:
    return escape_sequence(tone(name), truecolor=colours == TRUECOLOR)


# ---- cells ----


def test_nothing_has_colours_unless_a_command_asks() -> None:
    assert not has_colours()
    assert painted("x", tone("heap")) == "x"
    assert by_kind("heap", "heap") == "heap"
    assert by_letter(dict.fromkeys("ab", tone("heap")))("aab", "") == "aab"
    assert by_word({"yes": "good"})("yes", "yes") == "yes"
    assert faint("a note\n") == "a note\n"


def test_cells_of_kinds_and_uses(colours: int) -> None:
    for whole, name in (
        ("heap", "heap"),
        ("guard?", "guard"),
        ("text, data", "text"),
        ("Go heap", "objects"),
        ("what nobody knows", "other"),
    ):
        assert by_kind(whole, whole) == start(name, colours) + whole + RESET
    assert by_kind("thread st...", "thread stack") == start("thread stack", colours) + (
        "thread st..." + RESET
    )
    assert by_kind("", "heap") == ""


def test_names_of_files_have_none(colours: int) -> None:
    assert by_use("anonymous", "anonymous") == start("anon", colours) + "anonymous" + RESET
    assert by_use("malloc ar...", "malloc arena?") == (
        start("arena", colours) + "malloc ar..." + RESET
    )
    for name in ("libc.so.6", "remainder", ""):
        assert by_use(name, name) == name


def test_letters_and_words(few_colours: None) -> None:
    a, f = (escape_sequence(PAGE_TONES[name]) for name in ("anonymous", "file"))
    paint = by_letter({"A": PAGE_TONES["anonymous"], "F": PAGE_TONES["file"]})
    assert paint("AA.F ", "") == f"{a}AA{RESET}.{f}F{RESET} "
    bad = escape_sequence(VERDICT_TONES["bad"])
    assert by_word({"NO": "bad"})("NO", "NO") == f"{bad}NO{RESET}"
    assert by_word({"NO": "bad"})("yes", "yes") == "yes"


def test_no_colour_crosses_the_end_of_a_line(few_colours: None) -> None:
    """less -R starts each line without colours."""
    for line in faint("one\ntwo\n").splitlines():
        assert line.startswith("\x1b")
        assert line.endswith(RESET)
    assert plain(faint("one\ntwo\n")) == "one\ntwo\n"


# ---- tables ----


def made(name: str = "python") -> Any:
    return parse_smaps((TESTS / "fixtures/programs" / f"{name}.smaps").read_bytes())


def table_of(kind: str, width: int | None) -> str:
    table = made()
    if kind == "maps":
        return region_table(table, width=width)
    if kind == "smaps":
        return counter_table(table, width=width)
    return grouped_table(table, kind, width=width)


KINDS = ("maps", "smaps", "kind", "use", "path")


@pytest.mark.parametrize("width", [None, 24, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_colours_move_no_column(kind: str, width: int | None) -> None:
    without = table_of(kind, width)
    show_colours(256)
    try:
        text = table_of(kind, width)
    finally:
        show_colours(0)
    assert plain(text) == without
    assert "\x1b" not in without
    for line in text.splitlines():
        assert line.count(RESET) * 2 == len(SEQUENCE.findall(line))


@pytest.mark.parametrize("kind", ["maps", "smaps", "kind", "use"])
def test_kinds_and_uses_are_coloured(few_colours: None, kind: str) -> None:
    text = table_of(kind, None)
    for name in ("objects",) if kind == "use" else ("heap", "text", "stack"):
        assert escape_sequence(tone(name)) in text
    assert "\x1b" not in text.splitlines()[0]  # headings
    assert kind == "smaps" or "\x1b" not in text.splitlines()[-1]  # totals


def test_paths_are_not(few_colours: None) -> None:
    assert "\x1b" not in table_of("path", None)


def test_wide_characters_and_cut_cells(few_colours: None) -> None:
    rows = [["日本語のテキスト", "heap"], ["é", "text"]]
    columns = [
        Column("name", "Name", floor=6, paint=by_kind),
        Column("kind", "Kind", ">", paint=by_kind),
    ]
    text = fitted(columns, rows, width=14)
    show_colours(0)
    assert plain(text) == fitted(columns, rows, width=14)


def test_values_beside_their_names(few_colours: None) -> None:
    rows = [("kind", "heap"), ("name", "heap"), ("long", "w " * 60)]
    text = pairs(rows, 40, {"kind": by_kind})
    assert text.startswith(f"kind  {escape_sequence(tone('heap'))}heap{RESET}\nname  heap\n")
    assert plain(text) == pairs(rows, 40)


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("kind", ["maps", "kind"])
def test_goldens(few_colours: None, kind: str, width: int) -> None:
    same_as_golden(f"{kind}-{width}.ansi", table_of(kind, width))
