"""Tables of regions as text."""

from __future__ import annotations

from typing import Any

from procmem.regions.counters import ATTRIBUTES, NOT_BYTES
from procmem.regions.kinds import MARK, kind_word, marked, name_word
from procmem.units import about, in_unit, unit_name
from procmem.view.colours import by_kind, by_use
from procmem.view.columns import Column, fitted, fitted_columns, prose
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from procmem.regions import Region, RegionTable
    from procmem.regions.kinds import Kind
    from procmem.regions.numa import NumaRegion
    from procmem.regions.region import MeasuredRegion

__all__ = ["counter_table", "grouped_table", "groups_json", "region_table"]

SIZES = {
    "size": Column("size", "Size", ">", 2),
    "rss": Column("rss", "RSS", ">", 1),
    "pss": Column("pss", "PSS", ">", 4),
    "uss": Column("uss", "USS", ">", 6),
    "hugetlb": Column("hugetlb", "Hugetlb", ">", 3),
    "huge": Column("huge", "Huge", ">", 5),
    "ksm": Column("ksm", "KSM", ">", 7),
    "swap": Column("swap", "Swap", ">", 7),
}
"""In the order of the columns; the ranks are the order in which columns are left out."""


def region_name(region: Region) -> str:
    """The region's name, with control characters escaped."""
    name = printable(name_word(region))
    return f"{name} (deleted)" if region.deleted and region.inode else name


def names_of(table: RegionTable[Any], kinds: Sequence[Kind]) -> list[str]:
    """region_name() of each region; those that are alike are worded once."""
    known: dict[tuple[int, bool, bool], str] = {}
    names = []
    for region, kind in zip(table, kinds, strict=True):
        deleted = region.deleted
        key = id(kind), region.pathname is None, deleted and region.inode != 0
        name = known.get(key)
        if name is None:
            name = known[key] = region_name(region)
        names.append(name)
    return names


def texts_of(values: Sequence[Any], text: Callable[[Any], str]) -> list[str]:
    """A text for each value, made once for each distinct one."""
    known = {value: text(value) for value in set(values)}
    return [known[value] for value in values]


def of_kinds(kinds: Sequence[Kind], text: Callable[[Kind], str]) -> list[str]:
    """A text for each kind, made once for each object: to hash a kind takes longer."""
    known = {key: text(kind) for key, kind in {id(kind): kind for kind in kinds}.items()}
    return [known[id(kind)] for kind in kinds]


SELDOM = {
    "hugetlb": ("hugetlb",),
    "huge": ("anon_huge_pages", "shmem_pmd_mapped", "file_pmd_mapped"),
    "ksm": ("ksm",),
}
"""Sizes that most processes have none of, and the counters that they are the sum of: their columns
are shown where there are some."""


def sizes_of(table: RegionTable[Any], chosen: Sequence[str] | None = None) -> list[str]:
    """The sizes that the regions have; huge pages and KSM only if there are some, or are chosen."""
    return [
        field
        for field in SIZES
        if hasattr(table.region_type, field)
        and (field not in SELDOM or field in (chosen or ()) or has_some(table, SELDOM[field]))
    ]


def has_some(table: RegionTable[Any], counters: Sequence[str]) -> bool:
    """Whether any region has bytes that one of some counters counts."""
    totals = [table.total(counter) for counter in counters]
    if None not in totals:
        return any(totals)
    return any(getattr(region, counter) for counter in counters for region in table)


def region_table(
    table: RegionTable[Any],
    *,
    full_paths: bool = False,
    width: int | None = None,
    chosen: Sequence[str] | None = None,
    unit: str = "KiB",
    nodes: Mapping[int, NumaRegion] | None = None,
    zeros: Mapping[int, int] | None = None,
) -> str:
    """A row for each region and a row of totals.

    Args:
        table: of maps, residency or smaps; the columns depend on it.
        full_paths: show whole pathnames.
        width: cells per line; None: as many as needed.
        chosen: keys of the columns, in their order: start, end, perm, size, rss, pss, uss,
            hugetlb, huge, zeros, ksm, swap, node0 ..., policy, kind, owner, name, path, use.
        unit: of sizes, one of units.UNITS.
        nodes: pages by NUMA node of each region, by its start; None: no such columns.
        zeros: bytes of zeros in huge pages of each region, by its start; None: no such column.

    Raises:
        BadArgument: there is no such column.
    """
    fields = sizes_of(table, chosen)
    size = in_unit(unit)
    ends = [region.end for region in table]
    digits = max(8, len(f"{max(ends, default=0):x}"))

    def path(region: Region) -> str:
        gone = " (deleted)" if region.deleted else ""
        return printable(region.pathname) + gone if region.pathname else region_name(region)

    more = [] if zeros is None else [Column("zeros", "Zeros", ">", 1)]
    numbers = sorted({node for one in (nodes or {}).values() for node in one.nodes})
    more += [Column(f"node{node}", f"N{node}", ">", 1) for node in numbers]
    more += [] if nodes is None else [Column("policy", "Policy", rank=3)]

    def beside(region: Region) -> list[str]:
        texts = [] if zeros is None else [size(zeros.get(region.start, 0))]
        if nodes is not None:
            there = nodes.get(region.start)
            # A region that was mapped after the other file was read is not known there.
            texts += [size(None if there is None else there.nodes.get(node, 0)) for node in numbers]
            texts.append("-" if there is None else printable(there.policy))
        return texts

    # A column at a time, and each distinct text once: there may be 30,000 regions.
    address = f"%0{digits}x".__mod__
    kinds = table.kinds()
    body: list[Sequence[str]] = [
        [address(region.start) for region in table],
        [address(end) for end in ends],
        [str(region.perms) for region in table],
        *(texts_of([getattr(region, field) for region in table], size) for field in fields),
        *([*zip(*map(beside, table), strict=True)] or [()] * len(more) if more else ()),
        of_kinds(kinds, lambda kind: marked(kind.kind.value, guess=kind.guess)),
        of_kinds(kinds, lambda kind: kind.owner.value if kind.owner else ""),
        [path(region) for region in table] if full_paths else names_of(table, kinds),
    ]
    if chosen is not None:
        body.append([path(region) for region in table])
        body.append(of_kinds(kinds, lambda kind: printable(str(kind.use or ""))))

    made = [
        Column("start", "Start"),
        Column("end", "End", rank=8),
        Column("perm", "Perm", rank=5),
        *(SIZES[field] for field in fields),
        *more,
        Column("kind", "Kind", rank=3, paint=by_kind),
        Column("owner", "Owner", rank=9),
        Column("name", "Name", floor=20, keep_end=full_paths, paint=by_kind, like="kind"),
    ]
    totals = [size(table.total(field)) for field in fields]
    if zeros is not None:
        totals.append(size(sum(zeros.get(region.start, 0) for region in table)))
    if nodes is not None:
        shown = [nodes[region.start] for region in table if region.start in nodes]
        totals += [size(sum(one.nodes.get(node, 0) for one in shown)) for node in numbers]
        totals.append("")
    footer = ["total", "", "", *totals, f"{len(table)} regions", "", unit_name(unit)]
    if chosen is not None:
        if "start" not in chosen:
            footer[len(footer) - 1] = f"total, {unit_name(unit)}".removesuffix(", ")
        made.append(Column("path", "Path", floor=12, keep_end=True))
        made.append(Column("use", "Use", floor=12, paint=by_use))
        footer += ["", ""]
    text = fitted_columns(made, body, footer=footer, width=width, chosen=chosen)
    rss = table.total("rss") if zeros else None
    if zeros and rss is not None:
        empty = sum(zeros.get(region.start, 0) for region in table)
        text += prose(
            f"{about(empty)} of this RSS are zeros in huge pages: without them it would be "
            f"{about(rss - empty)}.",
            width,
        )
    return text


def counter_table(
    table: RegionTable[MeasuredRegion],
    *,
    width: int | None = None,
    chosen: Sequence[str] | None = None,
    unit: str = "KiB",
) -> str:
    """A table with a column for every counter of smaps. See region_table()."""
    names: dict[str, None] = {}
    for region in table:
        names.update(dict.fromkeys(region.counters))
    names.pop("Size", None)
    size = in_unit(unit)

    def shown(name: str, value: int | str | None) -> str:
        if isinstance(value, str):
            return printable(value)
        if value is None or name in NOT_BYTES or name not in ATTRIBUTES:
            return "-" if value is None else str(value)
        return size(value)

    def row(region: MeasuredRegion) -> list[str]:
        counters = region.counters
        return [
            f"{region.start:08x}",
            str(region.perms),
            size(region.size),
            *(shown(name, counters.get(name)) for name in names),
            kind_word(region),
            region_name(region),
            "-" if region.vm_flags is None else str(region.vm_flags),
        ]

    # Those that are asked for most give way last.
    order = sorted(names, key=lambda name: name not in FIRST)
    ranks = {name: 5 + at for at, name in enumerate(order)} | {"Rss": 2}
    made = [
        Column("start", "Start"),
        Column("perm", "Perm", rank=4),
        Column("size", "Size", ">", 1),
        *(Column(name.lower(), printable(name), ">", ranks[name]) for name in names),
        Column("kind", "Kind", rank=3, paint=by_kind),
        Column("name", "Name", floor=20, paint=by_kind, like="kind"),
        Column("vmflags", "VmFlags", rank=1000),
    ]
    return fitted(made, map(row, table), width=width, chosen=chosen)


FIRST = ("Rss", "Pss", "Private_Clean", "Private_Dirty", "Swap")
"""Counters that are left out last."""


def grouped_table(
    table: RegionTable[Any],
    by: str,
    *,
    width: int | None = None,
    chosen: Sequence[str] | None = None,
    unit: str = "KiB",
) -> str:
    """Totals for each kind, path or use, the largest first.

    A kind or use is marked as a guess if it is a guess for some of its regions.

    Args:
        table: of maps, residency or smaps.
        by: "kind", "path" or "use".
        width: cells per line; None: as many as needed.
        unit: of sizes, one of units.UNITS.
        chosen: keys of the columns: regions, the sizes, and `by`.
    """
    fields = sizes_of(table)
    size = in_unit(unit)
    unnamed = "(none known)" if by == "use" else "(anonymous)"

    def guess(region: Region) -> bool:
        if by == "use":
            return region.use is not None and region.use.guess
        return by == "kind" and region.kind_guess

    def row(name: Any, group: RegionTable[Any]) -> list[str]:
        label = unnamed if name is None else printable(str(name))
        label += MARK if any(map(guess, group)) else ""
        return [str(len(group)), *(size(group.total(field)) for field in fields), label]

    made = [
        Column("regions", "Regions", ">", 5),
        *(SIZES[field] for field in fields),
        Column(
            by,
            by.capitalize(),
            floor=32 if by == "path" else 12,
            keep_end=by == "path",
            paint=None if by == "path" else by_kind,
        ),
    ]
    name = unit_name(unit)
    footer = [str(len(table)), *(size(table.total(field)) for field in fields)]
    return fitted(
        made,
        (row(name, group) for name, group in groups(table, by)),
        footer=[*footer, f"total, {name}" if name else "total"],
        width=width,
        chosen=chosen,
    )


def groups(table: RegionTable[Any], by: str) -> list[tuple[Any, RegionTable[Any]]]:
    """The regions grouped by kind, path or use, the largest group first."""
    field = "rss" if hasattr(table.region_type, "rss") else "size"
    makers: dict[str, Callable[[], Any]] = {
        "kind": table.by_kind,
        "path": table.by_path,
        "use": table.by_use,
    }
    found: list[tuple[Any, RegionTable[Any]]] = list(makers[by]().items())
    return sorted(found, key=lambda group: group[1].total(field) or 0, reverse=True)


def groups_json(table: RegionTable[Any], by: str) -> list[dict[str, Any]]:
    """The contents of grouped_table() as plain values: the group, and totals in bytes."""
    return [
        {by: None if name is None else str(name), **group.totals()}
        for name, group in groups(table, by)
    ]
