"""The short files of /proc/PID as values: stat, statm, status. Bytes in, nothing opened."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = [
    "Stat",
    "Statm",
    "kernel_bytes",
    "kind_of_text",
    "known_as",
    "parse_cgroup",
    "parse_limits",
    "parse_stat",
    "parse_statm",
    "parse_status",
    "saved_text",
]

PF_EXITING = 0x00000004
PF_FORKNOEXEC = 0x00000040
PF_KTHREAD = 0x00200000
"""In the flags of stat: it is ending, it has not called execve(2) since it was forked, it is a
kernel thread (include/linux/sched.h)."""


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
        """The exit status of a zombie, as of wait(2); also 0 where the reader may not see it."""
        return self._field(52) if len(self._fields) > 48 else 0

    @property
    def is_kernel_thread(self) -> bool:
        """Whether it is a thread of the kernel, without an address space."""
        return bool(self.flags & PF_KTHREAD)

    @property
    def is_zombie(self) -> bool:
        """Whether this thread has ended, or is ending and has already released its memory."""
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


def fail(source: str, data: bytes, wanted: str) -> NoReturn:
    """Raises a ParseError for a text that is not the one that was wanted."""
    from procmem.errors import ParseError

    lineno, line = first_line(data)
    if not line:
        raise ParseError(source, 0, b"", f"empty: a text of /proc/PID/{wanted} is expected")
    raise ParseError(source, lineno, line, f"no text of /proc/PID/{wanted}{known_as(data)}")


def first_line(data: bytes) -> tuple[int, bytes]:
    """The number, from 1, and the bytes of the first non-blank line; (0, b"")."""
    for lineno, line in enumerate(data.split(b"\n"), 1):
        if line.strip(BLANKS):
            return lineno, line.rstrip(b"\r")
    return 0, b""


BOM = b"\xef\xbb\xbf"

BLANKS = b" \t\n\r\v\f"
"""A line of nothing but these is blank. Every parser ignores blank lines, wherever they are."""


def saved_text(data: bytes) -> bytes:
    r"""Undoes what editors and terminal logs change in a text when they save it.

    A byte order mark is removed, and so are the CRs of a text in which every line that is not
    blank ends in CR LF. A path may end in CR: where any line has none, all stay, and so they do
    where every line has a path. Blank lines stay: parsers ignore them.

    >>> saved_text(b"a\r\nb\r\n"), saved_text(b"a\r\nb\n")
    (b'a\nb\n', b'a\r\nb\n')
    """
    data = data.removeprefix(BOM)
    if b"\r" not in data:
        return data
    lines = data.split(b"\n")
    # The last line may be cut in front of its LF, or before.
    whole = [line for line in lines[:-1] if line.strip(BLANKS)]
    if not all(line.endswith(b"\r") for line in whole) or all(b"/" in line for line in whole):
        return data
    return b"\n".join(line.removesuffix(b"\r") for line in lines)


def kernel_bytes(path: str | bytes) -> bytes:
    """A name that the kernel printed, as bytes. It was decoded as UTF-8 whatever the locale."""
    return path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")


READERS = {
    "maps": "parse_maps()",
    "smaps": "parse_smaps()",
    "smaps_rollup": "parse_rollup()",
}


def kind_of_text(data: bytes) -> str | None:
    """Which file of /proc/PID a text was read from, judging by its first lines; None: unknown.

    "maps", "smaps", "smaps_rollup", "status", "stat", "statm"; "UTF-16" for one that was saved
    in that encoding.
    """
    import re

    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:8]:
        return "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else None
    lines = [line for part in data[:20_000].split(b"\n") if (line := part.strip(BLANKS))][:2]
    if not lines:
        return None
    if re.match(rb"[0-9a-fA-F]+-[0-9a-fA-F]+ \S{4} ", lines[0]):
        if lines[0].endswith(b"[rollup]"):
            return "smaps_rollup"
        return "smaps" if re.match(rb"[A-Z]\w*:", lines[-1]) else "maps"
    if re.match(rb"Name:", lines[0]):
        return "status"
    if re.match(rb"\d+ \(", lines[0]):
        return "stat"
    return "statm" if re.fullmatch(rb"\d+( \d+){6}", lines[0]) else None


def known_as(data: bytes) -> str:
    """The end of an error message: which text this is instead of the one that was wanted; or ""."""
    kind = kind_of_text(data)
    if kind is None:
        return ""
    if kind == "UTF-16":
        return ": it is saved as UTF-16; save it as UTF-8"
    reader = f", which {READERS[kind]} reads" if kind in READERS else ""
    return f": this is a text of /proc/PID/{kind}{reader}"


def parse_stat(data: bytes, source: str = "<stat>") -> Stat:
    """A text of /proc/PID/stat.

    The command name may hold any byte, brackets and newlines too: it ends at
    the last closing bracket. Further lines are ignored.

    Raises:
        ParseError
    """
    text = saved_text(data)
    opened, closed = text.find(b"("), text.rfind(b")")
    try:
        rest = text[closed + 1 :].split(b"\n", 1)[0].split()
        fields = [int(field) for field in rest[1:]]
        if 0 <= opened < closed and len(fields) >= 21:
            return Stat(
                int(text[:opened]), text[opened + 1 : closed], rest[0].decode("ascii"), fields
            )
    except ValueError:
        pass
    fail(source, data, "stat")


def parse_statm(data: bytes, source: str = "<statm>") -> Statm:
    """A text of /proc/PID/statm. Further lines are ignored.

    Raises:
        ParseError
    """
    try:
        fields = first_line(saved_text(data))[1].split()
        size, resident, shared, text, _lib, storage = [int(field) for field in fields[:6]]
    except ValueError:
        fail(source, data, "statm")
    return Statm(size, resident, shared, text, storage)


STATUS = frozenset({"Name", "State", "Tgid", "Pid", "PPid", "Uid", "Threads"})


def parse_status(data: bytes, source: str = "<status>") -> dict[str, str]:
    """A text of /proc/PID/status: each line's name with its value, white space stripped.

    Lines without a colon, which some vendors' kernels print, are ignored.

    Raises:
        ParseError: no line is one of status.
    """
    values = {}
    for line in saved_text(data).decode("utf-8", "surrogateescape").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            values[name] = value.strip(BLANKS.decode())
    if "Name" in values:
        return values
    # A few lines of one are taken, as somebody may have saved them; other files' are not.
    if kind_of_text(data) is None and any(
        name in STATUS or (name.startswith("Vm") and name != "VmFlags") for name in values
    ):
        return values
    fail(source, data, "status")


def parse_cgroup(data: bytes) -> dict[str, str]:
    r"""A text of /proc/PID/cgroup: the path of the control group in each hierarchy.

    Returns:
        Paths by controller ("memory"), by name of a version 1 hierarchy without controllers
        ("name=systemd"), and "" for version 2. Paths are as the reader's cgroup namespace shows
        them (cgroup_namespaces(7)); a group that was removed has " (deleted)" at its end.

    Source: cgroups(7).

    >>> parse_cgroup(b"4:memory:/a\n1:name=systemd:/b\n0::/c:d\n")
    {'memory': '/a', 'name=systemd': '/b', '': '/c:d'}
    """
    found = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        parts = line.split(":", 2)
        if len(parts) == 3 and parts[0].isdecimal():
            for controller in parts[1].split(","):
                found[controller] = parts[2]
    return found


def parse_limits(data: bytes, source: str = "<limits>") -> dict[str, tuple[int | None, int | None]]:
    """A text of /proc/PID/limits: soft and hard limit by name; None: unlimited.

    Raises:
        ParseError

    >>> parse_limits(b"Max stack size            8388608              unlimited            bytes")
    {'Max stack size': (8388608, None)}
    """
    found: dict[str, tuple[int | None, int | None]] = {}
    try:
        for line in saved_text(data).decode("ascii", "replace").split("\n"):
            # Names have blanks; the kernel prints them 25 wide (proc_pid_limits()).
            if line.startswith("Max "):
                soft, hard = line[25:].split()[:2]
                found[line[:25].rstrip()] = limit_value(soft), limit_value(hard)
    except ValueError:
        found.clear()
    if found:
        return found
    fail(source, data, "limits")


def limit_value(word: str) -> int | None:
    return None if word == "unlimited" else int(word)
