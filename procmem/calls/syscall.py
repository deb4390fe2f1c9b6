"""The only place where system calls are made: reads errno, catches faults, takes readings."""

from __future__ import annotations

from _thread import _local

from procmem.errors import BadArgument, MemoryFault, SyscallError, Unsupported
from procmem.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Meter", "access", "call", "held", "word"]

OPERATIONS = {
    name: getattr(lib, f"PM_{name.upper()}")
    for name in "mmap munmap mprotect mremap madvise mlock mlock2 munlock mincore msync brk".split()
}

WORD = 1 << 64
PAGE_MASK = ~0xFFF
"""No page is smaller. Some machines report only the page of a fault, not the byte."""


class Meter:
    """Requests readings of statm before and after the next call of this thread.

    Attributes:
        statm: an open /proc/self/statm.
        calls: how many calls were made so far; the first is measured.
        outcome: the measurement.
    """

    __slots__ = ("calls", "outcome", "statm")

    def __init__(self, statm: int) -> None:
        self.statm = statm
        self.calls = 0
        self.outcome: Any = None


class Current(_local):
    """The meter of this thread."""

    meter: Meter | None = None


current = Current()


class held:  # noqa: N801 - used as a statement: with held(meter): ...
    """Installs a meter for this thread for the duration of a `with` block."""

    __slots__ = ("before", "meter")

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def __enter__(self) -> Meter:
        self.before = current.meter
        current.meter = self.meter
        return self.meter

    def __exit__(self, *_: object) -> None:
        current.meter = self.before


def word(value: int, name: str) -> int:
    """Checks that a number fits into a register.

    Raises:
        BadArgument
    """
    if not 0 <= value < WORD:
        raise BadArgument(f"{name} is outside of every address space: {value}")
    return value


def perform(operation: int, arguments: tuple[int, ...], low: int, high: int) -> Any:
    outcome = ffi.new("pm_outcome *")
    meter = current.meter
    statm = -1
    if meter is not None:
        meter.calls += 1
        if meter.calls == 1:
            meter.outcome, statm = outcome, meter.statm
    words = ffi.new("uint64_t[6]", arguments)
    if lib.pm_perform(operation, words, low, high, statm, outcome):
        raise Unsupported(
            "touch", "more than 64 threads are accessing mappings at the same time; try again"
        )
    return outcome


def call(name: str, *arguments: int, hint: Callable[[int], str] | str = "") -> int:
    """Makes a system call.

    Args:
        name: one of OPERATIONS.
        arguments: as the kernel takes them.
        hint: a hint for the error, or a function from errno to a hint.

    Raises:
        SyscallError
    """
    outcome = perform(OPERATIONS[name], arguments, 0, 0)
    if outcome.error:
        number = int(outcome.error)
        raise SyscallError(name, number, hint if isinstance(hint, str) else hint(number))
    return int(outcome.result)


def access(operation: int, low: int, high: int, *arguments: int) -> tuple[int, int]:
    """Touches or copies memory between two addresses.

    Returns:
        The minor and major page faults that it took.

    Raises:
        MemoryFault
    """
    outcome = perform(operation, arguments, low & PAGE_MASK, high)
    if outcome.signal:
        raise MemoryFault(int(outcome.address), int(outcome.signal), int(outcome.code))
    return int(outcome.minor), int(outcome.major)
