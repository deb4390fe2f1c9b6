"""Plots for tests, on figures that pyplot does not know of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def new_axes() -> Any:
    """Axes of a new figure; without matplotlib the test is skipped."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from matplotlib.figure import Figure

    return Figure().subplots()


def plotted(plot: Callable[..., object], **how: Any) -> Any:
    """The Axes that a plot() was drawn on: those that it was given."""
    axes: Any = new_axes()
    same = plot(axes, **how) is axes
    assert same
    axes.figure.draw_without_rendering()
    return axes


def points_of(line: Any) -> list[tuple[float, int]]:
    """The points of a line."""
    return list(zip(*line.get_data(), strict=True))
