"""procmem why: sentences, a table of those who wait, JSON."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.blocking import Children, needs_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run

pytestmark = needs_calls


@pytest.fixture
def stuck() -> Iterator[int]:
    """A process that reads from itself."""
    with Children() as children:
        read, write = children.pipe()
        child = children.start(lambda: os.read(read, 1), "read")
        children.close(read)
        children.close(write)
        yield child


def test_a_hung_process_is_explained(run: Run, stuck: int) -> None:
    ran = run("why", stuck)
    assert ran.status == 0
    said = " ".join(ran.out.split("\n\n")[0].split())
    assert said.startswith(f"{stuck} (")
    assert f"its only writer is {stuck} itself. So {stuck} waits for itself" in said
    assert "close the write end (descriptor" in said


def test_json_has_the_verdict(run: Run, stuck: int) -> None:
    found = json.loads(run("why", stuck, "--json").out)
    assert found["deadlock"] is True
    assert found["pid"] == stuck
    assert found["deadlocks"] == [[stuck]]
    assert found["waits"][0]["holders"] == [stuck]
    assert "will wait for ever" in found["why"]


def test_it_fits_a_narrow_terminal(run: Run, stuck: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = run("why", stuck)
    assert max(map(len, ran.out.splitlines())) <= 80


def test_no_process_is_an_error(run: Run, stuck: int) -> None:
    assert run("why", 1 << 22).status == 1
    assert run("why").status == 2
    assert run("why", stuck, "--columns", "nothing").status == 2
    assert run("why", stuck, "--columns", "pid,on").status == 0
