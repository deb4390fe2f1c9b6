"""Pipes and FIFOs: who holds which end, what is in them, who is blocked in them."""

from __future__ import annotations

import os
import select
from _thread import allocate_lock
from functools import partial
from typing import NamedTuple, overload

from procmem.arrow import Columnar, SequenceOf
from procmem.native import ffi, lib
from procmem.procfs.descriptors import (
    FIFOS,
    READING,
    WRITING,
    fdinfo_of,
    pipe_device,
    read_descriptors,
)
from procmem.procfs.files import pids as all_pids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from procmem.arrow import Makers
    from procmem.columns import ArrowColumn
    from procmem.procfs.descriptors import Descriptor, Descriptors

__all__ = ["BlockedThread", "Pipe", "PipeEnd", "Pipes", "device_text", "find_pipes", "name_of"]

PAGE_SIZE = os.sysconf("SC_PAGESIZE")


class PipeEnd:
    """A descriptor that leads to an end of a pipe.

    Attributes:
        pid: the process that holds it (its thread group ID).
        fd: the descriptor's number.
        name: the process's command name (comm), at most 15 bytes.
        reads: whether it was opened for reading.
        writes: whether it was opened for writing.
    """

    __slots__ = ("_flags", "_inode", "_root", "fd", "name", "pid", "reads", "writes")

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
        self.reads = bool(access & READING)
        self.writes = bool(access & WRITING)
        self._inode = inode
        self._root = root
        self._flags: int | None = UNREAD

    def __repr__(self) -> str:
        return f"PipeEnd(pid={self.pid}, fd={self.fd}, name={self.name!r})"

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
    """A thread that is blocked in a call on a pipe.

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


class Pipe(NamedTuple):
    """A pipe or a FIFO.

    Attributes:
        inode: its number; for a pipe that of /proc/PID/fd: pipe:[INODE].
        dev: the device of the file system, major << 32 | minor.
        path: of a FIFO, as the first holder sees it; None: a pipe without a name.
        capacity: bytes that fit in; None: this user may not see it (the rights of ptrace(2) over
            a holder, and Linux 5.6, are needed).
        waiting: bytes that were written and not yet read; None in the same cases.
        slots: how many pages it has room for. A write takes a slot of its own unless it fits into
            the rest of the last one, so a pipe can be full before `waiting` reaches `capacity`.
        full: whether all slots are taken; None: not known.
        readers, writers: the descriptors of its ends; one that was opened O_RDWR is in both.
        has_readers, has_writers: whether there is such an end at all. True although none is
            listed: it is held by a process that could not be read, or by none (it is being sent
            through a socket). None: not known.
        blocked: the threads that are blocked in it.
    """

    inode: int
    dev: int
    path: str | None
    capacity: int | None
    waiting: int | None
    slots: int | None
    full: bool | None
    readers: tuple[PipeEnd, ...]
    writers: tuple[PipeEnd, ...]
    has_readers: bool | None
    has_writers: bool | None
    blocked: tuple[BlockedThread, ...]

    @property
    def name(self) -> str:
        """Its path, or "pipe 81"."""
        return self.path or f"pipe {self.inode}"

    @property
    def pids(self) -> list[int]:
        """The processes that hold an end of it or are blocked in it, ascending."""
        held = [end.pid for end in (*self.readers, *self.writers)]
        return sorted({*held, *(thread.pid for thread in self.blocked)})

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "inode": self.inode,
            "path": self.path,
            "capacity": self.capacity,
            "waiting": self.waiting,
            "slots": self.slots,
            "full": self.full,
            "readers": [end.to_dict() for end in self.readers],
            "writers": [end.to_dict() for end in self.writers],
            "has_readers": self.has_readers,
            "has_writers": self.has_writers,
            "blocked": [thread._asdict() for thread in self.blocked],
        }


class Pipes(Columnar, SequenceOf[Pipe]):
    """Pipes, by inode, and what could not be seen.

    Attributes:
        listed: the pipes.
        processes: how many processes' descriptors were read.
        denied: PIDs of the processes whose descriptors this user may not read: they may hold
            further ends.
        gone: how many processes ended meanwhile.
    """

    __slots__ = ("denied", "gone", "listed", "processes")

    def __init__(self, listed: Sequence[Pipe], processes: int, denied: list[int], gone: int):
        self.listed = listed
        self.processes = processes
        self.denied = denied
        self.gone = gone

    @overload
    def __getitem__(self, index: int) -> Pipe: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Pipe]: ...

    def __getitem__(self, index: int | slice) -> Pipe | Sequence[Pipe]:
        return self.listed[index]

    def __len__(self) -> int:
        return len(self.listed)

    def __repr__(self) -> str:
        denied = f", {len(self.denied)} processes denied" if self.denied else ""
        return f"<Pipes: {len(self.listed)}{denied}>"

    def of(self, pid: int) -> Pipes:
        """Those that a process holds an end of, or is blocked in."""
        return self.among({pid})

    def among(self, pids: set[int]) -> Pipes:
        """Those that any of some processes holds an end of, or is blocked in."""
        chosen = [pipe for pipe in self.listed if not pids.isdisjoint(pipe.pids)]
        return Pipes(chosen, self.processes, self.denied, self.gone)

    def arrow_makers(self) -> Makers:
        """What makes each column for data frames, a row for each pipe.

        readers, writers and blocked are how many there are.
        """
        from procmem.columns import booleans, categories, numbers, texts

        listed = self.listed

        def values(name: str, unit: str) -> ArrowColumn:
            return numbers(name, [getattr(pipe, name) for pipe in listed]).described(unit)

        def counts(name: str) -> ArrowColumn:
            return numbers(name, [len(getattr(pipe, name)) for pipe in listed])

        def truths(name: str) -> ArrowColumn:
            return booleans(name, [getattr(pipe, name) for pipe in listed])

        sizes = {"capacity": "bytes", "waiting": "bytes", "slots": "pages"}
        return {
            "inode": lambda: numbers("inode", [pipe.inode for pipe in listed]),
            "dev": lambda: categories("dev", [device_text(pipe.dev) for pipe in listed]),
            "path": lambda: texts("path", [pipe.path for pipe in listed]),
            **{name: partial(values, name, unit) for name, unit in sizes.items()},
            "full": partial(truths, "full"),
            **{name: partial(counts, name) for name in ("readers", "writers", "blocked")},
            **{name: partial(truths, name) for name in ("has_readers", "has_writers")},
        }

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "pipes": [pipe.to_dict() for pipe in self.listed],
            "processes": self.processes,
            "denied": self.denied,
            "gone": self.gone,
        }


def device_text(dev: int) -> str:
    """A device, major << 32 | minor, as proc_pid_maps(5) prints it."""
    return f"{dev >> 32:02x}:{dev & 0xFFFFFFFF:02x}"


def find_pipes(root: str | os.PathLike[str] = "/proc") -> Pipes:
    """All pipes and FIFOs that processes hold, without who is blocked in them.

    Raises:
        Unsupported: root is no live /proc.
    """
    return pipes_from(read_descriptors(all_pids(root), FIFOS, root), root)


def pipes_from(found: Descriptors, root: str | os.PathLike[str]) -> Pipes:
    """The pipes that descriptors lead to, measured."""
    ends: dict[tuple[int, int], list[Descriptor]] = {}
    for one in found.listed:
        if one.access:
            ends.setdefault((one.inode, one.dev), []).append(one)
    fills = measured(ends)
    listed = [made(ends[key], found.names, fills[key], root) for key in sorted(ends)]
    return Pipes(listed, found.processes, found.denied, found.gone)


def made(
    group: list[Descriptor],
    names: dict[int, str],
    fill: Fill | None,
    root: str | os.PathLike[str],
) -> Pipe:
    """One pipe."""
    held = [
        PipeEnd(one.pid, one.fd, names.get(one.pid, ""), one.access, one.inode, root)
        for one in group
    ]
    readers = tuple(end for end in held if end.reads)
    writers = tuple(end for end in held if end.writes)
    first = group[0]
    path = os.fsdecode(first.name) if first.dev != pipe_device() else None
    return Pipe(
        first.inode,
        first.dev,
        path,
        fill.capacity if fill else None,
        fill.waiting if fill else None,
        fill.capacity // PAGE_SIZE if fill else None,
        fill.full if fill else None,
        readers,
        writers,
        True if readers else fill.has_readers if fill else None,
        True if writers else fill.has_writers if fill else None,
        (),
    )


def name_of(pid: int, root: str | os.PathLike[str] = "/proc") -> str:
    """The command name of a process; empty if it has ended."""
    try:
        fd = os.open(f"{os.fspath(root)}/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 64).decode("utf-8", "surrogateescape").removesuffix("\n")
    except OSError:
        return ""
    finally:
        os.close(fd)


# ---- capacity and fill ----


class Fill(NamedTuple):
    """What a pipe holds; None where the copied end does not show it."""

    capacity: int
    waiting: int
    full: bool | None
    has_readers: bool | None
    has_writers: bool | None


_copying = allocate_lock()
"""Held while a copy of a descriptor exists: a child that is forked by another thread then would
inherit the copy and keep the end open."""

os.register_at_fork(
    before=_copying.acquire,
    after_in_parent=_copying.release,
    after_in_child=_copying.release,
)


def measured(ends: dict[tuple[int, int], list[Descriptor]]) -> dict[tuple[int, int], Fill | None]:
    """What each pipe holds.

    A copy of an end is a reference to it: if its holder closes it meanwhile, the other side sees
    that when the copy is closed, microseconds later. With a copy of a write end, the end of file
    comes that much later, and nothing is lost. With a copy of the last read end a write could
    succeed that should have raised SIGPIPE. So only write ends are copied where there are any; it
    remains possible if the holder has meanwhile given the number of its write end to a read end.
    Where there is none, nobody can write, unless an unseen process holds one: a read end is copied.
    """
    found: dict[tuple[int, int], Fill | None] = dict.fromkeys(ends)
    out = ffi.new("pm_pipe *")
    with PidFds() as open_pid:
        for key in sorted(ends, key=lambda key: ends[key][0].pid):
            for one in [one for one in ends[key] if writes(one)] or ends[key]:
                pidfd = open_pid(one.pid)
                if pidfd < 0:
                    continue
                with _copying:
                    status = lib.pm_pipe_measure(pidfd, one.fd, one.dev, one.inode, out)
                if status == 0:
                    found[key] = fill_from(out, one)
                    break
    return found


def writes(one: Descriptor) -> bool:
    """Whether it is a write end."""
    return bool(one.access & WRITING)


def fill_from(out: Any, one: Descriptor) -> Fill:
    """What was measured at one end: poll(2) shows each side what concerns it."""
    reads = bool(one.access & READING)
    return Fill(
        out.capacity,
        out.waiting,
        not out.events & select.POLLOUT if writes(one) else None,
        True if reads else not out.events & select.POLLERR,
        True if writes(one) else not out.events & select.POLLHUP,
    )


class PidFds:
    """Opens pidfds, and keeps the last one open."""

    __slots__ = ("fd", "pid")

    def __init__(self) -> None:
        self.pid = self.fd = -1

    def __enter__(self) -> PidFds:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes it."""
        fd, self.fd, self.pid = self.fd, -1, -1
        if fd >= 0:
            os.close(fd)

    def __call__(self, pid: int) -> int:
        """That of a process; -1 if it can't be opened."""
        if pid != self.pid:
            self.close()
            self.pid = pid
            try:
                self.fd = os.pidfd_open(pid)
            except OSError:
                self.fd = -1
        return self.fd
