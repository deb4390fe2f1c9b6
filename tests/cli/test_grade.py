"""procmem lab and procmem grade, as a student and an instructor meet them."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.cli import main
from procmem.grade import Grade, Lab
from procmem.grade.grading.client import end_servers
from procmem.grade.grading.many import CheckCount, Outcome, Summary
from procmem.grade.grading.overview import outcome_line, overview
from procmem.grade.results import Status
from procmem.labs import LabError, labs
from procmem.labs.handout import NotBegun, WouldOverwrite, begin, lab_of
from tests.support.lab_variants import submission as variant_of
from tests.support.lab_variants import variants
from tests.support.labs_made import make_lab, make_submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

CHECKS = """
from procmem.grade import points

@points(2, "the file says yes", hint="Write yes into it.")
def test_yes(submission):
    assert submission.read("it.txt").strip() == "yes"

@points(1, "then it is long enough", needs="test_yes")
def test_long(submission):
    assert len(submission.read("it.txt")) > 3

@points(1, "a secret about it", hidden=True)
def test_secret(submission):
    assert submission.read("it.txt").endswith("\\n")
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = make_lab(tmp_path / "my-lab", CHECKS, 'files = ["it.txt"]\nprogram = ["cat"]\n')
    make_submission(made.starter, {"it.txt": "no"})
    made.handout.write_text("# Yes\n\nMake it say yes.\n")
    yield made
    end_servers()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "80")

    def run_one(*words: str | Path) -> tuple[int, str, str]:
        try:
            status = main([str(word) for word in words])
        except SystemExit as ended:  # argparse
            status = ended.code if isinstance(ended.code, int) else 1
        told = capsys.readouterr()
        return status, told.out, told.err

    return run_one


# ---- lab list, show, new ----


def test_the_list_has_every_lab(run: Run) -> None:
    status, out, _ = run("lab", "list")
    assert status == 0
    rows = [line for line in out.splitlines()[2:-2] if not line.startswith(" ")]
    assert [row.split()[0] for row in rows] == [lab.name for lab in labs()]
    for lab in labs():
        assert lab.summary in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    status, out, _ = run("lab", "list", "--json")
    assert [row["name"] for row in json.loads(out)] == [lab.name for lab in labs()]


def test_show_prints_the_handout(run: Run, lab: Lab) -> None:
    assert run("lab", "show", lab.directory) == (0, "# Yes\n\nMake it say yes.\n", "")
    for shipped in labs():
        if shipped.handout.exists():
            assert run("lab", "show", shipped.name)[1] == shipped.handout.read_text()


def test_a_lab_that_is_not_there_is_told_with_those_that_are(run: Run) -> None:
    status, _, err = run("lab", "show", "aloc-size")
    assert status == 1
    assert "did you mean alloc-size" in err


def test_new_copies_handout_and_starter_and_remembers(run: Run, lab: Lab, tmp_path: Path) -> None:
    status, out, _ = run("lab", "new", lab.directory, tmp_path / "mine")
    assert status == 0
    assert "procmem lab check" in out
    assert sorted(os.listdir(tmp_path / "mine")) == [".procmem-lab", "handout.md", "it.txt"]
    assert lab_of(tmp_path / "mine").directory == lab.directory
    assert (tmp_path / "mine" / "it.txt").read_text() == "no"


@pytest.mark.parametrize("name", [lab.name for lab in labs()])
def test_every_shipped_lab_can_be_begun(name: str, tmp_path: Path, run: Run) -> None:
    assert run("lab", "new", name, tmp_path / "a b" / name)[0] == 0
    assert lab_of(tmp_path / "a b" / name).name == name
    assert not list(tmp_path.rglob("checks.py"))


@pytest.mark.parametrize("what", ["a file in it", "a file"])
def test_new_overwrites_nothing(what: str, run: Run, lab: Lab, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    if what == "a file":
        place.write_text("mine")
    else:
        make_submission(place, {"it.txt": "mine"})
    status, _, err = run("lab", "new", lab.directory, place)
    assert status == 1
    assert "nothing was changed" in err
    assert (place if what == "a file" else place / "it.txt").read_text() == "mine"
    with pytest.raises(WouldOverwrite):
        begin(lab, place)


def test_an_empty_directory_may_be_begun_in(run: Run, lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert run("lab", "new", lab.directory, tmp_path / "mine")[0] == 0


# ---- lab check ----


def test_check_explains_what_is_missing_and_turns_green(run: Run, lab: Lab, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    run("lab", "new", lab.directory, place)
    status, out, err = run("lab", "check", place)
    assert (status, err) == (1, "")
    assert max(map(len, out.splitlines())) <= 80
    for words in ("the file says yes", "0/2", "Write yes into it.", "expected yes", "seen no",
                  "hidden check 1", 'it needs "the file says yes"', "0 of 4 points"):  # fmt: skip
        assert words in " ".join(out.split()), words
    assert "secret" not in out
    (place / "it.txt").write_text("yes\n")
    status, out, _ = run("lab", "check", place)
    assert status == 0
    assert "4 of 4 points. Every check passed." in out


def test_check_takes_the_directory_it_is_in(
    run: Run, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(lab, tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert run("lab", "check")[0] == 1


def test_check_as_json_is_the_whole_grade(run: Run, lab: Lab, tmp_path: Path) -> None:
    begin(lab, tmp_path / "mine")
    status, out, _ = run("lab", "check", tmp_path / "mine", "--json")
    assert status == 1
    found = Grade.from_json(out)
    assert (found.score, found.max_score, found.submission) == (0, 4, "mine")


def test_check_needs_to_know_the_lab(run: Run, lab: Lab, tmp_path: Path) -> None:
    made = make_submission(tmp_path / "x", {"it.txt": "yes\n"})
    status, _, err = run("lab", "check", made)
    assert status == 1
    assert "--lab NAME" in err
    assert run("lab", "check", made, "--lab", lab.directory)[0] == 0
    (made / ".procmem-lab").write_text("gone\n")
    with pytest.raises(LabError):
        lab_of(made)
    (made / ".procmem-lab").write_text("")
    with pytest.raises(NotBegun):
        lab_of(made)
    assert run("lab", "check", tmp_path / "nothing")[2].endswith("no such directory\n")


def test_usage(run: Run) -> None:
    assert run("lab")[0] == 2
    assert run("lab", "new")[0] == 2
    assert run("grade")[0] == 2
    assert run("grade", "a", "b")[0] == 2
    assert run("grade", "a", "b", "-o", "c", "--format", "pdf")[0] == 2
    assert run("grade", "a", "b", "-o", "c", "--jobs", "0")[0] == 2


def test_a_program_that_does_not_build_is_told_what_the_compiler_said(
    run: Run, tmp_path: Path
) -> None:
    lab = labs()[[lab.name for lab in labs()].index("alloc-size")]
    begin(lab, tmp_path / "mine")
    (tmp_path / "mine" / "alloc_size.c").write_text("int main(void) { return }\n")
    status, out, _ = run("lab", "check", tmp_path / "mine")
    assert status == 1
    assert "The program could not be built: make" in out
    assert "alloc_size.c:1:" in out
    assert "error: expected expression" in out


# ---- grade ----


def test_grade_writes_lines_a_table_and_results(run: Run, lab: Lab, tmp_path: Path) -> None:
    subs, results = tmp_path / "subs", tmp_path / "results"
    make_submission(subs / "alice", {"it.txt": "yes\n"})
    make_submission(subs / "bob", {"it.txt": "no"})
    make_submission(subs / "two\nlines", {"it.txt": "no"})
    status, out, err = run("grade", lab.directory, subs, "-o", results)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[-2:] == [f"    {results}/submissions/", f"    {results}/grades.csv"]
    del lines[-2:]
    assert max(map(len, lines)) <= 80
    first = sorted(lines[:3])
    assert first[0].split() == "alice 4 of 4 all points".split()
    assert first[1].startswith("bob ")
    assert first[1].endswith("0 of 4  lost: the file says yes, and 2 more")
    assert first[2].startswith("two\\nlines ")
    assert "my-lab: 3 of 3 submissions graded." in out
    rows = [line.split() for line in lines]
    assert ["2", "1", "0", "2", "0", "0", "the", "file", "says", "yes"] in rows
    with open(results / "grades.csv", newline="", encoding="utf-8") as file:
        assert [row["score"] for row in csv.DictReader(file)] == ["4", "0", "0"]
    status, out, _ = run("grade", lab.directory, subs, "-o", results, "--json")
    told = json.loads(out)
    assert (told["total"], told["kept"], told["errors"]) == (3, 3, 0)


def test_grade_says_loudly_that_no_wall_stands(
    run: Run, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_submission(tmp_path / "subs" / "alice", {"it.txt": "yes\n"})
    monkeypatch.setattr(
        "procmem.grade.sandbox.sandbox.why_not", lambda kind: "" if kind == "rlimits" else "no"
    )
    status, _, err = run("grade", lab.directory, tmp_path / "subs", "-o", tmp_path / "results")
    assert status == 0
    assert "procmem grade: NO SANDBOX works here except rlimits" in err
    assert ("forge" in err) == (os.geteuid() != 0)


def test_grade_ends_with_one_if_the_grader_failed(run: Run, tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", "from procmem.grade import points\n\n@points(1, 'x')\n"
                   "def test_x(submission):\n    raise KeyError('oh')\n")  # fmt: skip
    make_submission(tmp_path / "subs" / "a")
    status, out, _ = run("grade", lab.directory, tmp_path / "subs", "-o", tmp_path / "results")
    assert status == 1
    assert "because the grader failed: 1" in out
    assert "checks: x: KeyError: 'oh'" in out
    status, _, err = run("lab", "check", tmp_path / "subs" / "a", "--lab", lab.directory)
    assert status == 1
    assert "procmem lab: test_x: the grader failed: KeyError: 'oh'" in err
    assert "checks.py" in err
    assert "line 5" in err
    end_servers()


def test_grade_says_what_it_can_not_do(run: Run, lab: Lab, tmp_path: Path) -> None:
    status, _, err = run("grade", lab.directory, tmp_path / "none", "-o", tmp_path / "results")
    assert status == 1
    assert err.startswith("procmem grade: ")
    assert "No such file" in err
    assert not (tmp_path / "results").exists()
    (tmp_path / "subs" / "a").mkdir(parents=True)
    (tmp_path / "file").touch()
    status, _, err = run("grade", lab.directory, tmp_path / "subs", "-o", tmp_path / "file")
    assert status == 1
    assert "Traceback" not in err


def test_a_terminal_gets_a_bar_that_is_rewritten(lab: Lab, tmp_path: Path) -> None:
    for name in ("alice", "bob", "carol"):
        make_submission(tmp_path / "subs" / name, {"it.txt": "yes\n"})
    ours, theirs = pty.openpty()
    words = ["grade", lab.directory, tmp_path / "subs", "-o", tmp_path / "results", "-j", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "procmem", *map(str, words)],
        stdout=theirs, stderr=theirs, stdin=theirs, env=os.environ | {"COLUMNS": "70"},
    ) as process:  # fmt: skip
        os.close(theirs)
        told = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while piece := os.read(ours, 1 << 16):
                told += piece
    os.close(ours)
    assert process.returncode == 0
    text = told.decode()
    for done in (1, 2):
        assert re.search(rf"{done} of 3, \d+:", text)
    shown = [line.rpartition("\r\x1b[K")[2] for line in text.split("\r\n")]
    lines = [line for line in shown if line.startswith(("alice ", "bob ", "carol "))]
    assert len(lines) == 3
    assert all(len(line) <= 70 for line in lines)


# ---- what the screen shows ----


def summary(total: int, done: int) -> Summary:
    outcomes = [Outcome(f"s{i}", 1, 2, ("x",)) for i in range(done)]
    return Summary("lab", total, outcomes, seconds=done * 3.0)


def test_a_line_of_a_submission_never_breaks() -> None:
    nasty = Outcome("x\n\x1b[2J" * 50, 1.25, 100, tuple(f"check {i}\n" for i in range(50)))
    broken = Outcome("a", 0, 0, (), "line one\nline two\x1b[2J")
    for outcome in (nasty, broken):
        assert outcome_line(outcome).isprintable()


def test_titles_are_not_cut() -> None:
    title = "the title of a check that is far too long for what is left of a line of 80 columns"
    assert outcome_line(Outcome("bob", 1, 2, (title,))).endswith(f"lost: {title}")
    told = summary(9, 9)
    told.checks = [CheckCount("test_it", title, 2)]
    rows = overview(told).splitlines()
    first = next(at for at, row in enumerate(rows) if "the title" in row)
    column = rows[first].index("the title")
    assert " ".join(row[column:] for row in rows[first : first + 3] if row).startswith(title)


def test_the_check_that_most_fail_stands_first() -> None:
    told = summary(9, 9)
    told.checks = [CheckCount(f"test_{i}", f"check {i} " + "long " * 30, 2) for i in range(3)]
    told.checks[1].ends[Status.FAILED] = 5
    told.checks[2].ends[Status.PARTLY] = 7
    told.checks[0].ends[Status.NOT_POSSIBLE] = 9
    told.outcomes.append(Outcome("bad", 0, 0, error="it died " * 40))
    text = overview(told)
    assert max(map(len, text.splitlines())) <= 80
    places = [text.index(f"check {i}") for i in (2, 1, 0)]
    assert places == sorted(places)
    assert "because the grader failed: 1" in text


# ---- fifty, mixed ----

ODD = {
    "empty": {},
    "no-program": {"Makefile": "alloc_size:\n\ttrue\n"},
    "syntax": {"alloc_size.c": "int main( {"},
    "forged": {"alloc_size.c": '#include <stdio.h>\nint main(void) { puts("19 of 19"); }\n'},
    "crashes": {"alloc_size.c": "int main(void) { return *(volatile int *)0; }\n"},
}


@pytest.mark.slow
def test_fifty_mixed_submissions_get_the_table_they_deserve(tmp_path: Path, run: Run) -> None:
    name = "alloc-size"
    lab = next(lab for lab in labs() if lab.name == name)
    subs = tmp_path / "subs"
    expected: dict[str, set[str]] = {}
    for odd, files in ODD.items():
        if files:
            shutil.copytree(lab.starter, subs / odd)
        make_submission(subs / odd, files)
    kinds = [(side, one) for side in ("right", "wrong") for one in variants(name, side)]
    for number in range(50 - len(ODD)):
        side, one = kinds[number % len(kinds)]
        student = f"student-{number:02}"
        made = variant_of(tmp_path / student, name, side, one)
        shutil.move(made, subs / student)
        expected[student] = set(variants(name, side)[one].get("loses", ()))
    status, out, _ = run("grade", name, subs, "-o", tmp_path / "results")
    assert status == 0, out
    assert "alloc-size: 50 of 50 submissions graded." in out
    with open(tmp_path / "results" / "grades.csv", newline="", encoding="utf-8") as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    assert len(rows) == 50
    for student, loses in expected.items():
        raw = (tmp_path / "results" / "submissions" / student / "grade.json").read_text()
        grade = Grade.from_json(raw)
        lost = {c.name for c in grade.checks if c.status.counts and c.status is not Status.PASSED}
        assert lost == loses, student
        assert float(rows[student]["score"]) == grade.score
    full = {row["max_score"] for row in rows.values()}
    assert full == {"19"}
    for odd in ODD:
        assert float(rows[odd]["score"]) <= 1, odd
    end_servers()
