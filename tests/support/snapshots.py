"""What tests of snapshots share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import procmem
from procmem import (
    Cause,
    ChangeKind,
    Diff,
    Faults,
    MeasuredRegion,
    RegionTable,
    Snapshot,
    parse_smaps,
)
from procmem.snapshots.moment import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem import Process
    from procmem.experiments import Specimen


def same(one: Snapshot, other: Snapshot) -> None:
    """Equal in all that equality looks at, and in the kinds, names and bytes of the regions."""
    assert one == other
    assert one.regions.to_dict() == other.regions.to_dict()
    assert one.to_dict() == other.to_dict()
    assert procmem.format_maps(one.regions) == procmem.format_maps(other.regions)


def mapped(s: Specimen, pages: int) -> Any:
    return s.mmap(pages=pages).mapping


def own_figures(table: RegionTable[MeasuredRegion]) -> list[object]:
    """What others that map the same files don't change."""
    shared = ("Pss", "Shared", "Private", "Referenced")
    return [
        (
            region.line(),
            region.vm_flags,
            [it for it in region.counters.items() if not it[0].startswith(shared)],
        )
        for region in table
    ]


K = ChangeKind


def table(*regions: MeasuredRegion) -> Snapshot:
    """A snapshot of regions made by hand."""
    lines = []
    for region in regions:
        lines.append(region.line())
        for name, value in region.counters.items():
            if name != "Size":
                lines.append(f"{name}: {int(value) // 1024} kB".encode())
        if region.vm_flags is not None:
            lines.append(b"VmFlags: " + str(region.vm_flags).encode())
    identity = Identity(7, 7, "boot", "x", None, ())
    return Snapshot(
        parse_smaps(b"".join(line + b"\n" for line in lines)),
        faults=Faults(0, 0),
        identity=identity,
    )


def anon(start: int, pages: int, perms: str = "rw-p", rss: int = 0, **more: Any) -> MeasuredRegion:
    at = 0x1000_0000 + start * 4096
    return MeasuredRegion(at, at + pages * 4096, perms, Rss=rss * 4096, **more)


def of_file(start: int, pages: int, offset: int = 0, **more: Any) -> MeasuredRegion:
    at = 0x1000_0000 + start * 4096
    more = {"inode": 5, "pathname": "/data", "dev": (8, 1), **more}
    more["Rss"] = more.pop("rss", 0) * 4096
    return MeasuredRegion(at, at + pages * 4096, "r--p", offset * 4096, **more)


def kinds(found: Diff) -> list[list[str]]:
    return [[kind.value for kind in change.kinds] for change in found.changes]


def accounts(found: Diff) -> None:
    """What each diff must hold, whatever happened."""
    changes = found.changes
    left = found.remainder
    assert sum(c.vsz for c in changes) + left.vsz == found.vsz
    assert sum(c.rss or 0 for c in changes) + left.rss == (found.rss or 0)
    if found.minor is not None:
        assert sum(c.minor or 0 for c in changes) + left.minor == found.minor
        assert sum(c.major or 0 for c in changes) + left.major == found.major
    assert all(left.why[name] for name in ("vsz", "rss", "minor", "major") if getattr(left, name))
    sums = found.causes
    assert sum(one.vsz for one in sums) == sum(change.vsz for change in changes)
    if None not in [one.rss for one in sums]:
        assert sum(one.rss or 0 for one in sums) == sum(change.rss or 0 for change in changes)
    assert {id(change) for one in sums for change in one.changes} == set(map(id, changes))
    assert all(one.words and one.evidence for one in sums)
    for change in changes:
        assert change.kinds
        assert change.why
        assert change.evidence
        assert isinstance(change.cause, Cause)
        if K.MOVED not in change.kinds:
            gained = sum(end - start for start, end in change.gained)
            assert gained - sum(end - start for start, end in change.lost) == change.vsz
    told = [change for one in found.explanations for change in one.changes]
    assert sorted(map(id, told)) == sorted(map(id, changes))


FIGURES = (
    "vsz", "rss", "swap", "copied", "unshared", "minor", "major", "anon_huge_pages", "lazy_free",
    "ksm", "hugetlb",
)  # fmt: skip


PAIRS = (
    (K.MAPPED, K.UNMAPPED),
    (K.GROWN, K.SHRUNK),
    (K.SPLIT, K.MERGED),
    (K.TOUCHED, K.DROPPED),
)


MIRROR = dict(PAIRS) | {other: one for one, other in PAIRS}


def mirrored(one: Diff, other: Diff) -> None:
    assert (one.vsz, one.rss, one.minor) == tuple(
        None if v is None else -v for v in (other.vsz, other.rss, other.minor)
    )
    assert len(one.changes) == len(other.changes)
    mirror = {(change.after, change.before): change for change in other.changes}
    for a in one.changes:
        b = mirror[a.before, a.after]
        assert {MIRROR.get(kind, kind) for kind in a.kinds} == set(b.kinds)
        assert (a.before, a.after, a.gained, a.lost) == (b.after, b.before, b.lost, b.gained)
        for name in FIGURES:
            value = getattr(a, name)
            assert getattr(b, name) == (None if value is None else -value)


def change_of(process: Process, do: Callable[[], Any]) -> Diff:
    before = process.snapshot()
    do()
    found = process.snapshot() - before
    accounts(found)
    return found
