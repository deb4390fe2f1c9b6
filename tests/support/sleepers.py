"""Programs that only sleep, under names of the caller's choice; what is saved of a process."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import procmem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def sleepers(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts a program that sleeps; gives its PID once it is that program."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*words: str, executable: str | None = None) -> int:
        process = subprocess.Popen(words, executable=executable, cwd=tmp_path)
        started.append(process)
        wanted = words[0].encode()
        place = Path(f"/proc/{process.pid}")
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            line = (place / "cmdline").read_bytes()
            named = line.startswith(wanted) or (line and executable is None and len(words) > 1)
            # execve(2) writes the command line before it moves the stack to its place.
            state = (place / "stat").read_text().rpartition(")")[2].split()[0]
            if named and state == "S":
                return process.pid
            time.sleep(0.01)
        raise AssertionError(f"{words} has not come to sleep")

    yield begin
    for process in started:
        process.kill()
        process.wait()


def copied(tmp_path: Path, name: str) -> str:
    """A program of a name of our own that sleeps."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    path = tmp_path / name
    shutil.copy(sleep, path)
    return str(path)


def save_process(pid: int, tmp_path: Path) -> Path:
    """A directory with a snapshot, a text of smaps and a tree of one process."""
    procmem.Process(pid).snapshot().save(tmp_path / "one.snap")
    tree = tmp_path / "tree" / "77"
    tree.mkdir(parents=True)
    for name in ("maps", "smaps", "smaps_rollup", "stat", "statm", "status", "comm", "cmdline"):
        (tree / name).write_bytes(Path(f"/proc/{pid}/{name}").read_bytes())
    shutil.copy(tree / "smaps", tmp_path / "text")
    return tmp_path
