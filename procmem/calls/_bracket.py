"""The bracket: VSZ and RSS before and after one call, read in the same C function."""

from __future__ import annotations

import os
from typing import Generic, NamedTuple, TypeVar

from procmem.calls import syscall
from procmem.errors import BadArgument
from procmem.procfs import ProcessFiles, parse_statm, probes

TYPE_CHECKING = False
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
        rss: what of it is in memory.
    """

    vsz: int
    rss: int

    def since(self, before: Reading) -> Reading:
        """The difference to an earlier one."""
        return Reading(self.vsz - before.vsz, self.rss - before.rss)


class Bracket(Generic[R]):
    """What one call changed.

    Attributes:
        before, after: the readings around it.
        minor, major: page faults of this thread meanwhile (getrusage(2)).
        result: what the operation returned.
        exact: whether all of delta is the call's doing.
        reason: why it may not be; empty if exact.
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
    """Makes one call between two readings of /proc/self/statm.

    Reading, call and reading are one C function: Python allocates nothing between
    them. Other threads may, and the kernel may reclaim: an exact bracket holds what
    happened in a process with one thread on a kernel whose statm does not lag.

    >>> from procmem import calls
    >>> grown = bracket(calls.mmap, pages=5)
    >>> touched = bracket(grown.result.touch, 2)
    >>> touched.minor, touched.result.pages
    (2, 2)

    Args:
        operation: mmap, a method of a Mapping, a function of procmem.calls, or any
            function that makes exactly one of these calls.
        *arguments: what it is called with.
        **options: likewise.

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
    """Why a reading of this process's statm may hold another's doing; empty: it can't."""
    threads = len(ProcessFiles(os.getpid()).thread_ids())
    if threads != 1:
        return f"{threads} threads share this address space: what others do shows as well"
    if probes.counters_lag():
        return "statm lags behind the page table on this kernel"
    return ""


def open_statm() -> int:
    """A descriptor of this process's statm."""
    return ProcessFiles(os.getpid()).open("statm")


def reading(text: Any, size: int) -> Reading:
    """What C has read of statm.

    Raises:
        OSError: it could not.
    """
    from procmem.native import ffi

    if size < 0:
        raise OSError(-size, os.strerror(-size), "/proc/self/statm")
    statm = parse_statm(bytes(ffi.buffer(text, size)), "/proc/self/statm")
    return Reading(statm.size * PAGE, statm.resident * PAGE)
