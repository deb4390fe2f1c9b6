"""The progress line: on a terminal alone, drawn over itself, and gone when the work is done."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from procmem.cli import progress
from procmem.cli.progress import Progress, far_text, plain_bar, rich_bar
from procmem.view.names import cells

if TYPE_CHECKING:
    from collections.abc import Iterator

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The terminal of stderr, whose writing the test reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ours, theirs = pty.openpty()
        self.stream = os.fdopen(theirs, "w", encoding="utf-8")
        self._monkeypatch = monkeypatch

    def use(self) -> None:
        """Makes it stderr; in the test itself, because pytest sets stderr after the fixtures."""
        self._monkeypatch.setattr(sys, "stderr", self.stream)
        self._monkeypatch.setenv("TERM", "xterm")

    def read(self) -> str:
        """All that was written, after closing."""
        self.stream.close()
        found = b""
        while True:
            try:
                part = os.read(self.ours, 65536)
            except OSError:  # EIO: nobody has the other end open any more
                break
            if not part:
                break
            found += part
        return found.decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    made = Terminal(monkeypatch)
    yield made
    made.stream.close()
    os.close(made.ours)


@pytest.fixture(params=["rich", "plain"])
def painter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "rich":
        pytest.importorskip("rich")
    else:
        # None in sys.modules makes an import fail, as if it were not installed.
        for name in ("rich", "rich.console", "rich.progress_bar"):
            monkeypatch.setitem(sys.modules, name, None)
    return str(request.param)


def on_screen(written: str) -> str:
    """What is left on the line: CR goes to its start, EL clears the rest."""
    line, column = "", 0
    for part in re.split(r"(\r|\n|\x1b\[K)", written):
        if part == "\r":
            column = 0
        elif part == "\x1b[K":
            line = line[:column]
        elif part == "\n":
            line, column = "", 0
        else:
            text = SEQUENCE.sub("", part)
            line = line[:column] + text + line[column + len(text) :]
            column += len(text)
    return line


def test_the_line_is_drawn_and_gone(
    terminal: Terminal, painter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.use()
    monkeypatch.setattr(progress, "INTERVAL", 0)
    # Nobody reads the terminal meanwhile: a thread without pauses would fill it, and wait.
    monkeypatch.setattr(Progress, "_tick", lambda _: None)
    with Progress("reading 7", total=4, delay=0) as shown:
        shown.show(1)
        shown.show(2, left=90)
    written = terminal.read()
    assert on_screen(written) == ""
    plain = SEQUENCE.sub("", written)
    assert "reading 7" in plain
    assert "2 of 4, 1:30 left" in plain
    assert ("[####" in plain) == (painter == "plain")
    assert "\x1b[?25l" not in written  # the cursor stays


def test_time_passes_without_a_step(terminal: Terminal, painter: str) -> None:
    terminal.use()
    with Progress("a long call", delay=0) as shown:
        thread = shown._thread
        assert thread is not None
        # The first drawing is waited for, however busy the machine is.
        while not shown._drawn:
            thread.join(0.01)
    assert not thread.is_alive()
    written = terminal.read()
    assert "a long call" in written
    assert on_screen(written) == ""


def test_many_steps_are_drawn_seldom(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.use()
    monkeypatch.setattr(progress, "INTERVAL", 3600)
    with Progress("reading", total=10_000, delay=0, light=True) as shown:
        for done in range(10_000):
            shown.show(done)
    assert terminal.read().count("reading") == 1


def test_without_memory_of_its_own(terminal: Terminal) -> None:
    """Where this process is measured there is no thread, and rich is not imported."""
    terminal.use()
    before = threading.active_count()
    with Progress("reading", total=2, delay=0, light=True) as shown:
        shown.show(1)
        assert threading.active_count() == before
    assert "[###" in terminal.read()


def test_what_is_short_is_not_shown(terminal: Terminal) -> None:
    terminal.use()
    with Progress("short", delay=3600) as shown:
        shown.show(1)
    assert terminal.read() == ""


def test_nothing_in_a_pipe_or_on_a_dumb_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    with Progress("reading", delay=0) as shown:
        shown.show(1)
        shown.say("text\n")
        assert threading.active_count() == before
    assert capsys.readouterr() == ("text\n", "")


@pytest.mark.parametrize("how", ["dumb", "quiet"])
def test_nothing_if_it_is_not_wanted(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    terminal.use()
    monkeypatch.setenv("TERM", "dumb" if how == "dumb" else "xterm")
    with Progress("reading", delay=0, quiet=how == "quiet", light=True) as shown:
        shown.show(1)
    assert terminal.read() == ""


def test_output_stands_above_the_line(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.use()
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    with Progress("grading", total=2, delay=0, light=True) as shown:
        shown.show(1)
        shown.say("a is done\n")
    written = SEQUENCE.sub("", terminal.read().replace("\x1b[K", "|"))
    assert re.fullmatch(r"\rgrading[^\r]*\|\r\|a is done\r\n\rgrading[^\r]*\|\r\|", written)


def test_an_exception_clears_the_line(terminal: Terminal) -> None:
    terminal.use()
    with pytest.raises(KeyboardInterrupt), Progress("reading", delay=0, light=True) as shown:
        shown.show(1)
        raise KeyboardInterrupt
    written = terminal.read()
    assert "reading" in written
    assert on_screen(written) == ""


def test_a_terminal_that_has_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Terminal(monkeypatch)
    made.use()
    with Progress("reading", delay=0, light=True) as shown:
        os.close(made.ours)
        shown.show(1)
        shown.show(2)
    assert not shown.shown
    with contextlib.suppress(OSError):  # what could not be written is tried once more
        made.stream.close()


@pytest.mark.parametrize("width", [10, 24, 40, 80, 200])
def test_the_line_fits(painter: str, width: int) -> None:
    shown = Progress("reading the processes of a machine", total=1000)
    shown.done = 999
    line = SEQUENCE.sub("", shown._line(3599, width))
    assert cells(line) <= width
    if width == 200:
        assert line.endswith("999 of 1,000, 59:59")


def test_names_are_escaped(painter: str) -> None:
    shown = Progress("reading \x1b[2J\n")
    assert "\x1b[2J" not in shown._line(1, 80)
    assert "\n" not in shown._line(1, 80)


def test_bars() -> None:
    for total in (1, 7, 100):
        for done in range(total + 1):
            bar = plain_bar(done, total, 42)
            assert len(bar) == 42
            assert bar.count("#") == 40 * done // total
    assert far_text(3, 3, 5, 0.0) == "3 of 3, 0:05"
    assert far_text(None, None, 7322, None) == "2:02:02"
    pytest.importorskip("rich")
    assert 15 <= cells(SEQUENCE.sub("", rich_bar(3, 4, 20))) <= 20
    assert cells(SEQUENCE.sub("", rich_bar(None, None, 20))) <= 20


INTERRUPTED = """
import sys, time
from procmem.cli.progress import Progress
with Progress("a long call", delay=0) as shown:
    while not shown._drawn:
        time.sleep(0.01)
    print("drawn", flush=True)
    time.sleep(60)
"""


def test_ctrl_c_leaves_a_clean_terminal() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", INTERRUPTED]
    environment = {**os.environ, "TERM": "xterm"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"drawn\n"
        child.send_signal(signal.SIGINT)
        child.wait()
        written = b""
        while True:
            try:
                written += os.read(ours, 65536)
            except OSError:
                break
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
        os.close(ours)
    line, _, after = written.decode().partition("Traceback")
    assert after
    assert "a long call" in line
    assert on_screen(line) == ""
    assert progress.DELAY == 1
