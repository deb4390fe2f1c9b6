"""Why ptrace(2) refuses, in words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import (
    AccessDenied,
    NoSuchProcess,
    ZombieProcess,
    trace,
)
from procmem.errors import BadArgument, KernelThread
from procmem.tracing.tracer import Tracing
from tests.support.targets import NOBODY, PAGE
from tests.support.traced import (
    command,
    own,
    shell,
    until_state,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced program counts in pages of 4 KiB")


def test_refusals(program: str, is_root: bool) -> None:
    with pytest.raises(NoSuchProcess):
        trace(pid=2**22 + 1)
    assert shell("-p", str(2**22 + 1)).returncode == 1
    with (
        waiting(program, 1) as started,
        Tracing(pid=started.pid),
        pytest.raises(AccessDenied, match=rf"process {os.getpid()} \(.*\) already traces it"),
    ):
        trace(pid=started.pid)
    if not is_root:
        with pytest.raises(AccessDenied):
            trace(pid=1)


def test_an_ordinary_user_traces(program: str, is_root: bool, tmp_path: Path) -> None:
    """The program runs as nobody, under a filter that root installed."""
    if not is_root or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become another user")
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", program]
    traced = trace([*words, "everything"])
    assert traced.returncode == 0
    assert own(traced)[0].delta_vsz == 100 * PAGE


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as started:
        yield started
        started.kill()


def test_a_zombie_has_ended(place: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        until_state(ended.pid, "Z")
        with pytest.raises(ZombieProcess, match="zombie"):
            trace(pid=ended.pid)
        assert "a zombie: it has ended" in command("-p", str(ended.pid)).stderr


def test_what_forbids_it_is_named(
    place: Path, is_root: bool, sleeper: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(NoSuchProcess):
        trace(pid=2**22 + 1)
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        with pytest.raises(BadArgument, match="own threads"):
            trace(pid=other.native_id)
    finally:
        over.set()
        other.join()
    with (
        Tracing(pid=sleeper.pid),
        pytest.raises(AccessDenied, match=rf"process {os.getpid()} \(.*\) already traces it"),
    ):
        trace(pid=sleeper.pid)
    if Path("/proc/2/comm").exists() and Path("/proc/2/comm").read_text() == "kthreadd\n":
        with pytest.raises(KernelThread):
            trace(pid=2)
    if not is_root:
        with pytest.raises(AccessDenied, match="it runs as root"):
            trace(pid=1)


DENIALS = """
import ctypes, os, sys
from procmem import trace
from procmem.errors import ProcmemError
prctl = ctypes.CDLL(None).prctl
nobody, ours, hidden = map(int, sys.argv[1:])
os.setgroups([]); os.setgid(nobody); os.setuid(nobody)
for pid in (ours, hidden):
    try:
        trace(pid=pid)
    except ProcmemError as error:
        print(error)
"""


def test_an_ordinary_user_is_told_why(
    place: Path, is_root: bool, sleeper: subprocess.Popen[bytes]
) -> None:
    if not is_root:
        pytest.skip("needs root, to become another user")
    code = (
        "import ctypes, os, time\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "ctypes.CDLL(None).prctl(4, 0)\n"
        "print(1, flush=True); time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as hidden:
        try:
            assert hidden.stdout
            hidden.stdout.readline()
            done = subprocess.run(
                [sys.executable, "-c", DENIALS, str(NOBODY), str(sleeper.pid), str(hidden.pid)],
                capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
        finally:
            hidden.kill()
    if "No module" in done.stderr or "Permission" in done.stderr:
        pytest.skip("an ordinary user can't read this installation")
    first, second = done.stdout.splitlines()
    assert "it runs as root, and you are nobody: root may" in first
    assert "it is not dumpable" in second


def test_whoever_traces_this_process_is_not_traced_in_return(place: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    code = (
        "import re\nfrom procmem import trace\n"
        "own = int(re.search(r'TracerPid:\\s(\\d+)', open('/proc/self/status').read())[1])\n"
        "try: trace(pid=own)\nexcept Exception as error: print(error)\n"
    )
    done = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "-e", "trace=none", sys.executable, "-c", code],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert "traces this process: each would wait for the other" in done.stdout
