"""The share of a CPU that recording takes, ten times a second, of a process of 300 regions."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.compare import FULL, Row
from benchmarks.interpreters import environment, python
from benchmarks.targets import CantMeasure, Target, workshop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.compare import Effort

__all__ = ["recordings"]

REGIONS = 300
EVERY = 0.05
"""Seconds between changes of the process that changes: no two snapshots of it are alike."""

SETTLED = 0.5
"""Seconds of recording after which the command has started."""

TARGET = 0.02

LIBRARY = """
import json, sys, time
import procmem
with procmem.record(int(sys.argv[1])) as recorder:
    time.sleep(float(sys.argv[2]))
    begun = time.process_time(), time.monotonic(), recorder.taken
    time.sleep(float(sys.argv[3]))
    ended = time.process_time(), time.monotonic(), recorder.taken
print(json.dumps([b - a for a, b in zip(begun, ended)]))
"""


def recordings(effort: Effort) -> Iterator[Row]:
    """CPU seconds per second: of the command, with and without its start, and of the library."""
    if not Path("/proc/self/schedstat").exists():
        raise CantMeasure("this kernel has no /proc/PID/schedstat")
    seconds, rounds = (10.0, 3) if effort is FULL else (1.0, 1)
    for changing, name in ((0, "at rest"), (int(EVERY * 1000), "changing")):
        found: dict[str, list[float]] = {}
        with Target(REGIONS, changing=changing) as target:
            for _ in range(rounds):
                for subject, value in shares(target.pid, seconds, bool(changing)).items():
                    found.setdefault(f"{subject}, {name}", []).append(value)
        for subject, values in found.items():
            goal = TARGET if effort is FULL and "start" not in subject else None
            yield Row(
                "record", REGIONS, subject, "a CPU", "s", median(values), 1.0,
                median(values), min(values), max(values), rounds, goal,
            )  # fmt: skip


def shares(pid: int, seconds: float, changing: bool) -> dict[str, float]:
    path = workshop() / "one.rec"
    words = [python(), "-m", "procmem", "record", str(pid), "-o", str(path), "--json"]
    library = [python(), "-c", LIBRARY, str(pid), str(SETTLED), str(seconds)]
    with (
        subprocess.Popen(
            [*words, "--for", str(seconds + 2 * SETTLED)], stdout=subprocess.PIPE,
            env=environment(), cwd=workshop(),
        ) as command,
        subprocess.Popen(
            library, stdout=subprocess.PIPE, env=environment(), cwd=workshop()
        ) as script,
    ):  # fmt: skip
        while command.poll() is None and not (path.exists() and path.stat().st_size > 100):
            time.sleep(0.01)
        time.sleep(SETTLED)
        before = spent(command.pid), time.monotonic()
        time.sleep(seconds - SETTLED)
        after = spent(command.pid), time.monotonic()
        whole = 0.0
        while command.poll() is None:
            whole = spent(command.pid)
            time.sleep(0.002)
        report = json.loads(command.communicate()[0])
        cpu, wall, taken = json.loads(script.communicate()[0])
    path.unlink()
    if changing:
        # It must have paid for what it claims to see.
        assert taken > wall
        assert report["snapshots"] > 8 * seconds
    return {
        "procmem record": (after[0] - before[0]) / (after[1] - before[1]),
        "procmem.record()": cpu / wall,
        f"procmem record of {seconds:.0f} s, start and report included": whole / seconds,
    }


def spent(pid: int) -> float:
    """CPU seconds of a process with one thread."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
