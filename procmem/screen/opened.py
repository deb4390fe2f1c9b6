"""One process of the screen: followed live, or replayed from a recording."""

from __future__ import annotations

import threading
import time

from procmem.errors import AccessDenied, NoSuchProcess, ProcessError, ProcmemError
from procmem.process import Process
from procmem.recording.kept import KeptSnapshots
from procmem.recording.recorder import Recorder
from procmem.snapshots import diff
from procmem.view.recording import change_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.heap.heap import Heap
    from procmem.procfs.totals import MemoryUsage
    from procmem.recording.recording import Recording
    from procmem.snapshots import Snapshot

__all__ = ["EVERY", "FollowedProcess", "OpenedProcess", "ReplayedProcess"]

EVERY = 0.5
"""Seconds from one check of an open process to the next, at least."""

UNWRAPPED = 1 << 20
"""Cells of a line that the screen wraps to its own width."""

MOST_LINES = 1000
"""Changes whose lines are kept."""


class OpenedProcess:
    """Snapshots of one process by their numbers, with the changes between them.

    Attributes:
        name: what the process is called.
        pid: its ID; None: not known.
        live: whether more snapshots may come.
        ended: why no more will come, in words; empty if that is not known.
    """

    def __init__(self, name: str, pid: int | None, *, live: bool) -> None:
        self.name = name
        self.pid = pid
        self.live = live
        self.ended = ""
        self._lines: dict[int, list[str]] = {}
        self._loaded: tuple[int, Snapshot] | None = None

    @property
    def first(self) -> int:
        """The number of the oldest snapshot that is kept."""
        raise NotImplementedError

    @property
    def end(self) -> int:
        """The number after that of the last snapshot."""
        raise NotImplementedError

    def read(self, number: int) -> Snapshot:
        """A snapshot by its number.

        Raises:
            IndexError: it is not kept.
            ParseError: the file is damaged there.
        """
        raise NotImplementedError

    def series(self, number: int, count: int) -> tuple[list[float | None], list[int | None]]:
        """Times since the first snapshot in seconds, and RSS, of the last snapshots up to one."""
        raise NotImplementedError

    def snapshot(self, number: int) -> Snapshot:
        """As read(); the last one that was asked for is kept."""
        loaded = self._loaded
        if loaded is None or loaded[0] != number:
            loaded = self._loaded = number, self.read(number)
        return loaded[1]

    def changes(self, number: int) -> list[str]:
        """What changed since the snapshot before, with causes, in lines; empty: nothing is known.

        Raises:
            IndexError, ParseError: as of read().
        """
        lines = self._lines.get(number)
        if lines is None:
            if number <= self.first:
                return []
            change = diff(self.read(number - 1), self.snapshot(number))
            lines = change_lines(change, UNWRAPPED).splitlines() if change else []
            self._keep_lines(number, lines)
        return lines

    def _keep_lines(self, number: int, lines: list[str]) -> None:
        self._lines[number] = lines
        if len(self._lines) > MOST_LINES:
            del self._lines[min(self._lines)]


class ReplayedProcess(OpenedProcess):
    """A recording.

    Args:
        recording: it has at least one snapshot.
    """

    def __init__(self, recording: Recording) -> None:
        identity = recording[0].identity
        super().__init__(identity.comm or "?", identity.pid, live=False)
        self.recording = recording
        self.ended = recording.ended
        self._times = recording.times
        self._values = recording.values("rss")

    @property
    def first(self) -> int:
        """0."""
        return 0

    @property
    def end(self) -> int:
        """How many snapshots it has."""
        return len(self.recording)

    def read(self, number: int) -> Snapshot:
        """A snapshot of the recording."""
        if not 0 <= number < self.end:
            raise IndexError(number)
        return self.recording[number]

    def series(self, number: int, count: int) -> tuple[list[float | None], list[int | None]]:
        """The recording's own figures."""
        part = slice(max(0, number + 1 - count), number + 1)
        return self._times[part], self._values[part]

    def number_at(self, seconds: float) -> int:
        """The number of the last snapshot that was taken until a time since the first."""
        found = [at for at, when in enumerate(self._times) if when is None or when <= seconds]
        return max(found, default=0)

    def time_of(self, number: int) -> float | None:
        """Seconds from the first snapshot to one."""
        return self._times[number]


class FollowedProcess(OpenedProcess):
    """A live process, read by a Recorder. All that reads it is called by one thread.

    Args:
        pid: its ID.
        start_time: when it started, in clock ticks since boot: it is opened only if it is the same.
            None: whichever has this ID.
        name: what it is called.
        root: as for Process.
        share: the share of one CPU that it may use.
        most: bytes that kept snapshots may take.

    Attributes:
        failed: why it can't be read, in words; empty: it can.
        totals: its sizes by /proc/PID/status, if its regions can't be read.
        checked_at: when it was checked last, by CLOCK_MONOTONIC.
        heap: its heap as it was read last by read_heap(); None: it was not.
        heap_number: the number of the snapshot that was the last one then.
        heap_failed: why it can't be read.
    """

    def __init__(
        self,
        pid: int,
        start_time: int | None,
        name: str,
        *,
        root: str = "/proc",
        share: float = 0.025,
        most: int = 64 << 20,
    ) -> None:
        super().__init__(name, pid, live=True)
        self.start_time = start_time
        self.root = root
        self.share = share
        self.kept = KeptSnapshots(most)
        self.failed = ""
        self.totals: MemoryUsage | None = None
        self.heap: Heap | None = None
        self.heap_number = -1
        self.heap_failed = ""
        self._recorder: Recorder | None = None
        self._process: Process | None = None
        self.checked_at = time.monotonic()
        self._due = 0.0
        self._closed = threading.Event()

    @property
    def first(self) -> int:
        """The number of the oldest snapshot that is kept."""
        return self.kept.first

    @property
    def end(self) -> int:
        """The number after that of the last snapshot."""
        return self.kept.end

    def read(self, number: int) -> Snapshot:
        """A snapshot that is kept."""
        return self.kept.snapshot(number)

    def series(self, number: int, count: int) -> tuple[list[float | None], list[int | None]]:
        """Figures of what is kept."""
        first, figures = self.kept.figures()
        part = figures[max(0, number + 1 - count - first) : number + 1 - first]
        clocks = [one.monotonic for one in part]
        start = figures[0].monotonic if figures else None
        times = [None if one is None or start is None else (one - start) / 1e9 for one in clocks]
        return times, [one.rss for one in part]

    # ---- called by the reading thread ----

    def turn(self) -> float:
        """Checks the process, and keeps a snapshot if it has changed.

        Returns:
            The seconds until the next turn is due; infinite: it has ended, or can't be read.
        """
        if not self.live or self._closed.is_set():
            return float("inf")
        try:
            if self._recorder is None:
                self._begin()
            elif (rest := self._due - time.monotonic()) > 0:
                return rest
            else:
                self._check(self._recorder)
        except (ProcmemError, OSError) as error:
            self._fail(error)
            return float("inf")
        self.checked_at = time.monotonic()
        recorder = self._recorder
        if recorder is None or not self.live:
            return float("inf")
        self._due = time.monotonic() + recorder.rest
        return recorder.rest

    def _begin(self) -> None:
        process = self._process = Process(self.pid, root=self.root)
        if self.start_time not in (None, process.start_time):
            raise NoSuchProcess(process.pid, "it has ended, and its PID is another's now")
        self._recorder = Recorder(process, every=EVERY, share=self.share, keep=False)
        self._keep(self._recorder.last)

    def _check(self, recorder: Recorder) -> None:
        try:
            found = recorder.turn()
        except ProcessError as error:
            ended = recorder.why_ended(error)
            if ended:
                self.live, self.ended = False, ended
            return
        if found is not None:
            before = self.kept.snapshot(self.kept.end - 1)
            number = self._keep(found)
            change = diff(before, found)
            self._keep_lines(number, change_lines(change, UNWRAPPED).splitlines() if change else [])

    def _keep(self, snapshot: Snapshot) -> int:
        if len(snapshot.regions):
            # Read now: whoever shows the regions must not have to.
            snapshot.regions[0].kind  # noqa: B018 - finds all kinds
        self.name = snapshot.identity.comm or self.name
        return self.kept.add(snapshot)

    def _fail(self, error: Exception) -> None:
        self.live, self.failed = False, str(error)
        if isinstance(error, AccessDenied) and self._process is not None:
            try:
                self.totals = self._process.memory()
            except (ProcmemError, OSError):
                self.totals = None

    def read_heap(self) -> None:
        """Reads what malloc and Python hold, whatever that costs."""
        if self._process is None:
            return
        try:
            self.heap = self._process.heap()
            self.heap_number, self.heap_failed = self.kept.end - 1, ""
        except (ProcmemError, OSError) as error:
            self.heap_failed = str(error)

    def close(self) -> None:
        """Closes the files of the process."""
        self._closed.set()
        if self._recorder is not None:
            self._recorder.close()
        if self._process is not None:
            self._process.close()
