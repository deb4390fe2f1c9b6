"""What is shown of a grade in every format."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from procmem.grade.exports import (
    gradescope,
    html,
    markdown,
    text,
)
from procmem.grade.results import BuildResult, CheckResult, Grade, Status
from tests.support.grades import Tags

if TYPE_CHECKING:
    from collections.abc import Callable


def judged(*checks: tuple[Status, float, float], **more: object) -> Grade:
    made = tuple(
        CheckResult(f"test_{number}", f"check {number}", status, score, points)
        for number, (status, score, points) in enumerate(checks)
    )
    return Grade("lab", "sub", made, **more)  # type: ignore[arg-type]


PASSED_SOME = judged((Status.PASSED, 9, 9), (Status.ERROR, 0, 12), (Status.NOT_POSSIBLE, 0, 3))


@pytest.mark.parametrize("export", [text, markdown, html])
def test_points_that_were_not_judged_are_part_of_the_total(export: Callable[[Grade], str]) -> None:
    page = export(PASSED_SOME)
    said = " ".join(("".join(Tags(page).said) if export is html else page).split())
    assert "9 of 24 points, 15 not judged" in said
    assert "9 of 9" not in said
    assert "Every check passed" not in said
    assert "Every check that was possible here passed. 2 checks were not possible here." in said
    assert "Every check passed." in export(judged((Status.PASSED, 9, 9)))
    one = export(judged((Status.PASSED, 9, 9), (Status.NOT_POSSIBLE, 0, 3)))
    assert "1 check was not possible here." in " ".join(one.split())


def widths(page: str) -> list[float]:
    return [float(width) for width in re.findall(r"width:([\d.]+)%", page)]


def test_a_bar_is_full_of_green_for_all_points_alone() -> None:
    assert widths(html(judged((Status.PASSED, 9, 9)))) == [100]
    assert widths(html(PASSED_SOME)) == [37.5, 62.5]
    nearly = judged((Status.PASSED, 99_999, 99_999), (Status.FAILED, 0, 1))
    assert widths(html(nearly)) == [99.9]


def test_not_checked_looks_different_from_failed() -> None:
    grade = judged((Status.FAILED, 0, 1), (Status.MISSED, 0, 1))
    failed, missed = (line for line in text(grade).splitlines() if re.search(r" check \d", line))
    assert failed.startswith("NO ")
    assert missed.startswith("- ")
    page = html(grade)
    assert "✗ 0/1" in page
    assert "not checked 0/1" in page
    assert page.count("✗") == 1


def test_notes_about_files_are_shown() -> None:
    note = "left out, because the build creates it: <page>"
    grade = judged((Status.PASSED, 1, 1), notes=(note,))
    assert Grade.from_json(grade.to_json()) == grade
    assert note in " ".join(text(grade).split())
    assert "&lt;page&gt;" in markdown(grade)
    assert note in "".join(Tags(html(grade)).said)
    assert note in gradescope(grade)["output"]


def test_a_grade_of_an_earlier_version_has_no_notes() -> None:
    record = json.loads(PASSED_SOME.to_json())
    for name in ("notes", "unopened", "not_judged"):
        del record[name]
    assert Grade.from_json(json.dumps(record)) == PASSED_SOME


def test_what_could_not_be_opened_is_said() -> None:
    why = "the archive is broken: File is not a zip file"
    grade = judged((Status.FAILED, 0, 1), unopened=why, build=BuildResult(False, why), notes=(why,))
    for page in (text(grade), markdown(grade), html(grade)):
        assert "The submission could not be opened" in page
        assert page.count("File is not a zip file") == 1
