"""Traces as small static HTML, for notebooks."""

from __future__ import annotations

from collections import defaultdict

from procmem.picture.markup import MOST_ROWS, block, details, signed_kib, table
from procmem.units import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from procmem.picture.markup import Markup

__all__ = ["trace_html"]


def trace_html(trace: Any) -> Markup:
    """A trace: the calls by name with what they did to VSZ and RSS, and those that did most.

    Args:
        trace: a Trace.
    """
    calls = list(trace)
    by_name: dict[str, list[Any]] = defaultdict(list)
    for call in calls:
        by_name[call.name].append(call)
    said = f"{count(len(calls), 'call')}; "
    said += "it has not ended" if trace.returncode is None else f"status {trace.returncode}"
    parts: list[str] = [said + "."]
    if trace.dropped:
        were = "was" if trace.dropped == 1 else "were"
        parts.append(f"{count(trace.dropped, 'call')} after the limit {were} dropped.")
    if not trace.exact:
        parts.append(f"Not exact: {trace.reason}.")

    def row(name: str, group: list[Any]) -> list[str | None]:
        failed = sum(call.errno is not None for call in group)
        return [
            name,
            f"{len(group):,}",
            f"{failed:,}",
            added(call.delta_vsz for call in group),
            added(call.delta_rss for call in group),
        ]

    if calls:
        named = sorted(by_name.items(), key=lambda pair: len(pair[1]), reverse=True)
        heading = ["Call", "Calls", "Failed", "VSZ, KiB", "RSS, KiB"]
        rows = [row(name, group) for name, group in named[:MOST_ROWS]]
        footer = row("all", calls)
        if len(named) > MOST_ROWS:
            parts.append(f"The {MOST_ROWS} most frequent of {len(named)} calls:")
        parts.append(table(heading, rows, "<>>>>", footer=footer))
        ranked = sorted(calls, key=weight, reverse=True)
        shown = [
            [
                call.name,
                "" if call.address is None else f"{call.address:#x}",
                signed_kib(call.delta_vsz),
                signed_kib(call.delta_rss),
                call.reason,
            ]
            for call in ranked[:MOST_ROWS]
        ]
        summary = f"The {len(shown)} of {len(calls):,} calls that changed most"
        heading = ["Call", "Address", "VSZ, KiB", "RSS, KiB", "Why not exact"]
        parts.append(details(summary, table(heading, shown, "<<>><")))
    return block(f"Trace of process {trace.pid}", *parts)


def weight(call: Any) -> int:
    """By how much a call changed VSZ or RSS."""
    vsz, rss = call.delta_vsz or 0, call.delta_rss or 0
    return max(abs(int(vsz)), abs(int(rss)))


def added(values: Iterable[int | None]) -> str | None:
    """The sum of what is known, and of how many calls it is not; None if nothing is."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    if not known:
        return None
    left = len(listed) - len(known)
    return f"{signed_kib(sum(known))}{f' ({left:,} unknown)' if left else ''}"
