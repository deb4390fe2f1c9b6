"""Pages as text: rows of letters, counts, page frames, sharers, translations, page tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

from procmem.pages.pagemap import PageState
from procmem.picture.palette import PAGE_TONES
from procmem.regions.region import PAGE_SIZE
from procmem.units import about, in_unit, kib, signed_in_unit, unit_name
from procmem.view.colours import by_letter, by_use
from procmem.view.columns import Column, fitted, pairs, prose
from procmem.view.maps import region_name
from procmem.view.names import printable, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from procmem.pages.frames import Frame
    from procmem.pages.pagemap import PageMap
    from procmem.pages.tables import PagingScheme
    from procmem.process import Sharers
    from procmem.process.pages import Translation
    from procmem.process.tables import PageTables
    from procmem.regions import Region

__all__ = [
    "frames_table",
    "legend",
    "overview",
    "page_tables_table",
    "picture",
    "plain_part",
    "plain_sharers",
    "plain_tables",
    "plain_translation",
    "sharers_table",
    "sharing_processes_table",
    "translation_text",
]

Part = tuple["Region | None", "PageMap | None"]
"""A region (None: the range is unmapped) and its pages (None: pagemap does not show them)."""

LINES = 16
"""The most lines of one picture."""

letters_painted = by_letter({one.mark: one for name, one in PAGE_TONES.items() if name != "absent"})
"""Colours a row of letters."""


def legend(parts: Sequence[Part], *, screen: int | None = None) -> str:
    """The meanings of the letters that occur."""
    seen = [pages.counts() for _, pages in parts if pages]
    # The colours' own characters have no width.
    return "".join(
        "  " + letters_painted(state.value, "") + prose(f"    {state.meaning}", screen, "    ")[3:]
        for state in PageState
        if any(getattr(counts, state.name.lower()) for counts in seen)
    )


def overview(
    parts: Sequence[Part],
    *,
    width: int = 32,
    screen: int | None = None,
    unit: str = "",
    chosen: Sequence[str] | None = None,
) -> str:
    """A table with a line for each region: pages, those in memory and in swap, a row of letters.

    Args:
        parts: the regions.
        width: letters per row.
        screen: cells per line; None: as many as needed.
        unit: of sizes, one of units.UNITS; "": pages are counted.
        chosen: keys of the columns to show, in their order; None: all.

    Raises:
        BadArgument: there is no such column.
    """
    sized = in_pages(unit)
    rows = []
    totals = [0, 0, 0]
    for region, pages in parts:
        if region is None:
            continue
        counts = pages.counts() if pages else None
        figures = [len(pages), counts.present, counts.swapped] if pages and counts else None
        for i, figure in enumerate(figures or ()):
            totals[i] += figure
        rows.append(
            [
                f"{region.start:x}",
                str(region.perms),
                *(map(sized, figures) if figures else "---"),
                f"{pages.row(width) if pages else '':<{width}}",
                region_name(region) + ("" if pages else "  (not shown by pagemap)"),
            ]
        )
    made = [
        Column("start", "Start"),
        Column("perm", "Perm", rank=3),
        Column("pages", "Size" if unit else "Pages", ">", 2),
        Column("present", "Present", ">", 1),
        Column("swap", "Swap", ">", 4),
        Column("map", f"{'Map':<{width}}", paint=letters_painted),
        Column("name", "Name", floor=16, paint=by_use),
    ]
    name = f"total, {unit_name(unit)}" if unit and unit_name(unit) else "total"
    footer = [name, "", *map(sized, totals), "", f"{len(rows)} regions"]
    return fitted(made, rows, footer=footer, width=screen, chosen=chosen)


def picture(part: Part, *, width: int = 64, screen: int | None = None) -> str:
    """The pages of a range: lines of letters with addresses, and the counts."""
    region, pages = part
    if region is None:
        title = "no region"
    else:
        title = f"{region.start:x}-{region.end:x} {region.perms} {region_name(region)}"
    title = prose(title, screen, "  ").rstrip("\n")
    if pages is None:
        return (
            title + "\n" + prose("  memory of the kernel: pagemap does not show it", screen, "  ")
        )
    each = max(1, -(-len(pages) // (width * LINES)))
    text = f"{title}\n"
    if region is None or (pages.start, pages.end) != (region.start, region.end):
        text += f"  pages {pages.start:x}-{pages.end:x}\n"
    if each > 1:
        text += f"  one letter per {each} pages\n"
    step = width * each
    for first in range(0, len(pages), step):
        line = pages[first : first + step]
        row = line.row(-(-len(line) // each))
        text += f"  {line.start:012x}  {letters_painted(row, row)}\n"
    return text + prose(f"  {counts_line(pages)}", screen, "  ")


def counts_line(pages: PageMap) -> str:
    """The counts in words, and which ones are unknown."""
    counts = pages.counts()
    told = [f"{counts.pages} pages"]
    for state in PageState:
        number = getattr(counts, state.name.lower())
        if number:
            told.append(f"{number} {state.value}")
    unknown = [
        name
        for name, number in (
            ("the zero page", counts.zero),
            ("guard pages", counts.guard),
        )
        if number is None
    ]
    if counts.soft_dirty:
        told.append(f"{counts.soft_dirty} soft-dirty")
    if counts.uffd_wp:
        told.append(f"{counts.uffd_wp} write-protected by userfaultfd")
    return ", ".join(told) + (f"; not known here: {', '.join(unknown)}" if unknown else "")


def frames_table(
    frames: Sequence[Frame],
    screen: int | None = None,
    unit: str = "",
    chosen: Sequence[str] | None = None,
) -> str:
    """Page frames grouped by flags and map count, the largest group first."""
    figure = in_pages(unit)
    kinds = Counter((frame.flags, frame.mapped) for frame in frames)
    made = [
        Column("frames", unit_name(unit) or "Size" if unit else "Frames", ">"),
        Column("mapped", "Mapped", ">"),
        Column("flags", "Flags", floor=12, wrapped=True),
    ]
    return fitted(
        made,
        (
            [figure(number), f"{mapped} ×", " ".join(flags.names) or "-"]
            for (flags, mapped), number in kinds.most_common()
        ),
        footer=[figure(len(frames)), "", "in all"],
        width=screen,
        chosen=chosen,
    )


def in_pages(unit: str) -> Callable[[int], str]:
    """A function that formats a number of pages for a table.

    Args:
        unit: of sizes, one of units.UNITS; "": pages are counted.
    """
    size = in_unit(unit) if unit else None
    return lambda number: str(number) if size is None else size(number * PAGE_SIZE)


def sharers_table(
    sharers: Sharers,
    screen: int | None = None,
    unit: str = "",
    chosen: Sequence[str] | None = None,
) -> str:
    """A line for each process and range of pages that share the same frames."""
    figure = in_pages(unit)
    rows = [
        [
            f"{share.start:x}-{share.end:x}",
            figure((share.end - share.start) // sharers.page_size),
            str(share.process.pid),
            f"{share.at:x}",
        ]
        for share in sharers.shares
    ]
    made = [
        Column("here", "Here", floor=12),
        Column("pages", unit_name(unit) or "Size" if unit else "Pages", ">"),
        Column("process", "Process", ">"),
        Column("there", "There", rank=1),
    ]
    text = fitted(made, rows, width=screen, chosen=chosen)
    return text + "\n" + prose(asked_line(sharers), screen)


def asked_line(sharers: Sharers) -> str:
    """How many pages and processes were searched."""
    told = (
        f"{sharers.asked} pages are mapped more than once; {sharers.processes} processes were "
        f"checked"
    )
    for number, why in ((sharers.gone, "ended meanwhile"), (sharers.denied, "could not be read")):
        if number:
            told += f", {number} {why}"
    return f"{told}."


MOST_REGIONS = 3


def sharing_processes_table(
    sharers: Sharers,
    screen: int | None = None,
    unit: str = "",
    chosen: Sequence[str] | None = None,
) -> str:
    """A line for each process that shares pages: how much, where, what ending it would free."""
    unit = unit or "MiB"
    figure = in_unit(unit)
    found = sharers.by_process()
    others = [one for one in found if one.frees is not None]
    head = "No other process maps these pages."
    if others:
        most = others[0]
        head = (
            f"{shorter(printable(most.name), 40)} ({most.process.pid}) shares most with "
            f"{sharers.process.pid}: {about(most.size)}; ending it would free "
            f"{about(most.frees or 0)}."
        )
    rows = []
    for one in found:
        by_name: Counter[str] = Counter()
        for region, size in one.regions:
            by_name[region_name(region)] += size
        where = [f"{name} {about(size)}" for name, size in by_name.most_common(MOST_REGIONS)]
        more = len(by_name) - MOST_REGIONS
        rows.append(
            [
                str(one.process.pid),
                printable(one.name),
                figure(one.size),
                figure(one.frees),
                ", ".join(where) + (f" and {more} more" if more > 0 else ""),
            ]
        )
    made = [
        Column("pid", "PID", ">"),
        Column("name", "Name", floor=12),
        Column("shared", f"Shared {unit_name(unit)}".rstrip(), ">"),
        Column("frees", f"Frees {unit_name(unit)}".rstrip(), ">"),
        Column("where", "Where", rank=1, floor=24),
    ]
    text = prose(head, screen)
    if rows:
        text += "\n" + fitted(made, rows, width=screen, chosen=chosen)
    return text + "\n" + prose(asked_line(sharers), screen)


def translation_text(
    found: Translation, scheme: PagingScheme | None = None, screen: int | None = None
) -> str:
    """An address, its page-table indices, and its page frame."""
    rows = [("address", f"{found.virtual:#x}")]
    if scheme is not None:
        rows += [
            (step.name, f"entry {step.entry} (bits {step.shift} to {step.shift + step.bits - 1})")
            for step in scheme.walk(found.virtual)
        ]
    rows += [
        ("offset in page", f"{found.offset} ({found.offset:#x})"),
        ("region", "none" if found.region is None else region_name(found.region)),
        ("page", f"{found.page.state.value}: {found.why}"),
        ("frame", "none" if found.frame is None else f"{found.frame} ({found.frame:#x})"),
        ("physical", "none" if found.physical is None else f"{found.physical:#x}"),
    ]
    if found.mapping_size is not None:
        rows.append(("mapped by", f"an entry for {kib(found.mapping_size)}"))
    return pairs(rows, screen)


def page_tables_table(
    tables: PageTables,
    screen: int | None = None,
    unit: str = "",
    chosen: Sequence[str] | None = None,
) -> str:
    """The page tables of each level, and their sum compared with VmPTE; sizes in KiB by default."""
    sizes = tables.scheme.table_bytes
    figure = in_unit(unit or "KiB")
    ending = f" {unit_name(unit or 'KiB')}".rstrip()
    difference = signed_in_unit(unit or "KiB")(tables.difference) + ending
    made = [
        Column("level", "Level"),
        Column("covers", "One covers", ">", 2),
        Column("tables", "Tables", ">"),
        Column("size", unit_name(unit or "KiB") or "Size", ">"),
        Column("counted", "", rank=1),
    ]
    text = fitted(
        made,
        (
            [
                level.name,
                about(level.covers),
                str(level.tables),
                figure(level.tables * size),
                "" if level.counted else "not in VmPTE",
            ]
            for level, size in zip(tables.levels, sizes, strict=True)
        ),
        width=screen,
        chosen=chosen,
    )
    return (
        text
        + "\n"
        + pairs(
            [
                ("by its pages", figure(tables.predicted) + ending),
                ("VmPTE", figure(tables.vm_pte) + ending),
                ("difference", difference if tables.difference else "none"),
                (tables.bound, printable(tables.why)),
            ],
            screen,
        )
    )


def plain_part(part: Part) -> dict[str, Any]:
    """A region and its pages, for JSON."""
    region, pages = part
    return {
        "region": None if region is None else region.to_record(),
        "pages": None if pages is None else pages.to_dict(),
    }


def plain_sharers(sharers: Sharers) -> dict[str, Any]:
    """Sharers of pages, for JSON; processes are PIDs."""
    plain = sharers._asdict()
    del plain["process"], plain["own"]
    return {
        **plain,
        "shares": [{**share._asdict(), "process": share.process.pid} for share in sharers.shares],
        "by_process": [
            {
                "pid": one.process.pid,
                "name": one.name,
                "size": one.size,
                "regions": [
                    {"start": region.start, "name": region.name, "size": size}
                    for region, size in one.regions
                ],
                "frees": one.frees,
            }
            for one in sharers.by_process()
        ],
    }


def plain_translation(found: Translation) -> dict[str, Any]:
    """A translation, for JSON."""
    return {
        **found._asdict(),
        "region": None if found.region is None else found.region.to_record(),
        "page": {**found.page._asdict(), "state": found.page.state.value},
    }


def plain_tables(tables: PageTables) -> dict[str, Any]:
    """The page tables of a process, for JSON."""
    return {
        **tables._asdict(),
        "scheme": tables.scheme.name,
        "levels": [level._asdict() for level in tables.levels],
        "difference": tables.difference,
        "exact": tables.exact,
    }
