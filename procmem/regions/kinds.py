"""The vocabulary: kinds of regions, owners, uses, and which evidence is a guess."""

from __future__ import annotations

import enum
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from procmem.regions.perms import Device, Perms

    class Unclassified(Protocol):
        """A region as far as kinds are found from it: its line of maps, and its VmFlags."""

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
        """A region as far as tables show its kind."""

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
    "name_word",
    "stacks_name",
]


class RegionKind(enum.Enum):
    """The kind of a region: what it is for. `str(kind)` is its value."""

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
    """The owner of a segment. `str(owner)` is its value."""

    EXECUTABLE = "executable"
    LIBRARY = "library"
    LOADER = "loader"

    def __str__(self) -> str:
        return self.value


GUESSES = frozenset({"position", "size", "none"})
"""Evidence that makes a word a guess: it fits, and nothing proves it."""

MARK = "?"
"""What stands behind a word that is a guess."""


class Use(NamedTuple):
    """What the memory of a region is used for, beside its kind.

    Attributes:
        name: such as "Go heap" or "JVM code cache".
        evidence: what it rests on, in a few words.
        guess: whether nothing proves it. `str(use)` is the name, with a "?" behind a guess.

    >>> str(Use("Go heap", "runtime symbols, address")), str(Use("Go heap", "address", guess=True))
    ('Go heap', 'Go heap?')
    """

    name: str
    evidence: str
    guess: bool = False

    def __str__(self) -> str:
        return self.name + MARK if self.guess else self.name


class Kind(NamedTuple):
    """The kind of a region, with its owner, evidence, name and use."""

    kind: RegionKind
    owner: Owner | None
    evidence: str
    name: str
    use: Use | None = None

    @property
    def guess(self) -> bool:
        """Whether the kind is a guess."""
        return self.evidence in GUESSES


def kind_word(region: Classified) -> str:
    """The region's kind as a table shows it: with a "?" behind it where it is a guess.

    >>> from procmem import Region
    >>> kind_word(Region(0x1000, 0x2000, "rw-p", pathname="[heap]"))
    'heap'
    >>> kind_word(Region(0x1000, 0x2000, "---p"))
    'guard?'
    """
    return region.kind.value + MARK if region.kind_guess else region.kind.value


def name_word(region: Classified) -> str:
    """The region's name as a table shows it: with a "?" behind it where it rests on a guess.

    A name that the kernel printed is no guess, whatever the kind is.

    >>> from procmem import Region
    >>> name_word(Region(0x1000, 0x2000, "---p")), name_word(Region(0x1000, 0x2000, "rw-p"))
    ('guard?', 'anonymous')
    """
    guess = region.name_guess
    return region.name + MARK if guess else region.name


def stacks_name(
    tids: Sequence[int], ended: int, covered: int, size: int, *, executable: bool
) -> str:
    """The name of a region that holds stacks of threads.

    Args:
        tids: the living threads whose stacks are there, at least one.
        ended: how many stacks of threads that have ended.
        covered: bytes of all these stacks; 0: not known.
        size: of the region.
        executable: whether it may be executed.

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


ARENA_SIZES = (64 << 20, 1 << 20)
"""glibc's HEAP_MAX_SIZE with 64-bit and with 32-bit addresses: arenas are that
long, aligned to it, and PROT_NONE behind what is in use (malloc/arena.c)."""

GUARD_LIMIT = 1 << 20
"""A PROT_NONE region larger than this is a reservation, not a guard."""


STACK_MINIMUM = 16384
"""PTHREAD_STACK_MIN on most architectures."""
