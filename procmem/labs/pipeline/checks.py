"""pipeline: which process holds which end of which pipe, while all five are running."""

import itertools
import os
import random
import signal
import string
import subprocess
from typing import NamedTuple

import psutil
import pytest

from procmem.grade import SubmissionError, Walk, family, only, pipes, points, verify, walk

COMMANDS = ("cat", "cut", "uniq", "sort", "tee")
EARLY = ("yes", "sh")


def names():
    """Lines such as "abc.txt". Some first parts follow each other; nobody knows them before."""
    words = ["".join(random.choices(string.ascii_lowercase, k=6)) for _ in range(12)]  # noqa: S311
    return [
        f"{word}.{end}" for word in words for end in ("c", "h", "tar.gz")[: ord(word[0]) % 3 + 1]
    ]


LINES = names()
FIRST = [line.partition(".")[0] for line in LINES]
EXPECTED = "".join(f"{word}\n" for word in sorted(word for word, _ in itertools.groupby(FIRST)))


class Look(NamedTuple):
    """The program, its children and their pipes at a wait.

    Attributes:
        program: the PID of the program.
        same: whether the program is still the one that was started, and no other.
        children: names of its living children, by PID.
        zombies: the number of its children that have ended and were not waited for.
        pipes: the pipes that any of them holds.
        name: the name of a process in words, by its PID.
    """

    program: int
    same: bool
    children: dict
    zombies: int
    pipes: tuple
    name: object


def look(run):
    relatives = family(run)
    alive, zombies = {}, 0
    for child in psutil.Process(run.pid).children():
        try:
            if child.status() == psutil.STATUS_ZOMBIE:
                zombies += 1
            else:
                alive[child.pid] = child.name()
        except psutil.NoSuchProcess:
            continue
    same = os.path.basename(os.readlink(f"/proc/{run.pid}/exe")) == "pipeline"
    return Look(run.pid, same, alive, zombies, tuple(pipes(run)), relatives)


PHASES = "at the start", "while all five run", "after all have ended"


@pytest.fixture(scope="module")
def seen(program):
    """The program at its start, while cat reads from the terminal, and after the end of input."""
    looks, end, failure = [], None, None
    with program.run() as run:
        try:
            run.pause(PHASES[0])
            looks.append(look(run))
            run.answer()
            run.pause(PHASES[1])
            looks.append(look(run))
            for line in LINES:
                run.answer(line)
            run.end_of_input()
            run.pause(PHASES[2])
            looks.append(look(run))
            run.answer()
            end = run.finish(may_ask=False)
        except SubmissionError as error:
            failure = error
        output = run.output
    return Walk(PHASES, run.phases, looks, end=end, failure=failure, output=output)


def process(now, command):
    found = [pid for pid, name in now.children.items() if name == command]
    return found[0] if len(found) == 1 else None


def between(now, one, other, any_descriptor=False):
    """The pipes that lead from one command to another."""
    writer, reader = process(now, one), process(now, other)
    return [
        pipe
        for pipe in now.pipes
        if any(end.pid == writer and end.fd == 1 for end in pipe.writers)
        and any(end.pid == reader and (any_descriptor or end.fd == 0) for end in pipe.readers)
    ]


def other_writers(now, pipe, writer, reader):
    """A sentence about each write end of a pipe that should be closed."""
    for end in pipe.writers:
        if (end.pid, end.fd) != (writer, 1):
            whom = "it reads itself" if end.pid == reader else f"{now.name(reader)} reads"
            yield (
                f"{now.name(end.pid)} holds the write end of the pipe that {whom} "
                f"(descriptor {end.fd}): while it is open, the end of file does not come"
            )


def other_readers(now, pipe, writer, reader, descriptor=0):
    """A sentence about each read end of a pipe that should be closed."""
    for end in pipe.readers:
        if end.pid != reader or end.fd != (end.fd if descriptor is None else descriptor):
            whom = "it writes to itself" if end.pid == writer else f"{now.name(writer)} writes to"
            yield (
                f"{now.name(end.pid)} holds the read end of the pipe that {whom} "
                f"(descriptor {end.fd}): while it is open, SIGPIPE does not come"
            )


# ---- the checks ---------------------------------------------------------------------


@points(
    1,
    "pipeline waits at its start and after its children have ended, and ends with status 0",
    hint="Keep both ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    3,
    "cat, cut, uniq, sort and tee run at the same time, as five children of the program",
    hint="Start all of them before you wait for any. Each is a child of pipeline itself, not of a "
    "shell.",
)
def test_five_children(seen):
    assert len(seen.look(1).children) == 0, "children at the start"
    now = seen.look(2)
    assert now.same, "the process of the program runs another program now"
    assert sorted(now.children.values()) == sorted(COMMANDS), "the children"


@points(
    3,
    "each one's standard output is the next one's standard input",
    hint="dup2(end, 1) in the one that writes, dup2(end, 0) in the one that reads.",
    needs="test_five_children",
)
def test_joined(seen):
    now = seen.look(2)
    for one, other in itertools.pairwise(COMMANDS):
        found = between(now, one, other)
        if len(found) != 1:
            raise SubmissionError(
                f"there is no pipe from the standard output of {one} (descriptor 1) to the "
                f"standard input of {other} (descriptor 0)"
            )
    assert len(now.pipes) == len(COMMANDS) - 1, "pipes that the six processes hold"


@points(
    4,
    "all other ends of the pipes are closed, in the children and in the program",
    hint="After dup2 the old descriptor is still open. And the program has a copy of each end.",
    needs="test_joined",
)
def test_other_ends_are_closed(seen):
    now = seen.look(2)
    wrong = []
    for one, other in itertools.pairwise(COMMANDS):
        ends = process(now, one), process(now, other)
        found = between(now, one, other)
        assert len(found) == 1, f"pipes from {one} to {other}"
        for pipe in found:
            wrong += [*other_writers(now, pipe, *ends), *other_readers(now, pipe, *ends)]
    if wrong:
        more = f"; and {len(wrong) - 1} more such ends" if len(wrong) > 1 else ""
        raise SubmissionError(wrong[0] + more)


@points(
    2,
    "after the end of input all five have ended, and the program has waited for each",
    hint="Which process still waits, and who holds the other end of its pipe?",
    needs="test_five_children",
)
def test_all_end(seen):
    now = seen.look(3)
    assert len(now.children) == 0, "children after the end of input"
    assert now.zombies == 0, "children that have ended and were not waited for"
    assert len(now.pipes) == 0, "pipes that are still open"


@points(
    2,
    "names.txt contains what went through all five",
    hint="cat | cut -d . -f 1 | uniq | sort | tee names.txt",
    needs=["test_joined", "test_all_end"],
)
def test_names(seen, submission):
    seen.look(3)
    assert submission.read("names.txt") == EXPECTED, "the contents of names.txt"


# ---- early: yes | sh -c "read enter <&2; head -n 3 > first.txt" ----------------------------


@pytest.fixture(scope="module")
def early(program):
    return walk(
        program,
        "early, at the start",
        "early, while nobody reads",
        "early, after both have ended",
        arguments=["early"],
        look=look,
    )


@points(
    2,
    "pipeline early: yes waits until somebody reads, because the pipe is full",
    hint="yes | sh -c ...: both run, and yes writes to the pipe that sh reads.",
)
def test_full(early):
    now = early.look(2)
    assert sorted(now.children.values()) == sorted(EARLY), "the children"
    found = between(now, *EARLY, any_descriptor=True)
    assert len(found) == 1, "pipes from yes to sh"
    writes = [one for one in found[0].blocked if one.to == "write"]
    who = [now.children.get(one.pid) for one in writes]
    assert who == ["yes"], "who is blocked in a write to it"


@points(
    3,
    "pipeline early: when the reader has ended, SIGPIPE ends yes",
    hint="SIGPIPE comes when no process holds the read end any more. Who still does?",
    needs="test_full",
)
def test_sigpipe(early, submission):
    now = early.look(2)
    # While sh executes a redirection, it keeps its standard input as another descriptor.
    (pipe,) = between(now, *EARLY, any_descriptor=True)
    wrong = list(other_readers(now, pipe, process(now, "yes"), process(now, "sh"), None))
    if wrong:
        raise SubmissionError(wrong[0])
    now = early.look(3)
    assert len(now.children) == 0, "children that are left"
    assert now.zombies == 0, "children that have ended and were not waited for"
    assert len(now.pipes) == 0, "pipes that are still open"
    assert submission.read("first.txt") == "y\n" * 3, "the contents of first.txt"
    assert early.ended.status == 0, "the program ends with status 0"


# ---- quiz: the right answer is the one that holds on this machine -----------------------


@points(1, "quiz: after head has ended", hint="yes | head -n 3; echo ${PIPESTATUS[0]}; kill -l 13")
def test_quiz_sigpipe(submission):
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE, restore_signals=True) as started:
        started.stdout.read(6)
        started.stdout.close()
        status = started.wait()
    verify(submission, "sigpipe", only({"a": status == 0, "b": status == -signal.SIGPIPE}))


@points(1, "quiz: closing an end", hint="close(2): descriptors belong to a process.")
def test_quiz_closing(submission):
    read, write = os.pipe()
    os.set_blocking(read, False)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[write]) as child:
        os.close(write)
        try:
            ended = os.read(read, 1) == b""
        except BlockingIOError:
            ended = False
        child.stdin.close()
    os.close(read)
    verify(submission, "closing", "b" if ended else "a")


@points(1, "quiz: one after the other", hint="How much fits into a pipe?")
def test_quiz_one_by_one(submission):
    read, write = os.pipe()
    try:
        os.set_blocking(write, False)
        taken = os.write(write, bytes(100_000))
    finally:
        os.close(read)
        os.close(write)
    verify(submission, "one_by_one", "a" if taken == 100_000 else "b")
