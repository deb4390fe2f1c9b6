"""Plots with matplotlib, which is imported here alone, inside of functions.

Each function draws on Axes and returns them. None changes matplotlib's settings or its backend:
without a screen matplotlib itself chooses one that needs none.
"""

from __future__ import annotations

from procmem.errors import MissingExtra
from procmem.picture.palette import ink, page_tone, tone
from procmem.picture.svg import size_ticks
from procmem.units import about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from matplotlib.axes import Axes

    from procmem.picture.palette import Tone
    from procmem.picture.shapes import SizeBar, TimeLayer

__all__ = ["areas", "axes_of", "bars", "lines", "page_grid", "pairs", "stacks"]


def axes_of(axes: Axes | None, needed_for: str) -> Axes:
    """The Axes to draw on: those given, or those of a new figure of pyplot.

    Args:
        axes: what the caller gave.
        needed_for: what needs matplotlib, the subject of the message if it is not installed.

    Raises:
        MissingExtra: it is not installed.
    """
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingExtra("plot", needed_for) from error
    return plt.subplots(layout="constrained")[1]


def is_dark(axes: Axes) -> bool:
    """Whether the background is dark: then the colours for dark ones are used."""
    from matplotlib.colors import to_hex

    return ink(to_hex(axes.get_facecolor())) == "#ffffff"


def look(one: Tone, axes: Axes) -> dict[str, Any]:
    """The colour of a tone, with its hatching for those who see no colour."""
    from matplotlib.colors import to_rgba

    colour = one.dark if is_dark(axes) else one.light
    return {
        "facecolor": colour,
        "edgecolor": to_rgba(ink(colour), 0.35),
        "hatch": one.hatch,
        "linewidth": 0,
    }


def size_axis(axis: Any, label: str) -> None:
    """An axis of bytes: its ticks are round in units of 1,024."""
    from matplotlib.ticker import FuncFormatter, Locator

    class SizeLocator(Locator):
        """Places of ticks at powers of two."""

        def __call__(self) -> Any:
            return self.tick_values(*axis.get_view_interval())

        def tick_values(self, vmin: float, vmax: float) -> Any:
            low, high = sorted((vmin, vmax))
            ticks = size_ticks(int(max(abs(low), abs(high), 2)))
            step = ticks[1]
            return [at * step for at in range(int(-(-low // step)), int(high // step) + 1)]

    axis.set_major_locator(SizeLocator())
    axis.set_major_formatter(
        FuncFormatter(
            lambda value, _: ("-" if value < 0 else "") + (about(int(value)) if value else "0")
        )
    )
    axis.set_label_text(label)


def bars(axes: Axes, rows: Sequence[SizeBar], figure: str, at: int = 0) -> Axes:
    """A horizontal bar for each group; a figure that is not known has none, and the name says so.

    Args:
        axes: where to draw.
        rows: the groups, the largest first.
        figure: the figure's name, for the axis.
        at: its place among the values.
    """
    names = [row.name if row.values[at] is not None else f"{row.name}: not known" for row in rows]
    for place, row in enumerate(rows):
        axes.barh(place, row.values[at] or 0, height=0.8, **look(tone(row.key), axes))
    return with_names(axes, names, figure)


def pairs(axes: Axes, rows: Sequence[SizeBar], figure: str, at: int = 0) -> Axes:
    """A horizontal bar for the change of each group: to the left where it shrank."""
    names = []
    for place, row in enumerate(rows):
        was = None if row.before is None else row.before[at]
        now = row.values[at]
        known = was is not None and now is not None
        names.append(row.name if known else f"{row.name}: not known")
        change = (now or 0) - (was or 0) if known else 0
        axes.barh(place, change, height=0.8, **look(tone(row.key), axes))
    axes.axvline(0, linewidth=0.8, color=axes.xaxis.label.get_color())
    return with_names(axes, names, f"change of {figure}")


def with_names(axes: Axes, names: Sequence[str], label: str) -> Axes:
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    size_axis(axes.xaxis, label)
    return axes


def plain(text: str) -> str:
    """Text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")


def stacks(
    axes: Axes, names: Sequence[str], layers: Sequence[TimeLayer], label: str = "bytes"
) -> Axes:
    """A horizontal bar for each name, made of a part for each layer."""
    left = [0] * len(names)
    for layer in layers:
        values = [value or 0 for value in layer.values]
        axes.barh(
            range(len(names)), values, left=left, label=plain(layer.name), height=0.8,
            **look(tone(layer.key), axes),
        )  # fmt: skip
        left = [low + value for low, value in zip(left, values, strict=True)]
    axes.legend(loc="best")
    return with_names(axes, names, label)


def areas(
    axes: Axes,
    times: Sequence[float],
    layers: Sequence[TimeLayer],
    *,
    line: Sequence[tuple[float, int]] = (),
    peak: tuple[float, int, str] | None = None,
    label: str = "RSS",
    across: str = "seconds",
) -> Axes:
    """Layers stacked over time; each value holds until the next one; see svg.areas()."""
    lower = [0] * len(times)
    for layer in layers:
        upper = [low + (value or 0) for low, value in zip(lower, layer.values, strict=True)]
        known = [value is not None for value in layer.values]
        axes.fill_between(
            times, lower, upper, where=known, step="post", label=plain(layer.name),
            **look(tone(layer.key), axes),
        )  # fmt: skip
        lower = upper
    ink_of = axes.xaxis.label.get_color()
    if line:
        axes.step(*zip(*line, strict=True), where="post", color=ink_of, linewidth=1, label=label)
    if peak is not None:
        when, value, said = peak
        axes.plot([when], [value], "o", color=ink_of, markersize=4, label="_peak")
        last = max([*times, *(when for when, _ in line)], default=0)
        side = -1 if when > last / 2 else 1
        axes.annotate(
            plain(said), (when, value), xytext=(6 * side, 6), textcoords="offset points",
            horizontalalignment="right" if side < 0 else "left",
        )  # fmt: skip
    size_axis(axes.yaxis, label)
    axes.set_xlabel(across)
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    if layers:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), reverse=True)
    return axes


def lines(
    axes: Axes,
    series: Sequence[tuple[str, Sequence[tuple[float, int]]]],
    label: str,
    across: str = "seconds",
) -> Axes:
    """A line of steps for each series: its name, and times with bytes."""
    for name, points in series:
        if points:
            axes.step(*zip(*points, strict=True), where="post", label=plain(name))
    size_axis(axes.yaxis, label)
    axes.set_xlabel(across)
    axes.set_ylim(bottom=0)
    if len(series) > 1:
        axes.legend(loc="best")
    return axes


def page_grid(
    axes: Axes, cells: Sequence[int], states: Sequence[str], columns: int, rows: Sequence[str]
) -> Axes:
    """A square for each cell, in the colour of its state.

    Args:
        axes: where to draw.
        cells: the state of each cell, by its place in `states`.
        states: names of states: see palette.page_tone().
        columns: cells in a row.
        rows: what stands before each row.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    dark = is_dark(axes)
    tones = [page_tone(state) for state in states]
    colours = [one.dark if dark else one.light for one in tones]
    padded = [*cells, *[-1] * (-len(cells) % columns)]
    grid = [padded[at : at + columns] for at in range(0, len(padded), columns)]
    colour_map = ListedColormap(colours).with_extremes(under=(0, 0, 0, 0))
    axes.imshow(
        grid or [[-1]],
        cmap=colour_map,
        vmin=0,
        vmax=max(len(states) - 1, 1),
        interpolation="nearest",
        aspect="auto",
    )
    step = max(len(rows) // 12, 1)
    axes.set_yticks(range(0, len(rows), step), rows[::step], family="monospace")
    axes.set_xticks([])
    seen = sorted({cell for cell in cells if cell >= 0})
    handles = [Patch(color=colours[cell], label=states[cell]) for cell in seen]
    if handles:
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1))
    return axes
