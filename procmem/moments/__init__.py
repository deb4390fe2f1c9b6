"""Moments: what a process's memory was at one, and what lies between two.

Nothing here knows Process, which gives out snapshots: it stands above.
"""

from __future__ import annotations

from procmem.moments.causes import Explanation
from procmem.moments.diffs import Change, ChangeKind, Diff, Remainder, diff
from procmem.moments.loading import load
from procmem.moments.parts import Cause
from procmem.moments.snapshot import Clock, Identity, Kernel, Snapshot
from procmem.moments.sums import CauseSum

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
