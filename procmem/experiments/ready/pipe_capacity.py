"""How much fits into a pipe: bytes and slots."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.interpreter import (
    WAITS,
    Interpreter,
    PipePair,
    pipe_pair,
    read_exactly,
    waiting,
)
from procmem.experiments.specimen.kernel import page_size
from procmem.ipc.blocked import pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pipe_capacity"]

SLOTS = 16
"""Of a new pipe: PIPE_DEF_BUFFERS of the kernel."""


@experiment(
    "pipe-capacity",
    "How much fits into a pipe",
    "A pipe has 64 KiB. Why is it full at 48,000 bytes?",
)
def pipe_capacity(tell: Teller, *, size: int = 3000) -> None:
    """Fills pipes by writes of several sizes, and frees and takes single slots.

    Args:
        size: bytes of one write, beside the usual sizes.
    """
    page = page_size()
    capacity = SLOTS * page
    if not 0 < size <= 1 << 20:
        raise BadArgument(f"size must be 1 to 1,048,576, not {size}")
    with new_pipe() as (_, write, _):
        tell.bytes(
            "a new pipe's capacity", capacity, fcntl.fcntl(write, fcntl.F_GETPIPE_SZ),
            f"{SLOTS} slots of a page. F_GETPIPE_SZ of fcntl(2).",
        )  # fmt: skip
    for length in sorted({1, 100, 1000, size, page // 2, page, page + 1, capacity, 2 * capacity}):
        with new_pipe() as (read, write, inode):
            fill(write, length)
            tell.claim(
                f"bytes in it when writes of {length:,} fill it",
                predicted_fill(length, page), waiting(read), reason_of(length, page),
            )  # fmt: skip
    with new_pipe() as (read, write, inode):
        fill(write, size)
        seen = next(one for one in pipes([os.getpid()]) if one.inode == inode)
        tell.claim(
            f"procmem pipes, after writes of {size:,}", "full", "full" if seen.full else "not full",
            f"{seen.waiting:,} of {seen.capacity:,} bytes: no slot is free.",
        )  # fmt: skip
    slots(tell, page)
    blocked(tell, capacity)
    with new_pipe() as (_, write, _):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, page + 1)
        tell.bytes(
            f"its capacity after F_SETPIPE_SZ of {page + 1:,}", 2 * page,
            fcntl.fcntl(write, fcntl.F_GETPIPE_SZ), "The kernel rounds up to a power of two pages.",
        )  # fmt: skip
        fill(write, page)
        tell.claim(
            "F_SETPIPE_SZ to one page while two are used", "EBUSY", resized(write, page),
            "A pipe can't be made smaller than what is in it.",
        )  # fmt: skip


def slots(tell: Teller, page: int) -> None:
    """A slot is free only once all of its bytes were read."""
    with new_pipe() as (read, write, _):
        fill(write, page)
        os.read(read, page - 1)
        tell.claim(
            f"write 1 byte after {page - 1:,} of a full pipe's were read", "EAGAIN",
            put(write, 1), "The first page still has one byte: its slot is not free.",
        )  # fmt: skip
        os.read(read, 1)
        tell.claim("write 1 byte after one more was read", 1, put(write, 1), "Now a slot is free.")
        tell.claim(
            f"write {page:,} bytes after that", "EAGAIN", put(write, page),
            "The one byte has the last slot, and a page does not fit in beside it.",
        )  # fmt: skip
        tell.claim(f"write {page - 1:,} bytes instead", page - 1, put(write, page - 1), "They fit.")


def blocked(tell: Teller, capacity: int) -> None:
    """Without O_NONBLOCK a write waits for room."""
    with new_pipe() as (read, write, inode):
        os.set_blocking(write, True)
        with Interpreter([write]) as other:
            other.begin(f"os.write({write}, bytes({capacity + 1}))")
            tell.claim(
                f"another process writes {capacity + 1:,} bytes", WAITS,
                other.outcome(inode),
                "One byte more than fits: write(2) returns when all are written.",
            )  # fmt: skip
            tell.bytes("in the pipe meanwhile", capacity, waiting(read))
            read_exactly(read, capacity + 1)
            tell.claim("written when all was read", capacity + 1, other.answer())


@contextmanager
def new_pipe() -> Iterator[PipePair]:
    """A non-blocking pipe of the usual capacity.

    Raises:
        Unsupported: this user has so many pipes that new ones are smaller.
    """
    with pipe_pair(os.O_NONBLOCK) as pair:
        if fcntl.fcntl(pair.read, fcntl.F_GETPIPE_SZ) < SLOTS * page_size():
            raise Unsupported(
                f"a pipe of {SLOTS} pages",
                "this user's pipes use more than /proc/sys/fs/pipe-user-pages-soft",
            )
        yield pair


def put(fd: int, length: int) -> int | str:
    """Writes some bytes without blocking: how many were written, or the error."""
    try:
        return os.write(fd, bytes(length))
    except BlockingIOError:
        return "EAGAIN"


def fill(fd: int, length: int) -> None:
    """Writes pieces of a size until the pipe takes no more."""
    while put(fd, length) == length:
        pass


def resized(fd: int, size: int) -> str:
    try:
        return str(fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size))
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def predicted_fill(length: int, page: int) -> int:
    """The bytes in a pipe when writes of a length have filled it.

    A write first puts what exceeds whole pages into the rest of the last slot, if all of that fits
    there. Everything else takes new slots, a page each at most. Writes up to PIPE_BUF, one page,
    are written as a whole or not at all; larger ones as far as there are slots.

    Source: pipe_write() of the kernel, fs/pipe.c.

    >>> predicted_fill(3000, 4096), predicted_fill(1, 4096)
    (48000, 65536)
    """
    used: list[int] = []
    while True:
        left = length
        odd = left % page
        if used and odd and used[-1] + odd <= page:
            used[-1] += odd
            left -= odd
        while left and len(used) < SLOTS:
            used.append(min(left, page))
            left -= used[-1]
        if left:
            return sum(used)


def reason_of(length: int, page: int) -> str:
    """Why writes of a length fill a pipe where they do."""
    if length % page == 0:
        return "Whole pages fill all slots completely."
    if length > page:
        return (
            f"What exceeds whole pages goes into the last slot if all of it ({length % page:,}"
            " bytes) fits there. The last write is cut short."
        )
    fit = page // length
    if page % length == 0:
        return f"{fit:,} writes share a slot, and nothing is left of it."
    if fit > 1:
        return f"{fit:,} writes share a slot. A write is not split: {page % length:,} bytes remain."
    return f"A second one does not fit into its page: each takes a slot, {SLOTS} in all."
