"""Diff: what changed between two snapshots, region by region, summing up to the totals."""

from __future__ import annotations

import enum
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from procmem import native
from procmem.moments.saved import raw_records, records_of
from procmem.moments.snapshot import KERNEL_HALF, Snapshot
from procmem.regions.model import MeasuredRegion, Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.moments.causes import Cause, Explanation

__all__ = ["Change", "ChangeKind", "Diff", "Remainder", "diff"]


class ChangeKind(enum.Enum):
    """What happened to regions. `str(kind)` is its value; a change may be of several kinds."""

    MAPPED = "mapped"
    UNMAPPED = "unmapped"
    MOVED = "moved"
    GROWN = "grown"
    SHRUNK = "shrunk"
    SPLIT = "split"
    MERGED = "merged"
    PROTECTED = "protected"
    RENAMED = "renamed"
    ADVISED = "advised"
    TOUCHED = "touched"
    DROPPED = "dropped"
    SWAPPED = "swapped"
    COPIED = "copied"
    SHARING = "sharing"

    def __str__(self) -> str:
        return self.value


K = ChangeKind


class Change:
    """What became of some regions. Sizes are bytes, after - before; None: not measured.

    Attributes:
        kinds: what happened, the weightiest first.
        before, after: the regions that it concerns, by address: none before if they were
            mapped, none after if they were unmapped, several where one was split or some merged.
        vsz, rss: of these regions.
        swap: in swap.
        copied: that became this process's own: copied at a write, or no longer shared.
        gained, lost: address ranges that are mapped only after, and only before.
        minor, major: page faults as far as they can be told to be of these regions, in pages
            that came: the kernel counts faults by process alone. None: not known.
        cause: why, of a fixed list (Cause).
        why: the same in words.
        evidence: what the cause rests on.
    """

    __slots__ = (
        "after",
        "before",
        "copied",
        "explanation",
        "gained",
        "kinds",
        "lost",
        "major",
        "minor",
        "rss",
        "swap",
        "vsz",
    )

    def __init__(
        self,
        kinds: tuple[ChangeKind, ...],
        before: tuple[Region, ...],
        after: tuple[Region, ...],
        vsz: int,
        rss: int | None,
        swap: int | None,
        copied: int,
        gained: tuple[tuple[int, int], ...],
        lost: tuple[tuple[int, int], ...],
    ) -> None:
        self.kinds = kinds
        self.before = before
        self.after = after
        self.vsz = vsz
        self.rss = rss
        self.swap = swap
        self.copied = copied
        self.gained = gained
        self.lost = lost
        self.minor: int | None = None
        self.major: int | None = None
        self.explanation: Explanation | None = None

    @property
    def kind(self) -> ChangeKind:
        """The weightiest of its kinds."""
        return self.kinds[0]

    @property
    def region(self) -> Region:
        """The largest of its regions, as they are after; before, if none is left."""
        return max(self.after or self.before, key=lambda region: region.size)

    @property
    def start(self) -> int:
        """The lowest address that it concerns."""
        return min(region.start for region in (*self.before[:1], *self.after[:1]))

    @property
    def cause(self) -> Cause:
        """Why, of a fixed list."""
        return self._explained.cause

    @property
    def why(self) -> str:
        """Why, in words."""
        return self._explained.words

    @property
    def evidence(self) -> tuple[str, ...]:
        """What the cause rests on."""
        return self._explained.evidence

    @property
    def _explained(self) -> Explanation:
        return self.explanation  # type: ignore[return-value] # Diff.changes gives it first

    def __repr__(self) -> str:
        rss = "" if self.rss is None else f", RSS {self.rss / 1024:+g} KiB"
        kinds = ", ".join(map(str, self.kinds))
        return f"<Change {self.start:x} {kinds}: VSZ {self.vsz / 1024:+g} KiB{rss}>"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "kinds": [kind.value for kind in self.kinds],
            "before": [region.to_record() for region in self.before],
            "after": [region.to_record() for region in self.after],
            "vsz": self.vsz,
            "rss": self.rss,
            "swap": self.swap,
            "copied": self.copied,
            "minor": self.minor,
            "major": self.major,
            "cause": self.cause.value,
            "why": self.why,
            "evidence": list(self.evidence),
        }


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

    __slots__ = ("_changes", "_explanations", "after", "before", "remainder", "same_process")

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self.before = before
        self.after = after
        self.same_process = before.same_process(after)
        self._changes = tuple(changes_between(before, after))
        self._explanations: tuple[Explanation, ...] | None = None
        self.remainder = attribute(self)

    @property
    def vsz(self) -> int:
        """Change of the size of the address space, in bytes."""
        return self.after.vsz - self.before.vsz

    @property
    def rss(self) -> int | None:
        """Change of what is in memory, in bytes; None: not told."""
        return difference(self.before.rss, self.after.rss)

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
        if self._explanations is None:
            self.explanations  # noqa: B018 - gives each change its cause
        return self._changes

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """The causes, each with the changes that it accounts for."""
        if self._explanations is None:
            from procmem.moments.causes import explain

            self._explanations = tuple(explain(self, self._changes))
        return self._explanations

    @property
    def notes(self) -> list[str]:
        """What is to be said of the whole."""
        from procmem.moments.causes import notes

        return notes(self)

    def __bool__(self) -> bool:
        return bool(self._changes or self.vsz or self.rss or self.minor or self.major)

    def __repr__(self) -> str:
        rss = "" if self.rss is None else f", RSS {self.rss / 1024:+g} KiB"
        return f"<Diff: {len(self._changes)} changes, VSZ {self.vsz / 1024:+g} KiB{rss}>"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; the snapshots themselves are left out."""
        return {
            "vsz": self.vsz,
            "rss": self.rss,
            "swap": self.swap,
            "page_tables": self.page_tables,
            "minor": self.minor,
            "major": self.major,
            "elapsed": self.elapsed,
            "same_process": self.same_process,
            "remainder": self.remainder._asdict(),
            "notes": self.notes,
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


def difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


# ---- finding what differs ----------------------------------------------------------


def changed_regions(before: Snapshot, after: Snapshot) -> tuple[list[Region], list[Region]]:
    """The regions of either side whose records the other has not.

    Records are compared as bytes, since of many regions few change; to do so the strings of
    one side are numbered as those of the other.
    """
    tables = before.regions, after.regions
    strings, others = (table._block._strings for table in tables)
    if strings == others and tables[0]._kind is tables[1]._kind:
        stride = tables[0]._block._scan.stride
        one, other = (raw_records(table) for table in tables)
        left, right = differing(one, other, stride * 8)
    else:
        (stride, words), (other_stride, other_words) = map(records_of, tables)
        renumber(other_words, other_stride, strings, others)
        if stride != other_stride:
            words, other_words = headers(words, stride), headers(other_words, other_stride)
            stride = native.HEADER_WORDS
        left, right = differing(words.tobytes(), other_words.tobytes(), stride * 8)
    for table, places in zip(tables, (left, right), strict=True):
        # A name that is not what the record says.
        overrides = table._block.overrides
        if overrides:
            places.update(i for i, region in enumerate(table) if region._index in overrides)
    return tuple(  # type: ignore[return-value]
        [table[place] for place in sorted(places)]
        for table, places in zip(tables, (left, right), strict=True)
    )


RUN = 64
"""Records that are compared at once."""


def differing(one: bytes, other: bytes, size: int) -> tuple[set[int], set[int]]:
    """The records of either side that the other lacks; both are sorted by their first word."""
    left: set[int] = set()
    right: set[int] = set()
    a = b = 0
    run = RUN * size
    starts = memoryview(one).cast("Q"), memoryview(other).cast("Q")
    words = size // 8
    while a < len(one) and b < len(other):
        if one[a : a + run] == other[b : b + run]:
            a += run
            b += run
            continue
        until = a + run
        while a < until and a < len(one) and b < len(other):
            if one[a : a + size] == other[b : b + size]:
                a += size
                b += size
                continue
            at = a // size, b // size
            first, second = starts[0][at[0] * words], starts[1][at[1] * words]
            if first <= second:
                left.add(at[0])
                a += size
            if second <= first:
                right.add(at[1])
                b += size
    left.update(range(a // size, len(one) // size))
    right.update(range(b // size, len(other) // size))
    return left, right


def headers(words: array[int], stride: int) -> array[int]:
    cut = array("Q", bytes(len(words) // stride * native.HEADER_WORDS * 8))
    for number in range(native.HEADER_WORDS):
        cut[number :: native.HEADER_WORDS] = words[number::stride]
    return cut


def renumber(words: array[int], stride: int, strings: list[bytes], others: list[bytes]) -> None:
    """Gives the strings in records of the one side their numbers of the other."""
    numbers = {text: number for number, text in enumerate(strings)}
    new = [numbers.setdefault(text, len(numbers)) for text in others]
    low = (1 << 32) - 1
    perms_name, flags_raw = words[5::stride], words[6::stride]
    known = {word: new[word >> 32] << 32 | word & low for word in set(perms_name)}
    words[5::stride] = array("Q", [known[word] for word in perms_name])
    known = {word: new[word >> 32] << 32 | new[word & low] for word in set(flags_raw)}
    words[6::stride] = array("Q", [known[word] for word in flags_raw])


def backing(region: Region) -> Any:
    """What lies behind a region, and with files, where it would start in the address space."""
    if region.inode:
        return region.inode, region.dev, region.start - region.offset
    raw = region.raw_pathname
    if raw is None or raw.startswith((b"[anon:", b"[heap]", b"[stack")):
        return None  # a name can be given to anonymous memory, and taken
    return raw if raw[:1] == b"[" else (raw, region.start - region.offset)


def linked(before: list[Region], after: list[Region]) -> list[tuple[list[Region], list[Region]]]:
    """Groups of regions that are the same memory; unmatched ones are groups of their own."""
    groups: list[tuple[list[Region], list[Region]]] = []
    of_before: dict[int, int] = {}
    of_after: dict[int, int] = {}
    i = j = 0
    backings_before = [backing(region) for region in before]
    backings_after = [backing(region) for region in after]
    while i < len(before) and j < len(after):
        one, other = before[i], after[j]
        if (
            one.start < other.end
            and other.start < one.end
            and (backings_before[i] == backings_after[j])
        ):
            # Two groups can't meet here: regions of one side don't overlap each other.
            number = of_before.get(i, of_after.get(j))
            if number is None:
                number = len(groups)
                groups.append(([], []))
            if i not in of_before:
                of_before[i] = number
                groups[number][0].append(one)
            if j not in of_after:
                of_after[j] = number
                groups[number][1].append(other)
        if one.end <= other.end:
            i += 1
        if other.end <= one.end:
            j += 1
    groups += [([one], []) for i, one in enumerate(before) if i not in of_before]
    groups += [([], [other]) for j, other in enumerate(after) if j not in of_after]
    return groups


def alike(region: Region) -> Any:
    """What a region that was moved takes with it; None: nothing that tells it from others."""
    if region.inode:
        return region.inode, region.dev, region.offset, region.size, region.perms
    raw = region.raw_pathname
    if raw is not None and not raw.startswith(b"[anon:"):
        return raw if raw[:1] == b"[" else (raw, region.offset, region.size, region.perms)
    rss = getattr(region, "rss", None)
    return (raw, region.size, region.perms, rss) if rss else None


def moved(
    groups: list[tuple[list[Region], list[Region]]],
) -> list[tuple[list[Region], list[Region]]]:
    """The same groups, with what was unmapped here and mapped there as one."""
    gone: dict[Any, list[int]] = {}
    come: dict[Any, list[int]] = {}
    for number, (before, after) in enumerate(groups):
        if not (before and after):
            key = alike((before or after)[0])
            if key is not None:
                (gone if before else come).setdefault(key, []).append(number)
    left: set[int] = set()
    joined = []
    for key, places in gone.items():
        others = come.get(key, [])
        if len(places) == len(others) == 1:
            left.update((places[0], others[0]))
            joined.append((groups[places[0]][0], groups[others[0]][1]))
    return joined + [group for number, group in enumerate(groups) if number not in left]


def changes_between(before: Snapshot, after: Snapshot) -> list[Change]:
    """All changes, by address, without their causes."""
    one, other = changed_regions(before, after)
    if not one and not other:
        return []
    for regions in (one, other):
        if any(a.start > b.start for a, b in pairwise(regions)):
            regions.sort(key=lambda region: region.start)
    faults = None
    if before.faults is not None and after.faults is not None:
        faults = after.faults.minor - before.faults.minor
    measured = before.detail != "maps" and after.detail != "maps"
    page = before.regions.page_size
    found = []
    for group in moved(linked(one, other)):
        change = described(*group, measured=measured, most_copies=faults, page=page)
        if change is not None:
            found.append(change)
    found.sort(key=lambda change: change.start)
    return found


# ---- describing --------------------------------------------------------------------


def total(regions: Sequence[Region], field: str) -> int | None:
    """A sum; None if any lacks it."""
    found = 0
    for region in regions:
        value = getattr(region, field, None)
        if value is None:
            return None
        found += value
    return found


def size_of(regions: Sequence[Region]) -> int:
    return sum(region.size for region in regions if region.start < KERNEL_HALF)


Ranges = tuple[tuple[int, int], ...]


def without(regions: list[Region], others: list[Region]) -> Ranges:
    """The address ranges that regions cover and others don't, joined where they touch."""
    found: list[tuple[int, int]] = []
    for region in regions:
        at = region.start
        for other in others:
            if other.end > at and other.start < region.end:
                if other.start > at:
                    found.append((at, other.start))
                at = other.end
        if at < region.end:
            found.append((at, region.end))
    joined: list[tuple[int, int]] = []
    for start, end in found:
        if joined and joined[-1][1] == start:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return tuple(joined)


def described(
    before: list[Region],
    after: list[Region],
    *,
    measured: bool,
    most_copies: int | None,
    page: int,
) -> Change | None:
    """What happened to a group; None: nothing that counts here."""
    kinds: list[ChangeKind] = []
    gained: Ranges = ()
    lost: Ranges = ()
    one, other = (before or after)[0], (after or before)[0]
    if not before:
        kinds.append(K.MAPPED)
        gained = tuple((region.start, region.end) for region in after)
    elif not after:
        kinds.append(K.UNMAPPED)
        lost = tuple((region.start, region.end) for region in before)
    else:
        single = len(before) == len(after) == 1
        if single and (one.start >= other.end or other.start >= one.end):
            kinds.append(K.MOVED)
            if one.size != other.size:
                kinds.append(K.GROWN if other.size > one.size else K.SHRUNK)
            gained, lost = ((other.start, other.end),), ((one.start, one.end),)
        else:
            if not single or (one.start, one.end) != (other.start, other.end):
                gained, lost = without(after, before), without(before, after)
            if gained:
                kinds.append(K.GROWN)
            if lost:
                kinds.append(K.SHRUNK)
            if len(before) != len(after):
                kinds.append(K.SPLIT if len(after) > len(before) else K.MERGED)
        kinds += altered(before, after, moved=K.MOVED in kinds)
    vsz = size_of(after) - size_of(before)
    rss = swap = None
    copied = 0
    if measured:
        rss = difference(total(before, "rss"), total(after, "rss"))
        swap = difference(total(before, "swap"), total(after, "swap"))
        if rss:
            # What went to swap was not dropped, what came from there not touched anew.
            if swap and (rss > 0) != (swap > 0) and abs(swap) >= abs(rss):
                kinds.append(K.SWAPPED)
            else:
                kinds.append(K.TOUCHED if rss > 0 else K.DROPPED)
                if swap:
                    kinds.append(K.SWAPPED)
        elif swap:
            kinds.append(K.SWAPPED)
        if before and after:
            copied = copied_bytes(before, after, rss or 0)
        if copied:
            # A copy takes a fault; without one the other side has gone, or has come.
            by_fault = most_copies is not None and came(copied, most_copies) > 0
            by_fault = by_fault and abs(most_copies or 0) * page >= abs(copied)
            kinds.append(K.COPIED if by_fault else K.SHARING)
    if not kinds:
        return None
    return Change(tuple(kinds), tuple(before), tuple(after), vsz, rss, swap, copied, gained, lost)


def altered(before: list[Region], after: list[Region], *, moved: bool) -> list[ChangeKind]:
    """Whether permissions, names or flags differ where regions of both sides overlap."""
    protected = renamed = advised = False
    for one in before:
        for other in after:
            if not moved and (one.start >= other.end or other.start >= one.end):
                continue
            if one._perms != other._perms:
                protected = True
            elif isinstance(one, MeasuredRegion) and isinstance(other, MeasuredRegion):
                advised = advised or flags(one) != flags(other)
            if (one.raw_pathname, one.pathname, one.deleted) != (
                other.raw_pathname,
                other.pathname,
                other.deleted,
            ):
                renamed = True
    told = ((K.PROTECTED, protected), (K.RENAMED, renamed), (K.ADVISED, advised))
    return [kind for kind, here in told if here]


PASSING = {"sd", "ac"}
"""Flags that come by themselves: soft-dirty at a write, accounted with mprotect."""


def flags(region: MeasuredRegion) -> frozenset[str] | None:
    told = region.vm_flags
    return None if told is None else frozenset(told) - PASSING


def copied_bytes(before: list[Region], after: list[Region], rss: int) -> int:
    """Bytes that were there and became this process's own; negative: that became shared."""

    def change(field: str) -> int:
        return difference(total(before, field), total(after, field)) or 0

    if after[0].inode and after[0].perms.private:
        # A private page of a file becomes anonymous when it is written.
        own = change("anonymous")
        if own and (own > 0) == (rss > 0):
            own = max(own - rss, 0) if own > 0 else min(own - rss, 0)
        return own
    if after[0].inode:
        return 0
    own = change("private_dirty") + change("private_clean")
    others = change("shared_dirty") + change("shared_clean")
    if not own or not others or (own > 0) == (others > 0):
        return 0
    return min(own, -others) if own > 0 else max(own, -others)


# ---- attributing -------------------------------------------------------------------

MOVED_ON = "the process moved while it was read: regions and totals are of different moments"


def attribute(found: Diff) -> Remainder:
    """Gives faults to changes; what is left of all totals."""
    before, after, changes = found.before, found.after, found._changes
    why: dict[str, str] = {}
    shaky = (
        before.moved or after.moved or not (before.regions.consistent and after.regions.consistent)
    )

    def left(name: str, all_of_it: int | None, told: int, otherwise: str) -> int:
        rest = (all_of_it or 0) - told
        if rest:
            why[name] = MOVED_ON if shaky else otherwise
        return rest

    vsz = left(
        "vsz",
        found.vsz,
        sum(change.vsz for change in changes),
        "no known cause",
    )
    measured = before.detail != "maps" and after.detail != "maps"
    exact = all(s.kernel is None or "exact VmRSS" in s.kernel.features for s in (before, after))
    rss = left(
        "rss",
        found.rss,
        sum(change.rss or 0 for change in changes),
        "the regions were read without their resident bytes (detail maps)"
        if not measured
        else "no known cause"
        if exact
        else "VmRSS of this kernel lags by up to a batch of pages per CPU",
    )
    if not measured and rss:
        why["rss"] = "the regions were read without their resident bytes (detail maps)"
    give_faults(found)
    minor = left(
        "minor",
        found.minor,
        sum(change.minor or 0 for change in changes),
        "not measured by region (detail maps)"
        if not measured
        else "faults that left no page more: reads of the zero page, first writes after them or "
        "after fork(2), pages given back in between, page tables",
    )
    major = left(
        "major",
        found.major,
        sum(change.major or 0 for change in changes),
        "the kernel does not tell which file's pages were read",
    )
    return Remainder(vsz, rss, minor, major, why)


def give_faults(found: Diff) -> None:
    """Tells faults by the pages that came. Of a mirrored diff: by the pages that went."""
    minor, major = found.minor, found.major
    if minor is None or major is None:
        return
    page = found.before.regions.page_size
    for change in found._changes:
        change.minor = change.major = 0
    swapped = [
        (change, pages)
        for change in found._changes
        if (pages := came(-(change.swap or 0), major) // page) and came(change.rss or 0, major)
    ]
    share(swapped, major, "major")
    told = sum(change.major or 0 for change in found._changes)
    files = [c for c in found._changes if came(c.rss or 0, major) and is_file(c)]
    if major != told and len(files) == 1:
        files[0].major = (files[0].major or 0) + major - told
    anonymous: list[tuple[Change, int]] = []
    of_files: list[tuple[Change, int]] = []
    for change in found._changes:
        pages = (came(change.rss or 0, minor) + came(change.copied, minor)) // page
        if K.SHARING in change.kinds:
            pages = came(change.rss or 0, minor) // page
        huge = came(huge_bytes(change), minor)
        pages -= huge // page - huge // HUGE
        pages -= abs(change.major or 0)
        if pages > 0:
            (of_files if is_file(change) else anonymous).append((change, pages))
    rest = minor - share(anonymous, minor, "minor")
    share(of_files, rest, "minor")


HUGE = 2 << 20
"""A huge page of x86-64 and of 4 KiB pages elsewhere: one fault."""


def huge_bytes(change: Change) -> int:
    return (
        difference(total(change.before, "anon_huge_pages"), total(change.after, "anon_huge_pages"))
        or 0
    )


def is_file(change: Change) -> bool:
    """Whether its pages may come 16 at a fault (fault-around), as those of files do."""
    return bool(change.region.inode)


def came(value: int, sign: int) -> int:
    """How much came, or went where time runs backwards."""
    return max(0, value if sign > 0 else -value) if sign else 0


def share(asking: list[tuple[Change, int]], faults: int, field: str) -> int:
    """Gives each change as many faults as pages; where there are fewer faults, its part of them."""
    wanted = sum(pages for _, pages in asking)
    sign = 1 if faults > 0 else -1
    given = running = 0
    for change, pages in asking:
        running += pages
        upto = running if abs(faults) >= wanted else running * abs(faults) // wanted
        setattr(change, field, (getattr(change, field) or 0) + sign * (upto - given))
        given = upto
    return sign * given
