"""Several writers of one pipe: what they write is mixed only above PIPE_BUF."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import ExitStack
from itertools import groupby
from select import PIPE_BUF

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.interpreter import (
    MOST,
    WAITS,
    Interpreter,
    pipe_pair,
    read_exactly,
    waiting,
)
from procmem.experiments.specimen.kernel import page_size

__all__ = ["pipe_atomicity"]


@experiment(
    "pipe-atomicity",
    "Several writers of one pipe",
    "Two processes write to the same pipe. Is what they write mixed?",
)
def pipe_atomicity(tell: Teller, *, writers: int = 3, writes: int = 200) -> None:
    """Lets several processes write to a pipe at once, up to PIPE_BUF bytes and more.

    Args:
        writers: processes that write at the same time.
        writes: how often each of them writes.
    """
    if not 2 <= writers <= 26 or not 0 < writes <= 100_000:
        raise BadArgument(f"writers={writers} must be 2 to 26, and writes={writes} 1 to 100,000")
    for size in (100, 3000, PIPE_BUF):
        together(tell, writers, writes, size)
    nonblocking(tell, page_size())
    mixed(tell, page_size())


def together(tell: Teller, writers: int, writes: int, size: int) -> None:
    """Everybody writes pieces of one size, each its own letter."""
    with pipe_pair() as (read, write, _), ExitStack() as stack:
        all_of_them = [stack.enter_context(Interpreter([write])) for _ in range(writers)]
        for number, one in enumerate(all_of_them):
            piece = f"{bytes([97 + number])!r} * {size}"
            one.begin(f"sum(os.write({write}, {piece}) for _ in range({writes}))")
        pieces = writers * writes
        whole = sum(len(set(read_exactly(read, size))) == 1 for _ in range(pieces))
        written = sum(one.answer() for one in all_of_them)
    tell.claim(
        f"{writers} processes write {size:,} bytes {writes:,} times: written",
        pieces * size,
        written,
    )
    tell.claim(
        f"pieces of {size:,} bytes that came whole", pieces, whole,
        f"Up to PIPE_BUF, {PIPE_BUF:,} bytes, a write is never mixed with another one."
        if size == PIPE_BUF else "",
    )  # fmt: skip


def nonblocking(tell: Teller, page: int) -> None:
    """With O_NONBLOCK a small write is done as a whole or not at all; a large one in part."""
    with pipe_pair(os.O_NONBLOCK) as (read, write, _):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 2 * page)
        os.write(write, bytes(page))
        tell.claim(
            f"O_NONBLOCK, one page free: write {2 * page:,} bytes", page,
            os.write(write, bytes(2 * page)),
            "More than PIPE_BUF is written as far as it fits. The caller must write the rest.",
        )  # fmt: skip
        os.read(read, 2 * page)
        os.write(write, bytes(page + 1))
        try:
            seen: int | str = os.write(write, bytes(PIPE_BUF))
        except BlockingIOError:
            seen = "EAGAIN"
        tell.claim(
            f"the same, {page - 1:,} bytes free: write {PIPE_BUF:,}", "EAGAIN",
            seen, "Up to PIPE_BUF, all of it or nothing.",
            holds=seen == (PIPE_BUF if page > PIPE_BUF else "EAGAIN"),
        )  # fmt: skip


def mixed(tell: Teller, page: int) -> None:
    """Two writes that both wait for room take turns."""
    with pipe_pair() as (read, write, inode):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 2 * page)
        with Interpreter([write]) as one, Interpreter([write]) as other:
            one.begin(f"os.write({write}, b'a' * {6 * page})")
            tell.claim(
                "a pipe of 2 pages: one process writes 6 pages", WAITS, one.outcome(inode),
                "After the first two.",
            )  # fmt: skip
            other.begin(f"os.write({write}, b'b' * {3 * page})")
            tell.claim("another one writes 3 pages", WAITS, other.outcome(inode))
            data = b""
            for _ in range(2):  # neither can have finished after that
                data += read_exactly(read, page)
                until_full(read, 2 * page)
                one.outcome(inode)
                other.outcome(inode)
            data += read_exactly(read, 9 * page - len(data))
            tell.claim("pages written by both", 9, (one.answer() + other.answer()) // page)
    runs = [chr(letter) for letter, _ in groupby(data)]
    tell.claim(
        "what was read", "mixed", "mixed" if len(runs) > 2 else "one after the other",
        f"In order: {'-'.join(runs)}. Each page that is read frees a slot, which the writer takes"
        " that has waited longest. So larger writes need a lock, or a pipe for each writer.",
    )  # fmt: skip


def until_full(fd: int, size: int) -> None:
    """Waits until the writers have filled a pipe again."""
    until = time.monotonic() + MOST
    while waiting(fd) < size:
        if time.monotonic() > until:
            raise Unsupported("an interpreter", f"it has not written for {MOST:.0f} seconds")
        time.sleep(0.001)
