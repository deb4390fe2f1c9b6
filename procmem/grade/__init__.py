"""Grading: exercises about memory, checked on the live process.

What a file of checks needs is imported from here:

>>> from procmem.grade import points, heap, KiB
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.checks import not_possible, partly, points
    from procmem.grade.errors import NotPossibleHere, SubmissionError
    from procmem.grade.facts import (
        PAGE,
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
    from procmem.grade.grading import grade
    from procmem.grade.lab import Lab, LabError
    from procmem.grade.limits import Limits
    from procmem.grade.results import CheckResult, Grade, Status
    from procmem.grade.running import Program, Run
    from procmem.grade.sandbox import Sandbox
    from procmem.grade.submission import Submission

__all__ = [
    "PAGE",
    "CheckResult",
    "GiB",
    "Grade",
    "KiB",
    "Lab",
    "LabError",
    "Limits",
    "MiB",
    "NotPossibleHere",
    "Program",
    "Run",
    "Sandbox",
    "Status",
    "Submission",
    "SubmissionError",
    "anonymous",
    "bss",
    "count",
    "data",
    "grade",
    "heap",
    "libc_version",
    "libraries",
    "mmap_threshold",
    "not_possible",
    "partly",
    "points",
    "regions",
    "same_bytes",
    "stack",
    "stack_limit",
    "text",
    "thread_stack",
    "threads",
    "top_pad",
]

# Names are imported when they are first used: pytest loads files of checks only to list them.
_HOMES = {
    "procmem.grade.checks": "not_possible partly points",
    "procmem.grade.errors": "NotPossibleHere SubmissionError",
    "procmem.grade.facts": "PAGE GiB KiB MiB anonymous bss count data heap libc_version libraries "
    "mmap_threshold regions same_bytes stack stack_limit text thread_stack threads top_pad",
    "procmem.grade.grading": "grade",
    "procmem.grade.lab": "Lab LabError",
    "procmem.grade.limits": "Limits",
    "procmem.grade.results": "CheckResult Grade Status",
    "procmem.grade.running": "Program Run",
    "procmem.grade.sandbox": "Sandbox",
    "procmem.grade.submission": "Submission",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        from importlib import import_module

        value = getattr(import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
