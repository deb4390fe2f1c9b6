"""A Python interpreter as another process, which makes one call after another and may block."""

from __future__ import annotations

import array
import ast
import contextlib
import fcntl
import os
import select
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from typing import NamedTuple

from procmem.errors import BadArgument, Unsupported
from procmem.ipc.blocked import pipes
from procmem.procfs.blocked import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from typing_extensions import Self

__all__ = ["WAITS", "Interpreter", "PipePair", "pipe_pair", "read_exactly", "waiting"]

PROGRAM = """\
import errno, os, sys
known = {"os": os}
for line in sys.stdin:
    try:
        answer = eval(line, known)
    except OSError as error:
        answer = errno.errorcode[error.errno]
    print(repr(answer), flush=True)
"""

STDIO = """\
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.fdopen.restype = ctypes.c_void_p
libc.ftell.restype = ctypes.c_long
libc.fwrite.restype = ctypes.c_size_t
libc.fdopen.argtypes = ctypes.c_int, ctypes.c_char_p
libc.fwrite.argtypes = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p
libc.fseek.argtypes = ctypes.c_void_p, ctypes.c_long, ctypes.c_int
libc.setvbuf.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
for one in libc.ftell, libc.fflush, libc.fclose:
    one.argtypes = (ctypes.c_void_p,)
def write(file, text):
    return libc.fwrite(text, 1, len(text), file)
known = {"libc": libc, "os": os, "write": write, "ctypes": ctypes, "errno": errno, "open": {}}
""" + PROGRAM.partition("\n")[2].partition("\n")[2]
"""The same with the C library's stdio: files are struct FILE, written with write()."""

WAITS = "waits"
"""What Interpreter.outcome() returns of a call that blocks."""

MOST = 60.0
"""Seconds after which a process that neither answers nor blocks is given up."""


class Interpreter:
    """A Python interpreter that evaluates expressions, one at a time.

    Args:
        fds: descriptors that it inherits, with their numbers.
        stdio: whether it has the C library's stdio: libc, and write(file, bytes).

    Attributes:
        pid: its process ID.

    Raises:
        Unsupported: no interpreter can be started, or it is not known what processes block in.
    """

    def __init__(self, fds: Sequence[int] = (), *, stdio: bool = False) -> None:
        if not sys.executable:
            raise Unsupported("an interpreter", "sys.executable is empty: run this with python3")
        try:
            self._started = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", STDIO if stdio else PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it gets Ctrl-C, too
                pass_fds=tuple(fds),
            )
        except OSError as error:
            raise Unsupported("an interpreter", f"{sys.executable}: {error.strerror}") from error
        self.pid = self._started.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> int:
        """Kills it if it runs; its exit status, or the negative number of a signal."""
        self._started.kill()
        return self._wait()

    def _wait(self) -> int:
        status = self._started.wait()
        for pipe in (self._started.stdin, self._started.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was not sent: it has ended
                    pipe.close()
        return status

    def begin(self, expression: str) -> None:
        """Lets it evaluate an expression, and does not wait for the answer."""
        if self._started.stdin is None or "\n" in expression:
            raise BadArgument("an expression of one line is needed")
        try:
            self._started.stdin.write(expression.encode() + b"\n")
            self._started.stdin.flush()
        except BrokenPipeError as error:
            raise Unsupported("an interpreter", f"{sys.executable} exited too early") from error

    def answer(self) -> Any:
        """The value of the expression; the name of the error, such as "EAGAIN", if it failed."""
        if not self._answered(MOST):
            raise Unsupported("an interpreter", f"it has not answered for {MOST:.0f} seconds")
        line = self._started.stdout.readline() if self._started.stdout else b""
        if not line:
            raise Unsupported("an interpreter", f"{sys.executable} exited too early")
        return ast.literal_eval(line.decode())

    def _answered(self, seconds: float) -> bool:
        waiting = select.poll()
        if self._started.stdout is not None:
            waiting.register(self._started.stdout, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))

    def ask(self, expression: str) -> Any:
        """Evaluates an expression; see answer()."""
        self.begin(expression)
        return self.answer()

    def last(self, expression: str) -> int | None:
        """Evaluates an expression that ends it; the exit status, or minus the signal's number.

        None: it answered instead of ending.
        """
        self.begin(expression)
        if not self._answered(MOST):
            raise Unsupported("an interpreter", f"it has not ended for {MOST:.0f} seconds")
        if self._started.stdout is not None and self._started.stdout.readline():
            return None
        return self._wait()

    def outcome(self, inode: int) -> Any:
        """The answer to what was begun, or "waits" if it is blocked in a pipe or FIFO.

        Args:
            inode: that of the pipe or FIFO.

        Raises:
            Unsupported: what it is blocked in can't be seen.
        """
        until = time.monotonic() + MOST
        while not self._answered(0.001):
            if self.blocked_in(inode):
                return WAITS
            if time.monotonic() > until:
                raise Unsupported("an interpreter", "it neither answers nor blocks in the pipe")
        return self.answer()

    def blocked_in(self, inode: int) -> bool:
        """Whether it is blocked in a pipe or FIFO now."""
        self._check_seen()
        return any(
            thread.pid == self.pid
            for pipe in pipes([self.pid])
            for thread in pipe.blocked
            if pipe.inode == inode
        )

    def _check_seen(self) -> None:
        try:
            with open(f"/proc/{self.pid}/syscall", "rb", buffering=0) as file:
                file.read(1)
            known = bool(NAMES)
        except OSError:
            known = False
        if not known:
            raise Unsupported(
                "/proc/PID/syscall", "which call a process is blocked in can't be seen here"
            )


# ---- pipes for it ------------------------------------------------------------------


class PipePair(NamedTuple):
    """Both ends of a pipe of this process, and its inode."""

    read: int
    write: int
    inode: int


@contextmanager
def pipe_pair(flags: int = 0) -> Iterator[PipePair]:
    """A new pipe, whose ends are closed at the end unless they were closed before.

    Args:
        flags: of pipe2(2), beside O_CLOEXEC.
    """
    ends = []
    for end in os.pipe2(flags | os.O_CLOEXEC):
        # Above 2, since an interpreter has its own 0, 1 and 2.
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3))
        os.close(end)
    inode = os.fstat(ends[0]).st_ino
    try:
        yield PipePair(ends[0], ends[1], inode)
    finally:
        for fd in ends:
            with contextlib.suppress(OSError):
                if os.fstat(fd).st_ino == inode:
                    os.close(fd)


def read_exactly(fd: int, size: int) -> bytes:
    """Reads this many bytes of a pipe, to which an interpreter writes.

    Raises:
        Unsupported: they do not come.
    """
    arriving = select.poll()
    arriving.register(fd, select.POLLIN)
    data = bytearray()
    while len(data) < size:
        if not arriving.poll(MOST * 1000):
            raise Unsupported("an interpreter", f"it has not written for {MOST:.0f} seconds")
        data += os.read(fd, min(size - len(data), 1 << 16))
    return bytes(data)


def waiting(fd: int) -> int:
    """The bytes in a pipe: FIONREAD of ioctl(2)."""
    number = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, number)
    return number[0]
