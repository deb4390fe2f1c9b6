"""The open descriptors of processes: what each leads to, from /proc/PID/fd and fdinfo."""

from __future__ import annotations

import errno
import os
import stat
import struct
from functools import cache
from typing import NamedTuple

from procmem.native import ffi, lib
from procmem.procfs.text import parse_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = [
    "ANON",
    "FIFOS",
    "FILES",
    "READING",
    "RECORD",
    "SOCKETS",
    "WRITING",
    "BlockedCall",
    "Descriptor",
    "Descriptors",
    "fdinfo_of",
    "own_descriptors",
    "read_descriptors",
]

FIFOS: int = lib.PM_FD_FIFOS
SOCKETS: int = lib.PM_FD_SOCKETS
ANON: int = lib.PM_FD_ANON
FILES: int = lib.PM_FD_FILES
READING, WRITING = 1, 2
"""Kinds of descriptors that read_descriptors() may be asked for, and how one was opened."""

GONE = (errno.ENOENT, errno.ESRCH)


class Descriptor(NamedTuple):
    """An open descriptor of a process.

    Attributes:
        pid: the process.
        fd: its number.
        dev, inode: what it leads to; dev is major << 32 | minor.
        mode: st_mode of stat(2): kind and permissions; the kind of an eventfd and the like is 0.
        access: of FIFOS, how it was opened: READING, WRITING, or both; 0 for other kinds.
        name: the text of the link /proc/PID/fd/N; empty for sockets and pipes without a name.
        size, blocks, links: st_size, st_blocks (512 bytes each) and st_nlink of stat(2).
        rdev: of a device, major << 32 | minor.
        owner: user ID of the owner of what it leads to.
    """

    pid: int
    fd: int
    dev: int
    inode: int
    mode: int
    access: int
    name: bytes
    size: int
    blocks: int
    links: int
    rdev: int
    owner: int

    @property
    def is_fifo(self) -> bool:
        """Whether it is an end of a pipe or of a FIFO."""
        return stat.S_ISFIFO(self.mode)

    @property
    def is_socket(self) -> bool:
        """Whether it is a socket."""
        return stat.S_ISSOCK(self.mode)


class BlockedCall(NamedTuple):
    """A thread that does not run, and the call that it is in (proc_pid_syscall(5)).

    Attributes:
        pid, tid: its IDs.
        number: of the call; -1: none.
        arguments: of the call.
    """

    pid: int
    tid: int
    number: int
    arguments: tuple[int, ...]


class Descriptors(NamedTuple):
    """Descriptors of several processes.

    Attributes:
        records: those of the kinds that were asked for, packed.
        text: the texts that they refer to.
        seen: how many descriptors of all kinds were looked through.
        processes: how many processes were read.
        denied: PIDs of the processes that this user may not read.
        gone: how many ended meanwhile.
        names: the command names (comm) of the processes whose descriptors are listed.
        calls: the threads of all processes that do not run, if they were asked for.
    """

    records: bytes
    text: bytes
    seen: int
    processes: int
    denied: list[int]
    gone: int
    names: dict[int, str]
    calls: list[BlockedCall]

    @property
    def listed(self) -> list[Descriptor]:
        """The descriptors, by process, then as the kernel lists them."""
        text = self.text
        return [
            Descriptor(
                pid, fd, dev, inode, mode, access, text[name : name + size],
                length, blocks, links, rdev, owner,
            )
            for dev, inode, length, blocks, rdev, pid, fd, mode, links, access, name, size, owner
            in RECORD.iter_unpack(self.records)
        ]  # fmt: skip


RECORD = struct.Struct("=5Q2i6I")
"""pm_descriptor of native/descriptors.h; attributes of cffi take ten times as long."""


@cache
def pipe_device() -> int:
    """The device number of the kernel's file system of pipes, major << 32 | minor."""
    ends = os.pipe()
    try:
        dev = os.fstat(ends[0]).st_dev
        return os.major(dev) << 32 | os.minor(dev)
    finally:
        for fd in ends:
            os.close(fd)


def read_descriptors(
    pids: Iterable[int],
    kinds: int,
    root: str | os.PathLike[str] = "/proc",
    *,
    calls: bool = False,
) -> Descriptors:
    """The descriptors of some processes.

    Nothing is opened that they lead to: a pipe's ends stay as many as they are.

    Args:
        pids: process IDs.
        kinds: FIFOS, SOCKETS, ANON or FILES (regular files and character devices), or several.
        root: a /proc tree.
        calls: whether to read what the processes' threads are blocked in, too.

    Raises:
        Unsupported: root is no live /proc.

    Source: proc_pid_fd(5), proc_pid_fdinfo(5).
    """
    made = lib.pm_descriptors_new()
    if made == ffi.NULL:
        raise MemoryError
    found = ffi.gc(made, lib.pm_descriptors_free)
    try:
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        from procmem.errors import Unsupported

        raise Unsupported("proc", f"{os.fspath(root)}: {error.strerror}") from error
    if not lib.pm_is_proc(directory):
        from procmem.errors import Unsupported

        os.close(directory)
        raise Unsupported(
            "fd", f"{os.fspath(root)} is no live /proc: saved files do not show open descriptors"
        )
    denied: list[int] = []
    processes = gone = 0
    try:
        for pid in pids:
            status = scan_process(found, directory, pid, kinds)
            if status in (-errno.EACCES, -errno.EPERM):
                if not is_kernel_thread(directory, pid):
                    denied.append(pid)
            elif -status in GONE:
                gone += 1
            elif status:
                raise OSError(-status, os.strerror(-status), f"{os.fspath(root)}/{pid}/fd")
            else:
                processes += 1
                if calls and lib.pm_blocked_scan(found, directory, pid) == -errno.ENOMEM:
                    raise MemoryError
    finally:
        os.close(directory)
    text = bytes(ffi.buffer(found.text, found.text_size)) if found.text_size else b""
    return Descriptors(
        bytes(ffi.buffer(found.list, found.count * RECORD.size)) if found.count else b"",
        text,
        int(found.seen),
        processes,
        denied,
        gone,
        {
            one.pid: text[one.name : one.name + one.name_size].decode("utf-8", "surrogateescape")
            for one in found.owners[0 : found.owner_count]
        },
        as_calls(found),
    )


def is_kernel_thread(root: int, pid: int) -> bool:
    """Whether a process is a thread of the kernel, which has no descriptors."""
    try:
        fd = os.open(f"{pid}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=root)
    except OSError:
        return False
    try:
        return parse_stat(os.read(fd, 4096)).is_kernel_thread
    except OSError:
        return False
    finally:
        os.close(fd)


def scan_process(found: Any, root: int, pid: int, kinds: int) -> int:
    """Adds those of one process; 0 or a negated errno."""
    seen = found.seen
    status = int(lib.pm_descriptors_scan(found, root, b"%d" % pid, pid, kinds, pipe_device()))
    denied = status in (-errno.EACCES, -errno.EPERM)
    if found.seen != seen or (status and not denied):
        return status
    # A leading thread that has exited shows none, and only to root: those of the process are
    # another thread's.
    if denied and not has_exited(root, pid):
        return status
    try:
        threads = os.stat(f"{pid}/task", dir_fd=root).st_nlink - 2
        if threads < 2:
            return status
        fd = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        try:
            tids = os.listdir(fd)
        finally:
            os.close(fd)
    except OSError:
        return 0
    for tid in tids:
        name = f"{pid}/task/{tid}".encode()
        status = int(lib.pm_descriptors_scan(found, root, name, pid, kinds, pipe_device()))
        if found.seen != seen:
            return status
    return status if denied else 0


def has_exited(root: int, pid: int) -> bool:
    """Whether the leading thread of a process is a zombie (proc_pid_stat(5))."""
    try:
        fd = os.open(f"{pid}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=root)
        try:
            text = os.read(fd, 1 << 12)
        finally:
            os.close(fd)
    except OSError:
        return False
    return text.rpartition(b") ")[2].startswith(b"Z")


CALL = struct.Struct("=6Q2iq")
"""pm_blocked of native/descriptors.h."""


def as_calls(found: Any) -> list[BlockedCall]:
    """The blocked threads as Python objects."""
    if not found.blocked_count:
        return []
    data = bytes(ffi.buffer(found.blocked, found.blocked_count * CALL.size))
    return [
        BlockedCall(pid, tid, number, tuple(arguments))
        for *arguments, pid, tid, number in CALL.iter_unpack(data)
    ]


def own_descriptors() -> dict[int, str]:
    """The open descriptors of this process, each with the text of its link (proc_pid_fd(5))."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor that listed them
            continue
    return found


def fdinfo_of(pid: int, fd: int, root: str | os.PathLike[str] = "/proc") -> bytes:
    """The text of /proc/PID/fdinfo/FD; empty if it can't be read."""
    try:
        file = os.open(f"{os.fspath(root)}/{pid}/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        data = b""
        while part := os.read(file, 65536):
            data += part
        return data
    except OSError:
        return b""
    finally:
        os.close(file)
