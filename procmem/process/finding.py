"""Finds processes by name, and resolves a word of a command line to processes or a snapshot."""

from __future__ import annotations

import contextlib
import os
import re
import stat

from procmem import errors
from procmem.process.naming import INTERPRETERS, base, script_of, text
from procmem.process.process import Process
from procmem.procfs import ProcessFiles, pids

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from procmem.snapshots.snapshot import Snapshot

__all__ = ["command_line_of", "find", "names_of", "oldest", "resolve"]


def find(name: str, *, root: str | os.PathLike[str] = "/proc") -> list[Process]:
    """The processes with a name, by ascending PID, without this process.

    A process is found by its command name (comm, of which the kernel keeps 15 bytes), and by the
    name or path of its executable, of its first argument, and, if it is an interpreter, of its
    script or module. Kernel threads and zombies, which have no memory, are returned only if
    no other process is found.

    Args:
        name: the whole name; case matters, and patterns are not supported.
        root: see Process.

    Raises:
        Unsupported: root is not a /proc file system.

    Source: proc_pid_comm(5), proc_pid_exe(5), proc_pid_cmdline(5).

    >>> find("no process is called so")
    []
    """
    from procmem.errors import ProcessError

    own = os.getpid() if os.fspath(root) == "/proc" else None
    found: list[Process] = []
    others: list[Process] = []
    for pid in pids(root):
        if pid == own:
            continue
        try:
            files = ProcessFiles(pid, root)
            if name not in names_of(files):
                files.close()
                continue
            about = files.stat()
            process = Process(pid, root=root)
        except (ProcessError, OSError, ValueError):
            continue
        (others if about.is_kernel_thread or about.state in "ZXx" else found).append(process)
    return found or others


def resolve(what: str, *, root: str | os.PathLike[str] = "/proc") -> list[Process | Snapshot]:
    """The processes, or the snapshot, that a word of a command line refers to.

    Args:
        what: "self"; a PID, also as /proc/PID; a file that load() reads, or FILE:N for snapshot N
            of several; a directory with the saved files of processes; else a name, see find().
            A number is a PID; write "./7" for the file. A word that is both the name of a process
            and of such a file is an error.
        root: the /proc in which PIDs and names are looked up, see Process.

    Raises:
        NoSuchProcess: no process has the PID.
        BadArgument: no process and no file has that name, or both do.
        ParseError, ElfError, Unsupported, OSError: see load().
    """
    if what in ("self", "/proc/self"):
        return [Process(root=root)]
    number = what.removeprefix("/proc/").rstrip("/")
    if number.isascii() and number.isdecimal():
        try:
            return [Process(int(number[:20]), root=root)]
        except errors.NoSuchProcess:
            if not os.path.exists(what) or what != number:
                raise
    # A PID and a name need none of these.
    from procmem.snapshots.loading import saved_processes
    from procmem.snapshots.snapshot import load

    file, _, which = what.rpartition(":")
    if file and not os.path.exists(what) and os.path.exists(file):
        if re.fullmatch(r"[+-]?[0-9]{1,9}", which):
            return [load(file, int(which))]
        raise errors.BadArgument(
            f"{what}: expected the number of a snapshot after {file}:, not {which!r}"
        )
    if not os.path.exists(what):
        named = find(what, root=root) if what else []
        if named:
            return [*named]
        if "/" in what or "." in what[:-1]:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
                os.stat(what)  # PermissionError: nobody knows whether it is there
            raise errors.BadArgument(f"{what}: no such file, and no process of that name")
        raise errors.BadArgument(
            f"no process is called {what!r}: give a PID, a name, self, or the file of a snapshot"
        )
    named = find(what, root=root) or find(os.path.realpath(what), root=root)
    try:
        saved: list[Process | Snapshot]
        if os.path.isdir(what):
            tree, numbers = saved_processes(what)
            saved = [Process(pid, root=tree) for pid in numbers]
        else:
            saved = [load(regular(what))]
    except (errors.ParseError, errors.ElfError, errors.Unsupported):
        if named:
            return [*named]
        raise
    if named and "/" not in what:
        pids_named = ", ".join(str(process.pid) for process in named)
        raise errors.BadArgument(
            f"{what} is a file here and the name of process {pids_named}: give ./{what} or a PID"
        )
    return saved


def oldest(words: Iterable[str], root: str | os.PathLike[str] = "/proc") -> list[str]:
    """Names of programs as the PIDs of their processes, without descendants of one of these.

    "gunicorn" is the name of a parent and of its workers: the parent stands for all. Other words
    stay as they are.

    Args:
        words: of a command line.
        root: see Process.
    """
    from procmem.errors import ProcmemError

    found: list[str] = []
    for word in words:
        try:
            named = [] if is_number(word) else find(word, root=root)
            parents = {process.pid: process.files.stat().ppid for process in named}
        except (ProcmemError, OSError):
            parents = {}
        if len(parents) < 2:
            found.append(word)
            continue
        found += [str(pid) for pid, parent in parents.items() if parent not in parents]
    return found


def is_number(word: str) -> bool:
    """Whether a word is a PID, also as /proc/PID."""
    return word.removeprefix("/proc/").rstrip("/").isdecimal()


def regular(path: str) -> str:
    """The path, if reading it can't block forever: of a regular file, or of an open descriptor.

    Raises:
        Unsupported: it is another file, such as a FIFO or a device.
        OSError: stat(2) failed.
    """
    from procmem.errors import Unsupported

    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not path.startswith(("/dev/fd/", "/dev/stdin", "/proc/self/fd/")):
        raise Unsupported(path, "not a regular file, so it is not read")
    return path


def names_of(files: ProcessFiles) -> set[str]:
    """The names of a process: see find()."""
    from procmem.errors import ProcmemError

    def read(file: str) -> bytes:
        try:
            return files.read(file)
        except (ProcmemError, OSError):
            return b""

    comm = read("comm").removesuffix(b"\n")
    words = [text(word) for word in read("cmdline").split(b"\0")]
    names = {text(comm)} if comm else set()
    try:
        exe = text(files.readlink("exe") or b"").removesuffix(" (deleted)")
    except (ProcmemError, OSError):
        exe = ""
    names |= {exe, base(exe)}
    if words[0]:
        # A login shell has a dash before its name, a process that sets its title a colon after it.
        first = words[0].split(" ", 1)[0].rstrip(":").removeprefix("-")
        names |= {words[0], first, base(words[0]), base(first)}
        interpreter = INTERPRETERS.fullmatch(base(exe)) or INTERPRETERS.fullmatch(base(words[0]))
        if interpreter:
            for script in script_of(interpreter[1], words[1:]):
                names |= {script, base(script)}
    return names - {""}


def command_line_of(process: Process) -> str:
    """The command line of a process; without one its command name; else "?"."""
    from procmem.errors import ProcmemError

    for name in ("cmdline", "comm"):
        try:
            raw = process.files.read(name).rstrip(b"\0\n").replace(b"\0", b" ")
        except (ProcmemError, OSError):
            continue
        if raw:
            return text(raw)
    return "?"
