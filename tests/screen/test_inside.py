"""The rows of regions and threads, against the regions themselves."""

from __future__ import annotations

import pytest

from procmem import Process, parse_smaps
from procmem.screen.inside import MAP_SORTS, MapRows, ThreadRows, UseRows, fits, use_word
from procmem.screen.tables import TextPiece
from procmem.snapshots import Snapshot
from tests.support.screens import made_smaps

SMAPS = b"""\
00400000-00401000 r-xp 00000000 08:01 7                          /bin/a\\012b
Size:                  4 kB
Rss:                   4 kB
Pss:                   2 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
Swap:                  0 kB
""" + made_smaps(3)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Process().snapshot()


def texts(cells: object) -> list[str]:
    return [cell.text if isinstance(cell, TextPiece) else cell for cell in cells]  # type: ignore[attr-defined]


@pytest.mark.parametrize("detail", ["smaps", "residency", "maps"])
def test_uses_add_up_to_the_regions(detail: str) -> None:
    snapshot = Process().snapshot(detail)
    rows = UseRows(snapshot)
    assert sum(one.regions for one in rows.sums) == len(snapshot.regions)
    assert sum(one.size for one in rows.sums) == snapshot.regions.total("size")
    for field in ("rss", "pss", "uss", "swap"):
        sizes = [getattr(one, field) for one in rows.sums]
        if hasattr(snapshot.regions.region_type, field):
            assert sum(sizes) == snapshot.regions.total(field)
        else:
            assert set(sizes) == {None}
            assert "-" in texts(rows.cells(0))
    found = [rows.use(row) for row in range(len(rows))]
    key = "size" if detail == "maps" else "rss"
    assert found == sorted(found, key=lambda one: -getattr(one, key))


@pytest.mark.parametrize("sort", MAP_SORTS)
def test_every_region_has_its_row(snapshot: Snapshot, sort: str) -> None:
    rows = MapRows(snapshot, sort=sort, unit="B")
    found = [rows.region(row) for row in range(len(rows))]
    regions = [region for region in found if region is not None]
    assert sorted(regions) == sorted(snapshot.regions)
    for row, region in enumerate(found):
        if region is None:
            gap = rows.whole(row)
            assert gap is not None
            assert "not mapped" in gap.text
            assert sort == "start"
        else:
            cells = texts(rows.cells(row))
            assert f"{region.start:x}" in cells
            assert str(region.size) in cells
            assert rows.whole(row) is None
            assert rows.key(row) == region.start


def test_gaps_are_between_regions_that_do_not_touch() -> None:
    rows = MapRows(Snapshot(parse_smaps(SMAPS)))
    found = [rows.region(row) is None for row in range(len(rows))]
    assert found == [False, True, False, True, False, True, False]
    assert "32 KiB not mapped" in (rows.whole(3) or TextPiece("")).text
    assert rows.place_of(rows.key(3)) == 3


def test_names_are_escaped() -> None:
    rows = MapRows(Snapshot(parse_smaps(SMAPS)))
    assert "\n" not in "".join(texts(rows.cells(0)))
    assert "\\n" in texts(rows.cells(0))[-1]


def test_a_filter(snapshot: Snapshot) -> None:
    region = next(one for one in snapshot.regions if one.kind.value == "heap" or one.use)
    assert fits(region, f"{region.start + 1:x}")
    assert not fits(region, f"{region.end:x}")
    assert fits(region, use_word(region).upper())
    assert not fits(region, "no such thing")
    rows = MapRows(snapshot, filtered=str(region.perms))
    assert 0 < len(rows) <= len(snapshot.regions)
    assert all(rows.region(row) is not None for row in range(len(rows)))
    assert len(UseRows(snapshot, filtered="no such use")) == 0


def test_threads(snapshot: Snapshot) -> None:
    rows = ThreadRows(snapshot, unit="B")
    assert len(rows) == len(snapshot.threads or ())
    for row, thread in enumerate(snapshot.threads or ()):
        cells = texts(rows.cells(row))
        assert cells[0] == str(thread.tid) == str(rows.key(row))
        if thread.stack is not None:
            assert str(thread.stack.size) in cells
    assert len(ThreadRows(snapshot, filtered="no such thread")) == 0


def test_without_any_region() -> None:
    empty = Snapshot(parse_smaps(b""))
    assert len(UseRows(empty)) == len(MapRows(empty)) == len(ThreadRows(empty)) == 0
