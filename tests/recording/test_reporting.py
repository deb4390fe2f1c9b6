"""The report of a recording: the recording's own figures, causes and snapshots."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import Recording, Snapshot
from procmem.errors import BadArgument, MissingExtra
from procmem.recording import reporting
from procmem.recording.packed import figures_of
from procmem.recording.reporting import changes_of, nearest, spaced
from procmem.snapshots import Identity
from tests.support.recordings import paced
from tests.support.reports import data_of, text_of, values_of
from tests.support.snapshots import same, table

if TYPE_CHECKING:
    from pathlib import Path

    from procmem.experiments import Specimen

pytest.importorskip("bokeh", reason="bokeh is not installed (extra report)")


@pytest.fixture
def leaking(specimen: Specimen) -> Recording:
    def work(_: int) -> None:
        area = specimen.mmap(pages=30).mapping
        assert area
        specimen.touch(area)

    return paced(specimen, work)


def test_series_are_the_figures_of_the_recording(leaking: Recording, tmp_path: Path) -> None:
    page = tmp_path / "one.html"
    assert leaking.report(page) == str(page)
    series = data_of(page.read_bytes())["series"]
    for name in ("vsz", "rss", "swap", "page_tables"):
        assert values_of(series[name]) == leaking.values(name), name
    times = values_of(series["microseconds"])
    assert times
    assert [None if one is None else one / 1e6 for one in times] == leaking.times
    peak = leaking.peak()
    assert peak
    assert series["peak"] == peak.at
    for number, at in enumerate(series["at"]):
        sums: dict[str, int] = {}
        for region in leaking[at].regions:
            sums[region.kind.value] = sums.get(region.kind.value, 0) + (region.rss or 0)
        drawn = dict(zip(series["kinds"], (one[number] for one in series["stack"]), strict=True))
        assert sum(drawn.values()) == sum(sums.values())
        assert drawn["anon"] == sums["anon"]


def test_causes_are_those_of_the_diff(leaking: Recording, tmp_path: Path) -> None:
    page = tmp_path / "one.html"
    leaking.report(page)
    series = data_of(page.read_bytes())["series"]
    anchors = series["anchors"]
    # All ranges of a short recording have the causes of just their ends.
    assert anchors == list(range(len(leaking)))
    assert len(series["diffs"]) == len(anchors) * (len(anchors) - 1) // 2
    for i, j in [(0, len(anchors) - 1), (1, 4), (3, 5)]:
        found = leaking.diff(anchors[i], anchors[j])
        facts = series["diffs"][f"{i}-{j}"]
        assert (facts["vsz"], facts["rss"]) == (found.vsz, found.rss)
        assert found.causes
        assert [words for words, _ in facts["causes"]] == [one.words for one in found.causes]


def test_every_snapshot_is_read_back(leaking: Recording, tmp_path: Path) -> None:
    page = tmp_path / "one.html"
    leaking.report(page)
    loaded = Recording.load(page)
    assert len(loaded) == len(leaking)
    for one, other in zip(loaded, leaking, strict=True):
        same(one, other)
    assert loaded.suspects() == leaking.suspects()
    same(procmem.load(page, 7), leaking[7])
    assert f"All {len(leaking)} snapshots are in this file" in text_of(page.read_bytes())


def test_a_recording_in_a_file_is_kept_as_it_is_stored(leaking: Recording, tmp_path: Path) -> None:
    leaking.save(tmp_path / "one.rec")
    Recording.load(tmp_path / "one.rec").report(tmp_path / "one.html")
    for one, other in zip(Recording.load(tmp_path / "one.html"), leaking, strict=True):
        same(one, other)


def test_suspects_are_named(leaking: Recording, tmp_path: Path) -> None:
    page = tmp_path / "one.html"
    leaking.report(page)
    (suspect,) = leaking.suspects()
    assert suspect.name in text_of(page.read_bytes())
    assert "It looks like a leak, or something that was not full yet" in text_of(page.read_bytes())


def test_what_has_no_room_is_left_out_and_said(
    leaking: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "POINTS", 8)
    monkeypatch.setattr(reporting, "ANCHORS", (4, 4))
    monkeypatch.setattr(reporting, "MOST_KEPT", 1)
    page = tmp_path / "one.html"
    leaking.report(page)
    assert f"Of {len(leaking)} snapshots 1 are in this file" in text_of(page.read_bytes())
    series = data_of(page.read_bytes())["series"]
    assert len(series["at"]) <= 9
    assert values_of(series["rss"]) == leaking.values("rss")
    same(Recording.load(page)[0], leaking[0])


def test_few_snapshots(specimen: Specimen, tmp_path: Path) -> None:
    taken = specimen.process.snapshot()
    Recording([taken]).report(tmp_path / "one.html")
    same(procmem.load(tmp_path / "one.html"), taken)
    plain = Snapshot(specimen.process.maps())
    Recording([plain, plain]).report(tmp_path / "two.html")
    series = data_of((tmp_path / "two.html").read_bytes())["series"]
    assert series["rss"] is None
    assert series["peak"] is None
    with pytest.raises(BadArgument, match="no snapshots"):
        Recording([]).report(tmp_path / "none.html")


def test_recordings_without_the_memory_of_regions(specimen: Specimen, tmp_path: Path) -> None:
    recording = paced(specimen, lambda _: specimen.mmap(pages=3), ("maps",))
    recording.report(tmp_path / "one.html")
    series = data_of((tmp_path / "one.html").read_bytes())["series"]
    assert series["at"] == []
    assert "there are no areas by kind" in series["note"]
    assert series["diffs"]


def test_without_bokeh_the_error_says_what_to_install(
    leaking: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'procmem-live\[report\]'"):
        leaking.report(tmp_path / "one.html")
    assert not list(tmp_path.iterdir())


def test_programs_and_threads_are_events() -> None:
    one = table()
    figures = [
        figures_of(replace(one, identity=Identity(7, 7, "b", comm, exe)))._replace(threads=threads)
        for comm, exe, threads in [
            ("sh", "/bin/sh", 1), ("sh", "/bin/sh", 1), ("cat", "/bin/cat", 1),
            ("cat", "/bin/cat", 4), ("worker", "/bin/cat", 3), ("worker", None, None),
            ("worker", "/bin/cat", 3),
        ]
    ]  # fmt: skip
    assert [(by, what) for _, by, _, what, _ in changes_of(figures)] == [
        (2, "execve: /bin/sh became /bin/cat"),
        (3, "3 threads started: 4 now"),
        (4, "its command name changed from cat to worker"),
        (4, "1 thread ended: 3 now"),
    ]


def test_points_are_evenly_spaced_in_time() -> None:
    times = [float(at * at) for at in range(101)]
    chosen = spaced(range(101), 11, times)
    assert chosen[0] == 0
    assert chosen[-1] == 100
    assert [round(times[at] / 1000) for at in chosen] == list(range(11))
    assert spaced([3, 5], 11, times) == [3, 5]
    assert nearest([1, 5, 9], 6) == 5
