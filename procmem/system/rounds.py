"""Reads chosen processes one after the other, again and again, at a bounded share of a CPU."""

from __future__ import annotations

import time
from typing import NamedTuple

from procmem.errors import AccessDenied, BadArgument, ProcmemError
from procmem.process import Process
from procmem.procfs import parse_statm, pids
from procmem.procfs.sweep import sweep
from procmem.regions.kinds import kind_word
from procmem.system.allowance import CpuAllowance
from procmem.system.pace import pages_and_more
from procmem.system.processes import MachineProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from procmem.regions.region import MeasuredRegion

__all__ = ["LeftOut", "ProcessChoice", "Rounds", "Sizes", "UseReading", "printable_label"]

FIRST_GUESS = 400e-9
"""CPU seconds for a resident page until a process was read: smaps of pages that are mapped once."""

WORTH_A_MEASURE = 1024
"""Resident pages from which a reading says what a page costs."""


class Sizes(NamedTuple):
    """Sums over some regions, in bytes. None: the kernel does not show it.

    Attributes:
        rss, pss, uss, swap: as of MeasuredRegion.
    """

    rss: int
    pss: int | None
    uss: int | None
    swap: int | None


class UseReading(NamedTuple):
    """One process as it was read last.

    Attributes:
        pid, start_time: which process it is.
        name, user: as of MachineProcess.
        uses: its memory by kind and use, both as tables show them: with "?" if it is a guess.
        taken_at: when it was read, by the clock of the Rounds.
    """

    pid: int
    start_time: int
    name: str
    user: str
    uses: dict[tuple[str, str], Sizes]
    taken_at: float


class LeftOut(NamedTuple):
    """Processes of which there is no reading, for one reason.

    Attributes:
        reason: "budget": too expensive for the share of a CPU, or not reached yet; "stall": its
            own mmap calls might wait too long; "denied": this user may not read it.
        processes: how many there are.
        rss: what they have in memory, in bytes, which is known of all.
    """

    reason: str
    processes: int
    rss: int


REASONS = ("budget", "stall", "denied")


class ProcessChoice(NamedTuple):
    """Which processes are chosen: those that fit one of each kind that is given.

    Attributes:
        names: as `procmem top` shows them: the command, of an interpreter the script.
        users: names or numbers of users.
        groups: control groups as /proc/PID/cgroup shows them, those below included; or services
            and containers as `procmem top --by service` shows them.
    """

    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def takes(self, process: MachineProcess) -> bool:
        """Whether a process is chosen."""
        if self.names and not {process.name, process.comm} & {*self.names}:
            return False
        if self.users and not {process.user, str(process.uid)} & {*self.users}:
            return False
        if not self.groups:
            return True
        path, service = process.cgroup or "", process.service
        return any(
            group == service or path == group or path.startswith(f"{group.rstrip('/')}/")
            for group in self.groups
        )


class Rounds:
    """Reads chosen processes in rounds, and keeps the last reading of each.

    A round lists all processes, takes those that are chosen, and reads smaps of one after the
    other, those whose reading is oldest first. After each it rests until all CPU time so far is no
    more than the share. What can't be read often enough is left out, and counted.

    Args:
        choice: which processes.
        share: the share of one CPU that it may use, above 0; 1: no rests.
        every: seconds from the start of one round to the next, at least.
        max_age: seconds after which a reading is no longer shown.
        max_stall: seconds; a process that would have to wait longer for its own mmap calls while
            it is read, judging by its size, is left out. None: none is.
        root: see Process.
        clock, cpu: the time, and the CPU time that counts against the share, in seconds.

    Attributes:
        spent: CPU seconds used so far.
        rounds: how many were finished.
        round_seconds: how long the last one took; None: none was finished.

    Raises:
        BadArgument: a number is out of range.
    """

    def __init__(
        self,
        choice: ProcessChoice | None = None,
        *,
        share: float = 0.02,
        every: float = 15.0,
        max_age: float = 300.0,
        max_stall: float | None = None,
        root: str = "/proc",
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        if not 0 < share <= 1:
            raise BadArgument("share must be above 0 and at most 1")
        if not 0 < every < 1e9 or not 0 < max_age < 1e9:
            raise BadArgument("every and max_age must be seconds above 0")
        if max_stall is not None and not max_stall > 0:
            raise BadArgument("max_stall must be seconds above 0")
        self.choice = choice or ProcessChoice()
        self.share = share
        self.every = every
        self.max_age = max_age
        self.max_stall = max_stall
        self.root = root
        self.rounds = 0
        self.round_seconds: float | None = None
        self._clock = clock
        self._cpu = cpu
        self._allowance = CpuAllowance(share, clock, cpu)
        self._readings: dict[tuple[int, int], UseReading] = {}
        self._left_out: dict[tuple[int, int], tuple[str, int]] = {}
        self._queue: list[MachineProcess] = []
        self._round_began: float | None = None
        self._per_page = FIRST_GUESS

    @property
    def spent(self) -> float:
        """CPU seconds used so far."""
        return self._allowance.spent

    def turn(self) -> float:
        """Does the next piece of work: begins a round, or reads a process.

        Returns:
            The seconds until the next turn.

        Raises:
            Unsupported: root is no /proc.
        """
        now = self._clock()
        if not self._queue:
            if self._round_began is not None:
                rest = self._round_began + self.every - now
                if rest > 0:
                    return rest
            self._begin(now)
        elif self._queue:
            self._read(self._queue.pop())
        if not self._queue and self._round_began is not None:
            self.rounds += 1
            self.round_seconds = self._clock() - self._round_began
            return max(self._allowance.debt(), self._round_began + self.every - self._clock(), 0.0)
        return max(self._allowance.debt(), 0.0)

    def _begin(self, now: float) -> None:
        """Lists the processes."""
        self._round_began = now
        chosen = []
        for pid in pids(self.root):
            found = sweep(pid, self.root, None)
            if found is None or not found.statm or not parse_statm(found.statm).size:
                continue  # it has ended, or has no memory
            process = MachineProcess(found, None, root=self.root)
            if self.choice.takes(process):
                chosen.append(process)
        alive = {key_of(process) for process in chosen}
        self._readings = {key: one for key, one in self._readings.items() if key in alive}
        self._left_out = {}
        # The last is read first: processes without a reading, then the oldest readings.
        chosen.sort(key=lambda process: -self._taken_at(process))
        for process in chosen:
            if key_of(process) not in self._readings:
                self._left_out[key_of(process)] = ("budget", process.rss or 0)
        self._queue = chosen

    def _taken_at(self, process: MachineProcess) -> float:
        reading = self._readings.get(key_of(process))
        return float("-inf") if reading is None else reading.taken_at

    def _read(self, process: MachineProcess) -> None:
        """Reads one process, or leaves it out."""
        key, rss = key_of(process), process.rss or 0
        about = sweep(process.pid, self.root, "status")
        pages, more = pages_and_more(b"" if about is None else about.text)
        expected = pages * self._per_page + more
        if self.max_stall is not None and expected > self.max_stall:
            self._leave_out(key, "stall", rss)
            return
        if expected > self.share * self.max_age:
            self._leave_out(key, "budget", rss)
            return
        begun = self._cpu()
        try:
            with Process(process.pid, root=self.root) as live:
                ended = live.start_time != process.start_time
                uses = {} if ended else uses_of(live.smaps())
        except AccessDenied:
            self._leave_out(key, "denied", rss)
            return
        except (ProcmemError, OSError):
            ended, uses = True, {}
        if ended:
            self._readings.pop(key, None)
            self._left_out.pop(key, None)
            return
        if pages >= WORTH_A_MEASURE:
            self._per_page = max(0.0, self._cpu() - begun - more) / pages
        self._left_out.pop(key, None)
        self._readings[key] = UseReading(
            process.pid,
            process.start_time,
            process.name,
            process.user,
            uses,
            self._clock(),
        )

    def _leave_out(self, key: tuple[int, int], reason: str, rss: int) -> None:
        self._readings.pop(key, None)
        self._left_out[key] = (reason, rss)

    @property
    def readings(self) -> list[UseReading]:
        """The processes that were read within max_age, by PID."""
        oldest = self._clock() - self.max_age
        found = [one for one in list(self._readings.values()) if one.taken_at >= oldest]
        return sorted(found, key=lambda one: one.pid)

    @property
    def oldest_age(self) -> float | None:
        """The age of the oldest of `readings` in seconds; None: there are none."""
        taken = [one.taken_at for one in self.readings]
        return max(self._clock() - min(taken), 0.0) if taken else None

    @property
    def left_out(self) -> list[LeftOut]:
        """The chosen processes of which there is no reading, by reason; each reason once."""
        oldest = self._clock() - self.max_age
        listed = list(self._left_out.values())
        listed += [
            ("budget", sum(sizes.rss for sizes in one.uses.values()))
            for one in list(self._readings.values())
            if one.taken_at < oldest
        ]
        return [
            LeftOut(
                reason,
                sum(why == reason for why, _ in listed),
                sum(rss for why, rss in listed if why == reason),
            )
            for reason in REASONS
        ]


def key_of(process: MachineProcess) -> tuple[int, int]:
    """What identifies a process."""
    return process.pid, process.start_time


def uses_of(regions: Iterable[MeasuredRegion]) -> dict[tuple[str, str], Sizes]:
    """The memory of a process by kind and use; kinds and uses without any are left out."""
    found: dict[tuple[str, str], Sizes] = {}
    for region in regions:
        if region.rss or region.swap:
            use = "" if region.use is None else region.use.name + "?" * region.use.guess
            key = (kind_word(region), use)
            mine = (region.rss, region.pss, region.uss, region.swap)
            before = found.get(key, (0, 0, 0, 0))
            found[key] = Sizes._make(map(plus, before, mine))
    return found


def plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def printable_label(text: str) -> str:
    r"""A name as valid UTF-8: bytes that are not any are shown as \xff.

    >>> printable_label("caf\udce9")
    'caf\\xe9'
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
