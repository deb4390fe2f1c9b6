"""Results: what they add up to, and that JSON keeps them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem.errors import ParseError
from procmem.grade import BuildResult, CheckResult, Grade, Status

FULL = Grade(
    lab="lazy",
    submission="näme\nwith a newline \udc80",
    checks=(
        CheckResult("test_a", "a", Status.PASSED, 2, 2, seconds=0.25),
        CheckResult(
            "test_b", "b", Status.FAILED, 0, 3, message="m", expected="4 KiB", seen="136 KiB",
            what="(after - before).vsz", phase="after the 1st answer", cause="likely: stdio",
            hint="h", needs=("test_a",),
        ),
        CheckResult("test_c", "c", Status.PARTLY, 0.5, 1, hidden=True, message="secret"),
        CheckResult("test_d", "d", Status.NOT_POSSIBLE, 0, 4),
        CheckResult("test_e", "e", Status.ERROR, 0, 5, detail="Traceback: /home/teacher"),
        CheckResult("test_f", "f", Status.MISSED, 0, 6, needs=("test_c",)),
    ),
    build=BuildResult(True, "cc ...\n", ("make", "-s"), 0.5),
    seconds=1.5,
    machine={"kernel": "6.1", "page_size": 4096},
    version="0.1.0",
)  # fmt: skip


def test_what_is_not_possible_and_errors_count_for_nobody() -> None:
    assert (FULL.score, FULL.max_score, FULL.uncounted) == (2.5, 12, 9)
    assert FULL.max_score + FULL.uncounted == sum(check.points for check in FULL.checks)
    assert not FULL.trusted
    assert Grade("l", "s").trusted
    assert not Grade("l", "s", error="e").trusted


def test_json_keeps_all_of_it() -> None:
    assert Grade.from_json(FULL.to_json()) == FULL
    assert Grade.from_json(FULL.to_json(2).encode()).to_dict() == FULL.to_dict()
    bare = Grade("lab", "name", error="the grader failed")
    assert Grade.from_json(bare.to_json()) == bare


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"format": 99}', FULL.to_json()[:-1]],
    ids=["empty", "list", "nothing in it", "null", "format", "cut"],
)
def test_what_is_no_grade_is_a_parse_error(text: str) -> None:
    with pytest.raises(ParseError):
        Grade.from_json(text)


@pytest.mark.parametrize("change", ["score", "max_score"])
def test_totals_that_do_not_add_up_are_refused(change: str) -> None:
    record = json.loads(FULL.to_json())
    record[change] += 1
    with pytest.raises(ParseError, match="sums"):
        Grade.from_json(json.dumps(record))


def test_a_status_that_is_none_is_refused() -> None:
    record = json.loads(FULL.to_json())
    record["checks"][0]["status"] = "splendid"
    with pytest.raises(ParseError, match="splendid"):
        Grade.from_json(json.dumps(record))


def test_the_student_sees_nothing_of_hidden_checks_but_their_status() -> None:
    shown = FULL.for_student()
    assert (shown.score, shown.max_score) == (FULL.score, FULL.max_score)
    text = shown.to_json()
    for secret in ("secret", "test_c", '"c"', "Traceback", "teacher"):
        assert secret not in text
    assert [check.status for check in shown.checks] == [check.status for check in FULL.checks]
    assert shown.check("test_b") == FULL.check("test_b")


def test_the_verdict_holds_no_times() -> None:
    assert FULL.build is not None
    later = replace(
        FULL,
        checks=tuple(replace(check, seconds=9.0) for check in FULL.checks),
        build=replace(FULL.build, seconds=9.0, output="other"),
        seconds=9.0,
        machine={},
    )
    assert later.verdict() == FULL.verdict()
    assert hash(later.verdict()) == hash(FULL.verdict())
    other = replace(FULL, checks=FULL.checks[1:])
    assert other.verdict() != FULL.verdict()


def test_a_check_is_found_by_its_name() -> None:
    assert FULL.check("test_b").seen == "136 KiB"
    with pytest.raises(KeyError):
        FULL.check("test_z")


numbers = st.integers(0, 1000) | st.decimals("0", "100", places=2).map(float)


@given(st.lists(st.tuples(st.sampled_from(Status), numbers, st.floats(0, 1))))
def test_totals_reconcile(parts: list[tuple[Status, float, float]]) -> None:
    checks = tuple(
        CheckResult(
            f"test_{i}",
            "t",
            status,
            points if status is Status.PASSED else share * points * (status is Status.PARTLY),
            points,
        )
        for i, (status, points, share) in enumerate(parts)
    )
    grade = Grade("l", "s", checks)
    assert 0 <= grade.score <= grade.max_score + 1e-6
    assert grade.max_score + grade.uncounted == pytest.approx(sum(c.points for c in checks))
    assert Grade.from_json(grade.to_json()) == grade
