"""A trace as a plot: VSZ or RSS over time."""

from __future__ import annotations

from procmem.errors import BadArgument
from procmem.native import lib
from procmem.picture import plots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from matplotlib.axes import Axes

    class Timed(Protocol):
        """What is drawn of a call."""

        @property
        def pid(self) -> int: ...
        @property
        def began(self) -> int: ...
        @property
        def ns(self) -> int | None: ...
        @property
        def figures(self) -> tuple[int, int, int, int]: ...


__all__ = ["plot_figure", "points"]

FIGURES = ("vsz", "rss")


def points(calls: Iterable[Timed], figure: str) -> dict[int, list[tuple[float, int]]]:
    """A figure of each process over time, before and after each of its calls.

    Args:
        calls: in the order in which they ended.
        figure: "vsz" or "rss".

    Returns:
        By PID: seconds since the first call began, and bytes. What could not be read is left out.
    """
    at = FIGURES.index(figure)
    found: dict[int, list[tuple[int, int]]] = {}
    start = None
    for call in calls:
        start = call.began if start is None else min(start, call.began)
        line = found.setdefault(call.pid, [])
        before, after = call.figures[at], call.figures[2 + at]
        if before != lib.PM_UNREAD:
            line.append((call.began, before))
        if after != lib.PM_UNREAD and call.ns is not None:
            line.append((call.began + call.ns, after))
    return {
        # Calls of several threads overlap, and so do a function and the calls that it makes.
        pid: [((when - (start or 0)) / 1e9, value) for when, value in sorted(line)]
        for pid, line in found.items()
    }


def plot_figure(calls: Iterable[Timed], axes: Axes | None, figure: str) -> Axes:
    """VSZ or RSS over time; see Trace.plot().

    Raises:
        BadArgument: there is no such figure.
    """
    if figure not in FIGURES:
        raise BadArgument(f"figures are {' and '.join(FIGURES)}, not {figure!r}")
    series = [(f"process {pid}", line) for pid, line in points(calls, figure).items()]
    return plots.lines(plots.axes_of(axes, "Trace.plot()"), series, figure.upper())
