"""What a snapshot keeps of a process's heap, and what changed between two of these summaries."""

from __future__ import annotations

from typing import NamedTuple

from procmem.units import about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ArenaSummary", "HeapDiff", "HeapSummary", "heap_diff", "summary_from"]

PAGE = 4096
"""Bytes below which a change is worth no sentence."""

MOST_ARENAS = 1 << 16


class ArenaSummary(NamedTuple):
    """An arena of glibc's malloc; see HeapArena. Sizes are in bytes.

    Attributes:
        address, main, system, in_use, tcache, resident_free, trimmable: as in HeapArena.
        free: all free bytes: in bins, in fast bins and in the top chunk.
    """

    address: int
    main: bool
    system: int
    in_use: int
    tcache: int
    free: int
    resident_free: int
    trimmable: int


class HeapSummary(NamedTuple):
    """What malloc and Python held at the time of a snapshot. Sizes are in bytes; None: not known.

    Attributes:
        allocator: "glibc malloc"; None: its inside is not known.
        arenas: the arenas of malloc.
        mmapped: bytes of allocations that are mappings of their own.
        python_system: bytes of the arenas of CPython's allocator for small objects.
        python_in_use: bytes of its blocks in use.
        python_free: bytes of its free blocks.
        doubts: what was inconsistent, or changed during the reading.
    """

    allocator: str | None
    arenas: tuple[ArenaSummary, ...]
    mmapped: int | None = None
    python_system: int | None = None
    python_in_use: int | None = None
    python_free: int | None = None
    doubts: tuple[str, ...] = ()

    @property
    def certain(self) -> bool:
        """Whether all was consistent, and nothing changed during the reading."""
        return not self.doubts

    @property
    def system(self) -> int:
        """Bytes that all arenas have obtained from the kernel."""
        return sum(one.system for one in self.arenas)

    @property
    def in_use(self) -> int:
        """Bytes in use in all arenas, without the caches of threads."""
        return sum(one.in_use for one in self.arenas)

    @property
    def tcache(self) -> int:
        """Bytes in the caches of threads."""
        return sum(one.tcache for one in self.arenas)

    @property
    def free(self) -> int:
        """Free bytes in all arenas."""
        return sum(one.free for one in self.arenas)

    @property
    def resident_free(self) -> int:
        """Free bytes that are in memory."""
        return sum(one.resident_free for one in self.arenas)

    @property
    def trimmable(self) -> int:
        """Bytes in memory that malloc_trim(0) would return."""
        return sum(one.trimmable for one in self.arenas)

    def is_of(self, other: HeapSummary) -> bool:
        """Whether both are of one heap: of one allocator, with its main arena at one address."""
        mains = [{one.address for one in heap.arenas if one.main} for heap in (self, other)]
        return self.allocator == other.allocator and mains[0] == mains[1]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            **self._asdict(),
            "arenas": [one._asdict() for one in self.arenas],
            "doubts": list(self.doubts),
        }


def summary_from(data: Any) -> HeapSummary | None:
    """The summary that to_dict() described; None for None.

    Raises:
        TypeError, ValueError, KeyError: the data is no such description.
    """
    if data is None:
        return None
    if len(data["arenas"]) > MOST_ARENAS:
        raise ValueError(f"it has {len(data['arenas'])} arenas: more than are read")
    allocator = data["allocator"]
    if allocator is not None and type(allocator) is not str:
        raise TypeError(f"allocator is no text: {allocator!r:.40}")
    if not all(type(doubt) is str for doubt in data["doubts"]):
        raise TypeError("a doubt is no text")
    arenas = []
    for one in data["arenas"]:
        if type(one["main"]) is not bool:
            raise TypeError(f"main is no truth value: {one['main']!r:.40}")
        figures = {name: number(one[name]) for name in ArenaSummary._fields if name != "main"}
        arenas.append(ArenaSummary(main=one["main"], **figures))
    names = ("mmapped", "python_system", "python_in_use", "python_free")
    others = {name: None if data[name] is None else number(data[name]) for name in names}
    return HeapSummary(allocator, tuple(arenas), doubts=tuple(data["doubts"]), **others)


def number(value: Any) -> int:
    """An integer of 64 bits, of which JSON may hold any other value."""
    if type(value) is not int:
        raise TypeError(f"a figure of the heap is no number: {value!r:.40}")
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"a figure of the heap is out of range: {value:#x}"[:80])
    return value


class HeapDiff(NamedTuple):
    """What changed in the heap from one snapshot to another. Differences in bytes; None: not known.

    It is False if nothing changed.

    Attributes:
        system: memory that the arenas have from the kernel.
        in_use: chunks in use.
        tcache: chunks in the caches of threads.
        free: free chunks.
        resident_free: free bytes that are in memory.
        trimmable: what malloc_trim(0) would return.
        mmapped: allocations that are mappings of their own.
        python_in_use, python_free: blocks of CPython's allocator in use and free.
        certain: whether both heaps were read without a doubt.
        trimmable_now: what malloc_trim(0) would return at the second snapshot.
    """

    system: int
    in_use: int
    tcache: int
    free: int
    resident_free: int
    trimmable: int
    mmapped: int | None
    python_in_use: int | None
    python_free: int | None
    certain: bool
    trimmable_now: int

    def __bool__(self) -> bool:
        return any(self[:9])

    @property
    def live(self) -> int:
        """By how much more the program has allocated: chunks, mappings, Python's objects."""
        return self.in_use + (self.mmapped or 0) + (self.python_in_use or 0)

    @property
    def words(self) -> list[str]:
        """What the figures prove, a sentence each."""
        found = [*self.live_words(), *self.free_words()]
        if found and not self.certain:
            found.append("the figures of malloc are not certain: a heap changed while it was read")
        return found

    def live_words(self) -> list[str]:
        """What is in use: by how much more or less, and where."""
        if abs(self.live) < PAGE:
            return []
        parts = []
        for value, what in (
            (self.in_use, "malloc has {} in use"),
            (self.mmapped or 0, "allocations that are mappings of their own take {}"),
            (self.python_in_use or 0, "Python's small objects take {}"),
        ):
            if abs(value) >= PAGE:
                parts.append(what.format(more(value)))
        grew = "grew" if self.live > 0 else "shrank"
        return [f"live memory {grew} by {about(self.live)}: {', '.join(parts)}"]

    def free_words(self) -> list[str]:
        """What is free: why it is more or less, as far as the figures prove it."""
        free = self.free + self.tcache
        taken, freed = self.system, -self.in_use
        found = []
        if free >= PAGE:
            words = f"malloc has {about(free)} more free: "
            if taken < PAGE:
                words += "memory was freed, not returned"
            elif freed < PAGE:
                words += (
                    f"it took {about(taken)} from the kernel, and that much is not in use (any "
                )
                words += "more, or yet)"
            else:
                words += f"{about(freed)} were freed, and {about(taken)} taken from the kernel"
            if self.resident_free < self.free - self.free // 16:
                words += f"; {more(self.resident_free)} of what is free is in memory"
            words += f"; malloc_trim(0) would return {about(self.trimmable_now)}"
            found.append(words)
        elif free <= -PAGE:
            if taken <= -PAGE:
                found.append(f"malloc returned {about(taken)} to the kernel")
            elif self.in_use >= PAGE:
                found.append(f"malloc has {about(free)} less free: it was used again")
        elif self.resident_free <= -PAGE and self.trimmable <= -PAGE:
            found.append(
                f"{about(self.resident_free)} of what malloc has free are not in memory any more, "
                "as after malloc_trim(3)"
            )
        if self.python_free is not None and self.python_free >= PAGE:
            found.append(f"Python's allocator has {about(self.python_free)} more free")
        return found

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**self._asdict(), "live": self.live, "why": self.words}


def more(value: int) -> str:
    """A difference in words.

    >>> more(3 << 20), more(-(3 << 20))
    ('3 MiB more', '3 MiB less')
    """
    return f"{about(value)} {'less' if value < 0 else 'more'}"


def heap_diff(before: HeapSummary | None, after: HeapSummary | None) -> HeapDiff | None:
    """What changed from one summary to another.

    None: one is missing, or they are of two allocators or of two programs (execve(2)).
    """
    if before is None or after is None or not before.is_of(after):
        return None

    def difference(name: str) -> int | None:
        one, other = getattr(before, name), getattr(after, name)
        return None if one is None or other is None else other - one

    def grown(name: str) -> int:
        return int(getattr(after, name) - getattr(before, name))

    return HeapDiff(
        grown("system"),
        grown("in_use"),
        grown("tcache"),
        grown("free"),
        grown("resident_free"),
        grown("trimmable"),
        difference("mmapped"),
        difference("python_in_use"),
        difference("python_free"),
        before.certain and after.certain,
        after.trimmable,
    )
