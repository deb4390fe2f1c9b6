"""Snapshots and diffs, for people: 80 columns wide."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING

from procmem.view.columns import columns, kib, pairs
from procmem.view.maps import region_name
from procmem.view.names import clipped, printable

if TYPE_CHECKING:
    from procmem.moments.diffs import Change, Diff
    from procmem.moments.snapshot import Snapshot

__all__ = ["diff_table", "snapshot_summary"]

WIDTH = 80
NARROWEST = 8
"""Letters of a name that are shown however wide the figures are."""


def signed(value: int | None) -> str:
    """Bytes as KiB with a sign; "-" for what was not read."""
    return "-" if value is None else f"{value / 1024:+g}" if value % 1024 else f"{value >> 10:+d}"


def count(value: int | None) -> str:
    return "-" if value is None else str(value)


def diff_table(found: Diff) -> str:
    """What changed, region by region, sizes in KiB; then why."""
    if not found:
        return "Nothing changed.\n"
    changes = found.changes
    rows = [[*row(change)] for change in changes]
    left = found.remainder
    if left:
        rows.append(["remainder", "", signed(left.vsz), signed(left.rss), str(left.minor), ""])
    footer = ["total, KiB", "", signed(found.vsz), signed(found.rss), count(found.minor)]
    footer.append(f"{len(changes)} change{'' if len(changes) == 1 else 's'}")
    heading = ["Change", "Start", "VSZ", "RSS", "Minor", "Region"]
    widths = [max(len(line[at]) for line in (heading, *rows, footer)) for at in range(5)]
    room = max(NARROWEST, WIDTH - sum(widths) - 2 * len(widths))
    for line in rows:
        line[-1] = clipped(line[-1], room)
    text = columns(heading, rows, "<>>>><", footer=footer)
    if found.major:
        text += f"Major faults: {found.major}\n"
    text += reasons(found)
    for name, why in left.why.items():
        text += wrapped(f"Remainder of {name.upper() if len(name) == 3 else name}: {why}.")
    for note in found.notes:
        text += wrapped(note)
    return text


MOST_KINDS = 24


def row(change: Change) -> list[str]:
    kinds = ", ".join(kind.value for kind in change.kinds)
    if len(kinds) > MOST_KINDS:
        kinds = f"{change.kinds[0]}, {len(change.kinds) - 1} more"
    return [
        kinds,
        f"{change.start:x}",
        signed(change.vsz),
        signed(change.rss),
        count(change.minor),
        region_name(change.region),
    ]


def reasons(found: Diff) -> str:
    """The causes; those that read alike once, with how many there are."""
    told: dict[tuple[str, tuple[str, ...]], int] = {}
    for one in found.explanations:
        key = one.words, one.evidence
        told[key] = told.get(key, 0) + 1
    text = ""
    for (words, evidence), times in told.items():
        often = f"{times} × " if times > 1 else ""
        text += wrapped(f"{often}{printable(words)}.")
        text += wrapped(f"    told by: {printable('; '.join(evidence))}", "    ")
    return f"\nWhy\n{text}" if text else ""


def wrapped(text: str, indent: str = "") -> str:
    start = len(text) - len(text.lstrip())
    lines = textwrap.wrap(
        text.lstrip(),
        WIDTH - 2,
        initial_indent="  " + " " * start,
        subsequent_indent="  " + indent + "  ",
        break_on_hyphens=False,
    )
    return "\n".join(lines) + "\n"


def snapshot_summary(one: Snapshot) -> str:
    """What a snapshot holds, line by line."""
    who, rows = one.identity, []
    if who.pid is not None:
        rows.append(("process", f"{who.pid} {printable(who.comm or '')}"))
    if one.clock is not None:
        moment = time.localtime(one.clock.realtime // 10**9)
        rows.append(("taken", time.strftime("%Y-%m-%d %H:%M:%S", moment)))
    rows += [
        ("regions", f"{len(one.regions)} ({one.detail})"),
        ("VSZ", f"{kib(one.vsz)} KiB"),
        ("RSS", f"{kib(one.rss)} KiB"),
    ]
    if one.page_tables is not None:
        rows.append(("page tables", f"{kib(one.page_tables)} KiB"))
    if one.faults is not None:
        rows.append(("faults", f"{one.faults.minor} minor, {one.faults.major} major"))
    if one.threads is not None:
        rows.append(("threads", str(len(one.threads))))
    if one.moved:
        rows.append(("moved", "it allocated or touched memory while it was read"))
    rows += [("not read", f"{name}: {printable(why)}") for name, why in one.unavailable.items()]
    return pairs(rows)
