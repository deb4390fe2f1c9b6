"""Which programs wrote the files that a build leaves: compilers and linkers, or others.

A Makefile can do whatever a program can: it could decode a ready-made program from text. So the
build is traced (ptrace(2)): for each file that is opened, this module records which program opened
it, and whether to write to it. A compiled file counts if a compiler, assembler, linker or similar
tool wrote it, and this tool read no binary file that another program had written. A copy of a file
counts as the file does.
"""

from __future__ import annotations

import array
import contextlib
import functools
import hashlib
import os
import signal
import stat
import struct
import threading
from typing import NamedTuple

from procmem.grade.sandbox.waiting import descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from procmem.grade.sandbox.jail import Jailed

__all__ = ["ELF", "Provenance"]

TOOLS = frozenset((
    "cc1", "cc1plus", "cc1obj", "cc1objplus", "collect2", "lto1", "lto", "gcc", "g++", "c++", "cc",
    "cpp", "as", "ld", "gold", "bfd", "ar", "ranlib", "strip", "objcopy", "dwp", "clang", "clang++",
    "lld", "llvm", "mold", "tcc", "zig", "f951", "gfortran", "flang", "gnat1", "gnatbind", "d21",
    "dmd", "ldc2", "gdc", "rustc", "rust", "compile", "link", "asm", "pack", "cgo", "buildid",
    "ghc", "ocamlopt", "ocamlopt.opt", "fpc", "ppcx64", "ppca64", "nasm", "yasm", "fasm", "nim",
    "swift", "crystal", "patchelf", "chrpath", "elfedit", "dwz", "execstack", "eu",
))  # fmt: skip
"""A program is a tool if one of these is a part of its file's name, between hyphens and without a
version."""

ELF = b"\x7fELF"
CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
LARGEST_READ = 64 << 20

SEIZE, CONT, SYSCALL, LISTEN, INFO = 0x4206, 7, 24, 0x4208, 0x420E
OPTIONS = 1 | 2 | 4 | 8 | 0x10 | 0x80 | 0x100000
"""TRACESYSGOOD, TRACEFORK, TRACEVFORK, TRACECLONE, TRACEEXEC, TRACESECCOMP, EXITKILL."""

EVENT_SECCOMP, EVENT_STOP = 7, 128
INFO_EXIT = 2
ALL_MINE = 0x40000000 | 0x20000000
"""__WALL | __WNOTHREAD: only what this thread traces, not the children of other threads."""


class File(NamedTuple):
    """A file by its identity, independent of its names."""

    device: int
    inode: int


class Origin(NamedTuple):
    """Why a file does not count: the program that wrote it, or that wrote what it was made from."""

    who: str
    direct: bool


class Provenance:
    """Traces a build from its start; a context manager, to be left after the build has ended.

    Args:
        jailed: the build, which has not begun.
        tools: names of more programs whose output counts.

    Attributes:
        why_not: why the build could not be traced; empty: it was.
    """

    def __init__(self, jailed: Jailed, tools: Iterable[str] = ()) -> None:
        self.why_not = "it was not started"
        self._jailed = jailed
        self._tools = TOOLS.union(tools)
        self._seen = False
        self._good: set[File] = set()
        self._copies: set[bytes] = set()
        self._writers: dict[File, Origin] = {}
        """Of files that do not count."""
        self._spoiled: dict[int, str] = {}
        """Tools that read what does not count, by PID: who wrote that."""
        self._outputs: dict[int, list[File]] = {}
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="procmem-build", daemon=True)

    def __enter__(self) -> Provenance:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if not self.why_not and not self._seen:
            self.why_not = "the kernel has no seccomp(2) filters"

    def fault(self, fd: int) -> str:
        """Why a file does not count, to be appended to its name; empty: it counts.

        Args:
            fd: a descriptor of a file in the directory of the build. Files that are not ELF always
                count.
        """
        if self.why_not or os.pread(fd, 4, 0) != ELF:
            return ""
        about = os.fstat(fd)
        file = File(about.st_dev, about.st_ino)
        if file in self._good or digest(fd) in self._copies:
            return ""
        origin = self._writers.get(file, Origin("an unknown program", direct=True))
        if origin.direct:
            return f"was written by {origin.who}, not by a compiler or linker"
        return f"was made from what {origin.who} wrote, not only from sources"

    # ---- the thread that traces ----------------------------------------------------------------

    def _follow(self) -> None:
        self.why_not = trace(SEIZE, self._jailed.pid, 0, OPTIONS)
        self._begun.set()
        if self.why_not:
            return
        calling: set[int] = set()
        while True:
            try:
                pid, status = os.waitpid(-1, ALL_MINE)
            except ChildProcessError:
                return
            if not os.WIFSTOPPED(status):
                calling.discard(pid)
                continue
            event, number = status >> 16, os.WSTOPSIG(status)
            if event == EVENT_SECCOMP:
                calling.add(pid)
                trace(SYSCALL, pid, 0, 0)
            elif number == signal.SIGTRAP | 0x80 and pid in calling:
                calling.discard(pid)
                self._seen = True
                with contextlib.suppress(OSError, ValueError):
                    self._opened(pid)
                trace(CONT, pid, 0, 0)
            elif event == EVENT_STOP and number != signal.SIGTRAP:
                trace(LISTEN, pid, 0, 0)
            else:
                trace(CONT, pid, 0, 0 if event or number & 0x80 else number)

    def _opened(self, pid: int) -> None:
        """Handles the return from a call that opens a file."""
        fd = returned(pid)
        if fd < 0:
            return
        path = f"/proc/{pid}/fd/{fd}"
        about = os.stat(path)
        writes = flags_of(pid, fd) & os.O_ACCMODE != os.O_RDONLY
        file = File(about.st_dev, about.st_ino)
        if stat.S_ISREG(about.st_mode):
            if writes:
                self._writes(pid, file, path)
            elif file in self._good or file in self._writers:
                self._reads(pid, file, path)
        elif stat.S_ISFIFO(about.st_mode) and not writes:
            program = self._program(pid)
            if self._is_tool(program) and base(program) not in SOURCES:
                self._spoil(process_of(pid), "the other end of a pipe")

    def _writes(self, pid: int, file: File, path: str) -> None:
        program = self._program(pid)
        process = process_of(pid)
        if not self._is_tool(program):
            self._drop(file, shown(program))
        elif code := self._code_of_its_own(process):
            self._drop(file, f"{shown(program)} with {code} loaded into it")
        elif file in self._writers and self._held(file):
            # Whoever has it open, or mapped, may write into it after the tool has.
            return
        else:
            # A tool may also change what is there.
            self._reads(pid, file, path)
            self._good.add(file)
            self._writers.pop(file, None)
            self._outputs.setdefault(process, []).append(file)
            if process in self._spoiled:
                self._spoil(process, self._spoiled[process])

    def _reads(self, pid: int, file: File, path: str) -> None:
        program = self._program(pid)
        if not self._is_tool(program):
            if file in self._good:
                with open(path, "rb") as copied:
                    self._copies.add(digest(copied.fileno()))
        elif file in self._writers and binary(path):
            with open(path, "rb") as read:
                if digest(read.fileno()) not in self._copies:
                    self._spoil(process_of(pid), self._writers[file].who)

    def _held(self, file: File) -> bool:
        """Whether a process of the build that is not a tool can still write to a file."""
        for pid in descendants(self._jailed.first):
            with contextlib.suppress(OSError):
                if self._is_tool(self._program(pid)):
                    continue
                for name in os.listdir(f"/proc/{pid}/fd"):
                    about = os.stat(f"/proc/{pid}/fd/{name}")
                    if File(about.st_dev, about.st_ino) == file:
                        return True
                with open(f"/proc/{pid}/maps", "rb") as maps:
                    if any(f" {file.inode} ".encode() in line for line in maps):
                        return True
        return False

    def _drop(self, file: File, who: str, *, direct: bool = True) -> None:
        self._good.discard(file)
        self._writers[file] = Origin(who, direct)

    def _spoil(self, process: int, who: str) -> None:
        """Everything that a tool writes, or has begun to write, counts no longer."""
        self._spoiled[process] = who
        for file in self._outputs.pop(process, []):
            self._drop(file, who, direct=False)

    def _program(self, pid: int) -> tuple[str, File]:
        path = f"/proc/{pid}/exe"
        about = os.stat(path)
        return os.readlink(path), File(about.st_dev, about.st_ino)

    def _is_tool(self, program: tuple[str, File]) -> bool:
        path, file = program
        if file in self._good or file in self._writers or path.startswith("/memfd:"):
            return base(program) in self._tools - TOOLS
        name = os.path.basename(path)
        if name in SHELLS:
            return "sh" in self._tools
        return name in self._tools or any(
            part.rstrip("0123456789.") in self._tools or part in self._tools
            for piece in name.split("-")
            for part in (piece, piece.partition(".")[0])
        )

    def _code_of_its_own(self, process: int) -> str:
        """The name of a file of the build that is mapped as code into a tool; empty: none."""
        with open(f"/proc/{process}/maps", "rb") as file:
            for line in file:
                fields = line.split(None, 5)
                if b"x" not in fields[1] or len(fields) < 6 or not fields[5].startswith(b"/"):
                    continue
                major, minor = (int(part, 16) for part in fields[3].split(b":"))
                known = File(os.makedev(major, minor), int(fields[4]))
                name = os.fsdecode(fields[5].strip())
                if known in self._good or known in self._writers or name.startswith("/memfd:"):
                    return os.path.basename(name)
        return ""


SOURCES = frozenset(("cc1", "cc1plus", "cc1obj", "clang", "clang++", "gcc", "cc", "cpp", "rustc"))
"""These read sources, also through a pipe."""


SHELLS = ("sh", "dash", "bash", "ksh", "zsh", "busybox")


def base(program: tuple[str, File]) -> str:
    return os.path.basename(program[0]).removesuffix(" (deleted)")


def shown(program: tuple[str, File]) -> str:
    name = base(program)
    return f"a shell command ({name})" if name in SHELLS else name[:64] or "an unknown program"


def process_of(tid: int) -> int:
    with open(f"/proc/{tid}/status", "rb") as file:
        return int(file.read().partition(b"\nTgid:")[2].split(None, 1)[0])


def flags_of(pid: int, fd: int) -> int:
    """The flags of an open file (proc(5), fdinfo)."""
    with open(f"/proc/{pid}/fdinfo/{fd}", "rb") as file:
        return int(file.read().partition(b"flags:")[2].split(None, 1)[0], 8)


def digest(fd: int) -> bytes:
    """A digest of the first 64 MiB of a file."""
    found = hashlib.sha256()
    at = 0
    while at < LARGEST_READ and (piece := os.pread(fd, 1 << 20, at)):
        found.update(piece)
        at += len(piece)
    return found.digest()


def binary(path: str) -> bool:
    """Whether a file contains control characters, and so is not text."""
    with open(path, "rb") as file:
        data = file.read(LARGEST_READ)
    return len(data.translate(None, CONTROLS)) != len(data)


@functools.cache
def ptrace() -> Callable[[int, int, int, int], int]:
    """ptrace(2), which returns the negative number of an error.

    Raises:
        ImportError: this Python was built without ctypes.
    """
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).ptrace
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)

    def call(request: int, pid: int, address: int, data: int) -> int:
        return -ctypes.get_errno() if function(request, pid, address, data) < 0 else 0

    return call


def trace(request: int, pid: int, address: int, data: int) -> str:
    """Calls ptrace(2). Returns the error as text, empty if there was none."""
    try:
        error = -ptrace()(request, pid, address, data)
    except ImportError:
        return "this Python was built without ctypes"
    return f"ptrace(2): {os.strerror(error)}" if error else ""


def returned(tid: int) -> int:
    """The return value of the system call that a traced thread just made; -1: it failed."""
    room = array.array("B", bytes(128))
    if trace(INFO, tid, len(room), room.buffer_info()[0]) or room[0] != INFO_EXIT:
        return -1
    value: int
    value, failed = struct.unpack_from("=qB", room, 24)
    return -1 if failed else value
