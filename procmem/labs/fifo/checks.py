"""fifo: who waits in open(), who holds which end, and what is left of the name."""

import errno
import os
import random
import stat
import string
from typing import NamedTuple

import psutil
import pytest

from procmem.grade import SubmissionError, family, only, pipes, points, verify, walk

PHASES = (
    "at the start", "with the FIFO and the child", "after the word was written",
    "after the FIFO was closed", "after the FIFO was removed",
)  # fmt: skip

FIFO = "talk.fifo"
WORD = "".join(random.choices(string.ascii_lowercase, k=random.randrange(20, 60)))  # noqa: S311
"""What is typed at the second wait. Nobody knows it beforehand."""


class Look(NamedTuple):
    """The processes and the FIFO at a wait.

    Attributes:
        program: the PID of the program.
        children: PIDs of its children that are alive.
        zombies: the number of its children that have ended and were not waited for.
        file: the state of the file talk.fifo (lstat(2)); None: there is none.
        fifo: who holds it or waits in it; None: nobody does.
        name: the name of a process in words, by its PID.
    """

    program: int
    children: tuple
    zombies: int
    file: object
    fifo: object
    name: object


def look(run):
    relatives = family(run)
    alive, zombies = [], 0
    for pid in relatives.pids[1:]:
        try:
            dead = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
        zombies += dead
        alive += [] if dead else [pid]
    try:
        file = os.lstat(os.path.join(run.job.directory, FIFO))
    except FileNotFoundError:
        file = None
    named = [one for one in pipes(run) if os.path.basename(one.path or "") == FIFO]
    return Look(run.pid, tuple(alive), zombies, file, named[0] if named else None, relatives)


@pytest.fixture(scope="module")
def seen(program):
    return walk(program, *PHASES, answers=["", WORD], look=look)


def the_child(now):
    if len(now.children) != 1:
        raise SubmissionError(
            f"{len(now.children)} child processes exist, where there should be one"
        )
    return now.children[0]


def is_fifo(now):
    return now.file is not None and stat.S_ISFIFO(now.file.st_mode)


# ---- the checks ---------------------------------------------------------------------


@points(
    1,
    "fifo waits five times and ends with status 0",
    hint="Only the parent asks. Keep every ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(2, "talk.fifo is a FIFO, made by the program", hint="mkfifo(3)")
def test_fifo_is_made(seen):
    assert seen.look(1).file is None, "talk.fifo at the start"
    now = seen.look(2)
    assert now.file is not None, "talk.fifo does not exist at the second wait"
    assert is_fifo(now), "talk.fifo is not a FIFO"


@points(
    2,
    "the child waits in open() for a writer",
    hint="open(2) of a FIFO with O_RDONLY returns when another process opens it for writing.",
    needs="test_fifo_is_made",
)
def test_child_waits_in_open(seen):
    now = seen.look(2)
    child = the_child(now)
    if now.fifo is None:
        raise SubmissionError("nobody has opened the FIFO, and nobody waits in open()")
    for end in (*now.fifo.readers, *now.fifo.writers):
        raise SubmissionError(
            f"{now.name(end.pid)} has the FIFO open already (descriptor {end.fd})"
        )
    waits = [now.name(one.pid) for one in now.fifo.blocked if one.to == "open"]
    assert waits == [now.name(child)], "who waits in open()"


@points(
    3,
    "the parent has the FIFO open for writing alone, and the child for reading alone",
    hint="O_RDWR makes a process its own reader: open does not wait for one, and bytes that nobody "
    "has read are lost when it closes the FIFO.",
    needs="test_fifo_is_made",
)
def test_one_end_each(seen):
    now = seen.look(3)
    child = the_child(now)
    if now.fifo is None:
        raise SubmissionError("nobody has the FIFO open")
    for end in now.fifo.readers:
        if end in now.fifo.writers:
            raise SubmissionError(
                f"{now.name(end.pid)} has opened the FIFO for reading and writing (O_RDWR, "
                f"descriptor {end.fd}): it is its own reader, and does not wait for another one"
            )
    writers, readers = (
        [now.name(end.pid) for end in ends] for ends in (now.fifo.writers, now.fifo.readers)
    )
    assert writers == [now.name(now.program)], "who has it open for writing"
    assert readers == [now.name(child)], "who has it open for reading"
    reads = [now.name(one.pid) for one in now.fifo.blocked if one.to in ("read", "end")]
    assert reads == [now.name(child)], (
        "who waits for more bytes: after the word nothing is in the FIFO"
    )


@points(
    2,
    "received.txt contains the word, with its newline",
    hint="One line with the word that was typed. The child reads until the end of file.",
    needs="test_one_end_each",
)
def test_received(seen, submission):
    seen.look(4)
    assert submission.read("received.txt") == f"{WORD}\n", "the contents of received.txt"


@points(
    2,
    "after the parent has closed the FIFO, the child has ended and was waited for",
    hint="The child gets the end of file when no process has the FIFO open for writing.",
    needs="test_fifo_is_made",
)
def test_child_ends(seen):
    the_child(seen.look(3))
    now = seen.look(4)
    assert len(now.children) == 0, "children after the FIFO was closed"
    assert now.zombies == 0, "children that have ended and were not waited for"
    assert now.fifo is None, "the FIFO is still open"


@points(
    2,
    "the name stays, with size 0, until the program removes it",
    hint="A FIFO's bytes are never on the disk. unlink(2) removes its name.",
    needs="test_child_ends",
)
def test_removed(seen):
    now = seen.look(4)
    assert is_fifo(now), "talk.fifo was removed too early"
    assert now.file.st_size == 0, "bytes of talk.fifo on the disk"
    assert seen.look(5).file is None, "talk.fifo still exists"


# ---- quiz: the right answer is the one that holds on this machine -----------------------


@pytest.fixture
def fifo_here(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@points(1, "quiz: nobody reads", hint="fifo(7)")
def test_quiz_nobody_reads(submission, fifo_here):
    try:
        os.close(os.open(fifo_here, os.O_WRONLY | os.O_NONBLOCK))
        right = "c"
    except OSError as error:
        right = "b" if error.errno == errno.ENXIO else "a"
    verify(submission, "nobody_reads", right)


@points(1, "quiz: the size of the file", hint="ls -l, while bytes wait in a FIFO")
def test_quiz_size(submission, fifo_here):
    fd = os.open(fifo_here, os.O_RDWR)
    os.write(fd, b"Hello!")
    size = os.stat(fifo_here).st_size
    os.close(fd)
    verify(submission, "size", only({"a": size == 0, "b": size == 6, "c": size > 6}))


@points(
    1, "quiz: both ways", hint="Try it in a shell: exec 3<>talk.fifo; echo Hello! >&3; exec 3>&-"
)
def test_quiz_both_ways(submission, fifo_here):
    fd = os.open(fifo_here, os.O_RDWR)
    os.write(fd, b"Hello!")
    os.close(fd)
    fd = os.open(fifo_here, os.O_RDONLY | os.O_NONBLOCK)
    found = os.read(fd, 6)
    os.close(fd)
    verify(submission, "both_ways", only({"a": found == b"Hello!", "b": found == b""}))
