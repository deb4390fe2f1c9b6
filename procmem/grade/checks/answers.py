"""Comparison of answers and predictions with what happens on this machine."""

from __future__ import annotations

import shutil

from procmem.grade.errors import NotPossibleHere, SubmissionError
from procmem.grade.sandbox.kinds import PATH

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.grade.submissions.submission import Submission

__all__ = ["installed", "predicted", "verify"]


def verify(submission: Submission, name: str, right: str) -> None:
    """Ends the check if an answer is wrong. The message does not contain the right one.

    Args:
        submission: it has the answer in answers.toml.
        name: the name of the question.
        right: the right choice here, which the check should measure.

    Raises:
        SubmissionError: the answer is wrong, missing, or not one of the choices.
    """
    answer = submission.answers.choice(name)
    if answer != right:
        raise SubmissionError(
            f'{submission.answers.name}: {name} = "{answer}" is not what this machine shows'
        )


def predicted(name: str, given: object, right: object) -> None:
    """Ends the check if a prediction is wrong. The message does not contain the right value.

    Args:
        name: the name of the entry in predictions.toml.
        given: what the student wrote there.
        right: the right value here, which the check should measure.

    Raises:
        SubmissionError: they differ.
    """
    if given != right:
        raise SubmissionError(f"predictions.toml: {name} is not what happens on this machine")


def installed(name: str) -> str:
    """The name of a program of this machine, if programs in the sandbox can run it.

    Raises:
        NotPossibleHere: it is not installed.
    """
    if shutil.which(name, path=PATH) is None:
        raise NotPossibleHere(f"{name} is not installed here (looked for in {PATH})")
    return name
