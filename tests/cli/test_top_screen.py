"""procmem top on a terminal: the screen opens and leaves the terminal as it was, or the table."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from procmem import Process, Recorder
from procmem.cli import top_screen as module
from tests.support.commands import shell
from tests.support.terminals import OPENED, PATIENCE, terminal

if TYPE_CHECKING:
    from pathlib import Path

    from procmem.experiments import Specimen
    from tests.support.commands import Run


def test_it_opens_and_q_quits() -> None:
    with terminal("top") as screen:
        screen.read_until(OPENED, b"live")
        screen.press(b"q")
        assert screen.end() == 0
        assert screen.is_restored()
        assert b"Traceback" not in screen.seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_the_terminal_as_it_was(number: signal.Signals) -> None:
    with terminal("top") as screen:
        screen.read_until(OPENED, b"live")
        screen.process.send_signal(number)
        assert screen.end() == 128 + number
        assert screen.is_restored()


def test_ctrl_c_quits() -> None:
    with terminal("top") as screen:
        screen.read_until(OPENED, b"live")
        screen.press(b"\x03")
        assert screen.end() == 130
        assert screen.is_restored()


AMIDST_A_WRITE = """
import signal
from textual.drivers._writer_thread import WriterThread
asked, original = [], WriterThread.write
def write(self, text):
    if asked:
        asked.clear()
        with self._queue.mutex:
            signal.raise_signal(signal.SIGTSTP)
    original(self, text)
WriterThread.write = write
signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
"""
"""SIGUSR1 suspends the screen while it holds the lock that each write takes."""


@pytest.mark.parametrize("way", ["key", "signal", "amidst a write"])
def test_it_can_be_suspended(way: str) -> None:
    with terminal("top", first=AMIDST_A_WRITE if way == "amidst a write" else "") as screen:
        screen.read_until(OPENED, b"live")
        if way == "key":
            screen.press(b"\x1a")
        elif way == "signal":
            screen.process.send_signal(signal.SIGTSTP)
        else:
            screen.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + PATIENCE
        while b"State:\tT" not in status(screen.process.pid):
            assert time.monotonic() < deadline
            screen.read()
        while screen.is_restored() is False:
            assert time.monotonic() < deadline, screen.seen[-500:]
            screen.read()
        opened = screen.seen.count(OPENED)
        screen.process.send_signal(signal.SIGCONT)
        while screen.seen.count(OPENED) == opened:
            assert time.monotonic() < deadline
            screen.read()
        screen.press(b"q")
        assert screen.end() == 0
        assert screen.is_restored()


def status(pid: int) -> bytes:
    with open(f"/proc/{pid}/status", "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    "words",
    [["--once"], ["--json"], ["--limit", "3"], ["--columns", "pid"], ["--memory"], ["--fast"],
     ["--sort", "ksm"], ["self"], ["--format", "table"], ["--format=csv"]],
)  # fmt: skip
def test_options_of_the_table_print_it(words: list[str]) -> None:
    with terminal("top", *words) as screen:
        assert screen.end() == 0
        assert OPENED not in screen.seen
        assert b"procmem-live[ui]" not in screen.seen


def test_the_table_loads_nothing_of_the_screen() -> None:
    code = (
        "import sys; from procmem.cli import main; main(['top', '--fast', '--limit', '1']); "
        "assert not {'textual', 'rich', 'procmem.screen.app'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_pipe_gets_the_table() -> None:
    ran = shell("top", "--by", "user")
    assert ran.returncode == 0
    assert ran.stderr == b""
    assert b"Processes" in ran.stdout


def test_without_textual_the_table_and_a_line() -> None:
    with terminal("top", without="textual") as screen:
        assert screen.end() == 0
        assert OPENED not in screen.seen
        lines = screen.seen.decode().splitlines()
        assert [line for line in lines if "procmem-live[ui]" in line]
        assert [line for line in lines if re.match(r" *PID ", line)]
    with terminal("top", "--live", without="textual") as screen:
        assert screen.end() == 1
        assert b"procmem-live[ui]" in screen.seen


def test_a_terminal_that_has_no_screen() -> None:
    with terminal("top", env={"TERM": "dumb"}) as screen:
        assert screen.end() == 0
        assert OPENED not in screen.seen


def test_no_colours() -> None:
    with terminal("top", env={"NO_COLOR": "1"}) as screen:
        screen.read_until(OPENED, b"live", b"Name")
        screen.press(b"q")
        assert screen.end() == 0
        colours = re.findall(rb"\x1b\[[0-9;]*m", screen.seen)
        assert colours
        for one in colours:
            assert not re.search(rb"[\[;](3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]", one), one


def test_live_opens_a_process(specimen: Specimen) -> None:
    with terminal("top", "--live", str(specimen.pid)) as screen:
        screen.read_until(OPENED, b"uses", b"vdso")
        assert str(specimen.pid).encode() in screen.seen
        screen.press(b"q")
        assert screen.end() == 0


def test_a_recording_is_replayed(specimen: Specimen, tmp_path: Path) -> None:
    path = tmp_path / "one.rec"
    with Recorder(Process(specimen.pid), path=path):
        pass
    with terminal("top", "--replay", str(path)) as screen:
        screen.read_until(OPENED, b"replay", b"vdso")
        screen.press(b"q")
        assert screen.end() == 0
        assert screen.is_restored()


def test_what_is_no_recording(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "on_terminal", lambda: True)
    path = tmp_path / "no.rec"
    ran = run("top", "--replay", path)
    assert ran.status == 1
    assert str(path) in ran.err
    path.write_bytes(b"x" * 100)
    ran = run("top", "--replay", path)
    assert ran.status == 1
    assert "no recording" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "words, said",
    [
        (["--live"], "need a terminal"),
        (["--replay", "x"], "need a terminal"),
        (["--live", "--json"], "--json"),
        (["--replay", "x", "self"], "PIDs"),
        (["--live", "--once"], "not allowed with"),
    ],
)
def test_usage(run: Run, words: list[str], said: str) -> None:
    ran = run("top", *words)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
