"""What the process that measures answers about a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from procmem import KiB, MiB
from procmem.experiments import Specimen
from procmem.procfs import probes
from procmem.procfs import totals as usage
from procmem.testing.marks import kept_for_later
from procmem.testing.watcher import Watcher

PAGE = os.sysconf("SC_PAGE_SIZE")


def test_a_process_that_ends() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        watcher = Watcher(process.pid)
        assert watcher.answer("begin")["rss"] > 0
    assert "error" in watcher.answer("end")


def test_a_wrong_pid() -> None:
    command = [sys.executable, "-m", "procmem.testing.watcher", "999999999"]
    ran = subprocess.run(command, input="begin\n", capture_output=True, text=True, check=True)
    assert '"error"' in ran.stdout
    assert not ran.stderr


def test_growth_is_exact_where_the_counters_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.2 they show pages only after others were touched."""

    def first_status(status: dict[str, str]) -> usage.MemoryUsage:
        return original({**status, **stale})

    original = usage.usage_from_status
    monkeypatch.setattr(probes, "counters_lag", lambda: True)
    monkeypatch.setattr("procmem.snapshots.taking.usage_from_status", first_status)
    with Specimen() as specimen:
        text = Path(f"/proc/{specimen.pid}/status").read_text()
        lines = [line.partition(":") for line in text.splitlines()]
        stale = {name: value.strip() for name, _, value in lines if name.startswith("Rss")}
        watcher = Watcher(specimen.pid)
        assert "error" not in watcher.answer("begin")
        specimen.mmap(pages=2, populate=True)
        specimen.mmap(pages=3, populate=True, shared=True)
        specimen.mmap(pages=20)
        assert watcher.answer("end")["own"] == 5 * PAGE


def test_memory_that_the_kernel_joins_with_an_arena() -> None:
    with Specimen(libc=True) as specimen:
        specimen.thread()
        watcher = Watcher(specimen.pid)
        watcher.answer("begin")
        arena = (specimen.malloc(1000, thread=0).address or 0) & -(64 * MiB)
        made = watcher.answer("end")["gained"]
        assert {(one["kind"], one["beside_arena"]) for one in made} == {("arena", False)}
        assert sum(kept_for_later(one)[1] for one in made) == 64 * MiB
        watcher.answer("begin")
        region = specimen.process.smaps().find(arena)
        noreserve = region is not None and "nr" in (region.vm_flags or "")
        specimen.mmap(1025 * KiB, address=arena - 1028 * KiB, noreserve=noreserve)
        (leaked,) = watcher.answer("end")["gained"]
    if leaked["end"] == arena:
        pytest.skip("something else was mapped before the arena")
    assert (leaked["kind"], leaked["gained"]) == ("arena", 1028 * KiB)
    assert kept_for_later(leaked)[1] == 1024 * KiB
