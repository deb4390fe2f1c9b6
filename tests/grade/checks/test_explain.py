"""Failed checks in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    KiB,
)
from procmem.grade.checks import explain as ex

if TYPE_CHECKING:
    from procmem.snapshots import Snapshot


def told(
    source: str, comparisons: list[tuple[str, object, object]], **variables: object
) -> ex.Explained:
    """What is told of the only assertion in a source."""
    line = next(i for i, line in enumerate(source.splitlines(), 1) if "assert" in line)
    return ex.explain(
        AssertionError("assert ..."),
        [ex.Compared(*one) for one in comparisons],
        source,
        line,
        variables,
        lambda shot: "a phase",
        {},
    )


@pytest.mark.parametrize(
    "assertion, op, left, right, expected, seen",
    [
        ("delta.vsz == 4 * KiB", "==", 139264, 4096, "4 KiB", "136 KiB"),
        ("delta.vsz <= 4 * KiB", "<=", 139264, 4096, "at most 4 KiB", "136 KiB"),
        ("4 * KiB >= delta.vsz", ">=", 4096, 139264, "at most 4 KiB", "136 KiB"),
        ("4 * KiB == delta.vsz", "==", 4096, 139264, "4 KiB", "136 KiB"),
        ("delta.vsz > 0", ">", 0, 0, "more than 0", "0"),
        ("delta.vsz == -PAGE", "==", 0, -4096, "-4 KiB", "0"),
        ("delta.rss == 100", "==", 4096, 100, "100 bytes", "4,096 bytes"),
        ("delta.minor == 1024", "==", 2048, 1024, "1024", "2048"),
        ("delta.rss // PAGE == 1024", "==", 2048, 1024, "1024", "2048"),
        ("len(regions(s)) == 1", "==", 2048, 1, "1", "2048"),
        ("max(r.size for r in s.regions) >= 65536", ">=", 4096, 65536, "at least 64 KiB", "4 KiB"),
        ("run.output == 'x'", "==", "y", "x", "x", "y"),
        ("'libm' in libraries(s)", "in", "libm", ("libc", "ld"), "one of libc, ld", "libm"),
        ("found is not None", "is not", None, None, "anything but None", "None"),
        ("status != 0", "!=", 0, 0, "anything but 0", "0"),
        ("many == 123456", "==", 0, 123456, "123,456", "0"),
    ],
)
def test_what_was_expected_and_seen(
    assertion: str, op: str, left: object, right: object, expected: str, seen: str
) -> None:
    story = told(f"def test_it():\n    assert {assertion}\n", [(op, left, right)])
    assert (story.expected, story.seen) == (expected, seen)
    assert story.message is None
    # What stands in a check is nobody's business: words, or nothing.
    assert story.what is None or not set(story.what) & set("()[]_.=")


@pytest.mark.parametrize(
    "assertion, op, left, right, expected, seen",
    [
        ("4 <= delta.minor < 10", "<=", 4, 2, "at least 4", "2"),
        ("4 <= delta.minor < 10", "<", 12, 10, "less than 10", "12"),
        ("r.start == where.address", "==", 4096, 1 << 20, "0x100000", "0x1000"),
        ("r.end - r.start == 8192", "==", 4096, 8192, "8 KiB", "4 KiB"),
    ],
)
def test_chains_and_addresses(
    assertion: str, op: str, left: object, right: object, expected: str, seen: str
) -> None:
    story = told(f"def test_it():\n    assert {assertion}\n", [(op, left, right)])
    assert (story.expected, story.seen) == (expected, seen)


@pytest.mark.parametrize(
    "assertion, words",
    [
        ("(after - before).vsz == 4", "change of VSZ"),
        ("change.vsz == 4", "change of VSZ"),
        ("heap(after).size - heap(before).size == 4", "change of the size of the heap"),
        ("anonymous(s).rss == 4", "RSS of anonymous mappings"),
        ("len(threads(s)) == 4", "number of threads"),
        ("grown == 4", "change of the size of the heap"),
        ("here()['secret'] == 4", None),
    ],
)
def test_what_was_measured_is_said_in_words(assertion: str, words: str | None) -> None:
    source = f"""
def test_it():
    change = after - before
    grown = heap(after).size - heap(before).size
    assert {assertion}
"""
    assert told(source, [("==", 1, 4)]).what == words


def test_what_is_expected_may_stand_on_the_left(shots: list[Snapshot]) -> None:
    source = "def test_it():\n    assert wanted == (after - before).vsz\n"
    story = told(source, [("==", 4096, 8192)], wanted=4096, before=shots[0], after=shots[1])
    assert (story.expected, story.seen) == ("4 KiB", "8 KiB")


def test_units_are_found_through_assignments() -> None:
    source = """
SIZE = 64 * KiB

def test_it():
    before, after = bss(one).rss, bss(two).rss
    assert after >= SIZE, "of bss"
"""
    story = told(source, [(">=", 4096, 65536)])
    assert (story.expected, story.seen) == ("at least 64 KiB", "4 KiB")


def test_an_assertion_without_a_comparison_shows_no_code() -> None:
    story = told("def test_it():\n    assert any(r.perms.write for r in found)\n", [])
    assert story.message == "the statement in the title of this check does not hold"
    assert (story.expected, story.seen, story.what) == (None, None, None)
    story = told("def t():\n    assert not found, 'areas of hello.py'\n", [])
    assert "found" not in (story.message or "")


def test_the_comparison_that_failed_is_told() -> None:
    story = told("def test_it():\n    assert a == 1 and b == 2\n", [("==", 1, 1), ("==", 3, 2)])
    assert (story.expected, story.seen) == ("2", "3")


@pytest.fixture(scope="module")
def shots() -> list[Snapshot]:
    """Of a process that maps four pages, then touches one."""
    with Specimen() as one:
        found = [one.process.snapshot()]
        step = one.mmap(pages=4)
        found.append(one.process.snapshot())
        assert step.mapping is not None
        one.touch(step.mapping, pages=1)
        found.append(one.process.snapshot())
    return found


def test_the_cause_is_likely_where_it_makes_up_the_difference(shots: list[Snapshot]) -> None:
    before, after, _ = shots
    source = "def test_it():\n    assert (after - before).vsz == 0\n"
    story = told(source, [("==", 4 * PAGE, 0)], before=before, after=after)
    assert story.phase == "a phase"
    assert (story.cause or "").startswith(
        f"likely: +{4 * PAGE // KiB} KiB of VSZ: anonymous memory"
    )
    # 1 page is expected and 4 are seen: the 4 do not make up the 3.
    source = "def test_it():\n    assert (after - before).vsz == PAGE\n"
    story = told(source, [("==", 4 * PAGE, PAGE)], before=before, after=after)
    assert (story.cause or "").startswith("what changed: ")


def test_snapshots_are_found_in_variables_and_structures(shots: list[Snapshot]) -> None:
    class Phases:
        first, second = shots[0], shots[1]

    for assertion in (
        "regions(phases.second) == regions(phases.first)",
        "shots[1].vsz == shots[0].vsz",
        "grown == 0",
    ):
        story = told(
            f"def test_it():\n    assert {assertion}\n",
            [("==", 1, 0)],
            phases=Phases(),
            shots=shots,
            one=shots[0],
            two=shots[1],
        )
        assert story.phase == "a phase"
        assert "mapped" in (story.cause or ""), assertion


def test_what_stands_in_an_assertion_is_not_called_again(shots: list[Snapshot]) -> None:
    def call() -> None:
        pytest.fail("called")

    source = "def test_it():\n    assert call().vsz == taken[call()] == (after - before).rss\n"
    told(source, [("==", 1, 0)], call=call, taken={}, before=shots[0], after=shots[1])


@given(st.recursive(st.none() | st.text() | st.integers() | st.binary(), st.lists))
def test_any_value_is_told_in_a_line(value: object) -> None:
    line = ex.short(value)
    assert "\n" not in line
    assert len(line) <= ex.LONGEST


def test_objects_are_told_by_what_they_are(shots: list[Snapshot]) -> None:
    assert "VSZ" in ex.short(shots[0])
    assert "changes" in ex.short(shots[1] - shots[0])
    assert "regions" in ex.short(shots[0].regions)
    assert "KiB" in ex.short(shots[0].regions[0])
    assert ex.short(object()) == "a object"
    assert ex.short([]) == "nothing"

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert ex.short(Broken()) == "a Broken"
