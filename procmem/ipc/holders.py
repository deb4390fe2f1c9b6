"""Who holds a descriptor, and who is blocked at it."""

from __future__ import annotations

import os
from typing import NamedTuple

from procmem.procfs.descriptors import READING, WRITING, fdinfo_of

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["BlockedThread", "PipeEnd", "number_after"]


class PipeEnd:
    """A descriptor that leads to an end of a pipe, to a socket or an eventfd.

    Attributes:
        pid: the process that holds it (its thread group ID).
        fd: the descriptor's number.
        name: the process's command name (comm), at most 15 bytes.
        access: how it was opened: READING, WRITING or both.
    """

    __slots__ = ("_flags", "_inode", "_root", "access", "fd", "name", "pid")

    def __init__(
        self,
        pid: int,
        fd: int,
        name: str,
        access: int,
        inode: int,
        root: str | os.PathLike[str] = "/proc",
    ) -> None:
        self.pid = pid
        self.fd = fd
        self.name = name
        self.access = access
        self._inode = inode
        self._root = root
        self._flags: int | None = UNREAD

    def __repr__(self) -> str:
        return f"PipeEnd(pid={self.pid}, fd={self.fd}, name={self.name!r})"

    @property
    def reads(self) -> bool:
        """Whether it was opened for reading."""
        return bool(self.access & READING)

    @property
    def writes(self) -> bool:
        """Whether it was opened for writing."""
        return bool(self.access & WRITING)

    @property
    def flags(self) -> int | None:
        """The descriptor's flags, as fcntl(2) F_GETFL returns them, with O_CLOEXEC.

        procmem.pipes() of all processes reads them when they are first asked for, since they cost
        more than all the rest; None: the descriptor was closed by then.
        """
        if self._flags == UNREAD:
            text = fdinfo_of(self.pid, self.fd, self._root)
            same = number_after(text, b"ino:") in (None, self._inode)  # since Linux 5.14
            flags = number_after(text, b"flags:", 8)
            self._flags = flags if same else None
        return self._flags

    @property
    def nonblocking(self) -> bool | None:
        """Whether reads and writes through it never block (O_NONBLOCK); None: see flags."""
        return None if self.flags is None else bool(self.flags & os.O_NONBLOCK)

    @property
    def close_on_exec(self) -> bool | None:
        """Whether execve(2) closes it (O_CLOEXEC); None: see flags."""
        return None if self.flags is None else bool(self.flags & os.O_CLOEXEC)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "pid": self.pid,
            "fd": self.fd,
            "name": self.name,
            "flags": self.flags,
            "nonblocking": self.nonblocking,
            "close_on_exec": self.close_on_exec,
        }


UNREAD = -1


def number_after(text: bytes, name: bytes, base: int = 10) -> int | None:
    """A number in a text of fdinfo; None: it is not there."""
    for line in text.split(b"\n"):
        if line.startswith(name):
            try:
                return int(line[len(name) :], base)
            except ValueError:
                return None
    return None


class BlockedThread(NamedTuple):
    """A thread that is blocked in a call on a pipe, a socket or an eventfd.

    Attributes:
        pid, tid: its process and its own ID.
        call: the system call: read, write, poll, openat, ...
        to: what it wants to do: "read", "write", "open", "end" (poll for nothing but the end of
            the other side).
    """

    pid: int
    tid: int
    call: str
    to: str
