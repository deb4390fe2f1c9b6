"""Answers and predictions against what this machine shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.grade import (
    NotPossibleHere,
    Question,
    Submission,
    SubmissionError,
    installed,
    predicted,
    verify,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_answers_are_verified_without_telling_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "answers.toml").write_text('one = "a"\ntwo = "?"\nthree = "x"\n')
    quiz = [Question(name, "?", {"a": "this", "b": "that"}) for name in ("one", "two", "three")]
    with Submission(tmp_path, quiz=quiz) as submission:
        verify(submission, "one", "a")
        with pytest.raises(SubmissionError) as wrong:
            verify(submission, "one", "b")
        assert '"b"' not in str(wrong.value)
        for name in ("two", "three"):
            with pytest.raises(SubmissionError, match="write"):
                verify(submission, name, "a")


def test_a_program_that_is_missing_is_not_the_students_fault() -> None:
    assert installed("sh") == "sh"
    with pytest.raises(NotPossibleHere, match="no-such-program"):
        installed("no-such-program")


def test_a_wrong_prediction_does_not_tell_the_right_one() -> None:
    predicted("rss", 4096, 4096)
    with pytest.raises(SubmissionError) as caught:
        predicted("rss", 1234, 4096)
    assert "rss" in str(caught.value)
    assert "4096" not in str(caught.value)
