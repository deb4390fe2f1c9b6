"""Errors of grading. The message of each is a sentence for the person whose fault it is.

ProcmemError
├─ SubmissionError              the submission's own fault
│   ├─ BuildFailed              .build
│   └─ RunFailed                .phase .output
│       ├─ ProgramEnded         .status
│       │   └─ NeverAsked       it never waited for input
│       ├─ AsksAgain            .waits
│       ├─ ProgramCrashed       .signal .code .address
│       ├─ ProgramSpins         .seconds
│       ├─ ProgramSleeps        .call .forever
│       ├─ OutputFlood          .limit
│       └─ OverLimit            .limit
├─ LabError                     the lab author's fault, also a ValueError: .path .reason
├─ NotPossibleHere              this machine lacks something: .why
└─ SandboxError                 the grader's fault
    └─ MachineError             nothing can be graded on this machine as it is
"""

from __future__ import annotations

import os

from procmem.errors import ProcmemError

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.grade.results import Build

__all__ = [
    "AsksAgain",
    "BuildFailed",
    "LabError",
    "MachineError",
    "NeverAsked",
    "NotPossibleHere",
    "OutputFlood",
    "OverLimit",
    "ProgramCrashed",
    "ProgramEnded",
    "ProgramSleeps",
    "ProgramSpins",
    "RunFailed",
    "SandboxError",
    "SubmissionError",
]


class SubmissionError(ProcmemError):
    """Something is wrong with the submission; the message is for its author."""


class BuildFailed(SubmissionError):
    """The submission can't be built.

    Attributes:
        build: the Build, with what the command printed.
    """

    def __init__(self, message: str, build: Build) -> None:
        super().__init__(message)
        self.build = build

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.build)


class RunFailed(SubmissionError):
    """The program did not do what the check expected.

    Attributes:
        phase: the phase of the run, such as "after the 1st answer".
        output: what it had printed by then, up to a limit.
    """

    def __init__(self, message: str, *, phase: str = "", output: str = "", **more: object) -> None:
        super().__init__(message)
        self.phase = phase
        self.output = output
        self.__dict__.update(more)

    def __reduce__(self) -> tuple[object, ...]:
        return again, (type(self), str(self), self.__dict__)


def again(kind: type[RunFailed], message: str, more: dict[str, object]) -> RunFailed:
    return kind(message, **more)  # type: ignore[arg-type]


class ProgramEnded(RunFailed):
    """The program ended where it should have waited for input.

    Attributes:
        status: its exit status.
    """

    status: int


class NeverAsked(ProgramEnded):
    """The program ended without ever waiting for input."""


class AsksAgain(RunFailed):
    """The program waits for input more often than it should.

    Attributes:
        waits: how often it waited, or the number at which counting stopped.
    """

    waits: int


class ProgramCrashed(RunFailed):
    """A signal killed the program.

    Attributes:
        signal: its number.
        code: si_code, such as 1 (SEGV_MAPERR) or 2 (SEGV_ACCERR); None: not known.
        address: what it accessed; None: not known.
    """

    signal: int
    code: int | None
    address: int | None


class ProgramSpins(RunFailed):
    """The program keeps computing and does not wait for input.

    Attributes:
        seconds: the CPU time that it used.
    """

    seconds: float


class ProgramSleeps(RunFailed):
    """The program sleeps where it should have waited for input.

    Attributes:
        call: the system call that it sleeps in.
        forever: whether nothing can wake it.
    """

    call: str
    forever: bool


class OutputFlood(RunFailed):
    """The program printed more than its limit.

    Attributes:
        limit: in bytes.
    """

    limit: int


class OverLimit(RunFailed):
    """The program exceeded one of its limits.

    Attributes:
        limit: the field of Limits: "memory", "file_size", "disk", "wall" ...
    """

    limit: str


class NotPossibleHere(ProcmemError):
    """This machine lacks what a check needs; no points are lost.

    Attributes:
        why: what is missing, and how to get it.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class SandboxError(ProcmemError):
    """The sandbox failed, not the submission."""


class MachineError(SandboxError):
    """This machine can't grade in its present state; the message says what to change."""


class LabError(ProcmemError, ValueError):
    """A file of a lab is wrong: the fault of its author, not of the student.

    Attributes:
        path: the file.
        reason: what is wrong with it, and what to write.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = os.fspath(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
