"""Snapshot: everything that is told of a process's memory at one moment."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from procmem.procfs import probes
from procmem.procfs.files import TICKS
from procmem.procfs.totals import Faults, MemoryUsage, read_status, usage_from_status
from procmem.regions.region import PAGE_SIZE
from procmem.snapshots.output import replacing
from procmem.units import kib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from procmem.procfs import ProcessFiles
    from procmem.regions import RegionTable
    from procmem.regions.threads import Thread
    from procmem.snapshots.diffs import Diff

__all__ = ["DETAILS", "Clock", "Identity", "Kernel", "Snapshot", "take"]

DETAILS = {"maps": "Region", "residency": "ResidentRegion", "smaps": "MeasuredRegion"}
"""What can be asked of the regions, and the type that each gives."""

ATTEMPTS = 2
"""Readings of a process that moves; the last one is kept, and says so (`moved`)."""

KERNEL_HALF = 1 << 63
"""VmSize leaves out what lies above: [vsyscall]."""


class Clock(NamedTuple):
    """When a snapshot was taken: nanoseconds of three clocks (clock_gettime(2)).

    Attributes:
        realtime: CLOCK_REALTIME, since 1970. Somebody may set it.
        monotonic: CLOCK_MONOTONIC: for the time between two snapshots.
        boottime: CLOCK_BOOTTIME: since boot, suspended time included.
    """

    realtime: int
    monotonic: int
    boottime: int


class Identity(NamedTuple):
    """Whose memory it is. None where it is not told.

    Attributes:
        pid: the process's ID.
        start_time: clock ticks from boot to its start.
        boot_id: of the boot that both count from.
        comm: its command name.
        exe: the path of its executable.
        cmdline: its arguments.
        inode: of its directory in /proc. The kernel numbers it anew for each process, and for
            the same one if it was not used for long: equal numbers are one process.
    """

    pid: int | None = None
    start_time: int | None = None
    boot_id: str | None = None
    comm: str | None = None
    exe: str | None = None
    cmdline: tuple[str, ...] | None = None
    inode: int | None = None


class Kernel(NamedTuple):
    """The kernel that told it.

    Attributes:
        release, machine: as uname(2) has them.
        page_size: in bytes.
        features: what was found of what decides how exact figures are.
        rss_error: bytes by which VmRSS and its parts may be off; 0: they are exact; None: not
            told.
    """

    release: str
    machine: str
    page_size: int
    features: tuple[str, ...]
    rss_error: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """The memory of a process at one moment. Immutable. `after - before` is a Diff.

    Attributes:
        regions: the regions, at the chosen detail.
        memory: the kernel's totals in bytes; None: not told (a text of maps, a core).
        faults: page faults so far; None likewise.
        threads: the threads with their stacks; None likewise.
        clock: when; None for what was saved by others.
        identity: whose.
        kernel: which; None for what was saved by others.
        moved: whether the process allocated, gave back or faulted while it was read:
            figures of this snapshot may then tell of slightly different moments.
        unavailable: what could not be read, each with its reason.
        source: where it came from.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "unavailable", MappingProxyType(dict(self.unavailable)))

    @property
    def detail(self) -> str:
        """What is told of each region: "maps", "residency" or "smaps"."""
        kind = self.regions._kind.__name__
        return next(detail for detail, name in DETAILS.items() if name == kind)

    @property
    def vsz(self) -> int:
        """The size of the address space in bytes: VmSize, else the sum of the regions."""
        if self.memory is not None and self.memory.vsz is not None:
            return self.memory.vsz
        return sum(region.size for region in self.regions if region.start < KERNEL_HALF)

    @property
    def rss(self) -> int | None:
        """Bytes in memory; None: not told.

        VmRSS where the kernel keeps that exactly. Elsewhere the sum of the regions, which comes
        from the page table; with detail "maps" VmRSS after all: see rss_error.
        """
        told = None if self.memory is None else self.memory.rss
        if self.detail != "maps" and (told is None or not self._keeps_count):
            return self.regions.total("rss")
        return told

    @property
    def rss_error(self) -> int | None:
        """Bytes by which rss may be off; 0: it is exact; None: not known."""
        if self._keeps_count or self.detail != "maps" or self.rss is None:
            return 0
        return None if self.kernel is None else self.kernel.rss_error

    @property
    def _keeps_count(self) -> bool:
        """Whether VmRSS is exact; that is not known of files that others saved."""
        return self.kernel is not None and "exact VmRSS" in self.kernel.features

    @property
    def swap(self) -> int | None:
        """Bytes in swap (VmSwap); None: not told."""
        return None if self.memory is None else self.memory.swap

    @property
    def page_tables(self) -> int | None:
        """Bytes of page tables (VmPTE); None: not told."""
        return None if self.memory is None else self.memory.page_tables

    def same_process(self, other: Snapshot) -> bool | None:
        """Whether both are of one process; None: it can't be told."""
        mine, theirs = self.identity, other.identity
        if mine.pid is None or theirs.pid is None:
            return None
        if mine.pid != theirs.pid:
            return False
        # Cores tell no start time.
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

    def __sub__(self, before: Snapshot) -> Diff:
        """What changed from `before` to this one; see Diff."""
        if not isinstance(before, Snapshot):
            return NotImplemented
        from procmem.snapshots.diffs import diff

        return diff(before, self)

    def __repr__(self) -> str:
        rss = "" if self.rss is None else f", RSS {kib(self.rss)}"
        of = "" if self.identity.pid is None else f" of process {self.identity.pid}"
        return f"<Snapshot{of}: {len(self.regions)} regions, VSZ {kib(self.vsz)}{rss}>"

    def __getstate__(self) -> dict[str, Any]:
        return self.to_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        from procmem.snapshots.saved import from_dict

        self.__dict__.update(from_dict(state).__dict__)

    # ---- saved ------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        from procmem.snapshots.saved import to_dict

        return to_dict(self)

    def to_json(self, indent: int | None = None) -> str:
        """All of it as JSON; from_json() gives it back without loss."""
        import json

        return json.dumps(self.to_dict(), indent=indent)

    @staticmethod
    def from_json(text: str | bytes) -> Snapshot:
        """The snapshot that to_json() wrote.

        Raises:
            ParseError: the text is no such snapshot.
        """
        from procmem.snapshots.saved import from_json

        return from_json(text)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes it to a file: as JSON if its name ends in .json, else compressed.

        The file is replaced when all is written; if that fails, what was there stays.

        Args:
            path: the file. One that holds snapshots or a recording is overwritten.
            force: overwrite any other file, too; follow a symbolic link, and write to what is
                no regular file.

        Raises:
            FileExistsError: another's file, a link, a FIFO or a device is there.
            OSError
        """
        from procmem.snapshots.saved import save_all

        if os.fspath(path).endswith(".json"):
            with replacing(path, force=force) as file:
                file.write((self.to_json() + "\n").encode("utf-8"))
        else:
            save_all([self], path, force=force)

    @staticmethod
    def load(path: str | os.PathLike[str], number: int | None = None) -> Snapshot:
        """The snapshot in a file or saved tree, or one of several; see procmem.load()."""
        from procmem.snapshots.loading import load

        return load(path, number)

    @staticmethod
    def save_all(
        snapshots: Iterable[Snapshot], path: str | os.PathLike[str], *, force: bool = False
    ) -> None:
        """Writes many to one compressed file, in their order.

        Args:
            snapshots: those.
            path: as for save().
            force: likewise.

        Raises:
            FileExistsError, OSError: as for save().
        """
        from procmem.snapshots.saved import save_all

        save_all(snapshots, path, force=force)

    @staticmethod
    def load_all(path: str | os.PathLike[str]) -> list[Snapshot]:
        """All snapshots of a file, in their order.

        Raises:
            ParseError: it is damaged, or no such file.
            OSError
        """
        from procmem.snapshots.loading import load_all

        return load_all(path)


# ---- taking one ------------------------------------------------------------------


def take(
    files: ProcessFiles,
    read: Callable[[], RegionTable[Any]],
    threads: Callable[[RegionTable[Any]], list[Thread]] | None,
) -> Snapshot:
    """A snapshot of a process.

    Args:
        files: the process.
        read: reads its regions.
        threads: reads its threads; their stacks lie in the given table.

    Raises:
        NoSuchProcess, ZombieProcess, KernelThread, AccessDenied, ProcessChanged
    """
    live = files.is_live
    unavailable: dict[str, str] = {}

    def asked(name: str, call: Callable[[], Any]) -> Any:
        """A saved tree may lack any file; of a live process an error is an error."""
        from procmem.errors import ParseError, Unsupported

        if live:
            return call()
        try:
            return call()
        except (Unsupported, ParseError) as error:
            unavailable[name] = str(error)
            return None

    def totals() -> tuple[MemoryUsage | None, Faults | None]:
        memory = asked("memory", lambda: usage_from_status(read_status(files)))
        stat = asked("faults", files.stat)
        return memory, None if stat is None else Faults(stat.minflt, stat.majflt)

    # This process moves whenever it reads itself.
    attempts = 1 if files.pid == os.getpid() or not live else ATTEMPTS
    for _ in range(attempts):
        before = totals()
        table = read()
        clock = now() if live else None
        after = totals()
        if before == after:
            break
    found = None
    if threads is not None:
        found = asked("threads", lambda: tuple(threads(table)))
    memory, faults = after
    return Snapshot(
        table,
        memory,
        faults,
        found,
        clock,
        identity_of(files, table, asked),
        kernel(files) if live else None,
        before != after,
        unavailable,
        files.path,
    )


def now() -> Clock:
    """The clocks of this moment."""
    return Clock(time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def identity_of(
    files: ProcessFiles,
    table: RegionTable[Any],
    asked: Callable[[str, Callable[[], Any]], Any],
) -> Identity:
    stat = asked("faults", files.stat)
    cmdline = asked("cmdline", lambda: files.read(files.memory_name("cmdline")))
    return Identity(
        files.pid,
        files.start_time,
        boot_id() if files.is_live else None,
        None if stat is None else text(stat.comm),
        table.exe,
        None if cmdline is None else tuple(map(text, cmdline.split(b"\0")[:-1])),
        files.inode if files.is_live else None,
    )


def text(raw: bytes) -> str:
    """Bytes of the kernel as a string that gives them back (PEP 383)."""
    return raw.decode("utf-8", "surrogateescape")


def boot_id() -> str | None:
    """The ID of this boot; None: it can't be read."""
    from procmem.procfs import system_file

    raw = system_file("sys/kernel/random/boot_id")
    return None if raw is None else text(raw).strip()


def kernel(files: ProcessFiles) -> Kernel:
    """This kernel, by what it was found to do."""
    uname = os.uname()
    found = {
        "PAGEMAP_SCAN": probes.has_pagemap_scan(),
        "PROCMAP_QUERY": probes.has_procmap_query(),
        "soft-dirty bits": probes.has_soft_dirty(),
        "guard pages in pagemap": probes.shows_guard_pages(),
        "exact VmRSS": not probes.counters_lag(),
    }
    here = tuple(name for name, is_here in found.items() if is_here)
    error = probes.rss_error(files.stat().num_threads) if probes.counters_lag() else 0
    return Kernel(uname.release, uname.machine, PAGE_SIZE, here, error)
