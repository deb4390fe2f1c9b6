"""The kinds, owners and uses of regions, and the evidence that makes a kind a guess."""

from __future__ import annotations

import enum
from typing import NamedTuple

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from procmem.regions.perms import Device, Perms

    class Unclassified(Protocol):
        """What kinds are determined from: a region's line of maps, and its VmFlags."""

        @property
        def start(self) -> int: ...
        @property
        def end(self) -> int: ...
        @property
        def size(self) -> int: ...
        @property
        def offset(self) -> int: ...
        @property
        def inode(self) -> int: ...
        @property
        def dev(self) -> Device: ...
        @property
        def perms(self) -> Perms: ...
        @property
        def pathname(self) -> str | None: ...
        @property
        def raw_pathname(self) -> bytes | None: ...
        @property
        def _perms(self) -> int: ...
        @property
        def _name(self) -> int: ...
        @property
        def _flags(self) -> int: ...

    class Classified(Protocol):
        """What tables show of a region's kind."""

        @property
        def kind(self) -> RegionKind: ...
        @property
        def kind_guess(self) -> bool: ...
        @property
        def name(self) -> str: ...
        @property
        def name_guess(self) -> bool: ...


__all__ = [
    "GUESSES",
    "MARK",
    "Kind",
    "Owner",
    "RegionKind",
    "Use",
    "kind_word",
    "marked",
    "name_word",
    "runs_on_name",
    "stacks_name",
]


class RegionKind(enum.Enum):
    """The kind of a region: its purpose. `str(kind)` is its value. docs/regions.md lists them."""

    TEXT = "text"
    RODATA = "rodata"
    RELRO = "relro"
    DATA = "data"
    BSS = "bss"
    HEAP = "heap"
    STACK = "stack"
    THREAD_STACK = "thread stack"
    GUARD = "guard"
    ARENA = "arena"
    ANON = "anon"
    FILE = "file"
    SHARED_MEMORY = "shared memory"
    HUGETLB = "hugetlb"
    VDSO = "vdso"
    VVAR = "vvar"
    VSYSCALL = "vsyscall"
    UPROBES = "uprobes"
    DEVICE = "device"
    OTHER = "other"

    def __str__(self) -> str:
        return self.value


class Owner(enum.Enum):
    """What a region of an ELF file belongs to. `str(owner)` is its value."""

    EXECUTABLE = "executable"
    LIBRARY = "library"
    LOADER = "loader"

    def __str__(self) -> str:
        return self.value


JOINED = "heap header of a part"
"""The evidence of an arena that is one region with other memory."""

GUESSES = frozenset({"position", "size", "none", JOINED})
"""Evidence that makes a kind a guess: the kind is plausible, but not proven."""

MARK = "?"
"""The mark after a word that is a guess."""


class Use(NamedTuple):
    """What the memory of a region is used for, in addition to its kind.

    `str(use)` is the name, with a "?" after it if the use is a guess.

    Attributes:
        name: such as "Go heap" or "JVM code cache".
        evidence: what the use was concluded from, in a few words.
        guess: whether it is plausible, but not proven.

    >>> str(Use("Go heap", "runtime symbols, address")), str(Use("Go heap", "address", guess=True))
    ('Go heap', 'Go heap?')
    """

    name: str
    evidence: str
    guess: bool = False

    def __str__(self) -> str:
        return self.name + MARK if self.guess else self.name


class Kind(NamedTuple):
    """The kind of a region, with its owner, evidence, name and use: see Region."""

    kind: RegionKind
    owner: Owner | None
    evidence: str
    name: str
    use: Use | None = None

    @property
    def guess(self) -> bool:
        """Whether the kind is a guess."""
        return self.evidence in GUESSES

    @property
    def name_guess(self) -> bool:
        """Whether the name is a guess, of a region that the kernel gave none."""
        if self.use is not None and self.name == self.use.name:
            return self.use.guess
        return self.guess


def kind_word(region: Classified) -> str:
    """The region's kind as tables show it: with a "?" after it if it is a guess.

    >>> from procmem import Region
    >>> kind_word(Region(0x1000, 0x2000, "rw-p", pathname="[heap]"))
    'heap'
    >>> kind_word(Region(0x1000, 0x2000, "---p"))
    'guard?'
    """
    return marked(region.kind.value, guess=region.kind_guess)


def name_word(region: Classified) -> str:
    """The region's name as tables show it: with a "?" after it if it is derived from a guess.

    A name that the kernel printed is not a guess, even if the kind is.

    >>> from procmem import Region
    >>> name_word(Region(0x1000, 0x2000, "---p")), name_word(Region(0x1000, 0x2000, "rw-p"))
    ('guard?', 'anonymous')
    """
    return marked(region.name, guess=region.name_guess)


def marked(word: str, *, guess: bool) -> str:
    """The word, with a "?" after it if it is a guess."""
    return word + MARK if guess else word


def stacks_name(
    tids: Sequence[int], ended: int, covered: int, size: int, *, executable: bool
) -> str:
    """The name of a region that holds stacks of threads.

    Args:
        tids: IDs of the living threads whose stacks are in the region, at least one.
        ended: the number of stacks in it whose threads have ended.
        covered: bytes that all these stacks take; 0: not known.
        size: bytes of the region.
        executable: whether the region is executable.

    >>> stacks_name([12, 15], 1, 0, 1 << 20, executable=False)
    'stacks of 2 threads, 12 to 15, and 1 of ended threads'
    """
    name = f"stack of thread {tids[0]}"
    if len(tids) > 1:
        name = f"stacks of {len(tids)} threads, {tids[0]} to {tids[-1]}"
    if ended:
        name += f", and {ended} of ended threads"
    if covered and size - covered > covered:
        name += ", and other memory"
    return name + ", executable" if executable else name


def runs_on_name(tids: Sequence[int], *, executable: bool) -> str:
    """The name of a region that threads run on, although their own stacks are elsewhere.

    A part of it is the stack of a coroutine or of a signal handler; how much is not known.

    Args:
        tids: IDs of these threads, at least one.
        executable: whether the region is executable.

    >>> runs_on_name([12], executable=False), runs_on_name([12, 15], executable=True)
    ('memory that thread 12 runs on', 'memory that 2 threads run on, 12 to 15, executable')
    """
    name = f"memory that thread {tids[0]} runs on"
    if len(tids) > 1:
        name = f"memory that {len(tids)} threads run on, {tids[0]} to {tids[-1]}"
    return name + ", executable" if executable else name


ARENA_SIZES = (64 << 20, 1 << 20)
"""glibc's HEAP_MAX_SIZE with 64-bit and with 32-bit addresses: the size and the alignment of
the heaps of arenas, which are PROT_NONE after the part in use (malloc/arena.c)."""

GUARD_LIMIT = 1 << 20
"""A PROT_NONE region larger than this is a reservation, not a guard."""


STACK_MINIMUM = 16384
"""PTHREAD_STACK_MIN on most architectures."""
