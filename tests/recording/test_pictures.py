"""Pictures of recordings: the areas are the memory of the snapshots, the peak is the peak."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from procmem import BadArgument, Recording, parse_smaps
from procmem.recording.packed import figures_of
from procmem.recording.pictures import MOST_DRAWN, drawn, kinds_of, kinds_over_time
from procmem.snapshots import Snapshot
from tests.support.goldens import same_as_golden
from tests.support.plotted import plotted
from tests.support.recordings import paced, replace_clock
from tests.support.snapshots import anon, mapped, table
from tests.support.svgs import Drawing

if TYPE_CHECKING:
    from procmem.experiments import Specimen

PAGE = os.sysconf("SC_PAGE_SIZE")


def recording_of(*pages: int, **how: Any) -> Recording:
    return Recording(
        [replace_clock(table(anon(0, 900, rss=rss)), at / 10) for at, rss in enumerate(pages)],
        **how,
    )


def over_time(one: Recording) -> Any:
    return kinds_over_time(list(one), [figures_of(each) for each in one], one.times)


def test_layers_are_the_memory_of_each_kind(specimen: Specimen) -> None:
    def work(_: int) -> None:
        specimen.touch(mapped(specimen, 10))

    one = paced(specimen, work)
    found = over_time(one)
    assert found.numbers == tuple(range(40))
    assert found.clocks
    for at, snapshot in enumerate(one):
        assert sum(layer.values[at] for layer in found.layers) == snapshot.regions.total("rss")
        assert found.line[at] == (at / 10, snapshot.rss)
    [anonymous] = [layer for layer in found.layers if layer.key == "anon"]
    assert anonymous is found.layers[0]
    grown = [b - a for a, b in pairwise(anonymous.values)]
    assert grown == [10 * PAGE] * 39
    peak = one.peak("rss")
    assert peak is not None
    drawing = Drawing(one.svg())
    assert (
        f"peak {peak.value >> 10:,} KiB at {peak.at / 10:.1f} s (snapshot {peak.at})"
        in drawing.texts
    )
    assert drawing.title == f"Memory of process {specimen.pid} (specimen) over time"


def test_snapshots_without_the_memory_of_regions_have_a_place_on_the_line_only(
    specimen: Specimen,
) -> None:
    one = paced(specimen, lambda _: specimen.mmap(pages=1), details=("maps", "smaps"))
    found = over_time(one)
    assert found.numbers == tuple(range(1, 40, 2))
    assert len(found.line) == 40
    none = paced(specimen, lambda _: None, details=("maps",))
    assert over_time(none).layers == ()
    assert "so there are no kinds" in Drawing(none.svg()).words


def test_of_many_snapshots_those_with_most_memory_are_drawn() -> None:
    figures = [figures_of(one) for one in recording_of(*range(1, 4))]
    many = [figures[0]._replace(rss=rss) for rss in range(5000)]
    many[2503] = figures[0]._replace(rss=10**9)
    times = [at / 10 for at in range(5000)]
    chosen = drawn(many, times)
    assert len(chosen) <= MOST_DRAWN + 2
    assert {0, 2503, 4999} <= set(chosen)
    assert chosen == sorted(chosen)


def test_snapshots_without_clocks_are_numbered() -> None:
    plain = [replace(one, clock=None) for one in recording_of(1, 5, 2)]
    found = Drawing(Recording(plain).svg())
    assert "peak 20 KiB at snapshot 1" in found.texts


def test_a_recording_of_nothing_is_drawn() -> None:
    assert Drawing(Recording([]).svg()).stays_inside()
    assert Drawing(recording_of(3).svg()).stays_inside()


def test_what_was_not_read_of_a_region_is_not_known_of_its_kind() -> None:
    """Linux 2.6.18 counts no swap, but RSS; a line without Rss is cut by hand."""
    text = b"1000-2000 rw-p 00000000 00:00 0 \nSize: 4 kB\n"
    snapshot = Snapshot(parse_smaps(text))
    assert kinds_of(snapshot) in ({"anon": None}, {"anon?": None})


def test_small_kinds_are_added_up() -> None:
    found = over_time(Recording([Snapshot(own)])) if (own := own_regions()) else None
    assert found is not None
    assert len(found.layers) == 8
    assert sum(layer.values[0] for layer in found.layers) == own.total("rss")
    assert found.layers[-1].name.endswith(" other kinds")


def own_regions() -> Any:
    """Of this process, which has a dozen kinds."""
    from procmem import Process

    return Process().snapshot("residency").regions


def test_golden() -> None:
    """Looked at in a browser."""
    one = recording_of(10, 20, 40, 60, 400, 380, 100, 110, 120, 120)
    same_as_golden("svg/recording.svg", one.svg("Ten snapshots"))


def test_plots_have_the_memory_of_each_kind() -> None:
    one = recording_of(10, 20, 40, 10)
    axes = plotted(one.plot)
    line, peak = axes.lines
    assert list(line.get_ydata()) == one.values("rss")
    assert list(line.get_xdata()) == one.times
    assert list(peak.get_ydata()) == [40 * 4096]
    [area] = axes.collections
    assert {y for _, y in area.get_paths()[0].vertices} == {0, *one.values("rss")}
    axes = plotted(one.plot, figure="vsz")
    assert list(axes.lines[0].get_ydata()) == one.values("vsz")
    assert axes.get_ylabel() == "VSZ"
    with pytest.raises(BadArgument, match="figures are vsz, rss, swap"):
        one.plot(figure="pss")
    plotted(Recording([]).plot)
