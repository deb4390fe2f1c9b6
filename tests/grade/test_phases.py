"""All phases of a run at once, and answers that are verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.grade import Submission
from procmem.grade.errors import (
    NotPossibleHere,
    ProgramCrashed,
    ProgramEnded,
    RunFailed,
    SubmissionError,
)
from procmem.grade.phases import follow
from procmem.grade.submissions.lab import Question
from procmem.grade.submissions.quiz import installed, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from procmem.grade.phases import Phases

NAMES = ("first", "second", "third")


@pytest.fixture
def phases_of(tmp_path: Path) -> Iterator[Callable[[str], Phases]]:
    with Submission(tmp_path) as submission:
        yield lambda script: follow(submission.program(["sh", "-c", script]), NAMES)


def test_a_run_through_all_phases(phases_of: Callable[[str], Phases]) -> None:
    phases = phases_of("echo begun; read a; read a; read a; echo done")
    phases.require_end()
    assert len(phases) == 3
    assert phases.status == 0
    assert phases.output.split() == ["begun", "done"]
    assert (phases[2] - phases[0]).vsz == 0
    assert phases[0].identity.pid == phases[2].identity.pid


def test_what_comes_after_a_failure_says_why(phases_of: Callable[[str], Phases]) -> None:
    phases = phases_of("read a; read a; kill -SEGV $$")
    assert phases[0].vsz > 0
    assert phases[1].vsz > 0
    for ask in (lambda: phases[2], phases.require_end):
        with pytest.raises(ProgramCrashed) as caught:
            ask()
        assert caught.value.phase == "after the 2nd answer"


def test_an_end_too_early_is_none_of_the_phases(phases_of: Callable[[str], Phases]) -> None:
    phases = phases_of("read a; exit 3")
    with pytest.raises(ProgramEnded):
        phases[1]
    assert phases.status is None


def test_a_status_is_told(phases_of: Callable[[str], Phases]) -> None:
    phases = phases_of("read a; read a; read a; exit 3")
    with pytest.raises(RunFailed, match="status 3"):
        phases.require_end()


def test_there_are_no_other_phases(phases_of: Callable[[str], Phases]) -> None:
    phases = phases_of("read a; read a; read a")
    for number in (-1, 3):
        with pytest.raises(IndexError):
            phases[number]


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
