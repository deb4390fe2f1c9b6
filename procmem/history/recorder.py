"""Recording a live process: snapshots at intervals, at a cost that is kept low."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from procmem.errors import (
    BadArgument,
    NoSuchProcess,
    ProcessChanged,
    Unsupported,
    ZombieProcess,
)
from procmem.history.recording import Recording
from procmem.moments import diff
from procmem.moments.saved import MAGIC, frame
from procmem.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from procmem.moments import Diff, Snapshot

__all__ = ["Recorder", "record", "watch"]

DETAILS = ("smaps", "residency", "maps")
"""The richest first."""


class Recorder:
    """Takes snapshots of a process whenever something has changed.

    At each turn it reads statm, stat and maps, which is cheap, and takes a snapshot only if
    they tell of a change: at the richest detail that keeps the recorder's own CPU time under
    `share` of a CPU. Where even the poorest costs more, turns are put off.

    A process that calls execve(2) is followed; when it ends, the recording ends.

    Args:
        process: what to record.
        every: seconds from turn to turn.
        path: a file that each snapshot is written to at once, so that nothing is lost if the
            recorder is killed; None: they are kept in memory alone.
        detail: "smaps", "residency", "maps", or "auto".
        share: of one CPU.
        keep: keep the snapshots for `recording`; None: if there is no path.

    Attributes:
        turns, taken: how often it looked, and how many snapshots it took.
        ended: why it ended, in words; empty while it runs.
        cost: CPU seconds that recording took.

    Raises:
        BadArgument, NoSuchProcess, AccessDenied, OSError (the file)
    """

    def __init__(
        self,
        process: Process,
        *,
        every: float = 0.1,
        path: str | os.PathLike[str] | None = None,
        detail: str = "auto",
        share: float = 0.02,
        keep: bool | None = None,
    ) -> None:
        if detail != "auto" and detail not in DETAILS:
            raise BadArgument(f"detail is auto, {', '.join(DETAILS)}, not {detail!r}")
        if not every > 0 or not 0 < share <= 1:
            raise BadArgument(
                "`every` is a number of seconds above 0, `share` lies above 0, up to 1"
            )
        self.process = process
        self.every = every
        self.share = share
        self.turns = self.taken = 0
        self.ended = ""
        self.cost = 0.0
        self.last: Snapshot | None = None
        self._details = DETAILS if detail == "auto" else (detail,)
        self._prices: dict[str, float] = {}
        self._seen: object = None
        self._kept: list[Snapshot] = []
        self._keep = path is None if keep is None else keep
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._path = path
        self._file: int | None = None
        # The first one is taken here, so that what can't be read is told at once.
        self._take()
        if path is not None:
            self._file = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666
            )
            os.write(self._file, MAGIC)
            if self.last is not None:
                self._write(self.last)

    # ---- turns -------------------------------------------------------------

    def turn(self) -> Snapshot | None:
        """Looks once; the snapshot if something has changed.

        Raises:
            NoSuchProcess, ZombieProcess: it has ended.
            OSError: the file can't be written.
        """
        begun = time.thread_time()
        self.turns += 1
        try:
            seen = self._glance()
            if seen == self._seen:
                return None
            found = self._take()
            self._seen = seen
            if found is not None:
                self._write(found)
            return found
        finally:
            self.cost += time.thread_time() - begun

    def _glance(self) -> object:
        """What changes whenever there is something to see."""
        files = self.process._files
        stat = files.stat()
        if stat.is_zombie:
            raise ZombieProcess(self.process.pid)
        name = files.memory_name("maps")
        return files.read("statm"), stat.minflt, stat.majflt, hash(files.read(name))

    def _take(self) -> Snapshot | None:
        """A snapshot at the richest detail that is cheap enough."""
        for detail in self._details:
            price = self._prices.get(detail)
            affordable = price is None or price <= self.share * self.every
            if not affordable and detail != self._details[-1]:
                # Tried again now and then: the process may have become smaller.
                self._prices[detail] = (price or 0) * 0.98
                continue
            begun = time.thread_time()
            try:
                found = self.process.snapshot(detail)
            except (ProcessChanged, Unsupported):
                continue
            finally:
                self._prices[detail] = time.thread_time() - begun
            self.last = found
            self.taken += 1
            if self._keep:
                self._kept.append(found)
            return found
        return None

    def _write(self, snapshot: Snapshot) -> None:
        if self._file is None:
            return
        begun = time.thread_time()
        data = memoryview(frame(snapshot))
        while data:
            data = data[os.write(self._file, data) :]
        self._prices[snapshot.detail] += time.thread_time() - begun

    def run(
        self,
        seconds: float | None = None,
        each: Callable[[Recorder, Snapshot | None], object] | None = None,
    ) -> Recording:
        """Records until the process ends, or for so many seconds, or until stop().

        Args:
            seconds: how long; None: until it ends.
            each: called at each turn with this and the snapshot, if one was taken.
        """
        start = time.monotonic()
        due = start
        while not self._stop.is_set():
            try:
                found = self.turn()
            except NoSuchProcess:
                self.ended = "the process has ended"
                break
            except ZombieProcess:
                self.ended = "the process has ended, and waits for its parent"
                break
            except ProcessChanged as changed:
                if changed.reason != "exec":
                    self.ended = "its PID was given to another process"
                    break
                found = None
            if each is not None:
                each(self, found)
            now = time.monotonic()
            # What was spent has to be waited off, if it was more than the share.
            due = max(due + self.every, start + self.cost / self.share if self.turns > 5 else 0)
            if due < now:
                due = now + self.every
            if seconds is not None and due - start >= seconds:
                self._stop.wait(max(0.0, start + seconds - now))
                self.ended = "the time is over"
                break
            if self._stop.wait(due - now):
                break
        if not self.ended:
            self.ended = "stopped"
        return self.recording

    # ---- in the background ---------------------------------------------------

    def start(self) -> Self:
        """Records in a thread of its own until stop()."""
        if self._thread is None:

            def work() -> None:
                try:
                    self.run()
                except BaseException as error:  # noqa: BLE001 - stop() raises it
                    self._failure = error

            self._thread = threading.Thread(target=work, name="procmem-record", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> Recording:
        """Ends it; what was recorded.

        Raises:
            OSError, AccessDenied: what ended it before.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.close()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return self.recording

    def close(self) -> None:
        """Closes the file. Harmless if that is done."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    @property
    def recording(self) -> Recording:
        """What was recorded so far."""
        if not self._keep and self._path is not None:
            found = Recording.load(self._path)
            found.ended = self.ended
            return found
        return Recording(self._kept, self.ended)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def record(
    pid: int | Process | None = None,
    *,
    every: float = 0.1,
    path: str | os.PathLike[str] | None = None,
    detail: str = "auto",
    share: float = 0.02,
) -> Recorder:
    """A recorder for a with statement: it records while the block runs; see Recorder.

    >>> import procmem
    >>> with procmem.record(every=0.01) as recorder:
    ...     memory = procmem.mmap(pages=1000)
    ...     faults = memory.touch()
    >>> recording = recorder.recording
    >>> recording.diff().vsz >= 0
    True

    Args:
        pid: a process; None: this one.
        every: seconds from turn to turn.
        path: a file to write to; it loads with Recording.load().
        detail: "smaps", "residency", "maps", or "auto".
        share: of one CPU that it may take.
    """
    process = pid if isinstance(pid, Process) else Process(pid)
    return Recorder(process, every=every, path=path, detail=detail, share=share)


def watch(
    pid: int | Process, *, every: float = 0.5, detail: str = "smaps", share: float = 0.02
) -> Iterator[Diff]:
    """Each change of a process as it happens, until it ends.

    Args:
        pid: the process.
        every: seconds from look to look; more where that would take more than `share`.
        detail: "smaps", "residency" or "maps".
        share: of one CPU.

    Raises:
        NoSuchProcess, AccessDenied, KernelThread: at the first turn.
    """
    process = pid if isinstance(pid, Process) else Process(pid)
    recorder = Recorder(process, every=every, detail=detail, share=share, keep=False)
    before = recorder.last
    while True:
        spent = recorder.cost
        try:
            found = recorder.turn()
        except (NoSuchProcess, ZombieProcess):
            return
        except ProcessChanged:
            found = None
        if found is not None:
            if before is not None and (change := diff(before, found)):
                yield change
            before = found
        time.sleep(max(every, (recorder.cost - spent) / share))
