"""Snapshots of a process's memory, and the differences between them.

The modules, each importing only from those before it: heaps and moment (plain data), taking,
output, saved, cores, loading; comparison, parts, changes, causes, sums, diffs; snapshot. Process
makes snapshots and is built on this package.
"""

from __future__ import annotations

from procmem.snapshots.changes import Change, ChangeKind, Explanation
from procmem.snapshots.diffs import Remainder
from procmem.snapshots.heaps import ArenaSummary, HeapDiff, HeapSummary
from procmem.snapshots.moment import Clock, Identity, Kernel, Moment
from procmem.snapshots.parts import Cause
from procmem.snapshots.snapshot import Diff, Snapshot, diff, load
from procmem.snapshots.sums import CauseSum

__all__ = [
    "ArenaSummary",
    "Cause",
    "CauseSum",
    "Change",
    "ChangeKind",
    "Clock",
    "Diff",
    "Explanation",
    "HeapDiff",
    "HeapSummary",
    "Identity",
    "Kernel",
    "Moment",
    "Remainder",
    "Snapshot",
    "diff",
    "load",
]
