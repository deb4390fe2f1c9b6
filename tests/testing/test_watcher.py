"""What the process that measures answers about a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from procmem.experiments import Specimen
from procmem.procfs import probes
from procmem.procfs import totals as usage
from procmem.testing.watcher import Watcher

if TYPE_CHECKING:
    import pytest

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
