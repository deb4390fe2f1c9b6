"""What the commands on the machine print is what their schemas say, and nothing else is."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.schemas import complaints, fits, spoilt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target


@pytest.mark.parametrize(
    "name, words",
    [("top", "top --fast"), ("top by", "top --fast --by user"), ("doctor", "doctor")],
)
def test_live_output(run: Run, name: str, words: str) -> None:
    value = json.loads(run(*words.split(), "--json").out)
    assert value
    assert complaints(name, value) == []


@pytest.mark.parametrize("command", ["cache", "container", "why"])
def test_output_on_a_process(run: Run, target: Target, command: str) -> None:
    ran = run(command, target.pid, "--json")
    if command == "container" and not ran.out.strip("[]\n"):
        pytest.skip(f"no memory control group here: {ran.err}")
    assert complaints(command, json.loads(ran.out)) == []


@pytest.mark.parametrize("command", ["pipes", "shm"])
def test_ipc(run: Run, command: str) -> None:
    ends = os.pipe()
    try:
        value = json.loads(run(command, os.getpid(), "--json").out)
    finally:
        for fd in ends:
            os.close(fd)
    assert complaints(command, value) == []
    if command == "pipes":
        for why, one in spoilt(value):
            assert not fits(command, one), why


def test_size_of_an_archive(run: Run, tmp_path: Path) -> None:
    value = json.loads(run("size", "--format=json", "/proc/self/exe").out)
    assert complaints("size", value) == []
    for why, one in spoilt(value):
        assert not fits("size", one), why
