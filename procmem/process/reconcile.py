"""Compares the totals that the kernel gives for a process with each other."""

from __future__ import annotations

import os
from typing import NamedTuple

from procmem.errors import AccessDenied, Unsupported
from procmem.process.reading import read_maps, read_residency, read_rollup, read_smaps
from procmem.procfs import parse_status
from procmem.procfs.probes import counters_lag, has_pagemap_scan, rss_bound
from procmem.procfs.text import parse_stat, parse_statm
from procmem.procfs.totals import MemoryUsage, usage_from_status

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from procmem.procfs import ProcessFiles
    from procmem.regions import Counters, MeasuredRegion, Region, RegionTable, ResidentRegion

__all__ = ["Comparison", "Reconciliation", "reconcile"]

ATTEMPTS = 4
"""Readings of a process whose memory changes meanwhile; the last one is reported."""

PARTS = ("Private_Clean", "Private_Dirty", "Shared_Clean", "Shared_Dirty")
"""The parts of Rss: mapped by this process alone or by others, too; written or not."""

CAUSES = {
    "gate": "[vsyscall] is listed as a region, but is in the kernel's half: VmSize leaves it out",
    "truncated pss": "each region's share is cut to whole KiB before the sum; smaps_rollup "
    "adds up first",
    "approximate stat": "rss in stat is the kernel's quick counter, which lags by up to a batch of "
    "pages per CPU",
    "approximate counters": "this kernel keeps VmRSS in counters that lag by up to a batch of "
    "pages per CPU or thread; smaps walks the page table",
    "shared swap": "VmSwap counts private memory only; smaps counts swapped shared memory too",
    "locked": "Locked in smaps is the process's share (Pss) of what is resident; VmLck is the "
    "size of the locked regions",
    "hugetlb": "huge pages of hugetlbfs are counted separately, and are in no Rss",
    "zero page": "without PAGEMAP_SCAN the zero page and hugetlbfs count as resident",
    "sharing": "another process began or stopped mapping the same pages between the two readings",
    "moved": "the process changed its memory between two readings",
}
"""Each cause in words."""


class Comparison(NamedTuple):
    """Two totals that should be equal, and why they are not.

    Attributes:
        left, right: what was compared, in the kernel's names.
        left_value, right_value: bytes.
        cause: a key of CAUSES; None if they are equal, or if no known cause accounts for the
            whole difference.
    """

    left: str
    left_value: int
    right: str
    right_value: int
    cause: str | None

    @property
    def difference(self) -> int:
        """The left value minus the right one, in bytes."""
        return self.left_value - self.right_value

    @property
    def explained(self) -> bool:
        """Whether they are equal, or the difference has a known cause."""
        return not self.difference or self.cause is not None

    @property
    def why(self) -> str:
        """The cause in words; empty if they are equal."""
        if not self.difference:
            return ""
        return CAUSES[self.cause] if self.cause else "unexplained"


class Reconciliation:
    """The totals of one process, compared with each other.

    Attributes:
        pid: the process's ID.
        comparisons: each pair of totals.
        unavailable: what could not be read, with the reason.
        moved: whether the process changed between the readings, in all attempts.
        memory: its MemoryUsage.
        maps: its regions; None if they could not be read.
    """

    def __init__(
        self,
        pid: int,
        comparisons: list[Comparison],
        unavailable: dict[str, str],
        *,
        moved: bool,
        memory: MemoryUsage,
        maps: RegionTable[Region] | None,
    ) -> None:
        self.pid = pid
        self.comparisons = comparisons
        self.unavailable = unavailable
        self.moved = moved
        self.memory = memory
        self.maps = maps

    @property
    def explained(self) -> bool:
        """Whether every difference has a known cause."""
        return not self.unexplained

    @property
    def unexplained(self) -> list[Comparison]:
        """The differences without a known cause."""
        return [comparison for comparison in self.comparisons if not comparison.explained]

    def __repr__(self) -> str:
        open_ = len(self.unexplained)
        return (
            f"<Reconciliation of {self.pid}: {len(self.comparisons)} comparisons, "
            f"{open_} unexplained>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: each pair of totals, the difference and its cause."""
        from procmem.picture.markup import block, facts, kib, signed_kib, table

        equal = sum(not one.difference for one in self.comparisons)
        said = (
            f"{len(self.comparisons)} comparisons: {equal} equal, "
            f"{len(self.comparisons) - equal - len(self.unexplained)} differ for a known cause, "
            f"{len(self.unexplained)} unexplained."
        )
        rows = [
            [
                one.left,
                kib(one.left_value),
                one.right,
                kib(one.right_value),
                signed_kib(one.difference) if one.difference else "=",
                one.why,
            ]
            for one in self.comparisons
        ]
        heading = ["Total", "KiB", "against", "KiB", "Difference", "Why"]
        parts: list[str] = [said, table(heading, rows, "<><>><")]
        if self.moved:
            parts.append("The process changed during every attempt.")
        if self.unavailable:
            parts += ["Not read:", facts(self.unavailable.items())]
        return block(f"Totals of process {self.pid}", *parts)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "pid": self.pid,
            "moved": self.moved,
            "explained": self.explained,
            "comparisons": [
                {
                    **comparison._asdict(),
                    "difference": comparison.difference,
                    "explained": comparison.explained,
                    "why": comparison.why,
                }
                for comparison in self.comparisons
            ],
            "unavailable": self.unavailable,
            "memory": self.memory._asdict(),
        }


class Readings:
    """All totals of one process, read within a short time."""

    def __init__(self, files: ProcessFiles, page_size: int) -> None:
        self.unavailable: dict[str, str] = {}
        self.page_size = page_size
        before = self.cheap(files)
        self.maps: RegionTable[Region] | None = self.attempt("maps", lambda: read_maps(files))
        self.smaps: RegionTable[MeasuredRegion] | None = self.attempt(
            "smaps", lambda: read_smaps(files)
        )
        self.rollup: Counters | None = self.attempt("smaps_rollup", lambda: read_rollup(files))
        self.residency: RegionTable[ResidentRegion] | None = self.attempt(
            "pagemap", lambda: read_residency(files)
        )
        self.status, self.stat, self.statm = self.cheap(files)
        old_status, _, old_statm = before
        self.moved = (
            vars_of(old_statm) != vars_of(self.statm)
            or usage_from_status(old_status) != usage_from_status(self.status)
            or any(t is not None and not t.consistent for t in (self.maps, self.smaps))
            or (
                self.maps is not None
                and self.smaps is not None
                and not same_places(self.maps, self.smaps)
            )
        )
        self.memory = usage_from_status(self.status)

    def state(self) -> tuple[Any, ...]:
        """Figures that stay the same in a process that does nothing."""
        regions = [table for table in (self.maps, self.smaps, self.residency) if table is not None]
        return (
            self.memory,
            vars_of(self.statm),
            *([(region.start, region.end) for region in table] for table in regions),
            *(table.total("rss") for table in (self.smaps, self.residency) if table is not None),
            None if self.rollup is None else self.rollup.rss,
        )

    def cheap(self, files: ProcessFiles) -> tuple[dict[str, str], Any, Any]:
        def read(name: str) -> bytes:
            return files.read(files.memory_name(name))

        while True:
            status = self.attempt("status", lambda: parse_status(read("status"))) or {}
            if "VmSize" in status or not files.is_live:
                break
            files.explain_empty()
        stat = self.attempt("stat", lambda: parse_stat(read("stat")))
        statm = self.attempt("statm", lambda: parse_statm(read("statm")))
        return status, stat, statm

    def attempt(self, name: str, read: Callable[[], Any]) -> Any:
        try:
            value = read()
        except (AccessDenied, Unsupported) as error:
            self.unavailable[name] = str(error)
            return None
        self.unavailable.pop(name, None)
        return value


def vars_of(statm: Any) -> tuple[int, ...] | None:
    return None if statm is None else (statm.size, statm.resident, statm.shared, statm.data)


def same_places(maps: RegionTable[Any], smaps: RegionTable[Any]) -> bool:
    return [(r.start, r.end) for r in maps] == [(r.start, r.end) for r in smaps]


def reconcile(files: ProcessFiles) -> Reconciliation:
    """Reads all totals of a process and compares them."""
    page_size = os.sysconf("SC_PAGESIZE")
    states = []
    for _ in range(ATTEMPTS):
        readings = Readings(files, page_size)
        comparisons = compare(readings)
        if not readings.moved and all(comparison.explained for comparison in comparisons):
            break
        states.append(readings.state())
    else:
        # Memory that is mapped and unmapped in turn may be the same before and after a reading, but
        # not every time.
        if not readings.moved and any(state != states[0] for state in states):
            readings.moved = True
            comparisons = compare(readings)
    return Reconciliation(
        files.pid,
        comparisons,
        readings.unavailable,
        moved=readings.moved,
        memory=readings.memory,
        maps=readings.maps,
    )


GATES = ("[vsyscall]", "[vectors]")
"""The region that get_gate_vma() adds on some architectures (mm/memory.c)."""


def compare(readings: Readings) -> list[Comparison]:
    """All comparisons of totals that could be read."""
    found: list[Comparison] = []
    moved = "moved" if readings.moved else None
    memory, maps, smaps = readings.memory, readings.maps, readings.smaps
    rollup, page = readings.rollup, readings.page_size
    lag = rss_bound(1 if readings.stat is None else readings.stat.num_threads)

    def add(
        left: str,
        left_value: int | None,
        right: str,
        right_value: int | None,
        cause: str | None = None,
        *,
        holds: bool = True,
        or_else: str | None = None,
    ) -> None:
        if left_value is not None and right_value is not None:
            told = cause if holds else or_else
            if left_value == right_value:
                told = None
            found.append(
                Comparison(
                    left,
                    left_value,
                    right,
                    right_value,
                    told or (moved if left_value != right_value else None),
                )
            )

    def total(table: RegionTable[Any] | None, field: str) -> int | None:
        return None if table is None or not len(table) else table.total(field)

    def within(a: int | None, b: int | None, bound: int) -> bool:
        return a is not None and b is not None and abs(a - b) <= bound

    size = total(maps, "size")
    gate = sum(r.size for r in maps or () if r.pathname in GATES)
    add(
        "Σ maps",
        size,
        "VmSize (status)",
        memory.vsz,
        "gate",
        holds=size is not None and memory.vsz is not None and size - memory.vsz == gate,
    )
    add("Σ smaps Size", total(smaps, "Size"), "Σ maps", size)
    if readings.statm is not None:
        add("size (statm)", readings.statm.size * page, "VmSize (status)", memory.vsz)
    if readings.stat is not None:
        add("vsize (stat)", readings.stat.vsize, "VmSize (status)", memory.vsz)

    parts = (memory.rss_anon, memory.rss_file, memory.rss_shmem)
    if None not in parts:
        add(
            "RssAnon + RssFile + RssShmem", sum(p or 0 for p in parts), "VmRSS (status)", memory.rss
        )
    rss = total(smaps, "rss")
    if readings.statm is not None:
        resident = readings.statm.resident * page
        add(
            "resident (statm)",
            resident,
            "VmRSS (status)",
            memory.rss,
            "approximate counters",
            holds=within(resident, memory.rss, lag) and counters_lag(),
        )
    if readings.stat is not None:
        quick = readings.stat.rss * page
        add(
            "rss (stat)",
            quick,
            "VmRSS (status)",
            memory.rss,
            "approximate stat",
            holds=within(quick, memory.rss, lag),
        )
    exact = rollup.rss if rollup else rss
    add(
        "VmRSS (status)",
        memory.rss,
        "Rss (smaps_rollup)",
        exact,
        "approximate counters",
        holds=within(memory.rss, exact, lag) and counters_lag(),
    )
    add(
        "RssAnon (status)",
        memory.rss_anon,
        "Σ smaps Anonymous",
        total(smaps, "anonymous"),
        "approximate counters",
        holds=within(memory.rss_anon, total(smaps, "anonymous"), lag) and counters_lag(),
    )
    if smaps is not None and rss is not None:
        states = [
            total(smaps, f)
            for f in ("shared_clean", "shared_dirty", "private_clean", "private_dirty")
        ]
        if None not in states:
            add("Σ smaps Shared_* + Private_*", sum(s or 0 for s in states), "Σ smaps Rss", rss)
    walked = total(readings.residency, "rss")
    add(
        "Σ residency (pagemap)",
        walked,
        "Σ smaps Rss",
        rss,
        "zero page",
        holds=walked is not None and rss is not None and walked > rss and not has_pagemap_scan(),
    )

    if rollup is not None:
        add("Σ smaps Rss", rss, "Rss (smaps_rollup)", rollup.rss)
        regions = len(smaps) if smaps is not None else 0
        # Other processes decide which pages are shared, and with how many: that changes without
        # this process, but by no more than is mapped, and the sum of all four stays the same.
        split = [(total(smaps, field), rollup.get(field)) for field in PARTS]
        ours = [left for left, _ in split if left is not None]
        theirs = [right for _, right in split if isinstance(right, int)]
        regrouped = len(ours) == len(theirs) == len(PARTS) and sum(ours) == sum(theirs)
        bounds = {
            "Pss": rss,
            "Pss_Dirty": rss,
            "SwapPss": total(smaps, "swap"),
            "Locked": memory.locked,
        }
        for field in ("Pss", "Pss_Dirty", "SwapPss", "Locked"):
            whole = rollup.get(field)
            cut = total(smaps, field)
            if isinstance(whole, int) and cut is not None:
                add(
                    f"Σ smaps {field}",
                    cut,
                    f"{field} (smaps_rollup)",
                    whole,
                    "truncated pss",
                    holds=0 <= whole - cut < 1024 * regions,
                    or_else="sharing" if within(whole, cut, bounds[field] or 0) else None,
                )
        for field in ("Swap", *PARTS):
            whole = rollup.get(field)
            if isinstance(whole, int):
                add(
                    f"Σ smaps {field}",
                    total(smaps, field),
                    f"{field} (smaps_rollup)",
                    whole,
                    "sharing",
                    holds=regrouped and field in PARTS,
                )
        shares = (rollup.pss_anon, rollup.pss_file, rollup.pss_shmem)
        if rollup.pss is not None and None not in shares:
            added = sum(s or 0 for s in shares)
            add(
                "Pss_Anon + Pss_File + Pss_Shmem",
                added,
                "Pss (smaps_rollup)",
                rollup.pss,
                "truncated pss",
                holds=0 <= rollup.pss - added < 3 * 1024,
            )

    swap = total(smaps, "swap")
    shared = None
    if smaps is not None:
        shared = sum(r.swap or 0 for r in smaps if r.inode)
    add(
        "Σ smaps Swap",
        swap,
        "VmSwap (status)",
        memory.swap,
        "shared swap",
        holds=swap is not None
        and memory.swap is not None
        and shared is not None
        and 0 < swap - memory.swap <= shared,
    )
    add("Σ residency swap", total(readings.residency, "swap"), "VmSwap (status)", memory.swap)
    locked = total(smaps, "locked")
    add(
        "Σ smaps Locked",
        locked,
        "VmLck (status)",
        memory.locked,
        "locked",
        holds=locked is not None and memory.locked is not None and locked < memory.locked,
    )
    huge = [total(smaps, f) for f in ("shared_hugetlb", "private_hugetlb")]
    if None not in huge:
        add("Σ smaps *_Hugetlb", sum(h or 0 for h in huge), "HugetlbPages (status)", memory.hugetlb)
    return found
