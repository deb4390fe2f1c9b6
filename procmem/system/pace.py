"""Keeps a reading of many processes at a share of one CPU."""

from __future__ import annotations

import time

__all__ = ["Pace"]

SHORTEST = 0.002
"""Seconds: shorter rests are saved up, since a sleep takes at least as long as waking up."""


class Pace:
    """Rests between pieces of work, so that all work takes a share of one CPU.

    Args:
        share: above 0; 1 or more: no rests.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._began = time.monotonic()
        self._used = time.thread_time()

    def rest(self) -> None:
        """Sleeps until the work done so far is no more than the share."""
        if self.share >= 1:
            return
        spent = time.thread_time() - self._used
        ahead = spent / self.share - (time.monotonic() - self._began)
        if ahead >= SHORTEST:
            time.sleep(ahead)
