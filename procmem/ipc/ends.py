"""Pipes and FIFOs: who holds which end, what is in them, who is blocked in them."""

from __future__ import annotations

import os
import select
import struct
from _thread import allocate_lock
from functools import partial
from typing import NamedTuple, overload

from procmem.arrow import Columnar, SequenceOf
from procmem.ipc.holders import BlockedThread, PipeEnd
from procmem.ipc.pairs import Channels
from procmem.native import ffi, lib
from procmem.procfs.descriptors import (
    FIFOS,
    READING,
    RECORD,
    WRITING,
    pipe_device,
    read_descriptors,
)
from procmem.procfs.files import pids as all_pids

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from procmem.arrow import Makers
    from procmem.columns import ArrowColumn
    from procmem.ipc.pairs import EventFd, SocketPair
    from procmem.procfs.descriptors import Descriptors

__all__ = ["Pipe", "Pipes", "device_text", "find_pipes", "name_of", "pipes_from"]

PAGE_SIZE = os.sysconf("SC_PAGESIZE")


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

    __slots__ = ("_channels", "_pids", "_read", "denied", "gone", "listed", "processes")

    def __init__(
        self,
        listed: Sequence[Pipe],
        processes: int,
        denied: list[int],
        gone: int,
        *,
        read: Callable[[], Channels] | None = None,
        pids: set[int] | None = None,
    ) -> None:
        self.listed = listed
        self.processes = processes
        self.denied = denied
        self.gone = gone
        self._read = read
        self._pids = pids
        self._channels: Channels | None = None

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

    def _repr_html_(self) -> str:
        """What a notebook shows: each pipe with what is in it and who holds its ends."""
        from procmem.picture.markup import MOST_ROWS, block, table

        def number(value: int | None) -> str | None:
            return None if value is None else f"{value:,}"

        def held(ends: Sequence[PipeEnd]) -> str:
            return ", ".join(dict.fromkeys(f"{end.pid} ({end.name})" for end in ends))

        rows = [
            [
                pipe.name,
                number(pipe.waiting),
                number(pipe.capacity),
                held(pipe.readers),
                held(pipe.writers),
                ", ".join(str(thread.tid) for thread in pipe.blocked),
            ]
            for pipe in self.listed[:MOST_ROWS]
        ]
        heading = ["Pipe", "Bytes waiting", "Capacity", "Readers", "Writers", "Blocked threads"]
        left = len(self.listed) - len(rows)
        return block(
            f"Pipes: {len(self.listed):,}",
            table(heading, rows, "<>><<<"),
            f"Not shown: {left:,} more." if left else "",
            f"{len(self.denied):,} processes could not be read." if self.denied else "",
        )

    def of(self, pid: int) -> Pipes:
        """Those that a process holds an end of, or is blocked in."""
        return self.among({pid})

    def among(self, pids: set[int]) -> Pipes:
        """Those that any of some processes holds an end of, or is blocked in."""
        chosen = [pipe for pipe in self.listed if not pids.isdisjoint(pipe.pids)]
        among = set(pids) if self._pids is None else self._pids & pids
        return Pipes(chosen, self.processes, self.denied, self.gone, read=self._read, pids=among)

    @property
    def sockets(self) -> Sequence[SocketPair]:
        """The connected pairs of Unix sockets, of the same processes.

        They are read when they or the eventfds are first asked for, since that costs as much as
        the pipes. Sockets of other network namespaces are not among them.
        """
        return self._others().sockets

    @property
    def eventfds(self) -> Sequence[EventFd]:
        """The eventfds, of the same processes, read together with `sockets`."""
        return self._others().eventfds

    def _others(self) -> Channels:
        if self._channels is None:
            found = self._read() if self._read else Channels((), ())
            self._channels = found if self._pids is None else found.among(self._pids)
        return self._channels

    def arrow_makers(self) -> Makers:
        """What makes each column for data frames, a row for each pipe.

        readers, writers and blocked are how many there are.
        """
        from procmem.columns import booleans, categories, numbers, sourced, texts

        listed = self.listed

        def values(name: str, unit: str) -> ArrowColumn:
            return numbers(name, [getattr(pipe, name) for pipe in listed]).described(unit)

        def counts(name: str) -> ArrowColumn:
            return numbers(name, [len(getattr(pipe, name)) for pipe in listed])

        def truths(name: str) -> ArrowColumn:
            return booleans(name, [getattr(pipe, name) for pipe in listed])

        sizes = {"capacity": "bytes", "waiting": "bytes", "slots": "pages"}
        makers: Makers = {
            "inode": lambda: numbers("inode", [pipe.inode for pipe in listed]),
            "dev": lambda: categories("dev", [device_text(pipe.dev) for pipe in listed]),
            "path": lambda: texts("path", [pipe.path for pipe in listed]),
            **{name: partial(values, name, unit) for name, unit in sizes.items()},
            "full": partial(truths, "full"),
            **{name: partial(counts, name) for name in ("readers", "writers", "blocked")},
            **{name: partial(truths, name) for name in ("has_readers", "has_writers")},
        }
        return sourced(makers, SOURCES)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "pipes": [pipe.to_dict() for pipe in self.listed],
            "sockets": [pair.to_dict() for pair in self.sockets],
            "eventfds": [one.to_dict() for one in self.eventfds],
            "processes": self.processes,
            "denied": self.denied,
            "gone": self.gone,
        }


SOURCES = {
    **dict.fromkeys(("inode", "dev", "path"), "fd: the links, stat(2)"),
    "capacity": "fcntl(2): F_GETPIPE_SZ",
    "slots": "fcntl(2): F_GETPIPE_SZ",
    "waiting": "ioctl(2): FIONREAD",
    "full": "poll(2): POLLOUT",
    **dict.fromkeys(("readers", "writers"), "fd, fdinfo"),
    "blocked": "task/TID/syscall",
    "has_readers": "poll(2): POLLERR",
    "has_writers": "poll(2): POLLHUP",
}
"""Where each column is read; files are those of /proc/PID."""


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
    names, text, pipefs = found.names, found.text, pipe_device()
    ends: dict[tuple[int, int], list[PipeEnd]] = {}
    paths: dict[tuple[int, int], str] = {}
    # Records, not Descriptors: a machine has thousands, and those would take as long as the rest.
    for dev, inode, _, _, _, pid, fd, _, _, access, name, size, _ in RECORD.iter_unpack(
        found.records
    ):
        if not access:
            continue
        key = inode, dev
        end = PipeEnd(pid, fd, names.get(pid, ""), access, inode, root)
        if key in ends:
            ends[key].append(end)
        else:
            ends[key] = [end]
            if dev != pipefs:
                paths[key] = os.fsdecode(text[name : name + size])
    fills = measured(ends)
    listed = [made(*key, paths.get(key), ends[key], fills[key]) for key in sorted(ends)]
    return Pipes(listed, found.processes, found.denied, found.gone)


def made(inode: int, dev: int, path: str | None, held: list[PipeEnd], fill: Fill | None) -> Pipe:
    """One pipe."""
    readers = tuple([end for end in held if end.access & READING])
    writers = tuple([end for end in held if end.access & WRITING])
    return Pipe(
        inode,
        dev,
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
"""Held while copies of descriptors are made: a child that is forked by another thread then would
inherit the copy and keep the end open."""

os.register_at_fork(
    before=_copying.acquire,
    after_in_parent=_copying.release,
    after_in_child=_copying.release,
)

TOGETHER = 32
"""Pipes that are measured before a thread that forks may go on."""

MEASURED = struct.Struct("=2Q2i2Q2i")
"""pm_pipe of native/descriptors.h."""


def measured(ends: dict[tuple[int, int], list[PipeEnd]]) -> dict[tuple[int, int], Fill | None]:
    """What each pipe holds, by inode and device as the ends are.

    A copy of an end is a reference to it: if its holder closes it meanwhile, the other side sees
    that when the copy is closed, microseconds later. With a copy of a write end, the end of file
    comes that much later, and nothing is lost. With a copy of the last read end a write could
    succeed that should have raised SIGPIPE. So only write ends are copied where there are any; it
    remains possible if the holder has meanwhile given the number of its write end to a read end.
    Where there is none, nobody can write, unless an unseen process holds one: a read end is copied.
    """
    found: dict[tuple[int, int], Fill | None] = dict.fromkeys(ends)
    left = {
        key: [one for one in group if one.access & WRITING] or group for key, group in ends.items()
    }
    attempt = 0
    while left:
        asked = sorted([(group[attempt].pid, key) for key, group in left.items()])
        for start in range(0, len(asked), TOGETHER):
            some = [key for _, key in asked[start : start + TOGETHER]]
            found.update(
                zip(some, fills_of(some, [left[key][attempt] for key in some]), strict=True)
            )
        # Another process's descriptor may be copied, or one that was not closed meanwhile.
        attempt += 1
        left = {
            key: group for key, group in left.items() if found[key] is None and len(group) > attempt
        }
    return found


def fills_of(keys: Sequence[tuple[int, int]], ends: Sequence[PipeEnd]) -> list[Fill | None]:
    """What is measured at an end of each of some pipes; None: it could not be copied."""
    pack = MEASURED.pack
    data = bytearray(
        b"".join(
            [
                pack(dev, inode, end.pid, end.fd, 0, 0, 0, 0)
                for (inode, dev), end in zip(keys, ends, strict=True)
            ]
        )
    )
    with _copying:
        lib.pm_pipes_measure(ffi.from_buffer("pm_pipe[]", data), len(ends))
    return [
        None if status else fill_from(capacity, waiting, events, end.access)
        for end, (_, _, _, _, capacity, waiting, events, status) in zip(
            ends, MEASURED.iter_unpack(data), strict=True
        )
    ]


def fill_from(capacity: int, waiting: int, events: int, access: int) -> Fill:
    """What was measured at one end: poll(2) shows each side what concerns it."""
    is_writer = access & WRITING
    return Fill(
        capacity,
        waiting,
        not events & select.POLLOUT if is_writer else None,
        True if access & READING else not events & select.POLLERR,
        True if is_writer else not events & select.POLLHUP,
    )
