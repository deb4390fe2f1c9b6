"""Starting and ending a specimen."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
from typing import NamedTuple

from procmem import native
from procmem.errors import Unsupported
from procmem.native import lib

__all__ = ["PROGRAMS", "Launched", "end", "launch", "launch_best"]

PROGRAMS = {"program": "specimen", "libc": "specimen_libc"}
"""Files beside the native libraries, by the kind of specimen."""


ENVIRONMENT: dict[str, dict[str, str]] = {
    "program": {},
    # With rseq(2) the kernel writes into a thread's memory whenever that gets a CPU, which may be
    # in the middle of a fork. Nothing else of our environment is on its stack or changes libc.
    "libc": {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"},
}


class Launched(NamedTuple):
    """A specimen that waits for its first request.

    Attributes:
        kind: "program", "libc", or "fork" (a forked child that never leaves a loop in C).
        pid: its process ID.
        request, reply: our ends of its pipes.
        spare: the other end of the request pipe, kept open so that writing to a specimen that has
            ended fills the pipe, rather than raising SIGPIPE.
    """

    kind: str
    pid: int
    request: int
    reply: int
    spare: int


def launch(kind: str, flags: int, cpu: int) -> Launched:
    """Starts a specimen of a kind.

    Raises:
        Unsupported: its program is missing, or may not be run.
        OSError
    """
    fds: list[int] = []
    try:
        for _ in range(2):
            for end in os.pipe():
                # Above 2, since the program gets its own ends as descriptors 0 and 1.
                fds.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3))
                os.close(end)
        theirs_in, request, reply, theirs_out = fds
        pid = (
            fork(theirs_in, theirs_out, flags, cpu)
            if kind == "fork"
            else spawn(kind, theirs_in, theirs_out, flags, cpu)
        )
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    os.close(theirs_out)
    return Launched(kind, pid, request, reply, theirs_in)


def launch_best(kind: str | None, libc: bool, flags: int, cpu: int) -> Launched:
    """Starts a specimen of the given kind, or of the first kind that can be started here."""
    if kind is not None:
        return launch(kind, flags, cpu)
    if libc:
        return launch("libc", flags, cpu)
    try:
        return launch("program", flags, cpu)
    except Unsupported:
        return launch("fork", flags, cpu)


def spawn(kind: str, theirs_in: int, theirs_out: int, flags: int, cpu: int) -> int:
    path = os.path.join(os.path.dirname(os.path.abspath(native.__file__)), PROGRAMS[kind])
    try:
        return os.posix_spawn(
            path,
            [PROGRAMS[kind], str(os.getpid()), str(flags), str(cpu)],
            ENVIRONMENT[kind],
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs_in, 0),
                (os.POSIX_SPAWN_DUP2, theirs_out, 1),
                (os.POSIX_SPAWN_CLOSE, 2),
            ],
            setsigmask=[],
            setsigdef=[one for one in signal.valid_signals() if one < signal.SIGRTMIN],
        )
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOEXEC):
            raise Unsupported(
                f"the {PROGRAMS[kind]} program", f"{path} can't be run: {error.strerror}"
            ) from error
        raise


def fork(theirs_in: int, theirs_out: int, flags: int, cpu: int) -> int:
    pid = lib.pm_specimen_fork(theirs_in, theirs_out, flags, cpu)
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid), "fork")
    return int(pid)


def end(started: Launched, owner: int) -> int | None:
    """Closes the pipes and kills the process; its wait status, if it is our own child.

    `owner` is the process that started it: a fork of the owner must not kill it.
    """
    for fd in (started.request, started.reply, started.spare):
        with contextlib.suppress(OSError):
            os.close(fd)
    if os.getpid() != owner:
        return None
    try:
        # It has not been waited for, so the PID can't be another process's.
        os.kill(started.pid, signal.SIGKILL)
        return os.waitpid(started.pid, 0)[1]
    except (ProcessLookupError, ChildProcessError):
        return None
