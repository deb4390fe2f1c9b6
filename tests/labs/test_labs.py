"""The labs that ship: right submissions get all points, wrong ones lose those of what is wrong."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from procmem.grade import Lab, NotPossibleHere, Status, Submission, grade
from procmem.grade.exports.shown import verdict
from tests.support.lab_variants import LABS, VARIANTS, submission, variants

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LEAST_WRONG, LEAST_RIGHT = 8, 3


def every(side: str) -> list[Any]:
    return [
        pytest.param(name, variant, id=f"{name}-{variant}")
        for name in LABS
        for variant in variants(name, side)
    ]


def story(result: Any) -> str:
    return "\n".join(
        f"{check.name}: {check.status} {check.score:g}/{check.points:g} {check.message}"
        for check in result.checks
    )


def graded(lab: Lab, directory: Path) -> tuple[Any, dict[Status, set[str]]]:
    result = grade(lab, directory)
    by_status: dict[Status, set[str]] = {status: set() for status in Status}
    for check in result.checks:
        by_status[check.status].add(check.name)
    assert not by_status[Status.ERROR], story(result)
    return result, by_status


def checks_of(name: str) -> Any:
    """The module with a lab's checks."""
    spec = importlib.util.spec_from_file_location("checks", Path(LABS[name].directory, "checks.py"))
    assert spec is not None
    assert spec.loader is not None
    checks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checks)
    return checks


def assert_full(lab: Lab, directory: Path) -> None:
    result, by_status = graded(lab, directory)
    assert by_status[Status.PASSED], story(result)
    assert result.score == result.max_score > 0, story(result)


@pytest.mark.parametrize("name", LABS)
def test_there_is_all_that_a_lab_has(name: str) -> None:
    directory = Path(LABS[name].directory)
    for needed in ("lab.toml", "handout.md", "checks.py", "quiz.toml", "starter", "solution"):
        assert (directory / needed).exists(), needed
    assert len(variants(name, "wrong")) >= LEAST_WRONG
    assert len(variants(name, "right")) >= LEAST_RIGHT


@pytest.mark.parametrize("name", LABS)
def test_each_overlay_is_listed(name: str) -> None:
    for side in ("wrong", "right"):
        if (VARIANTS / name / side).is_dir():
            there = {path.name for path in (VARIANTS / name / side).iterdir()}
            assert there <= set(variants(name, side))


@pytest.mark.parametrize("name", LABS)
def test_the_solution_gets_all_points(name: str) -> None:
    lab = LABS[name]
    assert_full(lab, Path(lab.directory, "solution"))


@pytest.mark.parametrize("name", LABS)
def test_the_starter_builds_and_is_told_what_is_missing(name: str) -> None:
    lab = LABS[name]
    result, by_status = graded(lab, Path(lab.directory, "starter"))
    assert result.build is None or result.build.ok, result.build.output
    assert result.build is None or "warning" not in result.build.output
    assert result.score < result.max_score
    assert by_status[Status.FAILED], story(result)
    for check in result.checks:
        if check.status is Status.FAILED:
            assert check.message or check.expected, check.name
            assert check.hint, f"{check.name} has no hint"
            assert "Traceback" not in (check.message or ""), story(result)


@pytest.mark.parametrize(
    "name, call",
    [
        ("modify-areas", lambda checks, place: checks.compiled(place, "int x;")),
        ("static-dynamic", lambda checks, place: checks.build(place, "waits")),
    ],
)
def test_checks_that_compile_need_a_compiler(
    name: str, call: Callable[[Any, Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = checks_of(name)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotPossibleHere, match="no C compiler"):
        call(checks, tmp_path)


def test_a_check_takes_descriptors_above_9(tmp_path: Path) -> None:
    (tmp_path / "answers.toml").write_text('closed = "a"\n')
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    try:
        with Submission(tmp_path, quiz=LABS["file-size"].quiz) as submitted:
            checks_of("file-size").test_quiz_closed(submitted, tmp_path)
    finally:
        for fd in taken:
            os.close(fd)


@pytest.mark.slow
@pytest.mark.parametrize(
    "odd", ["0x" + "f" * 5000, "{" + "a." * 3000 + "a = 1}"], ids=["huge", "deep"]
)
@pytest.mark.parametrize("name", LABS)
def test_odd_values_cost_points_and_never_the_grader(tmp_path: Path, name: str, odd: str) -> None:
    lab = LABS[name]
    made = tmp_path / "submission"
    shutil.copytree(Path(lab.directory, "solution"), made)
    for file in ("predictions.toml", "answers.toml"):
        if (made / file).exists():
            known = tomllib.loads((made / file).read_text())
            lines = [f"{key} = {odd}\n" for key in known]
            kept = [line for at, line in enumerate(lines) if len(odd) * (at + 1) < 15_000]
            (made / file).write_text("".join(kept))
    result, by_status = graded(lab, made)
    right, usual = graded(lab, Path(lab.directory, "solution"))
    assert by_status[Status.NOT_POSSIBLE] == usual[Status.NOT_POSSIBLE], story(result)
    assert result.score < right.score


@pytest.mark.slow
@pytest.mark.parametrize("name, variant", every("wrong"))
def test_a_wrong_one_loses_what_is_wrong(tmp_path: Path, name: str, variant: str) -> None:
    result, by_status = graded(LABS[name], submission(tmp_path, name, "wrong", variant))
    lost = by_status[Status.FAILED] | by_status[Status.MISSED] | by_status[Status.PARTLY]
    expected = set(variants(name, "wrong")[variant]["loses"])
    unknown = expected - {check.name for check in result.checks}
    assert not unknown, f"no such checks: {unknown}"
    assert expected, "a wrong variant loses something"
    assert lost == expected - by_status[Status.NOT_POSSIBLE], story(result)
    for check, words in variants(name, "wrong")[variant].get("says", {}).items():
        if check in lost:
            assert words in (result.check(check).message or ""), story(result)


@pytest.mark.slow
@pytest.mark.parametrize("name, variant", every("right"))
def test_a_right_one_gets_all_points(tmp_path: Path, name: str, variant: str) -> None:
    assert_full(LABS[name], submission(tmp_path, name, "right", variant))


@pytest.mark.slow
@pytest.mark.parametrize(
    "new, words",
    [
        ('wait_for_enter("At the start.");\n    wait_for_enter("Again.");', "one wait late"),
        ("", "one wait early"),
    ],
    ids=["late", "early"],
)
def test_waits_that_are_all_moved_are_recognised(tmp_path: Path, new: str, words: str) -> None:
    lab = LABS["memory-map"]
    made = tmp_path / "submission"
    shutil.copytree(Path(lab.directory, "solution"), made)
    source = (made / "map.c").read_text()
    assert source.count('wait_for_enter("At the start.");') == 1
    (made / "map.c").write_text(source.replace('wait_for_enter("At the start.");', new))
    result, _ = graded(lab, made)
    assert f"Most of your steps come {words}" in verdict(result)
    assert sum(words in (check.cause or "") for check in result.checks) >= 5, story(result)
    right, _ = graded(lab, Path(lab.directory, "solution"))
    assert "Most of your steps" not in verdict(right)


@pytest.mark.slow
def test_the_last_words_of_a_program_are_shown(tmp_path: Path) -> None:
    lab = LABS["grow"]
    made = tmp_path / "submission"
    shutil.copytree(Path(lab.directory, "solution"), made)
    (made / "grow.py").write_text("input()\nprint(1 / 0)\n")
    result, _ = graded(lab, made)
    said = result.check("test_runs_to_its_end").message or ""
    assert "ZeroDivisionError: division by zero" in said
    assert str(tmp_path) not in said


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", ["copy-on-write", "mmap-demo", "copy"])
def test_a_program_with_asan_runs_as_it_does_alone(
    tmp_path: Path, name: str, compiler: str
) -> None:
    sanitize = "-fsanitize=address"
    (tmp_path / "one.c").write_text("int main(void) { return 0; }\n")
    try:
        command = [compiler, sanitize, "-o", "one", "one.c"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"{compiler} {sanitize} does not build here")
    made = tmp_path / "submission"
    shutil.copytree(Path(LABS[name].directory, "solution"), made)
    text = (made / "Makefile").read_text()
    assert text.count("CFLAGS = ") == 1
    (made / "Makefile").write_text(
        text.replace("CFLAGS = ", f"CC = {compiler}\nCFLAGS = {sanitize} ")
    )
    assert_full(LABS[name], made)
