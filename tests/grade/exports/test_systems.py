"""Gradescope, check50, GitHub Classroom and Autolab: what their documents say."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from procmem.grade.exports import (
    autolab,
    check50,
    classroom,
    gradescope,
    written,
)
from tests.support.grades import BROKEN, FULL, GRADES, MIXED, UNCOUNTED

if TYPE_CHECKING:
    from procmem.grade.results import Grade

# ---- Gradescope ----

FORMATS_OF_TEXT = {"text", "html", "simple_format", "md", "ansi"}
VISIBILITIES = {"hidden", "after_due_date", "after_published", "visible"}
GRADESCOPE = {
    "score": (int, float), "execution_time": (int, float), "output": str, "output_format": str,
    "test_output_format": str, "test_name_format": str, "visibility": str,
    "stdout_visibility": str, "extra_data": dict, "tests": list, "leaderboard": list,
}  # fmt: skip
GRADESCOPE_TEST = {
    "score": (int, float), "max_score": (int, float), "status": str, "name": str,
    "name_format": str, "number": str, "output": str, "output_format": str, "tags": list,
    "visibility": str, "extra_data": dict,
}  # fmt: skip


def fits(record: dict[str, Any], kinds: dict[str, Any]) -> None:
    assert set(record) <= set(kinds)
    for name, value in record.items():
        assert isinstance(value, kinds[name]), name
        if name.endswith("format"):
            assert value in FORMATS_OF_TEXT
        if name.endswith("visibility"):
            assert value in VISIBILITIES


def test_gradescope_is_as_its_specification_has_it(grade: Grade) -> None:
    told = json.loads(written(grade, "gradescope"))
    fits(told, GRADESCOPE)
    for test in told["tests"]:
        fits(test, GRADESCOPE_TEST)
        assert test.get("status") in (None, "passed", "failed")
        assert ("score" in test) == ("max_score" in test) == ("status" in test)
    # It stands at the top, or on every test; here there are then no tests.
    assert "score" in told or told["tests"] == []


def test_gradescope_scales_what_could_be_checked_to_all_points() -> None:
    told = gradescope(MIXED)
    assert told["score"] == pytest.approx(3.5 / 10 * 13, abs=1e-4)
    assert "4.55 of 13" in told["output"]
    assert gradescope(FULL)["score"] == 2
    counted = [test for test in told["tests"] if "score" in test]
    assert len(counted) == 5
    assert sum(test["score"] for test in counted) == MIXED.score


@pytest.mark.parametrize("name", ["uncounted", "broken"])
def test_where_nothing_could_be_graded_there_is_no_score(name: str) -> None:
    assert "score" not in gradescope(GRADES[name])
    assert "Nothing could be graded" in gradescope(GRADES[name])["output"]
    assert json.loads(autolab(GRADES[name]).splitlines()[-1]) == {"scores": {}}


# ---- check50 ----


def test_check50_is_as_its_specification_has_it(grade: Grade) -> None:
    told = json.loads(written(grade, "check50"))
    assert isinstance(told["slug"], str)
    assert isinstance(told["version"], str)
    if "error" in told:
        assert set(told) == {"slug", "version", "error"}
        assert set(told["error"]) == {"type", "value", "traceback", "data"}
        return
    assert set(told) == {"slug", "version", "results"}
    for result in told["results"]:
        assert set(result) == {
            "name", "description", "passed", "log", "cause", "data", "dependency",
        }  # fmt: skip
        assert isinstance(result["name"], str)
        assert isinstance(result["description"], str)
        assert result["passed"] in (True, False, None)
        assert all(isinstance(line, str) and "\n" not in line for line in result["log"])
        assert isinstance(result["data"], dict)
        assert result["dependency"] is None or isinstance(result["dependency"], str)
        cause = result["cause"]
        assert (cause is None) == (result["passed"] is True)
        if cause is not None:
            assert isinstance(cause["rationale"], str)
            assert cause["rationale"]
            assert cause["help"] is None or isinstance(cause["help"], str)
            assert ("expected" in cause) == ("actual" in cause)
            assert set(cause) <= {"rationale", "help", "expected", "actual", "error"}


def test_check50_says_what_was_not_judged() -> None:
    told = {one["name"]: one for one in check50(MIXED)["results"]}
    for name in ("test_impossible", "test_error"):
        points = next(check.points for check in MIXED.checks if check.name == name)
        assert told[name]["data"] == {"judged": False, "points": points}
        assert "not judged" in told[name]["cause"]["rationale"]
    assert told["test_failed"]["data"] == {"score": 0, "points": 2}


def test_check50_has_null_for_what_was_not_checked() -> None:
    passed = {one["name"]: one["passed"] for one in check50(MIXED)["results"]}
    assert passed == {
        "test_passed": True, "test_failed": False, "test_partly": False, "test_missed": None,
        "test_impossible": None, "test_error": None, "hidden_1": False,
    }  # fmt: skip
    failed = check50(MIXED)["results"][1]["cause"]
    assert (failed["expected"], failed["actual"]) == ("4 KiB", "136 KiB")
    assert failed["help"].startswith("Who allocates")
    assert check50(MIXED)["results"][3]["dependency"] == "test_failed"
    assert check50(BROKEN)["error"]["value"].startswith("Nothing could be graded")


# ---- GitHub Classroom ----


def decoded(grade: Grade) -> dict[str, Any]:
    encoded = classroom(grade)
    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", encoded)  # one line: it becomes an output of a step
    found: dict[str, Any] = json.loads(base64.b64decode(encoded, validate=True))
    return found


def test_classroom_is_what_its_reporter_reads(grade: Grade) -> None:
    told = decoded(grade)
    assert set(told) == {"version", "status", "max_score", "tests"}
    assert told["version"] == 1
    assert told["status"] in ("pass", "fail", "error")
    assert isinstance(told["max_score"], int | float)
    for test in told["tests"]:
        assert set(test) == {
            "name", "status", "score", "message", "test_code", "filename", "line_no", "duration",
        }  # fmt: skip
        assert test["status"] in ("pass", "fail", "error")
        assert isinstance(test["line_no"], int)
    # The reporter adds up the tests' scores and max_score.
    assert sum(test["score"] for test in told["tests"]) == grade.score
    assert told["max_score"] == grade.max_score


def test_classroom_fails_nobody_for_what_was_not_possible() -> None:
    impossible = replace(MIXED, checks=(MIXED.checks[0], MIXED.checks[4]))
    assert decoded(impossible)["status"] == "pass"
    assert decoded(impossible)["max_score"] == 2
    assert [(test["status"], test["score"], test["name"]) for test in decoded(impossible)["tests"]][
        1:
    ] == [("error", 0, "title of impossible"), ("error", 0, "2 of 4 points, 2 not judged")]
    assert "judged" not in str(decoded(FULL))
    assert decoded(MIXED)["status"] == "fail"
    assert decoded(UNCOUNTED)["status"] == "error"
    assert decoded(BROKEN) == {"version": 1, "status": "error", "max_score": 0, "tests": []}


# ---- Autolab ----


def test_autolab_prints_two_lines_the_scores_last(grade: Grade) -> None:
    told = autolab(grade)
    assert told.endswith("\n")
    shown, scores = map(json.loads, told.splitlines())
    assert list(scores) == ["scores"]
    assert all(isinstance(value, int | float) for value in scores["scores"].values())
    assert shown["_presentation"] == "semantic"
    assert set(shown) == {"_presentation", "stages", *shown["stages"]}
    tests = 0
    for stage in shown["stages"]:
        for test in shown[stage].values():
            tests += stage != "Build"
            if isinstance(test, dict):
                assert set(test) <= {"passed", "hint"}
                assert isinstance(test["passed"], bool)
            else:
                assert isinstance(test, str)
    assert tests == len(grade.checks)


def test_autolab_scales_like_gradescope_and_names_the_problem() -> None:
    assert json.loads(autolab(MIXED).splitlines()[-1]) == {"scores": {"alloc-size": 4.55}}
    assert json.loads(autolab(FULL, "Memory").splitlines()[-1]) == {"scores": {"Memory": 2}}


def test_autolab_keeps_checks_of_one_title_apart() -> None:
    same = replace(
        FULL, checks=tuple(replace(MIXED.checks[0], name=f"test_{i}") for i in range(12))
    )
    assert len(json.loads(autolab(same).splitlines()[0])["Checks"]) == 12
