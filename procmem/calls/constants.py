"""The constants of mmap(2), madvise(2), mremap(2) and msync(2), from the compiler's headers."""

from __future__ import annotations

from enum import IntEnum, IntFlag

from procmem.errors import BadArgument
from procmem.native import lib

__all__ = ["Advice", "Map", "Mremap", "Msync", "Prot", "advice_of", "prot_of", "show_prot"]


class Prot(IntFlag):
    """How memory may be accessed (mmap(2), mprotect(2))."""

    PROT_NONE = lib.PROT_NONE
    PROT_READ = lib.PROT_READ
    PROT_WRITE = lib.PROT_WRITE
    PROT_EXEC = lib.PROT_EXEC
    PROT_GROWSDOWN = lib.PROT_GROWSDOWN
    PROT_GROWSUP = lib.PROT_GROWSUP


class Map(IntFlag):
    """Flags of mmap(2)."""

    MAP_SHARED = lib.MAP_SHARED
    MAP_PRIVATE = lib.MAP_PRIVATE
    MAP_SHARED_VALIDATE = lib.MAP_SHARED_VALIDATE
    MAP_DROPPABLE = lib.MAP_DROPPABLE
    MAP_FIXED = lib.MAP_FIXED
    MAP_ANONYMOUS = lib.MAP_ANONYMOUS
    MAP_GROWSDOWN = lib.MAP_GROWSDOWN
    MAP_LOCKED = lib.MAP_LOCKED
    MAP_NORESERVE = lib.MAP_NORESERVE
    MAP_POPULATE = lib.MAP_POPULATE
    MAP_NONBLOCK = lib.MAP_NONBLOCK
    MAP_STACK = lib.MAP_STACK
    MAP_HUGETLB = lib.MAP_HUGETLB
    MAP_SYNC = lib.MAP_SYNC
    MAP_FIXED_NOREPLACE = lib.MAP_FIXED_NOREPLACE


class Mremap(IntFlag):
    """Flags of mremap(2)."""

    MREMAP_MAYMOVE = lib.MREMAP_MAYMOVE
    MREMAP_FIXED = lib.MREMAP_FIXED
    MREMAP_DONTUNMAP = lib.MREMAP_DONTUNMAP


class Msync(IntFlag):
    """Flags of msync(2)."""

    MS_ASYNC = lib.MS_ASYNC
    MS_INVALIDATE = lib.MS_INVALIDATE
    MS_SYNC = lib.MS_SYNC


class Advice(IntEnum):
    """Advice of madvise(2). The kernel refuses advice that it does not know with EINVAL."""

    MADV_NORMAL = lib.MADV_NORMAL
    MADV_RANDOM = lib.MADV_RANDOM
    MADV_SEQUENTIAL = lib.MADV_SEQUENTIAL
    MADV_WILLNEED = lib.MADV_WILLNEED
    MADV_DONTNEED = lib.MADV_DONTNEED
    MADV_FREE = lib.MADV_FREE
    MADV_REMOVE = lib.MADV_REMOVE
    MADV_DONTFORK = lib.MADV_DONTFORK
    MADV_DOFORK = lib.MADV_DOFORK
    MADV_MERGEABLE = lib.MADV_MERGEABLE
    MADV_UNMERGEABLE = lib.MADV_UNMERGEABLE
    MADV_HUGEPAGE = lib.MADV_HUGEPAGE
    MADV_NOHUGEPAGE = lib.MADV_NOHUGEPAGE
    MADV_DONTDUMP = lib.MADV_DONTDUMP
    MADV_DODUMP = lib.MADV_DODUMP
    MADV_WIPEONFORK = lib.MADV_WIPEONFORK
    MADV_KEEPONFORK = lib.MADV_KEEPONFORK
    MADV_COLD = lib.MADV_COLD
    MADV_PAGEOUT = lib.MADV_PAGEOUT
    MADV_POPULATE_READ = lib.MADV_POPULATE_READ
    MADV_POPULATE_WRITE = lib.MADV_POPULATE_WRITE
    MADV_DONTNEED_LOCKED = lib.MADV_DONTNEED_LOCKED
    MADV_COLLAPSE = lib.MADV_COLLAPSE
    MADV_HWPOISON = lib.MADV_HWPOISON
    MADV_SOFT_OFFLINE = lib.MADV_SOFT_OFFLINE
    MADV_GUARD_INSTALL = lib.MADV_GUARD_INSTALL
    MADV_GUARD_REMOVE = lib.MADV_GUARD_REMOVE


LETTERS = {"r": Prot.PROT_READ, "w": Prot.PROT_WRITE, "x": Prot.PROT_EXEC, "-": Prot.PROT_NONE}


def prot_of(prot: int | str) -> Prot:
    """A Prot from flags, or from letters as in /proc/PID/maps.

    >>> prot_of("rw") == prot_of("rw-") == Prot.PROT_READ | Prot.PROT_WRITE
    True
    >>> prot_of("") == prot_of("---") == Prot.PROT_NONE
    True

    Raises:
        BadArgument: there is another letter.
    """
    if not isinstance(prot, str):
        return Prot(prot)
    if not set(prot) <= set(LETTERS):
        raise BadArgument(f'prot is Prot.PROT_*, or of the letters r, w, x ("" is none): {prot!r}')
    value = Prot.PROT_NONE
    for letter in prot:
        value |= LETTERS[letter]
    return value


def show_prot(prot: int) -> str:
    """The permissions as letters, as in /proc/PID/maps.

    >>> show_prot(Prot.PROT_READ | Prot.PROT_EXEC)
    'r-x'
    """
    return "".join(letter if prot & LETTERS[letter] else "-" for letter in "rwx")


def advice_of(advice: int | str) -> int:
    """The number of an advice, from a number or a name such as "dontneed" or "MADV_DONTNEED".

    Raises:
        BadArgument: there is no such name. Numbers are passed to the kernel unchecked.
    """
    if not isinstance(advice, str):
        return int(advice)
    name = advice.upper()
    try:
        return Advice[name if name.startswith("MADV_") else f"MADV_{name}"]
    except KeyError:
        raise BadArgument(f"unknown advice of madvise(2): {advice!r}") from None
