"""What a check may ask for, as pytest fixtures."""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.runs.program import Program
    from procmem.grade.submissions.predictions import Predictions
    from procmem.grade.submissions.submission import Submission

__all__ = ["answers", "predictions", "program", "submission"]

SUBMISSION: pytest.StashKey[Submission] = pytest.StashKey()


@pytest.fixture(scope="session")
def submission(request: pytest.FixtureRequest) -> Submission:
    """What the student handed in."""
    return request.config.stash[SUBMISSION]


@pytest.fixture(scope="session")
def program(submission: Submission) -> Program:
    """The submission's program, built."""
    return submission.program()


@pytest.fixture(scope="session")
def predictions(submission: Submission) -> Predictions:
    """The student's predictions.toml."""
    return submission.predictions


@pytest.fixture(scope="session")
def answers(submission: Submission) -> Predictions:
    """The student's answers.toml, to the questions of the lab's quiz."""
    return submission.answers
