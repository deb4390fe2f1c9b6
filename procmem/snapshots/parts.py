"""Cause: the list of reasons why memory changes. Part: one thing that happened to some regions."""

from __future__ import annotations

import enum
from typing import NamedTuple

from procmem.units import about, count, kib, signed

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Amount", "Cause", "Part"]


class Cause(enum.Enum):
    """Why regions changed. `str(cause)` is its value."""

    HEAP_STARTED = "heap started"
    HEAP_GREW = "heap grew"
    HEAP_SHRANK = "heap shrank"
    THREAD_STARTED = "thread started"
    THREAD_ENDED = "thread ended"
    ARENA_MADE = "arena made"
    ARENA_GREW = "arena grew"
    ARENA_REMOVED = "arena removed"
    STACK_GREW = "stack grew"
    LIBRARY_LOADED = "library loaded"
    LIBRARY_UNLOADED = "library unloaded"
    FILE_MAPPED = "file mapped"
    FILE_UNMAPPED = "file unmapped"
    SHARED_MEMORY_ATTACHED = "shared memory attached"
    SHARED_MEMORY_DETACHED = "shared memory detached"
    MEMORY_MAPPED = "memory mapped"
    MEMORY_UNMAPPED = "memory unmapped"
    ADDRESSES_RESERVED = "addresses reserved"
    REMAPPED = "remapped"
    PROTECTION_CHANGED = "protection changed"
    RENAMED = "renamed"
    ADVISED = "advised"
    FIRST_TOUCH = "first touch"
    FILE_READ = "file read"
    COPY_ON_WRITE = "copy on write"
    SHARING_BEGAN = "sharing began"
    SHARING_ENDED = "sharing ended"
    SHARING_CHANGED = "sharing changed"
    GIVEN_BACK = "given back"
    FILE_PAGES_DROPPED = "file pages dropped"
    FILE_TRUNCATED = "file truncated"
    LAZILY_FREED = "lazily freed"
    WRITTEN_AGAIN = "written again"
    RECLAIMED = "reclaimed"
    HUGE_PAGES_MADE = "huge pages made"
    HUGE_PAGES_SPLIT = "huge pages split"
    MERGED_BY_KSM = "merged by KSM"
    UNMERGED = "unmerged"
    HUGETLB_TOUCHED = "hugetlb touched"
    HUGETLB_GIVEN_BACK = "hugetlb given back"
    SWAPPED_OUT = "swapped out"
    SWAPPED_IN = "swapped in"
    SWAP_FREED = "swap freed"
    PROGRAM_REPLACED = "program replaced"
    OTHER_PROCESS = "other process"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


class Amount(int):
    """A figure in a sentence: bytes, or a number of things.

    >>> amount = Amount(8192)
    >>> f"{amount}, {amount:+}, {amount:-}, {amount:about}; {Amount(2):page}"
    '8 KiB, +8 KiB, -8 KiB, 8 KiB; 2 pages'
    """

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        if not spec:
            return kib(self)
        if spec in "+-":
            return signed(self if spec == "+" else -self)
        return about(self) if spec == "about" else count(int(self), spec)


IN_BYTES = ("vsz", "rss", "copied", "shared", "swap", "lazy", "ksm", "bytes")
"""Names of the figures of a part that are changes in bytes."""


class Part(NamedTuple):
    """One thing that happened to some regions, and why.

    Attributes:
        cause: why it happened.
        words: what happened and why, with the figures.
        evidence: the facts that this is concluded from.
        figures: the figures of the words by name: bytes and numbers.
        rss: what it adds to RSS, in bytes; None: not measured.
        many, many_evidence: the words and the evidence if it happened to several regions, with
            names of figures in braces; "{where}" becomes "in 3 regions". Empty: none.
    """

    cause: Cause
    words: str
    evidence: tuple[str, ...]
    figures: Mapping[str, Amount] = {}
    rss: int | None = 0
    many: str = ""
    many_evidence: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The largest change in bytes among its figures."""
        return max((abs(self.figures.get(name, 0)) for name in IN_BYTES), default=0)
