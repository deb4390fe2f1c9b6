"""Containing programs that nobody trusts."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import math
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import NamedTuple

from procmem import native
from procmem.errors import Unsupported
from procmem.grade.errors import MachineError, SandboxError
from procmem.grade.sandbox import cgroups, waiting
from procmem.grade.sandbox.limits import BUILDING, RUNNING, Limits
from procmem.grade.sandbox.untrusted import MACHINES, remove_tree, used

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from procmem.grade.runs.run import Run

__all__ = ["KINDS", "Ended", "Jailed", "Job", "Sandbox"]

KINDS = ("bubblewrap", "namespaces", "landlock", "rlimits")
"""From the strongest to the weakest."""

INSIDE = "/submission"
"""Where a job's directory is seen inside: always the same, as figures are."""

PATH = "/usr/local/bin:/usr/bin:/bin"

MESSAGE = struct.Struct("=iiqqqqiiQ")
FIRST, NAMESPACES, LANDLOCK, SOCKETS, LASTING = 1, 2, 4, 8, 16
FLAGS = {
    "bubblewrap": FIRST,
    "namespaces": FIRST | NAMESPACES,
    "landlock": LANDLOCK | SOCKETS | LASTING,
    "rlimits": LASTING,
}
PATIENCE = 30.0
"""Seconds in which a sandbox must be up."""

UIDS = 0x70000000
"""No distribution gives these to anybody (systemd's UIDS-GIDS.md)."""

LEAST_FREE = 1 << 20
"""Bytes below which a disk counts as full."""

LABS = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "labs")
PAGE = os.sysconf("SC_PAGESIZE")
TEMPORARY = 64 << 20
"""Bytes of /tmp and of /dev/shm inside, each."""


ROOTS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
SYSTEM = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
    "/etc/localtime", "/sys/devices/system/cpu", "/sys/kernel/mm",
)  # fmt: skip
"""What the dynamic loader, the compiler's names and malloc look at."""


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
        status: its exit status; None if a signal killed it.
        signal: that signal, else None.
        seconds: from its start to its end.
        cpu: seconds of CPU time, with those of children it waited for.
        minor: faults of the program alone.
        major: faults that waited for a disk.
        peak: most resident bytes at a time.
        code: si_code of that signal, such as 1 (SEGV_MAPERR); None: not known.
        address: what was accessed; None: not known.
    """

    status: int | None
    signal: int | None
    seconds: float
    cpu: float
    minor: int
    major: int
    peak: int
    code: int | None = None
    address: int | None = None


def jail_program() -> str:
    path = os.path.join(os.path.dirname(os.path.abspath(native.__file__)), "jail")
    if not os.access(path, os.X_OK):
        raise Unsupported("the jail program", f"{path} was not built: is there a C compiler?")
    return path


@dataclass(frozen=True)
class Sandbox:
    """What programs are run in.

    Args:
        kind: one of KINDS; None: the strongest that works here.
        limits: of a program.
        building: of a build.
        readable: directories that programs may read beside the system's own.
        hidden: directories that they may not, though they lie in one of those: procmem and its
            labs, with their solutions, may be installed below /usr.
    """

    kind: str | None = None
    limits: Limits = RUNNING
    building: Limits = BUILDING
    readable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = (LABS,)

    def chosen(self) -> str:
        """The kind that is used.

        Raises:
            SandboxError: the one that was asked for does not work here.
        """
        if self.kind is None:
            for kind in KINDS:
                if not why_not(kind):
                    return kind
            raise MachineError(why_not(KINDS[-1]))
        if reason := why_not(self.kind):
            raise SandboxError(f"no sandbox of the kind {self.kind}: {reason}")
        return self.kind

    def warning(self) -> str:
        """What its user must know before anything is run; empty where real walls stand."""
        if self.chosen() != "rlimits":
            return ""
        said = (
            "NO SANDBOX works here but rlimits: a submission may read the checks, the other ones, "
            "and use the network"
        )
        if os.geteuid() != 0:
            said += "; it runs as you, and may change results and forge its grade"
        return (
            f"{said}. Grade only what you would run yourself; procmem doctor says what is missing."
        )

    def job(self) -> Job:
        """A place of its own for one submission: directory, user and control group."""
        return Job(self)


@functools.cache
def why_not(kind: str) -> str:
    """Why a kind of sandbox can't be had here; empty: it can."""
    if kind not in KINDS:
        return f"there is none of that name; there are {', '.join(KINDS)}"
    if kind == "bubblewrap" and shutil.which("bwrap", path=PATH) is None:
        return "bwrap is not installed (on Debian: apt-get install bubblewrap)"
    try:
        with (
            Job(Sandbox(kind), probing=True) as job,
            open(os.devnull, "r+b") as null,
            job.start(["/bin/true"], RUNNING, null.fileno(), null.fileno()) as jailed,
        ):
            jailed.begin()
    except SandboxError as error:
        return str(error)
    except OSError as error:
        return words_for(error)
    return ""


def claim_uid() -> tuple[int, socket.socket | None]:
    """A user ID that no other job has: as root one of its own, else this user's.

    An abstract socket says that it is taken: it goes away with its process.
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
    """How many threads a user has now."""
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
    """An error of the machine's with what helps."""
    there = temporary_directory()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{there} is full: free some space there, or set TMPDIR to another directory"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT):
        return f"{there}: {error.strerror}: set TMPDIR to a directory that can be written to"
    if error.errno == errno.EAGAIN:
        return "no process can be started: is their number limited (ulimit -u)?"
    if error.errno in MACHINES:
        return f"{error.strerror}: nothing can be graded until that is mended"
    return f"{type(error).__name__}: {error.strerror or error}"


def base() -> str:
    """The directory that holds the directories of this user's jobs."""
    path = os.path.join(tempfile.gettempdir(), f"procmem-jobs-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if found.st_uid != os.geteuid() or not os.path.isdir(path) or os.path.islink(path):
        raise SandboxError(f"{path} is somebody else's: set TMPDIR to another directory")
    os.chmod(path, 0o711)  # noqa: S103 - jobs of root have users of their own
    return path


def claim_place() -> tuple[str, int]:
    """A new directory, and a descriptor that locks it; what killed graders left is removed."""
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
    """A submission's place: nothing of it is left after close().

    Attributes:
        sandbox: the Sandbox.
        kind: which kind is used.
        directory: its files, as seen from outside.
        inside: the same, as its programs see it.
        room: another directory, for temporary files where there are no namespaces.
        uid: the user that its programs run as.
        runs: each Run of them.
    """

    def __init__(self, sandbox: Sandbox, *, probing: bool = False) -> None:
        self.sandbox = sandbox
        self.kind = sandbox.kind or "bubblewrap" if probing else sandbox.chosen()
        self.uid, self._claim = claim_uid()
        self.runs: list[Run] = []
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
        """What to say where its place is full, so that nothing can be written; empty: it isn't."""
        found = os.statvfs(self._place)
        there = temporary_directory()
        if found.f_bavail * found.f_frsize < LEAST_FREE:
            return f"{there} is full: free some space there, or set TMPDIR to another directory"
        if found.f_files and not found.f_favail:
            return (
                f"{there} has no room for more files: remove some, or set TMPDIR to another place"
            )
        return ""

    def noexec(self) -> str:
        """What to say where programs can't be run in its place."""
        return (
            f"programs can't be run in {temporary_directory()} (mounted noexec): set TMPDIR to a "
            "directory where they can"
        )

    @contextlib.contextmanager
    def staging(self) -> Iterator[str]:
        """A directory beside its own, on the same file system, that no program of it sees."""
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
        """Sets up a sandbox and a program in it, which waits for begin().

        Args:
            argv: the program and its arguments; it is looked for in the sandbox's PATH.
            limits: what it may use.
            stdin: a descriptor.
            stdout: a descriptor, for what it prints as errors too.
            environment: beside PATH, HOME, TMPDIR and LANG.
            keep: one more descriptor that the program gets, under the same number.

        Raises:
            SandboxError: it can't be set up.
        """
        if self._cgroup is not None:
            self._cgroup.limit(limits)
        temporary = "/tmp" if FLAGS[self.kind] & FIRST else self.room  # noqa: S108
        around = {"HOME": temporary, "LANG": "C.UTF-8", "PATH": PATH, "TMPDIR": temporary}
        return Jailed(self, argv, limits, stdin, stdout, {**around, **(environment or {})}, keep)

    def readable(self) -> list[str]:
        """What programs may read beside their own directory."""
        hidden = [os.path.realpath(path) for path in self.sandbox.hidden]
        roots = (
            path for path in (*ROOTS, *SYSTEM, *self.sandbox.readable) if os.path.lexists(path)
        )
        return [part for path in roots for part in around(path, hidden)]

    def command(self, jail: int, theirs: int, limits: Limits, stdin: int, stdout: int, keep: int
                ) -> list[str]:  # fmt: skip
        """The words that start a sandbox, up to the environment."""
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
        """Removes all of it."""
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
        """Where there is no PID namespace a program may have killed the one above it."""
        mark = os.fsencode(self._place)
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and os.stat(f"/proc/{name}").st_uid == self.uid:
                    with open(f"/proc/{name}/environ", "rb") as file:
                        if mark in file.read():
                            os.kill(int(name), signal.SIGKILL)

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def around(path: str, hidden: Sequence[str]) -> list[str]:
    """A directory, or what is in it where one of the hidden ones is."""
    if path in hidden or os.path.islink(path):
        return [] if path in hidden else [path]
    if not any(one.startswith(f"{path}/") for one in hidden):
        return [path]
    return [part for name in sorted(os.listdir(path)) for part in around(f"{path}/{name}", hidden)]


def remove_forgotten(parent: str) -> None:
    """Removes what graders that were killed have left."""
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


class Jailed:
    """A program in its sandbox; nothing of both is left after close().

    Attributes:
        pid: of the program, as seen from outside.
        first: of the process above it, whose descendants are all that runs in the sandbox.
        ended: how the program ended; None: it has not.
    """

    def __init__(
        self,
        job: Job,
        argv: Sequence[str | bytes],
        limits: Limits,
        stdin: int,
        stdout: int,
        environment: Mapping[str, str],
        keep: int,
    ) -> None:
        self.ended: Ended | None = None
        self.pid = self.first = 0
        self._began = self._look_at_disk = 0.0
        self._job = job
        self._limits = limits
        self._kills = 0 if job._cgroup is None else job._cgroup.killed()
        self.socket, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
        )
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.settimeout(PATIENCE)
        jail = os.open(job._jail, os.O_RDONLY | os.O_CLOEXEC)
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        try:
            words: list[str | bytes] = [
                *job.command(jail, theirs.fileno(), limits, stdin, stdout, keep),
                "--",
                *(f"{name}={value}" for name, value in environment.items()),
                "--",
                *argv,
            ]
            passed = {theirs.fileno(), jail, stdin, stdout, *([keep] if keep >= 0 else [])}
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=tuple(passed),
                env={"PATH": PATH},
                cwd="/",
                # Ctrl-C is for the grader, which then ends us in its own order.
                start_new_session=True,
            )
            theirs.close()
            try:
                self._set_up()
            except (SandboxError, OSError) as error:
                self.close()
                said.seek(0)
                why = said.read(2000).decode(errors="replace").strip()
                raise SandboxError(f"the sandbox did not start: {why or error}") from error
        except BaseException:
            theirs.close()
            self.socket.close()
            raise
        finally:
            os.close(jail)
            said.close()
        if job._cgroup is not None:
            job._cgroup.add(self.pid)

    def _set_up(self) -> None:
        while not self.pid:
            kind, number, pid, _ = self._receive()
            if kind == "I":
                self.first = pid
            elif kind == "C":
                self.pid = pid
                if number:
                    raise OSError(number, os.strerror(number))

    def _receive(self) -> tuple[str, int, int, tuple[int, ...]]:
        data, ancillary, _, _ = self.socket.recvmsg(MESSAGE.size, socket.CMSG_SPACE(12))
        if len(data) != MESSAGE.size:
            raise SandboxError("it ended at once")
        kind, number, *rest = MESSAGE.unpack(data)
        pid = 0
        for level, what, content in ancillary:
            if level == socket.SOL_SOCKET and what == socket.SCM_CREDENTIALS:
                pid = struct.unpack("=iII", content)[0]
        return chr(kind), number, pid, tuple(rest)

    def begin(self, *, watched: bool = False, traced: bool = False) -> None:
        """Lets the program begin.

        Args:
            watched: find out which address a fatal signal is about. It is traced then (ptrace(2)),
                and so nobody else can trace it.
            traced: the caller traces it with PTRACE_O_TRACESECCOMP: it stops at each call that
                opens a file.

        Raises:
            OSError: it can't be run (errno says why).
            SandboxError: its sandbox has gone.
        """
        self._began = time.monotonic()
        self.socket.send(b"w" if watched else b"t" if traced else b"g")
        kind, number, _, _ = self._receive()
        self.socket.setblocking(False)
        if kind == "X":
            raise OSError(number, os.strerror(number))

    def look(self) -> Ended | None:
        """How the program ended; None: it has not."""
        while self.ended is None:
            try:
                kind, number, _, rest = self._receive()
            except BlockingIOError:
                break
            except (SandboxError, OSError):
                # Without a PID namespace a program may kill what is above it.
                since = time.monotonic() - self._began
                self.ended = Ended(None, signal.SIGKILL, since, 0.0, 0, 0, 0)
                break
            if kind == "E":
                killed = number & 0x7F
                cpu, minor, major, peak, watched, code, address = rest
                self.ended = Ended(
                    None if killed else number >> 8,
                    killed or None,
                    time.monotonic() - self._began,
                    cpu / 1e6,
                    minor,
                    major,
                    peak,
                    code if watched else None,
                    address if watched else None,
                )
        return self.ended

    def cpu_seconds(self) -> tuple[float, float]:
        """CPU time of what runs in it now, and for how long others kept it from a CPU.

        The latter is told of single processes alone: many may keep each other from it.
        """
        ticks, longest = 0, 0
        pids = waiting.descendants(self.first)
        for pid in pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
                ticks += sum(map(int, file.read().rsplit(b")", 1)[1].split()[11:15]))
            with contextlib.suppress(OSError), open(f"/proc/{pid}/schedstat", "rb") as file:
                longest = max(longest, int(file.read().split()[1]))
        return ticks / os.sysconf("SC_CLK_TCK"), longest / 1e9 if len(pids) == 1 else 0.0

    def over(self, *, at_its_end: bool = False) -> tuple[str, str] | None:
        """Which of its limits it has passed, as a field of Limits and in words.

        What the kernel itself stops shows at the program's end alone.
        """
        limits, cgroup, ended = self._limits, self._job._cgroup, self.ended
        memory = "memory", f"it needs more than {limits.memory:,} bytes of memory"
        if cgroup is not None and cgroup.killed() > self._kills:
            # In a tmpfs files are memory: it may have been too many of them.
            return self._too_many_files() or memory
        if ended is not None and ended.signal == signal.SIGXFSZ:
            return "file_size", f"it wrote a file of more than {limits.file_size:,} bytes"
        if ended is not None and (
            ended.signal == signal.SIGXCPU
            or (ended.signal == signal.SIGKILL and ended.cpu >= limits.cpu)
        ):
            return "cpu", f"it computed for {ended.cpu:.0f} seconds"
        if not at_its_end:
            resident = 0
            for pid in waiting.descendants(self.first):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/statm", "rb") as file:
                    resident += int(file.read().split()[1]) * PAGE
            if resident > limits.memory:
                return memory
        now = time.monotonic()
        if at_its_end or now > self._look_at_disk:
            found = self._too_many_files()
            # A look at many files takes its time: no more than a tenth of all.
            self._look_at_disk = max(now + 0.1, time.monotonic() + 10 * (time.monotonic() - now))
            return found
        return None

    def _too_many_files(self) -> tuple[str, str] | None:
        limits = self._limits
        size, files = used(self._job.directory, limits.disk, limits.files)
        if size > limits.disk:
            return "disk", f"its files take more than {limits.disk:,} bytes"
        if files > limits.files:
            return "files", f"it made more than {limits.files:,} files"
        return None

    def close(self) -> None:
        """Ends all of it; what it is waits for is the kernel alone."""
        if self._job._cgroup is not None:
            self._job._cgroup.stop()
        self.socket.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Jailed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
