"""What all commands share: errors, statuses, help, output that can't be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.cli import COMMANDS, main
from tests.support.commands import shell
from tests.support.targets import Target, kernel_thread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target


NOBODY = 2**22 + 1
"""A number above the largest PID that Linux gives (PID_MAX_LIMIT)."""


@pytest.mark.parametrize("command", ["maps", "reconcile"])
def test_one_that_can_not_be_read_is_reported_and_the_rest_is_done(
    run: Run, target: Target, command: str
) -> None:
    ran = run(command, NOBODY, target.pid)
    assert ran.status == 1
    assert ran.err == f"procmem {command}: process {NOBODY}: no such process\n"
    assert len(ran.out.splitlines()) > 5


def test_states_have_messages_of_their_own(run: Run, target: Target) -> None:
    zombie = target.zombie()
    ran = run("maps", zombie)
    assert ran.status == 1
    assert "a zombie" in ran.err
    thread = kernel_thread()
    if thread is None:
        pytest.skip("no kernel thread shows in this PID namespace")
    ran = run("query", thread, "0")
    assert ran.status == 1
    assert "kernel thread" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ["maps"],
        ["maps", ""],
        ["maps", "-5"],
        ["maps", "self", "--kind", "nonsense"],
        ["maps", "self", "--perms", "rwx"],
        ["maps", "self", "--range", "zz"],
        ["maps", "self", "--fast", "--smaps"],
        ["maps", "self", "--fast", "--sort", "pss"],
        ["query", "self"],
        ["query", "self", "here"],
        ["reconcile"],
        ["doctor", "now"],
        ["nonsense"],
        ["bad\x1bname"],
        [],
    ],
)
def test_usage_errors_are_status_2_and_one_message(run: Run, words: Sequence[str]) -> None:
    ran = run(*words)
    assert ran.status == 2
    assert ran.out == ""
    assert "usage:" in ran.err or "procmem" in ran.err
    assert "Traceback" not in ran.err
    assert "\x1b" not in ran.err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(run: Run, command: str) -> None:
    ran = run(command, "--help")
    assert ran.status == 0
    assert "sage" in ran.out
    assert f"  {command}" in run("--help").out


def test_version(run: Run) -> None:
    assert run("--version").out == f"procmem {procmem.__version__}\n"


def test_a_reader_that_goes_away_is_no_error(target: Target) -> None:
    target.regions(2000)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as nobody:
        ran = subprocess.run(
            [sys.executable, "-m", "procmem", "maps", str(target.pid)],
            stdout=nobody,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ran.stderr == b""
    assert ran.returncode == 128 + signal.SIGPIPE


def test_output_that_can_not_be_written_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "procmem", "maps", "self"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ran.returncode == 1
    assert b"No space left" in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_a_terminal_without_utf8_gets_escapes() -> None:
    ran = shell("reconcile", "self", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 0
    assert b"\\u03a3 maps" in ran.stdout


def test_a_fault_of_ours_is_a_line(printed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("oh\x1b[2J")

    monkeypatch.setattr("procmem.cli.maps.region_table", broken)
    monkeypatch.delenv("PROCMEM_TRACEBACK", raising=False)
    status, _, err = printed("maps", "self")
    assert status == 1
    assert err.count("\n") == 1
    assert "PROCMEM_TRACEBACK=1" in err
    assert "\x1b" not in err
    monkeypatch.setenv("PROCMEM_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["maps", "self"])


WITHOUT_PROC = """
mount -t tmpfs tmpfs /proc || exit 77
while read -r words; do
    printf '%s: ' "$words"
    "$0" -m procmem $words 2>&1 >/dev/null </dev/null | tr '\\n' '|'
    echo
done
"""


def test_a_system_without_proc() -> None:
    """In a container whose /proc is not mounted every command ends with one line."""
    commands = [
        "maps self", "pmap 1", "ps -p 1", "threads self", "reconcile self", "demo",
        "experiment protection",
    ]  # fmt: skip
    allowed = ["doctor"]
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", WITHOUT_PROC,
         sys.executable],
        input="\n".join([*commands, *allowed, ""]), capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    if ran.returncode:
        pytest.skip(f"user namespaces do not work here: {ran.stderr[-200:]}")
    printed = dict(line.split(": ", 1) for line in ran.stdout.splitlines())
    for words in commands:
        assert "/proc" in printed[words], words
        assert "Mount one" in printed[words], words
        assert printed[words].count("|") == 1, words
    assert [printed[words] for words in allowed] == [""]


LOADED = """
import contextlib, os, sys
from procmem.cli import main
with contextlib.suppress(SystemExit), open(os.devnull, "w") as sys.stdout:
    main(sys.argv[1:])
print(*sorted(sys.modules), file=sys.__stdout__)
"""
HEAVY = {
    "bokeh",
    "matplotlib",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "rich",
    "textual",
    "distributed",
}


@pytest.mark.parametrize(
    "words",
    [["maps", "self"], ["ps", "1"], ["heap", "self"], ["threads", "self"], ["pages", "self"],
     ["pipes", "self"], ["query", "self", "0"], ["reconcile", "self"], ["top", "--once", "self"]],
    ids=" ".join,
)  # fmt: skip
def test_plain_commands_load_no_extra(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "procmem.cli" in loaded
    assert not HEAVY.intersection(loaded)
    if words[0] == "maps":
        assert "procmem.snapshots" not in loaded


def test_an_interrupt_has_one_status_wherever_it_comes(tmp_path: Path) -> None:
    """In exec() of a text, too, after which `python -m` would end by SIGINT."""
    (tmp_path / "interrupted.py").write_text(
        "import sys\n"
        "from procmem import cli\n"
        "cli.run = lambda words: exec('raise KeyboardInterrupt')\n"
        "sys.exit(cli.main([]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
