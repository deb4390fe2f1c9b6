"""Process: what a user holds.

What few users need is imported from its own module: features (doctor) and
reconcile.
"""

from __future__ import annotations

from procmem.process.process import Process, processes
from procmem.procfs.totals import Faults, MemoryUsage
from procmem.regions.threads import Thread

__all__ = ["Faults", "MemoryUsage", "Process", "Thread", "processes"]
