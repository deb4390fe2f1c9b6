"""procmem lab: what it prints of the labs that ship; tests/cli/test_grade.py has the checks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from procmem.labs import labs

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
