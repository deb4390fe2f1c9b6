"""Moments: what a process's memory was at one, and what lies between two.

Nothing here knows Process, which gives out snapshots: it stands above.
"""

from __future__ import annotations

from procmem.snapshots.causes import Explanation
from procmem.snapshots.diffs import Change, ChangeKind, Diff, Remainder, diff
from procmem.snapshots.loading import load
from procmem.snapshots.parts import Cause
from procmem.snapshots.snapshot import Clock, Identity, Kernel, Snapshot
from procmem.snapshots.sums import CauseSum

__all__ = [
    "Cause",
    "CauseSum",
    "Change",
    "ChangeKind",
    "Clock",
    "Diff",
    "Explanation",
    "Identity",
    "Kernel",
    "Remainder",
    "Snapshot",
    "diff",
    "load",
]
