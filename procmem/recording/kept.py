"""The last snapshots of a process that is being followed, packed, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque

from procmem.recording.packed import PackedSnapshots, figures_of
from procmem.snapshots.saved import FRAME, frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.recording.packed import SnapshotFigures
    from procmem.snapshots import Snapshot

__all__ = ["KeptSnapshots"]

BESIDES = 1000
"""Bytes of a snapshot's figures, and of what Python needs to keep it."""


class KeptSnapshots:
    """Snapshots that are added one after the other; the oldest are dropped where memory is short.

    Each has a number, from 0, which it keeps when others are dropped. One thread may add while
    others read.

    Args:
        most: bytes that they may take, packed. The last one is kept in any case.

    Attributes:
        first: the number of the oldest that is kept.
        size: bytes that all take now.
    """

    def __init__(self, most: int = 64 << 20) -> None:
        self.most = most
        self.first = 0
        self.size = 0
        self._packed: deque[bytes] = deque()
        self._figures: deque[SnapshotFigures] = deque()
        self._last: Snapshot | None = None
        self._lock = threading.Lock()

    @property
    def end(self) -> int:
        """The number after that of the last one."""
        return self.first + len(self._packed)

    def add(self, snapshot: Snapshot) -> int:
        """Keeps a snapshot; returns its number."""
        packed = frame(snapshot, quick=True)[FRAME.size :]
        figures = figures_of(snapshot)
        with self._lock:
            self._packed.append(packed)
            self._figures.append(figures)
            self._last = snapshot
            self.size += len(packed) + BESIDES
            while self.size > self.most and len(self._packed) > 1:
                self.size -= len(self._packed.popleft()) + BESIDES
                self._figures.popleft()
                self.first += 1
            return self.end - 1

    def snapshot(self, number: int) -> Snapshot:
        """A snapshot by its number.

        Raises:
            IndexError: it is not kept.
        """
        with self._lock:
            if not self.first <= number < self.end:
                raise IndexError(number)
            if number == self.end - 1 and self._last is not None:
                return self._last
            packed = self._packed[number - self.first]
        return PackedSnapshots([packed], "<kept>")[0]

    def figures(self) -> tuple[int, list[SnapshotFigures]]:
        """The number of the first that is kept, and the figures of all."""
        with self._lock:
            return self.first, list(self._figures)
