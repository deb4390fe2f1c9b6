"""The arithmetic of page tables: how an address is split, and what tables cost."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "AARCH64_4K",
    "AARCH64_16K",
    "AARCH64_64K",
    "CLASSIC",
    "SCHEMES",
    "X86_64",
    "X86_64_5",
    "LevelNeed",
    "PagingScheme",
    "Split",
    "TablesNeeded",
    "WalkStep",
]


class Split(NamedTuple):
    """An address in its parts.

    Attributes:
        indices: into the table of each level, the top level's first.
        offset: within the page.
        page: number of the page: the indices joined.
    """

    indices: tuple[int, ...]
    offset: int
    page: int


class WalkStep(NamedTuple):
    """One step of a page-table walk: the entry that the memory management unit reads at one level.

    Attributes:
        level: counted from the top, 0.
        name: what the level is called, such as "PMD".
        shift, bits: the index is `bits` bits of the address, from bit `shift` on.
        entry: which entry of the table it is.
        entry_offset: bytes from the table's start to that entry.
        covers: bytes of address space that one entry stands for.
        table_start, table_end: the addresses that the whole table stands for.
    """

    level: int
    name: str
    shift: int
    bits: int
    entry: int
    entry_offset: int
    covers: int
    table_start: int
    table_end: int


class LevelNeed(NamedTuple):
    """The tables of one level that some memory needs.

    Attributes:
        level, name: as of WalkStep.
        tables: how many.
        entries: how many entries of them are used.
        size: bytes of the tables.
        frames: page frames that hold them, each table starting one.
    """

    level: int
    name: str
    tables: int
    entries: int
    size: int
    frames: int


class TablesNeeded(NamedTuple):
    """The tables that some memory needs.

    Attributes:
        levels: the top level first.
        page_size: of the scheme.
    """

    levels: tuple[LevelNeed, ...]
    page_size: int

    @property
    def tables(self) -> int:
        """Of all levels."""
        return sum(level.tables for level in self.levels)

    @property
    def size(self) -> int:
        """Bytes of all tables."""
        return sum(level.size for level in self.levels)

    @property
    def size_in_frames(self) -> int:
        """Bytes of the page frames that hold them, each table starting one."""
        return sum(level.frames for level in self.levels) * self.page_size


class PagingScheme:
    """How addresses are translated: the bits of each level, the page, the entry.

    Args:
        levels: bits of the index into each level's table, the top level first.
        page_size: in bytes, a power of two.
        entry_size: of a table's entry in bytes; one for all levels, or one for each.
        name: what it is called.
        names: what its levels are called, the top level first.
        canonical: addresses whose upper bits all repeat the topmost bit are accepted, as
            x86-64 has them: split() drops and join() restores those bits.

    Raises:
        ValueError: no such scheme can be.

    >>> from procmem import PagingScheme
    >>> two_levels = PagingScheme((10, 10), page_size=4096, entry_size=(2, 4))
    >>> two_levels.split(0b11110000111111110000000010101010)
    Split(indices=(963, 1008), offset=170, page=987120)
    >>> two_levels.table_bytes, two_levels.single_level_size
    ((2048, 4096), 4194304)
    """

    __slots__ = (
        "canonical", "entry_sizes", "levels", "name", "names", "offset_bits", "page_size", "shifts",
    )  # fmt: skip

    def __init__(
        self,
        levels: Sequence[int],
        page_size: int = 4096,
        entry_size: int | Sequence[int] = 8,
        *,
        name: str = "",
        names: Sequence[str] = (),
        canonical: bool = False,
    ) -> None:
        self.levels = tuple(levels)
        if not self.levels or min(self.levels) < 1:
            raise ValueError("a paging scheme has levels, each of at least one bit")
        if page_size < 1 or page_size & page_size - 1:
            raise ValueError(f"a page's size is a power of two, not {page_size}")
        self.page_size = page_size
        self.entry_sizes = (
            (entry_size,) * len(self.levels) if isinstance(entry_size, int) else tuple(entry_size)
        )
        if len(self.entry_sizes) != len(self.levels) or min(self.entry_sizes) < 1:
            raise ValueError("there is one size of entries for all levels, or one for each")
        self.names = tuple(names) or tuple(f"level {i}" for i in range(len(self.levels)))
        if len(self.names) != len(self.levels):
            raise ValueError("each level has a name, or none has")
        self.name = name
        self.canonical = canonical
        self.offset_bits = page_size.bit_length() - 1
        below = accumulate((*reversed(self.levels[1:]),), initial=self.offset_bits)
        self.shifts = tuple(reversed(tuple(below)))

    def __repr__(self) -> str:
        sizes = self.entry_sizes
        size = sizes[0] if len(set(sizes)) == 1 else sizes
        return f"PagingScheme({self.levels}, page_size={self.page_size}, entry_size={size})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PagingScheme):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return self.levels, self.page_size, self.entry_sizes, self.canonical

    # ---- sizes --------------------------------------------------------------

    @property
    def address_bits(self) -> int:
        """Bits of an address that are translated."""
        return sum(self.levels) + self.offset_bits

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return 1 << sum(self.levels)

    @property
    def covers(self) -> tuple[int, ...]:
        """Bytes of address space that one entry of each level stands for."""
        return tuple(1 << shift for shift in self.shifts)

    @property
    def table_bytes(self) -> tuple[int, ...]:
        """Bytes of one table of each level."""
        return tuple(size << bits for bits, size in zip(self.levels, self.entry_sizes, strict=True))

    @property
    def single_level_size(self) -> int:
        """Bytes of one table with an entry for every page, as the lowest level's are."""
        return self.pages * self.entry_sizes[-1]

    # ---- one address ----------------------------------------------------------

    def split(self, address: int) -> Split:
        """The indices and the offset of an address.

        Raises:
            ValueError: the scheme has no such address.
        """
        low = self._lowered(address)
        indices = tuple(
            low >> shift & (1 << bits) - 1
            for shift, bits in zip(self.shifts, self.levels, strict=True)
        )
        return Split(indices, low & self.page_size - 1, low >> self.offset_bits)

    def join(self, indices: Sequence[int], offset: int = 0) -> int:
        """The address that has these indices and this offset: split() undone.

        Raises:
            ValueError: too many or too few indices, or one that is too large.
        """
        if len(indices) != len(self.levels):
            raise ValueError(f"{len(self.levels)} indices are needed, not {len(indices)}")
        address = offset
        if not 0 <= offset < self.page_size:
            raise ValueError(f"the offset {offset} lies outside of a page")
        for index, shift, bits in zip(indices, self.shifts, self.levels, strict=True):
            if not 0 <= index < 1 << bits:
                raise ValueError(f"the index {index} takes more than {bits} bits")
            address |= index << shift
        return self._raised(address)

    def _raised(self, address: int) -> int:
        if self.canonical and address >> self.address_bits - 1:
            return address | (1 << 64) - (1 << self.address_bits)
        return address

    def _lowered(self, address: int) -> int:
        bits = self.address_bits
        if 0 <= address < 1 << bits:
            if self.canonical and address >> bits - 1:
                raise ValueError(
                    f"{address:#x} is not canonical: bits {bits} to 63 repeat bit {bits - 1}"
                )
            return address
        top = (1 << 64) - (1 << bits - 1)
        if self.canonical and top <= address < 1 << 64:
            return address & (1 << bits) - 1
        raise ValueError(f"{address:#x} is no address of {bits} bits")

    def walk(self, address: int) -> list[WalkStep]:
        """The look-ups that translate an address, the top level first.

        Raises:
            ValueError: the scheme has no such address.
        """
        split = self.split(address)
        low = self._lowered(address)
        steps = []
        for level, index in enumerate(split.indices):
            shift, bits = self.shifts[level], self.levels[level]
            start = self._raised(low >> shift + bits << shift + bits)
            steps.append(
                WalkStep(
                    level,
                    self.names[level],
                    shift,
                    bits,
                    index,
                    index * self.entry_sizes[level],
                    1 << shift,
                    start,
                    start + (1 << shift + bits),
                )
            )
        return steps

    # ---- many addresses -------------------------------------------------------

    def tables_needed(self, ranges: Iterable[tuple[int, int]]) -> TablesNeeded:
        """The tables that some ranges of addresses need: one at the top, others where there is one.

        Args:
            ranges: start and end, the end exclusive, in any order.

        Raises:
            ValueError: the scheme has no such addresses.
        """
        listed = [(self._lowered(s), self._lowered(e - 1)) for s, e in ranges if s < e]
        used = [count_blocks(listed, shift) for shift in self.shifts]
        tables = [1, *used[:-1]]
        return TablesNeeded(
            tuple(
                LevelNeed(
                    level,
                    self.names[level],
                    tables[level],
                    used[level],
                    tables[level] * size,
                    tables[level] * -(-size // self.page_size),
                )
                for level, size in enumerate(self.table_bytes)
            ),
            self.page_size,
        )

    # ---- time -------------------------------------------------------------------

    @property
    def accesses(self) -> int:
        """Memory accesses for one access of the program without a TLB: a table a level."""
        return len(self.levels) + 1

    def effective_access_time(
        self, memory: float, *, hit_ratio: float = 0.0, tlb: float = 0.0
    ) -> float:
        """The mean time of an access, in the unit of the arguments.

        Args:
            memory: time of one access to memory.
            hit_ratio: part of the look-ups that the TLB answers.
            tlb: time of a look-up in the TLB.

        Raises:
            ValueError: a ratio outside of 0 to 1.

        >>> from procmem.pages.tables import CLASSIC
        >>> CLASSIC.effective_access_time(100), CLASSIC.effective_access_time(100, hit_ratio=0.5)
        (300.0, 200.0)
        """
        if not 0 <= hit_ratio <= 1:
            raise ValueError(f"a hit ratio lies between 0 and 1, not {hit_ratio}")
        return tlb + memory * (hit_ratio + (1 - hit_ratio) * self.accesses)

    def tlb_reach(self, entries: int, level: int = -1) -> int:
        """Bytes that a TLB translates without a walk.

        Args:
            entries: of the TLB.
            level: whose entries map the pages; -1: the lowest's, -2: huge pages.
        """
        return entries * self.covers[level]


def count_blocks(ranges: Iterable[tuple[int, int]], shift: int) -> int:
    """How many blocks of 1 << shift bytes some ranges touch, both of whose ends are within."""
    count, above = 0, -1
    for first, last in sorted((s >> shift, e >> shift) for s, e in ranges):
        count += max(0, last - max(first, above + 1) + 1)
        above = max(above, last)
    return count


CLASSIC = PagingScheme((10, 10), 4096, 4, name="classic 32-bit", names=("directory", "table"))
X86_64 = PagingScheme(
    (9, 9, 9, 9), name="x86-64, 4 levels", names=("PGD", "PUD", "PMD", "PTE"), canonical=True
)
X86_64_5 = PagingScheme(
    (9, 9, 9, 9, 9),
    name="x86-64, 5 levels",
    names=("PGD", "P4D", "PUD", "PMD", "PTE"),
    canonical=True,
)
AARCH64_4K = PagingScheme(
    (9, 9, 9, 9), name="aarch64, 4 KiB pages, 48 bits", names=("PGD", "PUD", "PMD", "PTE")
)
AARCH64_16K = PagingScheme(
    (1, 11, 11, 11), 16384, name="aarch64, 16 KiB pages, 48 bits",
    names=("PGD", "PUD", "PMD", "PTE"),
)  # fmt: skip
AARCH64_64K = PagingScheme(
    (6, 13, 13), 65536, name="aarch64, 64 KiB pages, 48 bits", names=("PGD", "PMD", "PTE")
)
SCHEMES = {
    "classic": CLASSIC,
    "x86-64": X86_64,
    "x86-64-5": X86_64_5,
    "aarch64-4k": AARCH64_4K,
    "aarch64-16k": AARCH64_16K,
    "aarch64-64k": AARCH64_64K,
}
"""By the names that commands take."""
