"""shared-memory: who maps the memory, where the lock is that the children wait for, and the sum."""

import mmap
import os
import random
import struct
from typing import NamedTuple

import psutil
import pytest

from procmem import Process, ProcmemError
from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    SubmissionError,
    blocked,
    family,
    not_possible,
    only,
    points,
    verify,
    walk,
)

PHASES = (
    "at the start", "while the children wait for the lock", "after the children have counted",
    "after the memory was unmapped",
)  # fmt: skip

CHILDREN = 4
STEPS = random.randrange(20_000, 60_000)  # noqa: S311
"""What is typed at the second wait. Nobody knows it beforehand."""

PRIVATE = 128
"""FUTEX_PRIVATE_FLAG (futex(2)): only threads of one process can wake each other."""


class Place(NamedTuple):
    """A region that a process shares with others: its addresses, and what identifies its memory."""

    start: int
    end: int
    memory: tuple


class Look(NamedTuple):
    """The processes and their shared memory at a wait.

    Attributes:
        children: PIDs of the program's children that are alive.
        zombies: the number of its children that have ended and were not waited for.
        places: the shared, writable regions of each process, by its PID.
        locks: of each child that waits in futex(2): the address, and the operation.
        sum: whether the program's shared memory contains CHILDREN times STEPS.
    """

    children: tuple
    zombies: int
    places: dict
    locks: dict
    sum: bool


def shared(pid):
    try:
        table = Process(pid).maps()
    except ProcmemError:
        return []
    return [
        Place(one.start, one.end, (one.dev, one.inode))
        for one in table
        if one.perms.shared and one.perms.write
    ]


def contains(pid, places, number):
    """Whether a number stands somewhere in these regions, as a long."""
    wanted = struct.pack("=q", number)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for place in places:
            memory.seek(place.start)
            data = memory.read(min(place.end - place.start, 1 << 20))
            if any(data[at : at + 8] == wanted for at in range(0, len(data), 8)):
                return True
    return False


def look(run):
    alive, zombies = [], 0
    for pid in family(run).pids[1:]:
        try:
            dead = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
        zombies += dead
        alive += [] if dead else [pid]
    places = {pid: shared(pid) for pid in (run.pid, *alive)}
    locks = {
        thread.pid: (thread.arguments[0], thread.arguments[1])
        for thread in blocked(run)
        if thread.pid in alive and thread.call == "futex"
    }
    found = contains(run.pid, places[run.pid], CHILDREN * STEPS)
    return Look(tuple(alive), zombies, places, locks, found)


@pytest.fixture(scope="module")
def seen(program):
    return walk(program, *PHASES, answers=["", str(STEPS)], look=look)


def new_places(seen):
    """The shared regions that the program mapped after the first wait."""
    before = {place.memory for places in seen.look(1).places.values() for place in places}
    program = next(iter(seen.look(2).places))
    return [place for place in seen.look(2).places[program] if place.memory not in before]


# ---- the checks ---------------------------------------------------------------------


@points(
    1,
    "counter waits four times and ends with status 0",
    hint="Only the parent asks. Keep every ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    3,
    "the parent and four children have the same memory mapped, as shared memory",
    hint="MAP_SHARED, before fork. Memory of malloc, and MAP_PRIVATE, is copied for each child.",
)
def test_memory_is_shared(seen):
    assert len(seen.look(1).children) == 0, "children at the start"
    now = seen.look(2)
    assert len(now.children) == CHILDREN, "children at the second wait"
    mine = new_places(seen)
    assert len(mine) >= 1, "shared, writable regions that the program has mapped"
    wanted = {place.memory for place in mine}
    having = [pid for pid in now.children if wanted & {place.memory for place in now.places[pid]}]
    assert len(having) == CHILDREN, "children that have this memory mapped"


@points(
    3,
    "all four children wait for a lock that is in the shared memory",
    hint="The parent locks it before it starts the children. Where is the lock?",
    needs="test_memory_is_shared",
)
def test_lock_is_shared(seen):
    now = seen.look(2)
    assert len(now.locks) == CHILDREN, "children that wait for a lock (in futex(2))"
    wanted = {place.memory for place in new_places(seen)}
    for pid, (address, _) in now.locks.items():
        places = [place for place in now.places[pid] if place.memory in wanted]
        if not any(place.start <= address < place.end for place in places):
            raise SubmissionError(
                f"a child waits for a lock at {address:#x}, which is not in the shared memory: "
                "each process has a lock of its own, and nobody will unlock the child's"
            )


@points(
    2,
    "the lock works between processes",
    hint="pthread_mutexattr_setpshared with PTHREAD_PROCESS_SHARED, before pthread_mutex_init.",
    needs="test_lock_is_shared",
)
def test_lock_is_for_processes(seen):
    assert len(seen.look(2).locks) == CHILDREN, "children that wait for a lock (in futex(2))"
    for _, operation in seen.look(2).locks.values():
        if operation & PRIVATE:
            raise SubmissionError(
                "the children wait for a lock that is made for threads of one process "
                "(FUTEX_PRIVATE_FLAG): when the parent unlocks it, nobody wakes them"
            )


@points(
    3,
    "the sum is exact, and all children have ended and were waited for",
    hint="Each addition reads, adds and writes. Hold the lock during all three.",
    needs="test_memory_is_shared",
)
def test_sum(seen):
    now = seen.look(3)
    assert len(now.children) == 0, "children after they have counted"
    assert now.zombies == 0, "children that have ended and were not waited for"
    wrong = "the shared memory does not contain four times the number that was typed"
    assert now.sum, wrong


@points(
    1,
    "the memory is unmapped at the end",
    hint="munmap, with the size of the mapping.",
    needs="test_memory_is_shared",
)
def test_unmapped(seen):
    gone = {place.memory for place in new_places(seen)}
    (left,) = seen.look(4).places.values()
    assert len([place for place in left if place.memory in gone]) == 0, "regions that are left"


# ---- quiz: the right answer is the one that holds on this machine -----------------------


@points(1, "quiz: MAP_PRIVATE", hint="Print the value in both.")
def test_quiz_private(submission):
    with Specimen() as parent:
        area = parent.mmap(PAGE).mapping
        parent.touch(area, value=0)
        child = parent.fork().child
        child.touch(area, value=2)
        with open(f"/proc/{parent.pid}/mem", "rb", buffering=0) as file:
            file.seek(area.start)
            found = file.read(1)[0]
    verify(submission, "private", only({"a": found == 2, "b": found == 0}))


@points(1, "quiz: when it is visible", hint="mmap(2), MAP_SHARED")
def test_quiz_visible(submission):
    fd = os.memfd_create("visible")
    os.ftruncate(fd, PAGE)
    with mmap.mmap(fd, PAGE) as one, mmap.mmap(fd, PAGE) as other:
        one[0] = 1
        at_once = other[0] == 1
        one.flush()
        after_msync = other[0] == 1
    os.close(fd)
    verify(submission, "visible", only({"a": at_once, "b": after_msync and not at_once}))


@points(1, "quiz: its name", hint="grep rw-s /proc/PID/maps")
def test_quiz_name(submission):
    before = {region.start for region in Process().maps()}
    with mmap.mmap(-1, PAGE):
        new = [
            region
            for region in Process().maps()
            if region.start not in before and region.perms.shared
        ]
    if len(new) != 1:
        not_possible("the region of shared memory was not found here")
    name = new[0].pathname or ""
    right = only({"a": not name, "b": name.startswith("/dev/zero"), "c": name == "[heap]"})
    verify(submission, "name", right)
