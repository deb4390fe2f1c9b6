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
    from procmem._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "allocations": "Pieces pieces",
            "checks.facts": "PAGE Area GiB KiB MiB anonymous bss count data heap libc_version "
            "libraries mmap_threshold regions same_bytes stack stack_limit text thread_stack "
            "threads top_pad",
            "checks.points": "not_possible only partly points",
            "errors": "AsksAgain BuildFailed NeverAsked NotPossibleHere OutputFlood OverLimit "
            "ProgramCrashed ProgramEnded ProgramSleeps ProgramSpins RunFailed SandboxError "
            "SubmissionError",
            "grading.grade": "grade",
            "mallocs": "MallocState malloc_state",
            "results": "BuildResult CheckResult Grade Status",
            "runs.build": "Build build",
            "runs.leaks": "Leak Leaked Leaks Misuse",
            "runs.run": "Program Run",
            "runs.visits": "Walk walk",
            "sandbox.limits": "Limits",
            "sandbox.sandbox": "Ended Sandbox",
            "sandbox.walls": "Wall walls",
            "submissions.lab": "Lab LabError Question",
            "submissions.predictions": "Predictions",
            "submissions.quiz": "predicted verify",
            "submissions.submission": "Submission",
        },
    )
