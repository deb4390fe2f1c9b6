"""Pictures of regions: the bars add up to the table, and names are shown as they are."""

from __future__ import annotations

from typing import Any

import pytest

from procmem import BadArgument, Process, RegionTable, parse_maps, parse_smaps
from procmem.regions.pictures import (
    by_use,
    compared_bars,
    figures_of,
    group_bars,
    panels,
    spans,
    sum_bar,
)
from tests.support.goldens import same_as_golden
from tests.support.paths import FIXTURES
from tests.support.plotted import plotted
from tests.support.svgs import Drawing

VSYSCALL = 0xFFFFFFFFFF600000


@pytest.mark.parametrize("detail", ["maps", "residency", "smaps"])
def test_bars_add_up_to_the_totals_of_the_table(detail: str) -> None:
    table: RegionTable[Any] = Process().snapshot(detail).regions
    figures = figures_of(table.region_type)
    assert [name for name, _ in figures] == {
        "maps": ["VSZ"],
        "residency": ["VSZ", "RSS"],
        "smaps": ["VSZ", "RSS", "PSS", "USS"],
    }[detail]
    counted = table.filter(end=1 << 63)  # VmSize does not count [vsyscall]
    whole = tuple(counted.total(attribute) for _, attribute in figures)
    assert sum_bar(list(table), table.region_type).values == whole
    for bars in (
        group_bars(list(table), table.region_type),
        group_bars(list(table), table.region_type, by_use),
    ):
        for at, _ in enumerate(figures):
            assert sum(bar.values[at] or 0 for bar in bars) == whole[at]
            assert None not in [bar.values[at] for bar in bars]


def test_by_kind_is_as_the_table_has_it() -> None:
    table = Process().smaps()
    bars = {bar.name.removesuffix("?"): bar for bar in group_bars(list(table), table.region_type)}
    for kind, part in table.by_kind().items():
        if kind.value == "vsyscall":
            continue
        figures = tuple(part.total(name) for name in ("size", "rss", "pss", "uss"))
        if any(figures):
            bar = bars[kind.value]
            assert bar.values == figures
            assert bar.name.endswith("?") == any(region.kind_guess for region in part)
    ranks = [bar.values[1] or 0 for bar in bars.values()]
    assert ranks == sorted(ranks, reverse=True)


def test_a_counter_that_an_old_kernel_lacks_is_not_known() -> None:
    table = parse_smaps((FIXTURES / "linux-2.6.18-i386.smaps").read_bytes())
    bars = group_bars(list(table), table.region_type)
    assert {bar.values[2] for bar in bars} == {None}
    assert "not known" in Drawing(table.svg()).words


def test_a_map_has_each_region_with_its_permissions_and_guesses() -> None:
    table = Process().smaps()
    found = spans(list(table))
    assert [(one.start, one.end, one.resident) for one in found] == [
        (region.start, region.end, region.rss) for region in table
    ]
    for one, region in zip(found, table, strict=True):
        assert one.detail.startswith(str(region.perms))
        assert one.key == region.kind.value
    maps = parse_maps(b"1000-2000 ---p 00000000 00:00 0 \n")
    [guess] = spans(list(maps))
    assert (guess.name, guess.detail, guess.resident) == ("guard?", "---p", None)


def test_kinds_of_two_tables_side_by_side() -> None:
    before = parse_maps(b"1000-2000 rw-p 00000000 00:00 0 [heap]\n")
    after = parse_maps(
        b"1000-4000 rw-p 00000000 00:00 0 [heap]\n9000-a000 rw-p 00000000 00:00 0 [stack]\n"
    )
    figures = figures_of(before.region_type)
    heap, stack, whole = compared_bars(list(before), list(after), figures)
    assert (heap.before, heap.values) == ((4096,), (12288,))
    assert (stack.name, stack.before, stack.values) == ("stack", (0,), (4096,))
    assert (whole.before, whole.values) == ((4096,), (16384,))


@pytest.mark.parametrize("name", ["hostile-names.maps", "future.smaps", "gvisor.smaps"])
def test_what_a_process_can_choose_is_text(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    table = (parse_smaps if name.endswith(".smaps") else parse_maps)(data)
    assert Drawing(table.svg()).stays_inside()


def test_an_empty_table_is_drawn() -> None:
    assert Drawing(parse_maps(b"").svg()).stays_inside()


def test_uses_have_bars_if_one_is_known() -> None:
    plain = parse_maps(b"1000-2000 rw-p 00000000 00:00 0 [stack]\n")
    assert len(panels(list(plain), plain.region_type)) == 2
    mine = Process().smaps()
    assert any(region.use for region in mine)
    assert len(panels(list(mine), mine.region_type)) == 3
    assert "By use" in Drawing(mine.svg()).texts


def test_a_title_is_text() -> None:
    found = Drawing(parse_maps(b"").svg("<b>\x1b"))
    assert found.title == "<b>\\x1b"


def test_golden() -> None:
    """A captured process, looked at in a browser."""
    data = (FIXTURES / "linux-6.1-btrfs-x86_64.smaps").read_bytes()
    same_as_golden(
        "svg/regions.svg", parse_smaps(data, source="linux-6.1-btrfs-x86_64.smaps").svg()
    )


def test_plots_have_the_figures_of_the_table() -> None:
    table = Process().smaps()
    for figure, attribute in figures_of(table.region_type):
        axes = plotted(table.plot, figure=figure.lower())
        counted = table.filter(end=1 << 63)
        assert sum(bar.get_width() for bar in axes.patches) == counted.total(attribute)
        assert axes.get_xlabel() == figure
    axes = plotted(Process().maps().plot, by="use")
    assert axes.get_xlabel() == "VSZ"
    with pytest.raises(BadArgument, match="figures of these regions are vsz, not 'rss'"):
        Process().maps().plot(figure="rss")
    with pytest.raises(BadArgument, match="by is kind or use, not 'path'"):
        table.plot(by="path")
