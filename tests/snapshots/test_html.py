"""Snapshots and diffs in a notebook: sums equal the objects', causes and evidence are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import procmem
from procmem.picture.markup import MOST_ROWS, UNKNOWN
from tests.support.html import number, page_of, rows_below
from tests.support.targets import PAGE, Advice

if TYPE_CHECKING:
    from tests.support.targets import Target


def test_a_snapshot(target: Target) -> None:
    with procmem.Process(target.pid) as process:
        one = process.snapshot()
    page = page_of(one)
    assert f"Snapshot of process {target.pid} (" in page.text
    facts = dict(row for row in page.rows if len(row) == 2)
    assert facts["VSZ"] == f"{one.vsz // 1024:,} KiB"
    assert number(rows_below(page, "Kind")[-1][3]) == one.regions.total("rss")


def test_a_snapshot_without_measures_says_so() -> None:
    table = procmem.parse_maps(b"00010000-00014000 rw-p 00000000 00:00 0\n")
    one = procmem.Snapshot(table, unavailable={"status": "</td> denied \x1b"})
    page = page_of(one)
    assert dict(row for row in page.rows if len(row) == 2)["RSS"] == UNKNOWN
    assert ["not read: status", "</td> denied \\x1b"] in page.rows


def test_a_diff_adds_up(target: Target) -> None:
    with procmem.Process(target.pid) as process:
        before = process.snapshot()
        mapping = target.map(1000)
        target.madvise(mapping, Advice.NOHUGEPAGE)
        target.touch(mapping, 10)
        after = process.snapshot()
    found = after - before
    page = page_of(found)
    *rows, footer = rows_below(page, "Start")
    assert number(footer[2]) == found.vsz
    assert sum(number(row[2]) for row in rows) == found.vsz
    assert found.rss is not None
    assert number(footer[3]) == found.rss
    (mine,) = [row for row in rows if row[0] == f"{mapping.start:x}"]
    assert [number(cell) for cell in mine[2:4]] == [1000 * PAGE, 10 * PAGE]
    causes = rows_below(page, "Cause")
    assert [row[0] for row in causes] == [one.words for one in found.causes]
    assert "Nothing changed." in page_of(after - after).text


def test_many_changes_are_summed_up() -> None:
    def table(number_of_regions: int) -> procmem.RegionTable[procmem.Region]:
        lines = (
            f"{0x10000 + at * 0x10000:08x}-{0x14000 + at * 0x10000:08x} rw-p 00000000 00:00 0\n"
            for at in range(number_of_regions)
        )
        return procmem.parse_maps("".join(lines).encode())

    found = procmem.Snapshot(table(30_000)) - procmem.Snapshot(table(0))
    page = page_of(found)
    *rows, footer = rows_below(page, "Start")
    assert len(rows) == MOST_ROWS + 1
    assert rows[-1][0] == f"{30_000 - MOST_ROWS:,} others"
    assert sum(number(row[2]) for row in rows) == number(footer[2]) == found.vsz
    assert rows[-1][3] == footer[3] == UNKNOWN
