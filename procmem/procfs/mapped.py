"""The files that a process has mapped, and its memory: opened, never waited for.

A mapped file need not be what lies under its path now. Its inode is reached through
map_files (root alone), through exe, or through the path where device and inode agree.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from array import array
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.procfs.files import MemoryFile, ProcessFiles

__all__ = ["mapped_build_id", "names_on_disk", "open_link", "read_memory", "stat_link"]

QUERY_VMA = 3 << 30 | 104 << 16 | ord("f") << 8 | 17
"""PROCMAP_QUERY: _IOWR('f', 17, struct procmap_query) (include/uapi/linux/fs.h)."""

QUERY = Struct("=9Q4I2Q")

LONGEST_BUILD_ID = 20
"""BUILD_ID_SIZE_MAX of the kernel (lib/buildid.c): longer ones are not reported."""

NOT_HERE = (errno.ENOTTY, errno.EINVAL)

FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_query_refused = False


def mapped_build_id(maps: MemoryFile, address: int) -> bytes | None:
    """The build-id of the file that is mapped at an address, as the kernel reads it.

    It comes from the mapped inode itself, needs no right to open that, and faults
    nothing into the process.

    Args:
        maps: an open maps file.
        address: where a region of the file starts.

    Returns:
        The build-id; b"" where the file has none; None: not known (before Linux 6.11).
    """
    global _query_refused  # noqa: PLW0603 - the kernel's answer holds as long as we run
    if _query_refused:
        return None
    room = array("B", bytes(LONGEST_BUILD_ID))
    query = bytearray(
        QUERY.pack(
            QUERY.size, 0, address, 0, 0, 0, 0, 0, 0, 0, 0, 0, len(room), 0, room.buffer_info()[0]
        )
    )
    try:
        fcntl.ioctl(maps.fd, QUERY_VMA, query)
    except OSError as error:
        _query_refused = error.errno in NOT_HERE
        return None
    return room.tobytes()[: QUERY.unpack(query)[12]]


def names_on_disk(files: ProcessFiles, path: bytes) -> list[bytes]:
    """Names, in the process's directory, that may lead to what lies under a path of maps.

    maps shows paths as its reader sees them (d_path() in fs/d_path.c), and so does the
    link to the process's root: after chroot(2) that is no part of paths below it, and files
    that were mapped before may lie outside.
    """
    directory = files.directory()
    try:
        root = os.readlink(b"root", dir_fd=directory.fd).rstrip(b"/")
    except OSError:
        root = b""
    names = [b"root" + path[len(root) :]] if path.startswith(root + b"/") else []
    if root:
        theirs = stat_link(files, "ns/mnt", follow=True)
        ours = os.stat("/proc/self/ns/mnt") if theirs else None
        if theirs and ours and (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
            names.append(path)
    return names


def stat_link(files: ProcessFiles, name: str | bytes, *, follow: bool) -> os.stat_result | None:
    """What a name in the process's directory leads to; None if nothing, or it is hidden.

    Args:
        files: the process.
        name: such as "exe", "map_files/START-END" or "root/usr/bin/cat".
        follow: a link at its end too.
    """
    directory = files.directory()
    try:
        return os.stat(name, dir_fd=directory.fd, follow_symlinks=follow)
    except (OSError, ValueError):
        return None


def open_link(files: ProcessFiles, name: str | bytes, told: os.stat_result) -> int | None:
    """A descriptor of the regular file that stat_link() found; None if it can't be opened.

    Nothing else is opened: a device may do something, a FIFO may wait. The name may lead to one
    by now, so what it leads to is taken hold of first, which opens nothing (O_PATH).
    """
    if not stat.S_ISREG(told.st_mode):
        return None
    directory = files.directory()
    try:
        handle = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=directory.fd)
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(handle)
        if (found.st_dev, found.st_ino) != (told.st_dev, told.st_ino):
            return None
        return os.open(f"/proc/self/fd/{handle}", FLAGS)
    except OSError:
        return None
    finally:
        os.close(handle)


def read_memory(files: ProcessFiles, address: int, size: int) -> bytes:
    """Bytes of the process's memory, fewer where it ends or may not be read.

    Reading faults pages into the process that are not there yet: ask for what is resident.
    """
    directory = files.directory()
    try:
        fd = os.open(files.memory_name("mem"), FLAGS, dir_fd=directory.fd)
    except OSError:
        return b""
    parts = []
    try:
        while size:
            part = os.pread(fd, size, address)
            if not part:
                break
            parts.append(part)
            address += len(part)
            size -= len(part)
    except (OSError, OverflowError):
        pass
    finally:
        os.close(fd)
    return b"".join(parts)
