"""Process: the memory of one process.

The modules below it are functions of the files in /proc: reading, pages, tables, sections, symbols,
facts, arenas, stacks, reconcile. Built on it: finding. doctor stands alone.
"""

from __future__ import annotations

from procmem.process.process import Process, Share, Sharers, SharingProcess, processes
from procmem.procfs.totals import Faults, MemoryUsage
from procmem.regions.threads import Thread

__all__ = [
    "Faults",
    "MemoryUsage",
    "Process",
    "Share",
    "Sharers",
    "SharingProcess",
    "Thread",
    "processes",
]
