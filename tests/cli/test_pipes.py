"""procmem pipes: a sentence, a row for each end, the same as JSON."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.blocking import Children, needs_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


@needs_calls
def test_a_full_pipe_and_its_blocked_writer(run: Run, children: Children) -> None:
    _, write = children.pipe()
    child = children.start(lambda: os.write(write, bytes(1 << 20)), "write")
    inode = os.fstat(write).st_ino
    ran = run("pipes", child)
    assert ran.status == 0
    sentence = " ".join(ran.out.split("\n\n")[0].split())
    assert f"{child} (" in sentence
    assert f"writes to pipe {inode}" in sentence
    (row,) = [line for line in ran.out.splitlines() if line.startswith(str(inode))]
    assert "full" in row
    assert str(os.getpid()) in ran.out


def test_json_has_every_field(run: Run, children: Children) -> None:
    read, write = children.pipe()
    os.write(write, b"abc")
    found = json.loads(run("pipes", "--json", os.getpid()).out)
    (pipe,) = [one for one in found["pipes"] if one["inode"] == os.fstat(read).st_ino]
    assert pipe["waiting"] == 3
    assert [end["fd"] for end in pipe["readers"]] == [read]
    assert pipe["readers"][0]["close_on_exec"] is True
    assert pipe["blocked"] == []
    assert found["denied"] == [] or os.geteuid() != 0


def test_all_pipes_fit_a_narrow_terminal(
    run: Run, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    children.pipe()
    monkeypatch.setenv("COLUMNS", "80")
    ran = run("pipes")
    assert ran.status == 0
    assert max(map(len, ran.out.splitlines())) <= 80


def test_columns_are_chosen(run: Run, children: Children) -> None:
    children.pipe()
    ran = run("pipes", os.getpid(), "--columns", "pid,fd")
    assert "PID" in ran.out
    assert "Capacity" not in ran.out
    assert run("pipes", "--columns", "nothing").status == 2
    assert run("pipes", "--columns", "pid", "--json").status == 2
