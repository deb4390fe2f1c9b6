"""Files that snapshots and recordings are written to: other programs' files are not overwritten."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat

from procmem.errors import ProcmemError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

__all__ = ["MAGIC", "append_to", "check_output", "is_snapshot", "replacing"]

MAGIC = b"procmem snapshots 1\n"
"""The first bytes of a compressed file of snapshots, and of a recording."""

JSON = re.compile(rb'\s*\[?\s*\{\s*"format"\s*:\s*"procmem\.snapshot/')

START = 256
"""Bytes at the start of a file that are read to find out what it is."""

LOOK = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

OTHERS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def is_snapshot(start: bytes) -> bool:
    """Whether a file with this start holds snapshots, compressed or as JSON, or a recording."""
    return start.startswith(MAGIC) or bool(JSON.match(start))


def check_output(
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    is_ours: Callable[[bytes], bool] = is_snapshot,
    what: str | None = "snapshot or recording",
) -> os.stat_result | None:
    """Checks that a file may be written, before there is anything to write.

    It must not exist yet, or be empty, or hold what procmem wrote. Only a regular file is opened,
    and only for reading.

    Args:
        path: the file.
        force: any file may be overwritten; symbolic links are followed, and what is no regular
            file is written to.
        is_ours: whether a file that starts with these bytes may be overwritten.
        what: such a file in words; None: none may be overwritten.

    Returns:
        The file that exists there now; None: none does.

    Raises:
        FileExistsError: another program's file has that name.
        BlockingIOError: a recorder is writing to it.
        IsADirectoryError, FileNotFoundError, NotADirectoryError, PermissionError, OSError
    """
    name = os.fspath(path)

    def fail(number: int, reason: str = "") -> None:
        raise OSError(number, reason or os.strerror(number), name)

    try:
        found = os.stat(name) if force else os.lstat(name)
    except FileNotFoundError:
        directory = os.path.dirname(os.path.realpath(name) if force else name) or "."
        if not name or name.endswith("/") or not os.path.isdir(directory):
            fail(errno.ENOENT)
        check_directory(directory, fail)
        return None
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        fail(errno.EISDIR)
    if kind != stat.S_IFREG:
        if not force:
            told = OTHERS.get(kind, "no regular file")
            fail(errno.EEXIST, f"it is {told}: name a file, or write to it with --force")
        return found
    with open(
        os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK), "rb"
    ) as file:
        if not force:
            start = file.read(START)
            if start and not is_ours(start):
                found_there = "it exists" if what is None else f"it is there and no {what}"
                reason = f"{found_there}: name another file, or overwrite it with --force"
                fail(errno.EEXIST, reason)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            fail(errno.EWOULDBLOCK, "another recorder writes to it")
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
    if not os.access(name, os.W_OK):
        fail(errno.EACCES)
    return found


def check_directory(directory: str, fail: Callable[[int], None]) -> None:
    """Fails if no file can be made in the directory."""
    if not os.access(directory, os.W_OK | os.X_OK):
        read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
        fail(errno.EROFS if read_only else errno.EACCES)


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    is_ours: Callable[[bytes], bool] = is_snapshot,
    what: str | None = "snapshot or recording",
) -> Iterator[BinaryIO]:
    """A file to write, which replaces `path` at the end of the block.

    If the block raises, `path` stays as it was.

    Args:
        path: the file.
        force: overwrite another program's file, too; see check_output().
        is_ours: as for check_output().
        what: likewise.

    Raises:
        As check_output().
    """
    found = check_output(path, force=force, is_ours=is_ours, what=what)
    name = os.path.realpath(path) if force else os.fspath(path)
    if found is not None and not stat.S_ISREG(found.st_mode):
        with open(os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY), "wb") as file:
            yield file
        return
    directory, base = os.path.split(name)
    temporary = os.path.join(directory, f".{base[:200]}.{secrets.token_hex(4)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(temporary, flags, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    try:
        try:
            with open(fd, "wb") as file:
                if found is not None:
                    os.fchmod(fd, stat.S_IMODE(found.st_mode))
                    with contextlib.suppress(OSError):
                        os.fchown(fd, found.st_uid, found.st_gid)
                yield file
                file.flush()
                os.fsync(fd)
            os.replace(temporary, name)
        except OSError as error:
            if isinstance(error, ProcmemError):  # of the block: it is not about this file
                raise
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def append_to(path: str | os.PathLike[str], *, force: bool = False) -> int:
    """Empties a file for a recording, and returns its descriptor, which holds a lock on it.

    Args:
        path: the file.
        force: as for check_output().

    Raises:
        As check_output().
    """
    name = os.fspath(path)
    found = check_output(path, force=force)
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    if found is None or stat.S_ISREG(found.st_mode):
        flags |= os.O_CREAT
    fd = os.open(name, flags if force else flags | os.O_NOFOLLOW, 0o666)
    try:
        claim(fd, name, force)
    except BaseException:
        os.close(fd)
        raise
    return fd


def claim(fd: int, name: str, force: bool) -> None:
    """Locks a file, and empties it if it may be overwritten."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        if not force:  # it was made since the check
            raise FileExistsError(errno.EEXIST, "it is no regular file", name)
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(errno.EWOULDBLOCK, "another recorder writes to it", name) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    # Checked again under the lock: another recorder may have written to it meanwhile.
    start = os.pread(fd, START, 0)
    if start and not is_snapshot(start) and not force:
        raise FileExistsError(errno.EEXIST, "it is there and no snapshot or recording", name)
    os.ftruncate(fd, 0)
