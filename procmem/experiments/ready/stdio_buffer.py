"""The buffers of the C library's stdio: when what was printed gets to the other process."""

from __future__ import annotations

import contextlib
import os
import tty

from procmem.errors import Unsupported
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.interpreter import (
    Interpreter,
    PipePair,
    pipe_pair,
    read_exactly,
    waiting,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["stdio_buffer"]

BUFFERS = {"_IOLBF": 1, "_IONBF": 2}
"""Modes of setvbuf(3), as glibc numbers them."""


@experiment(
    "stdio-buffer",
    "stdio over pipes",
    "A program printed a line into a pipe, and nothing arrived. Where is it?",
)
def stdio_buffer(tell: Teller) -> None:
    """Prints with the C library into a pipe and into a terminal, and ends programs that printed."""
    with printing() as (c, pipe):
        buffer = os.fstat(pipe.read).st_blksize
        c.ask("write(file, b'hello\\n')")
        tell.bytes(
            "print a line of 6 bytes: in the pipe", 0, waiting(pipe.read),
            "It is in the program's own buffer. stdio buffers fully what is no terminal.",
        )  # fmt: skip
        c.ask("libc.fflush(file)")
        tell.bytes("fflush(3): in the pipe", 6, waiting(pipe.read))
        os.read(pipe.read, 99)
        c.ask(f"[write(file, b'x') for _ in range({buffer})] and None")
        tell.bytes(
            f"print {buffer:,} times one byte: in the pipe", 0, waiting(pipe.read),
            "The buffer has st_blksize bytes (stat(2)), and is full.",
        )  # fmt: skip
        c.ask("write(file, b'x')")
        tell.bytes(
            "print one more: in the pipe", buffer, waiting(pipe.read),
            "The buffer is written when there is no room for the next byte.",
        )  # fmt: skip
    for mode, line in (("_IOLBF", "at the end of each line"), ("_IONBF", "at once")):
        with printing() as (c, pipe):
            c.ask(f"libc.setvbuf(file, None, {BUFFERS[mode]}, 0)")
            c.ask("write(file, b'hello')")
            tell.bytes(
                f'setvbuf(3) {mode}, print "hello": in the pipe', 0 if mode == "_IOLBF" else 5,
                waiting(pipe.read),
            )  # fmt: skip
            c.ask("write(file, b'\\n')")
            tell.bytes("print a newline: in the pipe", 6, waiting(pipe.read), f"Written {line}.")
    endings(tell)
    forked(tell)
    terminal(tell)


def endings(tell: Teller) -> None:
    with printing() as (c, pipe):
        c.ask("write(file, b'hello\\n')")
        c.last("libc.exit(0)")
        tell.bytes(
            "print a line and call exit(3): in the pipe", 6, waiting(pipe.read),
            "exit(3) writes all buffers, as a return from main() does.",
        )  # fmt: skip
    with printing() as (c, pipe):
        c.ask("write(file, b'hello\\n')")
        c.last("libc._exit(0)")
        tell.bytes(
            "print a line and call _exit(2): in the pipe", 0, waiting(pipe.read),
            "Lost. A signal that kills the program does the same.",
        )  # fmt: skip


def forked(tell: Teller) -> None:
    with printing() as (c, pipe):
        c.ask("write(file, b'hello\\n')")
        c.ask("os.waitpid(os.fork() or libc.exit(0), 0)[1]")
        c.last("libc.exit(0)")
        tell.bytes(
            "print a line, fork, and both call exit(3): in the pipe", 12, waiting(pipe.read),
            "fork(2) copies the buffer, and each process writes its own copy: call fflush(3)"
            " before fork.",
        )  # fmt: skip


def terminal(tell: Teller) -> None:
    label = 'terminal: print "hello", write(2) "!", print a newline'
    try:
        master, slave = os.openpty()
    except OSError as error:
        tell.impossible(label, f"no terminal can be made: {error.strerror}")
        return
    try:
        tty.setraw(slave)
        with Interpreter([slave], stdio=True) as c:
            opened(c, slave)
            c.ask("write(file, b'hello')")
            c.ask(f"os.write({slave}, b'!')")
            c.ask("write(file, b'\\n')")
            tell.claim(
                label, "!hello", read_exactly(master, 7).decode().rstrip("\n"),
                "stdio buffers a terminal by lines: hello came with the newline, after what"
                " write(2) wrote at once. So a program shows its output when it is tested by hand,"
                " and in a pipeline it seems to hang.",
            )  # fmt: skip
    finally:
        os.close(master)
        os.close(slave)


@contextlib.contextmanager
def printing() -> Iterator[tuple[Interpreter, PipePair]]:
    """A process with a struct FILE, `file`, of the write end of a pipe."""
    with pipe_pair() as pipe, Interpreter([pipe.write], stdio=True) as c:
        opened(c, pipe.write)
        yield c, pipe


def opened(c: Interpreter, fd: int) -> None:
    """Opens a struct FILE of a descriptor, as `file`."""
    if not c.ask("hasattr(libc, 'gnu_get_libc_version')"):
        raise Unsupported("glibc", "the expectations are those of its stdio; this is another libc")
    c.ask(f"globals().update(file=libc.fdopen({fd}, b'w'))")
