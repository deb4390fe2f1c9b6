"""Grading one submission: the checks of a lab, in a process of their own."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import replace
from typing import Any

from procmem.errors import MissingExtra
from procmem.grade.grading.client import Heard, borrowed_server
from procmem.grade.results import Status
from procmem.grade.submissions.handins import key

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from procmem.grade.results import CheckResult, Grade
    from procmem.grade.sandbox.limits import Limits
    from procmem.grade.sandbox.sandbox import Sandbox
    from procmem.grade.submissions.lab import Lab

__all__ = ["asked_of_solution", "grade", "ready"]

PATIENCE = 60.0
"""Seconds without a report from the checks after which they count as hanging, beyond the time that
a build and some runs may take."""

RUNS = 8
"""The number of runs in one check for which this time is enough."""


def grade(
    lab: Lab | str | os.PathLike[str],
    submission: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    sandbox: Sandbox | None = None,
    patience: float | None = None,
) -> Grade:
    """Grades one submission.

    The checks run in a process of their own. If it fails, the results until then are kept, and the
    other checks count as not judged. May be called from several threads at once.

    Args:
        lab: the exercise, or the directory where it lies.
        submission: the directory, archive or file that was handed in. It is only read.
        limits: what the submission may use, instead of what the lab says.
        sandbox: the sandbox that it runs in; None: the strongest that works here.
        patience: seconds without a result after which the checks count as hanging; None: one
            minute more than a build and eight runs of the program may take.

    Returns:
        The grade; `error` is set if the grader itself failed.

    Raises:
        LabError: a file of the lab is wrong.
        MachineError: this machine can't grade in its present state.
        MissingExtra: pytest is not installed.
    """
    from procmem.grade.submissions.lab import Lab

    begun = time.monotonic()
    need_pytest()
    if not isinstance(lab, Lab):
        lab = Lab.load(lab)
    used = lab.limits if limits is None else limits
    job = {
        "lab": lab,
        "submission": os.path.abspath(submission),
        "limits": used,
        "sandbox": sandbox,
        "patience": usual_patience(used) if patience is None else patience,
    }
    ready(lab, limits=used, sandbox=sandbox)
    found = done(lab, job, begun)
    return replace(found, checks=asked_of_solution(lab, found.checks, job))


def done(lab: Lab, job: dict[str, Any], begun: float) -> Grade:
    """Does a job in a server."""
    heard = Heard()
    try:
        with borrowed_server() as server:
            server.do(job, heard)
    except (OSError, EOFError) as error:
        heard.error = f"the grader's own process has ended: {short(error)}"
    name = os.path.basename(os.path.abspath(job["submission"]))
    return heard.grade(lab, name, time.monotonic() - begun)


# ---- checks that can't be evaluated --------------------------------------------------------

_passed: dict[tuple[object, ...], frozenset[str]] = {}
_solving = threading.Lock()


def asked_of_solution(
    lab: Lab, checks: tuple[CheckResult, ...], job: Mapping[str, Any] | None = None
) -> tuple[CheckResult, ...]:
    """The checks of a submission; those whose own code failed are judged by the lab's solution.

    Args:
        lab: its solution is graded, once, if there is such a check.
        checks: the checks of the submission.
        job: the job as it was sent to a server; None: one with the lab's own settings.
    """
    if not any(check.raised for check in checks) or not lab.solution.is_dir():
        return checks
    usual = {
        "lab": lab,
        "limits": lab.limits,
        "sandbox": None,
        "patience": usual_patience(lab.limits),
    }
    passed = passed_by_solution(lab, {**(job or usual), "submission": str(lab.solution)})
    return tuple(judged(checks, passed))


def usual_patience(limits: Limits) -> float:
    """Seconds without a result after which checks count as hanging."""
    from procmem.grade.sandbox.limits import BUILDING

    return PATIENCE + BUILDING.wall + RUNS * limits.wall


def passed_by_solution(lab: Lab, job: dict[str, Any]) -> frozenset[str]:
    """The names of the checks that the lab's own solution passes here; determined once."""
    known = (key(lab.directory), job["limits"], job["sandbox"])
    with _solving:
        if known not in _passed:
            found = done(lab, job, time.monotonic())
            _passed[known] = frozenset(
                check.name for check in found.checks if check.status is Status.PASSED
            )
        return _passed[known]


def judged(checks: Iterable[CheckResult], passed: frozenset[str]) -> list[CheckResult]:
    """Turns checks whose own code failed into failures, if the solution passes them.

    For example an IndexError, because the submission has fewer areas than the check expects.
    """
    found = list(checks)
    lost: set[str] = set()
    for at, check in enumerate(found):
        if check.raised and check.name in passed:
            said = (
                "the check could not be evaluated, because the program differs too much from "
                f"what it expects ({check.raised})"
            )
            found[at] = replace(check, status=Status.FAILED, score=0, message=said)
            lost |= {check.name, check.name.partition("[")[0]}
    for _ in found:  # until those that need others that need these are found, too
        for at, check in enumerate(found):
            blocked = check.status is Status.ERROR and not check.raised and not check.detail
            if blocked and lost.intersection(check.needs):
                found[at] = replace(
                    check, status=Status.MISSED, message="a check that it needs failed"
                )
                lost |= {check.name, check.name.partition("[")[0]}
    return found


_proved: set[tuple[object, ...]] = set()
_proving = threading.Lock()


def ready(lab: Lab, *, limits: Limits | None = None, sandbox: Sandbox | None = None) -> None:
    """Makes sure, once before the first submission, that this machine can grade: see prove().

    Raises:
        MachineError: it can't.
        MissingExtra: pytest is not installed.
    """
    from procmem.grade.errors import MachineError
    from procmem.grade.sandbox.job import words_for

    need_pytest()
    used = lab.limits if limits is None else limits
    known = (lab.build, lab.files, used, sandbox, tempfile.gettempdir(), os.geteuid())
    with _proving:
        if known in _proved:
            return
        job = {
            "lab": lab,
            "submission": None,
            "limits": used,
            "sandbox": sandbox,
            "patience": PATIENCE + 2 * used.wall,
        }
        heard = Heard()
        try:
            with borrowed_server() as server:
                server.do(job, heard)
        except OSError as error:
            raise MachineError(words_for(error)) from error
        except EOFError as error:
            raise MachineError(f"the grader's own process has ended: {short(error)}") from error
        if heard.error is not None:
            raise MachineError(heard.error)
        _proved.add(known)


def need_pytest() -> None:
    from importlib.util import find_spec

    if find_spec("pytest") is None:
        raise MissingExtra("grade", "grading")


def short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def forget() -> None:
    """Renews the locks in a forked child: another thread of the parent may have held them."""
    global _proving, _solving  # noqa: PLW0603
    _solving = threading.Lock()
    _proving = threading.Lock()


os.register_at_fork(after_in_child=forget)
