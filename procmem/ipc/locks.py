"""Who waits for whose file lock, from /proc/locks."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FileLock", "holds_lock", "parse_locks"]


class FileLock(NamedTuple):
    """A lock of a file that a process waits for.

    Attributes:
        pid: the process that waits.
        kind: "flock", "fcntl" (POSIX), "OFD" (of an open file description), "lease".
        mode: "READ" or "WRITE": what it wants.
        dev: the device of the file's file system, as "fe:01".
        inode: the file's.
        owner: the process that took the lock; None: it belongs to an open file
            description, or to a process of another PID namespace.
    """

    pid: int
    kind: str
    mode: str
    dev: str
    inode: int
    owner: int | None


KINDS = {"FLOCK": "flock", "POSIX": "fcntl", "OFDLCK": "OFD", "LEASE": "lease", "DELEG": "lease"}


def parse_locks(data: bytes) -> list[FileLock]:
    r"""The locks that processes wait for, in a text of /proc/locks.

    Each follows the lock that is in its way, with the same number and an arrow.

    >>> parse_locks(b"1: FLOCK  ADVISORY  WRITE 7 fe:01:99 0 EOF\n"
    ...             b"1: -> FLOCK  ADVISORY  WRITE 8 fe:01:99 0 EOF\n")
    [FileLock(pid=8, kind='flock', mode='WRITE', dev='fe:01', inode=99, owner=7)]

    Source: proc_locks(5); fs/locks.c.
    """
    found = []
    owner: int | None = None
    for line in data.decode("ascii", "replace").splitlines():
        head, _, rest = line.partition(":")
        words = rest.split()
        if not head.strip().isdecimal() or len(words) < 5:
            continue
        waits = words[0] == "->"  # further to the right: for one that waits itself
        words = words[waits:]
        if len(words) < 5 or words[0] not in KINDS:
            continue
        try:
            pid = int(words[3])
            dev, _, inode = words[4].rpartition(":")
            number = int(inode)
        except ValueError:
            continue
        if waits:
            found.append(FileLock(pid, KINDS[words[0]], words[2], dev, number, owner))
        else:
            owner = pid if pid > 0 else None
    return found


def holds_lock(fdinfo: bytes, kind: str, inode: int) -> bool:
    r"""Whether a text of /proc/PID/fdinfo/N shows a lock of that kind on that file.

    >>> holds_lock(b"lock:\t1: FLOCK  ADVISORY  WRITE 7 fe:01:99 0 EOF\n", "flock", 99)
    True

    Source: proc_pid_fdinfo(5).
    """
    for line in fdinfo.split(b"\n"):
        words = line.decode("ascii", "replace").split()
        if len(words) > 6 and words[0] == "lock:" and KINDS.get(words[2]) == kind:
            return words[6].rpartition(":")[2] == str(inode)
    return False
