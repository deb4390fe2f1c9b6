"""Moments: what a process's memory was at one, and what lies between two.

Nothing here knows Process, which gives out snapshots: it stands above.
"""

from __future__ import annotations

from procmem.moments.causes import Cause, Explanation
from procmem.moments.diffs import Change, ChangeKind, Diff, Remainder, diff
from procmem.moments.loading import load
from procmem.moments.snapshot import Clock, Identity, Kernel, Snapshot

__all__ = [
    "Cause",
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
