"""Snapshots and diffs as text."""

from __future__ import annotations

import textwrap
import time

from procmem.units import approximate, count, in_unit, signed_in_unit, unit_name
from procmem.units import signed as signed_kib
from procmem.view.colours import by_use
from procmem.view.columns import Column, fitted, pairs
from procmem.view.maps import region_name
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from procmem.snapshots import Change, Diff, Snapshot
    from procmem.snapshots.heaps import HeapSummary

__all__ = ["diff_table", "snapshot_summary"]

PROSE = 78
"""The width of sentences if the terminal is wider, or there is none."""

NARROWEST = 16
"""The least width of sentences, however narrow the terminal is."""

MOST_ROWS = 10
"""The number of regions shown one by one: the largest; one row sums up the others."""


def number(value: int | None) -> str:
    return "-" if value is None else str(value)


def diff_table(
    found: Diff,
    *,
    width: int | None = None,
    every: bool = False,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
) -> str:
    """A diff as text: the totals, a sentence for each cause, and a table of regions.

    Args:
        found: the diff.
        width: cells per line; None: as many as needed.
        every: show all regions, not just the largest.
        unit: of sizes in the table, one of units.UNITS.
        chosen: the table's columns, by their headings in lower case; None: all.

    Raises:
        BadArgument: there is no such column.
    """
    if not found:
        return "Nothing changed.\n"
    room = min(width or PROSE, PROSE)
    changes = found.changes
    text = wrapped(totals(found), room, "  ")
    text += "".join(
        wrapped(f"{printable(one.words)}.", room, "    ", "  ")
        + wrapped(f"evidence: {printable('; '.join(one.evidence))}", room, "      ", "    ")
        for one in found.causes
    )
    for words in () if found.heap is None else found.heap.words:
        text += wrapped(f"{words[0].upper()}{words[1:]}.", room, "    ", "  ")
    for name, why in found.remainder.why.items():
        what = name.upper() if len(name) == 3 else f"{name} faults"
        text += wrapped(f"remainder of {what}: {why}.", room, "    ", "  ")
    for note in found.notes:
        text += wrapped(note, room, "    ", "  ")
    if not changes:
        return text
    rows, footer = table_rows(found, every=every, unit=unit)
    if chosen is None:
        chosen = [
            column.key
            for column in COLUMNS
            if column.key not in SELDOM or any(getattr(one, SELDOM[column.key]) for one in changes)
        ]
    return f"{text}\n" + fitted(COLUMNS, rows, footer=footer, width=width, chosen=chosen)


def totals(found: Diff) -> str:
    """The totals as a sentence."""
    parts = [f"VSZ {signed_kib(found.vsz)}"]
    rss = "not known"
    if found.rss is not None:
        rss = approximate(signed_kib(found.rss), found.rss_error)
    parts.append(f"RSS {rss}")
    if found.swap:
        parts.append(f"swap {signed_kib(found.swap)}")
    for what, name in (("huge pages", "anon_huge_pages"), ("KSM", "ksm"), ("hugetlb", "hugetlb")):
        changed_by = added(getattr(one, name) for one in found.changes)
        if changed_by:
            parts.append(f"{what} {signed_kib(changed_by)}")
    for value, what in ((found.minor, "minor fault"), (found.major, "major fault")):
        if value or (value is not None and what == "minor fault"):
            parts.append(count(value, what))
    changed = f"{count(len(found.changes), 'region')} changed"
    if found.elapsed:
        changed += f" in {found.elapsed / 1e9:,.1f}\xa0s"
    return f"{', '.join(parts)}; {changed}."


COLUMNS = (
    Column("change", "Change", rank=1),
    Column("start", "Start", ">", 4),
    Column("vsz", "VSZ", ">", 2),
    Column("rss", "RSS", ">"),
    Column("copied", "Copied", ">", 3),
    Column("swap", "Swap", ">", 6),
    Column("huge", "Huge", ">", 7),
    Column("ksm", "KSM", ">", 8),
    Column("hugetlb", "Hugetlb", ">", 6),
    Column("minor", "Minor", ">", 5),
    Column("region", "Region", floor=16, paint=by_use),
)

SELDOM = {"swap": "swap", "huge": "anon_huge_pages", "ksm": "ksm", "hugetlb": "hugetlb"}
"""Columns that are shown where there is something in them, or that are chosen, with attributes."""


def table_rows(found: Diff, *, every: bool, unit: str) -> tuple[list[list[str]], list[str]]:
    """The rows of the table: the largest regions by address, and the sum of the others."""
    signed = signed_in_unit(unit)
    changes = found.changes
    shown, others = list(changes), []
    if not every and len(changes) > MOST_ROWS + 1:
        by_size = sorted(changes, key=weight, reverse=True)
        largest = {id(change) for change in by_size[:MOST_ROWS]}
        shown = [change for change in changes if id(change) in largest]
        others = by_size[MOST_ROWS:]
    rows = [row(change, signed) for change in shown]
    if others:
        rows.append(
            [
                "others",
                "",
                signed(added(change.vsz for change in others)),
                signed(added(change.rss for change in others)),
                signed(added(change.copied for change in others)),
                *(signed(added(getattr(one, name) for one in others)) for name in SELDOM.values()),
                number(added(change.minor for change in others)),
                f"and {count(len(others), 'more region')} (--all)",
            ]
        )
    left = found.remainder
    if left:
        rss = None if found.rss is None else left.rss
        minor = None if found.minor is None else left.minor
        none = [""] * (1 + len(SELDOM))
        rows.append(["remainder", "", signed(left.vsz), signed(rss), *none, number(minor), ""])
    copied = added(change.copied for change in changes)
    rss_total = signed(found.rss)
    if found.rss is not None and found.rss_error != 0:
        rss_total = f"~{rss_total}"
    name = unit_name(unit)
    footer = [f"total, {name}" if name else "total", ""]
    footer += [signed(found.vsz), rss_total, signed(copied)]
    footer += [signed(added(getattr(one, name) for one in changes)) for name in SELDOM.values()]
    footer.append(number(found.minor))
    return rows, [*footer, count(len(changes), "change")]


def weight(change: Change) -> int:
    """The largest figure of a change, which decides whether its region is shown."""
    figures = (change.vsz, change.rss, change.unshared, change.copied, change.swap,
               change.lazy_free, change.hugetlb, change.ksm)  # fmt: skip
    return max(abs(value or 0) for value in figures)


def added(values: Iterable[int | None]) -> int | None:
    """The sum of the known values; None if there is none."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


MOST_KINDS = 20


def row(change: Change, signed: Callable[[int | None], str]) -> list[str]:
    kinds = ", ".join(kind.value for kind in change.kinds)
    if len(kinds) > MOST_KINDS:
        kinds = f"{change.kinds[0]}, {len(change.kinds) - 1} more"
    return [
        kinds,
        f"{change.start:x}",
        signed(change.vsz),
        signed(change.rss),
        signed(change.copied) if change.copied or change.unshared else "",
        *(signed(getattr(change, name)) for name in SELDOM.values()),
        number(change.minor),
        region_name(change.region),
    ]


def wrapped(text: str, width: int, indent: str, first: str = "") -> str:
    """A sentence in lines that fit."""
    lines = textwrap.wrap(
        text,
        max(width, NARROWEST + len(indent)),
        initial_indent=first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\xa0", " ") + "\n"


def snapshot_summary(one: Snapshot, *, width: int | None = None, unit: str = "KiB") -> str:
    """The contents of a snapshot, one line each.

    Args:
        one: the snapshot.
        width: cells per line; None: as many as needed.
        unit: of sizes, one of units.UNITS.
    """
    figure, name = in_unit(unit), unit_name(unit)

    def size(value: int | None) -> str:
        return f"{figure(value)} {name}".rstrip()

    who, rows = one.identity, []
    if who.pid is not None:
        rows.append(("process", f"{who.pid} {printable(who.comm or '')}"))
    if one.clock is not None:
        moment = time.localtime(one.clock.realtime // 10**9)
        rows.append(("taken", time.strftime("%Y-%m-%d %H:%M:%S", moment)))
    rows += [
        ("regions", f"{len(one.regions)} ({one.detail})"),
        ("VSZ", size(one.vsz)),
        ("RSS", size(one.rss) if one.rss is None else approximate(size(one.rss), one.rss_error)),
    ]
    for what, value in rarely_used(one).items():
        if value:
            rows.append((what, size(value)))
    if one.page_tables is not None:
        rows.append(("page tables", size(one.page_tables)))
    if one.faults is not None:
        rows.append(("faults", f"{one.faults.minor} minor, {one.faults.major} major"))
    if one.threads is not None:
        rows.append(("threads", str(len(one.threads))))
    if one.heap is not None:
        rows += heap_rows(one.heap, size)
    if one.moved:
        rows.append(("moved", "it allocated or touched memory while it was read"))
    rows += [("not read", f"{what}: {printable(why)}") for what, why in one.unavailable.items()]
    return pairs(rows, width)


def rarely_used(one: Snapshot) -> dict[str, int | None]:
    """Swap, and the parts of RSS that huge pages map and that KSM has merged, as far as known."""
    regions = one.regions
    found: dict[str, int | None] = {"swap": one.swap}
    for what, name in (("huge pages", "huge"), ("KSM", "ksm"), ("hugetlb", "hugetlb")):
        if hasattr(regions.region_type, name):
            found[what] = added(getattr(region, name) for region in regions)
    return found


def heap_rows(heap: HeapSummary, size: Callable[[int | None], str]) -> list[tuple[str, str]]:
    """What malloc and Python held."""
    rows = []
    if heap.arenas:
        said = f"{size(heap.in_use)} in use, {size(heap.free)} free"
        said += f" ({size(heap.resident_free)} in RSS), a trim would return {size(heap.trimmable)}"
        rows.append(("malloc", said))
    if heap.python_in_use is not None:
        said = f"{size(heap.python_in_use)} of {size(heap.python_system)} in use"
        rows.append(("Python", said))
    if heap.doubts:
        rows.append(("not certain", f"{printable(heap.doubts[0])}"))
    return rows
