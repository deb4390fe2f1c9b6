"""The program break: it can be read safely, but not be moved safely, because malloc uses it."""

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
    """The effects of moving the break up and back again.

    Attributes:
        before, grown, touched, after: the readings at each stage.
        minor, major: page faults while the new pages were written to.
        exact: whether the call alone caused all differences.
        reason: why they may have other causes; empty if exact.
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
    """Returns the program break; any increment other than 0 is refused.

    >>> sbrk() == sbrk(0) > 0
    True

    Args:
        increment: bytes.

    Returns:
        The break's address.

    Raises:
        Unsupported: the increment is not 0; see brk().

    Source: sbrk(2); the kernel is asked, not the C library.
    """
    now = syscall.call("brk", 0)
    if increment:
        raise refusal("sbrk", increment)
    return now


def brk(address: int) -> None:
    """Sets the program break; any address other than the current one is refused.

    malloc assumes that nobody else moves the break. If it is moved up, malloc later returns the
    same bytes to others; if it is moved down, malloc's own data is unmapped and the process
    crashes. Every function of Python may call malloc.

    Raises:
        Unsupported: any other address. brk_trip() moves the break up and back; in a process of
            procmem.experiments.Specimen it can be moved freely.

    Source: brk(2).
    """
    increment = address - syscall.call("brk", 0)
    if increment:
        raise refusal("brk", increment)


def refusal(call: str, increment: int) -> Unsupported:
    effect = (
        "malloc would return the same bytes to others"
        if increment > 0
        else "malloc's own memory would be unmapped, and this process would crash"
    )
    return Unsupported(
        call,
        f"the break belongs to malloc in this process: moved by {increment:+} bytes, {effect}. "
        "procmem.experiments.Specimen has a process without malloc; "
        "procmem.calls.brk_trip() moves it up and back before malloc can run",
    )


def brk_trip(pages: int, touch: int = 0) -> BrkTrip:
    """Moves the break up, writes to the new pages, and moves it back, all in one C function.

    This is safe in a process with one thread: signals are blocked, so malloc cannot be called until
    the break is back.

    Args:
        pages: how many pages to move it.
        touch: how many of the new pages to write to.

    Raises:
        Unsupported: the process has other threads, which may call malloc.
        SyscallError: the break cannot be moved that far (RLIMIT_DATA, or the addresses are in use).
    """
    if not 0 <= touch <= pages:
        raise BadArgument(f"of {pages} pages, {touch} can't be touched")
    threads = len(ProcessFiles(os.getpid()).thread_ids())
    if threads != 1:
        raise Unsupported(
            "brk",
            f"{threads} threads are running, and the others may call malloc while the break is up",
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
