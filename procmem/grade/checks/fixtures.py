"""What a check may ask for, as pytest fixtures."""

from __future__ import annotations

from typing import Any

import pytest

from procmem.grade.errors import NotPossibleHere, SubmissionError
from procmem.grade.runs.visits import Walk, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from procmem.grade.runs.program import Program
    from procmem.grade.runs.run import Run
    from procmem.grade.submissions.lab import Lab
    from procmem.grade.submissions.predictions import Predictions
    from procmem.grade.submissions.submission import Submission

__all__ = ["Solution", "answers", "predictions", "program", "solution", "submission"]

LAB: pytest.StashKey[Lab] = pytest.StashKey()
SUBMISSION: pytest.StashKey[Submission] = pytest.StashKey()


class Solution:
    """The lab's own solution: what it does is what is right on this machine.

    Args:
        submission: it.
    """

    def __init__(self, submission: Submission) -> None:
        self._submission = submission

    def walk(
        self,
        *phases: str,
        program: Sequence[str] | None = None,
        arguments: Sequence[str] = (),
        look: Callable[[Run], Any] | None = None,
        ends: bool = True,
    ) -> Walk:
        """Runs a program of the solution to its end, as `walk` does.

        Args:
            phases: a name for each of its waits for input.
            program: the command that runs it; None: that of the lab.
            arguments: its arguments.
            look: called at each wait.
            ends: whether it ends with status 0 after these waits.

        Raises:
            NotPossibleHere: it does not work here, so that what is right is not known.
        """
        try:
            started = self._submission.program(program)
            seen = walk(started, *phases, arguments=arguments, look=look)
            if ends:
                seen.require_end()
        except SubmissionError as error:
            raise NotPossibleHere(f"the lab's solution does not work here: {error}") from error
        return seen


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


@pytest.fixture(scope="session")
def solution(request: pytest.FixtureRequest, submission: Submission) -> Iterator[Solution]:
    """The lab's own solution, built in a sandbox of the same kind."""
    lab = request.config.stash[LAB]
    if not lab.solution.is_dir():
        raise NotPossibleHere("the lab has no solution to compare with")
    with lab.open(lab.solution, sandbox=submission.sandbox) as made:
        yield Solution(made)
