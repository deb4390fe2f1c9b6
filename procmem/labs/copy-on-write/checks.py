"""copy-on-write: pages that parent and child share after fork, until one of them writes."""

import functools
from typing import NamedTuple

import psutil
import pytest

from procmem import NoSuchProcess, PageCounts, Process, ZombieProcess
from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    KiB,
    MiB,
    SubmissionError,
    anonymous,
    only,
    points,
    predicted,
    verify,
    walk,
)

SIZE = 8 * MiB
HALF = SIZE // 2
NEAR = 64 * KiB
"""At most so much other memory adjoins the 8 MiB, in the same region."""


class Look(NamedTuple):
    """What a snapshot of the program does not show.

    Attributes:
        children: a snapshot of each child; None for one that has ended.
        parent: the pages of the memory in the parent, counted; None before it is mapped.
        child: the same in the only living child; None: there is not exactly one.
    """

    children: list
    parent: PageCounts | None
    child: PageCounts | None


def place(before, after):
    """The addresses that the parent mapped between two waits: the largest piece."""
    made = [piece for change in (after - before).changes for piece in change.gained]
    return max(made, key=lambda piece: piece[1] - piece[0], default=(0, 0))


def children(run):
    """The children of the program and the pages of its memory, found from outside."""
    found, counted, parent = [], [], None
    start = end = 0
    if len(run.phases) > 1:
        start, end = place(run.phases[0][1], run.phases[1][1])
        parent = Process(run.pid).pagemap(start, end).counts()
    for child in psutil.Process(run.pid).children():
        try:
            dead = child.status() == psutil.STATUS_ZOMBIE
            found.append(None if dead else Process(child.pid).snapshot())
            if not dead and end:
                counted.append(Process(child.pid).pagemap(start, end).counts())
        except (psutil.NoSuchProcess, NoSuchProcess, ZombieProcess):
            continue
    return Look(found, parent, counted[0] if len(counted) == 1 else None)


@pytest.fixture(scope="module")
def seen(program):
    """The program at its five waits: seen[1] to seen[5]; seen.look(n): its children."""
    return walk(
        program,
        "at the start",
        "after the parent wrote to its memory",
        "after fork",
        "after the child wrote",
        "after the child ended",
        look=children,
    )


def the_child(seen, wait):
    alive = [child for child in seen.look(wait).children if child is not None]
    if len(alive) != 1:
        raise SubmissionError(f"{len(alive)} child processes exist, where there should be one")
    return alive[0]


def more(seen):
    """Bytes beside the 8 MiB: memory from malloc begins within a page, so it takes one more."""
    start, end = place(seen[1], seen[2])
    return 0 if end - start == SIZE else PAGE


def assert_share(snapshot, counts, seen, size, whose):
    """The fair share of the memory that a process has, as Pss counts it."""
    start, end = place(seen[1], seen[2])
    around = [one for one in snapshot.regions if one.start < end and start < one.end]
    share = counts.exclusive * PAGE + (counts.present - counts.exclusive) * PAGE // 2
    beside = more(seen)
    if any(one.anon_huge_pages for one in around):
        # Before Linux 6.11 pagemap shows of a huge page only whether its first page is shared.
        share = sum(one.pss for one in around)
        beside = sum(one.size for one in around) - SIZE
    assert share >= size, f"the {whose}'s fair share of the memory (Pss)"
    assert share <= size + beside, f"the {whose}'s fair share of the memory (Pss)"


# ---- the program ---------------------------------------------------------------------


@points(
    1,
    "copy_on_write waits five times and ends with status 0",
    hint="Only the parent asks. Keep every ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    2,
    "the parent has 8 MiB of private memory, all of it written to",
    hint="mmap with MAP_PRIVATE and MAP_ANONYMOUS, then memset.",
)
def test_memory_is_filled(seen):
    before, after = seen[1], seen[2]
    assert anonymous(after).size - anonymous(before).size >= SIZE
    assert anonymous(after).size - anonymous(before).size <= SIZE + NEAR
    assert anonymous(after).rss - anonymous(before).rss >= SIZE


@points(
    1, "fork makes one child", hint="Does the child exist at the wait after fork? When does it end?"
)
def test_there_is_a_child(seen):
    assert len(seen.look(2).children) == 0, "children before fork"
    assert len(seen.look(3).children) == 1, "children after fork"


@points(
    2,
    "fork copies no page: both processes share all of them",
    hint="Neither process may write to the memory between fork and the next wait.",
    needs=["test_memory_is_filled", "test_there_is_a_child"],
)
def test_fork_copies_nothing(seen):
    child = the_child(seen, 3)
    now = seen.look(3)
    assert now.child.present * PAGE >= SIZE, "bytes of the memory that are resident in the child"
    assert_share(child, now.child, seen, HALF, "child")
    assert_share(seen[3], now.parent, seen, HALF, "parent")


@points(
    2,
    "the child has copies of the 4 MiB that it wrote to, and of no more",
    hint="memset(memory, 'c', SIZE / 2), in the child, after hear().",
    needs="test_fork_copies_nothing",
)
def test_the_child_writes(seen):
    child = the_child(seen, 4)
    own = seen.look(4).child.exclusive * PAGE
    assert own >= HALF, "bytes of the memory that are the child's own (Private_Dirty)"
    assert own <= HALF + more(seen), "bytes of the memory that are the child's own (Private_Dirty)"
    # Pages that the parent writes to become the child's own as well.
    writes = (child - the_child(seen, 3)).minor
    assert writes >= HALF // PAGE, "page faults of the child: the parent wrote in its place"


@points(
    1,
    "each page took one page fault",
    hint="A copy is made at the first write to a page. What does the second one cost?",
    needs="test_the_child_writes",
)
def test_one_fault_each(seen):
    before, after = the_child(seen, 3), the_child(seen, 4)
    assert (after - before).minor >= HALF // PAGE
    # The child also runs code and uses its stack.
    assert (after - before).minor <= HALF // PAGE + 64


@points(
    1,
    "the pages that were copied are the parent's own again, and the rest is shared",
    hint="Pss: private pages count in full, shared ones half. 4 MiB + 4 MiB / 2 is ...",
    needs="test_the_child_writes",
)
def test_fair_shares(seen):
    child, now = the_child(seen, 4), seen.look(4)
    assert_share(child, now.child, seen, HALF + HALF // 2, "child")
    assert_share(seen[4], now.parent, seen, HALF + HALF // 2, "parent")


@points(
    1,
    "nothing is left of the child, and all pages are the parent's own",
    hint="A child that has ended is kept as a zombie until its parent calls waitpid.",
    needs="test_there_is_a_child",
)
def test_the_child_is_reaped(seen):
    assert seen.look(5).children.count(None) == 0, "zombies after the child ended"
    assert len(seen.look(5).children) == 0, "children after the child ended"
    assert seen.look(5).parent.anonymous_shared == 0, "pages that are not the parent's own"


# ---- predictions, by what two processes do on this machine ---------------------------------


@functools.cache
def here():
    """8 MiB in two processes, one of which writes to half of it, on this machine."""

    def look(process):
        return process.process.smaps().filter(start=area.start, end=area.start + SIZE)

    with Specimen() as parent:
        area = parent.mmap(SIZE).mapping
        parent.touch(area)
        child = parent.fork().child
        shared = look(child)
        step = child.touch(area, pages=HALF // PAGE)
        copied, parents = look(child), look(parent)
        return {
            "child_rss": shared.total("rss"),
            "child_pss": shared.total("pss"),
            "faults": step.delta.minor,
            "private_dirty": copied.total("private_dirty"),
            "pss_after": copied.total("pss"),
            "both": copied.total("pss") + parents.total("pss"),
        }


@points(1, "prediction: child_rss", hint="Which pages does the child see?")
def test_predicted_child_rss(submission):
    predicted("child_rss", submission.predictions.size("child_rss"), here()["child_rss"])


@points(1, "prediction: child_pss", hint="A page that two processes share counts half.")
def test_predicted_child_pss(submission):
    predicted("child_pss", submission.predictions.size("child_pss"), here()["child_pss"])


@points(1, "prediction: faults", hint="How many pages are 4 MiB?")
def test_predicted_faults(submission):
    predicted("faults", submission.predictions.integer("faults"), here()["faults"])


@points(1, "prediction: private_dirty", hint="Which pages does no other process map?")
def test_predicted_private_dirty(submission):
    given = submission.predictions.size("private_dirty")
    predicted("private_dirty", given, here()["private_dirty"])


@points(1, "prediction: pss_after", hint="Private pages count in full, shared ones half.")
def test_predicted_pss_after(submission):
    predicted("pss_after", submission.predictions.size("pss_after"), here()["pss_after"])


# ---- quiz: the right answer is the one that holds on this machine --------------------------


@points(1, "quiz: both together", hint="Add Pss of both. Why not Rss?")
def test_quiz_sum_of_pss(submission):
    sums = {"a": 8 * MiB, "b": 12 * MiB, "c": 16 * MiB}
    right = only({letter: size == here()["both"] for letter, size in sums.items()})
    verify(submission, "sum_of_pss", right)


@points(1, "quiz: the parent writes", hint="Move the memset from the child to the parent.")
def test_quiz_parent_writes(submission):
    with Specimen() as parent:
        area = parent.mmap(SIZE).mapping
        parent.touch(area)
        child = parent.fork().child
        step = parent.touch(area, pages=HALF // PAGE)
        regions = parent.process.smaps().filter(start=area.start, end=area.start + SIZE)
        child.close()
    copied = regions.total("private_dirty") == HALF
    right = only({"a": copied and not step.fault, "c": bool(step.fault)})
    verify(submission, "parent_writes", right)


@points(1, "quiz: what the child sees", hint="Print a byte in both.")
def test_quiz_child_sees(submission):
    with Specimen() as parent:
        area = parent.mmap(PAGE).mapping
        parent.touch(area, value=1)
        child = parent.fork().child
        parent.touch(area, value=2)
        with open(f"/proc/{child.pid}/mem", "rb", buffering=0) as file:
            file.seek(area.start)
            found = file.read(1)[0]
    verify(submission, "child_sees", only({"a": found == 2, "b": found == 0, "c": found == 1}))
