"""leaks: what a program allocates and never gives back."""

import os
from typing import NamedTuple

import pytest

from procmem.grade import PAGE, KiB, Submission, anonymous, heap, not_possible, points
from procmem.grade.quiz import verify
from procmem.grade.walking import walk

BLOCK, BLOCKS = 32 * KiB, 10
TABLE = 4 * KiB
MAPPING = 64 * PAGE
ANSWERS = ["", "", ""]


class Lost(NamedTuple):
    """What is left at the end, by the part of the program that allocated it."""

    blocks: int
    tables: int
    others: int
    errors: dict


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
def lost(program):
    """What valgrind tells. All friends and names together are smaller than a table."""
    found = program.leaks(answers=ANSWERS)
    kinds = found.definitely, found.indirectly, found.possibly, found.reachable
    blocks, rest = divmod(sum(kind.bytes for kind in kinds), BLOCK)
    return Lost(blocks, *divmod(rest, TABLE), found.errors)


@points(
    1,
    "leaks waits three times and ends with status 0",
    hint="Keep every ask(), and return 0 from main. A double free ends a program early.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    1,
    "it still allocates and writes all that it did",
    hint="What is never allocated can't leak, but that is not the way. Leave make_...() alone.",
)
def test_still_allocates(seen):
    before, after = seen[1], seen[2]
    assert heap(after).rss - heap(before).rss >= BLOCKS * BLOCK
    assert anonymous(after).rss - anonymous(before).rss >= MAPPING


@points(
    2,
    "the ten blocks are freed",
    hint="valgrind --leak-check=full ./leaks",
    needs="test_still_allocates",
)
def test_blocks_are_freed(lost):
    assert lost.blocks == 0, "blocks of 32 KiB that are left at the end"


@points(
    2,
    "the friends and their names are freed",
    hint="A list is freed node by node. What does a node hold that malloc gave?",
    needs="test_still_allocates",
)
def test_friends_are_freed(lost):
    assert lost.others == 0, "bytes of friends and names that are left at the end"


@points(
    2,
    "the table is freed",
    hint="valgrind --leak-check=full --show-leak-kinds=all ./leaks",
    needs="test_still_allocates",
)
def test_table_is_freed(lost):
    assert lost.tables == 0, "tables of 4 KiB that are left at the end"


@points(
    2,
    "the mapping is unmapped",
    hint="valgrind doesn't tell. Compare VSZ, or /proc/PID/maps, at the last two waits.",
    needs="test_still_allocates",
)
def test_mapping_is_unmapped(seen):
    before, after = seen[2], seen[3]
    assert anonymous(before).size - anonymous(after).size >= MAPPING


@points(
    1,
    "nothing is used after it was freed, or freed twice",
    hint="valgrind ./leaks tells of each. Is friends->next read before or after free(friends)?",
    needs="test_still_allocates",
)
def test_no_memory_is_misused(lost):
    assert sorted(lost.errors) == [], "errors that valgrind reports"


# ---- quiz: what valgrind says of the program as it was handed out --------------------------


@pytest.fixture(scope="module")
def handed_out(submission):
    starter = os.path.join(os.path.dirname(__file__), "starter")
    with Submission(
        starter, build=["make"], program=["./leaks"], sandbox=submission.sandbox
    ) as original:
        return original.program().leaks(answers=ANSWERS)


def only(holds):
    """The one answer that holds."""
    found = [letter for letter, right in holds.items() if right]
    if len(found) != 1:
        not_possible("none of the answers holds on this machine")
    return found[0]


def kinds_of(leaks, function):
    """How valgrind reports what a function of the program allocated."""
    return {place.kind for place in leaks.places if place.place.startswith(f"{function} ")}


@points(1, "quiz: definitely lost", hint="The line `definitely lost:` of valgrind's summary.")
def test_quiz_blocks(submission, handed_out):
    counts = {"a": 1, "b": 9, "c": 10, "d": 49}
    right = only({letter: n == handed_out.definitely.blocks for letter, n in counts.items()})
    verify(submission, "blocks", right)


@points(1, "quiz: the friends", hint="Who points to a name? And who points to that?")
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
