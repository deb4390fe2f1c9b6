"""FIFOs: who waits in open(2), and what becomes of the bytes when nobody has it open."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack

from procmem.errors import Unsupported
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.interpreter import WAITS, Interpreter

__all__ = ["fifo"]

OPENED = "opened"


@experiment(
    "fifo",
    "FIFOs",
    "A FIFO has a name like a file. Why does open(2) wait, and where did my bytes go?",
)
def fifo(tell: Teller) -> None:
    """Opens a FIFO in every way, in two processes, and closes it while bytes are in it."""
    with ExitStack() as stack:
        try:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="procmem-"))
            path = os.path.join(place, "fifo")
            os.mkfifo(path)
        except OSError as error:
            raise Unsupported("a FIFO", f"none can be made: {error.strerror}") from error
        inode = os.stat(path).st_ino
        with Interpreter() as one, Interpreter() as other:
            opening(tell, one, other, path, inode)
            remaining(tell, one, other, path, inode)
        tell.bytes("the size of its file, by stat(2)", 0, os.stat(path).st_size, NOT_IN_FILE)


NOT_IN_FILE = "What is written never reaches the file system: it is in a pipe in memory."


def opening(tell: Teller, one: Interpreter, other: Interpreter, path: str, inode: int) -> None:
    for ours, theirs in (("O_RDONLY", "O_WRONLY"), ("O_WRONLY", "O_RDONLY")):
        one.begin(opens(path, ours))
        tell.claim(
            f"open it {ours}", WAITS, outcome(one, inode), f"Until somebody opens it {theirs}."
        )
        tell.claim(f"another process opens it {theirs}", OPENED, outcome_of(other, path, theirs))
        tell.claim(f"the open that waited, {ours}", OPENED, outcome(one, inode))
        close(one)
        close(other)
    tell.claim(
        "open it O_RDONLY|O_NONBLOCK", OPENED, outcome_of(one, path, "O_RDONLY|O_NONBLOCK"),
        "At once, without a writer.",
    )  # fmt: skip
    tell.claim(
        "read from it", "end of file", one.ask("os.read(fd, 99)").decode() or "end of file",
        "Without a writer, reading does not wait either.",
    )  # fmt: skip
    tell.claim(
        "open it O_WRONLY|O_NONBLOCK meanwhile", OPENED,
        outcome_of(other, path, "O_WRONLY|O_NONBLOCK"), "There is a reader.",
    )  # fmt: skip
    tell.claim(
        "read from it now", "EAGAIN", one.ask("os.read(fd, 99)"), "Empty, and there is a writer."
    )
    close(one)
    close(other)
    tell.claim(
        "open it O_WRONLY|O_NONBLOCK without a reader", "ENXIO",
        outcome_of(other, path, "O_WRONLY|O_NONBLOCK"),
        "It could not wait, and nobody would read what it writes.",
    )  # fmt: skip


def remaining(tell: Teller, one: Interpreter, other: Interpreter, path: str, inode: int) -> None:
    tell.claim(
        "open it O_RDWR", OPENED, outcome_of(one, path, "O_RDWR"),
        "It is its own reader and writer: Linux does not let it wait.",
    )  # fmt: skip
    tell.claim("write 5 bytes", 5, one.ask("os.write(fd, b'hello')"))
    close(one)
    outcome_of(other, path, "O_RDONLY|O_NONBLOCK")
    tell.claim(
        "it closes the FIFO, then another opens and reads it", "end of file",
        other.ask("os.read(fd, 99)").decode() or "end of file",
        "The bytes were freed with the last descriptor. A writer that opens it O_RDWR so as not to"
        " wait loses them if it ends before the reader has opened it.",
    )  # fmt: skip
    outcome_of(one, path, "O_RDWR")
    one.ask("os.write(fd, b'hello')")
    close(one)
    tell.claim(
        "the same while the other keeps it open", "hello", other.ask("os.read(fd, 99)").decode(),
        "A descriptor that is open somewhere keeps the bytes.",
    )  # fmt: skip
    close(other)
    outcome_of(one, path, "O_RDWR")
    one.begin("os.read(fd, 99)")
    tell.claim(
        "open it O_RDWR and read", WAITS, outcome(one, inode),
        "For ever: it has a writer, itself, and so never gets end of file.",
    )  # fmt: skip
    outcome_of(other, path, "O_WRONLY")
    other.ask("os.write(fd, b'wake up')")
    tell.claim("unless another process writes", "wake up", one.outcome(inode).decode())
    close(one)
    close(other)


def opens(path: str, flags: str) -> str:
    """An expression that opens the FIFO as `fd`."""
    made = "|".join(f"os.{flag}" for flag in flags.split("|"))
    return f"globals().update(fd=os.open({path!r}, {made})) or {OPENED!r}"


def outcome_of(one: Interpreter, path: str, flags: str) -> str:
    """Opens the FIFO where that must not wait: "opened", or the error."""
    return str(one.ask(opens(path, flags)))


def outcome(one: Interpreter, inode: int) -> str:
    return str(one.outcome(inode))


def close(one: Interpreter) -> None:
    one.ask("os.close(fd)")
