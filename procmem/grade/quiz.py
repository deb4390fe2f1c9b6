"""Answers of a quiz against what this machine shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem.grade.errors import SubmissionError

if TYPE_CHECKING:
    from procmem.grade.submission import Submission

__all__ = ["verify"]


def verify(submission: Submission, name: str, right: str) -> None:
    """Ends the check if an answer isn't the right one. The right one isn't told.

    Args:
        submission: whose answers.toml it is in.
        name: of the question.
        right: the choice that holds here: measured by the check, not written into it.

    Raises:
        SubmissionError: the answer is another one, missing, or none of the choices.
    """
    answer = submission.answers.choice(name)
    if answer != right:
        raise SubmissionError(
            f'{submission.answers.name}: {name} = "{answer}" is not what this machine shows'
        )
