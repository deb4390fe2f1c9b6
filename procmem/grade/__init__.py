"""Grading: programs of others, run by phases in a sandbox and measured from outside."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.building import Build, build
    from procmem.grade.errors import (
        BuildFailed,
        NeverAsked,
        NotPossibleHere,
        OutputFlood,
        OverLimit,
        ProgramCrashed,
        ProgramEnded,
        ProgramSleeps,
        ProgramSpins,
        RunFailed,
        SandboxError,
        SubmissionError,
    )
    from procmem.grade.limits import Limits
    from procmem.grade.running import Program, Run
    from procmem.grade.sandbox import Ended, Sandbox
    from procmem.grade.submission import Entries, Submission

# Names are imported when they are first used.
_HOMES = {
    "building": "Build build",
    "errors": "BuildFailed NeverAsked NotPossibleHere OutputFlood OverLimit ProgramCrashed "
    "ProgramEnded ProgramSleeps ProgramSpins RunFailed SandboxError SubmissionError",
    "limits": "Limits",
    "running": "Program Run",
    "sandbox": "Ended Sandbox",
    "submission": "Entries Submission",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Build",
    "BuildFailed",
    "Ended",
    "Entries",
    "Limits",
    "NeverAsked",
    "NotPossibleHere",
    "OutputFlood",
    "OverLimit",
    "Program",
    "ProgramCrashed",
    "ProgramEnded",
    "ProgramSleeps",
    "ProgramSpins",
    "Run",
    "RunFailed",
    "Sandbox",
    "SandboxError",
    "Submission",
    "SubmissionError",
    "build",
]


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
