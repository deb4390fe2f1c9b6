"""A report as a file: everything is escaped, inside of the file, and allowed by digest only."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser

from procmem.picture.page import ReportPage, ReportTable, page_html
from tests.support.reports import HOSTILE, data_of


class Attributes(HTMLParser):
    """The names of all attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.update(name for name, _ in attrs)


def test_names_are_text_and_nothing_else() -> None:
    names = HOSTILE
    table = ReportTable("Table", [f"text {HOSTILE[0]}"], [[name] for name in names], HOSTILE[1])
    text = page_html(
        ReportPage(
            HOSTILE[0], [(name, name) for name in names], names,
            [(HOSTILE[0], 4096, HOSTILE[1])], table, [table], kept_note=HOSTILE[0],
        )
    ).decode("utf-8")  # fmt: skip
    before = page_html(ReportPage("plain", reconciled=ReportTable("Table", [], []))).decode()
    assert text.count("<script") == before.count("<script")
    for tag in ("img", "svg", "iframe", "object", "link", "!--"):
        assert text.count(f"<{tag}") == before.count(f"<{tag}"), tag
    parser = Attributes()
    parser.feed(text)
    assert not [name for name in parser.names if name.startswith("on")]
    assert "\u2028" not in text
    assert HOSTILE[-1] in html.unescape(text)
    for row in re.findall(r"<td>(.*?)</td>", text):
        assert html.unescape(row).isprintable()


def test_the_policy_allows_the_scripts_of_the_file_alone() -> None:
    text = page_html(ReportPage("A process", scripts=["let one = 1;"])).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 2
    assert rules["script-src"].split() == [
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'"
        for one in scripts
    ]
    assert "http://" not in text
    assert "https://" not in text


def test_cells_show_exact_figures_and_what_is_not_known() -> None:
    forms = ["text", "bytes", "signed", "number", "id", "seconds", "address"]
    rows: list[list[object]] = [["a", 5120, -4096, 1234, 1234, 1.5, 1 << 63], [None] * 7]
    text = page_html(
        ReportPage("x", tables=[ReportTable("T", [f"{form} {form}" for form in forms], rows)])
    ).decode()
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", text)]
    known = ["a", "5 KiB", "-4 KiB", "1,234", "1234", "1.500", "8000000000000000"]
    assert cells == [*known, "", *["–"] * 6]
    assert 'data-v="9223372036854775808"' in text


def test_totals_that_are_not_known_are_not_zero() -> None:
    text = page_html(ReportPage("x", totals=[("RSS", None, ""), ("VSZ", 0, "")])).decode()
    assert re.findall(r"<b>(.*?)</b>", text) == ["not known", "0 KiB"]


def test_the_data_has_a_tone_for_each_word() -> None:
    moment = {
        "count": 0,
        "kind": {"words": ["heap?"], "of": []},
        "use": {"words": ["Go heap"], "of": []},
    }
    found = data_of(page_html(ReportPage("x", moments=[moment], series={"kinds": ["text"]})))
    assert found["title"] == "x"
    assert {word: tone[0] for word, tone in found["tones"].items()} == {
        "heap?": "heap", "Go heap": "objects", "text": "text",
    }  # fmt: skip
