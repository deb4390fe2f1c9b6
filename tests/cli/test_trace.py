"""`procmem trace`: its table, its signals, its terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from procmem import (
    trace,
)
from procmem.procfs import probes
from procmem.view.trace import TraceSummary, words
from tests.support.paths import TARGETS
from tests.support.targets import PAGE
from tests.support.traced import (
    build,
    command,
    heard,
    seen,
    shell,
    until_traced,
    waiting,
)

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced program counts in pages of 4 KiB")


def test_the_command_lets_go_on_ctrl_c(program: str) -> None:
    with waiting(program, 2) as started:
        with subprocess.Popen(
            [sys.executable, "-m", "procmem", "trace", "-p", str(started.pid)],
            stderr=subprocess.PIPE, text=True,
        ) as command:  # fmt: skip
            until_traced(started.pid)
            command.send_signal(signal.SIGINT)
            assert command.wait(60) == 0
        assert started.poll() is None


def test_ctrl_c_is_the_programs(program: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "procmem", "trace", "--", program, "sigint"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as command:  # fmt: skip
        assert command.stdout
        assert command.stdout.read(1) == b"r"
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 7


def test_nobody_reads_the_trace(program: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", '"$0" -m procmem trace -- "$1" many 3000 2>&1 | head -n 1',
         sys.executable, program],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ran.stdout.split()[:2] == ["TID", "ΔVSZ"]


def test_the_table_explains(program: str) -> None:
    ran = shell("--", program, "everything")
    assert "heap grows by 20 KiB" in ran.stderr
    assert "map 400 KiB rw- private anonymous, in place" in ran.stderr
    lags = probes.counters_lag()
    row = "this kernel counts pages late" if lags else "between the calls"
    assert row in " ".join(ran.stderr.split())
    summary = TraceSummary()
    traced = trace([program, "everything"])
    for call in traced:
        summary.add(call)
    assert summary.known != lags
    if lags:
        return
    first, last = traced[1].before, traced[-1].before
    assert first is not None
    assert last is not None
    # Every byte is accounted for: what calls did, and what happened between them.
    sums = [sum(row[i] for row in summary.rows.values()) for i in (2, 3)]
    seen = traced[0].after
    assert seen is not None
    assert (last.vsz - seen.vsz, last.rss - seen.rss) == (
        sums[0] + summary.between[0],
        sums[1] + summary.between[1],
    )


def test_the_heap_grows_where_rss_comes_late(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "counters_lag", lambda: True)
    traced = trace([program, "everything"])
    assert not traced.exact
    assert "heap grows by 20 KiB" in {words(call) for call in traced}


def test_the_table_explains_malloc(program: str) -> None:
    seen(program)
    ran = shell("--", program, "mallocs")
    text = ran.stderr
    assert "malloc has room" not in text
    assert re.search(r"malloc +32 KiB: (no heap yet, brk makes one|the heap is full)", text)
    assert re.search(r"malloc x\d+ +32 KiB each: the heap has room, no system call", text)
    assert len(re.findall(r" malloc +256 KiB: large, mmap makes it a mapping", text)) == 10
    assert len(re.findall(r" free +256 KiB: munmap gives its mapping back", text)) == 10
    assert re.search(r" free x10 +32 KiB each: kept for later, no system call", text)
    assert "needed no system call" in text
    assert "free gave 10 such mappings back at once (munmap): VSZ fell by 2,600 KiB." in text
    # A system call stands below the function that made it.
    words = [line.split()[3:5] for line in text.splitlines() if len(line.split()) > 4]
    large = [i for i, pair in enumerate(words) if pair == ["malloc", "256"]]
    assert all(words[i + 1] == ["mmap", "map"] for i in large)
    every = shell("--malloc", "--", program, "mallocs").stderr
    assert len(re.findall(r" malloc +32 KiB: ", every)) == 10
    none = shell("--no-malloc", "--", program, "mallocs").stderr
    assert "malloc" not in none.replace(program, "")
    lines = shell("--strace", "--malloc", program, "mallocs").stderr.splitlines()
    assert (
        sum(bool(re.fullmatch(r"malloc\(262144\) +=\ 0x[0-9a-f]+", line)) for line in lines) == 10
    )


def test_what_is_said_of_another_malloc_and_of_arenas(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(program)
    source, library = tmp_path / "own.c", tmp_path / "own.so"
    source.write_text(
        """#include <stddef.h>
        #include <sys/mman.h>
        static char *at, *end;
        void *malloc(size_t size)
        {
            char *given;
            size = (size + 15) & ~15ul;
            if ((size_t)(end - at) < size) {
                at = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                end = at + (1 << 20);
            }
            given = at;
            at += size;
            return given;
        }
        void free(void *piece) { (void)piece; }
        """
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.chdir(tmp_path)  # no path in LD_PRELOAD may hold spaces
    own = shell("--", "env", "LD_PRELOAD=./own.so", program, "mallocs").stderr
    assert re.search(r" malloc +\d+ KiB: no room, mmap makes some", own)
    assert "mmap made room" in own
    assert "arena" not in own
    assert "128 KiB more" not in own
    [said] = re.findall(r"Small pieces .*", shell("--", program, "malloc-threads", "100").stderr)
    assert "mprotect opened more of a thread's arena" in said
    [said] = re.findall(r"Small pieces .*", shell("--", program, "malloc-traps").stderr)
    assert "never" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_command_reach_the_program(program: str, number: int) -> None:
    with heard(number), subprocess.Popen(
        [sys.executable, "-m", "procmem", "trace", "--strace", "--", program, "wait", "1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        assert command.stdout
        assert command.stdout.read(1) == "r"
        command.send_signal(number)
        assert command.stderr
        said = command.stderr.read()  # not communicate(), which ends the program's input
        assert command.wait(60) == 128 + number
        assert f"+++ killed by {signal.Signals(number).name} +++" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_to_the_command_let_go_of_others(program: str, number: int) -> None:
    with heard(number), waiting(program, 2) as started:
        with subprocess.Popen(
            [sys.executable, "-m", "procmem", "trace", "--malloc", "-p", str(started.pid)],
            stderr=subprocess.DEVNULL,
        ) as command:  # fmt: skip
            until_traced(started.pid)
            command.send_signal(number)
            assert command.wait(60) == (0 if number == signal.SIGINT else 128 + number)
        status = Path(f"/proc/{started.pid}/status").read_text()
        assert "TracerPid:\t0" in status
        assert not re.search(r"^State:\s[tT]", status, re.MULTILINE)


SHELL = """
import os, signal, sys, time
# A shell in small: the command has the terminal, and a process group of its own.
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    print("STOPPED", flush=True)
    time.sleep(0.1)
    os.tcsetpgrp(0, child)
    os.killpg(child, signal.SIGCONT)
print("STATUS", os.waitstatus_to_exitcode(status), flush=True)
"""


def on_terminal(words: list[str], keys: list[tuple[str, bytes]]) -> str:
    """Runs a command on a terminal of its own; sends each key once a text has come."""
    child, terminal = pty.fork()
    if not child:
        try:
            os.execv(sys.executable, [sys.executable, "-c", SHELL, sys.executable, *words])
        finally:
            os._exit(127)
    said = b""
    deadline = time.monotonic() + 300
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([terminal], [], [], 1)
            try:
                part = os.read(terminal, 65536) if ready else b""
            except OSError:
                break
            if ready and not part:
                break
            said += part
            if keys and keys[0][0].encode() in said:
                os.write(terminal, keys.pop(0)[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL if time.monotonic() >= deadline else 0)
        os.waitpid(child, 0)
        os.close(terminal)
    assert time.monotonic() < deadline, said
    return said.decode()


def test_ctrl_c_on_a_terminal(program: str) -> None:
    said = on_terminal(
        ["-m", "procmem", "trace", "-o", os.devnull, "--", program, "sigint"], [("r", b"\x03")]
    )
    assert "STATUS 7" in said
    said = on_terminal(
        ["-m", "procmem", "trace", "--", program, "wait", "1"], [("start", b""), ("r", b"\x03")]
    )
    assert f"STATUS {128 + signal.SIGINT}" in said


@pytest.mark.parametrize("malloc", [[], ["--malloc"]])
def test_ctrl_z_on_a_terminal(program: str, malloc: list[str]) -> None:
    said = on_terminal(
        ["-m", "procmem", "trace", *malloc, "-o", os.devnull, "--", program, "sigint"],
        [("r", b"\x1a"), ("STOPPED", b""), ("STOPPED", b"\x03")],
    )
    assert "STOPPED" in said
    assert "STATUS" in said


def test_a_tracer_inside_is_refused_and_said(place: Path, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    ran = command(
        "--json", "--force", "-o", tmp_path / "out", "--", "strace", "-o", os.devnull, "true"
    )
    theirs = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "strace", "-o", os.devnull, "true"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ran.returncode == theirs.returncode
    told = json.loads((tmp_path / "out").read_text())["refused"]
    assert told
    assert told[0]["request"] in ("PTRACE_TRACEME", "PTRACE_SEIZE", "PTRACE_ATTACH")


@pytest.mark.parametrize("status", [300, 256, -1, 7])
def test_an_exit_status_is_told_once_and_the_same(place: Path, status: int) -> None:
    source = f"#include <unistd.h>\nint main(void) {{ _exit({status}); }}\n"
    made = build(place, source, name="exits")
    ran = command("--no-malloc", "--", made)
    cut = "" if 0 <= status < 256 else f" ({status} & 0377)"
    assert ran.returncode == status & 0o377
    assert f"the process ends with {status & 0o377}{cut}\n" in ran.stderr
    assert f"process exited with {status & 0o377}\n" in ran.stderr


def test_of_a_program_of_32_bits_one_reason_is_given(place: Path) -> None:
    made = build(place, "int main(void) { return 0; }", "-m32", name="narrow")
    if subprocess.run([made], check=False).returncode:
        pytest.skip("this kernel runs no programs of 32 bits")
    text = command("--", made).stderr
    assert "of another architecture" in text
    assert "symbols" not in text
    told = json.loads(command("--json", "--malloc", "--", made).stderr)
    assert told["foreign"] == [told["pid"]]
    assert told["not_seen"] == []


def test_nothing_is_left_of_a_command_that_is_killed(place: Path) -> None:
    source = (TARGETS / "untraced.c").read_text()
    untraced = build(place, source, name="untraced")
    with subprocess.Popen(
        [sys.executable, "-m", "procmem", "trace", "-f", "-o", os.devnull, "--",
         "sh", "-c", 'while "$0" x; [ $? = 3 ]; do :; done', untraced],
        start_new_session=True, stdout=subprocess.PIPE,
    ) as started:  # fmt: skip
        time.sleep(1)
        started.send_signal(signal.SIGKILL)
        assert started.stdout
        # All of its children hold the other end of this pipe.
        assert started.stdout.read() == b""
