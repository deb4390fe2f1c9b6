"""The progress line: on a terminal alone, drawn over itself, and gone when the work is done."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import cli
from procmem.cli import progress
from procmem.cli.arguments import parser
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
        for _ in range(30_000):
            if shown._drawn:
                break
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
    with Progress("reading", total=2, delay=0, light=True) as shown:
        shown.show(1)
        assert shown._thread is None
    assert "[###" in terminal.read()


def test_what_is_short_is_not_shown(terminal: Terminal) -> None:
    terminal.use()
    with Progress("short", delay=3600) as shown:
        shown.show(1)
    assert terminal.read() == ""


def test_nothing_in_a_pipe_or_on_a_dumb_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Progress("reading", delay=0) as shown:
        shown.show(1)
        shown.say("text\n")
        assert shown._thread is None
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
import ctypes, os, resource, sys, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from procmem.cli import progress
progress.INTERVAL = 3600  # nobody reads the terminal meanwhile
with progress.Progress("a long call", delay=0) as shown:
    while not shown._drawn:
        shown.show()
    os.write(int(sys.argv[1]), b"drawn\\n")
    # A call during which Python runs no handler of a signal.
    ctypes.PyDLL(None).usleep(60_000_000) if "once" in sys.argv else time.sleep(60)
"""


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda n: n.name
)
def test_a_signal_leaves_a_clean_terminal(number: signal.Signals, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    heard, said = os.pipe()
    how = [] if number == signal.SIGINT else ["once"]
    environment = {**os.environ, "TERM": "xterm"}
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(said), *how],
        stdout=subprocess.DEVNULL, stderr=theirs, env=environment, pass_fds=[said], cwd=tmp_path,
    )  # fmt: skip
    os.close(theirs)
    os.close(said)
    try:
        assert os.read(heard, 6) == b"drawn\n"
        child.send_signal(number)
        status = child.wait()
        written = b""
        while True:
            try:
                written += os.read(ours, 65536)
            except OSError:
                break
    finally:
        child.kill()
        child.wait()
        os.close(ours)
        os.close(heard)
    line, _, after = written.decode().partition("Traceback")
    assert status == -number
    assert bool(after) == (number == signal.SIGINT)
    assert "a long call" in line
    assert on_screen(line) == ""


def test_signals_that_are_handled_or_ignored_stay_so(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM is ignored: it must not end the test. Afterwards all are as they were."""
    terminal.use()
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hangup = signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    try:
        with Progress("reading", delay=0, light=True) as shown:
            shown.show(1)
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            assert shown._drawn
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, hangup)
    assert heard == [signal.SIGHUP]
    caught = Path("/proc/self/status").read_text(encoding="ascii").partition("SigCgt:")[2]
    assert not int(caught.split()[0], 16) >> (signal.SIGQUIT - 1) & 1


def test_what_is_written_clears_the_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.use()
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    monkeypatch.setattr(progress, "INTERVAL", 0)
    with Progress("reading", delay=0, light=True) as shown:
        shown.show(1)
        sys.stdout.write("a row\n")
        shown.show(2)  # not at once: more may follow
        sys.stdout.buffer.write(b"bytes, and half a line")
        sys.stdout.flush()
        shown.show(3)
        sys.stderr.write(" ends\n")
    assert sys.stdout is terminal.stream
    assert sys.stderr is terminal.stream
    written = SEQUENCE.sub("", terminal.read().replace("\x1b[K", "|"))
    row = r"a row\r\nbytes, and half a line ends\r\n"
    assert re.fullmatch(rf"\rreading[^\r]*\|\r\|{row}", written)


def test_the_inner_one_is_shown(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.use()
    monkeypatch.setattr(progress, "INTERVAL", 0)
    with Progress("outer", delay=0, light=True) as outer:
        outer.show(1)
        with Progress("inner", light=True) as inner:  # at once: a line was there already
            inner.show(1)
            outer.show(2)
        outer.show(3)
    assert Progress.current is None
    written = terminal.read().replace("\x1b[K", "|")
    assert re.findall("outer|inner", written) == ["outer", "inner", "outer"]
    assert on_screen(written.replace("|", "\x1b[K")) == ""


def test_nothing_is_drawn_before_a_pager(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`procmem maps 1 | less`: the pager has the screen."""
    terminal.use()
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert not Progress("reading").shown
    monkeypatch.undo()


@pytest.fixture
def slow_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of a command is drawn at once."""
    # Nobody reads the terminal meanwhile: a second line might wait for that.
    monkeypatch.setattr(progress, "INTERVAL", 3600)
    monkeypatch.setattr(Progress.__init__, "__kwdefaults__", {
        **(Progress.__init__.__kwdefaults__ or {}), "delay": 0})  # fmt: skip


@pytest.mark.parametrize(
    "words, drawn",
    [
        (["threads", "PID"], True),
        (["threads", "PID", "--json"], False),
        (["threads", "self"], False),
        (["watch", "PID"], False),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_every_command_that_takes_long(
    terminal: Terminal,
    slow_command: None,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    drawn: bool,
) -> None:
    terminal.use()
    monkeypatch.setattr(sys, "stdout", terminal.stream)

    def work(argv: list[str]) -> int:
        parser("threads", "").parse_args(argv)
        shown = Progress.current
        if shown is not None:
            shown.show()
            while drawn and not shown._drawn:
                pass
        sys.stdout.write("the answer\n")
        return 0

    monkeypatch.setattr(cli, "command", lambda _: work)
    assert cli.main(words) == 0
    assert Progress.current is None
    assert sys.stdout is terminal.stream
    written = terminal.read()
    assert ("procmem threads PID" in SEQUENCE.sub("", written)) == drawn
    assert written.replace("\r", "").endswith("the answer\n")
    assert on_screen(written) == ""


def test_silence_ends_with_the_command(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.use()
    with progress.command_progress(["maps", "1"]):
        progress.silence()
        assert Progress.silent
    assert not Progress.silent
    with pytest.raises(OSError, match="no"), progress.command_progress(["maps", "--json", "1"]):
        progress.silence()
        raise OSError("no")
    assert not Progress.silent
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress.silence()
    assert not Progress.silent
