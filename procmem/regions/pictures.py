"""What pictures of regions are drawn from: bars by kind and by use, and the address space."""

from __future__ import annotations

from procmem.errors import BadArgument
from procmem.names import escaped
from procmem.picture import plots
from procmem.picture.shapes import MapSpan, SizeBar, added
from procmem.picture.svg import address_map, bars
from procmem.regions.kinds import MARK, kind_word, name_word
from procmem.regions.region import MeasuredRegion, ResidentRegion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    from procmem.picture.svg import Panel
    from procmem.regions.region import Region

__all__ = [
    "by_use",
    "compared_bars",
    "figure_at",
    "figures_of",
    "group_bars",
    "panels",
    "plot_bars",
    "plot_changes",
    "spans",
    "sum_bar",
]

KERNEL_HALF = 1 << 63
"""VmSize does not count [vsyscall], which starts above."""

NO_USE = "(no use known)"

FIGURES = (("VSZ", "size"), ("RSS", "rss"), ("PSS", "pss"), ("USS", "uss"))

Groups = dict[str, "list[Region]"]


def figures_of(region_type: type[Region]) -> list[tuple[str, str]]:
    """Names of the figures that such regions have, each with its attribute."""
    count = 4 if issubclass(region_type, MeasuredRegion) else 2
    return list(FIGURES[: count if issubclass(region_type, ResidentRegion | MeasuredRegion) else 1])


def sums(regions: Sequence[Region], figures: Sequence[tuple[str, str]]) -> tuple[int | None, ...]:
    """The sum of each figure; None: it was not read of one of the regions."""
    return tuple(
        added(
            getattr(region, attribute)
            for region in regions
            if attribute != "size" or region.start < KERNEL_HALF
        )
        for _, attribute in figures
    )


def by_kind(region: Region) -> str:
    """The kind of a region."""
    return region.kind.value


def by_use(region: Region) -> str:
    """The use of a region, in words."""
    return NO_USE if region.use is None else region.use.name


def guessed(regions: Sequence[Region], by: Callable[[Region], str]) -> bool:
    """Whether the name of a group is a guess for one of its regions."""
    if by is by_kind:
        return any(region.kind_guess for region in regions)
    return any(region.use is not None and region.use.guess for region in regions)


def grouped(regions: Sequence[Region], by: Callable[[Region], str]) -> Groups:
    groups: Groups = {}
    for region in regions:
        groups.setdefault(by(region), []).append(region)
    return groups


def group_bars(
    regions: Sequence[Region], region_type: type[Region], by: Callable[[Region], str] = by_kind
) -> list[SizeBar]:
    """A bar for each kind or use, the largest first: by RSS, then by size.

    Args:
        regions: the regions.
        region_type: their class, which decides which figures there are.
        by: by_kind or by_use.
    """
    figures = figures_of(region_type)
    made = [
        SizeBar(named(name, group, by), key_of(name), sums(group, figures))
        for name, group in grouped(regions, by).items()
    ]
    return in_order([bar for bar in made if any(value != 0 for value in bar.values)])


def named(name: str, regions: Sequence[Region], by: Callable[[Region], str]) -> str:
    """The name of a group as it is shown."""
    mark = MARK if guessed(regions, by) else ""
    return escaped(name) + mark


def key_of(name: str) -> str:
    """The colour of a group."""
    return "other" if name == NO_USE else name


def in_order(made: list[SizeBar]) -> list[SizeBar]:
    """The largest first: by memory, and by size where that is equal or not known."""

    def rank(bar: SizeBar) -> tuple[int, int]:
        sides = [bar.values, *([bar.before] if bar.before is not None else [])]
        return tuple(max(side[at] or 0 for side in sides) for at in order)  # type: ignore[return-value]

    order = (1, 0) if made and len(made[0].values) > 1 else (0, 0)
    return sorted(made, key=rank, reverse=True)


def sum_bar(regions: Sequence[Region], region_type: type[Region], name: str = "all") -> SizeBar:
    """The sums over all regions."""
    return SizeBar(name, "", sums(regions, figures_of(region_type)))


def compared_bars(
    before: Sequence[Region], after: Sequence[Region], figures: Sequence[tuple[str, str]]
) -> list[SizeBar]:
    """A pair of bars for each kind, of two snapshots, and a last one with the sums."""
    old, new = grouped(before, by_kind), grouped(after, by_kind)
    made = []
    for name in dict.fromkeys([*new, *old]):
        both = [*old.get(name, []), *new.get(name, [])]
        values, was = sums(new.get(name, []), figures), sums(old.get(name, []), figures)
        if any(value != 0 for value in (*values, *was)):
            made.append(SizeBar(named(name, both, by_kind), key_of(name), values, was))
    whole = SizeBar("all", "", sums(after, figures), sums(before, figures))
    return [*in_order(made), whole]


def spans(
    regions: Sequence[Region], marks: Mapping[int, tuple[str, str]] | None = None
) -> list[MapSpan]:
    """The regions of an address space, as a map draws them.

    Args:
        regions: by address.
        marks: for regions that changed, by their start: the mark, and what changed.
    """
    found = []
    for region in regions:
        kind, name = kind_word(region), escaped(name_word(region))
        detail = str(region.perms) if name in (kind, f"[{kind}]") else f"{region.perms} {kind}"
        mark, note = (marks or {}).get(region.start, ("", ""))
        resident = getattr(region, "rss", None)
        found.append(
            MapSpan(region.start, region.end, region.kind.value, name, detail, resident, mark, note)
        )
    return found


def panels(
    regions: Sequence[Region], region_type: type[Region], title: str = "Address space"
) -> list[Panel]:
    """Bars by kind, bars by use if one is known, and the address space.

    Args:
        regions: by address.
        region_type: their class.
        title: of the address space.
    """
    names = [name for name, _ in figures_of(region_type)]
    whole = sum_bar(regions, region_type)
    found = [bars("By kind", names, group_bars(regions, region_type), whole)]
    if any(region.use is not None for region in regions):
        found.append(bars("By use", names, group_bars(regions, region_type, by_use), whole))
    return [*found, address_map(title, spans(regions))]


def plot_bars(
    regions: Sequence[Region],
    region_type: type[Region],
    axes: Axes | None,
    by: str = "kind",
    figure: str | None = None,
) -> Axes:
    """Bars with matplotlib; see RegionTable.plot()."""
    ways = {"kind": by_kind, "use": by_use}
    if by not in ways:
        raise BadArgument(f"by is {' or '.join(ways)}, not {by!r}")
    at, name = figure_at(figures_of(region_type), figure)
    rows = group_bars(regions, region_type, ways[by])
    return plots.bars(plots.axes_of(axes, "RegionTable.plot()"), rows, name, at)


def plot_changes(
    before: Sequence[Region],
    after: Sequence[Region],
    figures: Sequence[tuple[str, str]],
    axes: Axes | None,
    figure: str | None = None,
) -> Axes:
    """Bars for the changes of two snapshots with matplotlib; see Diff.plot()."""
    at, name = figure_at(figures, figure)
    *rows, _ = compared_bars(before, after, figures)
    changed = [row for row in rows if row.before is None or row.before[at] != row.values[at]]
    return plots.pairs(plots.axes_of(axes, "Diff.plot()"), changed, name, at)


def figure_at(figures: Sequence[tuple[str, str]], asked: str | None) -> tuple[int, str]:
    """The place and the name of a figure.

    Raises:
        BadArgument: it was not read.
    """
    names = [name for name, _ in figures]
    if asked is None:
        asked = "rss" if "RSS" in names else "vsz"
    if asked.upper() not in names:
        known = ", ".join(name.lower() for name in names)
        raise BadArgument(f"figures of these regions are {known}, not {asked!r}")
    return names.index(asked.upper()), asked.upper()
