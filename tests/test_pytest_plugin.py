"""The pytest plugin: it changes nothing in other runs, and adds a summary to runs of checks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.grade import Grade, Status
from tests.support.labs_made import make_lab, make_submission

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = """
from procmem.grade import heap, not_possible, partly, points

@points(1, "cat asks")
def test_asks(program):
    with program.run() as run:
        run.pause()

@points(2, "cat has no heap", hint="cat has a buffer", needs="test_asks")
def test_heap(program):
    with program.run() as run:
        before = run.pause("asking")
        assert heap(before).regions == 0, "regions of the heap"

@points(4, "after it", needs="test_heap")
def test_after(): pass

@points(4, "a part")
def test_part(): partly(0.5, "half of it")

@points(4, "not here")
def test_np(): not_possible("no such thing")

@points(1, "a prediction", hidden=True)
def test_prediction(predictions): assert predictions.size("rss") == 4096

@points(1, "an answer")
def test_answer(answers): assert answers.choice("one") == "a"
"""


def run(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", *arguments],
        cwd=directory,
        env={**environment, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    quiz = '[[question]]\nname = "one"\ntext = "?"\nchoices = { a = "x", b = "y" }\n'
    make_submission(tmp_path / "sub", {"predictions.toml": 'rss = "4K"\n'})
    return make_lab(tmp_path / "lab", CHECKS, files={"quiz.toml": quiz}).directory


# ---- other people's runs ----


def test_other_peoples_runs_load_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("""
import sys

def test_it(tmp_path):
    print("LOADED", *(name for name in sys.modules if name.startswith("procmem")))
    print("HEAVY", *({"psutil", "_cffi_backend", "elftools", "cffi"} & set(sys.modules)))
""")
    done = run("-q", "-s", directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = re.search("LOADED (.*)", done.stdout)
    assert loaded is not None
    assert set(loaded[1].split()) == {"procmem", "procmem._lazy", "procmem.pytest_plugin"}
    assert re.search("HEAVY *$", done.stdout, re.M)


def test_other_peoples_runs_get_one_fixture(tmp_path: Path) -> None:
    def fixtures(*arguments: str) -> list[str]:
        listed = run("--fixtures", "-q", *arguments, directory=tmp_path).stdout.splitlines()
        return [line for line in listed if " -- " in line]

    without = fixtures("-p", "no:procmem")
    assert without
    added = [line for line in fixtures() if line not in without]
    assert [line.split()[0] for line in added] == ["memory"]


def test_the_plugin_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    assert run("-q", "-p", "no:procmem", directory=tmp_path).returncode == 0


def test_no_warning_where_warnings_are_errors(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import procmem\ndef test_it(): assert procmem.Process().maps()\n"
    )
    done = run("-q", "-W", "error", directory=tmp_path)
    assert done.returncode == 0, done.stdout


def test_a_file_of_checks_is_cheap_to_import() -> None:
    code = (
        "import sys; from procmem.grade import points\n"
        "print(*(name for name in sys.modules if name.startswith('procmem')))\n"
        "print(*{'psutil', '_cffi_backend', 'elftools', 'pytest'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, heavy = done.stdout.split("\n")[:2]
    assert modules.split() == [
        "procmem._lazy",
        "procmem",
        "procmem.grade",
        "procmem.grade.checks",
        "procmem.grade.checks.points",
    ]
    assert not heavy


# ---- an instructor's own ----


def test_checks_by_hand(lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "grade.json"
    done = run(
        "checks.py", "--submission", str(tmp_path / "sub"), "--procmem-results", str(out),
        directory=lab,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    grade = Grade.from_json(out.read_text())
    assert [check.status for check in grade.checks] == [
        Status.PASSED,
        Status.FAILED,
        Status.MISSED,
        Status.PARTLY,
        Status.NOT_POSSIBLE,
        Status.PASSED,
        Status.FAILED,
    ]
    assert (grade.score, grade.max_score, grade.uncounted) == (4, 13, 4)
    assert grade.submission == "sub"
    text = done.stdout
    assert "a lab: sub" in text
    assert "4 of 17 points in all, 4 not judged" in " ".join(text.split())
    assert "expected 0, seen 1" in text
    assert "in phase: asking" in text
    assert "hint: cat has a buffer" in text
    assert "half of it" in text
    assert "answers.toml is missing" in text
    assert not list(lab.rglob("*.pyc"))


def test_by_hand_from_elsewhere(lab: Path, tmp_path: Path) -> None:
    done = run(str(lab / "checks.py"), "--submission", "sub", "-q", directory=tmp_path)
    assert "a lab: sub" in done.stdout
    done = run(
        str(lab / "checks.py"), "-k", "asks", "--lab", str(lab), "--submission", "sub", "-q",
        directory=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 of 1" in done.stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("checks.py",), "--submission DIR"),
        (("checks.py", "--submission", "nowhere"), "nowhere: no such directory"),
        (("checks.py", "--submission", "../sub", "--lab", "no-such-lab"), "no such lab"),
        (("../sub", "--submission", "../sub"), "no lab"),
    ],
    ids=["no submission", "no directory", "unknown lab", "no lab"],
)
def test_what_is_asked_wrongly_is_said(lab: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments, directory=lab)
    assert done.returncode == 4, done.stdout
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_lab_that_is_wrong_is_said(lab: Path, tmp_path: Path) -> None:
    (lab / "checks.py").write_text(CHECKS.replace('needs="test_asks"', 'needs="test_ask"'))
    done = run("checks.py", "--submission", str(tmp_path / "sub"), directory=lab)
    assert done.returncode != 0
    assert "did you mean test_asks?" in done.stdout


def test_results_are_json_that_others_can_read(lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "grade.json"
    run("checks.py", "--submission", "../sub", f"--procmem-results={out}", directory=lab)
    record = json.loads(out.read_text())
    assert record["lab"] == "lab"
    assert record["checks"][0]["status"] == "passed"


@pytest.mark.parametrize("solution", [None, "one\n", ""])
def test_a_check_that_fails_itself_is_judged_by_the_solution(
    tmp_path: Path, solution: str | None
) -> None:
    checks = """
from procmem.grade import points

@points(2, "the first word")
def test_word(submission):
    assert submission.read("words").splitlines()[0][0] == "o"

@points(1, "the second line", needs="test_word")
def test_line(submission):
    assert submission.read("words").splitlines()[0]
"""
    made = make_lab(tmp_path / "lab", checks)
    if solution is not None:
        make_submission(made.solution, {"words": solution})
    make_submission(tmp_path / "sub", {"words": ""})
    done = run(
        "lab/checks.py", "--submission", "sub", "--procmem-results", "g.json", directory=tmp_path
    )
    found = Grade.from_json((tmp_path / "g.json").read_text())
    assert done.returncode == 1
    if solution:
        assert [check.status for check in found.checks] == [Status.FAILED, Status.MISSED]
        assert (found.score, found.max_score) == (0, 3)
        assert "not judged" not in done.stdout
    else:
        assert [check.status for check in found.checks] == [Status.ERROR, Status.ERROR]
        assert "3 not judged" in done.stdout
