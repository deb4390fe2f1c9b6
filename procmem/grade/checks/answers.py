"""Answers of a quiz against what this machine shows, and programs of the machine to ask."""

from __future__ import annotations

import shutil

from procmem.grade.errors import NotPossibleHere, SubmissionError
from procmem.grade.sandbox.kinds import PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.submissions.submission import Submission

__all__ = ["installed", "predicted", "verify"]


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


def predicted(name: str, given: object, right: object) -> None:
    """Ends the check if a prediction is not what happens. What does happen isn't told.

    Args:
        name: of the entry in predictions.toml.
        given: what the student wrote there.
        right: what a process does here: measured by the check, not written into it.

    Raises:
        SubmissionError: they differ.
    """
    if given != right:
        raise SubmissionError(f"predictions.toml: {name} is not what happens on this machine")


def installed(name: str) -> str:
    """A program of this machine, which a sandboxed run can start by its name.

    Raises:
        NotPossibleHere: it is not installed: the student is not to blame.
    """
    if shutil.which(name, path=PATH) is None:
        raise NotPossibleHere(f"{name} is not installed here (looked for in {PATH})")
    return name
