"""What traces need, and their calls by name."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import MemoryCall, SyscallError, Trace, trace
from procmem.view.mallocs import Mallocs
from tests.support import targets
from tests.support.paths import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "CALLS",
    "LEAKS",
    "build",
    "command",
    "counted",
    "functions",
    "given",
    "heard",
    "may_trace",
    "named",
    "own",
    "place",
    "program",
    "seen",
    "shell",
    "until",
    "until_state",
    "until_traced",
    "waiting",
]


def may_trace() -> bool:
    try:
        trace(["true"])
    except SyscallError:
        return False
    return True


def seen(program: str) -> None:
    """Skips where malloc can't be seen."""
    breakpoints = trace([program, "nothing"], malloc=True).breakpoints
    if not any(one.names for one in breakpoints):
        pytest.skip(f"malloc can't be seen here: {[one.reason for one in breakpoints]}")


def named(calls: Sequence[MemoryCall], name: str) -> list[MemoryCall]:
    return [call for call in calls if call.name == name]


@pytest.fixture(scope="session")
def program(target_binary: Path) -> str:
    """The program of traced.c; the directory is the test run's and is removed with it."""
    if not may_trace():
        pytest.skip("ptrace(2) is forbidden here")
    made = targets.directory() / f"traced-{os.getpid()}"
    if not made.exists():
        compiler = shutil.which("gcc") or shutil.which("cc") or "cc"
        source = TARGETS / "traced.c"
        targets.run_compiler([compiler, "-O1", "-Wall", "-pthread", str(source), "-o", str(made)])
        made.chmod(0o755)
    return str(made)


def shell(*words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "procmem", "trace", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def own(calls: Trace) -> list[MemoryCall]:
    """What follows the loader's and libc's start: from the first call at the known place on."""
    start = next(i for i, c in enumerate(calls) if c.words[0] == 0x10000000000)
    return calls[start:]


def until(said: str, path: str) -> None:
    """Waits until a file of /proc has a text."""
    deadline = time.monotonic() + 300
    while said not in Path(path).read_text():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def until_traced(pid: int) -> None:
    """TracerPid is the ID of the tracing thread."""
    deadline = time.monotonic() + 300
    while "TracerPid:\t0" in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextlib.contextmanager
def waiting(program: str, pages: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [program, "wait", str(pages)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout
        assert started.stdin
        assert started.stdout.read(1) == b"r"
        yield started
        with contextlib.suppress(BrokenPipeError):
            started.stdin.close()
        assert started.wait(300) == 0


def functions(calls: Trace, name: str) -> list[MemoryCall]:
    return [call for call in calls if call.is_function and call.name == name]


@contextlib.contextmanager
def heard(number: int) -> Iterator[None]:
    """Processes started here do not ignore a signal because this one does (nohup)."""
    before = signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture(scope="session")
def place(target_binary: Path) -> Path:
    """A directory for programs, where ptrace(2) is allowed."""
    if not may_trace():
        pytest.skip("ptrace(2) is forbidden here")
    return targets.directory()


def build(place: Path, source: str, *words: str, compiler: str = "gcc", name: str = "") -> Path:
    """A program of C (or C++) text; skips where it can't be built."""
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    suffix = ".cc" if "++" in compiler else ".c"
    text = place / f"{name or 'program'}-{os.getpid()}{suffix}"
    text.write_text(source)
    made = text.with_suffix("")
    done = subprocess.run(
        [compiler, "-O1", "-w", "-o", made, text, *words], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"{compiler} {' '.join(words)} does not work here: {done.stderr[-300:]!r}")
    return made


def command(*words: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "procmem", "trace", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def counted(traced: Trace) -> Mallocs:
    """A trace's calls of malloc and its kin, added up."""
    made = Mallocs()
    for found in traced.breakpoints:
        made.place(found)
    for call in traced:
        made.watch(call)
    return made


def given(traced: Trace) -> dict[int, int]:
    """Sizes of pieces by their address, of those that were never freed."""
    return {key[1]: piece.size or 0 for key, piece in counted(traced).live.items()}


def until_state(pid: int, letters: str) -> None:
    deadline = time.monotonic() + 300
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in letters:
        assert time.monotonic() < deadline
        time.sleep(0.002)


LEAKS = """#include <stdlib.h>
#include <pthread.h>
#include <unistd.h>
static void *work(void *unused) { void *volatile own = malloc(50); pause(); return own; }
int main(int count, char **words) {
    void *volatile kept = malloc(100);
    pthread_t thread;
    free(kept);
    kept = malloc(5000);
    for (int i = 0; count > 2 && i < 3; i++) pthread_create(&thread, 0, work, 0);
    if (count > 1) kept = 0;
    return 0;
}
"""

CALLS = """#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define PAGE 4096ul
int main(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    char *at = mmap((void *)0x10000000000, 8 * PAGE, 3, flags, -1, 0);
    int fd = memfd_create("file", 0);
    ftruncate(fd, 16 * PAGE);                  /* nobody has mapped it: not told */
    char *file = mmap((void *)0x20000000000, 16 * PAGE, 3, MAP_SHARED | MAP_FIXED, fd, 0);
    for (int i = 0; i < 16; i++) file[i * PAGE] = 1;
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * PAGE);
    ftruncate(fd, 8 * PAGE);
    prctl(PR_SET_NAME, "other");               /* no memory: not told */
    prctl(0x53564d41, 0, at, 8 * PAGE, "name");
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    syscall(SYS_mbind, at, 4 * PAGE, 1, NULL, 0, 0);
    syscall(SYS_remap_file_pages, file, PAGE, 0, 1, 0);
    syscall(462, at, PAGE, 0);
    munmap(at, PAGE);
    return 0;
}
"""
