"""Snapshots against what the kernel shows at the same time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from procmem import (
    Process,
    Snapshot,
    parse_maps,
)
from procmem.errors import BadArgument, NoSuchProcess, Unsupported
from procmem.experiments import Specimen
from procmem.procfs import probes
from tests.support.snapshots import mapped, own_figures


def test_a_snapshot_tells_what_the_kernel_tells() -> None:
    with Specimen() as s:
        s.touch(mapped(s, 100), pages=30)
        process = Process(s.pid)
        one = process.snapshot()
        assert own_figures(one.regions) == own_figures(process.smaps())
        assert one.memory == process.memory()
        assert one.faults == process.faults()
        assert not one.moved
        assert one.regions.consistent
        assert one.vsz == one.memory.vsz
        assert abs((one.rss or 0) - (one.memory.rss or 0)) <= probes.rss_error(1)
        assert one.rss == one.regions.total("rss")
        assert one.page_tables == one.memory.page_tables
        assert [t.tid for t in one.threads or ()] == [s.pid]
        stat = Path(f"/proc/{s.pid}/stat").read_text()
        assert one.identity.start_time == int(stat.rsplit(")", 1)[1].split()[19])
        assert one.identity.pid == s.pid
        assert one.identity.comm == Path(f"/proc/{s.pid}/comm").read_text().rstrip("\n")
        assert one.identity.exe == os.readlink(f"/proc/{s.pid}/exe")
        words = Path(f"/proc/{s.pid}/cmdline").read_bytes().split(b"\0")[:-1]
        assert one.identity.cmdline == tuple(map(os.fsdecode, words))
        assert one.kernel is not None
        assert one.kernel.release == os.uname().release
        later = process.snapshot("maps")
        assert one.clock is not None
        assert later.clock is not None
        assert one.clock.monotonic < later.clock.monotonic
        assert one.same_process(later) is True
    with pytest.raises(NoSuchProcess):
        process.snapshot()


def test_details() -> None:
    with Specimen() as s:
        process = Process(s.pid)
        s.touch(mapped(s, 8))
        assert process.snapshot("maps").regions == process.maps()
        try:
            resident = process.snapshot("residency")
        except Unsupported:
            resident = None
        if resident is not None:
            assert resident.regions.total("rss") == resident.rss
        assert [process.snapshot(d).detail for d in ("maps", "smaps")] == ["maps", "smaps"]
    with pytest.raises(BadArgument, match="maps, residency, smaps"):
        Process().snapshot("everything")


def test_a_process_that_looks_at_itself() -> None:
    mine = Process().snapshot()
    assert mine.identity.pid == os.getpid()
    assert mine.same_process(Process().snapshot()) is True
    assert mine.same_process(Snapshot(parse_maps(b""))) is None
