"""Takes a Moment of a process: regions, totals, threads, clocks and identity, read together."""

from __future__ import annotations

import os
import time

from procmem.procfs import boot_id, probes
from procmem.procfs.totals import Faults, MemoryUsage, read_status, usage_from_status
from procmem.regions.region import PAGE_SIZE
from procmem.snapshots.moment import Clock, Identity, Kernel, Moment, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from procmem.procfs import ProcessFiles
    from procmem.regions import RegionTable
    from procmem.regions.threads import Thread

__all__ = ["moment_of"]

ATTEMPTS = 2
"""Readings of a process whose memory changes meanwhile; the last one is kept, with `moved` set."""


def moment_of(
    files: ProcessFiles,
    read: Callable[[], RegionTable[Any]],
    threads: Callable[[RegionTable[Any]], list[Thread]] | None,
) -> Moment:
    """The memory of a process now.

    Args:
        files: the process.
        read: reads its regions.
        threads: reads its threads, and finds their stacks in the given table; None: leave
            them out.

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

    # Reading itself always changes this process's own memory.
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
    return Moment(
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
    """What the clocks show now."""
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


def kernel(files: ProcessFiles) -> Kernel:
    """This kernel, with the features that it was found to have."""
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
