"""Checks in an instructor's own pytest: the same results, and a summary on the terminal."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from procmem.grade.checks.plugin import Collector
from procmem.grade.errors import LabError, MachineError
from procmem.grade.grading.grade import asked_of_solution
from procmem.grade.grading.graded_on import machine
from procmem.grade.grading.proving import prove
from procmem.grade.results import Grade, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procmem.grade.submissions.lab import Lab
    from procmem.grade.submissions.submission import Submission

__all__ = ["ByHand"]


class ByHand(Collector):
    """The collector of a pytest run on a terminal.

    Args:
        lab: the exercise.
        submission: what is graded.
        path: a file for the grade as JSON; None: it is not written.
    """

    def __init__(self, lab: Lab, submission: Submission, path: str | None) -> None:
        super().__init__(lab, submission, lambda _: None)
        self.path = path
        self.begun = time.monotonic()

    @staticmethod
    def of(config: pytest.Config, find: Callable[[str], Lab]) -> ByHand:
        """For the options of a command line.

        Args:
            config: of this run of pytest.
            find: gives a lab by its name or directory.

        Raises:
            pytest.UsageError: the lab or the submission does not exist.
        """
        directory = config.getoption("submission")
        if not os.path.exists(directory):
            raise pytest.UsageError(f"--submission {directory}: no such directory or file")
        try:
            lab = find(config.getoption("lab") or beside(config))
        except LabError as error:
            raise pytest.UsageError(str(error)) from None
        try:
            prove(lab.build, lab.files, limits=lab.limits)
        except MachineError as error:
            raise pytest.UsageError(f"nothing can be graded here: {error}") from None
        submission = lab.open(os.path.abspath(directory))
        config.add_cleanup(submission.close)
        return ByHand(lab, submission, config.getoption("procmem_results"))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        """Writes the grade, and shows it."""
        yield
        grade = self.grade()
        if self.path is not None:
            with open(self.path, "w", encoding="utf-8") as file:
                file.write(grade.to_json(1) + "\n")
        terminalreporter.section(f"{self.lab.title}: {grade.submission}")
        for line in summary(grade):
            terminalreporter.write_line(line)

    def grade(self) -> Grade:
        """The grade."""
        from procmem._version import __version__

        return Grade(
            lab=self.lab.name,
            submission=os.path.basename(self.submission.source),
            checks=asked_of_solution(self.lab, self.finish()),
            build=self.build(),
            error=self.error,
            unopened=self.files()["unopened"],
            notes=tuple(self.files()["notes"]),
            seconds=round(time.monotonic() - self.begun, 6),
            machine=machine(),
            version=__version__,
        )


def beside(config: pytest.Config) -> str:
    """The directory of the file of checks on the command line."""
    for argument in config.args:
        path = os.path.abspath(str(argument).partition("::")[0])
        place = path if os.path.isdir(path) else os.path.dirname(path)
        if os.path.exists(os.path.join(place, "lab.toml")):
            return place
    raise pytest.UsageError("no lab: name a checks.py that is next to its lab.toml, or give --lab")


def summary(grade: Grade) -> Iterator[str]:
    """A grade in lines for a terminal."""
    for check in grade.checks:
        yield f"{points(check.score, check.points)}  {check.status.value:<17}  {check.title}"
        told: list[tuple[str, Any]] = [("", check.message)]
        if check.expected is not None:
            told.append(("", f"expected {check.expected}, seen {check.seen}: {check.what}"))
        told += [("in phase: ", check.phase), ("", check.cause), ("hint: ", check.hint)]
        if check.status is not Status.PASSED:
            for label, words in told:
                if words:
                    yield f"{'':13}{label}{words}"
    for note in grade.notes:
        yield f"note: {note}"
    if grade.error:
        yield f"the grader failed: {grade.error}"
    left = f", {grade.uncounted:g} not judged" if grade.uncounted else ""
    yield f"{points(grade.score, grade.all_points)}  points in all{left}"


def points(score: float, of: float) -> str:
    return f"{score:>4g} of {of:<3g}"
