"""procmem shm: a sentence, a row for each segment, the same as JSON."""

from __future__ import annotations

import json
import mmap
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.targets import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run


@pytest.fixture
def orphan() -> Iterator[str]:
    path = f"/dev/shm/{machine.MARK}{os.getpid()}-shm"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, bytes(1 << 20))
    os.close(fd)
    yield path
    os.unlink(path)


def test_what_nobody_uses_is_named_with_the_way_to_remove_it(run: Run, orphan: str) -> None:
    ran = run("shm")
    assert ran.status == 0
    sentence = " ".join(ran.out.split("\n\n")[0].split())
    assert "used by no process" in sentence
    (row,) = [line for line in ran.out.splitlines() if orphan in line and "POSIX" in line]
    assert "leaked" in row
    assert "1024" in row.split()


def test_json_and_one_process(run: Run, orphan: str) -> None:
    with mmap.mmap(-1, 8192) as memory:
        memory[0] = 1
        found = json.loads(run("shm", "--json").out)
        (left,) = [one for one in found["segments"] if one["name"] == orphan]
        assert (left["orphan"], left["leaked"], left["size"]) == (True, True, 1 << 20)
        mine = json.loads(run("shm", os.getpid(), "--json").out)
        assert orphan not in [one["name"] for one in mine["segments"]]
        assert "anonymous" in [one["kind"] for one in mine["segments"]]


def test_it_fits_a_narrow_terminal(run: Run, orphan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = run("shm")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert run("shm", "--columns", "nothing").status == 2
    assert run("shm", "--units", "MiB").status == 0
