"""Tracing: each memory call of a program, and by how much it changed VSZ and RSS (ptrace(2))."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import stat
import threading

from procmem.errors import (
    BadArgument,
    InvalidPid,
    NotAPid,
    ProcessError,
    ProcmemError,
    SyscallError,
    Unsupported,
)
from procmem.native import ffi, lib
from procmem.procfs import ProcessFiles, parse_status, probes
from procmem.tracing.allocators import FUNCTIONS
from procmem.tracing.events import SYSTEM_CALLS, Trace, events_in
from procmem.tracing.permission import refusal

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO, Any, TypeAlias

    from procmem.tracing.events import Event

    Standard: TypeAlias = "int | IO[Any] | None"

__all__ = ["Tracing", "trace"]

LIMIT = 1_000_000
"""Calls that a Trace keeps by default: some 250 MB."""

POLL = 0.02
"""Seconds between two reads of the tracing thread's buffer."""

LAGS = "statm lags behind the page table on this kernel: RSS comes late, VSZ is exact"


@ffi.def_extern()  # type: ignore[untyped-decorator]
def pm_find_symbols(_: Any, pid: int, region: Any, name: Any, size: int, out: Any) -> None:
    """Called by the tracing thread, while the process is stopped."""
    from procmem.tracing.functions import find

    try:
        code = find(
            pid,
            region[lib.PM_START],
            region[lib.PM_END],
            region[lib.PM_OFFSET],
            region[lib.PM_INODE],
            ffi.buffer(name, size)[:],
        )
    except Exception:  # noqa: BLE001 - C can't take it; such a file counts as one without malloc
        return
    if code is None:
        return
    out.room, out.room_end = code.room
    out.count = min(len(code.functions), lib.PM_MOST_SYMBOLS)
    for slot, (number, address, chooses) in zip(out.one, code.functions, strict=False):
        slot.address = address
        slot.function = SYSTEM_CALLS + number
        slot.role = FUNCTIONS[number].gives | (lib.PM_CHOSEN if chooses else 0)
    why = code.why.encode()[: lib.PM_MOST_WHY]
    ffi.buffer(out.why)[: len(why)] = why
    out.why_size = len(why)


class Tracing:
    """A running trace: iterating gives calls, signals and ends of processes as they happen.

    Use it in a `with` statement, which leaves nothing behind: a program that was started is
    killed if it still runs, a process that was attached to is detached and runs on.

    Arguments and errors are those of trace().

    Attributes:
        pid: the program, or the process that was attached to.
        returncode: set when iterating is over; see Trace.
        foreign: see Trace.
        malloc: whether calls of malloc's family are traced.
        watch: called with each batch of records before it is returned; None: nothing is.
        setuid_ignored: the program is set-user-ID or set-group-ID, and runs with this user's rights
            only: the kernel grants none to a program that an ordinary user traces (ptrace(2),
            execve(2)).
    """

    def __init__(
        self,
        argv: Sequence[str | bytes | os.PathLike[str]] | None = None,
        *,
        pid: int | None = None,
        follow: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: Standard = None,
        stdout: Standard = None,
        stderr: Standard = None,
        seccomp: bool = True,
        malloc: bool | int = False,
    ) -> None:
        if (argv is None) == (pid is None):
            raise BadArgument("trace() takes either a program with its arguments or a pid")
        if isinstance(argv, (str, bytes)) or (argv is not None and not argv):
            raise BadArgument('argv is a list of strings, as in trace(["ls", "-l"])')
        tracer = lib.pm_trace_new()
        if tracer == ffi.NULL:
            raise MemoryError
        self._tracer = ffi.gc(tracer, lib.pm_trace_free)
        tracer.follow = follow
        tracer.filtered = seccomp and lib.pm_trace_can_filter()
        self.malloc = bool(malloc)
        self.watch: Callable[[bytes], None] | None = None
        if malloc:
            tracer.find = lib.pm_find_symbols
            tracer.most = -1 if malloc is True else malloc
        self._room = ffi.new("char[]", lib.PM_TRACE_ROOM)
        self._pidfd = -1
        self._error = 0
        self._over = threading.Event()
        self.foreign: list[int] = []
        self.returncode: int | None = None
        self._path = ""
        if argv is not None:
            for number, given in enumerate((stdin, stdout, stderr)):
                if given is not None:
                    tracer.fds[number] = given if isinstance(given, int) else given.fileno()
            begin = self._launcher([os.fsencode(word) for word in argv], env, cwd)
        else:
            begin = self._attacher(pid)
        self._start(begin)
        self.pid = int(tracer.pid)
        self.setuid_ignored = bool(self._path) and os.geteuid() != 0 and gains_rights(self._path)
        self.lag = LAGS if probes.counters_lag() else ""

    def _launcher(
        self,
        words: list[bytes],
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
    ) -> Callable[[], int]:
        environment = os.environb if env is None else {
            os.fsencode(key): os.fsencode(value) for key, value in env.items()
        }  # fmt: skip
        path = find_program(words[0], environment.get(b"PATH"))
        self._path = os.fsdecode(path)
        kept = [ffi.new("char[]", word) for word in words]
        pairs = [ffi.new("char[]", key + b"=" + value) for key, value in environment.items()]
        argv = ffi.new("char *[]", [*kept, ffi.NULL])
        envp = ffi.new("char *[]", [*pairs, ffi.NULL])
        directory = ffi.NULL if cwd is None else ffi.new("char[]", os.fsencode(cwd))

        # The memory that the two arrays point to.
        self._kept = (kept, pairs)

        def begin() -> int:
            return int(lib.pm_trace_launch(self._tracer, path, argv, envp, directory))

        return begin

    def _attacher(self, pid: Any) -> Callable[[], int]:
        if not isinstance(pid, int):
            raise NotAPid(f"a pid is an integer, not {pid!r}")
        if not 0 < pid < 1 << 31:
            raise InvalidPid(pid)
        if pid == os.getpid():
            raise BadArgument("a process can't trace itself; trace it from another one")
        # NoSuchProcess, in the usual words.
        group = int(parse_status(ProcessFiles(pid).read("status"))["Tgid"])
        if group == os.getpid():
            raise BadArgument("a process can't trace its own threads; trace it from another one")
        own = int(parse_status(ProcessFiles(os.getpid()).read("status"))["TracerPid"])
        with contextlib.suppress(ProcessError, KeyError):
            if own and int(parse_status(ProcessFiles(own).read("status"))["Tgid"]) == group:
                raise BadArgument(
                    f"process {pid} traces this process: each would wait for the other"
                )
        files = ProcessFiles(pid)
        files.stat()  # NoSuchProcess, in the usual words

        def begin() -> int:
            status = int(lib.pm_trace_attach(self._tracer, pid))
            if not status:
                try:
                    # What is traced stays until this thread has waited for it. If the process
                    # is still there, its PID was its own all the time.
                    files.stat()
                except ProcmemError:
                    lib.pm_trace_end(self._tracer, 0)
                    lib.pm_trace_run(self._tracer)
                    return -errno.ESRCH
            return status

        return begin

    def _start(self, begin: Callable[[], int]) -> None:
        begun = threading.Event()
        status = 0

        def follow() -> None:
            nonlocal status
            # Signals are for the thread that started the trace. But each stop raises a SIGCHLD,
            # which the kernel discards at once only if this thread does not block it.
            others = signal.valid_signals() - {signal.SIGCHLD}
            signal.pthread_sigmask(signal.SIG_BLOCK, others)
            status = begin()
            if not status:
                # Here, since no traced process has been waited for yet: the PID is still its own.
                with contextlib.suppress(OSError, AttributeError):
                    self._pidfd = os.pidfd_open(int(self._tracer.pid))
            begun.set()
            if not status:
                self._error = lib.pm_trace_run(self._tracer)
            self._over.set()

        # ptrace(2) ties traced threads to this one thread; so wait(2) is called with __WNOTHREAD,
        # and leaves other children of this process alone.
        self._thread = threading.Thread(target=follow, name="procmem-trace", daemon=True)
        self._thread.start()
        begun.wait()
        if status:
            self._thread.join()
            raise refusal(-status, int(self._tracer.pid), attached=not self._path)

    def batches(self) -> Iterator[bytes]:
        """Whole records as they come, about fifty times a second; empty if there are none."""
        while True:
            over = self._over.wait(POLL)
            size = lib.pm_trace_take(self._tracer, self._room, lib.PM_TRACE_ROOM)
            data = ffi.buffer(self._room, size)[:]
            if self.watch is not None:
                self.watch(data)
            yield data
            if over and not size:
                break
        self._finish()

    def _finish(self) -> None:
        self._thread.join()
        tracer = self._tracer
        if self._path and tracer.exec_error:
            number = int(tracer.exec_error)
            raise SyscallError("execve", number, f"can't run {self._path}")
        if self._error == -errno.ENOSYS:
            raise Unsupported("PTRACE_GET_SYSCALL_INFO", "tracing needs Linux 5.3 or newer")
        if self._error:
            raise SyscallError("ptrace", -self._error)
        if tracer.ended:
            self.returncode = os.waitstatus_to_exitcode(tracer.status)

    def groups(self) -> Iterator[list[Event]]:
        """Events since the last group, about fifty times a second; a group may be empty."""
        for data in self.batches():
            yield events_in(data, self.lag, self.foreign)

    def __iter__(self) -> Iterator[Event]:
        for group in self.groups():
            yield from group

    def whole(self, limit: int | None = LIMIT) -> Trace:
        """Waits for the end of the trace and returns all of it; see trace()."""
        made = Trace(
            self.batches(),
            pid=self.pid,
            limit=limit,
            lag=self.lag,
            setuid_ignored=self.setuid_ignored,
        )
        made.returncode = self.returncode
        return made

    def send_signal(self, number: int) -> None:
        """Sends a signal to the program, if it is still running."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def detach(self) -> None:
        """Ends the trace: iterating gives the remaining events, and stops.

        A process that was attached to runs on. A program that was started is killed: its seccomp
        filter can't be removed, and without a tracer its memory calls would fail.
        """
        lib.pm_trace_end(self._tracer, 0)

    def close(self) -> None:
        """Ends the trace, and discards the remaining events; see detach()."""
        lib.pm_trace_end(self._tracer, 1)
        self._thread.join()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __enter__(self) -> Tracing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gains_rights(path: str) -> bool:
    """Whether execve(2) of a file would give other rights than this process has."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return bool(
        (status.st_mode & stat.S_ISUID and status.st_uid != os.geteuid())
        or (status.st_mode & stat.S_ISGID and status.st_gid != os.getegid())
    )


def find_program(name: bytes, path: bytes | None) -> bytes:
    """The file that execvp(3) would run.

    Raises:
        SyscallError: ENOENT, or EACCES if there is one that may not be run.
    """
    if b"/" in name:
        return name
    searched = os.fsdecode(os.defpath if path is None else path)
    found = shutil.which(os.fsdecode(name), path=searched) if name else None
    if found is not None:
        return os.fsencode(found)
    there = any(os.path.isfile(os.path.join(part, os.fsdecode(name))) for part in
                searched.split(os.pathsep)) if name else False  # fmt: skip
    raise SyscallError(
        "execve",
        errno.EACCES if there else errno.ENOENT,
        f"{os.fsdecode(name)}: {'it may not be run' if there else 'no such program in PATH'}",
    )


def trace(
    argv: Sequence[str | bytes | os.PathLike[str]] | None = None,
    *,
    pid: int | None = None,
    follow: bool = False,
    limit: int | None = LIMIT,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: Standard = None,
    stdout: Standard = None,
    stderr: Standard = None,
    seccomp: bool = True,
    malloc: bool | int = False,
) -> Trace:
    """Runs a program, or attaches to a process, until it exits, and records its memory calls.

    These are mmap, munmap, mremap, brk, mprotect, madvise, mlock and its variants, shmat, shmdt,
    clone, fork, vfork, execve and exit, of all its threads. Before and after each call
    /proc/PID/statm is read, while the thread is stopped.

    Args:
        argv: the program and its arguments; the program is searched for in PATH.
        pid: a running process, instead. It is stopped at every system call, a memory call or not,
            since only the process itself could install a seccomp filter.
        follow: record the calls of its children, too.
        limit: how many calls to keep; None: all. Further ones are counted in `dropped`.
        env: the program's environment; None: the environment of this process.
        cwd: its working directory.
        stdin: a file or a descriptor; None: standard input of this process.
        stdout: likewise.
        stderr: likewise.
        seccomp: stop the program at memory calls only, by a seccomp filter. The program's
            descendants inherit the filter and are traced until they end, recorded or not; for an
            ordinary user it also keeps set-user-ID programs from gaining rights. False: stop at
            every system call.
        malloc: record calls of malloc(3), calloc, realloc, free and the like, too, by breakpoints;
            a number: only so many. `breakpoints` of the Trace says where that was possible (on
            x86-64 only). A system call's `within` names the function that made it.

    Raises:
        SyscallError: the program can't be run (errno says why), or ptrace(2) is forbidden here.
        NoSuchProcess, AccessDenied: `pid` does not exist, or may not be traced.
        BadArgument: neither argv nor pid, or both, or the ID of this process.
        Unsupported: Linux before 5.3.

    An exception such as KeyboardInterrupt kills a program that was started, and detaches from a
    process that was running before.

    Source: ptrace(2), seccomp(2), proc_pid_statm(5).

    >>> traced = trace(["true"])
    >>> traced[0].name, traced[-1].name, traced.returncode
    ('execve', 'exit_group', 0)
    """
    with Tracing(
        argv,
        pid=pid,
        follow=follow,
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        seccomp=seccomp,
        malloc=malloc,
    ) as tracing:
        return tracing.whole(limit)
