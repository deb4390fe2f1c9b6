"""pipe-talk: which ends each process holds, what waits in the pipes, and who is blocked in them."""

import ctypes
import fcntl
import os
import random
import string
import struct
import termios
from typing import NamedTuple

import psutil
import pytest

from procmem.grade import SubmissionError, family, not_possible, only, pipes, points, verify, walk

PHASES = (
    "at the start", "after the child was started", "with the answer in the pipe",
    "after the answer was read", "after the child has ended",
)  # fmt: skip

WORD = "".join(random.choices(string.ascii_lowercase, k=random.randrange(20, 60)))  # noqa: S311
"""What is typed at the second wait. Nobody knows it beforehand."""

ANSWER = f"{WORD} has {len(WORD)} letters\n"


class Look(NamedTuple):
    """The processes and their pipes at a wait.

    Attributes:
        program: the PID of the program.
        children: PIDs of its children that are alive.
        zombies: the number of its children that have ended and were not waited for.
        pipes: the pipes that any of them holds.
        name: the name of a process, by its PID.
        knowing: PIDs of the children whose memory contains the word.
    """

    program: int
    children: tuple
    zombies: int
    pipes: tuple
    name: object
    knowing: tuple


def has(pid, text):
    """Whether a process has a text in its memory."""
    try:
        with (
            open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps,
            open(f"/proc/{pid}/mem", "rb", buffering=0) as memory,
        ):
            for line in maps:
                where, perms, *_ = line.split()
                start, end = (int(word, 16) for word in where.split("-"))
                if perms.startswith("rw") and end - start < 1 << 26:
                    memory.seek(start)
                    if text in memory.read(end - start):
                        return True
    except OSError:
        pass
    return False


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
    knowing = tuple(pid for pid in alive if has(pid, WORD.encode()))
    return Look(run.pid, tuple(alive), zombies, tuple(pipes(run)), relatives, knowing)


@pytest.fixture(scope="module")
def seen(program):
    return walk(program, *PHASES, answers=["", WORD], look=look)


def the_child(now):
    if len(now.children) != 1:
        raise SubmissionError(
            f"{len(now.children)} child processes exist, where there should be one"
        )
    return now.children[0]


def holders(ends):
    return {end.pid for end in ends}


def question_pipe(now):
    """The pipe that the parent writes to, and the child reads from."""
    return the_pipe(now, now.program, the_child(now), "from the parent to the child")


def answer_pipe(now):
    return the_pipe(now, the_child(now), now.program, "from the child to the parent")


def the_pipe(now, writer, reader, which):
    found = [
        pipe
        for pipe in now.pipes
        if writer in holders(pipe.writers) and reader in holders(pipe.readers)
    ]
    # With ends that should be closed, both pipes lead both ways: the one that is read is meant.
    asked = [pipe for pipe in found if any(one.pid == reader for one in pipe.blocked)]
    found = asked or found
    if not found:
        raise SubmissionError(f"there is no pipe that leads {which}")
    return found[0]


def waiting(pipe):
    """The bytes in a pipe."""
    if pipe.waiting is None:
        not_possible("how much is in a pipe can't be read here (pidfd_getfd(2))")
    return pipe.waiting


# ---- the checks ---------------------------------------------------------------------


@points(
    1,
    "talk waits five times and ends with status 0",
    hint="Only the parent asks. Keep every ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    2,
    "there is one child, and a pipe for each direction",
    hint="A pipe has one direction. With a single one the child may read its own answer.",
)
def test_two_pipes(seen):
    assert len(seen.look(1).children) == 0, "children at the start"
    now = seen.look(2)
    the_child(now)
    assert len(now.pipes) == 2, "pipes that the two processes hold"


@points(
    3,
    "each process holds one end of each pipe, and no other",
    hint="fork copies all descriptors. Close those that a process does not need, in both of them.",
    needs="test_two_pipes",
)
def test_unused_ends_are_closed(seen):
    now = seen.look(2)
    the_child(now)
    for pipe in now.pipes:
        readers, writers = holders(pipe.readers), holders(pipe.writers)
        for pid in readers & writers:
            fds = [end.fd for end in (*pipe.readers, *pipe.writers) if end.pid == pid]
            which = " and ".join(map(str, sorted(fds)))
            consequence = "it may read what it wrote itself, and never sees the end of file"
            raise SubmissionError(
                f"{now.name(pid)} holds both ends of a pipe (descriptors {which}): {consequence}"
            )
        assert len(readers) == 1, "processes that hold the read end of a pipe"
        assert len(writers) == 1, "processes that hold the write end of a pipe"
    assert holders(now.pipes[0].readers) != holders(now.pipes[1].readers), (
        "each process holds the read end of one pipe"
    )


@points(
    1,
    "the child waits for a question",
    hint="The child reads from its pipe until the end of file.",
    needs="test_two_pipes",
)
def test_child_waits(seen):
    now = seen.look(2)
    pipe, child = question_pipe(now), the_child(now)
    reads = [one for one in pipe.blocked if one.pid == child and one.to in ("read", "end")]
    assert len(reads) == 1, "threads of the child that read from the pipe"
    assert waiting(pipe) == 0, "bytes in the pipe"


@points(
    2,
    "the child gets the question",
    hint="Over a pipe stdio writes when its buffer is full, at fflush, or at fclose.",
    needs="test_child_waits",
)
def test_question_arrives(seen):
    now = seen.look(3)
    child = the_child(now)
    if child not in now.knowing:
        left = waiting(question_pipe(now))
        if left:
            raise SubmissionError(f"{left} bytes are in the pipe that the child does not read")
        raise SubmissionError(
            "the word is neither in the pipe nor in the child's memory: it is still in a buffer "
            "of the parent, or was never written"
        )
    assert waiting(question_pipe(now)) == 0, "bytes of the question that the child has not read"


@points(
    3,
    "the answer is in the pipe, complete and with its newline",
    hint="The line is: the word, then has, the number of its letters, then letters, and a newline. "
    "It has to be in the pipe, not in a buffer of the child.",
    needs="test_question_arrives",
)
def test_answer_waits(seen):
    size = waiting(answer_pipe(seen.look(3)))
    if size == 0:
        raise SubmissionError(
            "the child has read the word, but its answer is not in the pipe: it is still in a "
            "buffer of the child, or was never written"
        )
    if size == len(ANSWER) - 1:
        raise SubmissionError(
            f"{size} bytes are in the pipe, one less than the answer has: without its newline "
            "a parent that reads a line waits for the rest"
        )
    assert size == len(ANSWER), "bytes that are in the pipe to the parent"


@points(
    2,
    "the parent reads the answer and writes it to answer.txt",
    hint="Nothing may be left in the pipe.",
    needs="test_answer_waits",
)
def test_answer_is_read(seen, submission):
    assert waiting(answer_pipe(seen.look(4))) == 0, "bytes that are left in the pipe to the parent"
    file = submission.read("answer.txt")
    assert file == ANSWER, "what answer.txt contains"


@points(
    2,
    "the child has ended and was waited for, and no pipe is left",
    hint="The child's loop ends with the end of file: when everybody has closed the write end.",
    needs="test_two_pipes",
)
def test_all_is_closed(seen):
    the_child(seen.look(4))
    now = seen.look(5)
    assert len(now.children) == 0, "children after the talk"
    assert now.zombies == 0, "children that have ended and were not waited for"
    held = [end for pipe in now.pipes for end in (*pipe.readers, *pipe.writers)]
    assert len(held) == 0, "descriptors of pipes that are still open in the parent"


# ---- quiz: the right answer is the one that holds on this machine -----------------------


def waiting_in(fd):
    """The bytes in a pipe (FIONREAD, ioctl_pipe(2))."""
    return struct.unpack("=i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]


@pytest.fixture
def pipe_here():
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    yield ends
    for fd in ends:
        os.close(fd)


@points(1, "quiz: how much fits in", hint="pipe(7), Pipe capacity")
def test_quiz_capacity(submission, pipe_here):
    _, write = pipe_here
    size = 0
    while size < 1 << 24:
        try:
            size += os.write(write, b"x")
        except BlockingIOError:
            break
    right = only({"a": size == 4096, "b": size == 65536, "c": size >= 1 << 24})
    verify(submission, "capacity", right)


@points(1, "quiz: an end of one's own", hint="pipe(7), I/O on pipes and FIFOs")
def test_quiz_own_end(submission, pipe_here):
    read, _ = pipe_here
    try:
        ended = os.read(read, 1) == b""
    except BlockingIOError:
        ended = False
    verify(submission, "own_end", "a" if ended else "b")


@points(1, "quiz: a newline", hint="setbuf(3): which streams are line buffered?")
def test_quiz_newline(submission, pipe_here):
    read, write = pipe_here
    libc = ctypes.CDLL(None)
    libc.fdopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.fdopen(os.dup(write), b"w"))
    libc.fputs(b"Hello\n", stream)
    at_once = waiting_in(read)
    libc.fclose(stream)
    at_the_end = waiting_in(read)
    right = only({"a": at_once == 6, "b": at_once == 0 and at_the_end == 6, "c": at_the_end == 0})
    verify(submission, "newline", right)
