"""The report of a snapshot and of a diff: the snapshot's own figures, and the snapshot inside."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import ParseError, Process, Recording, Snapshot
from procmem.experiments import Specimen
from procmem.regions import MeasuredRegion
from procmem.snapshots import Identity
from procmem.snapshots.reporting import default_name, diff_facts, region_columns
from tests.support.reports import HOSTILE, data_of, text_of
from tests.support.snapshots import same, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIB = 1024


@pytest.fixture
def specimen() -> Iterator[Specimen]:
    with Specimen() as one:
        yield one


@pytest.mark.parametrize("detail", ["maps", "residency", "smaps"])
def test_a_report_loads_as_the_snapshot(specimen: Specimen, tmp_path: Path, detail: str) -> None:
    specimen.mmap(pages=100)
    taken = specimen.process.snapshot(detail)
    path = taken.report(tmp_path / "one.html")
    assert path == str(tmp_path / "one.html")
    same(procmem.load(path), taken)
    same(Recording.load(path)[0], taken)


def test_figures_are_those_of_the_regions(specimen: Specimen, tmp_path: Path) -> None:
    step = specimen.mmap(pages=100)
    assert step.mapping
    specimen.touch(step.mapping, pages=10)
    taken = specimen.process.snapshot()
    page = tmp_path / "one.html"
    taken.report(page)
    (moment,) = data_of(page.read_bytes())["moments"]
    regions = list(taken.regions)
    assert moment["count"] == len(regions)
    assert moment["start"] == [f"{one.start:x}" for one in regions]
    for name, attribute in (("size", "size"), ("rss", "rss"), ("pss", "pss"), ("uss", "uss")):
        assert moment[name] == [getattr(one, attribute) for one in regions], name
    kinds = [moment["kind"]["words"][number] for number in moment["kind"]["of"]]
    assert [kind.rstrip("?") for kind in kinds] == [one.kind.value for one in regions]
    assert [kind.endswith("?") for kind in kinds] == [one.kind_guess for one in regions]
    at = next(n for n, one in enumerate(regions) if one.start == step.mapping.start)
    assert (moment["size"][at], moment["rss"][at]) == (400 * KIB, 40 * KIB)
    assert sum(moment["gap"]) + sum(moment["size"]) == regions[-1].end - regions[0].start


def test_what_was_not_read_is_no_zero() -> None:
    columns = region_columns(Process().snapshot("maps").regions)
    assert columns["rss"] is columns["pss"] is columns["swap"] is None
    partly = region_columns(table(MeasuredRegion(0x1000, 0x3000, "rw-p", Rss=4096)).regions)
    assert partly["rss"] == [4096]
    assert partly["pss"] is partly["uss"] is None


def test_totals_reconcile_with_a_cause_or_without(specimen: Specimen, tmp_path: Path) -> None:
    taken = specimen.process.snapshot()
    page = tmp_path / "one.html"
    taken.report(page)
    assert "no known cause" not in text_of(page.read_bytes())
    assert taken.memory
    wrong = replace(taken, memory=taken.memory._replace(vsz=taken.vsz + 4096))
    wrong.report(page)
    row = text_of(page.read_bytes()).split("Σ Size of the regions")[1].split("</tr>")[0]
    assert "+4 KiB" in row
    assert "no known cause" in row
    replace(wrong, moved=True).report(page)
    row = text_of(page.read_bytes()).split("Σ Size of the regions")[1].split("</tr>")[0]
    assert "the process changed its memory while it was read" in row


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_text(name: str, tmp_path: Path) -> None:
    region = MeasuredRegion(0x1000, 0x3000, "rw-p", inode=1, pathname="/" + name.replace("\0", ""))
    taken = replace(
        table(region), identity=Identity(7, 7, "boot", name, "/" + name, (name, name)), source=name
    )
    page = tmp_path / "one.html"
    taken.report(page)
    raw = page.read_bytes()
    text = text_of(raw)
    assert "<img" not in text
    assert "<svg" not in text
    assert "onerror=" not in text or "&lt;img" in text
    (moment,) = data_of(raw)["moments"]
    assert moment["path"][0].isprintable()
    assert moment["name"][0].isprintable()
    loaded = procmem.load(page)
    assert loaded.identity == taken.identity
    assert loaded.regions == taken.regions
    json.dumps(data_of(raw), ensure_ascii=False).encode()


def test_a_diff_has_the_causes_of_the_diff(specimen: Specimen, tmp_path: Path) -> None:
    before = specimen.process.snapshot()
    step = specimen.mmap(pages=50)
    assert step.mapping
    specimen.touch(step.mapping, pages=5)
    found = specimen.process.snapshot() - before
    page = tmp_path / "two.html"
    found.report(page)
    text = text_of(page.read_bytes())
    facts = diff_facts(found)
    assert [words for words, _ in facts["causes"]] == [one.words for one in found.causes]
    assert found.causes
    for one in found.causes:
        assert one.words in text
    assert "VSZ +200 KiB" in text
    same(procmem.load(page, 0), found.before)
    same(procmem.load(page, 1), found.after)
    assert (procmem.load(page, 1) - procmem.load(page, 0)).to_dict() == found.to_dict()
    with pytest.raises(ParseError, match="it holds 2 snapshots"):
        procmem.load(page)


def test_only_our_own_files_are_overwritten(specimen: Specimen, tmp_path: Path) -> None:
    taken = specimen.process.snapshot("maps")
    page = tmp_path / "one.html"
    page.write_text("<!DOCTYPE html>\n<!-- mine -->\n")
    with pytest.raises(FileExistsError, match="no report of procmem"):
        taken.report(page)
    assert page.read_text().endswith("mine -->\n")
    taken.report(page, force=True)
    specimen.process.snapshot().report(page)  # a report is replaced
    taken.save(tmp_path / "one.snap")
    with pytest.raises(FileExistsError):
        taken.report(tmp_path / "one.snap")
    with pytest.raises(FileExistsError):
        taken.save(page)
    link = tmp_path / "link.html"
    link.symlink_to(page)
    with pytest.raises(FileExistsError, match="symbolic link"):
        taken.report(link)
    assert sorted(os.listdir(tmp_path)) == ["link.html", "one.html", "one.snap"]


def test_default_names(specimen: Specimen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    taken = specimen.process.snapshot("maps")
    assert taken.report() == f"procmem-{specimen.pid}-snapshot.html"
    assert (taken - taken).report() == f"procmem-{specimen.pid}-diff.html"
    assert default_name(Snapshot(taken.regions)) == "procmem-report.html"
    assert sorted(os.listdir()) == sorted(
        [f"procmem-{specimen.pid}-diff.html", f"procmem-{specimen.pid}-snapshot.html"]
    )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_report_that_was_cut_off_is_an_error(
    specimen: Specimen, tmp_path: Path, share: float
) -> None:
    page = tmp_path / "one.html"
    specimen.process.snapshot("maps").report(page)
    raw = page.read_bytes()
    # The scripts follow the snapshots.
    whole = raw.index(b"</script>", raw.index(b'id="kept"'))
    page.write_bytes(raw[: int(whole * share)])
    for load in (procmem.load, Recording.load):
        with pytest.raises(ParseError, match="cut off"):
            load(page)


def test_any_other_page_is_no_report(tmp_path: Path) -> None:
    page = tmp_path / "one.html"
    page.write_text("<!DOCTYPE html>\n<!-- a page of somebody else -->\n<p>Hello</p>\n")
    with pytest.raises(ParseError, match="neither a snapshot"):
        procmem.load(page)
    with pytest.raises(ParseError, match="no recording"):
        Recording.load(page)


def test_the_time_is_local(
    specimen: Specimen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC0")
    time.tzset()
    try:
        taken = specimen.process.snapshot("maps")
        assert taken.clock
        page = tmp_path / "one.html"
        replace(taken, clock=taken.clock._replace(realtime=86_400_000_000_000)).report(page)
        assert "1970-01-02 00:00:00 UTC" in text_of(page.read_bytes())
    finally:
        monkeypatch.undo()
        time.tzset()
