"""Grading: exercises about memory, run by phases in a sandbox and checked on the live process.

What a file of checks needs is imported from here:

>>> from procmem.grade import points, heap, KiB
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.allocations import (
        Pieces,
        pieces,
    )
    from procmem.grade.checks.facts import (
        PAGE,
        Area,
        GiB,
        KiB,
        MiB,
        anonymous,
        bss,
        count,
        data,
        heap,
        libc_version,
        libraries,
        mmap_threshold,
        regions,
        same_bytes,
        stack,
        stack_limit,
        text,
        thread_stack,
        threads,
        top_pad,
    )
    from procmem.grade.checks.points import (
        not_possible,
        only,
        partly,
        points,
    )
    from procmem.grade.errors import (
        AsksAgain,
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
    from procmem.grade.grading.grade import (
        grade,
    )
    from procmem.grade.mallocs import (
        MallocState,
        malloc_state,
    )
    from procmem.grade.results import (
        BuildResult,
        CheckResult,
        Grade,
        Status,
    )
    from procmem.grade.runs.build import (
        Build,
        build,
    )
    from procmem.grade.runs.leaks import (
        Leak,
        Leaked,
        Leaks,
        Misuse,
    )
    from procmem.grade.runs.run import (
        Program,
        Run,
    )
    from procmem.grade.runs.visits import (
        Walk,
        walk,
    )
    from procmem.grade.sandbox.limits import (
        Limits,
    )
    from procmem.grade.sandbox.sandbox import (
        Ended,
        Sandbox,
    )
    from procmem.grade.sandbox.walls import (
        Wall,
        walls,
    )
    from procmem.grade.submissions.lab import (
        Lab,
        LabError,
        Question,
    )
    from procmem.grade.submissions.predictions import (
        Predictions,
    )
    from procmem.grade.submissions.quiz import (
        predicted,
        verify,
    )
    from procmem.grade.submissions.submission import (
        Submission,
    )

# Names are imported when they are first used: pytest may load a file of checks only to list them.
_HOMES = {
    "runs.build": "Build build",
    "checks.points": "not_possible only partly points",
    "errors": "AsksAgain BuildFailed NeverAsked NotPossibleHere OutputFlood OverLimit "
    "ProgramCrashed ProgramEnded ProgramSleeps ProgramSpins RunFailed SandboxError SubmissionError",
    "checks.facts": "PAGE Area GiB KiB MiB anonymous bss count data heap libc_version libraries "
    "mmap_threshold regions same_bytes stack stack_limit text thread_stack threads "
    "top_pad",
    "grading.grade": "grade",
    "submissions.lab": "Lab LabError Question",
    "runs.leaks": "Leak Leaked Leaks Misuse",
    "sandbox.limits": "Limits",
    "sandbox.walls": "Wall walls",
    "mallocs": "MallocState malloc_state",
    "allocations": "Pieces pieces",
    "submissions.predictions": "Predictions",
    "submissions.quiz": "predicted verify",
    "results": "BuildResult CheckResult Grade Status",
    "runs.run": "Program Run",
    "sandbox.sandbox": "Ended Sandbox",
    "submissions.submission": "Submission",
    "runs.visits": "Walk walk",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "PAGE",
    "Area",
    "AsksAgain",
    "Build",
    "BuildFailed",
    "BuildResult",
    "CheckResult",
    "Ended",
    "GiB",
    "Grade",
    "KiB",
    "Lab",
    "LabError",
    "Leak",
    "Leaked",
    "Leaks",
    "Limits",
    "MallocState",
    "MiB",
    "Misuse",
    "NeverAsked",
    "NotPossibleHere",
    "OutputFlood",
    "OverLimit",
    "Pieces",
    "Predictions",
    "Program",
    "ProgramCrashed",
    "ProgramEnded",
    "ProgramSleeps",
    "ProgramSpins",
    "Question",
    "Run",
    "RunFailed",
    "Sandbox",
    "SandboxError",
    "Status",
    "Submission",
    "SubmissionError",
    "Walk",
    "Wall",
    "anonymous",
    "bss",
    "build",
    "count",
    "data",
    "grade",
    "heap",
    "libc_version",
    "libraries",
    "malloc_state",
    "mmap_threshold",
    "not_possible",
    "only",
    "partly",
    "pieces",
    "points",
    "predicted",
    "regions",
    "same_bytes",
    "stack",
    "stack_limit",
    "text",
    "thread_stack",
    "threads",
    "top_pad",
    "verify",
    "walk",
    "walls",
]

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name in _HOME_OF:
            from importlib import import_module

            value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
