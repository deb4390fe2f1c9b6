"""The program break: reading it is safe, moving it is not, and why."""

from __future__ import annotations

import os
from typing import NamedTuple

from procmem.calls import hints, syscall
from procmem.calls._bracket import Reading, open_statm, reading, why_not_exact
from procmem.errors import BadArgument, SyscallError, Unsupported
from procmem.native import ffi, lib
from procmem.procfs import ProcessFiles

__all__ = ["BrkTrip", "brk", "brk_trip", "sbrk"]

PAGE: int = os.sysconf("SC_PAGESIZE")


class BrkTrip(NamedTuple):
    """What moving the break up and back again did.

    Attributes:
        before, grown, touched, after: readings at each stage.
        minor, major: faults while the new pages were written to.
        exact: whether all of it is the call's doing.
        reason: why it may not be; empty if exact.
    """

    before: Reading
    grown: Reading
    touched: Reading
    after: Reading
    minor: int
    major: int
    exact: bool
    reason: str


def sbrk(increment: int = 0) -> int:
    """Tells the end of the heap; any increment but 0 is refused.

    >>> sbrk() == sbrk(0) > 0
    True

    Args:
        increment: bytes.

    Returns:
        The break's address.

    Raises:
        Unsupported: an increment that is not 0: see brk().

    Source: sbrk(2); asked of the kernel, not of the C library.
    """
    now = syscall.call("brk", 0)
    if increment:
        raise refusal("sbrk", increment)
    return now


def brk(address: int) -> None:
    """Sets the end of the heap; any other than the present one is refused.

    malloc takes the break for its own. If it is moved up behind malloc's back, malloc
    soon hands out the same bytes; if it is moved down, malloc's own records are
    unmapped and the process dies. No function of Python is free of malloc.

    Raises:
        Unsupported: any other address. brk_trip() moves it there and back; a process
            whose break can be moved freely is procmem.experiments.Specimen.

    Source: brk(2).
    """
    increment = address - syscall.call("brk", 0)
    if increment:
        raise refusal("brk", increment)


def refusal(call: str, increment: int) -> Unsupported:
    effect = (
        "malloc would hand out the same bytes"
        if increment > 0
        else "malloc's own memory would be unmapped, and this process would die"
    )
    return Unsupported(
        call,
        f"the break belongs to malloc in this process: moved by {increment:+} bytes, {effect}. "
        "procmem.experiments.Specimen has a process without malloc; "
        "procmem.calls.brk_trip() moves it up and back before malloc can run",
    )


def brk_trip(pages: int, touch: int = 0) -> BrkTrip:
    """Moves the break up, writes to new pages, and moves it back, all in one C function.

    That is safe in a process with one thread: signals are blocked, so that malloc can't
    run before the break is where it was.

    Args:
        pages: to grow by.
        touch: how many of them to write to.

    Raises:
        Unsupported: there are other threads, and they may call malloc.
        SyscallError: the break can't be moved that far (RLIMIT_DATA, or something is there).
    """
    if not 0 <= touch <= pages:
        raise BadArgument(f"of {pages} pages, {touch} can't be touched")
    threads = len(ProcessFiles(os.getpid()).thread_ids())
    if threads != 1:
        raise Unsupported(
            "brk", f"{threads} threads are here, and others may call malloc while the break is up"
        )
    trip = ffi.new("pm_trip *")
    reason = why_not_exact()
    statm = open_statm()
    try:
        grow = syscall.word(pages * PAGE, "the length")
        lib.pm_brk_trip(statm, grow, touch * PAGE, PAGE, trip)
    finally:
        os.close(statm)
    if trip.error:
        raise SyscallError("brk", int(trip.error), hints.of_room(int(trip.error)))
    before, grown, touched, after = (
        reading(trip.readings[stage], trip.sizes[stage]) for stage in range(lib.PM_TRIP_READINGS)
    )
    minor, major = int(trip.minor), int(trip.major)
    return BrkTrip(before, grown, touched, after, minor, major, not reason, reason)
