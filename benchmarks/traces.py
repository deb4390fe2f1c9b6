"""Tracing a program: a reported call against strace, any other call against no tracer.

Elapsed times of whole runs, since tracer and tracee wait for each other; both stay on one CPU,
where a context switch costs least and always the same. The commands, which also write text, are
measured in CPU time, on one CPU and on all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import procmem
from benchmarks.compare import FULL, children_time, compare, timed
from benchmarks.targets import CantMeasure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort, Row

__all__ = ["traces"]

SOURCE = r"""
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    long n = atol(argv[1]);
    for (long i = 0; i < n; i++)
        if (argc > 2)
            munmap(mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
        else
            syscall(SYS_getppid);
    return 0;
}
"""
STRACE = ["strace", "-f", "--seccomp-bpf", "-e", "trace=%memory,%process", "-o"]
OURS = [sys.executable, "-m", "procmem", "trace", "--no-malloc", "--force", "-o"]


def traces(effort: Effort) -> Iterator[Row]:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or not shutil.which("strace"):
        raise CantMeasure("it needs a C compiler and strace")
    recorded, others_made, many = (
        (10_000, 2_000_000, 20_000) if effort is FULL else (200, 20_000, 400)
    )
    allowed = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as place:
        program = str(Path(place) / "calls")
        subprocess.run([compiler, "-O2", "-x", "c", "-", "-o", program], input=SOURCE.encode(),
                       check=True)  # fmt: skip
        os.sched_setaffinity(0, {min(allowed)})
        try:
            memory = [program, str(recorded // 2), "memory"]
            assert len(procmem.trace(memory)) >= recorded
            measured = compare(
                "trace",
                None,
                {
                    "strace": per(recorded, lambda: run(*STRACE, os.devnull, *memory), effort),
                    "a traced call": per(recorded, lambda: procmem.trace(memory), effort),
                },
                effort,
            )
            yield measured.row("a traced call", "strace", 1.25)
            yield from commands(effort, place, [program, str(many // 2), "memory"], many, "")
            os.sched_setaffinity(0, allowed)
            free = ", on all CPUs"
            yield from commands(effort, place, [program, str(many // 2), "memory"], many, free)
            os.sched_setaffinity(0, {min(allowed)})
            others = [program, str(others_made)]
            measured = compare(
                "trace",
                None,
                {
                    "untraced": per(others_made, lambda: run(*others), effort),
                    "a call that is not reported": per(
                        others_made, lambda: procmem.trace(others), effort
                    ),
                },
                effort,
            )
            yield measured.row("a call that is not reported", "untraced", 1.5)
        finally:
            os.sched_setaffinity(0, allowed)


def commands(effort: Effort, place: str, memory: list[str], many: int, where: str) -> Iterator[Row]:
    """The two commands writing text to a file: CPU time, the tracee's too, without the start."""
    out = str(Path(place) / "out")
    strace = f"strace -o FILE{where}"
    table, lines = f"trace -o FILE{where}", f"trace --strace -o FILE{where}"
    measured = compare(
        "trace",
        None,
        {
            strace: beyond_start(many, [*STRACE, out, *memory]),
            table: beyond_start(many, [*OURS, out, *memory]),
            lines: beyond_start(many, [*OURS, out, "--strace", *memory]),
        },
        effort,
    )
    yield measured.row(table, strace, 1.25)
    yield measured.row(lines, strace, 1.25)


def beyond_start(calls: int, words: list[str]) -> Callable[[], float]:
    def sample() -> float:
        begun = children_time()
        run(*words[:-2], "1", words[-1])
        started = children_time()
        run(*words)
        return (children_time() - started - (started - begun)) / calls

    return sample


def run(*words: str) -> None:
    subprocess.run(words, check=True)


def per(calls: int, measure: Callable[[], object], effort: Effort) -> Callable[[], float]:
    sample = timed(measure, effort, time.perf_counter)
    return lambda: sample() / calls
