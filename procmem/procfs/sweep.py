"""Reads a few files of each process, at little more than what the kernel takes for them."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from procmem.procfs.files import CHUNK, READ

__all__ = ["Swept", "sweep"]

ENDED = (errno.ENOENT, errno.ESRCH, errno.ENOTDIR)


class Swept(NamedTuple):
    """The bytes of one process's files, all read through one descriptor of its directory.

    Attributes:
        pid: its ID.
        owner: its effective user ID. The kernel shows that as the directory's owner, also for
            processes that are not dumpable (task_dump_owner() in fs/proc/base.c).
        stat: the text of stat.
        text: the text of the file that was asked for; empty where there is no address space.
        error: why that file could not be read.
        statm: the text of statm; empty unless there was an error.
    """

    pid: int
    owner: int
    stat: bytes
    text: bytes
    error: OSError | None
    statm: bytes


def sweep(pid: int, root: str, name: str | None) -> Swept | None:
    """Reads stat and one more file of a process.

    A directory's descriptor belongs to one process, so that both texts are of the same one even
    if it ends meanwhile and another gets its PID.

    Args:
        pid: the process.
        root: where /proc is.
        name: the file, such as "smaps_rollup"; None: read statm in its place.

    Returns:
        None if the process has ended, or is hidden from this user.

    Raises:
        OSError: the reader has too many open files, and the like.
    """
    try:
        directory = os.open(f"{root}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (*ENDED, errno.EACCES, errno.EPERM):
            return None
        raise
    text = statm = b""
    failed = None
    try:
        owner = os.fstat(directory).st_uid
        stat = whole("stat", directory)
        if name is not None:
            try:
                text = whole(name, directory)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                    raise
                failed = error
        if failed is not None or name is None:
            statm = whole("statm", directory)
    except OSError as error:
        if error.errno in (*ENDED, errno.EACCES, errno.EPERM):
            return None
        raise
    finally:
        os.close(directory)
    return Swept(pid, owner, stat, text, failed, statm)


def whole(name: str, directory: int) -> bytes:
    """A short file, which the kernel returns in one read(2)."""
    fd = os.open(name, READ, dir_fd=directory)
    try:
        return os.read(fd, CHUNK)
    finally:
        os.close(fd)
