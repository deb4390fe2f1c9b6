"""What may go wrong with a submission, as typed errors with a sentence for its author.

ProcmemError
├─ SubmissionError              the submission's own fault
│   ├─ BuildFailed              .build
│   └─ RunFailed                .phase .output
│       ├─ ProgramEnded         .status
│       │   └─ NeverAsked       it ended without one question
│       ├─ AsksAgain            .waits
│       ├─ ProgramCrashed       .signal .code .address
│       ├─ ProgramSpins         .seconds
│       ├─ ProgramSleeps        .call .forever
│       ├─ OutputFlood          .limit
│       └─ OverLimit            .limit
├─ LabError                     its author's, also a ValueError: .path .reason
├─ NotPossibleHere              this machine's fault: .why
└─ SandboxError                 the grader's
    └─ MachineError             nothing can be graded on this machine as it is
"""

from __future__ import annotations

import os

from procmem.errors import ProcmemError

TYPE_CHECKING = False
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
    """Something is wrong with the submission: the words are for who wrote it."""


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
    """The program did not do what the check waited for.

    Attributes:
        phase: where it was, such as "after the 1st answer".
        output: what it had printed by then, bounded.
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
    """It ended where it should have waited.

    Attributes:
        status: its exit status.
    """

    status: int


class NeverAsked(ProgramEnded):
    """It ended without having waited for input once."""


class AsksAgain(RunFailed):
    """It waits for input more often than it should.

    Attributes:
        waits: how often it waited, or the number at which counting ended.
    """

    waits: int


class ProgramCrashed(RunFailed):
    """A signal killed it.

    Attributes:
        signal: its number.
        code: si_code, such as 1 (SEGV_MAPERR) or 2 (SEGV_ACCERR); None: not known.
        address: what it accessed; None: not known.
    """

    signal: int
    code: int | None
    address: int | None


class ProgramSpins(RunFailed):
    """It computes on and on.

    Attributes:
        seconds: of CPU time that it used.
    """

    seconds: float


class ProgramSleeps(RunFailed):
    """It sleeps where it should have asked.

    Attributes:
        call: the system call that it sleeps in.
        forever: nothing can wake it.
    """

    call: str
    forever: bool


class OutputFlood(RunFailed):
    """It printed more than is kept.

    Attributes:
        limit: bytes.
    """

    limit: int


class OverLimit(RunFailed):
    """It needed more of something than it may have.

    Attributes:
        limit: the field of Limits: "memory", "file_size", "disk", "wall" ...
    """

    limit: str


class NotPossibleHere(ProcmemError):
    """This machine lacks what a check needs; nobody loses points for that.

    Attributes:
        why: what is missing, and what would bring it.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class SandboxError(ProcmemError):
    """The sandbox itself did not work: no fault of the submission's."""


class MachineError(SandboxError):
    """Nothing can be graded on this machine as it is: the words say what to change."""


class LabError(ProcmemError, ValueError):
    """A lab is not as it should be: its author's fault, not the student's.

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
