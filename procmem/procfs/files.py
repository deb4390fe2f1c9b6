"""Opens and reads the files of one process, and makes sure that they stay that process's.

A process is held by a descriptor of its directory: the kernel ties that to the
process, so that nothing read through it can come from another one that got the
same PID later. The descriptor is let go only when the start time alone identifies
the process (see Directory.may_close()), and once a process was found to have ended
its PID is never opened again. An address space is held by an open maps or smaps file:
when the process ends or calls execve(2), the kernel cuts the text short without an
error, so the address space is asked after the last byte whether it still lives.
"""

from __future__ import annotations

import errno
import os
import time
import weakref
from stat import S_ISDIR, S_ISREG

from procmem.native import ffi, lib
from procmem.procfs.text import Stat, parse_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from typing_extensions import Self

    from procmem.native import Scan

__all__ = ["MemoryFile", "ProcessFiles", "boot_id", "huge_page_size", "pids", "system_file"]

MOST_SAVED = 1 << 29
"""Bytes of a file of a saved tree: smaps of 700,000 regions."""

CHUNK = 65536
"""A read returns at most about a page of whole records; more room costs nothing."""

KEPT_OPEN = 64
"""Directories held open at once, over all processes, unless more of these are so young
that their start time could be another process's too."""

TICKS = os.sysconf("SC_CLK_TCK")
"""Clock ticks per second, the unit of start times (proc_pid_stat(5))."""

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: in a saved tree anything may lie, a FIFO too."""

GONE = (errno.ENOENT, errno.ESRCH)
DENIED = (errno.EACCES, errno.EPERM)


def bounded(fd: int, path: str) -> int:
    """The descriptor, if what it leads to can be read to its end.

    Files of /proc have no size. In a saved tree anything may lie: a device without an end,
    a file that claims terabytes.

    Raises:
        ParseError
    """
    found = os.fstat(fd)
    if found.st_size <= MOST_SAVED and (S_ISREG(found.st_mode) or S_ISDIR(found.st_mode)):
        return fd
    from procmem.errors import ParseError

    os.close(fd)
    reason = "no ordinary file" if found.st_size <= MOST_SAVED else "too large for a saved file"
    raise ParseError(path, 0, b"", reason)


class Directory:
    """An open /proc/PID, closed when nothing refers to it any more.

    Attributes:
        fd: its descriptor.
        start_time: of its process, in clock ticks; None: not known.
        owner: the ProcessFiles that opened it.
        identified: whether the start time alone identifies the process from now on.
    """

    __slots__ = ("__weakref__", "fd", "identified", "owner", "start_time")

    def __init__(self, path: str, owner: ProcessFiles) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.owner = weakref.ref(owner)
        self.start_time: int | None = None
        self.identified = False

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "fd"):
            close(self.fd)

    def seen_alive(self, now: int, start_time: int | None) -> None:
        """Records a start time that was read at `now` or later (CLOCK_BOOTTIME).

        A process that gets the same PID later starts after that. So if the tick in which this
        one started is over by then, no later one can have its start time. One tick more, since
        the kernel's clock is finer than what the caller can read.
        """
        self.start_time = start_time
        self.identified = (
            start_time is None
            or now * TICKS // 1_000_000_000 >= start_time + 2
            or not lib.pm_is_proc(self.fd)
        )

    def may_close(self) -> bool:
        """Whether its process can be identified without it: it is old enough, or has ended."""
        if self.identified:
            return True
        owner = self.owner()
        if owner is None:
            return True
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        try:
            fd = os.open("stat", READ, dir_fd=self.fd)
            try:
                self.seen_alive(now, parse_stat(os.read(fd, CHUNK)).starttime)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno not in GONE:
                return False
            owner.has_ended = True
            return True
        return self.identified


_kept: dict[int, Directory] = {}


def pids(root: str | os.PathLike[str] = "/proc") -> list[int]:
    """The PIDs that a /proc tree lists, ascending: processes, not threads.

    Raises:
        Unsupported: root is no such tree.
    """
    path = os.fspath(root)
    try:
        found = sorted(int(name) for name in os.listdir(path) if name.isdecimal())
    except OSError as error:
        raise _no_proc(path, error.strerror or str(error)) from error
    if not found:
        raise _no_proc(path, "it holds no directory of a process")
    return found


def system_file(name: str, root: str | os.PathLike[str] = "/proc") -> bytes | None:
    """A file of a /proc tree about the whole system, such as "meminfo".

    Returns:
        Its bytes; None if the tree lacks it or it may not be read.
    """
    try:
        with open(f"{os.fspath(root)}/{name}", "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return None


def boot_id() -> str | None:
    """The ID of this boot (random(4)); None: it can't be read."""
    raw = system_file("sys/kernel/random/boot_id")
    return None if raw is None else raw.decode("ascii", "replace").strip()


def huge_page_size() -> int:
    """The default size of huge pages of hugetlbfs, in bytes: Hugepagesize of proc_meminfo(5).

    Raises:
        Unsupported: the kernel has no huge pages, or /proc/meminfo is hidden.
    """
    text = system_file("meminfo")
    for line in (text or b"").split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"Hugepagesize":
            return int(value.split()[0]) * 1024
    from procmem.errors import Unsupported

    raise Unsupported(
        "hugetlbpage",
        "/proc/meminfo is hidden, as by subset=pid in the mount of /proc (proc(5))"
        if text is None
        else "this kernel has no huge pages (CONFIG_HUGETLBFS): no Hugepagesize in /proc/meminfo",
    )


def _no_proc(path: str, reason: str) -> Exception:
    from procmem.errors import Unsupported

    return Unsupported(
        "proc", f"{path} is no /proc tree: {reason}. Mount one (proc(5)) or name another root."
    )


class MemoryFile:
    """An open file that shows an address space (maps, smaps, ...).

    Closed at the end of a `with` block, or when nothing refers to it any more.

    Args:
        files: the process.
        fd: the open descriptor.
        path: named in errors.
        space: an open maps file of the same address space, which shows whether that still exists.
    """

    __slots__ = ("fd", "files", "path", "space")

    def __init__(
        self, files: ProcessFiles, fd: int, path: str, space: MemoryFile | None = None
    ) -> None:
        self.files = files
        self.fd = fd
        self.path = path
        self.space = space

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if self.fd >= 0:
            close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        fd, self.fd = self.fd, -1
        os.close(fd)
        self.space = None

    def pour(self, scan: Scan) -> None:
        """Feeds all of the file to a scan."""
        try:
            while scan.feed_from(self.fd):
                pass
        except OSError as error:
            self.files.fail(error, self.path)

    def read(self) -> bytes:
        """All of the file."""
        chunks: list[bytes] = []
        try:
            while chunk := os.read(self.fd, CHUNK):
                chunks.append(chunk)
        except OSError as error:
            self.files.fail(error, self.path)
        return b"".join(chunks)

    def head(self) -> bytes:
        """The first read(2) from its start: at least one whole record."""
        try:
            return os.read(self.fd, CHUNK)
        except OSError as error:
            self.files.fail(error, self.path)

    def alive(self) -> bool:
        """Whether the address space still exists.

        PROCMAP_QUERY on maps answers this cheaply. Elsewhere the file is read again
        from its start, where an address space that is gone shows nothing.
        """
        if self.space is not None:
            return self.space.alive()
        status = lib.pm_query_vma(self.fd, 0, 1, ffi.NULL, _vma)
        if status in (0, -errno.ENOENT):
            return True
        if status == -errno.ESRCH:
            return False
        try:
            os.lseek(self.fd, 0, os.SEEK_SET)
            return bool(os.read(self.fd, 1))
        except OSError:
            return False

    def check(self) -> None:
        """Raises an error if the address space went away while it was read.

        Raises:
            NoSuchProcess, ZombieProcess: the process has ended.
            ProcessChanged: it called execve(2), or the PID is another's now.
        """
        if not self.alive() and self.files.is_live:
            self.files.explain_death()


_vma = ffi.new("pm_vma *")
"""Space for an answer that is ignored."""


class ProcessFiles:
    """The files of one process below a /proc root.

    Args:
        pid: its ID; a thread's ID shows the thread's process.
        root: where /proc is: this system's, a container's, or a saved copy.

    Raises:
        NoSuchProcess, AccessDenied, Unsupported (root is no /proc)
        NotAPid: also a TypeError; pid is no integer.
    """

    __slots__ = (
        "__weakref__",
        "_directory",
        "_thread",
        "has_ended",
        "inode",
        "pid",
        "root",
        "start_time",
    )

    def __init__(self, pid: int, root: str | os.PathLike[str] = "/proc") -> None:
        self._directory: Callable[[], Directory | None] = _nothing
        if isinstance(pid, bool) or not isinstance(pid, int):
            from procmem.errors import NotAPid

            raise NotAPid(f"a PID is an int, not {type(pid).__name__}: {ascii(pid)[:40]}")
        self.pid = pid
        self.root = os.path.abspath(os.fspath(root))
        self.start_time: int | None = None
        self.inode: int | None = None
        self.has_ended = False
        self._thread: int | None = None
        if not 0 <= pid < 1 << 31:
            from procmem.errors import InvalidPid

            raise InvalidPid(pid, "no such process: a PID lies between 1 and 2147483647")
        self.directory()

    def __del__(self) -> None:
        self._let_go()

    def close(self) -> None:
        """Closes the directory. The next read opens it again.

        That of a process which began less than two clock ticks ago stays open for as long as
        this object exists: nothing else distinguishes it from a process that gets its PID at once.
        """
        directory = self._directory()
        if directory is not None and not directory.may_close():
            return
        self._let_go()

    def _let_go(self) -> None:
        directory = self._directory()
        if directory is not None:
            _kept.pop(id(directory), None)
        self._directory = _nothing

    def is_process_of(self, other: ProcessFiles) -> bool:
        """Whether both are of one process."""
        if (self.pid, self.start_time, self.root) != (other.pid, other.start_time, other.root):
            return False
        # The kernel numbers a directory anew for each process, and seldom for the same one.
        return self.inode == other.inode or (self.is_identified and other.is_identified)

    @property
    def is_identified(self) -> bool:
        """Whether its start time identifies it: no process with its PID has the same one."""
        directory = self._directory()
        if directory is None:
            return not self.has_ended
        return directory.may_close() and not self.has_ended

    @property
    def path(self) -> str:
        """The process's directory."""
        return f"{self.root}/{self.pid}"

    def directory(self) -> Directory:
        """The open directory; hold the object as long as its descriptor is used."""
        directory = self._directory()
        if directory is not None:
            return directory
        if self.has_ended:
            self._raise_ended()
        try:
            directory = Directory(self.path, self)
        except OSError as error:
            self._fail_to_open(error)
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        start_time = self._start_time(directory)
        directory.seen_alive(now, start_time)
        if self.inode is None:
            self.inode = os.fstat(directory.fd).st_ino
            self.start_time = start_time
        elif start_time != self.start_time:
            self.has_ended = bool(lib.pm_is_proc(directory.fd))
            from procmem.errors import ProcessChanged

            raise ProcessChanged(self.pid, "pid reused")
        # Other threads open and close directories meanwhile: list() copies in one step.
        for oldest in list(_kept.values())[: max(0, len(_kept) - KEPT_OPEN + 1)]:
            if oldest.may_close():
                _kept.pop(id(oldest), None)
        _kept[id(directory)] = directory
        self._directory = weakref.ref(directory)
        return directory

    def _raise_ended(self, cause: OSError | None = None) -> NoReturn:
        from procmem import errors

        # This only decides which error is raised.
        if os.path.exists(f"{self.path}/stat"):
            raise errors.ProcessChanged(self.pid, "pid reused") from cause
        raise errors.NoSuchProcess(self.pid, "it has ended") from cause

    def _start_time(self, directory: Directory) -> int | None:
        try:
            fd = os.open("stat", READ, dir_fd=directory.fd)
        except OSError as error:
            if error.errno in GONE and lib.pm_is_proc(directory.fd):
                self._fail_ended(error)
            if error.errno in GONE or error.errno in DENIED:
                # A saved tree need not hold it, and hidepid=1 hides it.
                return None
            self._fail_otherwise(f"{self.path}/stat", error, directory)
        try:
            return parse_stat(os.read(fd, CHUNK), f"{self.path}/stat").starttime
        except ProcessLookupError as error:
            self._fail_ended(error)
        except OSError as error:
            self._fail_otherwise(f"{self.path}/stat", error, directory)
        finally:
            os.close(fd)

    def _fail_ended(self, error: OSError) -> NoReturn:
        """The process ended while its directory was opened."""
        if self.inode is not None:
            # It was read before: whichever had the number now, it was this one or a later one.
            self.has_ended = True
        from procmem.errors import NoSuchProcess

        raise NoSuchProcess(self.pid) from error

    @property
    def is_live(self) -> bool:
        """Whether this is a process of a kernel's /proc, and not of a saved tree."""
        directory = self.directory()
        return bool(lib.pm_is_proc(directory.fd))

    @property
    def has_our_numbers(self) -> bool:
        """Whether its PID and thread IDs are the same for this process's system calls.

        They are not in the /proc of another PID namespace (pid_namespaces(7)).
        """
        try:
            return self.root == "/proc" and os.readlink("/proc/self") == str(os.getpid())
        except OSError:
            return False

    # ---- reading ---------------------------------------------------------

    def open(self, name: str) -> int:
        """A descriptor of a file in the process's directory, for reading."""
        directory = self.directory()
        try:
            fd = os.open(name, READ, dir_fd=directory.fd)
        except OSError as error:
            self.fail(error, f"{self.path}/{name}")
        return bounded(fd, f"{self.path}/{name}")

    def read(self, name: str) -> bytes:
        """All of a file, such as "status"."""
        fd = self.open(name)
        try:
            data = os.read(fd, CHUNK)
            if not data:
                return data
            chunks = [data]
            while data := os.read(fd, CHUNK):
                chunks.append(data)
            return b"".join(chunks)
        except OSError as error:
            self.fail(error, f"{self.path}/{name}")
        finally:
            os.close(fd)

    def readlink(self, name: str) -> bytes | None:
        """Where a link such as "exe" points; None if it can't be read or there is none."""
        directory = self.directory()
        try:
            return os.readlink(os.fsencode(name), dir_fd=directory.fd)
        except OSError:
            return None

    def stat(self) -> Stat:
        """The fields of its stat file."""
        return parse_stat(self.read("stat"), f"{self.path}/stat")

    def owner(self, name: str = ".") -> int | None:
        """The user ID that owns the process's directory, or a file in it; None if unknown."""
        directory = self.directory()
        try:
            return os.stat(name, dir_fd=directory.fd).st_uid
        except OSError:
            return None

    def thread_ids(self) -> list[int]:
        """Its threads, ascending."""
        fd = self.open("task")
        try:
            return sorted(int(name) for name in os.listdir(fd) if name.isdecimal())
        except OSError as error:
            self.fail(error, f"{self.path}/task")
        finally:
            os.close(fd)

    # ---- the address space ----------------------------------------------

    def memory_name(self, name: str) -> str:
        """The name of a file of the address space, in the directory of a thread that is alive."""
        return name if self._thread is None else f"task/{self._thread}/{name}"

    def memory(self, name: str, *, beside_maps: bool = False) -> MemoryFile:
        """A file that shows the address space: maps, smaps, smaps_rollup, pagemap.

        A leading thread that has exited shows nothing: another thread's file
        is opened then.

        Args:
            name: the file's.
            beside_maps: opens maps too, to find out later whether the address space still
                exists: pagemap shows nothing then, and no error. Always done for smaps.

        Raises:
            KernelThread, ZombieProcess, NoSuchProcess, AccessDenied, Unsupported
        """
        from_thread = self.memory_name(name)
        space = None
        try:
            directory = self.directory()
            if (beside_maps or name == "smaps") and lib.pm_is_proc(directory.fd):
                # smaps can't be asked whether its address space lives without walking
                # the first regions again, and they may be large. maps is opened before
                # it, so that it shows no later address space.
                maps = self.memory_name("maps")
                fd = os.open(maps, READ, dir_fd=directory.fd)
                space = MemoryFile(self, fd, f"{self.path}/{maps}")
                # Older kernels open the files of a thread that has exited; they are empty.
                if beside_maps and not space.alive() and self.use_living_thread():
                    return self.memory(name, beside_maps=True)
            fd = os.open(from_thread, READ, dir_fd=directory.fd)
        except OSError as error:
            # Some files of a thread that has exited belong to root.
            if error.errno in (*GONE, *DENIED) and self.use_living_thread():
                return self.memory(name, beside_maps=beside_maps)
            self.fail(error, f"{self.path}/{from_thread}")
        return MemoryFile(
            self, bounded(fd, f"{self.path}/{from_thread}"), f"{self.path}/{from_thread}", space
        )

    def use_living_thread(self) -> bool:
        """Switches to another thread if this one has exited. False if there is none."""
        from procmem.errors import ProcmemError

        tried = self._thread or self.pid
        try:
            if not self._thread_stat(tried).is_zombie:
                return False
        except ProcmemError:
            if self._thread is None:
                return False
        try:
            for thread in self.thread_ids():
                if thread != tried and not self._thread_stat(thread).is_zombie:
                    self._thread = thread
                    return True
        except ProcmemError:
            pass
        return False

    def _thread_stat(self, thread: int) -> Stat:
        name = "stat" if thread == self.pid else f"task/{thread}/stat"
        return parse_stat(self.read(name), f"{self.path}/{name}")

    # ---- what went wrong -------------------------------------------------

    def fail(self, error: OSError, path: str) -> NoReturn:
        """Raises the typed error for a failed call, with the path and the cause kept."""
        from procmem import errors

        # The call had the name within the directory alone.
        error.filename = path
        if error.errno in DENIED:
            # While a process ends, its files are denied to its own user too.
            stat = self._stat_now(self.directory())
            ending = stat is None or (stat.is_zombie and stat.num_threads <= 1)
            if ending or (stat is not None and stat.is_kernel_thread):
                self._explain_missing(path, error)
            raise errors.AccessDenied(self.pid, self._denial(path, error)) from error
        if error.errno in GONE:
            self._explain_missing(path, error)
        self._fail_otherwise(path, error, self.directory())

    def _fail_otherwise(self, path: str, error: OSError, directory: Directory) -> NoReturn:
        # EMFILE and the like concern the reader; in a saved tree anything may lie.
        if lib.pm_is_proc(directory.fd):
            raise error
        self._not_in_tree(path, error)

    def _not_in_tree(self, path: str, error: OSError) -> NoReturn:
        from procmem.errors import Unsupported

        name = path.rsplit("/", 1)[-1]
        raise Unsupported(name, f"{path}: the tree holds no such file: {error.strerror}") from error

    def _denial(self, path: str, error: OSError) -> str:
        owner = self.owner()
        if owner == os.geteuid():
            return (
                f"{path} can't be read: {error.strerror}. The process is this user's, but has "
                "capabilities that the reader lacks or is marked not dumpable (ptrace(2))."
            )
        whose = "" if owner is None else f", which belongs to user {owner},"
        return (
            f"{path}{whose} can't be read: {error.strerror}. Run as that user, as root, or with "
            "CAP_SYS_PTRACE."
        )

    def _stat_now(self, directory: Directory) -> Stat | None:
        try:
            fd = os.open("stat", READ, dir_fd=directory.fd)
            try:
                return parse_stat(os.read(fd, CHUNK), f"{self.path}/stat")
            finally:
                os.close(fd)
        except OSError:
            return None

    def _explain_missing(self, path: str, error: OSError) -> NoReturn:
        from procmem import errors

        stat = self._stat_now(self.directory())
        if stat is None:
            if not self.is_live:
                self._not_in_tree(path, error)
            self.has_ended = True
            self._let_go()
            self._raise_ended(error)
        thread = path.removeprefix(f"{self.path}/").split("/")[:2]  # task/TID/...
        if len(thread) == 2 and not self._exists("/".join(thread)):
            raise errors.NoSuchProcess(self.pid, f"its thread {thread[1]} has ended") from error
        if stat.is_kernel_thread:
            raise errors.KernelThread(self.pid) from error
        if stat.is_zombie:
            raise errors.ZombieProcess(self.pid) from error
        if error.errno == errno.ESRCH:
            # The process lives, but not the address space that the file was opened on.
            raise errors.ProcessChanged(self.pid, "exec") from error
        raise errors.Unsupported(
            path.rsplit("/", 1)[-1], f"{path}: {error.strerror}: this kernel does not offer it"
        ) from error

    def _exists(self, name: str) -> bool:
        directory = self.directory()
        try:
            os.stat(name, dir_fd=directory.fd)
        except OSError:
            return False
        return True

    def explain_death(self) -> NoReturn:
        """Raises the error that says why the address space is gone."""
        from procmem import errors

        stat = self.stat()
        if stat.is_zombie and not self.use_living_thread():
            raise errors.ZombieProcess(self.pid)
        raise errors.ProcessChanged(self.pid, "exec")

    def check_running(self) -> None:
        """Raises an error if the process has ended, with all of its threads."""
        from procmem.errors import ZombieProcess

        if self.stat().is_zombie and not self.use_living_thread():
            raise ZombieProcess(self.pid)

    def explain_empty(self) -> None:
        """Raises the error that says why the file is empty, unless another thread's may not be."""
        from procmem import errors

        stat = self.stat()
        if stat.is_kernel_thread:
            raise errors.KernelThread(self.pid)
        if not self.use_living_thread():
            if stat.is_zombie:
                raise errors.ZombieProcess(self.pid)
            self._thread = None
            if not self.is_live:
                raise errors.Unsupported("maps", f"{self.path}: the saved files are empty")
            raise errors.ProcessChanged(self.pid, "exec")

    def _fail_to_open(self, error: OSError) -> NoReturn:
        from procmem import errors

        if error.errno in DENIED:
            raise errors.AccessDenied(
                self.pid, f"{self.path} can't be opened: {error.strerror}"
            ) from error
        if error.errno not in (*GONE, errno.ENOTDIR):
            raise error
        pids(self.root)
        if self.root == "/proc" and self._hidden():
            raise errors.AccessDenied(
                self.pid,
                "it exists, but /proc is mounted with hidepid and hides it. Run as its user "
                "or as a member of the group that the mount's gid= names.",
            ) from error
        raise errors.NoSuchProcess(self.pid) from error

    def _hidden(self) -> bool:
        try:
            os.close(os.pidfd_open(self.pid))
        except (OSError, ValueError):
            return False
        return not os.path.exists(self.path)


def _nothing() -> None:
    return None
