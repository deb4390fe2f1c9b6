"""Page frames: how often each is mapped, and what the kernel uses it for. Only root may read it."""

from __future__ import annotations

import os
from array import array
from enum import IntFlag
from typing import NamedTuple

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Frame", "FrameFlags", "FrameReader"]

NEAR = 64
"""Frames that are read over rather than asked for with another call."""

PIECE = 8192


class FrameFlags(IntFlag):
    """What a page frame is; the names are those of linux/kernel-page-flags.h, without `KPF_`.

    Bits that have no name here (32 and up are for those who work on the kernel) are kept.

    Source: Documentation/admin-guide/mm/pagemap.rst, /proc/kpageflags.
    """

    LOCKED = 1 << 0
    ERROR = 1 << 1
    REFERENCED = 1 << 2
    UPTODATE = 1 << 3
    DIRTY = 1 << 4
    LRU = 1 << 5
    ACTIVE = 1 << 6
    SLAB = 1 << 7
    WRITEBACK = 1 << 8
    RECLAIM = 1 << 9
    BUDDY = 1 << 10
    MMAP = 1 << 11
    ANON = 1 << 12
    SWAPCACHE = 1 << 13
    SWAPBACKED = 1 << 14
    COMPOUND_HEAD = 1 << 15
    COMPOUND_TAIL = 1 << 16
    HUGE = 1 << 17
    UNEVICTABLE = 1 << 18
    HWPOISON = 1 << 19
    NOPAGE = 1 << 20
    KSM = 1 << 21
    THP = 1 << 22
    OFFLINE = 1 << 23
    ZERO_PAGE = 1 << 24
    IDLE = 1 << 25
    PGTABLE = 1 << 26

    @property
    def names(self) -> list[str]:
        """The names of the bits, and the numbers of those without one ("bit 33")."""
        return [
            NAMES.get(1 << bit, f"bit {bit}")
            for bit in range(int(self).bit_length())
            if self & 1 << bit
        ]


NAMES = {int(flag): str(flag.name) for flag in FrameFlags}


class Frame(NamedTuple):
    """The page frame of a page of a process.

    Attributes:
        address: of the page.
        pfn: number of the frame.
        mapped: how often it is mapped, over all processes (/proc/kpagecount).
        flags: what it is (/proc/kpageflags).
        cgroup: inode number of the memory cgroup that is charged for it, 0: none.
            None: this kernel has no /proc/kpagecgroup.
    """

    address: int
    pfn: int
    mapped: int
    flags: FrameFlags
    cgroup: int | None


class FrameReader:
    """The kpage* files of a /proc, kept open.

    Args:
        root: where /proc is.

    Raises:
        OSError: they can't be opened. kpagecgroup may be missing.
    """

    def __init__(self, root: str = "/proc") -> None:
        self._fds: list[int] = []
        self.has_cgroups = True
        for name in ("kpagecount", "kpageflags", "kpagecgroup"):
            try:
                self._fds.append(os.open(f"{root}/{name}", os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                if name != "kpagecgroup":
                    self.close()
                    raise
                self.has_cgroups = False
            except OSError:
                self.close()
                raise

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        while self._fds:
            os.close(self._fds.pop())

    def read(self, pages: Iterable[tuple[int, int]]) -> list[Frame]:
        """What the kernel reports about the frames of some pages.

        Args:
            pages: address and frame of each.

        Returns:
            In the same order. Frames of devices, which are no memory, are left out.
        """
        listed = list(pages)
        told = [words_of(fd, {pfn for _, pfn in listed}) for fd in self._fds]
        counts, flags = told[:2]
        cgroups = told[2] if self.has_cgroups else None
        return [
            Frame(
                address,
                pfn,
                counts[pfn],
                FrameFlags(flags[pfn]),
                None if cgroups is None else cgroups.get(pfn, 0),
            )
            for address, pfn in listed
            if pfn in counts and pfn in flags
        ]


def words_of(fd: int, frames: Iterable[int]) -> dict[int, int]:
    """A word of each frame; frames that lie close are read together."""
    found = {}
    for first, last, wanted in stretches(sorted(frames)):
        raw = os.pread(fd, (last + 1 - first) * 8, first * 8)
        words = array("Q")
        words.frombytes(raw[: len(raw) // 8 * 8])
        for pfn in wanted:
            if pfn - first < len(words):
                found[pfn] = words[pfn - first]
    return found


def stretches(frames: list[int]) -> Iterator[tuple[int, int, list[int]]]:
    start = 0
    for i, pfn in enumerate(frames):
        end = i + 1
        if end == len(frames) or frames[end] - pfn > NEAR or frames[end] - frames[start] >= PIECE:
            yield frames[start], pfn, frames[start:end]
            start = end
