"""What the screen is fed by: readings of the machine and of an open process, one at a time."""

from __future__ import annotations

import time
from collections import deque

from procmem.errors import ProcmemError
from procmem.screen.opened import FollowedProcess
from procmem.screen.work import ScreenWorker
from procmem.system.allowance import CpuAllowance
from procmem.system.following import KeptFrames, MachineFollower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem.system.following import MachineFrame

__all__ = ["SHARE", "ScreenEngine"]

SHARE = 0.05
"""The share of one CPU that the screen uses, drawing included, unless another is asked for."""

SHOW_EVERY = 1.0
"""Seconds between two frames that are shown while a round goes on."""

FIRST_EVERY = 0.2
"""The same in the first round, while most processes are missing."""

OPENED_PART = 0.5
"""The part of the share for a process that is open, so that the list of processes goes on, too."""

MEASURED = 10.0
"""Seconds over which the CPU share is measured."""


class ScreenEngine:
    """Reads the machine, and the process that is open, in one thread within a share of a CPU.

    All CPU time of this process counts, so that drawing is paid for, too. The first round, and the
    first snapshot of a process, are read at once, whatever they cost: later readings wait for it.

    Args:
        share: the share of one CPU.
        root: as for Process.
        every: seconds from one round over all processes to the next, at least.
        max_stall: as for machine().
        most: bytes that each of the kept frames and the kept snapshots may take.
        changed: called in the reading thread when there is something new.
        failed: called there with an error that ended it.
        follows: whether the processes of the machine are read.

    Attributes:
        frames: the rounds that are kept.
        now: the machine as it is known now, in the middle of a round, too; None: not read yet.
        opened: the process that is open; None: none is.
        by: what groups have in common for which control groups are read; empty: they are not.
    """

    def __init__(
        self,
        *,
        share: float = SHARE,
        root: str = "/proc",
        every: float = 2.0,
        max_stall: float | None = None,
        most: int = 64 << 20,
        changed: Callable[[], object] = lambda: None,
        failed: Callable[[BaseException], object] = lambda _error: None,
        follows: bool = True,
    ) -> None:
        self.share = share
        self.root = root
        self.most = most
        self.changed = changed
        self.frames = KeptFrames(most)
        self.now: MachineFrame | None = None
        self.opened: FollowedProcess | None = None
        self.allowance = CpuAllowance(share)
        self.follower = MachineFollower(root=root, every=every, max_stall=max_stall)
        self.follows = follows
        self.failed = failed
        self._reader = ScreenWorker("procmem-read", self._fail, self.turn)
        self._builder = ScreenWorker("procmem-build", self._fail)
        self._shown_at = float("-inf")
        self._used: deque[tuple[float, float]] = deque()

    # ---- called by the screen ----

    def start(self) -> None:
        """Starts the threads."""
        self.allowance.restart()
        self._reader.start()
        self._builder.start()

    def stop(self, patience: float | None = None) -> None:
        """Ends the threads, after the current reading.

        Args:
            patience: seconds to wait for that; None: as long as it takes.
        """
        self._builder.stop(patience)
        self._reader.stop(patience)
        opened, self.opened = self.opened, None
        if opened is not None:
            opened.close()

    def build(self, name: str, job: Callable[[], object], *, reads: bool = False) -> None:
        """Has something computed in a thread.

        Args:
            name: jobs of the same name take each other's place.
            job: what to do.
            reads: whether it may read processes: then it waits for its turn.
        """
        (self._reader if reads else self._builder).submit(name, job)

    def open(self, pid: int, start_time: int | None, name: str) -> FollowedProcess:
        """Follows a process, instead of the one that was open."""
        self.leave()
        self.opened = FollowedProcess(
            pid,
            start_time,
            name,
            root=self.root,
            share=min(1.0, self.share * OPENED_PART),
            most=self.most,
        )
        self._reader.wake()
        return self.opened

    def leave(self) -> None:
        """Follows no process."""
        opened, self.opened = self.opened, None
        if opened is not None:
            self.build("close", opened.close, reads=True)

    def read_cgroups(self, reads: bool) -> None:
        """Whether the control group of each process is read from now on."""
        self.follower.reads_cgroups = reads

    def read_heap(self) -> None:
        """Reads the heap of the open process."""
        opened = self.opened
        if opened is not None:

            def job() -> None:
                opened.read_heap()
                self.changed()

            self.build("heap", job, reads=True)

    @property
    def used(self) -> float | None:
        """The share of one CPU that was used in the last seconds; None: not measured yet."""
        now = time.monotonic(), time.process_time()
        self._used.append(now)
        while self._used[0][0] < now[0] - MEASURED and len(self._used) > 2:
            self._used.popleft()
        passed = now[0] - self._used[0][0]
        return (now[1] - self._used[0][1]) / passed if passed > 1 else None

    def _fail(self, error: BaseException) -> None:
        self.failed(error)

    # ---- the reading thread ----

    def turn(self) -> float:
        """Reads on: the open process if it is due, otherwise the next processes of the round.

        Returns:
            The seconds until the next turn.
        """
        opened = self.opened
        is_first = opened is not None and opened.live and not opened.end
        debt = self.allowance.debt()
        first_round = self.follows and not self.follower.rounds
        if debt > 0 and not is_first and not first_round:
            return debt
        rests = []
        if opened is not None:
            end, live = opened.end, opened.live
            rests.append(opened.turn())
            if opened.end != end or opened.live != live:
                self.changed()
        if self.follows:
            rests.append(self._read_on())
        return max(min(rests, default=float("inf")), 0.0)

    def _read_on(self) -> float:
        rounds = self.follower.rounds
        try:
            rest = self.follower.turn()
        except ProcmemError as error:
            self.follows = False
            self.failed(error)
            return float("inf")
        now = time.monotonic()
        if self.follower.rounds > rounds:
            frame = self.follower.frame()
            if frame is not None:
                self.now = self.frames.add(frame)
                self._show(now)
        elif rest == 0 and now - self._shown_at >= (SHOW_EVERY if rounds else FIRST_EVERY):
            self.now = self.follower.frame() or self.now
            self._show(now)
        return rest

    def _show(self, now: float) -> None:
        self._shown_at = now
        self.changed()
