"""What differs between two moments: the totals, and the changes that native/compare.c finds."""

from __future__ import annotations

from array import array
from struct import Struct

from procmem import native
from procmem.native import ffi, lib
from procmem.procfs.totals import Faults
from procmem.regions.reading import split_deleted
from procmem.regions.region import PAGE_SIZE, MeasuredRegion, ResidentRegion
from procmem.regions.table import raw_records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from procmem.regions import Region, RegionTable
    from procmem.snapshots.moment import Moment

__all__ = ["Row", "TableDiff", "TotalsDiff", "is_measured"]

KNOWS_RSS: int = lib.PM_KNOWS_RSS
KNOWS_SWAP: int = lib.PM_KNOWS_SWAP
KNOWS_COPIED: int = lib.PM_KNOWS_COPIED
KNOWS_FAULTS: int = lib.PM_KNOWS_FAULTS
KNOWS_UNSHARED: int = lib.PM_KNOWS_UNSHARED
KNOWS_HUGE: int = lib.PM_KNOWS_HUGE
KNOWS_LAZY: int = lib.PM_KNOWS_LAZY
KNOWS_KSM: int = lib.PM_KNOWS_KSM
KNOWS_HUGETLB: int = lib.PM_KNOWS_HUGETLB

NOTHING_UNSHARED: int = lib.PM_NOTHING_UNSHARED
ALL_COPIED: int = lib.PM_ALL_COPIED
SHARER_ENDED: int = lib.PM_SHARER_ENDED
OTHERS_CHANGED: int = lib.PM_OTHERS_CHANGED
EITHER: int = lib.PM_EITHER

COUNTERS = (
    "Rss",
    "Swap",
    "Anonymous",
    "Private_Dirty",
    "Private_Clean",
    "Shared_Dirty",
    "Shared_Clean",
    "AnonHugePages",
    "LazyFree",
    "KSM",
    "Shared_Hugetlb",
    "Private_Hugetlb",
    "Pss_Dirty",
)
"""The counters that are compared, in the order of pm_side.counters."""


Row = tuple[int, ...]
"""A pm_change. A plain tuple of integers is not tracked by the garbage collector. The names of its
places follow."""

(
    START,
    VSZ,
    RSS,
    SWAP,
    COPIED,
    MINOR,
    MAJOR,
    KINDS,
    KNOWN,
    BEFORE,
    BEFORE_COUNT,
    AFTER,
    AFTER_COUNT,
    UNSHARED,
    HUGE,
    LAZY,
    KSM,
    HUGETLB,
) = range(18)

ROW = Struct("=Q6q6I5qII")


class TableDiff:
    """What differs between two tables of regions.

    Attributes:
        vsz, rss, minor, major: sums over all changes.
        verdict: why pages that were shared became private to the process: NOTHING_UNSHARED,
            ALL_COPIED, SHARER_ENDED, OTHERS_CHANGED or EITHER.
        unshared: bytes of such pages.
        spare: how many of them can have been copied at most, going by the number of faults.
        fixed_shared: whether memory that can't be written is shared in the later snapshot.
        still_shared: whether any memory is shared in it.
        sharer_left: whether fewer processes than before share memory that can't be written.
    """

    __slots__ = (
        "_found",
        "_members",
        "_rows",
        "fixed_shared",
        "major",
        "minor",
        "rss",
        "sharer_left",
        "spare",
        "still_shared",
        "unshared",
        "verdict",
        "vsz",
    )

    def __init__(self, found: Any) -> None:
        self._found = found
        self._rows = ffi.buffer(found.changes, found.count * ROW.size)
        members = ffi.buffer(found.members, found.member_count * 4)
        self._members = memoryview(members).cast("I")
        self.vsz: int = found.vsz
        self.rss: int = found.rss
        self.minor: int = found.minor
        self.major: int = found.major
        self.verdict: int = found.verdict
        self.unshared: int = found.unshared
        self.spare: int = found.spare
        self.fixed_shared = bool(found.still_shared & lib.PM_STILL_UNWRITABLE)
        self.still_shared = bool(found.still_shared & ~lib.PM_SHARER_LEFT)
        self.sharer_left = bool(found.still_shared & lib.PM_SHARER_LEFT)

    def __len__(self) -> int:
        return len(self._rows) // ROW.size

    def rows(self) -> Iterator[Row]:
        """All changes, by address."""
        return ROW.iter_unpack(self._rows)

    def places(self, first: int, count: int) -> Sequence[int]:
        """The places of the regions of one side of a change in their table."""
        return self._members[first : first + count]


def compare(
    before: RegionTable[Any],
    after: RegionTable[Any],
    faults: Faults | None,
    *,
    measured: bool,
) -> TableDiff:
    """What differs between two tables of regions.

    Args:
        before: the earlier table.
        after: the later table.
        faults: page faults in between; None: not known.
        measured: whether the resident bytes of each region are known in both.

    Raises:
        MemoryError
    """
    tables = before, after
    names, numbers = names_of(tables)
    held: list[Any] = [names]

    def lent(kind: str, values: bytes | array[int]) -> Any:
        held.append(ffi.from_buffer(kind, values))
        return held[-1]

    sides = []
    for table, ids in zip(tables, numbers, strict=True):
        side = ffi.new("pm_side *")
        side.count, side.stride = len(table), table.reading.scan.stride
        if len(table) == table.reading.count and not table.reading.overrides:
            side.words = table.reading.scan.words
        else:
            side.words = lent("uint64_t[]", records_with_names(table))
        if ids is not None:
            side.strings = lent("uint32_t[]", ids)
        side.counters = [word_of(table.region_type, name) for name in COUNTERS]
        sides.append(side)
    terms = ffi.new("pm_terms *")
    terms.names = lent("unsigned char[]", bytes(map(sort_of, names)))
    if all(issubclass(table.region_type, MeasuredRegion) for table in tables):
        terms.lasting = lent("uint32_t[]", alike(names, lasting))
    if any(lacks_inodes(table) for table in tables):
        terms.paths = lent("uint32_t[]", alike(names, lambda name: path_of(name)[0]))
    terms.page_size = before.page_size if 0 < before.page_size < MOST else PAGE_SIZE
    terms.measured = measured
    if faults is not None and max(map(abs, faults)) < MOST:
        terms.faults_known = True
        terms.minor, terms.major = faults
    found = lib.pm_compare(*sides, terms)
    if found == ffi.NULL:
        raise MemoryError
    return TableDiff(ffi.gc(found, lib.pm_changes_free))


MOST = 1 << 62
"""No kernel prints a larger number."""

Name = bytes | tuple[str | None, bool]
"""A string of a reading; or the path, and whether it was deleted, of a region whose true name is
not the string in its record."""


def names_of(
    tables: Sequence[RegionTable[Any]],
) -> tuple[list[Name], list[array[int] | None]]:
    """All strings of some tables, and for each table the numbers of its own strings."""
    of_each: list[list[Name]] = [
        [*table.reading.strings, *table.reading.overrides.values()] for table in tables
    ]
    if all(one == of_each[0] for one in of_each):
        return of_each[0], [None for _ in tables]
    numbers: dict[Name, int] = {}
    told: list[array[int] | None] = [
        array("I", [numbers.setdefault(name, len(numbers)) for name in one]) for one in of_each
    ]
    return list(numbers), told


def records_with_names(table: RegionTable[Any]) -> array[int]:
    """A table's records. Names unlike the string in the record have numbers after the strings."""
    words = array("Q", raw_records(table))
    reading = table.reading
    if reading.overrides:
        first, stride = len(reading.strings), reading.scan.stride
        numbers = {index: first + at for at, index in enumerate(reading.overrides)}
        low = (1 << 32) - 1
        for place, region in enumerate(table):
            number = numbers.get(region._index)
            if number is not None:
                at = place * stride + lib.PM_PERMS_NAME
                words[at] = number << 32 | words[at] & low
    return words


def word_of(kind: type, counter: str) -> int:
    """The place in a record of the word that holds a counter; 0: none does."""
    if issubclass(kind, MeasuredRegion):
        return native.HEADER_WORDS + native.COUNTER_NAMES.index(counter)
    if issubclass(kind, ResidentRegion):
        return {"Rss": native.RSS, "Swap": native.SWAP}.get(counter, 0)
    return 0


def path_of(name: Name) -> tuple[str | None, bool]:
    return name if isinstance(name, tuple) else split_deleted(name)


def sort_of(name: Name) -> int:
    """Which kind of name it is: one of PM_NAME_..."""
    raw = name if isinstance(name, bytes) else (name[0] or "").encode("utf-8", "surrogateescape")
    if raw[:1] == b"/":
        return int(lib.PM_NAME_PATH)
    if not raw or raw[:6] == b"[anon:":
        return int(lib.PM_NAME_NONE)
    if raw[:1] != b"[":
        return int(lib.PM_NAME_OTHER)
    own = raw == b"[heap]" or raw.startswith(b"[stack")
    return int(lib.PM_NAME_BREAK if own else lib.PM_NAME_KERNEL)


def alike(names: Sequence[Name], key: Callable[[Name], object]) -> array[int]:
    """A number for each name; names with the same key have the same number."""
    known: dict[object, int] = {}
    return array("I", [known.setdefault(key(name), len(known)) for name in names])


PASSING = {b"sd", b"ac"}
"""Flags that the kernel sets by itself: soft-dirty at a write, accounted at mprotect(2)."""


def lasting(name: Name) -> object:
    """The VmFlags in a string without those of PASSING; a path is returned as it is."""
    if isinstance(name, tuple) or name[:1] in b"/[":
        return name
    return frozenset(name.split()) - PASSING


def lacks_inodes(table: RegionTable[Any]) -> bool:
    """Whether files have paths and no inodes, as in a core, which lacks the kernel's names, too."""
    reading = table.reading
    if any(reading.scan.column(native.INODE)):
        return False
    return any(name[:1] == b"/" for name in reading.strings)


# ---- totals -----------------------------------------------------------------------


class TotalsDiff:
    """What differs between the totals of two moments, and between their regions.

    Attributes:
        before, after: the moments.
        same_process: whether both are of one process; None: not known.
        tables: what differs between their regions.
    """

    __slots__ = ("after", "before", "same_process", "tables")

    def __init__(self, before: Moment, after: Moment) -> None:
        self.before = before
        self.after = after
        self.same_process = before.same_process(after)
        minor, major = self.minor, self.major
        faults = None if minor is None or major is None else Faults(minor, major)
        self.tables = compare(
            before.regions, after.regions, faults, measured=is_measured(before, after)
        )

    @property
    def vsz(self) -> int:
        """Change of the size of the address space, in bytes."""
        return self.after.vsz - self.before.vsz

    @property
    def rss(self) -> int | None:
        """Change of the bytes in memory; None: not known."""
        return difference(self.before.rss, self.after.rss)

    @property
    def rss_error(self) -> int | None:
        """Bytes by which rss may be off; 0: it is exact; None: not known. See Snapshot."""
        errors = self.before.rss_error, self.after.rss_error
        return None if None in errors else sum(error or 0 for error in errors)

    @property
    def swap(self) -> int | None:
        """Change of the bytes in swap; None: not known."""
        return difference(self.before.swap, self.after.swap)

    @property
    def page_tables(self) -> int | None:
        """Change of the bytes of page tables; None: not known."""
        return difference(self.before.page_tables, self.after.page_tables)

    @property
    def minor(self) -> int | None:
        """Page faults in between that read no disk; None: not known, or of two processes."""
        return self._faults(0)

    @property
    def major(self) -> int | None:
        """Page faults in between that read a disk or swap; None likewise."""
        return self._faults(1)

    def _faults(self, which: int) -> int | None:
        one, other = self.before.faults, self.after.faults
        if one is None or other is None or self.same_process is False:
            return None
        return other[which] - one[which]

    @property
    def elapsed(self) -> int | None:
        """Nanoseconds from one to the other; None: not known, or of two boots."""
        one, other = self.before, self.after
        if one.clock is None or other.clock is None:
            return None
        if one.identity.boot_id != other.identity.boot_id:
            return None
        return other.clock.monotonic - one.clock.monotonic

    def members(self, first: int, count: int, *, after: bool) -> tuple[Region, ...]:
        """The regions that one change concerns, as they were before or are after it."""
        table = (self.after if after else self.before).regions
        return tuple([table[place] for place in self.tables.places(first, count)])


def is_measured(before: Moment, after: Moment) -> bool:
    """Whether the resident bytes of each region are known in both."""
    return "maps" not in (before.detail, after.detail)


def difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
