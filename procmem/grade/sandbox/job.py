"""A place of its own for one submission: directory, user and control group."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import signal
import socket
import sys
import tempfile

from procmem.grade.errors import MachineError, SandboxError
from procmem.grade.sandbox import cgroups
from procmem.grade.sandbox.jail import Jailed, jail_program
from procmem.grade.sandbox.kinds import (
    FIRST,
    FLAGS,
    INSIDE,
    LEAST_FREE,
    PATH,
    ROOTS,
    SYSTEM,
    TEMPORARY,
    UIDS,
)
from procmem.grade.sandbox.limits import BUILDING, RUNNING
from procmem.grade.sandbox.untrusted import MACHINES, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from procmem.grade.sandbox.limits import Limits

__all__ = ["Job"]


def claim_uid() -> tuple[int, socket.socket | None]:
    """A user ID for a job: as root, one that no other job has; otherwise this user's.

    An abstract socket marks it as taken, and disappears with its process.
    """
    if os.geteuid() != 0:
        return os.geteuid(), None
    start, count = UIDS, 65536
    with open("/proc/self/uid_map", encoding="ascii") as file:
        extents = [tuple(map(int, line.split())) for line in file]
    if not any(first <= start and start + count <= first + size for first, _, size in extents):
        # Inside a user namespace: the upper end of what is mapped, short of nobody.
        first, _, size = max(extents)
        start, count = max(first, 1000), min(first + size, 65534) - max(first, 1000)
    offset = os.getpid() * 16
    for attempt in range(max(count, 0)):
        uid = start + (offset + attempt) % count
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            held.bind(f"\0procmem-uid-{uid}")
            return uid, held
        except OSError:
            held.close()
    return 0, None


def tasks_of(uid: int) -> int:
    """The number of threads of a user."""
    count = 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def temporary_directory() -> str:
    """The directory for temporary files that this grader was started with; jobs have their own."""
    return tempfile.gettempdir().partition("/procmem-jobs-")[0]


def words_for(error: OSError) -> str:
    """An error of this machine as a sentence that says what to do."""
    there = temporary_directory()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{there} is full: free some space there, or set TMPDIR to another directory"
    if error.errno in (errno.EACCES, errno.EPERM) and error.filename == sys.executable:
        return f"{sys.executable}: {error.strerror}: this user must be able to run the interpreter"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT):
        return f"{there}: {error.strerror}: set TMPDIR to a directory that can be written to"
    if error.errno == errno.EAGAIN:
        return "no process can be started: is their number limited (ulimit -u)?"
    if error.errno in MACHINES:
        return f"{error.strerror}: nothing can be graded until that is fixed"
    return f"{type(error).__name__}: {error.strerror or error}"


def base() -> str:
    """The directory that holds the directories of this user's jobs."""
    path = os.path.join(tempfile.gettempdir(), f"procmem-jobs-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if found.st_uid != os.geteuid() or not os.path.isdir(path) or os.path.islink(path):
        raise SandboxError(f"{path} belongs to another user: set TMPDIR to another directory")
    os.chmod(path, 0o711)  # noqa: S103 - jobs of root have users of their own
    return path


def claim_place() -> tuple[str, int]:
    """Creates a directory for a job. Returns it and a descriptor that locks it."""
    try:
        return new_place(base())
    except OSError as error:
        raise MachineError(words_for(error)) from error


def new_place(parent: str) -> tuple[str, int]:
    guard = os.open(os.path.join(parent, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        remove_forgotten(parent)
        place = tempfile.mkdtemp(prefix="job-", dir=parent)
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(guard)
    os.chmod(place, 0o711)  # noqa: S103 - jobs of root have users of their own
    return place, lock


class Job:
    """The directory, user and processes of one submission; nothing is left after close().

    Args:
        kind: the kind of sandbox, one of KINDS.
        limits: the limits of a program.
        building: the limits of a build.
        readable: directories that programs may read, beside the system's own.
        hidden: directories in these that they may not read.

    Attributes:
        kind, limits, building: as given.
        directory: the directory of its files, outside of the sandbox.
        inside: the same directory in the sandbox.
        room: a directory for temporary files, where there are no namespaces.
        uid: the user that its programs run as.
    """

    def __init__(
        self,
        kind: str,
        *,
        limits: Limits = RUNNING,
        building: Limits = BUILDING,
        readable: Sequence[str] = (),
        hidden: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.limits = limits
        self.building = building
        self._readable = tuple(readable)
        self._hidden = tuple(hidden)
        self.uid, self._claim = claim_uid()
        self._cgroup: cgroups.Cgroup | None = None
        self._jail = jail_program()
        self._place = ""
        self._place, self._lock = claim_place()
        self.directory, self.room = (os.path.join(self._place, name) for name in ("files", "room"))
        for path in (self.directory, self.room):
            os.mkdir(path, 0o700)
            os.chmod(path, 0o700)  # whatever the umask
            self.own(path)
        self.inside = INSIDE if FLAGS[self.kind] & FIRST else self.directory
        where = cgroups.parents()
        cgroups.remove_forgotten(where)
        self._cgroup = cgroups.Cgroup(os.path.basename(self._place), where)

    def full(self) -> str:
        """A sentence if the file system of its directory is full; empty: it isn't."""
        found = os.statvfs(self._place)
        there = temporary_directory()
        if found.f_bavail * found.f_frsize < LEAST_FREE:
            return f"{there} is full: free some space there, or set TMPDIR to another directory"
        if found.f_files and not found.f_favail:
            return (
                f"{there} has no room for more files: remove some, or set TMPDIR to another "
                "directory"
            )
        return ""

    def noexec(self) -> str:
        """A sentence for when programs can't be executed in its directory."""
        return (
            f"programs can't be run in {temporary_directory()} (mounted noexec): set TMPDIR to a "
            "directory where they can"
        )

    @contextlib.contextmanager
    def staging(self) -> Iterator[str]:
        """A temporary directory on the same file system that its programs can't access."""
        path = tempfile.mkdtemp(prefix="incoming-", dir=self._place)
        try:
            yield path
        finally:
            remove_tree(path)

    def own(self, path: str) -> None:
        """Gives a file to the job's user."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def start(
        self,
        argv: Sequence[str | bytes],
        limits: Limits,
        stdin: int,
        stdout: int,
        *,
        environment: Mapping[str, str] | None = None,
        keep: int = -1,
    ) -> Jailed:
        """Starts a sandbox and in it a process for the program, which waits for begin().

        Args:
            argv: the program and its arguments; it is searched in the sandbox's PATH.
            limits: what it may use.
            stdin: a descriptor.
            stdout: a descriptor, also for its standard error.
            environment: variables beside PATH, HOME, TMPDIR and LANG.
            keep: a descriptor that the program inherits; -1: none.

        Raises:
            SandboxError: it can't be started.
        """
        if self._cgroup is not None:
            self._cgroup.limit(limits)
        temporary = "/tmp" if FLAGS[self.kind] & FIRST else self.room  # noqa: S108
        around = {"HOME": temporary, "LANG": "C.UTF-8", "PATH": PATH, "TMPDIR": temporary}

        def command(jail: int, theirs: int) -> list[str]:
            return self.command(jail, theirs, limits, stdin, stdout, keep)

        return Jailed(
            command,
            argv,
            limits,
            {**around, **(environment or {})},
            keep=(stdin, stdout, keep) if keep >= 0 else (stdin, stdout),
            jail=self._jail,
            directory=self.directory,
            cgroup=self._cgroup,
        )

    def readable(self) -> list[str]:
        """The paths that programs may read, beside their own directory."""
        hidden = [os.path.realpath(path) for path in self._hidden]
        roots = (path for path in (*ROOTS, *SYSTEM, *self._readable) if os.path.lexists(path))
        return [part for path in roots for part in around(path, hidden)]

    def command(self, jail: int, theirs: int, limits: Limits, stdin: int, stdout: int, keep: int
                ) -> list[str]:  # fmt: skip
        """The command line that starts a sandbox, up to the environment."""
        processes = limits.processes
        if os.geteuid() != 0 or self.uid == 0:
            # RLIMIT_NPROC counts all of a user's (up to Linux 5.13 across user namespaces).
            processes += tasks_of(self.uid)
        words = [
            theirs, FLAGS[self.kind], self.uid, self.uid if self._claim else os.getegid(),
            math.ceil(limits.cpu), processes, limits.descriptors, limits.file_size, TEMPORARY,
            stdin, stdout, keep, self.directory, self.inside, self.room,
        ]  # fmt: skip
        if self.kind == "bubblewrap":
            return [*self.bubblewrap(), f"/proc/self/fd/{jail}", *map(str, words)]
        return [self._jail, *map(str, words), *self.readable()]

    def bubblewrap(self) -> list[str]:
        """bwrap(1) with its options."""
        command = [
            self._jail,
            "run",
            "bwrap",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
        ]
        command += ["--unshare-cgroup-try", "--as-pid-1", "--hostname", "sandbox"]
        command += ["--cap-drop", "ALL"]
        if os.geteuid() == 0:
            for name in ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_PTRACE"):
                command += ["--cap-add", name]
        paths = self.readable()
        for path in paths:
            # Directories that bwrap makes on the way are closed to all but its own user.
            parts = path.split("/")[1:-1]
            for depth in range(0 if "/usr" in paths and parts[:1] == ["usr"] else len(parts)):
                command += ["--perms", "0755", "--dir", "/" + "/".join(parts[: depth + 1])]
            if os.path.islink(path):
                command += ["--symlink", os.readlink(path), path]
            else:
                command += ["--ro-bind", path, path]
        command += ["--proc", "/proc", "--dev", "/dev"]
        for path in ("/tmp", "/dev/shm"):  # noqa: S108 - the sandbox's own
            command += ["--perms", "1777", "--size", f"{TEMPORARY}", "--tmpfs", path]
        command += ["--bind", self.directory, INSIDE, "--chdir", "/"]
        return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--"]

    def close(self) -> None:
        """Ends all its processes and removes its directory."""
        if self._cgroup is not None:
            self._cgroup.close()
        if self._place and not FLAGS[self.kind] & FIRST:
            self._end_stragglers()
        if self._place:
            # What can't be removed is tried again by the next job.
            with contextlib.suppress(OSError):
                remove_tree(self._place)
            os.close(self._lock)
            self._place = ""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _end_stragglers(self) -> None:
        """Kills what is left if a program killed its parent, where there is no PID namespace."""
        mark = os.fsencode(self._place)
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and os.stat(f"/proc/{name}").st_uid == self.uid:
                    with open(f"/proc/{name}/environ", "rb") as file:
                        if mark in file.read():
                            os.kill(int(name), signal.SIGKILL)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def around(path: str, hidden: Sequence[str]) -> list[str]:
    """A directory, or, if a hidden one is in it, what else is in it."""
    if path in hidden or os.path.islink(path):
        return [] if path in hidden else [path]
    if not any(one.startswith(f"{path}/") for one in hidden):
        return [path]
    return [part for name in sorted(os.listdir(path)) for part in around(f"{path}/{name}", hidden)]


def remove_forgotten(parent: str) -> None:
    """Removes directories left by graders that were killed."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if not name.startswith("job-"):
            continue
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(path)
            finally:
                os.close(fd)
