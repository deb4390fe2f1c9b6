"""Checks of page-tables: arithmetic, predictions, and VmPTE of the live process.

How many tables a step needs follows from the paging scheme of this machine. Predictions are
compared with an idle process of procmem's own that takes the same steps.
"""

import re
from types import SimpleNamespace

import pytest

from procmem import PagingScheme
from procmem.experiments import Specimen
from procmem.grade import PAGE, MiB, SubmissionError, not_possible, points, predicted, verify, walk
from procmem.process.tables import this_machine

PLACE = 1 << 40
EXAMPLE = PLACE + 5 * MiB
PHASES = (
    "at the start", "1: mapped", "2: one byte written", "3: the first table full",
    "4: the other tables", "5: far away", "6: unmapped",
)  # fmt: skip

SLACK = 2 * PAGE
"""Functions of a library that run for the first time may need a table or two of their own."""


@pytest.fixture(scope="module")
def scheme():
    """How this machine splits addresses into indices."""
    found = this_machine()
    if len(found.levels) < 4 or found.address_bits < 42:
        not_possible("this machine has no room at 1 TiB, or fewer than four levels")
    return found


@pytest.fixture(scope="module")
def table(scheme):
    """Bytes of address space that a table of the lowest level covers."""
    return scheme.covers[-2]


@pytest.fixture(scope="module")
def far(scheme):
    """Bytes of address space that a table of the level above covers."""
    return scheme.covers[-3]


@pytest.fixture(scope="module")
def shots(program):
    return walk(program, *PHASES)


def resident(snapshot, start, size):
    """Bytes in memory of the areas in a range."""
    inside = [one for one in snapshot.regions if start <= one.start < start + size]
    return sum(one.rss for one in inside)


@points(
    1,
    "the program waits seven times for Enter, then ends with status 0",
    hint="Leave the calls of wait_for_enter() as they are. What does the program print?",
)
def test_waits(shots):
    shots.require_end()


@points(
    1,
    "1: mapping takes address space, and no table",
    hint="map_at(PLACE, 4 * table), and no access to it yet",
)
def test_mapping(shots, table):
    change = shots[2] - shots[1]
    assert change.vsz == 4 * table
    assert change.after.regions.find(PLACE), "there is no area at PLACE"
    rss = resident(change.after, PLACE, 4 * table)
    assert rss == 0, "bytes in memory there"
    assert change.page_tables <= SLACK, "growth of the page tables"


@points(
    2,
    "2: the first byte takes one page, and a table on each level below the top",
    hint="How many levels does a walk to this address take? None of them had a table for it.",
)
def test_first_byte(shots, scheme, table):
    change = shots[3] - shots[2]
    needed = sum(scheme.table_bytes[1:][-3:])
    rss = resident(change.after, PLACE, 4 * table)
    assert rss == PAGE, "bytes in memory there"
    assert change.page_tables >= needed, "growth of the page tables"
    assert change.page_tables <= needed + SLACK, "growth of the page tables"


@points(
    2,
    "3: the rest of the first table's pages needs no further table",
    hint="The table is there already. Does the loop begin at 0 and end before `table`?",
)
def test_full_table(shots, table):
    change = shots[4] - shots[3]
    rss = resident(change.after, PLACE, 4 * table)
    assert rss == table, "bytes in memory there"
    assert change.page_tables <= SLACK, "growth of the page tables"


@points(
    2,
    "4: three bytes, each where another table is needed",
    hint="near[1 * table], near[2 * table], near[3 * table]: one page and one table each",
)
def test_other_tables(shots, scheme, table):
    change = shots[5] - shots[4]
    needed = 3 * scheme.table_bytes[-1]
    rss = resident(change.after, PLACE, 4 * table) - resident(change.before, PLACE, 4 * table)
    assert rss == 3 * PAGE, "growth of the bytes in memory there"
    assert change.page_tables >= needed, "growth of the page tables"
    assert change.page_tables <= needed + SLACK, "growth of the page tables"


@points(
    2,
    "5: a page far away needs tables on two levels",
    hint="PLACE + next is the first address that no table of the second-lowest level covers.",
)
def test_far_away(shots, scheme, far):
    change = shots[6] - shots[5]
    needed = sum(scheme.table_bytes[-2:])
    assert change.vsz == PAGE
    rss = resident(change.after, PLACE + far, PAGE)
    assert rss == PAGE, "bytes in memory there"
    assert change.page_tables >= needed, "growth of the page tables"
    assert change.page_tables <= needed + SLACK, "growth of the page tables"


@points(
    1,
    "6: munmap frees the tables, too",
    hint="munmap wants the length that was mapped: 4 * table, and one page.",
)
def test_unmapped(shots, far):
    change = shots[7] - shots[1]
    assert shots[6].page_tables > shots[1].page_tables + SLACK, (
        "the page tables before munmap, compared with the start"
    )
    assert change.vsz == 0
    assert change.page_tables <= 2 * SLACK, "growth of the page tables since the start"
    for place in (PLACE, PLACE + far):
        assert change.after.regions.find(place) is None, "what is mapped at PLACE and far away"


# ---- part A: arithmetic --------------------------------------------------------------


def number(said, name):
    """A size or a number, also "2^20"."""
    try:
        return said.size(name)
    except SubmissionError:
        written = said.entries.get(name)
        power = isinstance(written, str) and re.fullmatch(
            r"\s*(\d{1,4})\s*\^\s*(\d{1,3})\s*", written
        )
        if not power:
            raise
        return int(power[1]) ** int(power[2])


def agree(submission, **expected):
    """Compares predictions with the computed numbers, which are not shown."""
    said = submission.predictions
    for name, right in expected.items():
        predicted(name, number(said, name), right)


@points(1, "part A: how many pages", hint="Divide the addresses by the bytes of a page.")
def test_pages(submission):
    agree(
        submission,
        pages_32=PagingScheme([20], page_size=4096).pages,
        pages_64=PagingScheme([52], page_size=4096).pages,
    )


@points(1, "part A: one table for all pages", hint="Pages times bytes of an entry.")
def test_single_table(submission):
    agree(
        submission,
        table_32=PagingScheme([20], page_size=4096, entry_size=4).single_level_size,
        table_64=PagingScheme([52], page_size=4096, entry_size=8).single_level_size,
    )


@points(1, "part A: the offset", hint="256 is 2^8: which bits of the address are the offset?")
def test_offset(submission):
    scheme = PagingScheme([24], page_size=256)
    agree(submission, offset=scheme.split(0b11110000111100001111000010101010).offset)


@points(1, "part A: indices of two levels", hint="Cut the address into 10, 10 and 12 bits.")
def test_indices(submission):
    scheme = PagingScheme([10, 10], page_size=4096)
    first, second = scheme.split(0b11110000111111110000000010101010).indices
    agree(submission, directory_index=first, subtable_index=second)


@points(1, "part A: sizes of the tables", hint="Ten bits of index are 1,024 entries.")
def test_table_sizes(submission):
    scheme = PagingScheme([10, 10], page_size=4096, entry_size=[2, 4])
    directory, subtable = scheme.table_bytes
    # A low range for the program, a high one for the stack.
    small = scheme.tables_needed([(0, 4096), ((1 << 32) - 4096, 1 << 32)])
    agree(
        submission,
        directory_size=directory,
        subtable_size=subtable,
        subtable_covers=scheme.covers[0],
        small_process=small.size_in_frames,
    )


@points(1, "part A: accesses", hint="Each level is read, and then the memory itself.")
def test_accesses(submission):
    agree(
        submission,
        accesses_one_level=PagingScheme([20]).accesses,
        accesses_two_levels=PagingScheme([10, 10]).accesses,
    )


# ---- part B and C: this machine --------------------------------------------------------


@points(
    1, "part B: what a table of the lowest level covers", hint="Entries of a table times a page."
)
def test_table_covers(submission, table):
    agree(submission, table_covers=table)


@points(
    1,
    "part B: the indices of 1 TiB + 5 MiB",
    hint="9 bits for each level if pages have 4 KiB: 47 to 39, 38 to 30, 29 to 21, 20 to 12.",
)
def test_live_indices(submission, scheme):
    said = submission.predictions.entries.get("indices")
    if not isinstance(said, list) or not said:
        raise SubmissionError("predictions.toml: write indices as a list: indices = [1, 2, ...]")
    predicted("indices", said, list(scheme.split(EXAMPLE).indices))


@pytest.fixture(scope="module")
def steps(table, far):
    """How the page tables of an idle process change at the same steps."""
    with Specimen() as one:
        first = one.mmap(length=4 * table, address=PLACE)
        near = first.mapping
        found = [
            first.delta.page_tables,
            one.touch(near, pages=1).delta.page_tables,
            one.touch(near, pages=table // PAGE).delta.page_tables,
            sum(one.touch(near, start=i * table // PAGE, pages=1).delta.page_tables
                for i in (1, 2, 3)),
        ]  # fmt: skip
        away = one.mmap(pages=1, address=PLACE + far).mapping
        found.append(one.touch(away).delta.page_tables)
        found.append(sum(one.munmap(area).delta.page_tables for area in (near, away)))
    return SimpleNamespace(changes=found)


@points(
    3,
    "part C: VmPTE at each step",
    hint="Each new table is one page. Which tables are there already at each step?",
)
def test_predicted_steps(submission, steps):
    agree(submission, **{f"step_{i}": change for i, change in enumerate(steps.changes, 1)})


# ---- quiz ------------------------------------------------------------------------------


@points(1, "quiz: page tables and RSS", hint="grep -e VmPTE -e VmRSS /proc/PID/status")
def test_quiz_rss(submission):
    with Specimen() as one:
        step = one.touch(one.mmap(pages=1, place="slot").mapping)
    right = "b" if step.delta.page_tables > 0 and step.delta.rss == PAGE else "a"
    verify(submission, "rss", right)


@points(1, "quiz: reading new pages", hint="Try it: read each page of an area, and compare.")
def test_quiz_zeros(submission):
    with Specimen() as one:
        step = one.read(one.mmap(pages=1000, place="slot").mapping)
    right = "a" if step.delta.rss else "c" if step.delta.page_tables else "b"
    verify(submission, "zeros", right)


@points(1, "quiz: the TLB", hint="An entry of the TLB holds the translation of one page.")
def test_quiz_tlb(submission, scheme):
    reach = scheme.tlb_reach(64)
    right = {64 * PAGE: "a", 64 * scheme.covers[-2]: "b", 64: "c"}[reach]
    verify(submission, "tlb", right)
