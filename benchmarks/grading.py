"""python -m benchmarks.grading: how long many submissions take, and the grader's memory meanwhile.

Copies of a lab's solution are graded by `procmem grade`: on this machine, or (--dask) by two
workers of Dask one of which is killed in mid-run. Progress and the grader's RSS are sampled five
times a second. Not part of `python -m benchmarks`: it takes minutes, and there is no baseline.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from procmem.labs import find

DASK = "import sys; from dask.__main__ import main; sys.exit(main())"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading", description=__doc__)
    parser.add_argument("--lab", default="alloc-size")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dask", action="store_true", help="two workers, one of them killed")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lab = find(arguments.lab)
        for number in range(arguments.count):
            shutil.copytree(lab.solution, place / "subs" / f"s{number:04}")
        words = [str(place / "subs"), "-o", str(place / "results")]
        workers = cluster(stack, place) if arguments.dask else []
        words += workers[0][1:] if workers else ["--jobs", str(arguments.jobs)]
        words = [sys.executable, "-m", "procmem", "grade", arguments.lab, *words]
        begun = time.monotonic()
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as run:
            samples = watched(run, place / "results", arguments.count, workers)
        took = time.monotonic() - begun
        summary = json.loads((place / "results" / "summary.json").read_text())
        with open(place / "results" / "grades.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    full = max(float(row["score"]) for row in rows)
    same = sum(float(row["score"]) == full == float(row["max_score"]) for row in rows)
    assert [row["submission"] for row in rows] == [f"s{n:04}" for n in range(arguments.count)]
    print(
        f"{arguments.count} copies of {arguments.lab}, {lab_words(arguments.dask, arguments.jobs)}:"
    )
    print(f"  {took / 60:.1f} minutes, {1000 * took / arguments.count:.0f} ms each by the clock")
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = spent.ru_utime + spent.ru_stime
    print(f"  CPU time of all: {cpu / 60:.1f} minutes, {1000 * cpu / arguments.count:.0f} ms each")
    print(f"  {same} with all {full:g} points, {summary['errors']} errors of the grader")
    print("  RSS in MiB, (done: grader, its servers):")
    print("  " + ", ".join(f"{done}: {grader:.1f}, {rest:.0f}" for done, grader, rest in samples))
    return 0 if same == arguments.count else 1


def lab_words(dask: bool, jobs: int) -> str:
    return "two workers of Dask, one killed" if dask else f"{jobs} jobs on {os.cpu_count()} CPUs"


def cluster(stack: ExitStack, place: Path) -> list[list[str]]:
    """Starts a scheduler and two workers; gives the words for the command, and the victim."""

    def start(*words: str) -> subprocess.Popen[bytes]:
        log = subprocess.DEVNULL
        made = subprocess.Popen([sys.executable, "-W", "ignore", "-c", DASK, *words],
                                stdout=log, stderr=log, cwd=place)  # fmt: skip
        stack.callback(made.wait)
        stack.callback(made.kill)
        return made

    about = place / "scheduler.json"
    start("scheduler", "--port=0", "--no-dashboard", f"--scheduler-file={about}")
    while not about.exists() or not about.read_text().rstrip().endswith("}"):
        time.sleep(0.05)
    address = json.loads(about.read_text())["address"]
    how = ("--nthreads=1", "--no-dashboard", "--no-nanny", "--resources=slot=1")
    victim, _ = start("worker", address, *how), start("worker", address, *how)
    return [[str(victim.pid), "--dask", address]]


def watched(
    run: subprocess.Popen[bytes], results: Path, count: int, workers: list[list[str]]
) -> list[tuple[int, float, float]]:
    """Waits until it ends; returns how many were done, and RSS in MiB, at each tenth."""
    found: list[tuple[int, float, float]] = []
    victim = int(workers[0][0]) if workers else None
    grader = psutil.Process(run.pid)
    while run.poll() is None:
        with contextlib.suppress(OSError, psutil.Error):
            done = len(os.listdir(results / "submissions"))
            if victim is not None and done > count // 3:
                os.kill(victim, 9)
                victim = None
            if not found or done >= found[-1][0] + count // 10:
                rest = sum(child.memory_info().rss for child in grader.children())
                found.append((done, grader.memory_info().rss / 2**20, rest / 2**20))
        time.sleep(0.2)
    return found


if __name__ == "__main__":
    sys.exit(main())
