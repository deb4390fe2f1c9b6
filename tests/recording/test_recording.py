"""A recording's figures: peaks, growth, and which snapshot has all details."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.errors import BadArgument
from tests.support.recordings import PAGE, command, paced, recorder, steps
from tests.support.targets import Advice, Target

if TYPE_CHECKING:
    from pathlib import Path

    from procmem.experiments import Specimen

HUGE = 2 << 20


class TestAnswers:
    def test_peak_and_growth(self, specimen: Specimen) -> None:
        made = recorder(specimen, detail="smaps")
        steps(specimen, made, 8)
        recording = made.recording
        peak, growth = recording.peak("vsz"), recording.growth("rss")
        assert peak is not None
        assert growth is not None
        assert (peak.value, peak.at) == (recording[-1].vsz, len(recording) - 1)
        assert growth.confidence == 1
        assert growth.last - growth.first == 80 * PAGE
        assert growth.slope > 0
        with pytest.raises(BadArgument, match="figures are"):
            recording.peak("pss")

    def test_which_snapshot_has_all_where_the_process_ended(
        self, specimen: Specimen, tmp_path: Path
    ) -> None:
        details = ["smaps"] * 30 + ["maps"] * 10
        recording = paced(specimen, lambda _: specimen.mmap(pages=1), details)
        assert recording.last_full == 29
        path = tmp_path / "a.rec"
        recording.save(path)
        status, out, _ = command("record", "--report", path)
        assert status == 0
        told = " ".join(out.split())
        assert "the last snapshot with all details is number 29 of 2.9 s" in told
        assert "Compare FILE:0 with FILE:29." in told
        assert json.loads(command("record", "--report", path, "--json")[1])["last_full"] == 29
        assert procmem.diff(procmem.load(path, 0), procmem.load(path, 29)).rss is not None


def test_huge_pages_over_time(tmp_path: Path) -> None:
    with Target() as target:
        process = procmem.Process(target.pid)
        before = process.snapshot()
        mapping = target.map(4 * HUGE // PAGE)
        target.madvise(mapping, Advice.HUGEPAGE)
        target.touch(mapping)
        plain, after = process.snapshot("residency"), process.snapshot()
        huge = sum(region.anon_huge_pages or 0 for region in after.regions)
    if not huge:
        pytest.skip("no huge page was to be had")
    assert huge % HUGE == 0
    made = procmem.Recording([before, plain, after])
    made.save(tmp_path / "a.rec")
    for recording in (made, procmem.Recording.load(tmp_path / "a.rec")):
        assert recording.values("anon_huge_pages") == [0, None, huge]
        # smaps has had KSM since Linux 6.7.
        assert recording.values("ksm") in ([0, None, 0], [None, None, None])
        assert recording.peak("anon_huge_pages") == (huge, 2, recording.times[2])
    status, out, _ = command("record", "--report", tmp_path / "a.rec", "--units", "KiB")
    assert status == 0
    (row,) = [line for line in out.splitlines() if line.startswith("Huge pages")]
    assert row.split()[2:5] == ["0", str(huge // 1024), str(huge // 1024)]
    assert "KSM" not in out
    figures = json.loads(command("record", "--report", tmp_path / "a.rec", "--json")[1])["figures"]
    assert figures["anon_huge_pages"]["peak"]["value"] == huge
