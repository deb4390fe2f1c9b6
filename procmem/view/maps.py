"""Tables of regions, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procmem.regions.counters import ATTRIBUTES, NOT_BYTES
from procmem.regions.kinds import kind_word, name_word
from procmem.view.columns import columns, kib
from procmem.view.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from procmem.regions import Region, RegionTable
    from procmem.regions.model import MeasuredRegion

__all__ = ["grouped_table", "region_table"]

SIZES = {
    "size": "Size",
    "rss": "RSS",
    "pss": "PSS",
    "uss": "USS",
    "swap": "Swap",
}


def region_name(region: Region) -> str:
    """What the region is called, safe for a terminal."""
    name = printable(name_word(region))
    return f"{name} (deleted)" if region.deleted and region.inode else name


def sizes_of(table: RegionTable[Any]) -> list[str]:
    kind = table._kind
    return [field for field in SIZES if hasattr(kind, field)]


def region_table(table: RegionTable[Any], *, full_paths: bool = False) -> str:
    """A row for each region and a row of totals, sizes in KiB.

    Args:
        table: of maps, residency or smaps: shows what there is.
        full_paths: the name column shows the whole pathname.
    """
    fields = sizes_of(table)
    width = max([8, *(len(f"{region.end:x}") for region in table)])

    def row(region: Region) -> list[str]:
        name = region_name(region)
        if full_paths and region.pathname:
            name = printable(region.pathname) + (" (deleted)" if region.deleted else "")
        return [
            f"{region.start:0{width}x}",
            f"{region.end:0{width}x}",
            str(region.perms),
            *(kib(getattr(region, field)) for field in fields),
            kind_word(region),
            region.owner.value if region.owner else "",
            name,
        ]

    return columns(
        ["Start", "End", "Perm", *(SIZES[field] for field in fields), "Kind", "Owner", "Name"],
        map(row, table),
        "<<<" + ">" * len(fields) + "<<<",
        footer=[
            "total",
            "",
            "",
            *(kib(table.total(field)) for field in fields),
            f"{len(table)} regions",
            "",
            "KiB",
        ],
    )


def counter_table(table: RegionTable[MeasuredRegion]) -> str:
    """Every counter that the kernel printed, a column each; sizes in KiB."""
    names: dict[str, None] = {}
    for region in table:
        names.update(dict.fromkeys(region.counters))
    names.pop("Size", None)

    def shown(name: str, value: int | str | None) -> str:
        if isinstance(value, str):
            return printable(value)
        if value is None or name in NOT_BYTES or name not in ATTRIBUTES:
            return "-" if value is None else str(value)
        return kib(value)

    def row(region: MeasuredRegion) -> list[str]:
        counters = region.counters
        return [
            f"{region.start:08x}",
            str(region.perms),
            kib(region.size),
            *(shown(name, counters.get(name)) for name in names),
            kind_word(region),
            region_name(region),
            "-" if region.vm_flags is None else str(region.vm_flags),
        ]

    return columns(
        ["Start", "Perm", "Size", *map(printable, names), "Kind", "Name", "VmFlags"],
        map(row, table),
        "<<>" + ">" * len(names) + "<<<",
    )


def grouped_table(table: RegionTable[Any], by: str) -> str:
    """Totals for each kind or each path, the largest first; sizes in KiB.

    Args:
        table: of maps, residency or smaps.
        by: "kind" or "path".
    """
    fields = sizes_of(table)
    groups: Sequence[tuple[Any, RegionTable[Any]]] = list(
        (table.by_kind() if by == "kind" else table.by_path()).items()
    )
    weight: Callable[[tuple[Any, RegionTable[Any]]], int] = lambda group: (  # noqa: E731
        group[1].total("rss" if "rss" in fields else "size") or 0
    )

    def row(name: Any, group: RegionTable[Any]) -> list[str]:
        label = "(anonymous)" if name is None else printable(str(name))
        return [str(len(group)), *(kib(group.total(field)) for field in fields), label]

    return columns(
        ["Regions", *(SIZES[field] for field in fields), by.capitalize()],
        (row(name, group) for name, group in sorted(groups, key=weight, reverse=True)),
        ">" + ">" * len(fields) + "<",
        footer=[str(len(table)), *(kib(table.total(field)) for field in fields), "total, KiB"],
    )
