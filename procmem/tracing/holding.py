"""Stops a process for as long as it is read (ptrace(2))."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import NamedTuple

from procmem.errors import BadArgument, Unsupported
from procmem.native import ffi, lib
from procmem.tracing.permission import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Self

    from procmem.procfs import ProcessFiles

__all__ = ["Hold"]

LIMIT = 2.0
"""Seconds within which each thread must have stopped."""

PATIENCE = 3.0
"""Seconds for which a process is stopped anew until it is stopped where the caller wants it."""

BETWEEN = 0.0002
"""Seconds for which it goes on in between."""


class Stopped(NamedTuple):
    """How a process was stopped.

    Attributes:
        threads: the number of its threads.
        seconds: how long they were stopped, from the first one's stop until the last one went on:
            the sum over all stops.
        longest: the longest of these.
        times: how often it was stopped.
    """

    threads: int
    seconds: float
    longest: float
    times: int


class Hold:
    """Stops all threads of a process while its `with` block runs.

    PTRACE_SEIZE and PTRACE_INTERRUPT send no signal, and a process that was stopped before is
    stopped afterwards. If this process ends inside the block, whatever the reason, the kernel lets
    the threads go on.

    Args:
        files: the process.
        limit: seconds within which each thread must have stopped.
        good: called while the process is stopped: False lets it go on at once, to be stopped anew
            a little later, for at most PATIENCE seconds. None: the first stop will do.

    Attributes:
        stopped: how many threads were stopped and for how long; None inside the block.

    Raises:
        AccessDenied: this user may not trace the process, or another process traces it.
        BadArgument: it is this process.
        NoSuchProcess, ZombieProcess, KernelThread
        Unsupported: its /proc numbers processes otherwise than this process's system calls do, or
            a thread waits in the kernel and does not stop.

    Source: ptrace(2).
    """

    def __init__(
        self,
        files: ProcessFiles,
        limit: float = LIMIT,
        good: Callable[[], bool] | None = None,
    ) -> None:
        self.files = files
        self.limit = limit
        self.good = good
        self.stopped: Stopped | None = None
        self._begun = threading.Event()
        self._over = threading.Event()
        self._error = 0
        self._times: list[float] = []
        self._hold: Any = None
        self._thread: threading.Thread | None = None

    def _keep(self) -> None:
        hold = self._hold
        until = time.monotonic() + PATIENCE
        while True:
            self._error = int(lib.pm_hold_begin(hold))
            if not self._error and (self.good is None or time.monotonic() > until or self.good()):
                self._begun.set()
                self._over.wait()
            lib.pm_hold_end(hold)
            if hold.began:
                self._times.append((hold.end - hold.began) / 1e9)
            if self._error or self._begun.is_set():
                break
            time.sleep(BETWEEN)
        self._begun.set()

    def __enter__(self) -> Self:
        pid = self.files.pid
        if not self.files.has_our_numbers:
            raise Unsupported(
                "stopping a process of another /proc",
                f"{self.files.root} may number processes otherwise than this system does",
            )
        if pid == os.getpid():
            raise BadArgument("a process can't stop itself: leave out stop, or ask another one to")
        self._hold = ffi.new("pm_hold *", {"pid": pid, "limit": int(self.limit * 1e9)})
        # A thread of its own: what ptrace(2) has stopped is tied to it, and goes on at its end,
        # even a thread that never came to its stop.
        self._thread = threading.Thread(target=self._keep, name="procmem-hold", daemon=True)
        self._thread.start()
        try:
            self._begun.wait()
            if not self._error:
                # PIDs are used again: it must be the one that was asked for.
                self.files.check_running()
        except BaseException:
            self.__exit__()
            raise
        if self._error:
            self._thread.join()
            raise self._refused()
        return self

    def _refused(self) -> Exception:
        if self._error == -errno.ETIMEDOUT:
            return Unsupported(
                f"stopping process {self.files.pid}",
                f"its thread {self._hold.tid} waits in the kernel and did not stop within "
                f"{self.limit:g} s",
            )
        if self._error == -errno.ENOENT:
            return refusal(errno.ESRCH, self.files.pid, attached=True)
        return refusal(-self._error, self.files.pid, attached=True)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if not self._error:
            times = self._times
            self.stopped = Stopped(int(self._hold.count), sum(times), max(times), len(times))
