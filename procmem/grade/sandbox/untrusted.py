"""Untrusted files: copied, opened and removed without following links."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MACHINES",
    "Copied",
    "copy_file",
    "copy_tree",
    "open_below",
    "remove_below",
    "remove_tree",
    "used",
]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
DEEPEST = 40
"""The number of directories that are open at a time: trees may be deeper than the limit allows."""

MACHINES = frozenset((
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
))  # fmt: skip
"""Errors of this machine, not of a submission."""

KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def shown(path: str) -> str:
    """A path in one line, whatever bytes it contains."""
    return path.encode("utf-8", "backslashreplace").decode().encode("unicode_escape").decode(
        "ascii"
    ) if not path.isprintable() else path  # fmt: skip


class Copied:
    """What copy_tree() did.

    Attributes:
        notes: a sentence for each file that was left out.
        files: the number of files copied.
        bytes: the size of these files together.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.files = 0
        self.bytes = 0


def copy_tree(
    source: str,
    target: str,
    own: Callable[[str], None],
    *,
    most_bytes: int,
    most_files: int,
) -> Copied:
    """Copies regular files, directories, and symbolic links that lead to files of the same tree.

    Devices, FIFOs, sockets, other links, and what exceeds the limits are left out, with a note.

    Args:
        source: an existing directory, or a link to one.
        target: an empty directory.
        own: called with each copy, to change its owner.
        most_bytes: the limit of all files together.
        most_files: the limit of files and directories.

    Raises:
        OSError: source is not a readable directory; or the disk is full, or the like (MACHINES).
    """
    copied = Copied()
    root = os.path.realpath(source)
    entries = 0
    waiting = [""]
    os.listdir(root)
    while waiting:
        inner = waiting.pop()
        try:
            names = sorted(os.listdir(os.path.join(root, inner)))
        except OSError as error:
            copied.notes.append(f"{shown(inner)}: {error.strerror}")
            continue
        for name in names:
            path = os.path.join(inner, name)
            came, goes = os.path.join(root, path), os.path.join(target, path)
            entries += 1
            if entries > most_files:
                copied.notes.append(f"more than {most_files:,} files: the rest was left out")
                return copied
            try:
                found = os.lstat(came)
                if stat.S_ISLNK(found.st_mode):
                    leads = os.readlink(came)
                    real = os.path.realpath(came)
                    if os.path.isabs(leads) or os.path.commonpath([root, real]) != root:
                        copied.notes.append(
                            f"{shown(path)} is a link to outside of the submission: left out"
                        )
                        continue
                    os.symlink(leads, goes)
                elif stat.S_ISDIR(found.st_mode):
                    if path.count("/") >= DEEPEST:
                        copied.notes.append(f"{shown(path)} is nested too deeply: left out")
                        continue
                    os.mkdir(goes, 0o755)
                    waiting.append(path)
                elif not stat.S_ISREG(found.st_mode):
                    kind = KINDS.get(stat.S_IFMT(found.st_mode), "not a regular file")
                    copied.notes.append(f"{shown(path)} is {kind}: left out")
                    continue
                elif copied.bytes + found.st_size > most_bytes:
                    copied.notes.append(f"{shown(path)} is too large: left out")
                    continue
                else:
                    copied.bytes += copy_file(came, goes, most_bytes - copied.bytes)
                    copied.files += 1
                own(goes)
            except OSError as error:
                if error.errno in MACHINES:
                    raise
                copied.notes.append(f"{shown(path)}: {error.strerror}: left out")
    return copied


def copy_file(source: str, target: str, most: int) -> int:
    """Copies a regular file, at most `most` + 1 bytes; returns the number of bytes.

    Raises:
        OSError: it is not a regular file, or can't be read or written.
    """
    came = os.open(source, FILE)
    size = 0
    try:
        found = os.fstat(came)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it changed while it was read")
        mode = 0o755 if found.st_mode & 0o111 else 0o644
        goes = os.open(
            target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode
        )
        try:
            while size <= most and (data := os.read(came, 1 << 20)):
                size += os.write(goes, data)
        finally:
            os.close(goes)
    finally:
        os.close(came)
    return size


def open_below(directory: str, name: str) -> int:
    """A descriptor of a regular file below a directory; no link on the way is followed.

    Raises:
        OSError: it doesn't exist; ELOOP: a link; EINVAL: not a regular file, or a name with "..".
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if not parts or ".." in parts or name.startswith("/"):
        raise OSError(errno.EINVAL, "it is outside of the submission", name)
    fd = os.open(directory, DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = inner
        found = os.open(parts[-1], FILE, dir_fd=fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EINVAL, "it is not a regular file", name)
    return found


def used(directory: str, most_bytes: int, most_files: int) -> tuple[int, int]:
    """The bytes on disk and the files below a directory, counted up to a limit of each."""
    size = files = 0
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    with contextlib.suppress(OSError):
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                    if size > most_bytes or files > most_files:
                        return size, files
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                # No honest tree is that deep, and a file could hide in it.
                return size, most_files + 1
    return size, files


def remove_tree(path: str) -> None:
    """Removes a directory and everything below it, whatever its depth and modes.

    Raises:
        OSError: something can't be removed.
    """
    try:
        remove_below(path)
    except FileNotFoundError:
        return
    os.rmdir(path)


def remove_below(path: str) -> None:
    """Removes everything below a directory.

    Raises:
        OSError: something can't be removed.
    """
    top = os.open(path, DIRECTORY)
    try:
        moved = 0
        while True:
            before = moved
            moved = empty(top, top, 0, moved)
            if moved == before:
                break
    finally:
        os.close(top)


def empty(fd: int, top: int, depth: int, moved: int) -> int:
    """Empties a directory; what is too deep is moved to the top. Returns how many were moved."""
    os.fchmod(fd, 0o700)
    for name in os.listdir(fd):
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=fd)
            continue
        # A directory without permissions can't be opened, nor moved, by an ordinary user.
        os.chmod(name, 0o700, dir_fd=fd)
        if depth >= DEEPEST:
            moved += 1
            os.rename(name, f".procmem-{found.st_ino}-{moved}", src_dir_fd=fd, dst_dir_fd=top)
            continue
        inner = os.open(name, DIRECTORY, dir_fd=fd)
        try:
            moved = empty(inner, top, depth + 1, moved)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=fd)
    return moved
