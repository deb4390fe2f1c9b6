"""JSON for Gradescope, check50, GitHub Classroom and Autolab."""

from __future__ import annotations

import base64
import json
from typing import Any

from procmem.grade.exports.shown import (
    NOTHING_GRADED,
    amount,
    build_failed,
    clean,
    line,
    notes,
    points_of,
    rows,
    standing,
    verdict,
)
from procmem.grade.results import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from procmem.grade.exports.shown import CheckRow
    from procmem.grade.results import Grade

__all__ = ["autolab", "check50", "classroom", "gradescope"]


def gradescope(grade: Grade) -> dict[str, Any]:
    """The content of Gradescope's /autograder/results/results.json.

    The points of an assignment on Gradescope are fixed in advance, and only whole tests can be
    hidden. So a hidden check becomes a hidden test, with all details for the instructor, and
    where checks were not judged, the score of the others is scaled to the full points. If nothing
    could be graded there is no score, which Gradescope shows as a failure of the autograder.

    Source: gradescope-autograders.readthedocs.io, "Autograder Specifications".
    """
    told = rows(grade, all_of_it=True)
    found: dict[str, Any] = {
        "output": verdict(grade) + scaled_note(grade) + built(grade) + of_files(grade),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "execution_time": round(grade.seconds),
        "extra_data": {"lab": line(grade.lab), "submission": line(grade.submission)},
        "tests": [],
    }
    score = of_full_points(grade)
    if score is None:
        return found
    found["score"] = score
    for row in told:
        test: dict[str, Any] = {
            "name": row.title,
            "output": "\n".join(f"{label}: {text}" for label, text in row.details),
            "visibility": "hidden" if row.hidden else "visible",
            "tags": [row.name],
        }
        if row.counted:
            test["score"], test["max_score"] = row.score, row.points
            test["status"] = "passed" if row.status is Status.PASSED else "failed"
        found["tests"].append(test)
    return found


def of_full_points(grade: Grade) -> float | None:
    """The score, scaled to all points of the lab, for systems that fix these in advance."""
    if grade.error is not None or not grade.max_score:
        return None
    if not grade.uncounted:
        return grade.score
    return round(grade.score * (grade.max_score + grade.uncounted) / grade.max_score, 4)


def scaled_note(grade: Grade) -> str:
    score = of_full_points(grade)
    if score is None or not grade.uncounted:
        return ""
    return f" Scaled to all points: {amount(score)} of {amount(grade.max_score + grade.uncounted)}."


def of_files(grade: Grade) -> str:
    """The notes for the student about the submission's files."""
    said = notes(grade)
    return "\n\n" + "\n".join(f"Files: {note}" for note in said) if said else ""


def built(grade: Grade) -> str:
    """The output of a failed build, below a heading."""
    if grade.build is None or not (heading := build_failed(grade)):
        return ""
    return f"\n\n{heading}\n{clean(grade.build.output)}"


def check50(grade: Grade) -> dict[str, Any]:
    """What `check50 -o json` prints.

    check50 has no points and no total, so the points are in each result's `data`. A check that was
    not run has `passed` null, as in check50 after a failed dependency. A check that was not judged
    has, in addition, `judged` false in its `data`, beside the points that it is worth, and a
    rationale that says so. If nothing could be graded, `error` takes the place of `results`.

    Source: cs50.github.io/check50, "JSON specification".
    """
    found: dict[str, Any] = {"slug": line(grade.lab), "version": line(grade.version)}
    if grade.error is not None or not grade.checks:
        error = {"type": "GraderError", "value": NOTHING_GRADED, "traceback": [], "data": {}}
        return {**found, "error": error}
    return {**found, "results": [check50_result(row) for row in rows(grade)]}


def check50_result(row: CheckRow) -> dict[str, Any]:
    made = row.counted and row.status is not Status.MISSED
    cause: dict[str, Any] | None = None
    if not row.passed:
        cause = {"rationale": row.message or row.cause or standing(row), "help": row.hint or None}
        if row.expected or row.seen:
            cause |= {"expected": row.expected, "actual": row.seen}
        if row.status is Status.ERROR:
            cause["error"] = {"type": "GraderError", "value": row.message, "traceback": []}
    log = [f"{label}: {part}" for label, text in row.details for part in text.split("\n")]
    points = {"score": row.score, "points": row.points}
    if not row.counted:
        points = {"judged": False, "points": row.points}
    return {
        "name": row.name,
        "description": row.title,
        "passed": row.passed if made else None,
        "log": log,
        "cause": cause,
        "data": points,
        "dependency": row.needs[0] if row.needs else None,
    }


NOT_JUDGED = "Points that were not judged are neither won nor lost."
NO_TEST: dict[str, str | float] = {
    "status": "error",
    "score": 0,
    "test_code": "not judged",
    "filename": "",
    "line_no": 0,
    "duration": 0,
}


def classroom(grade: Grade) -> str:
    """The output `result` of a step, for GitHub Classroom's autograding reporter: base64 of JSON.

    The reporter adds up the tests' scores and the steps' max_score; where that is 0 it reports no
    score. It has no place for points that were not judged: if max_score contained them, the student
    would lose them; if nothing mentioned them, nobody would notice. So max_score leaves them out,
    each check that was not judged is a test with the status "error", and one more such test has the
    total as its name, as in "9 of 24 points, 15 not judged".

    Source: github.com/classroom-resources, autograding-grading-reporter.
    """
    told = rows(grade)
    status = "pass"
    if any(row.counted and row.status is not Status.PASSED for row in told):
        status = "fail"
    elif not told or not grade.trusted:
        status = "error"
    tests = [
        {
            "name": row.title,
            "status": "error" if not row.counted else "pass" if row.passed else "fail",
            "score": row.score if row.counted else 0,
            "message": "\n".join(f"{label}: {text}" for label, text in row.details),
            "test_code": row.name,
            "filename": "",
            "line_no": 0,
            "duration": round(row.seconds * 1000),
        }
        for row in told
    ]
    if grade.uncounted:
        tests.append({**NO_TEST, "name": points_of(grade), "message": NOT_JUDGED})
    found = {"version": 1, "status": status, "max_score": grade.max_score, "tests": tests}
    return base64.b64encode(json.dumps(found).encode()).decode()


def autolab(grade: Grade, problem: str | None = None) -> str:
    """What an autograder prints for Autolab: a line with the feedback, and a line with the scores.

    Autolab's problems have fixed points, so the score is scaled where checks were not judged; if
    none was judged, there is no score.

    Args:
        grade: the grade to export.
        problem: the name of the problem on Autolab; the lab's name if None.

    Source: docs.autolabproject.com, "Formatted Feedback" and "Guide for Lab Authors".
    """
    told = rows(grade)
    shown: dict[str, Any] = {"_presentation": "semantic", "stages": []}
    if grade.build is not None:
        build: dict[str, Any] = {"passed": grade.build.ok}
        if not grade.build.ok:
            build["hint"] = clean(grade.build.output, 2_000)
        stage(shown, "Build", [(line(" ".join(grade.build.command)) or "Build", build)])
    stage(shown, "Checks", [(row.title, autolab_test(row)) for row in told if row.counted])
    stage(shown, "Not counted", [(row.title, row.message) for row in told if not row.counted])
    score = of_full_points(grade)
    scores = {} if score is None else {problem or line(grade.lab): score}
    return f"{json.dumps(shown)}\n{json.dumps({'scores': scores})}\n"


def stage(shown: dict[str, Any], name: str, tests: Iterable[tuple[str, Any]]) -> None:
    made: dict[str, Any] = {}
    for title, found in tests:
        same = sum(other == title or other.startswith(f"{title} (") for other in made)
        made[title if title not in made else f"{title} ({same + 1})"] = found
    if made:
        shown["stages"].append(name)
        shown[name] = made


def autolab_test(row: CheckRow) -> dict[str, Any]:
    if row.passed:
        return {"passed": True}
    said = "; ".join(f"{label}: {text}" for label, text in row.details)
    of = f"{amount(row.score)} of {amount(row.points)} points"
    return {"passed": False, "hint": f"{of}. {said}" if said else of}
