"""What the allocators of a process hold: a sentence, the arenas, the sizes."""

from __future__ import annotations

from procmem.regions.kinds import MARK
from procmem.units import about, count, in_unit, signed_in_unit, unit_name
from procmem.view.colours import by_kind
from procmem.view.columns import Column, fitted, prose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.heap.arena import HeapArena
    from procmem.heap.heap import Heap

__all__ = ["arena_table", "heap_sentence", "heap_text", "size_table"]

LARGE = 1 << 20
"""Bytes below which it is not worth saying what one chunk holds."""

MOST_SIZES = 20
MOST_ARENAS = 10
MOST_HOLES = 10
MOST_HOLDERS = 5
MOST_THREADS = 3
SPARSE = 25
"""Percent of an arena of Python."""


def heap_sentence(heap: Heap) -> str:
    """What an engineer asks first: how much is free, and what a trim would return."""
    of = "" if heap.rss is None else f" of {about(heap.rss)} RSS"
    if not heap.arenas or heap.allocator != "glibc malloc":
        return other_sentence(heap, of)
    said = (
        f"{about(heap.resident_free)}{of} is free inside malloc; "
        f"malloc_trim(0) would return {about(heap.trimmable)}"
    )
    below = [
        (arena, hole)
        for arena in heap.arenas
        for hole in arena.holes
        if hole.resident >= LARGE and hole.above and hole.above_bytes * 100 < hole.resident
    ]
    if below:
        arena, hole = max(below, key=lambda each: each[1].resident)
        if hole.above == 1:
            above = f"one chunk of {count(hole.above_bytes, 'byte')}"
            above += ", which a thread's cache keeps," if arena.last_cached else ""
        else:
            above = f"{count(hole.above, 'chunk')} of {count(hole.above_bytes, 'byte')} together"
        said += f"; {arena_name(heap, arena)} alone holds {about(hole.resident)} for {above}"
        return said + " at its top."
    held = max(heap.arenas, key=lambda arena: arena.resident_free - arena.trimmable)
    kept = held.resident_free - held.trimmable
    if kept >= LARGE:
        said += f"; {arena_name(heap, held)} alone keeps {about(kept)} that it would not"
        if held.last_size is not None and not held.main:
            said += f", the nearest chunk to its top has {count(held.last_size, 'byte')}"
    return said + "."


def arena_name(heap: Heap, arena: HeapArena) -> str:
    return "the main arena" if arena.main else f"arena {heap.arenas.index(arena)}"


def other_sentence(heap: Heap, of: str) -> str:
    """The sentence where malloc is not glibc's."""
    if heap.allocator is None:
        return "No heap of glibc's malloc was found: another allocator, or none was used yet."
    own = [one for one in heap.others if one.name.startswith(heap.allocator.split()[0])]
    if not own:
        return f"The allocator is {heap.allocator}, whose inside is not read."
    lazy = sum(one.lazy_free or 0 for one in own)
    said = (
        f"{about(sum(one.resident for one in own))}{of} belongs to {heap.allocator}, whose inside "
        "is not read"
    )
    if lazy:
        said += f"; {about(lazy)} of that is free (MADV_FREE), and the kernel takes it if needed"
    return said + "."


def certainty(heap: Heap) -> str:
    """How sure the answer is."""
    held = "" if heap.held is None else f"The process was stopped for {duration(heap.held)}. "
    if heap.certain:
        return held + "Certain: all structures are consistent, and none changed while it was read."
    return held + "Not certain:"


def duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def part_table(heap: Heap, *, width: int | None, unit: str = "KiB") -> str:
    """What the process's memory consists of; the sums are VSZ and RSS."""
    size = in_unit(unit)
    made = [
        Column("part", "Part"),
        Column("size", "Size", ">", 2),
        Column("resident", "In RSS", ">"),
        Column("cause", "Consists of", rank=1, wrapped=True, floor=20),
    ]
    rows = [
        [part.name + (MARK if part.guess else ""), size(part.size), size(part.resident), part.cause]
        for part in heap.parts
        if part.size or part.resident
    ]
    difference = heap.unexplained
    if difference:
        cause = "the kernel's counter lags, or the process has changed"
        rows.append(["difference from VmRSS", "", signed_in_unit(unit)(difference), cause])
    total = sum(part.size for part in heap.parts)
    return fitted(made, rows, footer=["total", size(total), size(heap.rss), ""], width=width)


def other_table(heap: Heap, *, width: int | None, unit: str = "KiB") -> str:
    """The regions of allocators and runtimes that are not read from inside."""
    size = in_unit(unit)
    made = [
        Column("name", "Allocator", paint=by_kind),
        Column("regions", "Regions", ">", 3),
        Column("reserved", "Reserved", ">", 2),
        Column("committed", "Committed", ">"),
        Column("resident", "In RSS", ">"),
        Column("lazy_free", "MADV_FREE", ">", 1),
        Column("swap", "Swap", ">", 4),
    ]
    rows = [
        [
            one.name + (MARK if one.guess else ""),
            str(one.regions),
            size(one.reserved),
            size(one.committed),
            size(one.resident),
            size(one.lazy_free),
            size(one.swap),
        ]
        for one in heap.others
    ]
    return fitted(made, rows, width=width)


def hole_table(heap: Heap, *, width: int | None, unit: str = "KiB") -> str:
    """The largest free chunks, and what is in use above them."""
    size = in_unit(unit)
    holes = [
        (hole.resident, number, hole)
        for number, arena in enumerate(heap.arenas)
        for hole in arena.holes
    ]
    holes.sort(key=lambda each: each[0], reverse=True)
    if not holes:
        return ""
    made = [
        Column("arena", "Arena"),
        Column("address", "Largest holes"),
        Column("size", "Size", ">"),
        Column("resident", "In RSS", ">"),
        Column("above", "Chunks above", ">", 1),
        Column("above_bytes", "Their bytes", ">", 2),
    ]
    rows = [
        [
            "main" if heap.arenas[number].main else str(number),
            f"{hole.address:x}",
            size(hole.size),
            size(hole.resident),
            str(hole.above),
            str(hole.above_bytes),
        ]
        for _, number, hole in holes[:MOST_HOLES]
    ]
    return fitted(made, rows, width=width)


def page_table(heap: Heap, *, width: int | None, unit: str = "KiB") -> str:
    """The pages of malloc by what is in use on them, and what keeps them in memory."""
    pages = heap.pages
    if pages is None or not pages.resident:
        return ""
    size = in_unit(unit)

    def name(least: int, most: int) -> str:
        return "nothing" if not most else "all" if least == most else f"{least} to {most} bytes"

    made = [
        Column("in_use", "In use on a page"),
        Column("pages", "Pages", ">"),
        Column("size", "Size", ">"),
        Column("free", "Free on them", ">"),
    ]
    rows = [
        [name(one.least, one.most), str(one.pages), size(one.pages * pages.page_size),
         size(one.free)]
        for one in pages.by_use()
    ]  # fmt: skip
    text = fitted(made, rows, width=width)
    text += prose(
        f"A trim would return {pages.returned:,} of the {count(pages.free, 'page')} on which "
        "nothing is in use.",
        width,
    )
    holders = pages.holders()
    if holders:
        held = sum(number for _, number in holders)
        listed = ", ".join(
            f"{count(number, 'page')} by one of {block} bytes"
            for block, number in holders[:MOST_HOLDERS]
        )
        text += prose(
            f"A single small chunk keeps each of {count(held, 'page')} "
            f"({about(held * pages.page_size)}): {listed}.",
            width,
        )
    for number, arena in enumerate(heap.arenas):
        if arena.last_in_use is not None and arena.last_size is not None:
            name_of = "the main arena" if arena.main else f"arena {number}"
            cached = ", free in a thread's cache" if arena.last_cached else ""
            text += prose(
                f"Nearest to the top of {name_of}: {count(arena.last_size, 'byte')} at "
                f"{arena.last_in_use:x}{cached}.",
                width,
            )
    return text


def arena_table(
    heap: Heap,
    *,
    width: int | None,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
    most: int | None = None,
) -> str:
    """A row for each arena, or for those that have most free memory."""
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
            thread_list(arena),
        ]

    numbered = list(enumerate(heap.arenas))
    left = 0
    if most is not None and len(numbered) > most:
        left = len(numbered) - most
        numbered = sorted(numbered, key=lambda each: each[1].resident_free, reverse=True)[:most]
    rows = [row("main" if arena.main else str(number), arena) for number, arena in sorted(numbered)]

    def total(name: str) -> int:
        return sum(getattr(arena, name) for arena in heap.arenas)

    names = "system in_use tcache fast free top resident_free trimmable".split()
    footer = ["total", "", *(size(total(name)) for name in names), "", ""]
    text = fitted(made, rows, footer=footer, width=width, chosen=chosen)
    if left:
        text += prose(f"{count(left, 'arena')} with less free memory: --arenas lists all.", width)
    return text + (f"Sizes in {unit_name(unit)}.\n" if unit_name(unit) else "")


def thread_list(arena: HeapArena) -> str:
    """The threads that allocate from an arena, marked if they are a guess."""
    if not arena.threads:
        return "-"
    named = " ".join(str(tid) for tid in arena.threads[:MOST_THREADS])
    if len(arena.threads) > MOST_THREADS:
        named += f" and {len(arena.threads) - MOST_THREADS} more"
    return named + (MARK if arena.threads_guess else "")


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


def python_text(heap: Heap, *, width: int | None) -> str:
    """What Python's own allocator holds, and what keeps its arenas."""
    python = heap.python
    if python is None:
        return ""
    if not python.pools:
        if python.allocator is None:
            return ""
        mark = MARK if python.guess else ""
        return prose(
            f"Python's small objects are in {python.allocator}{mark} ({python.evidence}).", width
        )
    free = sum(arena.size for arena in python.arenas) - python.in_use
    text = prose(
        f"Python's objects of up to 512 bytes ({python.allocator}): {about(python.in_use)} in use "
        f"and {about(free)} free in {count(len(python.arenas), 'arena')}.",
        width,
    )
    sparse = [one for one in python.by_use() if one.most <= SPARSE and one.arenas]
    if sparse:
        arenas = sum(one.arenas for one in sparse)
        text += prose(
            f"{about(sum(one.free for one in sparse))} of that is in {count(arenas, 'arena')} of "
            f"which less than {SPARSE} % is in use: an arena is returned only when it is empty.",
            width,
        )
    for arena in python.pinned()[:MOST_HOLDERS]:
        blocks = ", ".join(f"{block.size} bytes at {block.address:x}" for block in arena.held)
        text += prose(
            f"The arena at {arena.address:x} is kept by {count(arena.blocks, 'block')}: {blocks}.",
            width,
        )
    return text


def heap_text(
    heap: Heap,
    *,
    width: int | None = None,
    unit: str = "KiB",
    arenas: bool = False,
    sizes: bool = False,
    pages: bool = False,
    chosen: Sequence[str] | None = None,
) -> str:
    """A sentence, the arenas, the parts of the process's memory, and how sure it all is.

    Args:
        heap: what was read.
        width: cells of a line; None: as many as are needed.
        unit: of sizes, one of units.UNITS.
        arenas: whether to list all arenas, and the largest holes.
        sizes: whether to list sizes of chunks and of Python's blocks.
        pages: whether to list what is in use on pages, if that was counted.
        chosen: keys of the columns to show; None: all.

    Raises:
        BadArgument: there is no column of that key.
    """
    text = prose(heap_sentence(heap), width)
    if heap.arenas:
        most = None if arenas else MOST_ARENAS
        text += "\n" + arena_table(heap, width=width, unit=unit, chosen=chosen, most=most)
        if heap.mmaps and heap.mmapped:
            pieces = count(heap.mmaps, "piece")
            text += prose(f"Mapped on their own: {pieces}, {about(heap.mmapped)}.", width)
    text += python_text(heap, width=width)
    if heap.others:
        text += "\n" + other_table(heap, width=width, unit=unit)
    if heap.parts:
        text += "\n" + part_table(heap, width=width, unit=unit)
    if arenas and any(arena.holes for arena in heap.arenas):
        text += "\n" + hole_table(heap, width=width, unit=unit)
    if pages and heap.pages is not None:
        text += "\n" + page_table(heap, width=width, unit=unit)
    if sizes:
        if heap.arenas:
            text += "\n" + size_table(heap, width=width, unit=unit)
        blocks = python_table(heap, width=width, unit=unit)
        text += "\n" + blocks if blocks else ""
    text += "\n" + prose(certainty(heap), width)
    return text + "".join(prose(f"{one}.", width) for one in heap.doubts)
