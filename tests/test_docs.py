"""The documentation: who a page is for, and that what it names is there."""

from __future__ import annotations

import re
import runpy
from typing import TYPE_CHECKING

import pytest

import procmem
from scripts.gallery import refreshed
from scripts.reference import api, commands, help_of, public_names, subcommands, text_of
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in DOCS.rglob("*.md") if path.name not in ("security.md", "changes.md")
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_says_first_whom_it_serves_and_what_it_answers(page: Path) -> None:
    title, _, first, *_ = page.read_text().split("\n")
    assert title.startswith("# ")
    assert first.startswith("For ")


def test_the_list_of_pages_has_every_page() -> None:
    index = (DOCS / "index.md").read_text()
    for page in DOCS.rglob("*.md"):
        name = str(page.relative_to(DOCS))
        if name != "index.md":
            assert f"({name})" in index, name
            assert f"\n{name.removesuffix('.md')}\n" in index, name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_pages_outside_the_site_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {procmem.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_files_that_the_architecture_names_are_there() -> None:
    named = re.findall(r"`([\w/]+\.(?:py|c|md|sh))`", (DOCS / "architecture.md").read_text())
    assert len(named) > 50
    for name in set(named):
        places = [ROOT / name, ROOT / "procmem" / name, ROOT / "procmem/native" / name]
        if "NAME" not in name and "/" in name:
            assert any(place.is_file() for place in places), name


def test_the_layers_are_drawn_as_they_are_checked() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    contract = re.search(r"^layers = \[\n(.*?)^\]", settings, re.M | re.S)
    assert contract
    checked = [set(re.findall(r"\w+", line)) for line in contract[1].splitlines()]
    page = (
        (DOCS / "architecture.md").read_text().partition("## The layers")[2].partition("\n## ")[0]
    )
    drawn = [set(line.split(", ")) for line in re.findall(r"^    (\w+(?:, \w+)*)  +\S", page, re.M)]
    assert drawn == [layer - {"pytest_plugin"} for layer in checked]


def test_names_of_the_api_that_pages_use_are_there() -> None:
    """`Class.attribute` and `calls.name`; what a docstring lists as an attribute counts."""
    homes = [procmem, procmem.calls, procmem.elf, procmem.experiments, procmem.grade]
    text = "\n".join(page.read_text() for page in [*PAGES, ROOT / "README.md"])
    found = re.findall(r"`(?:procmem\.)?([A-Z]\w+)\.([a-z]\w*)(?:\([^`]*\))?`", text)
    assert len(found) > 10
    for name, attribute in found:
        classes = [getattr(home, name) for home in homes if hasattr(home, name)]
        assert any(
            hasattr(one, attribute) or re.search(rf"\b{attribute}\b", one.__doc__ or "")
            for one in classes
        ), f"{name}.{attribute}"
    found = re.findall(r"`(?:procmem\.)?(calls|elf|experiments|grade)\.(\w+)(?:\(|`)", text)
    for package, name in found:
        if name not in ("py", "json", "toml"):
            assert hasattr(getattr(procmem, package), name), f"{package}.{name}"


def test_the_reference_has_each_subcommand() -> None:
    assert "|".join(subcommands("lab")) in help_of("lab")
    assert f"### procmem experiment {subcommands('experiment')[-1]}\n" in commands()


def test_the_reference_has_each_public_name() -> None:
    text = api("procmem")
    assert [name for name in public_names("procmem") if not re.search(rf"\b{name}\b", text)] == []
    assert ".. autoexception:: procmem.AccessDenied\n" in text
    assert "{py:class}`procmem.Mapping`" in api("procmem.calls")
    assert ".. autofunction:: procmem.grade.grading.many.grade_all\n" in text_of("more")


def test_the_gallery_runs_what_it_shows() -> None:
    page = "# x\n\n```text\n$ echo one\nold\n$ seq 9\n1\n[...]\n```\n"
    assert refreshed(page) == "# x\n\n```text\n$ echo one\none\n$ seq 9\n1\n[...]\n```\n"
    with pytest.raises(RuntimeError, match="ended with 3"):
        refreshed("```text\n$ exit 3\n```\n")


def test_each_name_of_a_docstring_gets_an_entry() -> None:
    settings = runpy.run_path(str(DOCS / "conf.py"))
    lines = ["Args:", "    start, end: addresses,", "        both in bytes", "    size: bytes", ""]
    settings["part"](None, "function", "", None, None, lines)
    assert lines == [
        "Args:",
        "    start: addresses,",
        "        both in bytes",
        "    end: addresses,",
        "        both in bytes",
        "    size: bytes",
        "",
        "",
    ]
    lines = ["Raises:", "    ProgramEnded,", "        OverLimit: it ended."]
    settings["part"](None, "method", "", None, None, lines)
    assert lines[1:3] == ["    ProgramEnded: it ended.", "    OverLimit: it ended."]
    lines = ["Whether kind is a guess: nothing proves it."]
    settings["part"](None, "property", "", None, None, lines)
    assert lines[:2] == ["Whether kind is a", "guess: nothing proves it."]
