"""procmem top on a terminal: the screen opens and leaves the terminal as it was, or the table."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest

from procmem import Process, Recorder
from procmem.cli import top_screen as module
from tests.support.commands import shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from procmem.experiments import Specimen
    from tests.support.commands import Run

PATIENCE = 120.0

OPENED = b"\x1b[?1049h"
CLOSED = b"\x1b[?1049l"
CURSOR = b"\x1b[?25h"
NO_MOUSE = b"\x1b[?1000l"


class Terminal:
    """A command in a terminal of its own.

    Args:
        words: the command's arguments.
        env: of it, besides this process's own.
        without: the name of a module that can't be imported.
    """

    def __init__(self, *words: str, env: dict[str, str] | None = None, without: str = "") -> None:
        self.leader, self.follower = pty.openpty()
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.follower)
        code = "import sys; from procmem.cli import main; sys.exit(main())"
        if without:
            code = f"import sys; sys.modules[{without!r}] = None; " + code
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdin=self.follower,
            stdout=self.follower,
            stderr=self.follower,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24",
                 **(env or {})},
            start_new_session=True,
        )  # fmt: skip
        self.seen = b""

    def read_until(self, *wanted: bytes) -> None:
        """Reads until all of some texts were written."""
        deadline = time.monotonic() + PATIENCE
        while not all(one in self.seen for one in wanted):
            assert time.monotonic() < deadline, (wanted, self.seen[-2000:])
            if not self.read():
                assert all(one in self.seen for one in wanted), (wanted, self.seen[-2000:])

    def read(self) -> bool:
        """Reads what is there; whether the command still runs, or had written something."""
        if not select.select([self.leader], [], [], 0.05)[0]:
            return self.process.poll() is None
        self.seen += os.read(self.leader, 65536)
        return True

    def press(self, keys: bytes) -> None:
        os.write(self.leader, keys)

    def end(self) -> int:
        """The exit status, with all that was written read."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen[-2000:]
            self.read()
        while self.read():
            pass
        return self.process.wait()

    def is_restored(self) -> bool:
        """Whether the terminal is as it was."""
        modes = termios.tcgetattr(self.follower)
        return (
            modes == self.before
            and self.seen.rfind(CLOSED) > self.seen.rfind(OPENED)
            and self.seen.rfind(CURSOR) > self.seen.rfind(b"\x1b[?25l")
            and self.seen.rfind(NO_MOUSE) > self.seen.rfind(b"\x1b[?1000h")
        )

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        os.close(self.leader)
        os.close(self.follower)


@contextlib.contextmanager
def terminal(
    *words: str, env: dict[str, str] | None = None, without: str = ""
) -> Iterator[Terminal]:
    made = Terminal(*words, env=env, without=without)
    try:
        yield made
    finally:
        made.close()


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


@pytest.mark.parametrize("way", ["key", "signal"])
def test_it_can_be_suspended(way: str) -> None:
    with terminal("top") as screen:
        screen.read_until(OPENED, b"live")
        if way == "key":
            screen.press(b"\x1a")
        else:
            screen.process.send_signal(signal.SIGTSTP)
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
