"""Process: what a user holds."""

from __future__ import annotations

from procmem.process.features import Feature, doctor
from procmem.process.process import Process, processes
from procmem.process.reconcile import Comparison, Reconciliation
from procmem.process.usage import Faults, MemoryUsage, Thread

__all__ = [
    "Comparison",
    "Faults",
    "Feature",
    "MemoryUsage",
    "Process",
    "Reconciliation",
    "Thread",
    "doctor",
    "processes",
]
