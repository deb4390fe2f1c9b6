"""The regular files that a process has mapped or open, and what of them is in the page cache."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import NamedTuple

from procmem.errors import AccessDenied
from procmem.pages.cache import CacheUse, cache_of
from procmem.process.reading import read_maps
from procmem.procfs import pids
from procmem.procfs.mapped import names_on_disk, open_link, stat_link
from procmem.regions.kinds import RegionKind
from procmem.regions.region import PAGE_SIZE

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from procmem.procfs import ProcessFiles
    from procmem.regions import Region

__all__ = ["CachedFile", "HeldFile", "cached_files", "cached_path", "held_files", "page_cache"]

DELETED = " (deleted)"


class HeldFile(NamedTuple):
    """A regular file that a process has mapped or open.

    Attributes:
        path: as its link in /proc shows it, for this reader.
        device, inode: of stat(2), or of maps where the file can't be reached.
        deleted: it has no name any more.
        mapped, opened: whether the process has it mapped, or open as a descriptor.
        link: a name in the process's directory that leads to it; None: it can't be reached.
        status: of stat(2); None likewise.
    """

    path: str
    device: int
    inode: int
    deleted: bool
    mapped: bool
    opened: bool
    link: bytes | None
    status: os.stat_result | None

    @property
    def key(self) -> tuple[int, int]:
        """What identifies it on this machine: device and inode."""
        return self.device, self.inode


class CachedFile(NamedTuple):
    """How much of a file is in the page cache.

    Attributes:
        path: its path; of a process's file as this reader sees it.
        cache: the figures; None: not known, for the `reason`.
        deleted: it has no name any more.
        mapped, opened: whether the process has it mapped, or open; False for a path.
        reason: why there are no figures; empty if there are.
    """

    path: str
    cache: CacheUse | None
    deleted: bool = False
    mapped: bool = False
    opened: bool = False
    reason: str = ""


def held_files(files: ProcessFiles) -> list[HeldFile]:
    """The regular files that a process has mapped or open, each once.

    Devices, pipes and sockets are left out. A mapped file is reached through map_files (root
    alone), else through its path if that leads to the same inode: files that were deleted or
    replaced are not reached by others.

    Raises:
        NoSuchProcess, ZombieProcess, KernelThread, AccessDenied, ProcessChanged

    Source: proc_pid_map_files(5), proc_pid_fd(5).
    """
    found: dict[tuple[int, int], HeldFile] = {}
    for region in first_of_each(read_maps(files)):
        one = mapped_file(files, region)
        if one is not None:
            found.setdefault(one.key, one)
    with contextlib.suppress(AccessDenied):
        for number in descriptors(files):
            link = b"fd/%d" % number
            status = stat_link(files, link, follow=True)
            if status is None or not stat.S_ISREG(status.st_mode):
                continue
            key = (status.st_dev, status.st_ino)
            if key in found:
                found[key] = found[key]._replace(opened=True)
                continue
            path = os.fsdecode(files.readlink(os.fsdecode(link)) or b"?")
            gone = status.st_nlink == 0 and path.endswith(DELETED)
            found[key] = HeldFile(
                path.removesuffix(DELETED) if gone else path,
                *key,
                gone,
                mapped=False,
                opened=True,
                link=link,
                status=status,
            )
    return list(found.values())


def first_of_each(regions: Iterable[Region]) -> Iterator[Region]:
    """The first region of each mapped file."""
    seen = set()
    for region in regions:
        if region.inode and region.pathname:
            key = (region.dev, region.inode)
            if key not in seen:
                seen.add(key)
                yield region


def mapped_file(files: ProcessFiles, region: Region) -> HeldFile | None:
    """The file of a region; None: it is no regular file."""
    path = region.pathname or ""
    exact = b"map_files/%x-%x" % (region.start, region.end)
    link: bytes | None = exact
    status = stat_link(files, exact, follow=True)
    if status is None:
        link = None
        raw = os.fsencode(path)
        for name in (b"exe", *names_on_disk(files, raw)):
            there = stat_link(files, name, follow=name == b"exe")
            if there is not None and is_of(there, region):
                link, status = name, there
                break
    if status is not None and not stat.S_ISREG(status.st_mode):
        return None
    device = os.makedev(region.dev.major, region.dev.minor)
    key = (device, region.inode) if status is None else (status.st_dev, status.st_ino)
    if status is None and region.kind is RegionKind.DEVICE:
        return None
    return HeldFile(path, *key, region.deleted, mapped=True, opened=False, link=link, status=status)


def is_of(status: os.stat_result, region: Region) -> bool:
    """Whether a file found by its path is the one that a region maps."""
    return status.st_ino == region.inode and (
        (os.major(status.st_dev), os.minor(status.st_dev)) == tuple(region.dev)
    )


def descriptors(files: ProcessFiles) -> list[int]:
    """The open descriptors of a process, ascending.

    Raises:
        AccessDenied, NoSuchProcess
    """
    fd = files.open("fd")
    try:
        return sorted(int(name) for name in os.listdir(fd) if name.isdecimal())
    except OSError as error:
        files.fail(error, f"{files.path}/fd")
    finally:
        os.close(fd)


def cached_files(files: ProcessFiles) -> list[CachedFile]:
    """What the page cache has of each file that a process has mapped or open, largest first.

    Nothing of the files is read. See held_files() for which are found.

    Raises:
        NoSuchProcess, ZombieProcess, KernelThread, AccessDenied, ProcessChanged
    """
    found = []
    for held in held_files(files):
        use, reason = None, ""
        if held.link is None or held.status is None:
            reason = "only root can open it: it was deleted or replaced, or is in another namespace"
            if os.geteuid() == 0:
                reason = "it can't be reached"
        else:
            fd = open_link(files, held.link, held.status)
            if fd is None:
                reason = "it can't be opened"
            else:
                use, reason = asked(fd)
        found.append(CachedFile(held.path, use, held.deleted, held.mapped, held.opened, reason))
    return by_size(found)


def cached_path(path: str | os.PathLike[str]) -> CachedFile:
    """What the page cache has of a file.

    Only a regular file is opened: a device may do something, and a FIFO may wait.

    Args:
        path: of the file; symbolic links are followed.

    Raises:
        OSError: it does not exist, or may not be opened.
    """
    name = os.fspath(path)
    opened = open_regular(name)
    if opened is None:
        return CachedFile(name, None, reason="not a regular file")
    deleted = os.fstat(opened).st_nlink == 0
    use, reason = asked(opened)
    return CachedFile(name, use, deleted, reason=reason)


def open_regular(path: str) -> int | None:
    """A descriptor of a file; None: it is no regular file, and was not opened.

    Raises:
        OSError: it does not exist, or may not be opened.
        Unsupported: there is no /proc.
    """
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        return os.open(f"/proc/self/fd/{handle}", flags)
    except OSError as error:
        if error.errno == errno.ENOENT:
            pids()  # raises where it is /proc that is not there
        error.filename = path
        raise
    finally:
        os.close(handle)


def page_cache(path: str | os.PathLike[str]) -> list[CachedFile]:
    """What the page cache has of a file, or of each regular file below a directory.

    Symbolic links below a directory are not followed, and file systems that are mounted below it
    are left out. Nothing of the files is read. Files that can't be opened have a `reason`.

    Args:
        path: of a file or a directory.

    Returns:
        The file; or all files, those with most in the cache first.

    Raises:
        OSError: there is no such file, or it may not be opened.
        Unsupported: there is no /proc.

    Source: cachestat(2); mincore(2) before Linux 6.5.

    >>> (found,) = page_cache(__file__)
    >>> found.cache is None or found.cache.cached >= 0
    True
    """
    if not stat.S_ISDIR(os.stat(path).st_mode):
        return [cached_path(path)]
    found = []
    for name in files_below(path):
        try:
            found.append(cached_path(name))
        except FileNotFoundError:
            continue
        except OSError as error:
            found.append(CachedFile(name, None, reason=error.strerror or str(error)))
    return by_size(found)


def files_below(path: str | os.PathLike[str]) -> Iterator[str]:
    """The regular files below a directory, on its file system; links are not followed.

    Raises:
        OSError: the directory may not be read.
    """
    device = os.stat(path).st_dev
    os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    for directory, names, files in os.walk(path):
        names[:] = [name for name in names if on_device(f"{directory}/{name}", device)]
        for name in files:
            whole = os.path.join(directory, name)
            try:
                regular = stat.S_ISREG(os.lstat(whole).st_mode)
            except OSError:
                continue
            if regular:
                yield whole


def on_device(path: str, device: int) -> bool:
    try:
        return os.lstat(path).st_dev == device
    except OSError:
        return False


def by_size(found: list[CachedFile]) -> list[CachedFile]:
    """The files with most in the page cache first, those without figures last."""
    return sorted(found, key=lambda one: (-(one.cache.cached if one.cache else -1), one.path))


def asked(fd: int) -> tuple[CacheUse | None, str]:
    """The figures of an open file, which is closed, or the reason why there are none."""
    try:
        return cache_of(fd, PAGE_SIZE), ""
    except PermissionError:
        return None, "only its owner, who may write it, and root may ask"
    except OSError as error:
        return None, error.strerror or str(error)
    finally:
        os.close(fd)
