"""Programs seen at each wait, and predictions against what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.grade import (
    AsksAgain,
    Limits,
    ProgramEnded,
    Sandbox,
    Submission,
    SubmissionError,
    predicted,
    walk,
)

if TYPE_CHECKING:
    from pathlib import Path

ASKS = "import sys\nfor _ in range(int(sys.argv[1])): input()\nsys.exit(int(sys.argv[2]))\n"


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    (tmp_path / "asks.py").write_text(ASKS)
    sandbox = Sandbox(limits=Limits(wall=20))
    return Submission(tmp_path, program=["python3", "asks.py"], sandbox=sandbox)


def test_a_program_is_seen_at_each_wait(submission: Submission) -> None:
    with submission:
        seen = walk(
            submission.program(),
            "first",
            "second",
            arguments=["2", "3"],
            look=lambda run: len(run.phases),
        )
    assert [name for name, _ in seen.phases] == ["first", "second"]
    assert seen[1] is seen.phases[0][1]
    assert seen[2].vsz > 0
    assert (seen.look(1), seen.look(2)) == (1, 2)
    assert seen.ended.status == 3
    assert seen.failure is None


def test_what_it_never_came_to_says_why(submission: Submission) -> None:
    with submission:
        seen = walk(submission.program(), "first", "second", arguments=["1", "0"])
    assert seen[1].vsz > 0
    for ask in (lambda: seen[2], lambda: seen.look(2), lambda: seen.ended):
        with pytest.raises(ProgramEnded, match="status 0"):
            ask()


@pytest.mark.parametrize("waits, words", [("3", "waits 3 times"), ("5", "waits 5 times")])
def test_a_wait_too_many_is_no_end(submission: Submission, waits: str, words: str) -> None:
    with submission:
        seen = walk(submission.program(), "first", "second", arguments=[waits, "0"])
    assert seen[2].vsz > 0
    with pytest.raises(AsksAgain, match=f"to wait for input 2 times, and {words}") as caught:
        seen.ended  # noqa: B018 - it raises
    assert caught.value.waits == int(waits)


def test_waiting_on_and_on_has_a_bound(submission: Submission) -> None:
    with submission:
        seen = walk(submission.program(), "first", arguments=["1000", "0"])
    with pytest.raises(AsksAgain, match="waits 11 or more times"):
        seen.ended  # noqa: B018 - it raises


def test_a_wait_that_nobody_asked_for_is_a_mistake_of_the_check(submission: Submission) -> None:
    with submission:
        seen = walk(submission.program(), "first", arguments=["1", "0"])
    with pytest.raises(IndexError):
        seen[2]


def test_a_wrong_prediction_does_not_tell_the_right_one() -> None:
    predicted("rss", 4096, 4096)
    with pytest.raises(SubmissionError) as caught:
        predicted("rss", 1234, 4096)
    assert "rss" in str(caught.value)
    assert "4096" not in str(caught.value)
