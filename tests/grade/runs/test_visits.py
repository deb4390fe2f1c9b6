"""Programs seen at each wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.grade import (
    AsksAgain,
    Limits,
    ProgramCrashed,
    ProgramEnded,
    RunFailed,
    Sandbox,
    Submission,
    SubmissionError,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from procmem.grade import Walk

ASKS = "import sys\nfor _ in range(int(sys.argv[1])): input()\nsys.exit(int(sys.argv[2]))\n"


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    (tmp_path / "asks.py").write_text(ASKS)
    sandbox = Sandbox(limits=Limits(wall=120))
    return Submission(tmp_path, program=["python3", "asks.py"], sandbox=sandbox)


def test_a_program_is_seen_at_each_wait(submission: Submission) -> None:
    with submission:
        seen = walk(
            submission.program(),
            "first",
            "second",
            arguments=["2", "3"],
            look=lambda run: len(run.phases),
        )
    assert [name for name, _ in seen.phases] == ["first", "second"]
    assert seen[1] is seen.phases[0][1]
    assert seen[2].vsz > 0
    assert (seen.look(1), seen.look(2)) == (1, 2)
    assert seen.ended.status == 3
    assert seen.failure is None


def test_what_it_never_came_to_says_why(submission: Submission) -> None:
    with submission:
        seen = walk(submission.program(), "first", "second", arguments=["1", "0"])
    assert seen[1].vsz > 0
    for ask in (lambda: seen[2], lambda: seen.look(2), lambda: seen.ended):
        with pytest.raises(ProgramEnded, match="status 0"):
            ask()


@pytest.mark.parametrize("waits, words", [("3", "waits 3 times"), ("5", "waits 5 times")])
def test_a_wait_too_many_is_no_end(submission: Submission, waits: str, words: str) -> None:
    with submission:
        seen = walk(submission.program(), "first", "second", arguments=[waits, "0"])
    assert seen[2].vsz > 0
    with pytest.raises(AsksAgain, match=f"wait for input 2 times, but {words}") as caught:
        seen.ended  # noqa: B018 - it raises
    assert caught.value.waits == int(waits)


def test_waiting_on_and_on_has_a_bound(submission: Submission) -> None:
    with submission:
        seen = walk(submission.program(), "first", arguments=["1000", "0"])
    with pytest.raises(AsksAgain, match="waits 11 or more times"):
        seen.ended  # noqa: B018 - it raises


def test_a_wait_that_nobody_asked_for_is_a_mistake_of_the_check(submission: Submission) -> None:
    with submission:
        seen = walk(submission.program(), "first", arguments=["1", "0"])
    for number in (-1, 0, 2):
        with pytest.raises(IndexError, match="from 1 to 1"):
            seen[number]
        with pytest.raises(IndexError, match="from 1 to 1"):
            seen.look(number)


# ---- scripts of a shell ----

NAMES = ("first", "second", "third")


@pytest.fixture
def walked(tmp_path: Path) -> Iterator[Callable[[str], Walk]]:
    with Submission(tmp_path) as submission:
        yield lambda script: walk(submission.program(["sh", "-c", script]), *NAMES)


def test_a_run_to_its_end(walked: Callable[[str], Walk]) -> None:
    seen = walked("echo begun; read a; read a; read a; echo done")
    seen.require_end()
    assert len(seen) == 3
    assert seen.ended.status == 0
    assert seen.output.split() == ["begun", "done"]
    assert (seen[3] - seen[1]).vsz == 0
    assert seen[1].identity.pid == seen[3].identity.pid


def test_what_comes_after_a_failure_says_why(walked: Callable[[str], Walk]) -> None:
    seen = walked("read a; read a; kill -SEGV $$")
    assert seen[1].vsz > 0
    assert seen[2].vsz > 0
    for ask in (lambda: seen[3], seen.require_end):
        with pytest.raises(ProgramCrashed) as caught:
            ask()
        assert caught.value.phase == "after the 2nd answer"


def test_a_status_that_is_not_zero_is_no_success(walked: Callable[[str], Walk]) -> None:
    with pytest.raises(RunFailed, match="status 3"):
        walked("read a; read a; read a; exit 3").require_end()


def test_waits_are_renumbered(walked: Callable[[str], Walk]) -> None:
    seen = walked("read a; read a; exit 3")
    later, earlier = seen.shifted(1), seen.shifted(-1)
    assert later[1] is seen[2]
    assert earlier[2] is seen[1]
    for ask in (lambda: later[2], lambda: later.ended):
        with pytest.raises(ProgramEnded):
            ask()
    with pytest.raises(SubmissionError, match="did not reach this wait"):
        earlier[1]
