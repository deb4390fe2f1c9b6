"""The installed pmap and ps beside ours, over live processes and over saved trees.

In a mount namespace of its own a saved tree is mounted over /proc: the installed programs
and ours then read the very same bytes, hostile ones that no process could have, too.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import targets
from tests.support.paths import TESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

VERSION = 4, 0, 2
"""What ours is like. Newer ones of 4 are compared with, too, but where they are known to differ;
older ones format and cut otherwise."""

DIFFERENCES = {
    (4, 0, 4): {
        "odd characters in UTF-8": "control characters and bytes that are no UTF-8 are shown as"
        " other characters, and fewer of them",
        "wide sums": "pmap -X no longer adds up the processes before",
        "0b": "strtol(3) of the C library it was built with takes 0b1 for a number",
    },
    (4, 0, 7): {
        "odd characters": "control characters are shown as dots",
        "wide ranges": "pmap -X -A keeps to the range",
        "255 processes": "pmap takes more than 255 processes",
        "k": "pmap takes -k for an option",
        "zombies": "ps writes <defunct> behind a zombie's name, and cuts that to the column",
        "order of -p": "ps prints processes in the order that was asked for",
    },
}
"""By the version that showed it first: 4.0.4 of Debian 13, 4.0.7 of sid. See docs/support.md."""

PATIENCE = 300


@dataclass(frozen=True)
class Answer:
    """What a command printed."""

    status: int
    out: bytes
    err: bytes = b""


@cache
def version(command: str) -> tuple[int, ...]:
    """Of procps-ng, by what the command says of itself; empty: it is another's, or not there."""
    path = shutil.which(command)
    if path is None:
        return ()
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"procps-ng (\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else ()


def missing(command: str) -> str:
    """Why the installed command can't be compared with; empty if it can."""
    found = version(command)
    if found[:1] == (4,) and found >= VERSION:
        return ""
    return f"{command} of procps-ng {'.'.join(map(str, VERSION))} or a newer 4 is not installed"


def same_or_skip(command: str, what: str) -> None:
    """Skips the running test where the installed command is known to differ in that."""
    found = version(command)
    for since, known in DIFFERENCES.items():
        # What lies between two versions was not tried.
        if what in known and found > VERSION and (since == min(DIFFERENCES) or found > (4, 0, 4)):
            pytest.skip(f"procps-ng {'.'.join(map(str, found))}: {known[what]}")


def same_characters_or_skip(command: str, utf8: bool) -> None:
    """Skips the running test where the installed command shows odd characters otherwise."""
    if utf8:
        same_or_skip(command, "odd characters in UTF-8")
    same_or_skip(command, "odd characters")


needs_pmap = pytest.mark.skipif(bool(missing("pmap")), reason=missing("pmap"))
needs_ps = pytest.mark.skipif(bool(missing("ps")), reason=missing("ps"))


def environment(utf8: bool, more: dict[str, str] | None = None) -> dict[str, str]:
    """An environment of the C locale, or of its UTF-8 sister."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("LC_", "LANG", "COLUMNS", "POSIXLY", "PS_", "I_WANT"))
    }
    return kept | {"LC_ALL": "C.UTF-8" if utf8 else "C"} | (more or {})


def theirs(
    words: Sequence[str | bytes], *, utf8: bool = False, env: dict[str, str] | None = None
) -> Answer:
    """The installed command."""
    done = subprocess.run(
        words,
        capture_output=True,
        check=False,
        env=environment(utf8, env),
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


class Captured(io.TextIOWrapper):
    """A standard output that is no terminal, or plays one."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def text(self) -> bytes:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue()


def ours(
    words: Sequence[str],
    *,
    root: str | os.PathLike[str] = "/proc",
    utf8: bool = False,
    env: dict[str, str] | None = None,
    terminal: bool = False,
) -> Answer:
    """Our command of the same name, in this process: `procmem pmap` for ["pmap", ...]."""
    module = importlib.import_module(f"procmem.cli.{words[0]}")
    out, err = Captured(terminal), Captured()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setattr(module, "is_utf8", lambda: utf8)
        for key in ("COLUMNS", "POSIXLY_CORRECT"):
            patch.delenv(key, raising=False)
        for key, value in (env or {}).items():
            patch.setenv(key, value)
        status = module.main(list(words[1:]), root=os.fspath(root))
    return Answer(status, out.text, err.text)


def command(
    words: Sequence[str], *, env: dict[str, str] | None = None, utf8: bool = False
) -> Answer:
    """Our command as a user starts it."""
    return theirs([sys.executable, "-m", "procmem", *words], env=env, utf8=utf8)


# ---- live processes ---------------------------------------------------------------


def whole(text: bytes) -> bytes:
    """All of an output."""
    return text


def settled(words: Sequence[str], compared: Callable[[bytes], bytes] = whole) -> bool:
    """Compares two live readings; where they differ the process may have moved: once more.

    Returns whether it ever stood still.
    """

    def read(run: Callable[[Sequence[str]], Answer]) -> tuple[bytes, int]:
        answer = run(words)
        return compared(answer.out), answer.status

    differing = None
    for _ in range(30):
        expected, mine = read(theirs), read(ours)
        if mine == expected:
            return True
        # One that goes back and forth between a few states is the same twice, by chance.
        if all((read(theirs), read(ours)) == (expected, mine) for _ in range(4)):
            differing = mine, expected
    assert differing is None, "{}\nis not what it prints:\n{}".format(*differing or ())
    return False


def of_one_time(
    words: Sequence[str], *, utf8: bool = False, env: dict[str, str] | None = None
) -> tuple[Answer, Answer]:
    """What both print of processes that stand still: the kernel may take pages of files from them.

    Returns:
        The installed command's answer, and ours.
    """
    for _ in range(30):
        before, mine = theirs(words, utf8=utf8, env=env), ours(words, utf8=utf8, env=env)
        if theirs(words, utf8=utf8, env=env) == before:
            break
    return before, mine


def sections(text: bytes) -> dict[int, bytes]:
    """The output of pmap for several processes, by PID."""
    starts = [*re.finditer(rb"(?m)^(\d+):   ", text)]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return {
        int(match[1]): text[match.start() : end] for match, end in zip(starts, ends, strict=True)
    }


def listed() -> list[int]:
    """The PIDs of this machine, without this process and those that this worker has started."""
    own = {os.getpid(), *targets.started}
    return sorted(
        int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in own
    )


MOVING = frozenset(
    (
        "Pss Pss_Dirty SwapPss Shared_Clean Shared_Dirty Private_Clean Private_Dirty Referenced "
        "Shared_Hugetlb Private_Hugetlb"
    ).split()
)
"""Columns that other processes and the kernel change while a process stands still."""


def steady(text: bytes) -> bytes:
    """The wide table of pmap without the columns that move by themselves."""
    lines = text.split(b"\n")
    kept = lines[:1]
    names: list[bytes] = []
    for line in lines[1:]:
        if line.lstrip().startswith(b"Address "):
            names = line.split()
            counted = [name for name in names if name not in (b"VmFlags", b"Mapping")]
        if not names:
            kept.append(line)
            continue
        plain = set(line.strip()) <= set(b"= ")
        total = line.endswith(b"KB ") and line.startswith(b" ")
        numbers = [b""] * 5 + line.split()
        values = numbers if plain or total else line.split(None, len(counted))
        chosen = [
            value
            for name, value in zip(counted, values, strict=False)
            if name.decode() not in MOVING and not plain
        ]
        kept.append(b" ".join(chosen + values[len(counted) :]))
    return b"\n".join(kept)


# ---- saved trees ------------------------------------------------------------------

DRIVER = r"""
import json, os, subprocess, sys
tree, jobs = sys.argv[1], json.load(sys.stdin)
subprocess.run(["mount", "--bind", tree, "/proc"], check=True)
stat = open("/proc/self/stat").read()
status = open("/proc/self/status").read()
answers = []

def introduce():
    # ps looks itself up.
    me = f"{tree}/{os.getpid()}"
    os.mkdir(me)
    with open(f"{me}/stat", "w") as file:
        file.write(stat.replace("SELF", str(os.getpid())))
    with open(f"{me}/status", "w") as file:
        file.write(status.replace("SELF", str(os.getpid())))

for job in jobs:
    words = [word.encode() for word in job["words"]]
    child = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=job["env"],
        preexec_fn=introduce if words[0] == b"ps" else None,
    )
    out, err = child.communicate()
    answers.append((child.returncode, out.decode("latin-1"), err.decode("latin-1")))
json.dump(answers, sys.stdout)
"""

SELF_STAT = (
    "SELF (self) R 1 SELF SELF 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0 "
    "18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)
SELF_STATUS = (
    "Name:\tself\nState:\tR (running)\nTgid:\tSELF\nPid:\tSELF\nPPid:\t1\nUid:\t0\t0\t0\t0\n"
    "Gid:\t0\t0\t0\t0\nThreads:\t1\n"
)


@cache
def namespaces() -> str:
    """Why a saved tree can't be put in /proc's place here; empty if it can."""
    if shutil.which("unshare") is None:
        return "no unshare(1) to make a mount namespace with"
    done = subprocess.run(
        [*unshare(), "mount", "--bind", os.fspath(TESTS), "/proc"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"kernel feature missing: mount namespaces ({done.stderr.strip()})" * bool(
        done.returncode
    )


def unshare() -> list[str]:
    return ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]


class Tree:
    """A saved /proc."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "self/task").mkdir(parents=True)
        (path / "self/stat").write_text(SELF_STAT)
        (path / "self/status").write_text(SELF_STATUS)
        (path / "self/maps").write_text("")
        (path / "sys/kernel").mkdir(parents=True)
        for name in ("version", "uptime", "stat", "meminfo", "sys/kernel/pid_max"):
            (path / name).write_bytes(Path("/proc", name).read_bytes())

    def add(self, pid: int, **files: bytes) -> None:
        """A process with these files."""
        place = self.path / str(pid)
        place.mkdir()
        for name, data in files.items():
            (place / name).write_bytes(data)

    def capture(self, pid: int) -> bool:
        """A live process as it is now; False if it can't be read (whole)."""
        files = {}
        with contextlib.suppress(OSError):
            for name in ("stat", "status", "cmdline", "maps", "smaps"):
                files[name] = Path(f"/proc/{pid}/{name}").read_bytes()
            with contextlib.suppress(OSError):
                files["smaps_rollup"] = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
            # A program that was replaced in between would be torn.
            if files["maps"] == Path(f"/proc/{pid}/maps").read_bytes():
                self.add(pid, **files)
                return True
        return False

    def theirs(
        self,
        commands: Iterable[Sequence[str]],
        *,
        utf8: bool = False,
        env: dict[str, str] | None = None,
    ) -> list[Answer]:
        """The installed commands, with this tree as /proc; skips where that can't be."""
        if namespaces():
            pytest.skip(namespaces())
        jobs = [{"words": list(words), "env": environment(utf8, env)} for words in commands]
        done = subprocess.run(
            [*unshare(), sys.executable, "-c", DRIVER, os.fspath(self.path)],
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return [
            Answer(status, out.encode("latin-1"), err.encode("latin-1"))
            for status, out, err in json.loads(done.stdout)
        ]

    def ours(
        self, words: Sequence[str], *, utf8: bool = False, env: dict[str, str] | None = None
    ) -> Answer:
        """Our command over this tree."""
        return ours(words, root=self.path, utf8=utf8, env=env)

    def compare(
        self,
        commands: Iterable[Sequence[str]],
        *,
        utf8: bool = False,
        env: dict[str, str] | None = None,
    ) -> int:
        """Asserts that both print the same, byte for byte. Returns the number of comparisons."""
        commands = list(commands)
        for words, expected in zip(
            commands, self.theirs(commands, utf8=utf8, env=env), strict=True
        ):
            mine = self.ours(words, utf8=utf8, env=env)
            same = (mine.out, mine.status) == (expected.out, expected.status)
            assert same, f"{words}\n{mine.out!r}\nis not what it prints:\n{expected.out!r}"
        return len(commands)


@contextlib.contextmanager
def zombie() -> Iterator[int]:
    """A process that has ended, until the block is left."""
    child = subprocess.Popen(["true"])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        yield child.pid
    finally:
        child.wait()
