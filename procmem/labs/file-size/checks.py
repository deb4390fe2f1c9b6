"""file-size: size, blocks and position of a file, and what its mappings change in it."""

import ctypes
import mmap
import os
import random
import subprocess
from typing import NamedTuple

import pytest

from procmem.grade import (
    PAGE,
    MiB,
    SubmissionError,
    family,
    not_possible,
    only,
    points,
    regions,
    verify,
    walk,
)

PHASES = (
    "at the start", "with the file", "after the child has ended", "with the private mapping",
    "with the shared mapping", "after all was closed",
)  # fmt: skip

NAME = "data.bin"
SIZE = random.randrange(3 * MiB, 40 * MiB) * 2 + 1  # noqa: S311
"""What is typed at the first wait: odd, and nobody knows it beforehand."""

LEAST = 2 * MiB
"""A file with a hole takes less of the disk than this."""


class Look(NamedTuple):
    """The file at a wait.

    Attributes:
        processes: the number of processes: the program, and its children.
        size: of the file, in bytes; None: there is none.
        on_disk: what it takes of the disk, in bytes.
        first, second: the first byte of its first and of its second page.
        positions: of each descriptor that the program has of it.
    """

    processes: int
    size: int | None
    on_disk: int
    first: bytes
    second: bytes
    positions: tuple


def positions(pid, state):
    """The position of each descriptor of a file (proc_pid_fdinfo(5))."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            held = os.stat(f"/proc/{pid}/fd/{fd}")
            if (held.st_dev, held.st_ino) != (state.st_dev, state.st_ino):
                continue
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
                found += [int(line.split()[1]) for line in file if line.startswith("pos:")]
        except FileNotFoundError:
            continue
    return tuple(found)


def look(run):
    path = os.path.join(run.job.directory, NAME)
    many = len(family(run).pids)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return Look(many, None, 0, b"", b"", ())
    try:
        state = os.fstat(fd)
        first, second = (os.pread(fd, 1, at) for at in (0, PAGE))
    finally:
        os.close(fd)
    held = positions(run.pid, state)
    return Look(many, state.st_size, state.st_blocks * 512, first, second, held)


@pytest.fixture(scope="module")
def seen(program):
    return walk(program, *PHASES, answers=[str(SIZE)], look=look)


def has_holes(directory):
    """Whether files with holes take less of the disk there."""
    path = os.path.join(os.path.dirname(directory), f"hole-{os.getpid()}")
    try:
        with open(path, "xb") as file:
            file.truncate(SIZE)
            return os.fstat(file.fileno()).st_blocks * 512 < LEAST
    finally:
        os.unlink(path)


def mapped(seen, wait, perms):
    """The size of the regions of the file with these rights, and their private dirty bytes."""
    found = regions(seen[wait], path=NAME, perms=perms)
    return sum(one.size for one in found), sum(one.private_dirty or 0 for one in found)


WHOLE = (SIZE + PAGE - 1) // PAGE * PAGE


# ---- the checks ---------------------------------------------------------------------


@points(
    1,
    "size waits six times and ends with status 0",
    hint="Only the parent asks. Keep every ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    2,
    "data.bin has the size that was typed",
    hint="The number is in bytes. ftruncate, or a seek and one byte.",
)
def test_size(seen):
    assert seen.look(2).size is not None, "data.bin does not exist at the second wait"
    assert seen.look(2).size == SIZE, "bytes of data.bin"


@points(
    2,
    "and takes next to nothing of the disk: its bytes are a hole",
    hint="A byte that was never written has no block. `ls -ls` shows both sizes.",
    needs="test_size",
)
def test_hole(seen, submission):
    if not has_holes(submission.directory):
        not_possible("the file system of TMPDIR has no files with holes")
    assert seen.look(2).on_disk < LEAST, "bytes that data.bin takes of the disk"


@points(
    2,
    "the program has it open, and its position is at the end",
    hint="lseek or fseek with SEEK_END. The second wait comes before anything else moves it.",
    needs="test_size",
)
def test_position(seen):
    now = seen.look(2)
    assert len(now.positions) >= 1, "descriptors of data.bin that the program has"
    assert SIZE in now.positions, "the position in the file"


@points(
    1,
    "sizes.txt has the size twice: the position at the end, and st_size",
    hint="A number on each of two lines.",
    needs="test_size",
)
def test_sizes(seen, submission):
    seen.look(2)
    assert submission.read("sizes.txt").split() == [str(SIZE)] * 2, "the contents of sizes.txt"


@points(
    3,
    "the child has moved the position for both, and its close closed nothing for the parent",
    hint="After fork both descriptors lead to the same open file, with one position.",
    needs="test_position",
)
def test_child_moves_it(seen):
    now = seen.look(3)
    assert now.processes == 1, (
        "processes at the third wait: the child has ended, and was waited for"
    )
    assert len(now.positions) >= 1, "descriptors of data.bin that the program still has"
    assert SIZE // 2 in now.positions, "the position in the file"


@points(
    3,
    "the private mapping is written to, and the file is not changed",
    hint="MAP_PRIVATE, the whole file, 'P' to its first byte.",
    needs="test_size",
)
def test_private(seen):
    size, dirty = mapped(seen, 4, "rw-p")
    assert size == WHOLE, "bytes of the file that are mapped privately (rw-p)"
    if not dirty:
        raise SubmissionError("no page of the private mapping was written to")
    assert dirty == PAGE, "bytes of it that were written to (Private_Dirty)"
    assert seen.look(4).first == b"\0", "the first byte of the file"


@points(
    3,
    "what is written to the shared mapping is in the file at once",
    hint="MAP_SHARED, 'S' to the first byte of the second page.",
    needs="test_size",
)
def test_shared(seen):
    size, _ = mapped(seen, 5, "rw-s")
    assert size == WHOLE, "bytes of the file that are mapped as shared (rw-s)"
    now = seen.look(5)
    assert now.second == b"S", "the first byte of the second page of the file"
    assert now.first == b"\0", "the first byte of the file"


@points(
    1,
    "at the end nothing of the file is mapped or open",
    hint="munmap both, and close the descriptor.",
    needs=["test_private", "test_shared"],
)
def test_closed(seen):
    assert len(regions(seen[6], path=NAME)) == 0, "regions of data.bin"
    assert len(seen.look(6).positions) == 0, "descriptors of data.bin"
    assert seen.look(6).size == SIZE, "bytes of data.bin"


# ---- quiz: the right answer is the one that holds on this machine -----------------------


@points(1, "quiz: ftell", hint="LONG_MAX, where long has 32 bits")
def test_quiz_ftell(submission):
    largest = (1 << 8 * ctypes.sizeof(ctypes.c_int32) - 1) - 1
    right = only({"a": largest == (2 << 30) - 1, "b": largest == (4 << 30) - 1})
    verify(submission, "ftell", right)


@points(1, "quiz: a child that closes", hint="close(2): descriptors belong to a process.")
def test_quiz_closed(submission, tmp_path):
    with open(tmp_path / "file", "w+b") as file:
        # A shell need not know descriptors above 9.
        subprocess.run(["sh", "-c", "exec 0<&-"], check=True, stdin=file, timeout=60)
        try:
            wrote = os.write(file.fileno(), b"x") == 1
        except OSError:
            wrote = False
    verify(submission, "closed", "a" if wrote else "b")


@points(1, "quiz: MAP_PRIVATE and read", hint="mmap(2), MAP_PRIVATE")
def test_quiz_private(submission, tmp_path):
    with open(tmp_path / "file", "w+b") as file:
        file.write(bytes(PAGE))
        file.flush()
        with mmap.mmap(file.fileno(), PAGE, access=mmap.ACCESS_COPY) as private:
            private[0] = 1
            found = os.pread(file.fileno(), 1, 0)
        later = os.pread(file.fileno(), 1, 0)
    right = only({
        "a": found == b"\1", "b": found == later == b"\0", "c": found == b"\0" and later == b"\1",
    })  # fmt: skip
    verify(submission, "private", right)
