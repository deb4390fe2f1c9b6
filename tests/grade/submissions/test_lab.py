"""lab.toml and quiz.toml, right and wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.grade import (
    Lab,
    LabError,
)
from procmem.labs import find
from tests.support.labs_made import make_lab

if TYPE_CHECKING:
    from pathlib import Path


def test_a_lab_is_read(tmp_path: Path) -> None:
    lab = make_lab(
        tmp_path / "my-lab",
        "",
        'summary = "short"\nbuild = "make -s"\nprogram = ["./it", "x y"]\n'
        'files = ["it.c"]\n[limits]\nwall = 5\n',
    )
    assert (lab.name, lab.title, lab.summary) == ("my-lab", "a lab", "short")
    assert (lab.build, lab.program, lab.files) == (("make", "-s"), ("./it", "x y"), ("it.c",))
    assert lab.limits.wall == 5
    assert lab.quiz == ()
    assert find(tmp_path / "my-lab") == lab


@pytest.mark.parametrize(
    "toml, words",
    [
        ("", "title is missing"),
        ("title = 3", "title = 3"),
        ('title = "t"\nprogramm = ["x"]', "unknown key programm: did you mean program?"),
        ('title = "t"\nxyz = 1', "known ones are title"),
        ('title = "t"\nbuild = 7', "write a list of words"),
        ('title = "t"\nbuild = ["make", 7]', "write a list of words"),
        ('title = "t"\nbuild = "make \'x"', "quotation"),
        ('title = "t"\nfiles = ["../x"]', "outside of"),
        ('title = "t"\n[limits]\nwal = 5', "did you mean wall?"),
        ('title = "t"\n[limits]\nwall = 0', "a number above 0"),
        ('title = "t"\n[limits]\nwall = true', "a number above 0"),
        ('title = "t"\nlimits = 5', r"write \[limits\]"),
        ("title", "not TOML"),
    ],
)
def test_an_odd_lab_says_what_to_write(tmp_path: Path, toml: str, words: str) -> None:
    (tmp_path / "lab.toml").write_text(toml)
    (tmp_path / "checks.py").write_text("")
    with pytest.raises(LabError, match=words):
        Lab.load(tmp_path)


@pytest.mark.parametrize(
    "quiz, words",
    [
        ('[[questions]]\nname = "a"', "did you mean question?"),
        ("question = 3", "not a list of tables"),
        ('[[question]]\ntext = "?"', "name is missing"),
        ('[[question]]\nname = "a"\ntext = "?"\nchoices = ["x"]', "write choices"),
        ('[[question]]\nname = "a"\ntext = "?"\nchoices = { a = "x" }', "at least two"),
        ('[[question]]\nname = "a"\ntext = "?"\n[[question]]\nname = "a"\ntext = "?"', "two"),
        ('[[question]]\nname = "a"\ntext = "?"\nright = "a"', "unknown key right"),
    ],
)
def test_an_odd_quiz_says_what_to_write(tmp_path: Path, quiz: str, words: str) -> None:
    with pytest.raises(LabError, match=words):
        make_lab(tmp_path, "", files={"quiz.toml": quiz})


def test_a_directory_that_is_no_lab(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"lab.toml: it is missing"):
        Lab.load(tmp_path)
    (tmp_path / "lab.toml").write_text('title = "t"\n')
    with pytest.raises(LabError, match="checks are missing"):
        find(tmp_path)
    with pytest.raises(LabError, match="no such lab, and no directory"):
        find("no-such-lab-anywhere")
