"""Diff: what changed between two snapshots, region by region, summing up to the totals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from procmem.procfs.totals import Faults
from procmem.snapshots.changes import Change, ChangeKind
from procmem.snapshots.comparison import compare
from procmem.units import signed

if TYPE_CHECKING:
    from procmem.regions import Region
    from procmem.snapshots.causes import Explanation
    from procmem.snapshots.comparison import Comparison
    from procmem.snapshots.snapshot import Snapshot
    from procmem.snapshots.sums import CauseSum

__all__ = ["Change", "ChangeKind", "Diff", "Remainder", "diff"]


class Remainder(NamedTuple):
    """What the totals changed more than the changes of regions add up to. False if nothing.

    Attributes:
        vsz, rss: bytes.
        minor, major: page faults.
        why: the cause of each that is not 0, by its name.
    """

    vsz: int
    rss: int
    minor: int
    major: int
    why: dict[str, str]

    def __bool__(self) -> bool:
        return any(self[:4])


class Diff:
    """What changed from one snapshot to another.

    Attributes:
        before, after: the snapshots.
        vsz: change of the size of the address space, in bytes.
        rss: change of what is in memory, in bytes; None: not told.
        swap, page_tables: likewise.
        minor, major: page faults in between; None: not told, or of two processes.
        same_process: whether both are of one process; None: it can't be told.
        remainder: what the totals changed more than all changes together.

    It is False if nothing changed that it looks at.

    >>> from procmem import Process, diff
    >>> now = Process().snapshot("maps")
    >>> diff(now, now).changes, bool(now - now)
    ((), False)
    """

    __slots__ = (
        "_changes",
        "_explanations",
        "_found",
        "after",
        "before",
        "remainder",
        "same_process",
    )

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self.before = before
        self.after = after
        self.same_process = before.same_process(after)
        minor, major = self.minor, self.major
        faults = None if minor is None or major is None else Faults(minor, major)
        self._found = compare(
            before.regions, after.regions, faults, measured=is_measured(before, after)
        )
        self._changes: tuple[Change, ...] | None = None
        self._explanations: tuple[Explanation, ...] | None = None
        self.remainder = remainder_of(self)

    @property
    def vsz(self) -> int:
        """Change of the size of the address space, in bytes."""
        return self.after.vsz - self.before.vsz

    @property
    def rss(self) -> int | None:
        """Change of what is in memory, in bytes; None: not told."""
        return difference(self.before.rss, self.after.rss)

    @property
    def rss_error(self) -> int | None:
        """Bytes by which rss may be off; 0: it is exact; None: not known. See Snapshot."""
        errors = self.before.rss_error, self.after.rss_error
        return None if None in errors else sum(error or 0 for error in errors)

    @property
    def swap(self) -> int | None:
        """Change of what is in swap, in bytes; None: not told."""
        return difference(self.before.swap, self.after.swap)

    @property
    def page_tables(self) -> int | None:
        """Change of the page tables, in bytes; None: not told."""
        return difference(self.before.page_tables, self.after.page_tables)

    @property
    def minor(self) -> int | None:
        """Page faults in between that read no disk; None: not told, or of two processes."""
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
        """Nanoseconds from one to the other; None: not told, or of two boots."""
        one, other = self.before, self.after
        if one.clock is None or other.clock is None:
            return None
        if one.identity.boot_id != other.identity.boot_id:
            return None
        return other.clock.monotonic - one.clock.monotonic

    @property
    def changes(self) -> tuple[Change, ...]:
        """What became of the regions, by address. What stayed as it was is not in it."""
        if self._changes is None:
            self._changes = tuple([Change(self, row) for row in self._found.rows()])
        return self._changes

    def _regions(self, side: Snapshot, first: int, count: int) -> tuple[Region, ...]:
        """Regions of one side of a change."""
        return tuple(map(side.regions._regions.__getitem__, self._found.places(first, count)))

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """The causes, each with the changes that it accounts for."""
        if self._explanations is None:
            from procmem.snapshots.causes import explain

            self._explanations = tuple(explain(self, self.changes))
        return self._explanations

    @property
    def causes(self) -> tuple[CauseSum, ...]:
        """Each cause with its sum and its sentence, the largest first."""
        from procmem.snapshots.sums import sums

        return sums(self.explanations)

    @property
    def judged(self) -> Comparison:
        """Why pages that were shared became the process's own: of all regions at once."""
        return self._found

    @property
    def notes(self) -> list[str]:
        """What is to be said of the whole."""
        from procmem.snapshots.causes import notes

        return notes(self)

    def __bool__(self) -> bool:
        return bool(len(self._found) or self.vsz or self.rss or self.minor or self.major)

    def __repr__(self) -> str:
        rss = "" if self.rss is None else f", RSS {signed(self.rss)}"
        return f"<Diff: {len(self._found)} changes, VSZ {signed(self.vsz)}{rss}>"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; the snapshots themselves are left out."""
        return {
            "vsz": self.vsz,
            "rss": self.rss,
            "rss_error": self.rss_error,
            "swap": self.swap,
            "page_tables": self.page_tables,
            "minor": self.minor,
            "major": self.major,
            "elapsed": self.elapsed,
            "same_process": self.same_process,
            "remainder": self.remainder._asdict(),
            "notes": self.notes,
            "causes": [one.to_dict() for one in self.causes],
            "changes": [change.to_dict() for change in self.changes],
        }


def diff(before: Snapshot, after: Snapshot) -> Diff:
    """What changed from `before` to `after`.

    Regions are known again by the addresses that they cover, if the same lies behind them: one
    file at one offset, or anonymous memory. What was unmapped and mapped elsewhere is one moved
    region where file, offset, size and permissions are alike, or, of anonymous memory, size,
    permissions and resident bytes, and where no other region is alike as well.

    Args:
        before: a snapshot.
        after: another, of the same process or of another one.
    """
    return Diff(before, after)


def is_measured(before: Snapshot, after: Snapshot) -> bool:
    """Whether both tell what is resident in each region."""
    return "maps" not in (before.detail, after.detail)


def difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


# ---- attributing -------------------------------------------------------------------

MOVED_ON = "the process moved while it was read: regions and totals are of different moments"


LAGGING = "VmRSS of this kernel lags by up to a batch of pages per CPU or thread"


def remainder_of(found: Diff) -> Remainder:
    """What is left of all totals when all changes are added up."""
    before, after, told = found.before, found.after, found._found
    why: dict[str, str] = {}
    shaky = (
        before.moved or after.moved or not (before.regions.consistent and after.regions.consistent)
    )

    def left(name: str, all_of_it: int | None, told: int, otherwise: str) -> int:
        rest = 0 if all_of_it is None else all_of_it - told
        if rest:
            why[name] = MOVED_ON if shaky else otherwise
        return rest

    measured = is_measured(before, after)
    exact = found.rss_error == 0
    unmeasured = "the regions were read without their resident bytes (detail maps)"
    vsz = left("vsz", found.vsz, told.vsz, "no known cause")
    rss = left(
        "rss",
        found.rss,
        told.rss,
        "no known cause" if exact else LAGGING,
    )
    if not measured and rss:
        why["rss"] = unmeasured if exact else f"{unmeasured}; {LAGGING}"
    minor = left(
        "minor",
        found.minor,
        told.minor,
        "not measured by region (detail maps)"
        if not measured
        else "faults that left no page more: reads of the zero page, first writes after them or "
        "after fork(2), pages given back in between, page tables",
    )
    major = left(
        "major",
        found.major,
        told.major,
        "the kernel does not tell which file's pages were read",
    )
    return Remainder(vsz, rss, minor, major, why)
