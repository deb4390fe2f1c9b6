"""When a pipe ends: end of file after the last writer, SIGPIPE after the last reader."""

from __future__ import annotations

import os
import signal

from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.interpreter import WAITS, Interpreter, pipe_pair
from procmem.ipc.blocked import pipes
from procmem.ipc.graph import waits

__all__ = ["pipe_ends"]

PIPE_DEFAULT = "__import__('signal').signal(__import__('signal').SIGPIPE, 0) and None"
"""Python ignores SIGPIPE; this restores what other programs have."""


@experiment(
    "pipe-ends",
    "The ends of a pipe",
    "When does a reader get end of file, and when does a writer get SIGPIPE?",
)
def pipe_ends(tell: Teller) -> None:
    """Lets processes inherit the ends of pipes, and closes these one after the other."""
    end_of_file(tell)
    own_writer(tell)
    broken_pipe(tell)
    own_reader(tell)


def end_of_file(tell: Teller) -> None:
    with pipe_pair() as (read, write, inode), Interpreter([read, write]) as reader:
        with Interpreter([write]) as writer, Interpreter([write]) as other:
            os.close(write)
            reader.ask(f"os.close({write})")
            tell.claim(
                "descriptors of the write end", 2,
                writers(inode, {reader.pid, writer.pid, other.pid, os.getpid()}),
                "Two processes inherited it; this one and the reader closed theirs.",
            )  # fmt: skip
            writer.ask(f"os.write({write}, b'hello')")
            tell.claim(
                "read what a writer wrote", "hello", text(reader.ask(f"os.read({read}, 99)"))
            )
            reader.begin(f"os.read({read}, 99)")
            tell.claim("read again", WAITS, text(reader.outcome(inode)), "Empty, with writers.")
            writer.ask(f"os.close({write})")
            tell.claim(
                "one of the two writers closes its end: the read", WAITS,
                text(reader.outcome(inode)), "The other could still write.",
            )  # fmt: skip
            other.ask(f"os.write({write}, b'last')")
            tell.claim("the other one writes: the read", "last", text(reader.outcome(inode)))
            other.ask(f"os.write({write}, b'words')")
            other.end()
        tell.claim(
            "it writes once more and ends; read", "words", text(reader.ask(f"os.read({read}, 99)")),
            "What was written before stays in the pipe.",
        )  # fmt: skip
        tell.claim(
            "read after the last writer", "end of file", text(reader.ask(f"os.read({read}, 99)")),
            "A process that ends closes its descriptors.",
        )  # fmt: skip


def own_writer(tell: Teller) -> None:
    with pipe_pair() as (read, write, inode), Interpreter([read, write]) as reader:
        os.close(read)
        os.close(write)
        reader.begin(f"os.read({read}, 99)")
        tell.claim(
            "a process reads a pipe whose only writer is itself", WAITS,
            text(reader.outcome(inode)), "It forgot to close the write end that it inherited.",
        )  # fmt: skip
        stuck = waits([reader.pid])
        tell.claim(
            "procmem.waits(): it is deadlocked", True, [reader.pid] in stuck.deadlocks,
            "It will never get end of file.",
        )  # fmt: skip


def broken_pipe(tell: Teller) -> None:
    with pipe_pair() as (read, write, _), Interpreter([write]) as writer:
        with Interpreter([read]) as reader, Interpreter([read]) as other:
            os.close(read)
            os.close(write)
            reader.ask(f"os.close({read})")
            tell.claim(
                "one of two readers closed its end; write 5 bytes", 5,
                writer.ask(f"os.write({write}, b'hello')"), "The other could still read them.",
            )  # fmt: skip
            other.end()
        tell.claim(
            "the last reader has ended; write, ignoring SIGPIPE", "EPIPE",
            writer.ask(f"os.write({write}, b'hello')"), "No one is left to read the first 5.",
        )  # fmt: skip
        writer.ask(PIPE_DEFAULT)
        tell.claim(
            "write without ignoring it", "killed by SIGPIPE",
            ending(writer.last(f"os.write({write}, b'hello')")),
            "The default, by which `yes | head` ends.",
        )  # fmt: skip


def own_reader(tell: Teller) -> None:
    with pipe_pair() as (read, write, _), Interpreter([read, write]) as writer:
        os.close(read)
        os.close(write)
        writer.ask(PIPE_DEFAULT)
        tell.claim(
            "a process writes to a pipe whose only reader is itself", 5,
            writer.ask(f"os.write({write}, b'hello')"),
            "No SIGPIPE: it forgot to close the read end that it inherited.",
        )  # fmt: skip
        writer.ask(f"os.close({read})")
        tell.claim(
            "it closes that end, and writes", "killed by SIGPIPE",
            ending(writer.last(f"os.write({write}, b'hello')")),
        )  # fmt: skip


def writers(inode: int, pids: set[int]) -> int:
    """How many descriptors of some processes lead to the write end of a pipe."""
    return sum(
        end.pid in pids for pipe in pipes(pids) if pipe.inode == inode for end in pipe.writers
    )


def text(got: bytes | str) -> str:
    """What a read returned, in words."""
    return got if isinstance(got, str) else got.decode() or "end of file"


def ending(status: int | None) -> str:
    """How a process ended."""
    if status is None:
        return "it went on"
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
