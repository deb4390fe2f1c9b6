"""What the page cache has of files, as a table."""

from __future__ import annotations

from typing import Any

from procmem.units import count, in_unit, unit_name
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from procmem.process.held import CachedFile

__all__ = ["cache_json", "cache_table"]

FIGURES = ("cached", "dirty", "writeback", "evicted", "recently_evicted")

MOST_NAMED = 2


def cache_table(
    files: Sequence[CachedFile],
    *,
    width: int | None = None,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
    most: int | None = None,
    held: bool = False,
) -> str:
    """A row for each file of which something is cached, and a row of totals.

    Args:
        files: the files, in the order of the rows.
        width: cells of a line; None: as many as are needed.
        unit: of sizes, one of units.UNITS.
        chosen: keys of the columns: cached, share, dirty, writeback, evicted, recent, size, held,
            file.
        most: rows; None: all.
        held: whether the files are a process's, of which it is known how it holds them.

    Raises:
        BadArgument: there is no such column.
    """
    size = in_unit(unit)
    known = [file for file in files if file.cache is not None]
    unknown = [file for file in files if file.cache is None]
    # A file that was asked for by itself is shown even if nothing of it is cached.
    some = [file for file in known if file.cache and (file.cache.cached or file.cache.evicted)]
    listed = known if len(files) == 1 else some
    rows = [row(file, unit) for file in listed[:most]]
    made = [
        Column("cached", "Cached", ">"),
        Column("share", "Share", ">", 3),
        Column("dirty", "Dirty", ">", 1),
        Column("writeback", "Writing", ">", 4),
        Column("evicted", "Evicted", ">", 2),
        Column("recent", "Recently", ">", 5),
        Column("size", "File size", ">", 6),
        Column("held", "Held", rank=7),
        Column("file", "File", floor=36, keep_end=True),
    ]
    keys = list(chosen) if chosen is not None else None
    if keys is None and not held:
        keys = [column.key for column in made if column.key != "held"]
    sums = [total(known, name) for name in FIGURES]
    footer = [
        size(sums[0]),
        "",
        *(size(value) for value in sums[1:]),
        size(sum(file.cache.size for file in known if file.cache)),
        "",
        f"{count(len(known), 'file')}, {unit_name(unit)}".removesuffix(", "),
    ]
    text = fitted(made, rows, footer=footer, width=width, chosen=keys)
    if len(listed) > len(rows):
        text += prose(
            f"{count(len(listed) - len(rows), 'file')} with less: --all lists them.", width
        )
    if len(known) > len(listed):
        text += prose(f"Of {count(len(known) - len(listed), 'file')} nothing is cached.", width)
    if any(file.cache and file.cache.source == "mincore" for file in known):
        text += prose(
            "Of some it is only known what is cached: this kernel or file system has no "
            "cachestat(2), so mincore(2) was asked.",
            width,
        )
    return (text if known else "") + "".join(prose(line, width) for line in reasons(unknown))


def reasons(files: Sequence[CachedFile]) -> Iterator[str]:
    """A line for each reason why nothing is known, with the files."""
    by_reason: dict[str, list[str]] = {}
    for file in files:
        by_reason.setdefault(file.reason, []).append(printable(file.path))
    for why, paths in by_reason.items():
        more = len(paths) - MOST_NAMED
        named = ", ".join(paths[:MOST_NAMED])
        named += f" and {count(more, 'file')} more" if more > 0 else ""
        yield f"{named}: {why}."


def row(file: CachedFile, unit: str) -> list[str]:
    size = in_unit(unit)
    use = file.cache
    assert use is not None  # noqa: S101 - the caller's choice
    share = f"{min(100 * use.cached / use.size, 100):.0f} %" if use.size else "-"
    ways = [word for word, true in (("mapped", file.mapped), ("open", file.opened)) if true]
    return [
        size(use.cached),
        share,
        *(size(getattr(use, name)) for name in FIGURES[1:]),
        size(use.size),
        ", ".join(ways) or "-",
        printable(file.path) + (" (deleted)" if file.deleted else ""),
    ]


def total(files: Sequence[CachedFile], name: str) -> int | None:
    """The sum of a figure; None where it is not known of a file."""
    values = [getattr(file.cache, name) for file in files]
    return None if any(value is None for value in values) else sum(values)


def cache_json(files: Sequence[CachedFile]) -> list[dict[str, Any]]:
    """The files as plain values; sizes in bytes."""
    return [
        {**file._asdict(), "cache": None if file.cache is None else file.cache._asdict()}
        for file in files
    ]
