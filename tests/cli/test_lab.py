"""procmem lab: what it prints of the labs that ship; tests/cli/test_grade.py has the checks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from procmem.labs import labs
from tests.support.labs_made import LAZY, make_lab, make_submission

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run


def test_the_list_in_json(run: Run) -> None:
    rows = json.loads(run("lab", "list", "--json").out)
    assert [row["name"] for row in rows] == [lab.name for lab in labs()]


def test_a_new_lab_has_its_handout(run: Run, tmp_path: Path) -> None:
    name = labs()[0].name
    ran = run("lab", "new", name, tmp_path / "mine")
    assert ran.status == 0
    assert (tmp_path / "mine" / "handout.md").read_text() == run("lab", "show", name).out


def test_a_directory_that_is_missing(run: Run, tmp_path: Path) -> None:
    ran = run("lab", "check", tmp_path / "gone")
    assert ran.status == 1
    assert "gone: no such directory" in ran.err


CHECKS = """
from procmem.grade import points, walk

@points(1, "the mapping is a page")
def test_mapped(program):
    seen = walk(program, "at the start", "after mmap", "after writing to it")
    assert (seen[2] - seen[1]).vsz >= 4096
"""


def test_a_student_gets_a_report_with_a_picture(run: Run, tmp_path: Path) -> None:
    toml = 'program = ["./lazy"]\nbuild = ["cc", "-o", "lazy", "lazy.c"]\nfiles = ["lazy.c"]\n'
    lab = make_lab(tmp_path / "lab", CHECKS, toml)
    mine = make_submission(tmp_path / "mine", {"lazy.c": LAZY})
    words = ["lab", "check", mine, "--lab", lab.directory, "--report"]
    page = tmp_path / "report.html"
    ran = run(*words, page)
    assert (ran.status, ran.err) == (0, "")
    assert "Every check passed." in ran.out
    text = page.read_text()
    assert "What the program built" in text
    assert "after mmap → after writing to it: VSZ +0 KiB, RSS +" in text
    assert run(*words, page).status == 0  # ours by now
    page.write_text("<!doctype html>\n<html>my thesis</html>")
    ran = run(*words, page)
    assert (ran.status, ran.out) == (1, "")
    assert "it is there and no report of procmem" in ran.err
    assert page.read_text().endswith("my thesis</html>")
