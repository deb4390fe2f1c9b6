"""Recording a live process: snapshots at intervals, at a cost that is kept low."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from dataclasses import replace
from typing import NamedTuple

from procmem.errors import (
    AccessDenied,
    BadArgument,
    NoSuchProcess,
    ProcessChanged,
    ProcessError,
    Unsupported,
    ZombieProcess,
)
from procmem.process import Process
from procmem.process.heaps import NO_HEAP, attach, summary_of
from procmem.recording.ending import Ending
from procmem.recording.packed import PackedSnapshots
from procmem.recording.recording import Recording
from procmem.regions.region import PAGE_SIZE
from procmem.snapshots import diff
from procmem.snapshots.output import MAGIC, append_to, check_output
from procmem.snapshots.saved import FRAME, frame
from procmem.snapshots.taking import now as clock_now
from procmem.stopping import StopRequest

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from typing_extensions import Self

    from procmem.snapshots import Diff, Snapshot
    from procmem.snapshots.heaps import HeapSummary
    from procmem.snapshots.moment import Clock

__all__ = ["Recorder", "record", "watch"]

DETAILS = ("smaps", "residency", "maps")
"""The highest level of detail first."""

QUIET = 10.0
"""Seconds after which a snapshot is taken even if nothing has changed, to show just that."""

HELD = 1.0
"""Seconds without a change, until the process ended by itself, from which on they are recorded."""

SAVED = 10.0
"""Seconds over which unused CPU time may be saved up, to be spent at once."""

MARGIN = 0.95
"""The part of its share that a recorder spends: it can't measure the cost of its own wake-ups."""

HEAP_PRICE = 1.0 / (1 << 30)
"""CPU seconds that reading the heap is assumed to take for each byte of anonymous memory, before
it was read the first time."""

SMALL_HEAP = 16 << 20
"""Bytes of anonymous memory up to which the cost of reading the heap does not depend on them."""

HEAP_SHARE = 0.25
"""The part of the recorder's share that is saved up for reading the heap."""

LAST_PATIENCE = 10
"""How many times what can be saved up the last reading of the heap may cost."""

HEAP_PAUSE = 1.0
"""Seconds between two readings of the heap at least."""

HEAP_GROWTH = 64 << 10
"""Bytes by which anonymous memory must have grown since then."""

CHEAPER = 0.25
"""Assumed cost of a level of detail that was not used yet, relative to the next higher level."""


class Fingerprint(NamedTuple):
    """Cheap figures, one of which changes whenever memory does.

    Attributes:
        statm: the text of /proc/PID/statm.
        faults: minor and major page faults.
        maps: length and hash of /proc/PID/maps; None: it was not read.
    """

    statm: bytes
    faults: tuple[int, int]
    maps: tuple[int, int] | None


class Price(NamedTuple):
    """CPU seconds that a snapshot took, and the resident pages and bytes of maps at that time."""

    seconds: float
    pages: int
    text: int


def anonymous(statm: bytes) -> int:
    """Bytes of resident memory that is not that of files or shared, from a text of statm."""
    _, resident, shared, *_ = map(int, statm.split())
    return max(0, resident - shared) * PAGE_SIZE


class Recorder:
    """Records a process: takes a snapshot whenever something has changed.

    Every `every` seconds it checks statm, stat and maps, which is cheap. It takes a snapshot only
    if they have changed, or if the last one is ten seconds old: with the highest level of detail
    that it can afford. It may use `share` of a CPU, and may save that up for ten seconds. The
    cost of a level of detail is estimated from the last snapshot of that level, in proportion to
    what is mapped and resident now. Half of the share is reserved for the highest level that it
    can save up for. The first snapshot has the highest level of detail whatever it costs, and so
    has the last one, unless the process ends by itself: see Recording.last_full. Then a copy of
    the last snapshot has the time of the last check, if nothing had changed for a second. If
    maps is too expensive to read each time, only statm and stat are checked; if even the
    cheapest snapshot costs too much, checks are delayed. The kinds of the regions are
    determined in the first and the last snapshot, and every ten seconds; the other snapshots
    take them over by address. What malloc and Python hold is read with the first and the last
    snapshot, and in between when anonymous memory has grown, for which a quarter of the share
    is saved up: so suspects() can distinguish live memory from memory that was freed and kept.

    A process is followed through execve(2); the recording ends when the process does. Child
    processes are not recorded.

    Args:
        process: the process.
        every: seconds from one check to the next.
        path: a file that each snapshot is written to at once, so that nothing is lost if the
            recorder is killed; None: snapshots are kept in memory only. An existing snapshot or
            recording is overwritten, any other file is not.
        detail: "smaps", "residency", "maps", or "auto".
        share: the share of one CPU that it may use.
        keep: keep the snapshots, packed, for `recording`; None: only if `recording` can't read them
            from path.
        force: overwrite any file, and write to anything that is not a regular file, too.
        heap: read the heap with the first and the last snapshot whatever that costs; False: never;
            None: if the share allows it. None does not read the heap of this process itself.

    Attributes:
        turns, taken: how many checks and how many snapshots were made.
        ended: why it ended, in words; empty while it runs.
        cost: CPU seconds that recording took, after the first snapshot.

    Raises:
        BadArgument, NoSuchProcess, ZombieProcess, KernelThread, AccessDenied
        FileExistsError: path is a file of another kind, a link, a FIFO or a device.
        BlockingIOError: another recorder writes to it.
        OSError: the file can't be opened or written.
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
        force: bool = False,
        heap: bool | None = None,
    ) -> None:
        if detail != "auto" and detail not in DETAILS:
            raise BadArgument(f"detail must be auto, {' or '.join(DETAILS)}, not {detail!r}")
        if not 0 < every < threading.TIMEOUT_MAX or not 0 < share <= 1:
            raise BadArgument(
                "every must be a number of seconds above 0, share above 0 and at most 1"
            )
        self.process = process
        self.every = every
        self.share = share
        self.turns = self.taken = 0
        self.ended = ""
        self.cost = 0.0
        self._details = DETAILS if detail == "auto" else (detail,)
        self._prices: dict[str, Price] = {}
        self._check_price = 0.0
        self._kept: list[bytes] = []
        self._keep = keep
        self._heap = heap
        if heap is None and process.pid == os.getpid():
            self._heap = False
        self._heap_price = HEAP_PRICE
        self._heap_own = 0
        self._heap_saved = self._heap_income = 0.0
        self._heap_most = SAVED * MARGIN * share
        self._stop = StopRequest()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._path = path
        self._file: int | None = None
        self._written = 0
        self._income = MARGIN * share
        self._credit = self._set_aside = 0.0
        self._credited = self._taken_at = self._measured_at = self._kinds_at = time.monotonic()
        self._heap_at = self._credited
        if path is not None:
            check_output(path, force=force)
        self._files = process.files
        self._ending = Ending(self._files)
        # When the figures were last seen to be those of the last snapshot.
        self._same: tuple[float, Clock] | None = None
        # The first snapshot is taken here, so that errors are raised at once. The heap is read
        # before it, so that nothing delays the second one.
        self._seen = self._fingerprint()
        kept = self._read_heap() if self._can_read_heap() else None
        begun = time.thread_time()
        self.last: Snapshot = process.snapshot(self._details[0])
        spent = time.thread_time() - begun
        if spent > SAVED * self._income:
            # Too much ever to be afforded. Otherwise it is no measure: it includes imports.
            self._pay(self.last.detail, spent, self._seen)
        if kept is not None:
            self.last = attach(self.last, *kept)
            if self.last.heap is not None:
                self._heap_income = HEAP_SHARE * self._income
                self._income -= self._heap_income
            elif heap is None:
                self._heap = False
        if path is not None:
            is_new = not os.path.lexists(path)
            self._file = append_to(path, force=force)
            if self._keep is None and not stat.S_ISREG(os.fstat(self._file).st_mode):
                self._keep = True
            try:
                self._write(self._file, MAGIC)
                self._add(self.last)
            except BaseException:
                self.close()
                if is_new:  # nothing can be read from it
                    with contextlib.suppress(OSError):
                        os.unlink(path)
                raise
        else:
            self._keep = keep is None or keep
            self._add(self.last)

    # ---- turns -------------------------------------------------------------

    def turn(self) -> Snapshot | None:
        """Checks once. Returns a snapshot if anything changed, or if the last one is 10 s old.

        Raises:
            NoSuchProcess, ZombieProcess: the process has ended.
            ProcessChanged: it is calling execve(2) just now; the next turn sees its new program.
            AccessDenied: it may no longer be read.
            OSError: the file can't be written.
        """
        begun = time.thread_time()
        now = time.monotonic()
        most = self._income * max(SAVED, 2 * self.every)
        passed = now - self._credited
        self._credit = min(most, self._credit + passed * self._income)
        self._heap_saved = min(self._heap_most, self._heap_saved + passed * self._heap_income)
        self._credited = now
        self.turns += 1
        try:
            seen = self._fingerprint()
            if seen == self._seen and now - self._taken_at < max(QUIET, self.every):
                self._same = now, clock_now()
                return None
            found = self._take(seen)
            if found is not None:
                self._seen = seen
            return found
        finally:
            self._charge(time.thread_time() - begun)

    @property
    def rest(self) -> float:
        """Seconds until the next turn(): `every`, or more if too much CPU time was used."""
        return max(self.every, -self._credit / self._income)

    def _charge(self, spent: float) -> None:
        self.cost += spent
        self._credit -= spent

    def _fingerprint(self) -> Fingerprint:
        files = self._files
        stat = files.stat()
        if stat.is_zombie:
            files.use_living_thread()
        statm, faults = files.read(files.memory_name("statm")), (stat.minflt, stat.majflt)
        if stat.is_zombie and statm.startswith(b"0 "):
            raise ZombieProcess(self.process.pid)
        if self._check_price > max(self._credit, self._income * self.every):
            # maps is too expensive for each turn. What only maps shows (mprotect(2)) can wait.
            self._check_price *= 0.9
            same = (statm, faults) == self._seen[:2]
            return Fingerprint(statm, faults, self._seen.maps if same else None)
        begun = time.thread_time()
        maps = files.read(files.memory_name("maps"))
        self._check_price = time.thread_time() - begun
        return Fingerprint(statm, faults, (len(maps), hash(maps)))

    def _expected(self, detail: str, seen: Fingerprint) -> float:
        """CPU seconds that a snapshot at this level of detail would take now."""
        price = self._prices.get(detail)
        if price is None:
            place = DETAILS.index(detail)
            if detail == self._details[0] or DETAILS[place - 1] not in self._prices:
                return 0.0
            return CHEAPER * self._expected(DETAILS[place - 1], seen)
        pages = int(seen.statm.split()[1]) / max(1, price.pages)
        text = (seen.maps[0] if seen.maps else price.text) / max(1, price.text)
        return price.seconds * max(pages, text)

    def _take(self, seen: Fingerprint) -> Snapshot | None:
        """A snapshot at the highest level of detail that can be afforded."""
        saved_for, self._set_aside = self._saving(seen)
        for detail in self._details:
            free = self._credit - (0.0 if detail == saved_for else self._set_aside)
            if detail != self._details[-1] and self._expected(detail, seen) > free:
                continue
            begun = time.thread_time()
            try:
                found = self.process.snapshot(detail, kinds=self._is_time_for_kinds(detail))
            except (ProcessChanged, Unsupported):
                continue
            spent = time.thread_time() - begun
            if self._is_time_for_heap(detail, seen):
                begun = time.thread_time()
                found = attach(found, *self._read_heap())
                paid = time.thread_time() - begun
                self._heap_saved -= paid
                self._credit += paid  # turn() charges all
            begun = time.thread_time()
            self._add(found)
            self._pay(detail, spent + time.thread_time() - begun, seen)
            return found
        return None

    def _can_read_heap(self, patience: int = 1) -> bool:
        """Whether the heap is read with the first or the last snapshot.

        Args:
            patience: how many times the CPU time that can be saved up it may cost.
        """
        if self._heap is not None:
            return self._heap
        return self._heap_cost(self._seen) <= patience * self._heap_most

    def _heap_cost(self, seen: Fingerprint) -> float:
        """CPU seconds that reading the heap would take now."""
        return max(anonymous(seen.statm), SMALL_HEAP) * self._heap_price

    def _is_time_for_heap(self, detail: str, seen: Fingerprint) -> bool:
        """Whether the heap is read with this snapshot, too, which is not the last one."""
        return (
            self._heap is not False
            and detail == self._details[0] != "maps"
            and time.monotonic() - self._heap_at >= HEAP_PAUSE
            and anonymous(seen.statm) >= self._heap_own + HEAP_GROWTH
            and self._heap_cost(seen) <= self._heap_saved
        )

    def _read_heap(self) -> tuple[HeapSummary | None, str]:
        """A summary of the heap, or why there is none."""
        begun = time.thread_time()
        self._heap_at = time.monotonic()
        own = 0
        try:
            own = anonymous(self._files.read(self._files.memory_name("statm")))
            self._heap_own = own
            return summary_of(self.process.heap()), NO_HEAP
        except (AccessDenied, Unsupported) as error:
            if self._heap:
                raise
            # The regions may be read, the memory may not: nothing will change that.
            self._heap = False
            return None, str(error)
        except ProcessError as error:
            return None, str(error)
        finally:
            self._heap_price = (time.thread_time() - begun) / max(own, SMALL_HEAP)

    def _is_time_for_kinds(self, detail: str) -> bool:
        """Whether the next snapshot determines the kinds of the regions again."""
        now = time.monotonic()
        if detail != self._details[0] or now - self._kinds_at < QUIET:
            return False
        self._kinds_at = now
        return True

    def _saving(self, seen: Fingerprint) -> tuple[str, float]:
        """The highest level of detail that can ever be afforded, and CPU seconds saved for it.

        Cheaper snapshots may use half of the share: so regions are measured now and then, however
        expensive that is, and the last time is not long before the process ends.
        """
        for detail in self._details[:-1]:
            expected = self._expected(detail, seen)
            if expected <= self._income * SAVED:
                passed = time.monotonic() - self._measured_at
                return detail, min(expected, self._income * passed / 2)
        return self._details[-1], 0.0

    def _pay(self, detail: str, spent: float, seen: Fingerprint) -> None:
        text = seen.maps[0] if seen.maps else 0
        if detail != self._details[-1]:
            self._measured_at = time.monotonic()
            self._set_aside = 0.0
        self._prices[detail] = Price(spent, int(seen.statm.split()[1]), text)

    def _add(self, snapshot: Snapshot) -> None:
        if self._keep or self._file is not None:
            packed = frame(snapshot, quick=True)
            if self._keep:
                self._kept.append(packed[FRAME.size :])
            if self._file is not None:
                self._write(self._file, packed)
        self.last = snapshot
        self.taken += 1
        self._taken_at = time.monotonic()
        self._same = None

    def _write(self, file: int, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(file, left) :]
        except OSError as error:
            # The file ends after the last snapshot that was written whole.
            with contextlib.suppress(OSError):
                os.ftruncate(file, self._written)
            raise OSError(error.errno, error.strerror, os.fspath(self._path or "")) from error
        self._written += len(data)

    def run(
        self,
        seconds: float | None = None,
        each: Callable[[Recorder, Snapshot | None], object] | None = None,
    ) -> Recording:
        """Records until the process ends, or until `seconds` are over, or until stop().

        Args:
            seconds: how long to record; None: until the process ends.
            each: called at each turn with this recorder and the snapshot; None: none was taken.

        Raises:
            OSError: the file can't be written.
        """
        start = due = time.monotonic()
        mark = time.thread_time()
        while not self._stop.is_set():
            self._charge(time.thread_time() - mark)
            try:
                found = self.turn()
            except ProcessError as error:
                self.ended = self.why_ended(error)
                if self.ended:
                    self._hold()
                    break
                found = None
            mark = time.thread_time()
            if each is not None:
                each(self, found)
            now = time.monotonic()
            due = max(due + self.every, now - (self._credit - self._set_aside) / self._income)
            if due < now:
                due = now + self.every
            if seconds is not None and due - start >= seconds:
                if not self._stop.wait(start + seconds - now):
                    self.ended = "the time is over"
                break
            if self._stop.wait(due - now):
                break
        if self.ended in ("", "the time is over"):
            self.ended = self.ended or "stopped"
            self._take_last()
        return self.recording

    def _hold(self) -> None:
        """Records how long the process had the last figures, before it ended by itself.

        Otherwise a recording would end with the last change, and what has filled up, and then
        stayed as it was for seconds, would have grown until the end.
        """
        if self._same is None or self._same[0] - self._taken_at < max(HELD, self.every):
            return
        self._add(attach(replace(self.last, clock=self._same[1], heap=None), None))

    def why_ended(self, error: ProcessError) -> str:
        """Why the recording ends after an error of turn(), in words; empty if it does not."""
        if isinstance(error, ZombieProcess):
            return f"{self._ending.words(self._files)}, and waits for its parent"
        if isinstance(error, NoSuchProcess):
            return self._ending.words(None)
        if isinstance(error, ProcessChanged):
            return "" if error.reason == "exec" else "its PID was given to another process"
        if isinstance(error, AccessDenied):
            return "it may no longer be read"
        raise error

    def _take_last(self) -> None:
        """The last snapshot, at the level of detail of the first, whatever it costs."""
        now = time.monotonic()
        # Without the last reading the first is of no use.
        wants_heap = self._can_read_heap(LAST_PATIENCE if self._heap_income else 1)
        if (
            self.last.detail == self._details[0]
            and now - self._taken_at < self.every
            and not (wants_heap and self.last.heap is None)
        ):
            return
        begun = time.thread_time()
        for detail in self._details:
            try:
                found = self.process.snapshot(detail)
            except (ProcessChanged, Unsupported):
                continue
            except ProcessError:
                break
            self._add(attach(found, *self._read_heap()) if wants_heap else found)
            break
        self._charge(time.thread_time() - begun)

    def ask_to_stop(self) -> None:
        """Makes run() return after the current turn. A signal handler may call it."""
        self._stop.set()

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
        """Stops recording, and returns what was recorded.

        Raises:
            OSError, AccessDenied: the error that ended the recording before.
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
        """Closes the file. Harmless if it is closed."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
        self._ending.close()

    @property
    def recording(self) -> Recording:
        """What was recorded so far."""
        if not self._keep and self._path is not None:
            found = Recording.load(self._path)
            found.ended = self.ended
            return found
        return Recording(PackedSnapshots(list(self._kept), "<recorded>"), self.ended)

    # ---- watching ------------------------------------------------------------

    def changes(self) -> Generator[Diff, None, str]:
        """Each change of the process as it happens, until the process ends; see watch()."""
        before = self.last
        try:
            while True:
                try:
                    found = self.turn()
                except ProcessError as error:
                    if ended := self.why_ended(error):
                        return ended
                    found = None
                if found is not None:
                    begun = time.thread_time()
                    change = diff(before, found)
                    self._charge(time.thread_time() - begun)
                    if change:
                        yield change
                    before = found
                time.sleep(self.rest)
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def record(
    pid: int | Process | None = None,
    *,
    every: float = 0.1,
    path: str | os.PathLike[str] | None = None,
    detail: str = "auto",
    share: float = 0.02,
    force: bool = False,
    heap: bool | None = None,
) -> Recorder:
    """A recorder for a with statement: records while the block runs; see Recorder.

    >>> import procmem
    >>> with procmem.record(every=0.01) as recorder:
    ...     memory = procmem.mmap(pages=1000)
    ...     faults = memory.touch()
    >>> recording = recorder.recording
    >>> recording.diff().vsz >= 0
    True

    Args:
        pid: the process; None: this one.
        every: seconds from one check to the next.
        path: a file to write to; Recording.load() loads it.
        detail: "smaps", "residency", "maps", or "auto".
        share: the share of one CPU that it may use.
        force: overwrite a file at path that is neither a snapshot nor a recording.
        heap: whether to read what malloc and Python hold; see Recorder.

    Raises:
        NoSuchProcess, ZombieProcess, AccessDenied, KernelThread, OSError: as of Recorder.
    """
    process = pid if isinstance(pid, Process) else Process(pid)
    return Recorder(
        process, every=every, path=path, detail=detail, share=share, force=force, heap=heap
    )


def watch(
    pid: int | Process, *, every: float = 0.5, detail: str = "smaps", share: float = 0.02
) -> Generator[Diff, None, str]:
    """Each change of a process as it happens, until it ends.

    Args:
        pid: the process.
        every: seconds from one check to the next; more if that would take more than `share`.
        detail: "smaps", "residency" or "maps".
        share: the share of one CPU that it may use.

    Returns:
        An iterator. The value of its StopIteration says why it ended, in words.

    Raises:
        NoSuchProcess, ZombieProcess, AccessDenied, KernelThread: when iterating begins.
    """
    process = pid if isinstance(pid, Process) else Process(pid)
    recorder = Recorder(process, every=every, detail=detail, share=share, keep=False, heap=False)
    return (yield from recorder.changes())
