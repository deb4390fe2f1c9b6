"""The README's examples for engineers, students and instructors, run from `pip install` on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.labs import find
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)

ENDS = {"procmem lab check my-demo": 1}
"""Exit statuses other than 0: the starter of a lab does not pass its checks."""


def test_there_is_one_for_each_of_the_three() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(BLOCKS) == 3
    assert re.findall(r"^\*\*(\w+)\*\*", text, re.M)[:3] == ["Engineers", "Students", "Instructors"]
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M))
    for block in BLOCKS:
        first = block.splitlines()[0]
        found = re.fullmatch(r"pip install '?procmem-live(?:\[(\w+)\])?'?", first)
        assert found, first
        assert found[1] is None or found[1] in extras


@pytest.mark.parametrize("number", range(3))
def test_it_runs(number: int, tmp_path: Path) -> None:
    """Each line in one shell, as it stands there; what pip would have installed is on PATH."""
    home = tmp_path / "bin"
    home.mkdir()
    command = home / "procmem"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m procmem "$@"\n')
    command.chmod(0o755)
    shutil.copytree(find("mmap-demo").directory / "solution", tmp_path / "handed-in" / "ada")
    script = ""
    for line in BLOCKS[number].splitlines()[1:]:
        words = line.partition("#")[0].strip()
        script += f"{words}\nstatus=$?\n[ $status = {ENDS.get(words, 0)} ] || exit $status\n"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path, env={**os.environ, "PATH": f"{home}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    wanted = ("heap", "lazy", "ada")[number]
    assert wanted in done.stdout.lower()
