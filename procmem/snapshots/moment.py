"""Moment: all that is known of a process's memory at one time; plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from procmem.procfs.files import TICKS
from procmem.units import kib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from procmem.procfs.totals import Faults, MemoryUsage
    from procmem.regions import RegionTable
    from procmem.regions.threads import Thread
    from procmem.snapshots.heaps import HeapSummary

__all__ = ["DETAILS", "Clock", "Identity", "Kernel", "Moment", "text"]

DETAILS = {"maps": "Region", "residency": "ResidentRegion", "smaps": "MeasuredRegion"}
"""How much may be read of each region, and the class of the regions for each."""

KERNEL_HALF = 1 << 63
"""Addresses from here on are the kernel's: VmSize does not count [vsyscall], which is there."""


class Clock(NamedTuple):
    """When a snapshot was taken: nanoseconds of three clocks (clock_gettime(2)).

    Attributes:
        realtime: CLOCK_REALTIME, since 1970. It jumps when somebody sets it.
        monotonic: CLOCK_MONOTONIC, for the time between two snapshots.
        boottime: CLOCK_BOOTTIME: since boot, suspended time included.
    """

    realtime: int
    monotonic: int
    boottime: int


class Identity(NamedTuple):
    """The process that a snapshot is of. None: not known.

    Attributes:
        pid: the process's ID.
        start_time: when it started, in clock ticks since boot (proc_pid_stat(5)).
        boot_id: the ID of that boot (random(4)).
        comm: its command name.
        exe: the path of its executable.
        cmdline: its arguments.
        inode: of its directory in /proc. The kernel gives a new number to each process, and to
            the same process if its directory was not used for long; so equal numbers mean one
            process, and different numbers mean nothing.
    """

    pid: int | None = None
    start_time: int | None = None
    boot_id: str | None = None
    comm: str | None = None
    exe: str | None = None
    cmdline: tuple[str, ...] | None = None
    inode: int | None = None


class Kernel(NamedTuple):
    """The kernel that the figures come from.

    Attributes:
        release, machine: as in uname(2).
        page_size: in bytes.
        features: those of the kernel's features that decide how exact figures are and that it
            was found to have.
        rss_error: bytes by which VmRSS, its parts and VmSwap may be off; 0: they are exact; None:
            not known.
    """

    release: str
    machine: str
    page_size: int
    features: tuple[str, ...]
    rss_error: int | None = None


@dataclass(frozen=True, repr=False)
class Moment:
    """The memory of a process at one time. Immutable.

    Attributes:
        regions: the regions, at the chosen detail.
        memory: the kernel's totals in bytes; None: not known (a file of maps alone, a core).
        faults: page faults since the process started; None likewise.
        threads: the threads with their stacks; None likewise.
        clock: when it was taken; None for files that other tools saved.
        identity: the process.
        kernel: the kernel; None for files that other tools saved.
        moved: whether the process mapped, freed or touched memory while it was read: the figures
            may then belong to slightly different times.
        unavailable: what could not be read, each with the reason.
        source: where it was read from.
        heap: what malloc and Python held; None: it was not asked for, or could not be read.
    """

    regions: RegionTable[Any]
    memory: MemoryUsage | None = None
    faults: Faults | None = None
    threads: tuple[Thread, ...] | None = None
    clock: Clock | None = None
    identity: Identity = field(default_factory=Identity)
    kernel: Kernel | None = None
    moved: bool = False
    unavailable: Mapping[str, str] = field(default_factory=dict, hash=False)
    source: str = "<made by hand>"
    heap: HeapSummary | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "unavailable", MappingProxyType(dict(self.unavailable)))

    @property
    def detail(self) -> str:
        """How much was read of each region: "maps", "residency" or "smaps"."""
        kind = self.regions.region_type.__name__
        return next(detail for detail, name in DETAILS.items() if name == kind)

    @property
    def vsz(self) -> int:
        """The size of the address space in bytes: VmSize, else the sum of the regions."""
        if self.memory is not None and self.memory.vsz is not None:
            return self.memory.vsz
        return sum(region.size for region in self.regions if region.start < KERNEL_HALF)

    @property
    def rss(self) -> int | None:
        """Bytes in memory; None: not known.

        VmRSS where the kernel keeps that exactly. Elsewhere the sum of the regions, which is
        counted from the page table; with detail "maps", which has no such sum, VmRSS after all:
        see rss_error.
        """
        counter = None if self.memory is None else self.memory.rss
        if self.detail != "maps" and (counter is None or not self._keeps_count):
            return self.regions.total("rss")
        return counter

    @property
    def rss_error(self) -> int | None:
        """Bytes by which rss may be off; 0: it is exact; None: not known."""
        if self._keeps_count or self.detail != "maps" or self.rss is None:
            return 0
        return None if self.kernel is None else self.kernel.rss_error

    @property
    def _keeps_count(self) -> bool:
        """Whether VmRSS is exact, which is not known of files that other tools saved."""
        return self.kernel is not None and "exact VmRSS" in self.kernel.features

    @property
    def swap(self) -> int | None:
        """Bytes in swap (VmSwap); None: not known."""
        return None if self.memory is None else self.memory.swap

    @property
    def page_tables(self) -> int | None:
        """Bytes of page tables (VmPTE); None: not known."""
        return None if self.memory is None else self.memory.page_tables

    def same_process(self, other: Moment) -> bool | None:
        """Whether both are of one process; None: not known."""
        mine, theirs = self.identity, other.identity
        if mine.pid is None or theirs.pid is None:
            return None
        if mine.pid != theirs.pid:
            return False
        # Cores have no start time.
        if mine.start_time is None or theirs.start_time is None:
            return None
        if mine.start_time != theirs.start_time:
            return False
        if mine.boot_id is None or theirs.boot_id is None:
            return None
        if mine.boot_id != theirs.boot_id:
            return False
        if mine.inode is None or theirs.inode is None or mine.inode == theirs.inode:
            return True
        # A later process with this PID began after the first snapshot: with the same start time
        # only if that was taken in the tick in which its process began.
        clocks = [one.clock.boottime for one in (self, other) if one.clock is not None]
        seen = min(clocks, default=0) * TICKS // 1_000_000_000
        return True if seen >= mine.start_time + 2 else None

    def __repr__(self) -> str:
        rss = "" if self.rss is None else f", RSS {kib(self.rss)}"
        of = "" if self.identity.pid is None else f" of process {self.identity.pid}"
        name = type(self).__name__
        return f"<{name}{of}: {len(self.regions)} regions, VSZ {kib(self.vsz)}{rss}>"


def text(raw: bytes) -> str:
    """Bytes from the kernel as a string that can be encoded back to them (PEP 383)."""
    return raw.decode("utf-8", "surrogateescape")
