"""Lines as strace prints them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.targets import PAGE
from tests.support.traced import CALLS, build, command, shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced program counts in pages of 4 KiB")


ADDRESS = re.compile(r"0x[0-9a-f]+")


def plain(lines: Iterator[str]) -> list[str]:
    """Addresses differ from run to run: they are numbered in the order of their coming."""
    return [re.sub("si_pid=[0-9]+", "si_pid=PID", ADDRESS.sub("ADDRESS", line)) for line in lines]


@pytest.mark.parametrize("what", [("everything",), ("many", "20"), ("signals", "2")])
def test_the_lines_are_those_of_strace(program: str, what: tuple[str, ...], tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    theirs = tmp_path / "strace"
    calls = (
        "mmap,munmap,brk,mprotect,madvise,mremap,mlock,mlock2,munlock,mlockall,munlockall,shmat,"
        "shmdt,clone,execve,exit,exit_group"
    )
    done = subprocess.run(
        ["strace", "-X", "abbrev", "-e", f"trace={calls}", "-o", theirs, program, *what],
        check=False, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"strace can't run here: {done.stderr!r}")
    ours = shell("--strace", program, *what)
    told = plain(iter(ours.stderr.splitlines()))
    expected = plain(iter(theirs.read_text().splitlines()))
    # Segments' numbers are new each time, and strace writes unknown advice in its own way.
    unstable = ("shmat", "madvise(ADDRESS, 16384, ADDRESS")
    assert [re.sub(r" +", " ", line) for line in told if not line.startswith(unstable)] == [
        re.sub(r" +", " ", line) for line in expected if not line.startswith(unstable)
    ]
    assert sum(line.startswith("shmat") for line in told) == sum(
        line.startswith("shmat") for line in expected
    )


def test_signals_are_shown_as_strace_shows_them(program: str, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    for words in (["signals", "3"], ["forks", "2"], ["kill", "11"], ["kill", "34"]):
        done = subprocess.run(
            ["strace", "-X", "abbrev", "-e", "trace=none", "-o", tmp_path / "out", program, *words],
            check=False, capture_output=True,
        )  # fmt: skip
        theirs = [
            line
            for line in (tmp_path / "out").read_text().splitlines()
            if line.startswith(("---", "+++"))
        ]
        if not theirs:
            pytest.skip(f"strace can't run here: {done.stderr!r}")
        ours = [
            line
            for line in shell("--strace", program, *words).stderr.splitlines()
            if line.startswith(("---", "+++"))
        ]
        same = [re.sub(r"pid=\d+|time=\d+", "", line) for line in ours]
        assert same == [re.sub(r"pid=\d+|time=\d+", "", line) for line in theirs]


def test_the_new_calls_are_strace_s(place: Path, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    made = build(place, CALLS, name="calls")
    watched = "mbind,remap_file_pages,fallocate,ftruncate,prctl"
    subprocess.run(
        ["strace", "-X", "abbrev", "-e", f"trace={watched}", "-o", tmp_path / "out", made],
        check=False, capture_output=True, timeout=300,
    )  # fmt: skip
    theirs = (tmp_path / "out").read_text().splitlines()
    if not theirs:
        pytest.skip("strace can't run here")
    ours = command("--strace", made).stderr.splitlines()
    for name in ("fallocate", "ftruncate"):
        [mine] = [line for line in ours if line.startswith(f"{name}(")]
        assert re.sub(" +", " ", mine) in [re.sub(" +", " ", line) for line in theirs]
