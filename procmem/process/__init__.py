"""Process: what a user holds.

What few users need is imported from its own module: features (doctor) and
reconcile.
"""

from __future__ import annotations

from procmem.moments.usage import Faults, MemoryUsage, Thread
from procmem.process.process import Process, processes

__all__ = ["Faults", "MemoryUsage", "Process", "Thread", "processes"]
