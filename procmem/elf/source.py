"""Reads bytes of a file, or of a part of it, on demand.

Nothing is mapped: a file that is cut short while it is mapped ends the process
with SIGBUS; a read just ends early.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Source", "fail", "open_source", "reopen", "source_of"]

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

KERNELS_OWN = "/proc", "/sys", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/fs/cgroup"

_kernel_devices: frozenset[int] | None = None

HEAD = 4096
"""Bytes that the first read takes along: small files, and what stands near the start."""


class Source:
    """An open regular file, or a window of one such as a member of an archive.

    Args:
        fd: its descriptor.
        start: where the window begins in the file.
        size: bytes of the window.
        path: named in errors.

    Attributes:
        path, start, size: as given.
        identity: what shows that the file is still the same: device, inode, size, mtime in ns.
        owns: whether the descriptor is closed with this object.
    """

    __slots__ = ("_fd", "_head", "identity", "owns", "path", "size", "start")

    def __init__(
        self,
        fd: int,
        start: int,
        size: int,
        path: str | bytes | os.PathLike[str],
        identity: tuple[int, ...] = (),
        *,
        owns: bool = False,
    ) -> None:
        self._fd = fd
        self.owns = owns
        self._head = b""
        self.start = start
        self.size = size
        self.path = path
        self.identity = identity

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the window; fewer where it, or the file, ends.

        Raises:
            OSError
        """
        if not 0 <= offset < self.size or size <= 0:
            return b""
        end = min(offset + size, self.size)
        if end <= HEAD:
            if not self._head:
                self._head = os.pread(self._fd, min(HEAD, self.size), self.start)
            return self._head[offset:end]
        parts = []
        while offset < end:
            part = os.pread(self._fd, end - offset, self.start + offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def window(self, start: int, size: int) -> Source:
        """A part of this window, which lives as long as it."""
        start = min(start, self.size)
        size = max(0, min(size, self.size - start))
        return Source(self._fd, self.start + start, size, self.path, self.identity)

    def close(self) -> None:
        """Closes the file, if this object opened it."""
        if self.owns:
            self.owns = False
            os.close(self._fd)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def open_source(path: str | bytes | os.PathLike[str]) -> Source:
    """Opens a regular file; anything else is refused, without waiting for it.

    Raises:
        OSError: there is no such file, or it may not be read.
        ElfError: it is a directory, a device, a FIFO or a socket.
    """
    # Opening a device may already do something, and a name may lead elsewhere by the time
    # that it is opened: so the inode is taken hold of first, which opens nothing (O_PATH).
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        check_kind(path, os.fstat(handle))
        fd = reopen(handle, path)
    finally:
        os.close(handle)
    return source_of(fd, path)


def reopen(handle: int, path: str | bytes | os.PathLike[str], dir_fd: int | None = None) -> int:
    """Opens for reading what an O_PATH descriptor refers to.

    Args:
        handle: it stays open.
        path: tried where there is no /proc.
        dir_fd: where the path begins.

    Raises:
        OSError
    """
    try:
        return os.open(f"/proc/self/fd/{handle}", READ)
    except FileNotFoundError:
        return os.open(path, READ, dir_fd=dir_fd)


def source_of(fd: int, path: str | bytes | os.PathLike[str]) -> Source:
    """A source over an open descriptor, which is closed with it.

    Raises:
        ElfError: it is no regular file.
    """
    try:
        found = os.fstat(fd)
        check_kind(path, found)
    except BaseException:
        os.close(fd)
        raise
    identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return Source(fd, 0, found.st_size, path, identity, owns=True)


def check_kind(path: str | bytes | os.PathLike[str], found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        is_directory = stat.S_ISDIR(found.st_mode)
        fail(path, "is a directory" if is_directory else "is not an ordinary file")
    if found.st_dev in kernel_devices():
        # Such as /proc/kcore, which claims 128 TiB, or kmsg, which waits.
        fail(path, "is not an ordinary file, but one that the kernel makes")


def kernel_devices() -> frozenset[int]:
    """Device numbers of the file systems whose files the kernel makes when they are read."""
    global _kernel_devices  # noqa: PLW0603 - they stay mounted
    if _kernel_devices is None:
        found = set()
        for place in KERNELS_OWN:
            try:
                found.add(os.stat(place).st_dev)
            except OSError:
                continue
        _kernel_devices = frozenset(found - {os.stat("/").st_dev})
    return _kernel_devices


def fail(path: str | bytes | os.PathLike[str], reason: str) -> NoReturn:
    """Raises ElfError, whose module is imported only now."""
    from procmem.errors import ElfError

    raise ElfError(os.fsdecode(path), reason)
