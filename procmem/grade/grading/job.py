"""A job: the checks of a lab on one submission, in the process that a server forked for it."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import asdict
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from procmem.grade.submissions.lab import Lab
    from procmem.grade.submissions.submission import Submission

__all__ = ["work"]

QUIET = (
    "terminal cacheprovider junitxml pastebin doctest logging faulthandler debugging unittest "
    "stepwise setuponly setupplan capture warnings legacypath nose threadexception "
    "unraisableexception"
).split()
"""Plugins of pytest that are useless here, and would cost time."""


def work(job: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    """Does a job in this process, the child of a server."""
    from procmem.grade.errors import SandboxError, SubmissionError
    from procmem.grade.grading.proving import prove

    lab, limits, sandbox = job["lab"], job["limits"], job["sandbox"]
    try:
        if job["submission"] is None:
            prove(lab.build, lab.files, sandbox=sandbox, limits=limits)
            tell({"event": "done"})
            return
        with lab.open(job["submission"], limits=limits, sandbox=sandbox) as submission:
            tell({"event": "sandbox", "kind": submission.job.kind})
            run_checks(lab, submission, tell)
    except (SubmissionError, SandboxError) as error:
        tell({"event": "error", "error": str(error)})
    except Exception as error:  # noqa: BLE001 - told, and the others are graded
        tell({"event": "error", "error": f"{type(error).__name__}: {error}"})
    tell({"event": "done"})


def run_checks(lab: Lab, submission: Submission, tell: Callable[[dict[str, Any]], None]) -> None:
    """Runs pytest on the checks, without any settings or plugins of the user's."""
    import pytest

    from procmem.grade.checks import explain
    from procmem.grade.checks.plugin import Collector

    collector = Collector(lab, submission, tell)
    tell(collector.files())
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments = [
        str(lab.checks),
        f"--rootdir={lab.directory}",
        # Else the directories above it would be looked through, too.
        f"--confcutdir={lab.directory}",
        f"-c{os.devnull}",
        "--noconftest",
        *(f"-pno:{name}" for name in QUIET),
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main(arguments, plugins=[collector])
    tell(collector.files())
    built = collector.build()
    if built is not None:
        tell({"event": "build", "build": {**asdict(built), "command": list(built.command)}})
    if collector.pictures:
        tell({"event": "pictures", "pictures": [one.to_dict() for one in collector.pictures]})
    if collector.error is not None:
        tell({"event": "error", "error": collector.error})
    elif status == pytest.ExitCode.NO_TESTS_COLLECTED:
        tell({"event": "error", "error": f"{lab.checks.name} holds no checks"})
    elif status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        words = explain.short(said.getvalue())
        tell({"event": "error", "error": f"pytest ended with status {int(status)}: {words}"})
