"""Snapshots and diffs as small static HTML, for notebooks."""

from __future__ import annotations

import time

from procmem.picture.markup import (
    MOST_ROWS,
    block,
    details,
    facts,
    largest_of,
    signed_kib,
    table,
)
from procmem.regions.html import region_parts
from procmem.regions.kinds import kind_word, name_word
from procmem.units import approximate, count, signed
from procmem.units import kib as kib_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from procmem.picture.markup import Markup
    from procmem.snapshots.changes import Change
    from procmem.snapshots.moment import Moment

__all__ = ["diff_html", "snapshot_html"]


def whose(moment: Moment) -> str:
    """The process that a snapshot is of."""
    who = moment.identity
    if who.pid is None:
        return moment.source
    return f"process {who.pid}" + (f" ({who.comm})" if who.comm else "")


def snapshot_html(moment: Moment) -> Markup:
    """A snapshot: its totals, its regions, and what could not be read."""
    rows: list[tuple[str, str | None]] = []
    if moment.clock is not None:
        taken = time.localtime(moment.clock.realtime // 10**9)
        rows.append(("taken", time.strftime("%Y-%m-%d %H:%M:%S", taken)))
    rss = None if moment.rss is None else approximate(kib_words(moment.rss), moment.rss_error)
    rows += [("VSZ", kib_words(moment.vsz)), ("RSS", rss)]
    if moment.faults is not None:
        rows.append(("faults", f"{moment.faults.minor:,} minor, {moment.faults.major:,} major"))
    if moment.threads is not None:
        rows.append(("threads", f"{len(moment.threads):,}"))
    if moment.heap is not None and moment.heap.arenas:
        held = f"{kib_words(moment.heap.in_use)} in use, {kib_words(moment.heap.free)} free"
        rows.append(("malloc", held + ("" if not moment.heap.doubts else " (not certain)")))
    if moment.moved:
        rows.append(("moved", "it allocated or touched memory while it was read"))
    rows += [(f"not read: {what}", why) for what, why in moment.unavailable.items()]
    title = f"Snapshot of {whose(moment)}"
    return block(title, facts(rows), *region_parts(moment.regions))


def diff_html(found: Any) -> Markup:
    """A diff: the totals, a row for each cause, and the largest changes.

    Args:
        found: a MomentDiff.
    """
    title = f"What changed in {whose(found.after)}"
    if not found:
        return block(title, "Nothing changed.")
    rss = "unknown"
    if found.rss is not None:
        rss = approximate(signed(found.rss), found.rss_error)
    changes = found.changes
    said = f"VSZ {signed(found.vsz)}, RSS {rss}, {count(len(changes), 'region')} changed"
    if found.elapsed:
        said += f" in {found.elapsed / 1e9:,.1f} s"
    parts: list[str] = [said + "."]
    if found.causes:
        rows = [
            [one.words, signed_kib(one.vsz), signed_kib(one.rss),
             "; ".join(one.evidence)]
            for one in found.causes
        ]  # fmt: skip
        parts.append(table(["Cause", "VSZ, KiB", "RSS, KiB", "Evidence"], rows, "<>><"))
    parts += [f"Remainder of {name}: {why}." for name, why in found.remainder.why.items()]
    parts += found.notes
    return block(title, *parts, change_table(found, changes))


def change_table(found: Any, changes: tuple[Change, ...]) -> Markup | str:
    """The largest changes by address, the others, and what no region accounts for."""
    if not changes:
        return ""

    def weight(change: Change) -> int:
        return max(abs(change.vsz), abs(change.rss or 0), abs(change.swap or 0))

    shown, others = largest_of(changes, weight)
    summary = f"{count(len(changes), 'change')}, in KiB"
    if others:
        summary = f"The {MOST_ROWS} largest of {len(changes):,} changes, in KiB"
    rows: list[list[str | None]] = [
        [
            f"{change.start:x}",
            ", ".join(kind.value for kind in change.kinds),
            signed_kib(change.vsz),
            signed_kib(change.rss),
            kind_word(change.region),
            name_word(change.region),
        ]
        for change in shown
    ]
    if others:
        rss = added(change.rss for change in others)
        vsz = sum(change.vsz for change in others)
        rows.append([f"{len(others):,} others", "", signed_kib(vsz), signed_kib(rss), "", ""])
    left = found.remainder
    if left:
        rest = None if found.rss is None else left.rss
        rows.append(["remainder", "", signed_kib(left.vsz), signed_kib(rest), "", ""])
    footer = ["total", "", signed_kib(found.vsz), signed_kib(found.rss), "", ""]
    heading = ["Start", "Change", "VSZ", "RSS", "Kind", "Name"]
    return details(summary, table(heading, rows, "<<>><<", footer=footer, tones=4))


def added(values: Iterable[int | None]) -> int | None:
    """The sum; None if one of the values is not known."""
    known = list(values)
    return None if any(value is None for value in known) else sum(value or 0 for value in known)
