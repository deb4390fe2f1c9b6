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

__all__ = ["PROGRAMS", "Launched", "end", "launch"]

PROGRAMS = {"program": "specimen", "libc": "specimen_libc"}
"""Files beside the native libraries, by the kind of specimen."""


ENVIRONMENT: dict[str, dict[str, str]] = {
    "program": {},
    # With rseq(2) the kernel writes into a thread's memory whenever it gives it a CPU, which may be
    # in the middle of a fork. Nothing else of our environment goes on the stack, or sways libc.
    "libc": {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"},
}


class Launched(NamedTuple):
    """A specimen that waits for its first request.

    Attributes:
        kind: "program", "libc", or "fork" (a forked child that never leaves a loop in C).
        request, reply: our ends of its pipes.
        spare: the other end of the request pipe, held so that writing to a specimen that is
            gone fills the pipe, rather than raising SIGPIPE.
    """

    kind: str
    pid: int
    request: int
    reply: int
    spare: int


def launch(kind: str, flags: int, cpu: int) -> Launched:
    """Starts one.

    Raises:
        Unsupported: the program isn't there, or may not be run.
        OSError
    """
    fds: list[int] = []
    try:
        for _ in range(2):
            for end in os.pipe():
                # Above the three that the program's own ends are put on.
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
    """Closes the pipes, and takes the process away; its wait status, if it is our own child.

    `owner` is the process that started it: a fork of that must not end what isn't its own.
    """
    for fd in (started.request, started.reply, started.spare):
        with contextlib.suppress(OSError):
            os.close(fd)
    if os.getpid() != owner:
        return None
    try:
        # Not yet waited for, so the PID can't be another's.
        os.kill(started.pid, signal.SIGKILL)
        return os.waitpid(started.pid, 0)[1]
    except (ProcessLookupError, ChildProcessError):
        return None
