"""Regions as small static HTML, for notebooks."""

from __future__ import annotations

from procmem.picture.markup import (
    MOST_ROWS,
    BarPart,
    bar,
    block,
    details,
    facts,
    kib,
    largest_of,
    table,
)
from procmem.regions.kinds import MARK, kind_word, name_word
from procmem.units import about, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from procmem.picture.markup import Markup

__all__ = ["region_html", "region_parts", "table_html"]

FIGURES = {"size": "Size", "rss": "RSS", "pss": "PSS", "uss": "USS", "swap": "Swap"}

BARS = ("size", "rss", "pss")
"""Figures that are drawn, too."""


def region_html(region: Any) -> Markup:
    """A region as a table of its fields.

    Args:
        region: a Region.
    """
    rows: list[tuple[str, str | None]] = [
        ("addresses", f"{region.start:#x} to {region.end:#x}"),
        ("size", f"{kib(region.size)} KiB"),
        ("permissions", str(region.perms)),
        ("kind", f"{kind_word(region)}, by {region.kind_evidence}"),
    ]
    if region.owner is not None:
        rows.append(("owner", region.owner.value))
    if region.use is not None:
        rows.append(("use", f"{region.use}, by {region.use.evidence}"))
    if region.pathname is not None:
        rows.append(("path", region.pathname + (" (deleted)" if region.deleted else "")))
    if region.inode:
        rows.append(("offset, device, inode", f"{region.offset:#x}, {region.dev}, {region.inode}"))
    for field, title in FIGURES.items():
        if field != "size" and hasattr(type(region), field):
            value = kib(getattr(region, field))
            rows.append((title, None if value is None else f"{value} KiB"))
    resident = getattr(region, "rss", None)
    drawn: list[Markup] = []
    if resident is not None:
        title = f"{about(resident)} of {about(region.size)} in memory"
        drawn.append(bar([BarPart(kind_word(region), resident)], title, total=region.size))
    return block(f"Region: {name_word(region)}", *drawn, facts(rows))


def table_html(regions: Any, title: str = "") -> Markup:
    """A table of regions as a whole answer; see region_parts().

    Args:
        regions: a RegionTable.
        title: a line of text; empty: what it was read from.
    """
    return block(title or f"Regions of {regions.source}", *region_parts(regions))


def region_parts(regions: Any) -> list[str]:
    """A sentence, bars by kind with their table, and the largest regions.

    Args:
        regions: a RegionTable.
    """
    fields = [field for field in FIGURES if hasattr(regions.region_type, field)]
    totals = {field: regions.total(field) for field in fields}
    main = "rss" if "rss" in fields else "size"

    def order(group: Any) -> tuple[int, int]:
        return group.total(main) or 0, group.total("size") or 0

    groups = sorted(regions.by_kind().items(), key=lambda pair: order(pair[1]), reverse=True)
    named = [
        (kind.value + (MARK if any(one.kind_guess for one in group) else ""), group)
        for kind, group in groups
    ]
    said = [f"{count(len(regions), 'region')}"]
    for field in fields:
        value = totals[field]
        if field != "swap" or value != 0:
            said.append(f"{FIGURES[field]} {'unknown' if value is None else about(value)}")
    parts: list[str] = [", ".join(said) + "."]
    for field in BARS if len(regions) else ():
        if field in fields and any(group.total(field) is not None for _, group in named):
            pieces = [BarPart(name, group.total(field)) for name, group in named]
            whole = totals[field]
            text = f"{FIGURES[field]} {'unknown' if whole is None else about(whole)}"
            parts += [f"{text} by kind", bar(pieces, text)]
    heading = ["Kind", "Regions", *(FIGURES[field] for field in fields)]
    rows = [
        [name, f"{len(group):,}", *(kib(group.total(field)) for field in fields)]
        for name, group in named
    ]
    footer = ["total, KiB", f"{len(regions):,}", *(kib(totals[field]) for field in fields)]
    if len(regions):
        parts.append(table(heading, rows, "<>" + ">" * len(fields), footer=footer, tones=0))
        parts.append(largest(regions, fields, main))
    return parts


def largest(regions: Any, fields: Sequence[str], main: str) -> Markup:
    """The largest regions by address, and the sum of the others."""

    def size(region: Any) -> tuple[int, int]:
        return getattr(region, main) or 0, region.size

    shown, others = largest_of(regions, size)
    summary = f"{count(len(shown), 'region')}, sizes in KiB"
    if others:
        summary = f"The {MOST_ROWS} largest of {len(regions):,} regions by {FIGURES[main]}, in KiB"
    rows: list[list[str | None]] = [
        [
            f"{region.start:x}",
            f"{region.end:x}",
            str(region.perms),
            *(kib(getattr(region, field)) for field in fields),
            kind_word(region),
            name_word(region),
        ]
        for region in shown
    ]
    if others:
        rest = regions.subset(others)
        sums = [kib(rest.total(field)) for field in fields]
        rows.append([f"{len(others):,} others", "", "", *sums, "", ""])
    footer = ["total", "", "", *(kib(regions.total(field)) for field in fields), "", ""]
    heading = ["Start", "End", "Perm", *(FIGURES[field] for field in fields), "Kind", "Name"]
    align = "<<<" + ">" * len(fields) + "<<"
    place = len(heading) - 2
    return details(summary, table(heading, rows, align, footer=footer, tones=place))
