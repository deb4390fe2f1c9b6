"""The processes of the machine followed through time: read in rounds, the last rounds kept."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from typing import NamedTuple

from procmem.procfs import pids
from procmem.system.machine import Machine, Stalls
from procmem.system.memory import read_sums

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem.system.memory import KernelSums
    from procmem.system.processes import MachineProcess

__all__ = ["KeptFrames", "MachineFollower", "MachineFrame"]


class MachineFrame(NamedTuple):
    """The machine as it was known at one time.

    Attributes:
        machine: its processes, each as it was read last.
        taken_at: when each of them was read, by the clock of the follower, in their order.
        at: the time, by the same clock.
        realtime: the time, in seconds since 1970.
    """

    machine: Machine
    taken_at: tuple[float, ...]
    at: float
    realtime: float

    @property
    def oldest(self) -> float:
        """How many seconds before `at` the oldest reading was made."""
        return max(0.0, self.at - min(self.taken_at, default=self.at))

    def process(self, pid: int, start_time: int) -> MachineProcess | None:
        """A process by what identifies it; None: it is not there."""
        place = self.place(pid, start_time)
        return None if place is None else self.machine.processes[place]

    def place(self, pid: int, start_time: int) -> int | None:
        """The place of a process in the list."""
        processes = self.machine.processes
        at = bisect_left(processes, pid, key=lambda one: one.pid)
        if at < len(processes) and processes[at].pid == pid:
            return at if processes[at].start_time == start_time else None
        return None


class MachineFollower:
    """Reads all processes again and again, and keeps the last reading of each.

    A round lists the processes and reads one after the other, those first that were not read yet,
    then those whose reading is oldest. The caller makes the pauses.

    Args:
        root: as for Process.
        every: seconds from the start of one round to the next, at least.
        max_stall: as for machine().
        clock: the time in seconds.

    Attributes:
        rounds: how many rounds were finished.
        round_seconds: how long the last one took; None: none was finished.
        reads_cgroups: whether the control group of each process is read, too.
    """

    def __init__(
        self,
        *,
        root: str = "/proc",
        every: float = 2.0,
        max_stall: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self.every = every
        self.rounds = 0
        self.round_seconds: float | None = None
        self.reads_cgroups = False
        self._clock = clock
        self._stalls = Stalls(max_stall)
        self._readings: dict[int, tuple[MachineProcess, float]] = {}
        self._queue: list[int] = []
        self._began: float | None = None
        self._sums: KernelSums | None = None

    def turn(self, most: float = 0.05) -> float:
        """Reads on.

        Args:
            most: seconds after which it returns, when the process that it reads is read.

        Returns:
            The seconds until the next turn is due; 0: the round is not finished.

        Raises:
            Unsupported: root is no /proc.
        """
        begun = self._clock()
        if not self._queue:
            rest = 0.0 if self._began is None else self._began + self.every - begun
            if rest > 0:
                return rest
            self._begin(begun)
        while self._queue:
            self._read(self._queue.pop())
            if self._clock() - begun >= most:
                break
        if self._queue or self._began is None:
            return 0.0
        self._sums = read_sums(self.root)
        self.rounds += 1
        now = self._clock()
        self.round_seconds = now - self._began
        return max(0.0, self._began + self.every - now)

    def _begin(self, now: float) -> None:
        listed = pids(self.root)
        alive = set(listed)
        self._readings = {pid: one for pid, one in self._readings.items() if pid in alive}
        # The last is read first.
        self._queue = sorted(listed, key=lambda pid: (-self._taken_at(pid), -pid))
        if self._sums is None:
            self._sums = read_sums(self.root)
        self._began = now

    def _taken_at(self, pid: int) -> float:
        reading = self._readings.get(pid)
        return float("-inf") if reading is None else reading[1]

    def _read(self, pid: int) -> None:
        process = self._stalls.read(pid, self.root)
        if process is None:
            self._readings.pop(pid, None)
            return
        # Read now: whoever shows the processes must not have to.
        process.words  # noqa: B018 - read when they are first asked for
        if self.reads_cgroups:
            process.cgroups  # noqa: B018 - likewise
        self._readings[pid] = process, self._clock()

    def frame(self) -> MachineFrame | None:
        """What is known now; None: nothing was read yet."""
        if self._sums is None:
            return None
        listed = [reading for _, reading in sorted(self._readings.items())]
        machine = Machine([process for process, _ in listed], self._sums)
        return MachineFrame(machine, tuple(at for _, at in listed), self._clock(), time.time())


PROCESS_BYTES = 3200
"""What a MachineProcess takes, with its counters and names."""

REFERENCE_BYTES = 40
"""What a process takes in one more frame if its reading is an earlier one's."""


class KeptFrames:
    """The last frames; the oldest are dropped where memory is short.

    Each has a number, from 0, which it keeps when others are dropped. A process whose figures have
    not changed is kept once. One thread may add while others read.

    Args:
        most: bytes that they may take, estimated. The last one is kept in any case.

    Attributes:
        first: the number of the oldest that is kept.
        size: bytes that all take now, estimated.
    """

    def __init__(self, most: int = 64 << 20) -> None:
        self.most = most
        self.first = 0
        self.size = 0
        self._frames: deque[tuple[MachineFrame, int]] = deque()
        self._lock = threading.Lock()

    @property
    def end(self) -> int:
        """The number after that of the last one."""
        return self.first + len(self._frames)

    def add(self, frame: MachineFrame) -> MachineFrame:
        """Keeps a frame; returns it as it is kept."""
        kept, added = list(frame.machine.processes), 0
        last = self._frames[-1][0] if self._frames else None
        for place, process in enumerate(kept):
            before = None if last is None else last.process(process.pid, process.start_time)
            if before is not None and process.is_same_reading(before):
                kept[place] = before
            else:
                added += 1
        size = added * PROCESS_BYTES + len(kept) * REFERENCE_BYTES
        frame = frame._replace(machine=Machine(kept, frame.machine.sums))
        with self._lock:
            self._frames.append((frame, size))
            self.size += size
            while self.size > self.most and len(self._frames) > 1:
                self.size -= self._frames.popleft()[1]
                self.first += 1
        return frame

    def frame(self, number: int) -> MachineFrame:
        """A frame by its number.

        Raises:
            IndexError: it is not kept.
        """
        with self._lock:
            if not self.first <= number < self.end:
                raise IndexError(number)
            return self._frames[number - self.first][0]

    def last(self, number: int | None, count: int) -> list[MachineFrame]:
        """The last frames up to one, that included; None: up to the last."""
        with self._lock:
            end = self.end if number is None else min(number + 1, self.end)
            start = max(self.first, end - count)
            return [self._frames[place - self.first][0] for place in range(start, end)]
