"""Every table and help text fits every screen, in every locale."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.cli import COMMANDS
from procmem.cli.terminal import number_of_colours
from procmem.procfs import probes
from procmem.view.colours import has_colours
from procmem.view.names import cells
from tests.support.sleepers import copied, sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.targets import Target


WIDTHS = (40, 60, 80, 120, 200)


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., int]]:
    yield from sleepers(tmp_path)


COMMAND_LINES = [
    "maps {pid}",
    "maps -p {pid}",
    "maps --smaps {pid}",
    "maps --fast {pid}",
    "maps --by kind {pid}",
    "maps --by path {pid}",
    "sections {pid}",
    "sections --totals {pid}",
    "sections --bridge {pid}",
    "reconcile {pid}",
    "snapshot {pid}",
    "query {pid} {code}",
    "pages {pid}",
    "pages {pid} [heap] --tables",
    "pages {pid} --frames",
    "diff {snap} {pid}",
    "doctor",
    "experiment",
    "experiment brk",
    "record {pid} -o {snap}.rec --for 50ms --force",
    "size --explain /proc/{pid}/exe",
    "lab list",
    "demo",
    "--help",
]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_table_fits_every_screen(
    printed: Any, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    target.malloc(1000)
    snap = tmp_path / "x.snap"
    procmem.Process(target.pid).snapshot().save(snap)
    target.touch(target.map(40))
    words = line.format(pid=target.pid, code=f"{target.truths.main:x}", snap=snap).split()
    for width in WIDTHS[line == "demo" :]:  # lines of Python are 47 cells long
        monkeypatch.setenv("COLUMNS", str(width))
        status, out, _ = printed(*words)
        if "--frames" in words and status:
            pytest.skip("page frames show to root alone")
        assert status == 0
        assert max(map(cells, out.splitlines())) <= width
    monkeypatch.delenv("COLUMNS")
    _, out, _ = printed(*words)
    assert "Not in" not in out


@pytest.mark.parametrize("width", WIDTHS)
def test_a_trace_fits_the_screen_and_loses_nothing(width: int, tmp_path: Path) -> None:
    true = shutil.which("true")
    assert true is not None

    def traced(*words: str, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "procmem", "trace", "--no-malloc", *words, true],
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"]} | env,
            check=False,
        )
        return done.stderr.decode()

    text = traced(COLUMNS=str(width))
    if "procmem trace:" in text:
        pytest.skip(text.strip())  # no ptrace here
    assert max(map(cells, text.splitlines())) <= width
    last = "this kernel counts pages late" if probes.counters_lag() else "Between the calls pages"
    assert last in " ".join(text.split())
    file = tmp_path / "trace"
    traced("-o", str(file), COLUMNS="40")
    assert max(map(cells, file.read_text().splitlines())) > 80


def test_columns_that_readline_left_behind_are_no_wish(target: Target) -> None:
    def widest(**env: str) -> int:
        done = subprocess.run(
            [sys.executable, "-m", "procmem", "maps", "--smaps", str(target.pid)],
            stdout=subprocess.PIPE,
            env={name: os.environ[name] for name in ("PATH",)} | env,
            check=True,
        )
        return max(map(len, done.stdout.decode().splitlines()))

    assert widest() > 200
    assert widest(COLUMNS="80", LINES="24") > 200
    assert widest(COLUMNS="80") <= 80


@pytest.mark.parametrize("command", ["maps", "sections", "pages", "reconcile", "query"])
def test_no_locale_breaks_a_command(
    command: str, tmp_path: Path, target_binary: Path, start: Callable[..., int]
) -> None:
    path = tmp_path / "prögram 日本"
    shutil.copy(copied(tmp_path, "plain"), path)
    pid = start(str(path), "600")
    code = next(region.start for region in procmem.Process(pid).maps())
    words = [command, str(pid), *([f"{code:x}"] if command == "query" else [])]
    for env in (
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ):
        done = subprocess.run(
            [sys.executable, "-m", "procmem", *words],
            capture_output=True,
            env={"PATH": os.environ["PATH"]} | env,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""
        assert b"gram" in done.stdout or command == "reconcile"


@pytest.mark.parametrize(
    "command", [*sorted(COMMANDS), "experiment malloc", "lab check", "lab new"]
)
def test_help_fits_every_screen(
    printed: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    words = {}
    for width in (60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        status, out, err = printed(*command.split(), "--help")
        assert (status, err) == (0, "")
        assert max(map(cells, out.splitlines())) <= width
        words[width] = out.replace("-", "- ").split()
    # Nothing is lost but blanks.
    assert sorted("".join(words[60])) == sorted("".join(words[80])) == sorted("".join(words[200]))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_is_all_that_shows_usage(printed: Any, command: str) -> None:
    status, out, err = printed(command, "--no-such-option-there")
    assert out == ""
    assert status in (1, 2)
    assert len(err.splitlines()) <= (2 if command in ("ps", "size") else 1)


# ---- colours ----

SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")

SETTINGS = [
    # NO_COLOR, FORCE_COLOR, TERM, COLORTERM, a terminal, --color; the number of colours
    ("", "", "xterm", "", True, "auto", 256),
    ("", "", "xterm", "truecolor", True, "auto", 1 << 24),
    ("", "", "xterm", "24bit", True, "auto", 1 << 24),
    ("", "", "xterm", "yes", True, "auto", 256),
    ("", "", "dumb", "", True, "auto", 0),
    ("", "", "xterm", "", False, "auto", 0),
    ("1", "", "xterm", "", True, "auto", 0),
    ("0", "", "xterm", "", True, "auto", 0),
    ("", "1", "xterm", "", False, "auto", 256),
    ("", "0", "xterm", "truecolor", False, "auto", 1 << 24),
    ("1", "1", "xterm", "", False, "auto", 256),
    ("", "1", "dumb", "", False, "auto", 256),
    ("1", "", "dumb", "", False, "always", 256),
    ("1", "", "xterm", "truecolor", False, "always", 1 << 24),
    ("", "1", "xterm", "", True, "never", 0),
]


@pytest.mark.parametrize("no_color, force_color, term, colorterm, terminal, when, number", SETTINGS)
def test_how_many_colours(
    monkeypatch: pytest.MonkeyPatch,
    no_color: str,
    force_color: str,
    term: str,
    colorterm: str,
    terminal: bool,
    when: str,
    number: int,
) -> None:
    """An empty variable counts as one that is not set (no-color.org, force-color.org)."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("FORCE_COLOR", force_color)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLORTERM", colorterm)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert number_of_colours(when) == number
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        if not os.environ[name]:
            monkeypatch.delenv(name)
    assert number_of_colours(when) == number


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_option(printed: Any, command: str) -> None:
    status, out, _ = printed(command, "--color=always", "--help")
    if command in ("pmap", "ps", "size"):
        return
    assert status == 0
    assert "--color WHEN" in out
    assert "--colour" not in out
    status, out, err = printed(command, "--color", "blue")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "auto" in err
    assert "always" in err


def test_formats_of_other_programs_have_no_colours(
    printed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    pid = str(os.getpid())
    for words in (["pmap", "-x", pid], ["ps", "-p", pid], ["size", sys.executable]):
        for option in (["--color=always"], ["--color", "never"], []):
            status, out, err = printed(words[0], *option, *words[1:])
            assert (status, err) == (0, "")
            assert out
            assert "\x1b" not in out
        status, out, err = printed(words[0], "--color=blue", *words[1:])
        assert (status, out) == (1, "")
        assert "--color" in err


def test_colours_come_and_go_with_each_run(printed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def coloured(*words: str) -> bool:
        _, out, _ = printed("maps", str(os.getpid()), *words)
        return "\x1b" in out

    assert not coloured()
    assert coloured("--color", "always")
    assert not has_colours()
    assert not coloured()
    assert coloured("--colour=always")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert coloured()
    assert not coloured("--color=never")
    assert not coloured("--json")
    assert not coloured("--json", "--color=always")


def test_a_pager_gets_colours_if_asked() -> None:
    command = [sys.executable, "-m", "procmem", "maps", "self"]
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}

    def out(*more: str) -> str:
        return subprocess.run(
            [*command, *more], capture_output=True, text=True, check=True, env=environment
        ).stdout

    assert "\x1b" not in out()
    assert SEQUENCE.search(out("--color=always"))
