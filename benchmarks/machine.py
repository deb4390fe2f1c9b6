"""All processes of the machine: against raw reads of smaps_rollup, psutil and smem."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING
from unittest.mock import patch

import psutil

from benchmarks.compare import Row, Skip, children_time, compare, timed
from benchmarks.targets import CantMeasure, built, workshop
from procmem.procfs import probes
from procmem.system import machine as room
from procmem.system.machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.compare import Effort

__all__ = ["machines", "stalls"]

CROWD = (300, 8192, 4096)
"""Processes; KiB that all of them share; KiB that each has for itself."""

MANY = 10_000
"""Sleeping processes; more would come near the usual pid_max of 32,768."""

RAW = "raw reads of smaps_rollup"


@contextmanager
def crowd(count: int, shared: int, own: int) -> Iterator[list[int]]:
    """The PIDs of processes that sleep.

    Raises:
        CantMeasure: not so many can be started.
    """
    words = [str(built("crowd.c", "-pthread")), str(count), str(shared), str(own)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdin is not None
        pids = [int(word) for word in started.stdout.readline().split()]
        try:
            if len(pids) < count:
                raise CantMeasure(f"only {len(pids):,} processes could be started")
            yield pids
        finally:
            started.stdin.close()


@contextmanager
def only(pids: Sequence[int]) -> Iterator[None]:
    """Lets machine() see these processes alone, so that others don't change the figures."""
    with patch.object(room, "pids", lambda _root: list(pids)):
        yield


def raw_rollups(pids: Sequence[int]) -> None:
    for pid in pids:
        fd = os.open(f"/proc/{pid}/smaps_rollup", os.O_RDONLY)
        os.read(fd, 65536)
        os.close(fd)


def full_info(pids: Sequence[int]) -> None:
    for pid in pids:
        process = psutil.Process(pid)
        process.memory_full_info()
        process.name()
        process.username()


def machines(effort: Effort) -> Iterator[Row | Skip]:
    """What reading a crowd costs, and whether that grows with the number of processes alone."""
    full = effort.budget > 0
    count, shared, own = CROWD if full else (20, 1024, 256)
    with crowd(count, shared, own) as pids, only(pids):
        found = machine(frames=False)
        assert [process.pid for process in found.processes] == pids
        assert not found.unread
        sides: dict[str, Callable[[], object]] = {
            RAW: lambda: raw_rollups(pids),
            "psutil memory_full_info() of each": lambda: full_info(pids),
            "machine(frames=False)": lambda: machine(frames=False),
        }
        if probes.shows_page_frames():
            sides["machine(frames=True)"] = lambda: machine(frames=True)
        samples = {name: timed(run, effort) for name, run in sides.items()}
        result = compare("machine", count, samples, effort)
        yield result.row("machine(frames=False)", RAW, 1.15)
        yield result.row("machine(frames=False)", "psutil memory_full_info() of each", 0.2)
        if probes.shows_page_frames():
            yield result.row("machine(frames=True)", RAW)
    yield from against_smem(count, shared, own, effort)
    if full:
        yield from growth(effort)


def against_smem(count: int, shared: int, own: int, effort: Effort) -> Iterator[Row | Skip]:
    """Both commands list all processes of the machine, a crowd among them."""
    smem = os.environ.get("SMEM") or shutil.which("smem")
    if smem is None:
        yield Skip("machine", "procmem top", "smem is not installed (package smem)")
        return
    ours = [sys.executable, "-m", "procmem", "top", "--fast", "--limit", "0"]
    with crowd(count, shared, own):
        samples = {
            "procmem top --fast": timed(lambda: run(ours), effort, children_time),
            "smem": timed(lambda: run(["python3", smem]), effort, children_time),
        }
        result = compare("machine", count, samples, effort)
    yield result.row("procmem top --fast", "smem", 0.2)


def run(words: Sequence[str]) -> None:
    # With bytecode, as pip leaves it.
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(workshop() / "bytecode")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    quiet = subprocess.DEVNULL
    subprocess.run(words, check=True, stdout=quiet, stderr=quiet, env=env)


def growth(effort: Effort) -> Iterator[Row | Skip]:
    """The time for each of many sleeping processes beside that of each of few."""
    try:
        with crowd(MANY, 64, 4) as pids:
            few = pids[: MANY // 20]

            def per_process(chosen: Sequence[int]) -> float:
                with only(chosen):
                    begun = time.thread_time()
                    assert len(machine(frames=False).processes) == len(chosen)
                    return (time.thread_time() - begun) / len(chosen)

            samples = {
                f"each of {len(few):,}": lambda: per_process(few),
                f"each of {MANY:,}": lambda: per_process(pids),
            }
            result = compare("machine", MANY, samples, effort)
            yield result.row(f"each of {MANY:,}", f"each of {len(few):,}", 1.3)
    except CantMeasure as why:
        yield Skip("machine", f"{MANY:,} processes", str(why))


def stalls(effort: Effort) -> Iterator[Row | Skip]:
    """The longest that a process's own mmap(2) takes while it is read.

    16 GiB are mapped by the page of zeros alone, which takes 32 MiB of page tables: the kernel
    walks as many entries as for other memory, but counts nothing.
    """
    for kind, mebibytes in (("mapper", 4 * effort.mebibytes), ("zeros", 32 * effort.mebibytes)):
        words = [str(built("crowd.c", "-pthread")), kind, str(mebibytes)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as mapper:
            try:
                yield from stalls_of(mapper, kind, mebibytes, effort)
            finally:
                mapper.kill()


def stalls_of(
    mapper: subprocess.Popen[bytes], kind: str, mebibytes: int, effort: Effort
) -> Iterator[Row | Skip]:
    source, sink = mapper.stdout, mapper.stdin
    assert source is not None
    assert sink is not None
    source.readline()

    def longest(read: Callable[[], object]) -> float:
        def ask() -> float:
            # A call may still be under way, and on a busy machine none may have been made.
            while True:
                time.sleep(0.005)
                sink.write(b"\n")
                sink.flush()
                if took := int(source.readline()):
                    return took / 1e9

        # Waiting for a CPU counts, too: the quickest of a few readings has least of it.
        found = []
        for _ in range(3):
            ask()
            read()
            found.append(ask())
        return min(found)

    with only([mapper.pid]):
        sides: dict[str, Callable[[], object]] = {
            "nobody reads": lambda: time.sleep(0.02),
            RAW: lambda: raw_rollups([mapper.pid]),
            "machine(frames=False)": lambda: machine(frames=False),
            "machine(max_stall=0.001)": lambda: machine(frames=False, max_stall=0.001),
        }
        samples = {name: (lambda side=side: longest(side)) for name, side in sides.items()}
        of = " of zeros" if kind == "zeros" else ""
        result = compare(f"stalls, {mebibytes} MiB{of}", None, samples, effort)
        for name in ("machine(frames=False)", "machine(max_stall=0.001)", "nobody reads"):
            yield result.row(name, RAW)
        assert median(result.values[RAW]) > 0
