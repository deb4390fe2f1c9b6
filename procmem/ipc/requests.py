"""What blocked threads wait for, read from their processes: descriptors, FIFOs that they open."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from procmem.ipc.asked import asked
from procmem.procfs.descriptors import fdinfo_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.ipc.asked import CallRequest
    from procmem.procfs.blocked import ThreadState

__all__ = ["OPENS", "Opening", "memory_of", "opening_of", "request_of"]

OPENS = frozenset(("open", "openat", "openat2", "creat"))
AT_FDCWD = -100
PATH_MAX = 4096
PAGE = os.sysconf("SC_PAGESIZE")


class Opening(NamedTuple):
    """A FIFO that a thread is opening.

    Attributes:
        path: as the thread gave it.
        dev, inode: of the FIFO, dev as major << 32 | minor.
        to: "read" or "write": what it is opened for.
    """

    path: str
    dev: int
    inode: int
    to: str


def memory_of(pid: int, address: int, size: int, root: str | os.PathLike[str] = "/proc") -> bytes:
    """Bytes of a process's memory; fewer, or none, if they can't be read."""
    if not address or size <= 0 or address >= 1 << 63:
        return b""
    try:
        fd = os.open(f"{os.fspath(root)}/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(fd, size, address)
    except (OSError, OverflowError):
        return b""
    finally:
        os.close(fd)


def request_of(thread: ThreadState, root: str | os.PathLike[str] = "/proc") -> CallRequest | None:
    """The descriptors that a thread waits for; None: for none."""
    if not thread.arguments:
        return None
    return asked(
        thread.call,
        thread.arguments,
        lambda address, size: memory_of(thread.pid, address, size, root),
        lambda fd: fdinfo_of(thread.pid, fd, root),
    )


def opening_of(thread: ThreadState, root: str | os.PathLike[str] = "/proc") -> Opening | None:
    """The FIFO that a thread is blocked in opening; None: it opens none."""
    if thread.call not in OPENS or thread.state != "S":
        return None
    base, flags = AT_FDCWD, 0
    if thread.call == "open":
        address, flags = thread.arguments[:2]
    elif thread.call == "creat":
        address, flags = thread.arguments[0], os.O_WRONLY
    else:
        base, address, flags = thread.arguments[:3]
        if thread.call == "openat2":  # struct open_how begins with the flags
            flags = int.from_bytes(memory_of(thread.pid, flags, 8, root), "little")
    path = path_at(thread.pid, address, root)
    if not path:
        return None
    place = f"{os.fspath(root)}/{thread.pid}"
    base &= 0xFFFFFFFF
    if path.startswith("/"):
        place += f"/root{path}"
    elif base == AT_FDCWD & 0xFFFFFFFF:
        place += f"/cwd/{path}"
    else:
        place += f"/fd/{base}/{path}"
    try:
        found = os.stat(place)
    except (OSError, ValueError):
        return None
    if not stat.S_ISFIFO(found.st_mode):
        return None
    to = "write" if flags & os.O_ACCMODE == os.O_WRONLY else "read"
    dev = os.major(found.st_dev) << 32 | os.minor(found.st_dev)
    return Opening(path, dev, found.st_ino, to)


def path_at(pid: int, address: int, root: str | os.PathLike[str]) -> str:
    """The string at an address; empty if it can't be read."""
    text = b""
    while len(text) < PATH_MAX:
        at = address + len(text)
        part = memory_of(pid, at, PAGE - at % PAGE, root)
        if not part:
            return ""
        head, end, _ = part.partition(b"\0")
        text += head
        if end:
            return os.fsdecode(text)
    return ""
