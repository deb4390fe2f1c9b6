"""The examples of --help are run."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from procmem.cli import COMMANDS
from procmem.cli.examples import EXAMPLES, examples_text
from procmem.cli.tables import parser_of
from procmem.labs import find
from procmem.labs.handout import begin
from tests.support.blocking import until_asleep
from tests.support.sleepers import copied, sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.commands import Run

NAME = f"pmex{os.getpid()}"

CASES = [(name, line) for name, rows in EXAMPLES.items() for line, _ in rows]

LONG = {
    "procmem watch 8311": "runs until the process exits",
    "procmem watch --json 8311": "runs until the process exits",
    "procmem exporter --name worker": "serves until Ctrl-C",
}
"""Examples that do not end by themselves."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., int]]:
    yield from sleepers(tmp_path)


def test_each_command_has_two_examples() -> None:
    assert {name: len(EXAMPLES.get(name, ())) for name in COMMANDS} == dict.fromkeys(COMMANDS, 2)
    assert EXAMPLES.keys() == COMMANDS.keys()
    for name, line in CASES:
        assert line.split()[:2] == ["procmem", name]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_them(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = run(name, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.endswith(examples_text(f"procmem {name}"))
    for line, says in EXAMPLES[name]:
        assert f"  {line}\n      {says}\n" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert examples_text("procmem nothing") == ""


def prepare(line: str, pid: int, place: Path, run: Run) -> None:
    """Makes what an example expects to find in the current directory."""
    if "before.snap" in line and "-o before.snap" not in line:
        assert run("snapshot", "-o", "before.snap", pid).status == 0
    if "after.snap" in line:
        assert run("snapshot", "-o", "after.snap", pid).status == 0
    if "--report" in line or "leak.html" in line:
        assert run("record", "-o", "leak.rec", "--for", "50ms", "--quiet", pid).status == 0
    if "table.csv" in line:
        (place / "table.csv").write_bytes(bytes(10_000))
    if line == "procmem lab check":
        lab = find("mmap-demo")
        begin(lab, str(place / "begun"))
        shutil.copytree(lab.directory / "solution", place / "begun", dirs_exist_ok=True)
        os.chdir(place / "begun")
    if "handed-in" in line:
        lab = find("copy")
        shutil.copytree(lab.directory / "solution", place / "handed-in" / "ada")


@pytest.mark.parametrize("line", [line for _, line in CASES])
def test_an_example_does_what_it_says(
    line: str,
    run: Run,
    start: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "tcp://" in line:
        # There is no such scheduler here; tests/cluster has one.
        assert parser_of("gather").parse_args(line.split()[2:]).scheduler in line
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    pid = start(copied(tmp_path, NAME), "600")
    prepare(line, pid, tmp_path, run)
    if "exporter" in line and "--textfile" not in line:
        line += " --listen 127.0.0.1:0"
    words = [
        {"8311": str(pid), "worker": NAME}.get(word, word).replace("~", str(tmp_path))
        for word in shlex.split(line.partition(" | ")[0])[1:]
    ]
    if words[0] == "query":
        with open(f"/proc/{pid}/maps") as file:
            words[-1] = next(row for row in file if "[stack]" in row).split("-")[0]
    if "10m" in words:
        words[words.index("10m")] = "50ms"
    if line.removesuffix(" --listen 127.0.0.1:0") in LONG:
        stopped_early(words, pid)
        return
    done = subprocess.run(
        [sys.executable, "-m", "procmem", *words],
        capture_output=True, stdin=subprocess.DEVNULL, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stderr.decode())
    assert done.stdout or done.stderr or {"-o", "--textfile"} & set(words)


def stopped_early(words: list[str], pid: int) -> None:
    """It runs until Ctrl-C, and then ends without an error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "procmem", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        if "exporter" in words:
            assert process.stderr is not None
            assert b"serving http://127.0.0.1:" in process.stderr.readline()
        else:
            directory = f"/proc/{pid}"
            while not any("pidfd" in name or directory in name for name in opened(process.pid)):
                assert process.poll() is None
                time.sleep(0.01)
            # An interrupt amid an import may come in a callback, which loses it.
            until_asleep(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 130)
        assert b"Traceback" not in err
    finally:
        process.kill()
        process.wait()


def opened(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found
