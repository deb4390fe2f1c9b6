"""Kernels whose VmRSS lags behind the page table: totals are exact, or marked."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import KiB, Process, Recorder, Recording, Snapshot
from procmem.cli import main
from procmem.experiments import Specimen
from procmem.procfs import Statm, parse_statm, probes
from procmem.procfs import totals as usage

if TYPE_CHECKING:
    from collections.abc import Iterator


PAGE = os.sysconf("SC_PAGE_SIZE")
HIDDEN = 31 * PAGE
"""What the counters of this file's kernel have not shown yet."""


exactly_lagging = pytest.mark.skipif(
    probes.counters_lag(), reason="VmRSS lags here by itself, by other pages than those hidden"
)


@pytest.fixture
def lagging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that holds back a few pages of each process, and a probe that found it out."""

    def from_status(status: dict[str, str]) -> usage.MemoryUsage:
        told = dict(status)
        for name in ("VmRSS", "RssAnon"):
            kib = int(told[name].split()[0]) - HIDDEN // 1024
            told[name] = f"{max(0, kib)} kB"
        return original(told)

    original = usage.usage_from_status
    monkeypatch.setattr(probes, "counters_lag", lambda: True)
    monkeypatch.setattr("procmem.snapshots.taking.usage_from_status", from_status)
    monkeypatch.setattr("procmem.process.reconcile.counters_lag", lambda: True)


@pytest.fixture
def specimen() -> Iterator[Specimen]:
    with Specimen() as one:
        one.mmap(pages=200, populate=True)
        yield one


@pytest.mark.usefixtures("lagging")
class TestLagging:
    @pytest.mark.parametrize("detail", ["smaps", "residency"])
    def test_a_snapshot_has_the_sum_of_its_regions(self, specimen: Specimen, detail: str) -> None:
        process = specimen.process
        one = process.snapshot(detail)
        assert one.memory is not None
        assert one.rss == one.regions.total("rss") == process.rollup().rss
        assert one.rss != one.memory.rss
        assert one.rss_error == 0
        assert Snapshot.from_json(one.to_json()) == one

    def test_without_regions_it_is_marked(self, specimen: Specimen) -> None:
        one = specimen.process.snapshot("maps")
        assert one.memory is not None
        assert one.rss == one.memory.rss
        assert one.rss_error == probes.rss_bound(1) >= HIDDEN
        true = specimen.process.rollup().rss
        assert one.rss is not None
        assert true is not None
        assert abs(one.rss - true) <= one.rss_error
        assert json.loads(one.to_json())["rss_error"] == one.rss_error
        # A file of before that was told.
        old = one.to_dict()
        del old["rss_error"], old["kernel"]["rss_error"]
        assert Snapshot.from_json(json.dumps(old)).rss_error is None

    def test_diffs_are_exact_where_regions_are_measured(self, specimen: Specimen) -> None:
        before = specimen.process.snapshot()
        specimen.mmap(pages=50, populate=True)
        for detail in ("smaps", "residency"):
            found = specimen.process.snapshot(detail) - before
            assert (found.rss, found.rss_error, bool(found.remainder)) == (50 * PAGE, 0, False)

    @exactly_lagging
    def test_diffs_are_marked_elsewhere(self, specimen: Specimen) -> None:
        before = specimen.process.snapshot()
        after = specimen.process.snapshot("maps")
        found = after - before
        assert found.rss == -HIDDEN
        assert found.rss_error == probes.rss_bound(1)
        assert found.to_dict()["rss_error"] == found.rss_error
        assert "lags" in found.remainder.why["rss"]
        assert (before - after).rss_error == found.rss_error

    def test_more_threads_hold_back_more(self, specimen: Specimen) -> None:
        assert probes.rss_error(10_000) == 65 * 10_000 * 64 * KiB
        assert probes.rss_error(1) == probes.rss_bound(1) >= 3 * 32 * PAGE

    @exactly_lagging
    def test_what_the_commands_print(
        self, specimen: Specimen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pid, bound = str(specimen.pid), f"(±{probes.rss_bound(1) >> 10:,} KiB)"
        path = str(tmp_path / "a.snap")
        assert main(["snapshot", pid, "-o", path]) == 0
        assert "~" not in capsys.readouterr().out
        assert main(["snapshot", pid, "--detail", "maps"]) == 0
        assert re.search(rf"RSS +~[\d,]+ KiB {re.escape(bound)}", capsys.readouterr().out)
        assert main(["diff", path, pid, "--detail", "maps"]) == 0
        out = capsys.readouterr().out
        assert f"RSS ~-{HIDDEN // KiB} KiB {bound}" in out
        assert "lags" in out
        assert main(["diff", path, pid]) == 0
        assert "~" not in capsys.readouterr().out
        assert main(["diff", path, pid, "--detail", "maps", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rss_error"] == probes.rss_bound(1)

    def test_recordings(
        self, specimen: Specimen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for detail, error in (("auto", 0), ("smaps", 0), ("maps", probes.rss_bound(1))):
            path = tmp_path / f"{detail}.rec"
            made = Recorder(specimen.process, every=0.01, path=path, detail=detail, share=1.0)
            specimen.mmap(pages=10, populate=True)
            time.sleep(0.01)
            made.turn()
            made.close()
            loaded = Recording.load(path)
            assert loaded.rss_error == error
            assert loaded.rss_error == Recording(list(loaded)).rss_error
            assert main(["record", "--report", str(path)]) == 0
            out = capsys.readouterr().out
            assert ("~RSS " in out) == ("lags by up to" in out) == bool(error)
            assert main(["record", "--report", str(path), "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["rss_error"] == error

    def test_reconcile_names_the_cause(self, specimen: Specimen) -> None:
        found = specimen.process.reconcile()
        assert found.explained


def test_exact_kernels_are_not_marked(
    specimen: Specimen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probes, "counters_lag", lambda: False)
    one = specimen.process.snapshot("maps")
    assert one.memory is not None
    assert (one.rss, one.rss_error) == (one.memory.rss, 0)
    assert main(["snapshot", str(specimen.pid), "--detail", "maps"]) == 0
    assert "~" not in capsys.readouterr().out


def test_exact_kernels_are_not_said_to_lag(
    specimen: Specimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """statm and status differ by a page: the process moved, or it is not explained."""
    from procmem.process import reconcile

    monkeypatch.setattr(reconcile, "counters_lag", lambda: False)

    def shifted(data: bytes) -> Statm:
        found = parse_statm(data)
        found.resident += 1
        return found

    monkeypatch.setattr(reconcile, "parse_statm", shifted)
    found = specimen.process.reconcile()
    (wrong,) = [one for one in found.comparisons if one.left == "resident (statm)"]
    assert wrong.difference == PAGE
    assert wrong.cause != "approximate counters"
    monkeypatch.setattr(reconcile, "counters_lag", lambda: True)
    found = specimen.process.reconcile()
    (wrong,) = [one for one in found.comparisons if one.left == "resident (statm)"]
    assert wrong.cause == "approximate counters"


@pytest.mark.parametrize(
    "held, lags",
    [
        (lambda count: count, False),
        # Each thread counts 64 pages by itself, then all at once.
        (lambda count: count // 65 * 65, True),
        (lambda count: (count + 60) // 65 * 65, True),
        # Batches of a CPU.
        (lambda count: count // 32 * 32, True),
        (lambda count: (count + 30) // 32 * 32, True),
    ],
)
def test_the_probe(held: object, lags: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters that show pages late, in batches: also where a batch is just full."""
    touched = 0

    class Memory:
        def __enter__(self) -> Memory:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __setitem__(self, place: int, value: int) -> None:
            nonlocal touched
            touched += 1

    class Shown:
        resident = property(lambda _: 1000 + held(touched))  # type: ignore[operator]

    monkeypatch.setattr("mmap.mmap", lambda *_, **__: Memory())
    monkeypatch.setattr(probes, "parse_statm", lambda _: Shown())
    assert probes.counters_lag.__wrapped__() is lags


def test_the_bound_holds_for_files() -> None:
    """Before Linux 6.2 a thread holds back 64 faults, each of which may have mapped 64 KiB."""
    assert probes.rss_bound(1) >= 65 * 64 * KiB
    assert probes.rss_bound(100) >= 100 * 65 * 64 * KiB


def test_saved_files_of_before(specimen: Specimen) -> None:
    one = specimen.process.snapshot("maps")
    old = one.to_dict()
    del old["rss_error"], old["kernel"]["rss_error"]
    assert procmem.diff(Snapshot.from_json(json.dumps(old)), one).rss == 0
    assert Process(specimen.pid).memory().rss == one.rss


@pytest.mark.usefixtures("lagging")
def test_a_trace(capfd: pytest.CaptureFixture[str]) -> None:
    """Its program has one thread: nobody else is to be blamed."""
    assert main(["trace", "--no-malloc", "true"]) == 0
    err = capfd.readouterr().err
    assert "threads" not in err
    bound = probes.rss_bound(1) >> 10
    assert f"this kernel counts pages late: RSS may be off by up to {bound:,} KiB" in err
    (line,) = [line for line in err.splitlines() if "munmap" in line and "~" in line]
    assert re.search(r" -[\d,]+ +~", line), "VSZ is exact, RSS is not"
    assert main(["trace", "--no-malloc", "--json", "true"]) == 0
    calls = json.loads(capfd.readouterr().err)["calls"]
    assert {call["rss_error"] for call in calls} == {probes.rss_bound(1)}
    assert not any(call["exact"] for call in calls if call["delta_rss"] is not None)
    assert {call["reason"] for call in calls} <= {procmem.trace(["true"])[0].reason}


def test_a_saved_tree_whose_status_lags(
    specimen: Specimen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What kernel that was nobody knows: the sum of the regions is from the page table."""
    place = tmp_path / str(specimen.pid)
    place.mkdir()
    for name in ("maps", "smaps", "status", "stat"):
        content = Path(f"/proc/{specimen.pid}/{name}").read_text()
        if name == "status":
            content = re.sub(r"(VmRSS|RssAnon):.*", r"\1:\t 8 kB", content)
        (place / name).write_text(content)
    process = Process(specimen.pid, root=tmp_path)
    true = process.smaps().total("rss")
    assert true is not None
    assert true > 200 * PAGE
    one = process.snapshot()
    assert (one.rss, one.rss_error) == (true, 0)
    assert procmem.load(place).rss == true
    poor = process.snapshot("maps")
    assert (poor.rss, poor.rss_error) == (8 * KiB, None)
    words = [str(specimen.pid), "--root", str(tmp_path), "--detail"]
    assert main(["snapshot", *words, "maps"]) == 0
    assert re.search(r"RSS +~8 KiB$", capsys.readouterr().out, re.MULTILINE)
    assert main(["snapshot", *words, "smaps"]) == 0
    assert "~" not in capsys.readouterr().out
