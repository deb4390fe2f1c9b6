"""Pictures of snapshots and diffs: what a specimen did is what is drawn."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from procmem import BadArgument, Snapshot, diff
from procmem.experiments import Specimen
from procmem.picture.shapes import CHANGED, GONE, NEW
from procmem.snapshots.moment import Identity
from procmem.snapshots.pictures import marks_of, whose
from procmem.units import kib
from tests.support.goldens import same_as_golden
from tests.support.plotted import plotted
from tests.support.snapshots import anon, mapped, table
from tests.support.svgs import Drawing

PAGE = os.sysconf("SC_PAGE_SIZE")


def test_a_snapshot_has_its_totals_in_words() -> None:
    with Specimen() as s:
        s.touch(mapped(s, 7))
        now = s.process.snapshot()
    found = Drawing(now.svg())
    assert found.title == f"Memory of process {s.pid} (specimen)"
    assert f"VSZ {kib(now.vsz)}, RSS {kib(now.rss or 0)}, {len(now.regions)} regions" in found.words
    assert f": {kib(7 * PAGE)}, RSS {kib(7 * PAGE)}." in found.words
    assert found.stays_inside()


def test_a_diff_shows_what_was_mapped_touched_grown_and_unmapped() -> None:
    with Specimen() as s:
        gone = mapped(s, 3)
        kept = mapped(s, 100)
        before = s.process.snapshot()
        s.munmap(gone)
        s.touch(kept, pages=10)
        s.touch(mapped(s, 1000), pages=5)
        after = s.process.snapshot()
    changes = (after - before).changes
    old, new = marks_of(changes)
    assert old[gone.start] == (GONE, "unmapped")
    assert new[kept.start][0] == CHANGED
    found = Drawing((after - before).svg())
    assert "unmapped" in found.texts
    assert f"RSS +{kib(10 * PAGE)}" in found.texts
    assert "mapped, touched" in found.texts
    assert f"VSZ +{kib(997 * PAGE)}, RSS +{kib(15 * PAGE)}" in found.words
    assert any(
        f"{kib(1000 * PAGE)}, RSS {kib(5 * PAGE)}; mapped, touched" in title
        for title in found.titles
    )
    assert found.stays_inside()
    assert [mark for mark, _ in new.values()].count(NEW) == 1


def test_nothing_changed_is_drawn_without_marks() -> None:
    one = table(anon(0, 4, rss=2))
    found = Drawing(diff(one, one).svg())
    assert "unchanged" in found.words
    assert not {"+", "\u2212", "\u2195"} & set(found.texts)


def test_snapshots_of_different_detail_show_what_both_have() -> None:
    with Specimen() as s:
        one, other = s.process.snapshot("maps"), s.process.snapshot("smaps")
    found = Drawing((other - one).svg())
    assert "VSZ" in found.texts
    assert "RSS" not in found.texts
    assert Drawing((one - other).svg()).stays_inside()


def test_two_processes_are_named() -> None:
    with Specimen() as s, Specimen() as t:
        found = Drawing(diff(s.process.snapshot(), t.process.snapshot()).svg())
    assert (
        f"Two processes: process {s.pid} (specimen) and process {t.pid} (specimen)." in found.words
    )


def test_hostile_names_of_processes_are_text() -> None:
    odd = replace(table(anon(0, 4)), identity=Identity(pid=7, comm="</svg>\x1b\udcff"))
    assert whose(odd) == "process 7 (</svg>\\x1b\\xff)"
    assert Drawing(odd.svg()).title == "Memory of process 7 (</svg>\\x1b\\xff)"
    assert whose(Snapshot(odd.regions, source="a\nb")) == "a\\nb"


def test_thousands_of_changes_stay_a_picture() -> None:
    one = table(*(anon(2 * at, 1) for at in range(3000)))
    other = table(*(anon(2 * at, 1, rss=1) for at in range(3000)))
    text = diff(one, other).svg()
    assert len(text) < 60_000
    assert Drawing(text).stays_inside()


def test_golden() -> None:
    """What a program built, looked at in a browser."""
    before = table(anon(0, 4, rss=2), anon(100, 33, rss=1))
    after = table(anon(0, 4, rss=2), anon(100, 66, rss=40), anon(5000, 1000, rss=10))
    same_as_golden("svg/diff.svg", diff(before, after).svg("Before and after"))


def test_plots_have_the_changes_of_each_kind() -> None:
    with Specimen() as s:
        before = s.process.snapshot()
        s.touch(mapped(s, 1000), pages=10)
        after = s.process.snapshot()
    axes = plotted((after - before).plot)
    assert [bar.get_width() for bar in axes.patches] == [10 * PAGE]
    assert axes.get_xlabel() == "change of RSS"
    axes = plotted((after - before).plot, figure="vsz")
    assert [bar.get_width() for bar in axes.patches] == [1000 * PAGE]
    axes = plotted(after.plot)
    assert sum(bar.get_width() for bar in axes.patches) == after.regions.total("rss")
    with pytest.raises(BadArgument, match="not 'swap'"):
        (after - before).plot(figure="swap")
