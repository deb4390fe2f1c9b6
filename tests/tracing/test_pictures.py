"""Plots of traces: the lines are the figures of the calls."""

from __future__ import annotations

import pytest

from procmem import BadArgument, trace
from procmem.tracing.pictures import points
from tests.support.plotted import plotted, points_of
from tests.support.targets import PAGE
from tests.support.traced import own

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced program counts in pages of 4 KiB")


def test_points_are_the_figures_before_and_after_each_call(program: str) -> None:
    traced = trace([program, "everything"])
    [line] = points(traced, "vsz").values()
    assert [when for when, _ in line] == sorted(when for when, _ in line)
    start = min(call.began for call in traced)
    mapped = own(traced)[0]
    assert mapped.before is not None
    assert mapped.after is not None
    assert mapped.ns is not None
    assert ((mapped.began - start) / 1e9, mapped.before.vsz) in line
    assert ((mapped.began + mapped.ns - start) / 1e9, mapped.before.vsz + 100 * PAGE) in line
    with pytest.raises(BadArgument, match="figures are vsz and rss, not 'pss'"):
        traced.plot(figure="pss")


def test_a_line_for_each_process(program: str) -> None:
    traced = trace([program, "everything"])
    axes = plotted(traced.plot, figure="rss")
    [line] = axes.lines
    assert points_of(line) == points(traced, "rss")[traced.pid]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds", "RSS")
