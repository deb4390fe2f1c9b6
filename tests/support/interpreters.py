"""An interpreter that allocates objects at random, and what it says of its own allocator."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from procmem.heap.python import PythonHeap

__all__ = [
    "Interpreted",
    "Report",
    "class_differences",
    "has_pymalloc",
    "interpreters",
    "is_free_threaded",
]

CODE = """
import random, signal, sys
wanted = {signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
report, wait = sys._debugmallocstats, signal.sigwait
kept = [None] * 20000
makers = (
    bytes, lambda n: [None] * (n % 60), lambda n: (n,) * (n % 50), lambda n: str(n) * (n % 9),
    float, lambda n: {n: n}, lambda n: set(range(n % 20)), lambda n: object(), lambda n: 1 << n,
)
def go(seed, steps):
    chance = random.Random(seed)
    for _ in range(steps):
        kept[chance.randrange(len(kept))] = chance.choice(makers)(chance.randrange(500))
        if not chance.randrange(3):
            kept[chance.randrange(len(kept))] = None
        if not chance.randrange(2000):
            first = chance.randrange(len(kept))
            kept[first:first + 5000] = [None] * len(kept[first:first + 5000])
# What its first call allocates is there from now on.
signal.raise_signal(signal.SIGUSR1)
wait(wanted)
while True:
    line = sys.stdin.readline()
    if not line:
        break
    go(*map(int, line.split()))
    del line
    report()
    wait(wanted)
"""
"""It waits for a signal and nothing is allocated between the report and the wait."""

ROW = re.compile(r"\s*\d+\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*")
ARENAS = re.compile(r"# arenas allocated current\s+=\s+([\d,]+)")
FIRST = "Small block threshold"


class Report(NamedTuple):
    """What sys._debugmallocstats() prints.

    Attributes:
        classes: pools, blocks in use and free blocks, by the size of a block in bytes.
        arenas: the number of arenas; None: there is no allocator for small objects.
    """

    classes: Mapping[int, tuple[int, int, int]]
    arenas: int | None


def interpreters() -> list[str]:
    """The interpreters of CPython 3.10 and later that are found here."""
    found = {sys.executable}
    for minor in range(10, 16):
        for form in ("", "t", "d", "-dbg"):
            path = shutil.which(f"python3.{minor}{form}")
            if path is None:
                continue
            if not subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode:
                found.add(path)
    return sorted(found)


def is_free_threaded(interpreter: str) -> bool:
    """Whether an interpreter was built without the GIL, and so with mimalloc for objects."""
    code = "import sysconfig; print(sysconfig.get_config_var('Py_GIL_DISABLED'))"
    done = subprocess.run([interpreter, "-I", "-c", code], capture_output=True, check=True)
    return done.stdout.strip() == b"1"


def has_pymalloc(interpreter: str) -> bool:
    """Whether an interpreter has pymalloc for small objects, and uses it."""
    if is_free_threaded(interpreter):
        return False  # it prints the same table, of zeros
    code = "import sys; sys._debugmallocstats()"
    done = subprocess.run(
        [interpreter, "-s", "-c", code], capture_output=True, text=True, check=True, env={}
    )
    return FIRST in done.stderr


def report_in(text: str) -> Report:
    """The last report in a text."""
    last = text[text.rindex(FIRST) :] if FIRST in text else ""
    arenas = ARENAS.search(last)
    rows = (ROW.fullmatch(line) for line in last.splitlines())
    classes = {
        size: (pools, in_use, free)
        for size, pools, in_use, free in (map(int, row.groups()) for row in rows if row)
    }
    return Report(classes, int(arenas[1].replace(",", "")) if arenas else None)


class Interpreted:
    """The running interpreter; it ends with its `with` block.

    Args:
        interpreter: its path.
        environment: its environment.
    """

    def __init__(self, interpreter: str, **environment: str) -> None:
        self.printed = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed by __exit__
        self.process = subprocess.Popen(
            [interpreter, "-s", "-c", CODE],
            stdin=subprocess.PIPE,
            stderr=self.printed,
            env=environment,
            text=True,
        )
        self.pid = self.process.pid
        self.reports = 0

    def go(self, seed: int, steps: int) -> Report:
        """Has it make and drop objects, print its report, and wait."""
        assert self.process.stdin is not None
        if self.reports:
            self.process.send_signal(signal.SIGUSR1)
        self.reports += 1
        self.process.stdin.write(f"{seed} {steps}\n")
        self.process.stdin.flush()
        status = Path(f"/proc/{self.pid}/status")
        while True:
            assert self.process.poll() is None
            begun = Path(self.printed.name).read_text().count(FIRST) >= self.reports
            # After the begin of its report it sleeps only in sigwait(3): the report is whole then,
            # which it need not have been when its begin was read.
            if begun and "\nState:\tS" in status.read_text():
                return report_in(Path(self.printed.name).read_text())
            time.sleep(0.0005)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.kill()
        self.process.stdin.close()
        self.process.wait()
        self.printed.close()


def class_differences(found: PythonHeap | None, truth: Report) -> list[str]:
    """What is not equal."""
    if found is None:
        return ["no CPython was found"]
    ours = {size: (one.pools, one.in_use, one.free) for size, one in found.classes.items()}
    wrong = [
        f"blocks of {size} bytes {ours.get(size)} and {truth.classes.get(size)}"
        for size in sorted(ours.keys() | truth.classes.keys())
        if ours.get(size) != truth.classes.get(size)
    ]
    if truth.arenas is not None and len(found.arenas) != truth.arenas:
        wrong.append(f"arenas {len(found.arenas)} and {truth.arenas}")
    return wrong
