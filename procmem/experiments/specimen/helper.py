"""The helper process of a specimen: it is asked for one operation at a time, and measured."""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from struct import Struct

from procmem.errors import BadArgument, NoSuchProcess, SyscallError, Unsupported
from procmem.experiments.specimen.arguments import WORD
from procmem.experiments.specimen.launch import Launched, end
from procmem.experiments.specimen.step import Figures
from procmem.native import ffi, lib
from procmem.procfs.files import ProcessFiles
from procmem.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["SCRATCH", "Helper"]

SCRATCH = 4096
"""Bytes of its scratch buffer (PM_SCRATCH_SIZE)."""

REQUEST = Struct("=7Q")
FIGURES = Struct("=10Q")
REPLY = Struct("=q3QQqQ")
ZEROS = (0,) * 6


class Helper:
    """A process that serves requests over two pipes, and the kernel's figures of it.

    Args:
        started: the process, which waits for its first request.
        parent: the helper that forked it; None: it is a child of this process.

    Attributes:
        pid: its process ID.
        kind: "program", "libc" or "fork"; see Launched.
        files: its files in /proc.
        native: struct pm_specimen, through which it is asked.
        scratch: the address of its scratch buffer.
        lock: held while it is asked.

    Raises:
        NoSuchProcess: it has ended.
        Unsupported: /proc is that of another PID namespace.
    """

    def __init__(self, started: Launched, parent: Helper | None = None) -> None:
        self.lock = threading.RLock()
        self._parent = parent
        self._closer: Callable[[], object] | None = None
        self._ended = ""
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, end, started, self._owner)
        self.pid = started.pid
        self.kind = started.kind
        self.native = ffi.new("pm_specimen *")
        self.native.request, self.native.reply = started.request, started.reply
        self._asked, self._answer, self._before, self._after = (
            ffi.buffer(ffi.addressof(self.native, name))
            for name in ("asked", "answer", "before", "figures")
        )
        try:
            if parent is None:
                self.scratch = self.quiet(lib.PM_OP_NOTHING)
            else:
                self.scratch = parent.scratch
                self.native.source = parent.native.source
                # Its answer to the fork, once it serves.
                self.native.waiting = 1
                self.check(lib.pm_specimen_ask(self.native))
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            own = os.readlink("/proc/self")
        except OSError as error:
            raise Unsupported("/proc", f"{error.strerror}: mount one (proc(5))") from error
        if own != str(os.getpid()):
            raise Unsupported(
                "/proc",
                "it is that of another PID namespace than this process's: mount one for this one",
            )
        self.files = ProcessFiles(self.pid)
        fds: list[int] = []
        self._closer = weakref.finalize(self, close_all, fds)
        for name in ("statm", "status", "maps", "smaps_rollup"):
            fds.append(self.files.open(name))
            setattr(self.native, name.removeprefix("smaps_"), fds[-1])

    # ---- life ------------------------------------------------------------

    def close(self) -> None:
        """Ends the process. Harmless if it has ended."""
        with self.lock:
            self._finalizer()
            if self._closer:
                self._closer()
            parent, self._parent = self._parent, None
            if parent is not None and os.getpid() == self._owner and parent.is_alive:
                parent.quiet(lib.PM_OP_CALL + lib.SYS_wait4, self.pid, 0, 0, 0, 0, 0)

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked: it was not closed and has not ended."""
        if not self._finalizer.alive:
            return False
        try:
            return not self.files.stat().is_zombie
        except NoSuchProcess:
            return False

    # ---- asking ------------------------------------------------------------

    def figures(self) -> Figures:
        """The kernel's figures of it now."""
        with self.lock:
            self.check_open()
            self.check(lib.pm_specimen_read(self.native))
            return figures_from(self._after)

    def check(self, status: int) -> None:
        """Raises the error that a status of the native part stands for; 0: none."""
        if not status:
            return
        self.check_open()
        if status in (-errno.EPIPE, -errno.ESRCH):
            self._ended = f"the specimen has ended{self._ending()}"
            self.close()
            raise NoSuchProcess(self.pid, self._ended)
        raise OSError(-status, os.strerror(-status))

    def check_open(self) -> None:
        """Raises an error if it can't be asked any more."""
        if self._ended:
            raise NoSuchProcess(self.pid, self._ended)
        if not self._finalizer.alive:
            raise BadArgument(f"specimen {self.pid} is closed")
        if os.getpid() != self._owner:
            raise BadArgument(
                f"specimen {self.pid} is that of process {self._owner}: start another one here"
            )

    def _ending(self) -> str:
        """How it ended, where the kernel shows that."""
        if self._parent is not None or not self._finalizer.alive:
            return ""
        try:
            # Its pipes are closed before it can be waited for.
            for _ in range(2000):
                info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
                if info is not None:
                    break
                time.sleep(0.005)
            else:
                return ""
        except ChildProcessError:
            return ""
        if info.si_code == os.CLD_EXITED:
            return f", with exit status {info.si_status}"
        return f", killed by {signal_name(info.si_status)}"

    def _run(self, function: Callable[[Any], int], op: int, arguments: tuple[int, ...]) -> None:
        self.check_open()
        if self.native.waiting:
            # Ctrl-C came while it worked: its answer belongs to the step that was given up.
            while (status := lib.pm_specimen_ask(self.native)) == -errno.EINTR:
                pass
            self.check(status)
        REQUEST.pack_into(self._asked, 0, op, *arguments, *ZEROS[len(arguments) :])
        # Python's own handlers run between two calls, and may raise.
        while (status := function(self.native)) == -errno.EINTR:
            pass
        self.check(status)

    def quiet(self, op: int, *arguments: int) -> int:
        """Carries out an operation without measuring it; its result, or -errno."""
        with self.lock:
            self._run(lib.pm_specimen_ask, op, arguments)
            return int(self.native.answer.result)

    def syscall(self, name: str, *arguments: int) -> int:
        """Makes a system call without measuring it.

        Raises:
            SyscallError
        """
        words = tuple(argument & WORD for argument in arguments)
        result = self.quiet(lib.PM_OP_CALL + getattr(lib, f"SYS_{name}"), *words)
        if -4096 < result < 0:
            raise SyscallError(name, -result)
        return result

    def measure(self, op: int, *arguments: int) -> tuple[Figures, Figures]:
        """Carries out an operation; the figures before and after."""
        with self.lock:
            before, after, _ = self.step(op, arguments)
            return before, after

    def step(self, op: int, arguments: tuple[int, ...]) -> tuple[Figures, Figures, tuple[int, ...]]:
        """Carries out an operation, with the lock held.

        Returns:
            The figures before and after; and the result, minor and major faults, nanoseconds, and
            the number, code and address of a signal.
        """
        self._run(lib.pm_specimen_step, op, arguments)
        return (
            figures_from(self._before),
            figures_from(self._after),
            REPLY.unpack_from(self._answer),
        )

    def store(self, data: bytes) -> None:
        """Writes into its scratch buffer."""
        if len(data) > SCRATCH:
            raise BadArgument("a path may have 4,095 bytes")
        for at in range(0, len(data), 40):
            words = Struct("=5Q").unpack(data[at : at + 40].ljust(40, b"\0"))
            self.quiet(lib.PM_OP_STORE, self.scratch + at, *words)


def figures_from(buffer: Any) -> Figures:
    values = FIGURES.unpack_from(buffer)
    if WORD in values:
        return Figures(*(None if value == WORD else value for value in values))  # type: ignore[arg-type]
    return Figures(*values)


def close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
