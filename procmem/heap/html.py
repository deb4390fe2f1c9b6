"""What malloc and Python hold as small static HTML, for notebooks."""

from __future__ import annotations

from procmem.picture.markup import MOST_ROWS, BarPart, bar, block, details, kib, table
from procmem.regions.kinds import MARK
from procmem.units import about, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from procmem.picture.markup import Markup

__all__ = ["heap_html"]


def heap_html(heap: Any, parts: Sequence[tuple[str, str, str]]) -> Markup:
    """The heap of a process: what is in use and free, what makes up its memory, its arenas.

    Args:
        heap: a Heap.
        parts: of an arena: attribute, words, tone.
    """
    said: list[str] = []
    if heap.arenas:
        rss = "" if heap.rss is None else f" of {about(heap.rss)} RSS"
        said.append(
            f"{about(heap.resident_free)}{rss} is free inside malloc; malloc_trim(0) would return "
            f"{about(heap.trimmable)}."
        )
        pieces = [
            BarPart(tone, sum(getattr(arena, name) for arena in heap.arenas), "")
            for name, _, tone in parts
        ]
        named = [
            piece._replace(text=f"{words}, {about(piece.value or 0)}")
            for piece, (_, words, _) in zip(pieces, parts, strict=True)
        ]
        said.append(bar(named, f"{count(len(heap.arenas), 'arena')} of malloc"))
    said += [f"Not certain: {doubt}." for doubt in heap.doubts]
    listed = [one for one in heap.parts if one.size or one.resident]
    rows: list[list[str | None]] = [
        [one.name + (MARK if one.guess else ""), kib(one.size), kib(one.resident), one.cause]
        for one in listed
    ]
    if heap.unexplained:
        rows.append(["difference from VmRSS", "", kib(heap.unexplained), ""])
    if rows:
        footer = ["total", kib(sum(one.size for one in listed)), kib(heap.rss), ""]
        heading = ["Part", "Size, KiB", "In RSS, KiB", "Consists of"]
        said.append(table(heading, rows, "<>><", footer=footer))
    if heap.arenas:
        said.append(arena_table(heap, parts))
    return block(f"Heap of process {heap.pid}: {heap.allocator or 'allocator unknown'}", *said)


def arena_table(heap: Any, parts: Sequence[tuple[str, str, str]]) -> Markup:
    """The arenas with most free memory, and the sums of all."""
    names = ["system", *(name for name, _, _ in parts), "resident_free", "trimmable"]
    numbered = list(enumerate(heap.arenas))
    shown = sorted(numbered, key=lambda pair: pair[1].resident_free, reverse=True)[:MOST_ROWS]
    rows: list[list[str | None]] = [
        ["main" if arena.main else str(number), *(kib(getattr(arena, name)) for name in names)]
        for number, arena in sorted(shown)
    ]
    left = [arena for number, arena in numbered if (number, arena) not in shown]
    if left:
        sums = [kib(sum(getattr(arena, name) for arena in left)) for name in names]
        rows.append([f"{len(left):,} others", *sums])
    sums = [kib(sum(getattr(arena, name) for arena in heap.arenas)) for name in names]
    heading = ["Arena", "System", *(words for _, words, _ in parts), "Free in RSS", "Trim"]
    summary = f"{count(len(heap.arenas), 'arena')}, in KiB"
    align = "<" + ">" * len(names)
    return details(summary, table(heading, rows, align, footer=["total", *sums]))
