"""Grading: exercises about memory, run by phases in a sandbox and checked on the live process.

What a file of checks needs is imported from here:

>>> from procmem.grade import points, heap, KiB
"""

from __future__ import annotations

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.grade.checks.allocations import Pieces, pieces
    from procmem.grade.checks.answers import installed, predicted, verify
    from procmem.grade.checks.facts import (
        PAGE,
        Area,
        GiB,
        KiB,
        MallocState,
        MiB,
        anonymous,
        blocked,
        bss,
        count,
        data,
        family,
        heap,
        libc_version,
        libraries,
        malloc_heap,
        malloc_state,
        mmap_threshold,
        pipes,
        regions,
        same_bytes,
        stack,
        stack_limit,
        text,
        thread_stack,
        threads,
        top_pad,
    )
    from procmem.grade.checks.points import not_possible, only, partly, points
    from procmem.grade.errors import (
        AsksAgain,
        BuildFailed,
        LabError,
        MachineError,
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
    from procmem.grade.grading.grade import grade
    from procmem.grade.grading.walls import Wall, walls
    from procmem.grade.results import Build, BuildResult, CheckResult, Grade, Status
    from procmem.grade.runs.build import build
    from procmem.grade.runs.leaks import Leak, Leaked, Leaks, Misuse
    from procmem.grade.runs.program import Program
    from procmem.grade.runs.run import Run
    from procmem.grade.runs.visits import Walk, walk
    from procmem.grade.sandbox.jail import Ended
    from procmem.grade.sandbox.limits import Limits
    from procmem.grade.sandbox.sandbox import Sandbox
    from procmem.grade.submissions.lab import Lab
    from procmem.grade.submissions.predictions import Predictions
    from procmem.grade.submissions.quiz import Question
    from procmem.grade.submissions.submission import Submission

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
    "MachineError",
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
    "blocked",
    "bss",
    "build",
    "count",
    "data",
    "family",
    "grade",
    "heap",
    "installed",
    "libc_version",
    "libraries",
    "malloc_heap",
    "malloc_state",
    "mmap_threshold",
    "not_possible",
    "only",
    "partly",
    "pieces",
    "pipes",
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
            "checks.allocations": "Pieces pieces",
            "checks.answers": "installed predicted verify",
            "checks.facts": "PAGE Area GiB KiB MallocState MiB anonymous blocked bss count data "
            "family heap libc_version libraries malloc_heap malloc_state mmap_threshold pipes "
            "regions same_bytes stack stack_limit text thread_stack threads top_pad",
            "checks.points": "not_possible only partly points",
            "errors": "AsksAgain BuildFailed LabError MachineError NeverAsked NotPossibleHere "
            "OutputFlood OverLimit ProgramCrashed ProgramEnded ProgramSleeps ProgramSpins "
            "RunFailed SandboxError SubmissionError",
            "grading.grade": "grade",
            "grading.walls": "Wall walls",
            "results": "Build BuildResult CheckResult Grade Status",
            "runs.build": "build",
            "runs.leaks": "Leak Leaked Leaks Misuse",
            "runs.program": "Program",
            "runs.run": "Run",
            "runs.visits": "Walk walk",
            "sandbox.jail": "Ended",
            "sandbox.limits": "Limits",
            "sandbox.sandbox": "Sandbox",
            "submissions.lab": "Lab",
            "submissions.predictions": "Predictions",
            "submissions.quiz": "Question",
            "submissions.submission": "Submission",
        },
    )
