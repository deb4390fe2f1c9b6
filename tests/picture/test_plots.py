"""Plots: what is drawn has the figures that were given; nothing of matplotlib is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from procmem import MissingExtra, Process
from procmem.picture import plots
from procmem.picture.palette import tone
from procmem.picture.shapes import SizeBar, TimeLayer
from tests.support.plotted import new_axes, plotted, points_of

MiB = 1 << 20


def to_hex(colour: Any) -> str:
    from matplotlib.colors import to_hex

    return to_hex(colour)


def labels(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_bars_have_the_figures_and_the_colours() -> None:
    rows = [SizeBar("heap", "heap", (3 * MiB,)), SizeBar("a$b$", "text", (None,))]
    axes: Any = plots.bars(new_axes(), rows, "RSS")
    assert [bar.get_width() for bar in axes.patches] == [3 * MiB, 0]
    assert [to_hex(bar.get_facecolor()) for bar in axes.patches] == [
        tone("heap").light,
        tone("text").light,
    ]
    assert labels(axes.yaxis) == ["heap", r"a\$b\$: not known"]
    assert axes.get_xlabel() == "RSS"
    assert labels(axes.xaxis)[:3] == ["0", "1 MiB", "2 MiB"]
    axes.figure.draw_without_rendering()


def test_dark_axes_have_the_dark_colours() -> None:
    axes = new_axes()
    axes.set_facecolor("#111111")
    plots.bars(axes, [SizeBar("heap", "heap", (MiB,))], "RSS")
    assert to_hex(axes.patches[0].get_facecolor()) == tone("heap").dark


def test_changes_go_to_the_right_and_to_the_left() -> None:
    rows = [SizeBar("heap", "heap", (3 * MiB,), (MiB,)), SizeBar("text", "text", (0,), (MiB,))]
    rows.append(SizeBar("anon", "anon", (None,), (MiB,)))
    axes: Any = plots.pairs(new_axes(), rows, "RSS")
    assert [bar.get_width() for bar in axes.patches] == [2 * MiB, -MiB, 0]
    assert labels(axes.yaxis) == ["heap", "text", "anon: not known"]
    assert axes.get_xlabel() == "change of RSS"
    assert "-1 MiB" in labels(axes.xaxis)


def test_areas_are_stacked_and_what_is_not_known_is_left_out() -> None:
    layers = [TimeLayer("anon", "anon", (1, 2, 3)), TimeLayer("heap", "heap", (10, None, 30))]
    line = [(0.0, 11), (1.0, 12), (2.0, 33)]
    axes: Any = plots.areas(new_axes(), [0, 1, 2], layers, line=line, peak=(2.0, 33, "peak"))
    anon, heap = axes.collections
    assert sorted({y for _, y in anon.get_paths()[0].vertices}) == [0, 1, 2, 3]
    assert [to_hex(one.get_facecolor()[0]) for one in (anon, heap)] == [
        tone("anon").light,
        tone("heap").light,
    ]
    assert max(y for path in heap.get_paths() for _, y in path.vertices) == 33
    drawn, peak = axes.lines
    assert points_of(drawn) == line
    assert [float(value) for one in peak.get_data() for value in one] == [2.0, 33.0]
    assert [text.get_text() for text in axes.texts] == ["peak"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds", "RSS")
    axes.figure.draw_without_rendering()


def test_stacks_and_lines() -> None:
    layers = [TimeLayer("in use", "heap", (5, 1)), TimeLayer("free", "reserved", (2, 4))]
    axes: Any = plots.stacks(new_axes(), ["main", "other"], layers)
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [
        (0, 5),
        (0, 1),
        (5, 2),
        (1, 4),
    ]
    axes = plots.lines(new_axes(), [("one", [(0.0, 7), (1.0, 9)]), ("none", [])], "VSZ")
    [line] = axes.lines
    assert points_of(line) == [(0.0, 7), (1.0, 9)]


def test_a_page_grid_has_a_square_for_each_cell() -> None:
    states = ["absent", "file", "swapped"]
    axes: Any = plots.page_grid(new_axes(), [0, 1, 2, 1, 0], states, 2, ["0", "2000", "4000"])
    [image] = axes.images
    assert image.get_array().tolist() == [[0, 1], [2, 1], [0, -1]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == states
    plotted(plots.page_grid, cells=[], states=states, columns=2, rows=[])


def test_nothing_to_draw_is_drawn() -> None:
    plotted(plots.bars, rows=[], figure="RSS")
    plotted(plots.areas, times=[], layers=[])
    plotted(plots.lines, series=[], label="RSS")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"RegionTable.plot\(\) needs .*procmem-live\[plot\]"):
        Process().maps().plot()


SCRIPT = """
import sys, matplotlib, procmem
from matplotlib.figure import Figure
table = procmem.Process().smaps()
raw = dict(dict.items(matplotlib.rcParams))
axes = Figure().subplots()
assert table.plot(axes) is axes
assert dict(dict.items(matplotlib.rcParams)) == raw
assert "matplotlib.pyplot" not in sys.modules
made = table.plot()
del raw["backend"]
assert {name: value for name, value in dict.items(matplotlib.rcParams) if name != "backend"} == raw
print(matplotlib.get_backend(), len(made.patches) > 3)
"""


def test_settings_stay_as_they_are_and_no_screen_is_needed() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    lacking = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    environment = {name: value for name, value in os.environ.items() if name not in lacking}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lower() == "agg true\n"


def test_procmem_loads_none_of_it() -> None:
    script = (
        "import sys, procmem; t = procmem.Process().smaps(); t.svg(); t.by_kind(); "
        "print([m for m in ('matplotlib', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
