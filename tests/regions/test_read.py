"""Tables of a process that changes its mappings as fast as it can."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from procmem import Process, format_maps, native
from procmem.regions import read as live
from tests.support.targets import PAGE, Storm, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem import RegionTable

    Start = Callable[..., Target]

READERS = {"maps": Process.maps, "smaps": Process.smaps, "residency": Process.residency}


def assert_whole(
    read: Callable[[Process], RegionTable[Any]], process: Process, storm: Storm, aside: list[Any]
) -> RegionTable[Any]:
    """A table; fails unless all is there that stayed mapped throughout."""
    table = read(process)
    assert table.consistent == table.ordered or not table.consistent
    starts = {(region.start, region.end): region for region in table}
    for stable in storm.stable:
        assert (stable.start, stable.end) in starts, stable
        assert starts[stable.start, stable.end].perms == "r--p"
    for mapping in aside:
        assert (mapping.start, mapping.end) in starts
    left_out = not_covered(table, storm)
    if left_out:
        # maps is read in parts. Once in millions of walks, on a busy machine (Linux 6.18), one
        # left out what another walk shows: memory that is unmapped stays so.
        assert not left_out & not_covered(read(process), storm), left_out
    if table.consistent:
        for hole in storm.holes:
            for page in range(hole.start, hole.end, PAGE):
                assert table.find(page) is None
        for before, after in pairwise(table):
            assert before.end <= after.start
        assert format_maps(table).count(b"\n") == len(table)
    return table


def not_covered(table: RegionTable[Any], storm: Storm) -> set[str]:
    """Addresses of pages that stay mapped throughout, and are in no region of the table."""
    covered = [(region.start, region.end) for region in table]
    return {
        hex(page)
        for kept in storm.kept
        for page in range(kept.start, kept.end, PAGE)
        if not any(start <= page < end for start, end in covered)
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", READERS)
def test_every_walk_through_a_storm_is_whole(target: Target, name: str, threads: int) -> None:
    aside = [target.map(5), target.map(3, "r--p"), target.map(2, "rw-s")]
    target.touch(aside[0], 4)
    storm = target.storm(threads=threads)
    process = Process(target.pid)
    consistent = 0
    walks = 240 if name == "maps" else 120
    for _ in range(walks):
        table = assert_whole(READERS[name], process, storm, aside)
        consistent += table.consistent
        if name != "maps":
            resident: Any = table.find(aside[0].start)
            assert resident.rss == 4 * PAGE
    # The page table and maps may never agree in a storm, but a walk of maps does.
    assert consistent >= walks // 2 or name == "residency"
    target.stop(storm)
    assert assert_whole(READERS[name], process, storm, aside).consistent


def test_single_regions_in_a_storm(target: Target) -> None:
    storm = target.storm(threads=2)
    process = Process(target.pid)
    for _ in range(50):
        for stable in storm.stable:
            region = process.region_at(stable.start + PAGE)
            assert region is not None
            assert (region.start, region.end) == (stable.start, stable.end)
        for hole in storm.holes:
            assert process.region_at(hole.start) is None
        for kept in storm.kept:
            assert process.region_at(kept.start) is not None
    target.stop(storm)


# ---- a reader that never comes to rest ----


class Overlapping(native.Scan):
    """A scan that has seen a region twice, always or for the first few times."""

    made = 0
    bad = 10**6

    def __init__(self, mode: int, source: str) -> None:
        super().__init__(mode, source)
        type(self).made += 1

    def finish(self) -> None:
        super().finish()
        if type(self).made <= type(self).bad:
            again = b"00001000-00002000 rw-p 00000000 00:00 0 \n"
            super().feed(again)
            super().finish()


@pytest.fixture
def overlapping(monkeypatch: pytest.MonkeyPatch) -> type[Overlapping]:
    Overlapping.made, Overlapping.bad = 0, 10**6
    monkeypatch.setattr(native, "Scan", Overlapping)
    return Overlapping


@pytest.mark.parametrize("name", READERS)
def test_after_a_bounded_number_of_tries_the_table_says_so(
    target: Target,
    overlapping: type[Overlapping],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = READERS[name](Process(target.pid))
    assert overlapping.made == live.ATTEMPTS
    assert not table.consistent
    assert not table.ordered
    assert "inconsistent" in repr(table)
    assert table.find(target.truths.main) is not None
    # What it became of it keeps saying so.
    assert not table.filter(kind="text").consistent
    assert not table[:3].consistent
    monkeypatch.undo()
    assert not type(table).from_json(table.to_json()).consistent


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("bad", [1, 3, live.ATTEMPTS - 1])
def test_an_overlap_that_does_not_come_again_is_forgotten(
    target: Target, overlapping: type[Overlapping], name: str, bad: int
) -> None:
    overlapping.bad = bad
    table = READERS[name](Process(target.pid))
    assert overlapping.made == bad + 1
    assert table.consistent
    assert table.ordered


def test_a_saved_text_that_overlaps_says_so_at_once(
    target: Target, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "5"
    place.mkdir()
    line = b"00001000-00003000 rw-p 00000000 00:00 0 \n"
    (place / "maps").write_bytes(line + line)
    table = Process(5, root=tmp_path).maps()
    assert len(table) == 2
    assert not table.consistent
