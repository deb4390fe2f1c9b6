"""VSZ and RSS before and after one system call, read in the same C function."""

from __future__ import annotations

import os
from typing import Generic, NamedTuple, TypeVar

from procmem.calls import syscall
from procmem.errors import BadArgument
from procmem.procfs import ProcessFiles, parse_statm, probes

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Bracket", "Reading", "bracket", "open_statm", "reading", "why_not_exact"]

R = TypeVar("R")

PAGE: int = os.sysconf("SC_PAGESIZE")


class Reading(NamedTuple):
    """One reading of statm, in bytes, or the difference of two (proc_pid_statm(5)).

    Attributes:
        vsz: size of the address space.
        rss: resident memory.
    """

    vsz: int
    rss: int

    def since(self, before: Reading) -> Reading:
        """The difference from an earlier reading."""
        return Reading(self.vsz - before.vsz, self.rss - before.rss)


class Bracket(Generic[R]):
    """The effect of one call.

    Attributes:
        before, after: the readings around it.
        minor, major: page faults of this thread during the call (getrusage(2)).
        result: what the operation returned.
        exact: whether the call alone caused the whole difference.
        reason: why it may have other causes; empty if exact.
    """

    __slots__ = ("after", "before", "exact", "major", "minor", "reason", "result")

    def __init__(
        self, before: Reading, after: Reading, minor: int, major: int, result: R, reason: str
    ) -> None:
        self.before = before
        self.after = after
        self.minor = minor
        self.major = major
        self.result = result
        self.reason = reason
        self.exact = not reason

    @property
    def delta(self) -> Reading:
        """After minus before."""
        return self.after.since(self.before)

    def __repr__(self) -> str:
        change = f"vsz {self.delta.vsz:+}, rss {self.delta.rss:+}"
        doubt = "" if self.exact else f", not exact: {self.reason}"
        return f"<Bracket {change}, minor {self.minor}, major {self.major}{doubt}>"


def bracket(operation: Callable[..., R], *arguments: Any, **options: Any) -> Bracket[R]:
    """Reads /proc/self/statm before and after one call.

    Both readings and the call happen in one C function, so Python allocates nothing in between.
    Other
    threads may allocate, and the kernel may reclaim memory: the result is exact if the process has
    one thread and the kernel's statm does not lag.

    >>> from procmem import calls
    >>> grown = bracket(calls.mmap, pages=5)
    >>> touched = bracket(grown.result.touch, 2)
    >>> touched.minor, touched.result.pages
    (2, 2)

    Args:
        operation: mmap, a method of a Mapping, a function of procmem.calls, or any
            function that makes exactly one such call.
        *arguments: its positional arguments.
        **options: its keyword arguments.

    Raises:
        BadArgument: it made no call, or more than one.
        What the operation raises.
    """
    reason = why_not_exact()
    statm = open_statm()
    try:
        with syscall.held(syscall.Meter(statm)) as meter:
            result = operation(*arguments, **options)
    finally:
        os.close(statm)
    if meter.calls != 1:
        raise BadArgument(f"a bracket measures one call; this operation made {meter.calls}")
    outcome = meter.outcome
    return Bracket(
        reading(outcome.before, outcome.before_size),
        reading(outcome.after, outcome.after_size),
        int(outcome.minor),
        int(outcome.major),
        result,
        reason,
    )


def why_not_exact() -> str:
    """Why readings of this process's statm may be inexact; empty if they are exact."""
    threads = len(ProcessFiles(os.getpid()).thread_ids())
    if threads != 1:
        return f"{threads} threads share this address space, so effects of the others are included"
    if probes.counters_lag():
        return "statm lags behind the page table on this kernel"
    return ""


def open_statm() -> int:
    """Opens this process's statm and returns the descriptor."""
    return ProcessFiles(os.getpid()).open("statm")


def reading(text: Any, size: int) -> Reading:
    """Parses what the C function has read from statm.

    Raises:
        OSError: statm could not be read.
    """
    from procmem.native import ffi

    if size < 0:
        raise OSError(-size, os.strerror(-size), "/proc/self/statm")
    statm = parse_statm(bytes(ffi.buffer(text, size)), "/proc/self/statm")
    return Reading(statm.size * PAGE, statm.resident * PAGE)
