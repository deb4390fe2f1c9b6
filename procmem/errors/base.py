"""The errors that are procmem's alone."""

from __future__ import annotations

import os

__all__ = [
    "BadArgument",
    "ElfError",
    "KernelThread",
    "MappingInUse",
    "MemoryFault",
    "MissingExtra",
    "NotAPid",
    "ParseError",
    "ProcessChanged",
    "ProcessError",
    "ProcmemError",
    "SyscallError",
    "Unsupported",
]


class ProcmemError(Exception):
    """The base of every error that procmem raises on purpose."""


class ProcessError(ProcmemError):
    """A process could not be read.

    Attributes:
        pid: the process ID that was asked for.
        msg: what happened, in words.
    """

    def __init__(self, pid: int, msg: str) -> None:
        super().__init__(pid, msg)
        self.pid: int = pid
        self.msg: str = msg

    def __str__(self) -> str:
        return f"process {self.pid}: {self.msg}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(pid={self.pid!r}, msg={self.msg!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.pid, self.msg)


class NotAPid(ProcmemError, TypeError):
    """The value given as a PID is not an integer."""


class KernelThread(ProcessError):
    """The PID is that of a kernel thread, which has no address space of its own."""

    def __init__(
        self, pid: int, msg: str = "a kernel thread: it has no address space of its own"
    ) -> None:
        super().__init__(pid, msg)


class ProcessChanged(ProcessError):
    """The data that was read does not describe one single program.

    The process called execve(2) during the reading, or it ended and its PID was
    given to another process.

    Attributes:
        reason: "exec" or "pid reused".
    """

    def __init__(self, pid: int, reason: str) -> None:
        self.reason = reason
        super().__init__(
            pid,
            {
                "exec": "it started another program (execve) while it was read; read it again",
                "pid reused": "its PID now belongs to another process",
            }.get(reason, reason),
        )
        self.args = (pid, reason)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.pid, self.reason)


class BadArgument(ProcmemError, ValueError):
    """An argument that no call accepts: a closed mapping, a range outside of the mapping."""


class MappingInUse(ProcmemError, BufferError):
    """A mapping is in use by buffers (memoryview), or its memory cannot be exported as one.

    Python's mmap raises BufferError in the same cases.
    """


class ParseError(ProcmemError, ValueError):
    """A text does not have the expected format.

    Attributes:
        source: where the text came from, a path or a name in angle brackets.
        lineno: the line's number, from 1; 0: the error concerns the whole text.
        line: the line's bytes, without the newline.
        reason: what is wrong with it.
    """

    def __init__(self, source: str, lineno: int, line: bytes, reason: str) -> None:
        super().__init__(source, lineno, line, reason)
        self.source = source
        self.lineno = lineno
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        if not self.lineno:
            return f"{self.source}: {self.reason}"
        shown = repr(self.line[:160])[1:] + ("..." if len(self.line) > 160 else "")
        return f"{self.source}, line {self.lineno}: {self.reason}: {shown}"


class ElfError(ProcmemError, ValueError):
    """A file is not an ELF file, or is damaged.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{os.fspath(self.path)}: {self.reason}"


class Unsupported(ProcmemError):
    """This kernel, machine or /proc lacks a feature that the call needs.

    Attributes:
        feature: the missing feature, by the name that its manual page uses.
        reason: how its absence was detected, and what to do about it.
    """

    def __init__(self, feature: str, reason: str) -> None:
        super().__init__(feature, reason)
        self.feature = feature
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.feature}: {self.reason}"


class SyscallError(ProcmemError, OSError):
    """A system call that was made for the caller failed.

    Attributes:
        syscall: its name, as in section 2 of the manual.
        errno, strerror: as in OSError.
        hint: what the call was for, and how to make it succeed; may be empty.
    """

    def __init__(self, syscall: str, errno: int, hint: str = "") -> None:
        OSError.__init__(self, errno, os.strerror(errno))
        self.syscall = syscall
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.syscall}: {self.strerror}" + (f" ({self.hint})" if self.hint else "")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.syscall, self.errno, self.hint)


class MemoryFault(ProcmemError):
    """An access to memory raised a signal.

    Attributes:
        address: the address that was accessed, as the kernel reported it (si_addr).
        signal: the signal's number (signal(7)).
        code: si_code of sigaction(2), such as SEGV_MAPERR.
    """

    def __init__(self, address: int, signal: int, code: int) -> None:
        super().__init__(address, signal, code)
        self.address = address
        self.signal = signal
        self.code = code

    def __str__(self) -> str:
        return f"signal {self.signal} (code {self.code}) at {self.address:#x}"


class MissingExtra(ProcmemError, ImportError):
    """An optional dependency is not installed.

    Attributes:
        extra: the extra of procmem-live that installs it.
        needed_for: what needs it, the subject of the message.
    """

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs an optional part: pip install 'procmem-live[{extra}]'"
        )
        self.extra = extra
        self.needed_for = needed_for

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.extra, self.needed_for)
