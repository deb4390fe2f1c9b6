"""The quiet helper process: started, asked one thing at a time, measured, and ended."""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from struct import Struct

from procmem.errors import BadArgument, NoSuchProcess, SyscallError, Unsupported
from procmem.experiments.specimen.arguments import WORD
from procmem.experiments.specimen.launch import Launched, end, launch
from procmem.experiments.specimen.step import Figures
from procmem.native import ffi, lib
from procmem.procfs.files import ProcessFiles
from procmem.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Self

    from procmem.experiments.specimen.libc import Libc
    from procmem.process import Process

__all__ = ["Helper", "launch_best"]

REQUEST = Struct("=7Q")
FIGURES = Struct("=10Q")
ZEROS = (0,) * 6


class Helper:
    """A process that serves requests over two pipes, and what the kernel says of it."""

    pid: int
    _scratch: int

    def _set_up(self, started: Launched) -> None:
        self._lock = threading.RLock()
        self._parent: Helper | None = None
        self._closer: Callable[[], object] | None = None
        self._ended = ""
        self._allocator: Libc | None = None
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, end, started, self._owner)
        self.pid = started.pid
        self.kind = started.kind
        self._native = ffi.new("pm_specimen *")
        self._native.request, self._native.reply = started.request, started.reply
        self._asked, self._answer, self._before, self._after = (
            ffi.buffer(ffi.addressof(self._native, name))
            for name in ("asked", "answer", "before", "figures")
        )

    def _open(self) -> None:
        if os.readlink("/proc/self") != str(os.getpid()):
            raise Unsupported(
                "/proc", "it shows another PID namespace than this process's: mount one of its own"
            )
        self._files = ProcessFiles(self.pid)
        fds: list[int] = []
        self._closer = weakref.finalize(self, close_all, fds)
        for name in ("statm", "status", "maps", "smaps_rollup"):
            fds.append(self._files.open(name))
            setattr(self._native, name.removeprefix("smaps_"), fds[-1])

    # ---- life ------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process. Harmless if it has ended."""
        with self._lock:
            self._finalizer()
            if self._closer:
                self._closer()
            parent, self._parent = self._parent, None
            if parent is not None and os.getpid() == self._owner and parent.is_alive:
                parent._quiet(lib.PM_OP_CALL + lib.SYS_wait4, self.pid, 0, 0, 0, 0, 0)

    @property
    def is_alive(self) -> bool:
        """Whether steps can be asked of it: it was not closed and has not ended."""
        if not self._finalizer.alive:
            return False
        try:
            return not self._files.stat().is_zombie
        except NoSuchProcess:
            return False

    @property
    def process(self) -> Process:
        """The specimen as any other process, for maps(), smaps() and all else."""
        from procmem.process import Process

        return Process(self.pid)

    def __repr__(self) -> str:
        return f"<Specimen pid={self.pid} kind={self.kind!r}>"

    # ---- asking ------------------------------------------------------------

    @property
    def figures(self) -> Figures:
        """What the kernel says of it now."""
        with self._lock:
            self._check_open()
            self._check(lib.pm_specimen_read(self._native))
            return self._figures(self._after)

    def _figures(self, buffer: Any) -> Figures:
        values = FIGURES.unpack_from(buffer)
        if WORD in values:
            return Figures(*(None if value == WORD else value for value in values))  # type: ignore[arg-type]
        return Figures(*values)

    def _check(self, status: int) -> None:
        if not status:
            return
        self._check_open()
        if status in (-errno.EPIPE, -errno.ESRCH):
            self._ended = f"the specimen has ended{self._ending()}"
            self.close()
            raise NoSuchProcess(self.pid, self._ended)
        raise OSError(-status, os.strerror(-status))

    def _check_open(self) -> None:
        if self._ended:
            raise NoSuchProcess(self.pid, self._ended)
        if not self._finalizer.alive:
            raise BadArgument(f"specimen {self.pid} is closed")
        if os.getpid() != self._owner:
            raise BadArgument(
                f"specimen {self.pid} is that of process {self._owner}: start another one here"
            )

    def _ending(self) -> str:
        """How it ended, if it can be told."""
        if self._parent is not None or not self._finalizer.alive:
            return ""
        try:
            # Its pipes are closed before it can be waited for.
            for _ in range(200):
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
        return f", by signal {info.si_status} ({signal_name(info.si_status)})"

    def _run(self, function: Callable[[Any], int], op: int, arguments: tuple[int, ...]) -> None:
        self._check_open()
        if self._native.waiting:
            # Ctrl-C came while it worked: its answer belongs to the step that was given up.
            while (status := lib.pm_specimen_ask(self._native)) == -errno.EINTR:
                pass
            self._check(status)
        REQUEST.pack_into(self._asked, 0, op, *arguments, *ZEROS[len(arguments) :])
        # Python's own handlers run between two calls, and may raise.
        while (status := function(self._native)) == -errno.EINTR:
            pass
        self._check(status)

    def _quiet(self, op: int, *arguments: int) -> int:
        """An operation without figures; its result, or -errno."""
        with self._lock:
            self._run(lib.pm_specimen_ask, op, arguments)
            return int(self._native.answer.result)

    def _syscall(self, name: str, *arguments: int) -> int:
        """A system call of the specimen, outside of any step.

        Raises:
            SyscallError
        """
        words = tuple(argument & WORD for argument in arguments)
        result = self._quiet(lib.PM_OP_CALL + getattr(lib, f"SYS_{name}"), *words)
        if -4096 < result < 0:
            raise SyscallError(name, -result)
        return result

    def _measure(self, op: int, *arguments: int) -> tuple[Figures, Figures]:
        with self._lock:
            self._run(lib.pm_specimen_step, op, arguments)
            return self._figures(self._before), self._figures(self._after)

    def _store(self, data: bytes) -> None:
        """Writes into the specimen's scratch buffer."""
        if len(data) > 4096:
            raise BadArgument("a path may have 4,095 bytes")
        for at in range(0, len(data), 40):
            words = Struct("=5Q").unpack(data[at : at + 40].ljust(40, b"\0"))
            self._quiet(lib.PM_OP_STORE, self._scratch + at, *words)


def launch_best(kind: str | None, libc: bool, flags: int, cpu: int) -> Launched:
    """The kind that was asked for, or the first that can be started."""
    if kind is not None:
        return launch(kind, flags, cpu)
    if libc:
        return launch("libc", flags, cpu)
    try:
        return launch("program", flags, cpu)
    except Unsupported:
        return launch("fork", flags, cpu)


def close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
