"""What the allocators of a process hold: a sentence, the arenas, the sizes."""

from __future__ import annotations

from procmem.units import about, count, in_unit, unit_name
from procmem.view.columns import Column, fitted, prose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.heap.heap import Heap, HeapArena

__all__ = ["arena_table", "heap_sentence", "heap_text", "size_table"]

LARGE = 1 << 20
"""Bytes below which it is not worth saying what one chunk holds."""

MOST_SIZES = 20


def heap_sentence(heap: Heap) -> str:
    """What an engineer asks first: how much is free, and what a trim would return."""
    if not heap.arenas:
        return "No heap of glibc's malloc was found: another allocator, or none was used yet."
    of = "" if heap.rss is None else f" of {about(heap.rss)} RSS"
    said = (
        f"{about(heap.resident_free)}{of} is free inside malloc; "
        f"malloc_trim(0) would return {about(heap.trimmable)}"
    )
    held = max(heap.arenas, key=lambda arena: arena.resident_free - arena.trimmable)
    kept = held.resident_free - held.trimmable
    if kept >= LARGE:
        number = heap.arenas.index(held)
        name = "the main arena" if held.main else f"arena {number}"
        said += f"; {name} alone keeps {about(kept)} that it would not"
        if held.last_size is not None and not held.main:
            said += f", the nearest chunk to its top has {count(held.last_size, 'byte')}"
    return said + "."


def arena_table(
    heap: Heap, *, width: int | None, unit: str = "KiB", chosen: Sequence[str] | None = None
) -> str:
    """A row for each arena."""
    size = in_unit(unit)
    made = [
        Column("arena", "Arena"),
        Column("address", "Address", rank=5),
        Column("system", "System", ">"),
        Column("in_use", "In use", ">"),
        Column("tcache", "Tcache", ">", 3),
        Column("fast", "Fast", ">", 4),
        Column("free", "Free", ">"),
        Column("top", "Top", ">", 2),
        Column("resident_free", "Free in RSS", ">", 1),
        Column("trimmable", "Trim", ">"),
        Column("chunks", "Chunks", ">", 6),
        Column("threads", "Threads", ">", 7),
    ]

    def row(name: str, arena: HeapArena) -> list[str]:
        return [
            name,
            f"{arena.address:x}",
            size(arena.system),
            size(arena.in_use),
            size(arena.tcache),
            size(arena.fast),
            size(arena.free),
            size(arena.top),
            size(arena.resident_free),
            size(arena.trimmable),
            "-" if arena.chunks is None else str(arena.chunks),
            str(len(arena.threads)) if arena.threads else "-",
        ]

    rows = [
        row("main" if arena.main else str(number), arena)
        for number, arena in enumerate(heap.arenas)
    ]

    def total(name: str) -> int:
        return sum(getattr(arena, name) for arena in heap.arenas)

    names = "system in_use tcache fast free top resident_free trimmable".split()
    footer = ["total", "", *(size(total(name)) for name in names), "", ""]
    return fitted(made, rows, footer=footer, width=width, chosen=chosen) + (
        f"Sizes in {unit_name(unit)}.\n" if unit_name(unit) else ""
    )


def size_table(heap: Heap, *, width: int | None, unit: str = "KiB") -> str:
    """The sizes of chunks that take most, in use and free."""
    size = in_unit(unit)
    sizes = heap.by_size()
    largest = sorted(sizes, key=lambda one: one.size * (one.in_use + one.free), reverse=True)
    rows = [
        [
            str(one.size),
            str(one.in_use),
            size(one.size * one.in_use),
            str(one.free),
            size(one.size * one.free),
        ]
        for one in sorted(largest[:MOST_SIZES])
    ]
    made = [
        Column("size", "Chunk, bytes", ">"),
        Column("in_use", "In use", ">"),
        Column("used", "Size", ">"),
        Column("free", "Free", ">"),
        Column("free_size", "Size", ">"),
    ]
    text = fitted(made, rows, width=width)
    if len(sizes) > MOST_SIZES:
        text += prose(f"{len(sizes) - MOST_SIZES} other sizes take less (--json has all).", width)
    return text


def python_table(heap: Heap, *, width: int | None, unit: str = "KiB") -> str:
    """Python's size classes."""
    if heap.python is None:
        return ""
    size = in_unit(unit)
    python = heap.python
    if not python.pools:
        return prose(
            "Python's own allocator holds nothing: PYTHONMALLOC, or a build without it.", width
        )
    made = [
        Column("size", "Block, bytes", ">"),
        Column("pools", "Pools", ">"),
        Column("in_use", "In use", ">"),
        Column("used", "Size", ">"),
        Column("free", "Free", ">"),
        Column("free_size", "Size", ">"),
    ]
    rows = [
        [
            str(block),
            str(one.pools),
            str(one.in_use),
            size(block * one.in_use),
            str(one.free),
            size(block * one.free),
        ]
        for block, one in python.classes.items()
    ]
    return fitted(made, rows, width=width)


def heap_text(
    heap: Heap,
    *,
    width: int | None = None,
    unit: str = "KiB",
    sizes: bool = False,
    chosen: Sequence[str] | None = None,
) -> str:
    """A sentence, the arenas, Python's allocator, and how sure it all is.

    Args:
        heap: what was read.
        width: cells of a line; None: as many as are needed.
        unit: of sizes, one of units.UNITS.
        sizes: whether to list sizes of chunks and of Python's blocks.
        chosen: keys of the columns to show; None: all.

    Raises:
        BadArgument: there is no column of that key.
    """
    text = prose(heap_sentence(heap), width)
    if heap.arenas:
        text += "\n" + arena_table(heap, width=width, unit=unit, chosen=chosen)
        if heap.mmaps is not None and heap.mmapped is not None:
            pieces = count(heap.mmaps, "piece")
            text += prose(f"Mapped on their own: {pieces}, {about(heap.mmapped)}.", width)
    python = heap.python
    if python is not None and python.pools:
        free = sum(arena.size for arena in python.arenas) - python.in_use
        text += prose(
            f"Python's objects of up to 512 bytes: {about(python.in_use)} in use and "
            f"{about(free)} free in {count(len(python.arenas), 'arena')}.",
            width,
        )
    if sizes:
        if heap.arenas:
            text += "\n" + size_table(heap, width=width, unit=unit)
        text += "\n" + python_table(heap, width=width, unit=unit)
    if heap.doubts:
        text += "\nNot certain:\n" + "".join(prose(f"{one}.", width) for one in heap.doubts)
    return text
