"""CPU time that may be used: a share of one CPU."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CpuAllowance"]

SAVED = 10.0
"""Seconds over which unused CPU time may be saved up."""


class CpuAllowance:
    """CPU time that may be used: a share of one CPU. Of what was not used, 10 s are saved up.

    Args:
        share: above 0.
        clock, cpu: the time, and the CPU time that counts against the share, in seconds.
    """

    def __init__(
        self,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self.share = share
        self._clock = clock
        self._cpu = cpu
        self.restart()

    def restart(self) -> None:
        """Forgets what was used so far."""
        self._cpu_began = self._cpu()
        # From this time on the share was earned; later than the start where much was not used.
        self._earning_since = self._clock()
        self._earned_before = 0.0

    @property
    def spent(self) -> float:
        """CPU seconds used so far."""
        return self._cpu() - self._cpu_began

    def debt(self) -> float:
        """Seconds until the CPU time so far is no more than the share; 0 or less: it is not."""
        now = self._clock()
        earned = self._earned_before + self.share * (now - self._earning_since)
        most = self.spent + self.share * SAVED
        if earned > most:
            self._earned_before, self._earning_since, earned = most, now, most
        return (self.spent - earned) / self.share
