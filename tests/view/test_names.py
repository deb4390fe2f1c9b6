"""Names in tables: cells of a terminal, and output without Unicode."""

from __future__ import annotations

import pytest

from procmem.regions import parse_smaps
from procmem.view.columns import pairs, prose
from procmem.view.maps import region_table
from procmem.view.names import cells, printable, shorter, show_only_ascii
from tests.support.tables import smaps_of

WIDTHS = (40, 60, 80, 120, 200)


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


def test_shorter_and_prose_count_cells() -> None:
    for most in range(1, 20):
        for text in ("plain text of letters", "日本語のテキスト", "e\u0301" * 20, "a日" * 9):
            for keep_end in (False, True):
                assert cells(shorter(text, most, keep_end=keep_end)) <= most
            for line in prose(text * 3, max(most, 2)).splitlines():
                assert cells(line) <= max(most, 2)
    for screen in WIDTHS:
        text = pairs([("name", "v" * 300), ("other", "words " * 60)], screen)
        assert max(map(cells, text.splitlines())) <= screen


def test_an_output_without_unicode_is_aligned() -> None:
    table = parse_smaps(smaps_of(["/tmp/é", "/tmp/e"]))
    try:
        show_only_ascii(True)
        text = region_table(table, chosen=["name", "rss"])
    finally:
        show_only_ascii(False)
    assert text.isascii()
    assert "\\u00e9" in text
    assert printable("é") == "é"


def test_names_that_differ_are_shown_differently() -> None:
    names = ["a", "a ", " a", "a\\x20", "a\t", "a\\t", "\udc80", "\\x80", "\x80"]
    assert len({printable(name) for name in names}) == len(names)
