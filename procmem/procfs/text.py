"""The short files of /proc/PID as values: stat, statm, status. Bytes in, nothing opened."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Stat", "Statm", "parse_stat", "parse_statm", "parse_status"]

PF_EXITING = 0x00000004
PF_KTHREAD = 0x00200000
"""In the flags of stat: it is ending, it is a kernel thread (include/linux/sched.h)."""


class Stat:
    """The fields of /proc/PID/stat, by the names and in the units of proc_pid_stat(5).

    Addresses are 0 where the reader may not see them.
    """

    __slots__ = ("_fields", "comm", "pid", "state")

    def __init__(self, pid: int, comm: bytes, state: str, fields: list[int]) -> None:
        self.pid = pid
        self.comm = comm
        self.state = state
        self._fields = fields

    def _field(self, number: int) -> int:
        # The manual counts from 1; the first three are no plain numbers.
        return self._fields[number - 4]

    @property
    def ppid(self) -> int:
        """PID of the parent."""
        return self._field(4)

    @property
    def pgrp(self) -> int:
        """Its process group."""
        return self._field(5)

    @property
    def session(self) -> int:
        """Its session."""
        return self._field(6)

    @property
    def tpgid(self) -> int:
        """Process group in the foreground of its terminal, -1 without one."""
        return self._field(8)

    @property
    def flags(self) -> int:
        """PF_* flags of the kernel."""
        return self._field(9)

    @property
    def minflt(self) -> int:
        """Minor faults."""
        return self._field(10)

    @property
    def majflt(self) -> int:
        """Major faults."""
        return self._field(12)

    @property
    def nice(self) -> int:
        """Nice value, -20 to 19."""
        return self._field(19)

    @property
    def num_threads(self) -> int:
        """Threads of the process."""
        return self._field(20)

    @property
    def starttime(self) -> int:
        """Clock ticks from boot to the start of the process."""
        return self._field(22)

    @property
    def vsize(self) -> int:
        """Virtual memory size in bytes."""
        return self._field(23)

    @property
    def rss(self) -> int:
        """Resident set in pages; approximate on every kernel."""
        return self._field(24)

    @property
    def startcode(self) -> int:
        """Address above which program text runs."""
        return self._field(26)

    @property
    def endcode(self) -> int:
        """Address below which program text runs."""
        return self._field(27)

    @property
    def startstack(self) -> int:
        """Address of the bottom of the stack."""
        return self._field(28)

    @property
    def exit_code(self) -> int:
        """How a zombie ended, as wait(2) tells it; 0 where the reader may not see it, too."""
        return self._field(52) if len(self._fields) > 48 else 0

    @property
    def is_kernel_thread(self) -> bool:
        """Whether it runs in the kernel alone."""
        return bool(self.flags & PF_KTHREAD)

    @property
    def is_zombie(self) -> bool:
        """Whether this thread has ended, or has given back its memory on the way there."""
        return self.state in "ZXx" or bool(self.flags & PF_EXITING)


class Statm:
    """/proc/PID/statm, in pages (proc_pid_statm(5))."""

    __slots__ = ("data", "resident", "shared", "size", "text")

    def __init__(self, size: int, resident: int, shared: int, text: int, data: int) -> None:
        self.size = size
        self.resident = resident
        self.shared = shared
        self.text = text
        self.data = data


def fail(source: str, data: bytes, reason: str) -> NoReturn:
    from procmem.errors import ParseError

    raise ParseError(source, 1, data.split(b"\n", 1)[0], reason)


def parse_stat(data: bytes, source: str = "<stat>") -> Stat:
    """A text of /proc/PID/stat.

    The command name may hold any byte, brackets and newlines too: it ends at
    the last closing bracket.

    Raises:
        ParseError
    """
    opened, closed = data.find(b"("), data.rfind(b")")
    try:
        rest = data[closed + 1 :].split()
        fields = [int(field) for field in rest[1:]]
        if 0 <= opened < closed and len(fields) >= 21:
            return Stat(
                int(data[:opened]), data[opened + 1 : closed], rest[0].decode("ascii"), fields
            )
    except ValueError:
        pass
    fail(source, data, "no text of /proc/PID/stat")


def parse_statm(data: bytes, source: str = "<statm>") -> Statm:
    """A text of /proc/PID/statm.

    Raises:
        ParseError
    """
    try:
        size, resident, shared, text, _lib, storage = [int(f) for f in data.split()[:6]]
    except ValueError:
        fail(source, data, "no text of /proc/PID/statm")
    return Statm(size, resident, shared, text, storage)


BLANKS = " \t\r\v\f"


def parse_status(data: bytes, source: str = "<status>") -> dict[str, str]:
    """A text of /proc/PID/status: each line's name with its value, white space stripped.

    Raises:
        ParseError: a line has no colon.
    """
    values = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        if line:
            name, colon, value = line.partition(":")
            if not colon:
                fail(source, line.encode("utf-8", "surrogateescape"), "no line of /proc/PID/status")
            values[name] = value.strip(BLANKS)
    return values
