"""leaks: what a program allocates and never gives back."""

import os
from typing import NamedTuple

import pytest

from procmem.grade import (
    PAGE,
    KiB,
    Leaks,
    Submission,
    anonymous,
    heap,
    only,
    pieces,
    points,
    verify,
    walk,
)

BLOCK, BLOCKS = 32 * KiB, 10
FRIENDS = 20
TABLE = 4 * KiB
BUFFER = 1 * KiB
"""A buffer of stdio; stdin and stdout have one each, which the library frees only for valgrind."""
MAPPING = 64 * PAGE
ANSWERS = ["", "", ""]


class Lost(NamedTuple):
    """What is left at the end, by the part of the program that allocated it."""

    blocks: int
    tables: int
    others: int
    found: Leaks

    def places(self, least, most):
        """Where the blocks of a size that are left were allocated, as valgrind reports it."""
        at = [
            leak.place
            for leak in self.found.places
            if leak.place and least <= leak.bytes // max(leak.blocks, 1) < most
        ]
        return f": allocated in {', '.join(dict.fromkeys(at))}" if at else ""


@pytest.fixture(scope="module")
def seen(program):
    """The program at its three waits: seen[1] to seen[3]."""
    return walk(
        program,
        "at the start",
        "after everything was allocated",
        "after everything was given back",
    )


@pytest.fixture(scope="module")
def traced(program):
    """What the program asks malloc for, and never frees, as it runs alone; None: can't be seen."""
    return pieces(program, answers=ANSWERS)


@pytest.fixture(scope="module")
def lost(program, traced):
    """What is left at the end, by valgrind's count or in a run without valgrind: the larger one.

    So a program gains nothing if it frees its memory only under valgrind.
    """
    found = program.leaks(answers=ANSWERS)
    kinds = found.definitely, found.indirectly, found.possibly, found.reachable
    # All friends and names together are smaller than a table.
    blocks, rest = divmod(sum(kind.bytes for kind in kinds), BLOCK)
    tables, others = divmod(rest, TABLE)
    if traced is not None:
        left = list(traced.left)
        for _ in ("stdin", "stdout"):
            if BUFFER in left:
                left.remove(BUFFER)
        blocks = max(blocks, sum(size // BLOCK for size in left))
        tables = max(tables, sum(TABLE <= size < BLOCK for size in left))
        others = max(others, sum(size for size in left if size < TABLE))
    return Lost(blocks, tables, others, found)


@points(
    1,
    "leaks waits three times and ends with status 0",
    hint="Keep every ask(), and return 0 from main. A double free ends a program early.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    1,
    "the program still allocates and writes as much as before",
    hint="What is never allocated can't leak, but that is no solution. Leave make_...() alone.",
)
def test_still_allocates(seen, traced):
    before, after = seen[1], seen[2]
    assert heap(after).rss - heap(before).rss >= BLOCKS * BLOCK
    assert anonymous(after).rss - anonymous(before).rss >= MAPPING
    if traced is not None:
        # Leaks in an allocator of the program's own would not be found by valgrind.
        assert sum(size >= BLOCK for size in traced.asked) >= BLOCKS, "mallocs of 32 KiB"
        assert sum(size < BUFFER for size in traced.asked) >= 2 * FRIENDS, "mallocs for friends"
        assert any(TABLE <= size < BLOCK for size in traced.asked), "a malloc for the table"


@points(
    2,
    "the ten blocks are freed",
    hint="valgrind --leak-check=full ./leaks",
    needs="test_still_allocates",
)
def test_blocks_are_freed(lost):
    where = lost.places(BLOCK, 2 * BLOCK)
    assert lost.blocks == 0, f"blocks of 32 KiB that are left at the end{where}"


@points(
    2,
    "the friends and their names are freed",
    hint="A list is freed node by node. What in a node came from malloc?",
    needs="test_still_allocates",
)
def test_friends_are_freed(lost):
    where = lost.places(0, TABLE)
    assert lost.others == 0, f"bytes of friends and names that are left at the end{where}"


@points(
    2,
    "the table is freed",
    hint="valgrind --leak-check=full --show-leak-kinds=all ./leaks",
    needs="test_still_allocates",
)
def test_table_is_freed(lost):
    where = lost.places(TABLE, BLOCK)
    assert lost.tables == 0, f"tables of 4 KiB that are left at the end{where}"


@points(
    2,
    "the mapping is unmapped",
    hint="valgrind doesn't report mappings. Compare VSZ, or /proc/PID/maps, at the last two waits.",
    needs="test_still_allocates",
)
def test_mapping_is_unmapped(seen):
    before, after = seen[2], seen[3]
    assert anonymous(before).size - anonymous(after).size >= MAPPING


@points(
    1,
    "nothing is used after it was freed, or freed twice",
    hint="valgrind ./leaks reports each. Is friends->next read before or after free(friends)?",
    needs="test_still_allocates",
)
def test_no_memory_is_misused(lost):
    said = [f"{one.what} in {one.place or 'a library'}" for one in lost.found.misuses[:3]]
    assert len(lost.found.misuses) == 0, f"errors that valgrind reports: {'; '.join(said)}"


# ---- quiz: what valgrind says of the program as it was handed out --------------------------


@pytest.fixture(scope="module")
def handed_out(submission):
    starter = os.path.join(os.path.dirname(__file__), "starter")
    with Submission(
        starter, build=["make"], program=["./leaks"], sandbox=submission.sandbox
    ) as original:
        # A stale copy of a pointer in a register or on the stack makes valgrind report a lost
        # block as possibly lost. That hides lost blocks, and never adds any.
        runs = [original.program().leaks(answers=ANSWERS) for _ in range(3)]
    return max(runs, key=lambda found: (found.definitely.blocks, found.indirectly.blocks))


def kinds_of(leaks, function):
    """How valgrind reports what a function of the program allocated."""
    return {place.kind for place in leaks.places if place.place.startswith(f"{function} ")}


@points(1, "quiz: definitely lost", hint="The line `definitely lost:` of valgrind's summary.")
def test_quiz_blocks(submission, handed_out):
    counts = {"a": 1, "b": 9, "c": 10, "d": 49}
    right = only({letter: n == handed_out.definitely.blocks for letter, n in counts.items()})
    verify(submission, "blocks", right)


@points(1, "quiz: the friends", hint="What points to a name? And what points to that?")
def test_quiz_friends(submission, handed_out):
    letters = {"definitely": "a", "indirectly": "b", "reachable": "c"}
    names = kinds_of(handed_out, "make_name")
    verify(submission, "friends", only({letters[kind]: True for kind in names}))


@points(1, "quiz: the table", hint="--show-leak-kinds=all")
def test_quiz_table(submission, handed_out):
    letters = {"definitely": "a", "possibly": "b", "reachable": "c"}
    kinds = kinds_of(handed_out, "make_table")
    verify(submission, "table", only({letters[kind]: True for kind in kinds}))


@points(1, "quiz: the mapping", hint="Look for 262,144 bytes in what valgrind prints.")
def test_quiz_mapping(submission, handed_out):
    letters = {"definitely": "a", "indirectly": "b", "reachable": "c"}
    kinds = [place.kind for place in handed_out.places if place.bytes == MAPPING]
    holds = {letters[kind]: True for kind in kinds} or {"d": True}
    verify(submission, "mapping", only(holds))
