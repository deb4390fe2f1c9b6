"""Tracing: each memory call of a program, with what it did to VSZ and RSS (ptrace(2))."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import pwd
import shutil
import signal
import stat
import struct
import threading
from array import array
from collections.abc import Sequence

from procmem.calls._bracket import Reading
from procmem.errors import (
    AccessDenied,
    BadArgument,
    InvalidPid,
    KernelThread,
    NoSuchProcess,
    NotAPid,
    ProcessError,
    ProcmemError,
    SyscallError,
    Unsupported,
    ZombieProcess,
)
from procmem.native import HEADER_WORDS, ffi, lib
from procmem.procfs import ProcessFiles, parse_status, probes
from procmem.regions.kinds import name_word
from procmem.tracing.allocators import FUNCTIONS, AllocatorFunction, Role
from procmem.tracing.arguments import decode, decode_siginfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import IO, Any, TypeAlias, overload

    from procmem.regions import Region

    Standard: TypeAlias = "int | IO[Any] | None"
    Happening: TypeAlias = "MemoryCall | Ended | Signal | Breakpoints | Refused"

__all__ = [
    "Breakpoints",
    "Ended",
    "MemoryCall",
    "Refused",
    "Signal",
    "Trace",
    "Tracing",
    "trace",
]

LIMIT = 1_000_000
"""Calls that a Trace keeps if not told otherwise: some 250 MB."""

POLL = 0.02
"""Seconds between two looks at what was taken down."""

SYSTEM_CALLS = int(lib.pm_traced_calls)
NAMES: tuple[str, ...] = (
    *(ffi.string(lib.pm_traced_names[i]).decode() for i in range(SYSTEM_CALLS)),
    *(one.name for one in FUNCTIONS),
)
RECORD = struct.Struct(f"=IHHiiIIIHH6QqQQ4Q{HEADER_WORDS}Q")
X86 = platform.machine() == "x86_64"

FAILED: int = lib.PM_CALL_FAILED
ENDLESS: int = lib.PM_CALL_ENDLESS
SHARED: int = lib.PM_CALL_SHARED
BORROWED: int = lib.PM_CALL_BORROWED
DOUBTFUL = SHARED | BORROWED
LAGS = "statm lags behind the page table on this kernel: RSS comes late, VSZ is exact"
HAS_REGION: int = lib.PM_CALL_REGION
MANY: int = lib.PM_CALL_MANY
UNREAD: int = lib.PM_UNREAD
SIGNALS: tuple[int, ...] = (lib.PM_EVENT_SIGNAL, lib.PM_EVENT_STOPPED)
PLACED: tuple[int, ...] = (lib.PM_EVENT_BREAKS, lib.PM_EVENT_LIMIT)


REGION_NAMES: dict[tuple[int, int, bytes], tuple[str, str]] = {}
"""Perms and names of regions by inode, perms and raw name."""
MOST_NAMES = 10_000


class MemoryCall:
    """One call of a traced program.

    Sizes are bytes. An errno of 512 and more: the kernel makes the call again.
    """

    __slots__ = ("_lag", "_record", "_text")

    def __init__(self, record: tuple[int, ...], text: bytes, lag: str) -> None:
        self._record = record
        self._text = text
        self._lag = lag

    @property
    def name(self) -> str:
        """The call, as in section 2 of the manual; of functions such as "operator new[]"."""
        return NAMES[self._record[2]]

    @property
    def pid(self) -> int:
        """The process."""
        return self._record[3]

    @property
    def tid(self) -> int:
        """The thread."""
        return self._record[4]

    @property
    def args(self) -> dict[str, Any]:
        """The arguments by the manual's names: numbers, flags as enums, strings of execve."""
        function = self.function
        if function is not None:
            return dict(zip(function.arguments, self._record[10:16], strict=False))
        return decode(self.name, self._record[10:16], self._text[self._record[6] :], x86=X86)

    @property
    def words(self) -> tuple[int, ...]:
        """The six registers that hold arguments."""
        return self._record[10:16]

    @property
    def within(self) -> str | None:
        """The function that made this system call (malloc=True); None: another, or it is one."""
        return NAMES[self._record[8] - 1] if self._record[8] else None

    @property
    def function(self) -> AllocatorFunction | None:
        """The function of malloc's family that was called; None: it is a system call."""
        number = self._record[2] - SYSTEM_CALLS
        return FUNCTIONS[number] if number >= 0 else None

    @property
    def is_function(self) -> bool:
        """Whether it is malloc or one of its kin, and no system call."""
        return self._record[2] >= SYSTEM_CALLS

    @property
    def made(self) -> int:
        """How many of the system calls that are told a function made; 0 for system calls."""
        return self._record[9]

    @property
    def address(self) -> int | None:
        """The memory that malloc or one of its kin gave; None: none, or it gives none."""
        function = self.function
        if function is None or not self.returned:
            return None
        if function.role is Role.STORES:
            return self._record[15] or None
        return self._record[16] % (1 << 64) or None if function.gives == lib.PM_GIVES else None

    @property
    def returned(self) -> bool:
        """Whether it came back."""
        return not self._record[5] & ENDLESS

    @property
    def result(self) -> int | None:
        """What it returned; None if it failed or did not return."""
        return None if self._record[5] & (FAILED | ENDLESS) else self._record[16]

    @property
    def errno(self) -> int | None:
        """Why it failed; None if it didn't."""
        return -self._record[16] if self._record[5] & FAILED else None

    @property
    def began(self) -> int:
        """CLOCK_MONOTONIC at its beginning, nanoseconds."""
        return self._record[17]

    @property
    def ns(self) -> int | None:
        """From there to its end, the tracer's part included; None if it did not return."""
        return self._record[18] if self.returned else None

    @property
    def before(self) -> Reading | None:
        """VSZ and RSS as it began; None: not to be read."""
        vsz, rss = self._record[19:21]
        return None if vsz == UNREAD else Reading(vsz, rss)

    @property
    def after(self) -> Reading | None:
        """VSZ and RSS as it ended; None likewise, and where it did not return."""
        vsz, rss = self._record[21:23]
        return None if vsz == UNREAD else Reading(vsz, rss)

    @property
    def delta_vsz(self) -> int | None:
        """What it added to VSZ, in bytes; None: not known."""
        before, after = self._record[19], self._record[21]
        return None if UNREAD in (before, after) else after - before

    @property
    def delta_rss(self) -> int | None:
        """What it added to RSS, in bytes; None: not known."""
        before, after = self._record[20], self._record[22]
        return None if UNREAD in (before, after) else after - before

    @property
    def region(self) -> Region | None:
        """The region that it made or changed; None: there is none."""
        if not self._record[5] & HAS_REGION:
            return None
        from procmem.regions import Region
        from procmem.regions.region import split_deleted

        start, end, offset, inode, dev, perms, _ = self._record[23:30]
        raw = self._text[: self._record[6]]
        path, deleted = split_deleted(raw) if raw else (None, False)
        letters = struct.pack("=I", perms & 0xFFFFFFFF).decode()
        return Region(start, end, letters, offset, (dev >> 32, dev & 0xFFFFFFFF), inode, path,
                      deleted=deleted)  # fmt: skip

    @property
    def region_bounds(self) -> tuple[int, int] | None:
        """Start and end of the region, without making it."""
        return self._record[23:25] if self._record[5] & HAS_REGION else None  # type: ignore[return-value]

    @property
    def told(self) -> tuple[int, str, bool, int | None, int | None, bool]:
        """Of a line of the table: tid, name, whether it is within, the two changes, exact."""
        record = self._record
        vsz_before, rss_before, vsz, rss = record[19:23]
        known = UNREAD not in (vsz_before, vsz)
        return (
            record[4],
            NAMES[record[2]],
            record[8] > 0,
            vsz - vsz_before if known else None,
            rss - rss_before if known else None,
            not (record[5] & DOUBTFUL or self._lag),
        )

    @property
    def figures(self) -> tuple[int, int, int, int]:
        """VSZ and RSS before, and after; UNREAD where they are None in `before` and `after`."""
        return self._record[19:23]  # type: ignore[return-value]

    @property
    def region_told(self) -> tuple[int, int, str, str] | None:
        """Start, end, perms and name of the region, at a fraction of the price."""
        record = self._record
        key = record[26], record[28], self._text[: record[6]]
        told = REGION_NAMES.get(key) if record[5] & HAS_REGION else None
        if told is None:
            if len(REGION_NAMES) > MOST_NAMES:
                REGION_NAMES.clear()
            region = self.region
            if region is None:
                return None
            told = REGION_NAMES[key] = region.perms, name_word(region)
        return record[23], record[24], *told

    @property
    def reason(self) -> str:
        """Why the change may not be this call's alone; empty if it is."""
        flags = self._record[5]
        if flags & SHARED:
            return "the process has other threads: what they did meanwhile shows as well"
        if flags & BORROWED:
            return "vfork: parent and child share this memory until the child calls execve"
        return self._lag

    @property
    def exact(self) -> bool:
        """Whether all of the change is this call's doing."""
        return not (self._record[5] & DOUBTFUL or self._lag)

    @property
    def alone(self) -> bool:
        """Whether nothing else had a part in the change; RSS may lag all the same (`exact`)."""
        return not self._record[5] & DOUBTFUL

    @property
    def rss_error(self) -> int:
        """Bytes by which RSS before and after may be off on this kernel; 0: they are exact."""
        return probes.rss_bound(1) if self._lag else 0

    @property
    def several(self) -> bool:
        """Whether more than one thread was traced at that time."""
        return bool(self._record[5] & MANY)

    def to_dict(self) -> dict[str, Any]:
        """A plain value for JSON; flags are numbers."""
        region = self.region
        before, after = self.before, self.after
        return {
            "name": self.name,
            "args": {key: plain(value) for key, value in self.args.items()},
            "result": self.result,
            "errno": self.errno,
            "error": errno.errorcode.get(self.errno) if self.errno else None,
            "returned": self.returned,
            "pid": self.pid,
            "tid": self.tid,
            "within": self.within,
            "made": self.made if self.is_function else None,
            "before": before and before._asdict(),
            "after": after and after._asdict(),
            "delta_vsz": self.delta_vsz,
            "delta_rss": self.delta_rss,
            "region": region and region.to_record(),
            "began": self.began,
            "ns": self.ns,
            "exact": self.exact,
            "reason": self.reason,
            "rss_error": self.rss_error,
        }

    def __repr__(self) -> str:
        told = "did not return" if not self.returned else (
            f"= {self.result:#x}" if self.result is not None
            else f"failed: {errno.errorcode.get(self.errno or 0, self.errno)}"
        )  # fmt: skip
        change = (
            "" if self.delta_vsz is None else f", vsz {self.delta_vsz:+}, rss {self.delta_rss:+}"
        )
        return f"<MemoryCall {self.name} {told}{change}>"


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value if value is None else (
        int(value) if isinstance(value, int) else str(value)
    )  # fmt: skip


class Ended:
    """The end of a traced process.

    Attributes:
        pid: which.
        returncode: its exit status, or the negated number of the signal that killed it.
        several: whether others were traced still.
    """

    __slots__ = ("pid", "returncode", "several")

    def __init__(self, pid: int, returncode: int, *, several: bool) -> None:
        self.pid = pid
        self.returncode = returncode
        self.several = several

    def __repr__(self) -> str:
        return f"<Ended {self.pid}: {self.returncode}>"


class Signal:
    """A signal that is about to be delivered, or a stop by one.

    Attributes:
        pid, tid: of whom.
        number: of the signal.
        stopped: whether the thread stands still by it, until SIGCONT.
        several: whether more than one thread was traced.
    """

    __slots__ = ("_info", "number", "pid", "several", "stopped", "tid")

    def __init__(
        self, pid: int, tid: int, number: int, info: bytes, *, stopped: bool, several: bool
    ) -> None:
        self.pid = pid
        self.tid = tid
        self.number = number
        self.stopped = stopped
        self.several = several
        self._info = info

    @property
    def info(self) -> dict[str, int]:
        """What sigaction(2) calls siginfo_t: si_code, and what it means for this signal."""
        return decode_siginfo(self._info)

    def __repr__(self) -> str:
        return f"<Signal {self.number} of {self.tid}{': stopped' if self.stopped else ''}>"


def signalled(data: bytes, start: int) -> Signal:
    record = RECORD.unpack_from(data, start)
    at = start + RECORD.size
    return Signal(
        record[3],
        record[4],
        record[16],
        bytes(data[at : at + record[7]]),
        stopped=record[1] == lib.PM_EVENT_STOPPED,
        several=bool(record[5] & MANY),
    )


class Breakpoints:
    """That the malloc of a mapped file is seen from now on, or why it isn't.

    Attributes:
        pid: of the process.
        path: the file's; empty where `limited`.
        names: the functions that have a breakpoint.
        missing: those that have none, though the file has them.
        reason: why they have none; else "".
        runtime: that the file has an allocator of another kind, whose calls are not seen; else "".
        before, after: VSZ and RSS; None: not to be read.
        limited: as many calls as were asked for have been told, and the breakpoints are gone.
    """

    __slots__ = (
        "after", "before", "limited", "missing", "names", "path", "pid", "reason", "runtime"
    )  # fmt: skip

    def __init__(
        self,
        pid: int,
        path: str = "",
        names: tuple[str, ...] = (),
        reason: str = "",
        before: Reading | None = None,
        after: Reading | None = None,
        *,
        limited: bool = False,
        missing: tuple[str, ...] = (),
        runtime: str = "",
    ) -> None:
        self.pid = pid
        self.path = path
        self.names = names
        self.missing = missing
        self.reason = reason
        self.runtime = runtime
        self.before = before
        self.after = after
        self.limited = limited

    @property
    def delta_rss(self) -> int | None:
        """Bytes by which the breakpoints raised RSS; None: not known.

        The process has copies of its own of the pages that were written to, and the pages around.
        """
        return self.after.rss - self.before.rss if self.before and self.after else None

    def to_dict(self) -> dict[str, Any]:
        """A plain value for JSON."""
        return {
            "pid": self.pid,
            "path": self.path,
            "names": list(self.names),
            "missing": list(self.missing),
            "reason": self.reason or None,
            "runtime": self.runtime or None,
            "delta_rss": self.delta_rss,
            "limited": self.limited,
        }

    def __repr__(self) -> str:
        told = "lifted" if self.limited else f"{len(self.names)} in {self.path!r}"
        return f"<Breakpoints of {self.pid}: {told}{', ' + self.reason if self.reason else ''}>"


REFUSED = {
    errno.ENOSPC: "no unused bytes near their code, which breakpoints need",
    errno.ENOEXEC: "they begin with an instruction that can't be run elsewhere",
    errno.ENOSYS: "breakpoints are placed on x86-64 alone",
    errno.ESTALE: "their code in memory is not the file's: something else has changed it",
}


def placed(data: bytes, start: int) -> Breakpoints:
    record = RECORD.unpack_from(data, start)
    if record[1] == lib.PM_EVENT_LIMIT:
        return Breakpoints(record[3], limited=True)
    at = start + RECORD.size
    before, after = (
        None if vsz == UNREAD else Reading(vsz, rss) for vsz, rss in (record[19:21], record[21:23])
    )
    number = -record[16]
    text = bytes(data[at + record[6] : at + record[6] + record[7]])
    lists, where = [], 0
    for _ in range(2):
        [count] = struct.unpack_from("=H", text, where)
        numbers = struct.unpack_from(f"={count}H", text, where + 2)
        lists.append(tuple(dict.fromkeys(NAMES[each] for each in numbers)))
        where += 2 + 2 * count
    return Breakpoints(
        record[3],
        os.fsdecode(data[at : at + record[6]]),
        lists[0],
        REFUSED.get(number, os.strerror(number)) if number else "",
        before,
        after,
        missing=lists[1],
        runtime=text[where:].decode(),
    )


class Refused:
    """A ptrace(2) of the program's own that failed, since a thread has one tracer alone.

    Attributes:
        pid: of whom.
        request: "PTRACE_ATTACH", "PTRACE_SEIZE" or "PTRACE_TRACEME".
        thread: that was to be traced.
    """

    __slots__ = ("pid", "request", "thread")

    REQUESTS = {0: "PTRACE_TRACEME", 16: "PTRACE_ATTACH", 0x4206: "PTRACE_SEIZE"}  # noqa: RUF012

    def __init__(self, pid: int, request: int, thread: int) -> None:
        self.pid = pid
        self.request = self.REQUESTS[request]
        self.thread = thread

    def to_dict(self) -> dict[str, Any]:
        """A plain value for JSON."""
        return {"pid": self.pid, "request": self.request, "thread": self.thread}

    def __repr__(self) -> str:
        return f"<Refused: {self.request} of {self.pid} for {self.thread}>"


def refused(data: bytes, start: int) -> Refused:
    record = RECORD.unpack_from(data, start)
    return Refused(record[3], record[10], record[11])


@ffi.def_extern()  # type: ignore[untyped-decorator]
def pm_find_symbols(_: Any, pid: int, region: Any, name: Any, size: int, out: Any) -> None:
    """Called by the tracing thread, while the process stands still."""
    from procmem.tracing.functions import find

    try:
        code = find(
            pid,
            region[lib.PM_START],
            region[lib.PM_END],
            region[lib.PM_OFFSET],
            region[lib.PM_INODE],
            ffi.buffer(name, size)[:],
        )
    except Exception:  # noqa: BLE001 - C can't have it; such a file counts as without malloc
        return
    if code is None:
        return
    out.room, out.room_end = code.room
    out.count = min(len(code.functions), lib.PM_MOST_SYMBOLS)
    for slot, (number, address, chooses) in zip(out.one, code.functions, strict=False):
        slot.address = address
        slot.function = SYSTEM_CALLS + number
        slot.role = FUNCTIONS[number].gives | (lib.PM_CHOSEN if chooses else 0)
    why = code.why.encode()[: lib.PM_MOST_WHY]
    ffi.buffer(out.why)[: len(why)] = why
    out.why_size = len(why)


class Trace(Sequence[MemoryCall]):
    """The calls of a traced program in the order of their ends; immutable once it is returned.

    Attributes:
        pid: of the program, or of the process that was attached to.
        returncode: as in subprocess: exit status, or a negated signal; None if the process lives.
        ended: the same for every recorded process that ended, by PID.
        dropped: calls beyond the limit, which were counted and not kept.
        foreign: PIDs whose programs are of another architecture (32 bits): their calls are missing.
        breakpoints: what was done to see malloc (malloc=True).
        refused: what the program was refused since it was traced (a debugger, LeakSanitizer).
        setuid_ignored: see Tracing.
        exact: whether every call's change is its own; `reason` says why if not.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self.ended: dict[int, int] = {}
        self.dropped = 0
        self.foreign: list[int] = []
        self.breakpoints: list[Breakpoints] = []
        self.refused: list[Refused] = []
        self.setuid_ignored = False
        self._limit = limit
        self._data = bytearray()
        self._offsets = array("Q")
        self._flags = 0
        self._lag = ""

    def _add(self, data: bytes, start: int, end: int) -> None:
        if self._limit is not None and len(self._offsets) >= self._limit:
            self.dropped += 1
            return
        self._offsets.append(len(self._data))
        self._data += data[start:end]

    def __len__(self) -> int:
        return len(self._offsets)

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> MemoryCall: ...
        @overload
        def __getitem__(self, index: slice) -> list[MemoryCall]: ...

    def __getitem__(self, index: int | slice) -> MemoryCall | list[MemoryCall]:
        if isinstance(index, slice):
            return [self._call(offset) for offset in self._offsets[index]]
        return self._call(self._offsets[index])

    def __iter__(self) -> Iterator[MemoryCall]:
        return map(self._call, self._offsets)

    def _call(self, offset: int) -> MemoryCall:
        return call_at(self._data, offset, self._lag)

    @property
    def reason(self) -> str:
        """The first reason for which a change may not be one call's alone; empty: none."""
        return next((call.reason for call in self if call.reason), "")

    @property
    def exact(self) -> bool:
        """Whether every call's change is its own."""
        return not self.reason

    def __repr__(self) -> str:
        more = f", {self.dropped} not kept" if self.dropped else ""
        return f"<Trace of {self.pid}: {len(self)} calls{more}, returncode {self.returncode}>"


def call_at(data: bytes | bytearray, offset: int, lag: str) -> MemoryCall:
    record = RECORD.unpack_from(data, offset)
    start = offset + RECORD.size
    return MemoryCall(record, bytes(data[start : start + record[6] + record[7]]), lag)


class Tracing:
    """A trace that goes on: iterating gives calls, signals and ends of processes, as they come.

    With a `with` block nothing is left: what was launched has ended or is killed, what was
    attached to is let go and runs on.

    Args and errors: those of trace().

    Attributes:
        pid: of the program, or of the process that was attached to.
        returncode: once iterating is over; see Trace.
        foreign: see Trace.
        malloc: whether malloc is asked for.
        setuid_ignored: the program is set-user-ID or set-group-ID, and runs with this user's rights
            alone: the kernel gives none to what an ordinary user traces (ptrace(2), execve(2)).
    """

    def __init__(
        self,
        argv: Sequence[str | bytes | os.PathLike[str]] | None = None,
        *,
        pid: int | None = None,
        follow: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: Standard = None,
        stdout: Standard = None,
        stderr: Standard = None,
        seccomp: bool = True,
        malloc: bool | int = False,
    ) -> None:
        if (argv is None) == (pid is None):
            raise BadArgument("trace() takes a program's words or a pid, one of both")
        if isinstance(argv, (str, bytes)) or (argv is not None and not argv):
            raise BadArgument('argv is a list of words, as in trace(["ls", "-l"])')
        tracer = lib.pm_trace_new()
        if tracer == ffi.NULL:
            raise MemoryError
        self._tracer = ffi.gc(tracer, lib.pm_trace_free)
        tracer.follow = follow
        tracer.filtered = seccomp and lib.pm_trace_can_filter()
        self.malloc = bool(malloc)
        if malloc:
            tracer.find = lib.pm_find_symbols
            tracer.most = -1 if malloc is True else malloc
        self._room = ffi.new("char[]", lib.PM_TRACE_ROOM)
        self._pidfd = -1
        self._error = 0
        self._over = threading.Event()
        self.foreign: list[int] = []
        self.returncode: int | None = None
        self._path = ""
        if argv is not None:
            for number, given in enumerate((stdin, stdout, stderr)):
                if given is not None:
                    tracer.fds[number] = given if isinstance(given, int) else given.fileno()
            begin = self._launcher([os.fsencode(word) for word in argv], env, cwd)
        else:
            begin = self._attacher(pid)
        self._start(begin)
        self.pid = int(tracer.pid)
        self.setuid_ignored = bool(self._path) and os.geteuid() != 0 and gains_rights(self._path)
        self._lag = LAGS if probes.counters_lag() else ""

    def _launcher(
        self,
        words: list[bytes],
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
    ) -> Callable[[], int]:
        environment = os.environb if env is None else {
            os.fsencode(key): os.fsencode(value) for key, value in env.items()
        }  # fmt: skip
        path = find_program(words[0], environment.get(b"PATH"))
        self._path = os.fsdecode(path)
        kept = [ffi.new("char[]", word) for word in words]
        pairs = [ffi.new("char[]", key + b"=" + value) for key, value in environment.items()]
        argv = ffi.new("char *[]", [*kept, ffi.NULL])
        envp = ffi.new("char *[]", [*pairs, ffi.NULL])
        directory = ffi.NULL if cwd is None else ffi.new("char[]", os.fsencode(cwd))

        # The memory that the two arrays point to.
        self._kept = (kept, pairs)

        def begin() -> int:
            return int(lib.pm_trace_launch(self._tracer, path, argv, envp, directory))

        return begin

    def _attacher(self, pid: Any) -> Callable[[], int]:
        if not isinstance(pid, int):
            raise NotAPid(f"a pid is an integer, not {pid!r}")
        if not 0 < pid < 1 << 31:
            raise InvalidPid(pid)
        if pid == os.getpid():
            raise BadArgument("a process can't trace itself; trace it from another one")
        # NoSuchProcess, in the usual words.
        group = int(parse_status(ProcessFiles(pid).read("status"))["Tgid"])
        if group == os.getpid():
            raise BadArgument("a process can't trace its own threads; trace it from another one")
        own = int(parse_status(ProcessFiles(os.getpid()).read("status"))["TracerPid"])
        with contextlib.suppress(ProcessError, KeyError):
            if own and int(parse_status(ProcessFiles(own).read("status"))["Tgid"]) == group:
                raise BadArgument(
                    f"process {pid} traces this process: each would wait for the other"
                )
        files = ProcessFiles(pid)
        files.stat()  # NoSuchProcess, in the usual words

        def begin() -> int:
            status = int(lib.pm_trace_attach(self._tracer, pid))
            if not status:
                try:
                    # What is traced stays until this thread has waited for it. If the process
                    # is still there, its PID was its own all the time.
                    files.stat()
                except ProcmemError:
                    lib.pm_trace_end(self._tracer, 0)
                    lib.pm_trace_run(self._tracer)
                    return -errno.ESRCH
            return status

        return begin

    def _start(self, begin: Callable[[], int]) -> None:
        begun = threading.Event()
        status = 0

        def follow() -> None:
            nonlocal status
            # Signals are for the thread that started the trace. But each stop makes a SIGCHLD,
            # which the kernel throws away at once only if this thread does not block it.
            others = signal.valid_signals() - {signal.SIGCHLD}
            signal.pthread_sigmask(signal.SIG_BLOCK, others)
            status = begin()
            if not status:
                # Here, since nothing that is traced is waited for yet: its PID is still its own.
                with contextlib.suppress(OSError, AttributeError):
                    self._pidfd = os.pidfd_open(int(self._tracer.pid))
            begun.set()
            if not status:
                self._error = lib.pm_trace_run(self._tracer)
            self._over.set()

        # ptrace(2) ties what is traced to this one thread; wait(2) can be told so, too, and leaves
        # other children of this process alone.
        self._thread = threading.Thread(target=follow, name="procmem-trace", daemon=True)
        self._thread.start()
        begun.wait()
        if status:
            self._thread.join()
            raise refusal(-status, int(self._tracer.pid), attached=not self._path)

    def batches(self) -> Iterator[bytes]:
        """Whole records, as they come; empty ones where nothing came for a while."""
        while True:
            over = self._over.wait(POLL)
            size = lib.pm_trace_take(self._tracer, self._room, lib.PM_TRACE_ROOM)
            yield ffi.buffer(self._room, size)[:]
            if over and not size:
                break
        self._finish()

    def _finish(self) -> None:
        self._thread.join()
        tracer = self._tracer
        if self._path and tracer.exec_error:
            number = int(tracer.exec_error)
            raise SyscallError("execve", number, f"can't run {self._path}")
        if self._error == -errno.ENOSYS:
            raise Unsupported("PTRACE_GET_SYSCALL_INFO", "tracing needs Linux 5.3 or newer")
        if self._error:
            raise SyscallError("ptrace", -self._error)
        if tracer.ended:
            self.returncode = os.waitstatus_to_exitcode(tracer.status)

    def groups(self) -> Iterator[list[Happening]]:
        """What came since the last look, about fifty times a second; it may be nothing."""
        for data in self.batches():
            group: list[Happening] = []
            for kind, start, _ in records(data):
                if kind == lib.PM_EVENT_CALL:
                    group.append(call_at(data, start, self._lag))
                elif kind == lib.PM_EVENT_END:
                    group.append(ended(data, start))
                elif kind in PLACED:
                    group.append(placed(data, start))
                elif kind in SIGNALS:
                    group.append(signalled(data, start))
                elif kind == lib.PM_EVENT_REFUSED:
                    group.append(refused(data, start))
                else:
                    self.foreign.append(RECORD.unpack_from(data, start)[3])
            yield group

    def __iter__(self) -> Iterator[Happening]:
        for group in self.groups():
            yield from group

    def whole(self, limit: int | None = LIMIT) -> Trace:
        """All of it, once it is over; see trace()."""
        made = Trace(limit)
        made.pid = self.pid
        made._lag = self._lag
        made.setuid_ignored = self.setuid_ignored
        for data in self.batches():
            for kind, start, end in records(data):
                if kind == lib.PM_EVENT_CALL:
                    made._add(data, start, end)
                elif kind == lib.PM_EVENT_END:
                    one = ended(data, start)
                    made.ended[one.pid] = one.returncode
                elif kind in PLACED:
                    made.breakpoints.append(placed(data, start))
                elif kind == lib.PM_EVENT_REFUSED:
                    made.refused.append(refused(data, start))
                elif kind == lib.PM_EVENT_FOREIGN:
                    made.foreign.append(RECORD.unpack_from(data, start)[3])
        made.returncode = self.returncode
        return made

    def send_signal(self, number: int) -> None:
        """Sends a signal to the program, if it still runs."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def detach(self) -> None:
        """Ends the trace: iterating gives what is left, and stops.

        What was attached to runs on. What was launched is killed: its filter can't be taken
        away, and without a tracer its memory calls would fail.
        """
        lib.pm_trace_end(self._tracer, 0)

    def close(self) -> None:
        """The same, without what is left."""
        lib.pm_trace_end(self._tracer, 1)
        self._thread.join()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __enter__(self) -> Tracing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each record."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from("=IH", data, at)
        yield kind, at, at + size
        at += size


def ended(data: bytes, start: int) -> Ended:
    record = RECORD.unpack_from(data, start)
    return Ended(record[3], os.waitstatus_to_exitcode(record[16]), several=bool(record[5] & MANY))


def gains_rights(path: str) -> bool:
    """Whether execve(2) of a file would give other rights than this process has."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return bool(
        (status.st_mode & stat.S_ISUID and status.st_uid != os.geteuid())
        or (status.st_mode & stat.S_ISGID and status.st_gid != os.getegid())
    )


def find_program(name: bytes, path: bytes | None) -> bytes:
    """The file that execvp(3) would run.

    Raises:
        SyscallError: ENOENT, or EACCES if there is one that may not be run.
    """
    if b"/" in name:
        return name
    searched = os.fsdecode(os.defpath if path is None else path)
    found = shutil.which(os.fsdecode(name), path=searched) if name else None
    if found is not None:
        return os.fsencode(found)
    there = any(os.path.isfile(os.path.join(part, os.fsdecode(name))) for part in
                searched.split(os.pathsep)) if name else False  # fmt: skip
    raise SyscallError(
        "execve",
        errno.EACCES if there else errno.ENOENT,
        f"{os.fsdecode(name)}: {'it may not be run' if there else 'no such program in PATH'}",
    )


def refusal(number: int, pid: int, *, attached: bool) -> Exception:
    """Why a trace could not be begun."""
    if not attached:
        return SyscallError("ptrace", number, "may processes be traced here? See ptrace(2)")
    if number == errno.ESRCH:
        return NoSuchProcess(pid)
    if number == errno.ENOSYS:
        return SyscallError(
            "ptrace",
            number,
            "a container's filter refuses it: docker run --cap-add=SYS_PTRACE allows it",
        )
    if number not in (errno.EPERM, errno.EACCES):
        return SyscallError("ptrace", number)
    try:
        return denial(pid)
    except NoSuchProcess as error:
        return error


ALLOWED = {
    "1": "lets a process be traced by its ancestors alone: trace a program from its start, or as "
    "root, or let it call prctl(PR_SET_PTRACER)",
    "2": "lets root alone trace: do it as root",
    "3": "forbids all tracing until the system is restarted",
}
"""/proc/sys/kernel/yama/ptrace_scope (Documentation/admin-guide/LSM/Yama.rst)."""

CAP_SYS_PTRACE = 19


def denial(pid: int) -> Exception:
    """Why ptrace(2) refuses to attach to a process: the first of its rules that applies.

    Source: ptrace_attach and __ptrace_may_access (kernel/ptrace.c), yama_ptrace_access_check.

    Raises:
        NoSuchProcess: it has ended meanwhile.
    """
    files = ProcessFiles(pid)
    status = parse_status(files.read("status"))
    if files.stat().is_kernel_thread:
        return KernelThread(pid)
    alive = status
    with contextlib.suppress(ProcessError):
        if files.use_living_thread():
            alive = parse_status(files.read(files.memory_name("status")))
    tracer = int(alive["TracerPid"])
    if tracer:
        name = ""
        with contextlib.suppress(ProcessError, KeyError):
            told = parse_status(ProcessFiles(tracer).read("status"))
            tracer = int(told["Tgid"])
            name = f" ({parse_status(ProcessFiles(tracer).read('status'))['Name']})"
        return AccessDenied(
            pid, f"process {tracer}{name} traces it already, and there can be only one: end that"
        )
    if alive["State"][:1] in "ZX":
        return ZombieProcess(pid)
    return AccessDenied(pid, f"it may not be traced: {denial_words(files, status)}")


def denial_words(files: ProcessFiles, status: Mapping[str, str]) -> str:
    """Of a living process that nobody traces."""
    own = parse_status(ProcessFiles(os.getpid()).read("status"))
    if int(own["CapEff"], 16) >> CAP_SYS_PTRACE & 1:
        if other_namespace(files):
            return "it is of a user namespace above this one: trace it from there"
        return forbidden()
    uid, gid = int(own["Uid"].split()[1]), int(own["Gid"].split()[1])
    users = {int(each) for each in status["Uid"].split()[:3]}
    if users != {uid}:
        others = ", ".join(map(user_name, sorted(users - {uid})))
        return f"it runs as {others}, and this is {user_name(uid)}: root may (CAP_SYS_PTRACE)"
    if {int(each) for each in status["Gid"].split()[:3]} != {gid}:
        return "it has other group IDs than this process: root may (CAP_SYS_PTRACE)"
    if int(status.get("CapPrm", "0"), 16) & ~int(own["CapPrm"], 16):
        return "it has capabilities that this process has not: root may (CAP_SYS_PTRACE)"
    with contextlib.suppress(ProcessError, OSError):
        if files.owner("maps") not in (uid, None):
            return (
                "it is not dumpable: it has been set-user-ID, its program may not be read, or it "
                "has called prctl(PR_SET_DUMPABLE, 0); root may (CAP_SYS_PTRACE)"
            )
    if other_namespace(files):
        return "it is of another user namespace: root of that namespace may (CAP_SYS_PTRACE)"
    scope = ptrace_scope()
    if scope in ALLOWED:
        return f"/proc/sys/kernel/yama/ptrace_scope is {scope}, which {ALLOWED[scope]}"
    return forbidden()


def ptrace_scope() -> str:
    """What yama allows: "0" to "3"; "" where there is no yama."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/yama/ptrace_scope") as file:
        return file.read().strip()
    return ""


def other_namespace(files: ProcessFiles) -> bool:
    with contextlib.suppress(ProcessError):
        theirs = files.readlink("ns/user")
        return theirs is not None and theirs != ProcessFiles(os.getpid()).readlink("ns/user")
    return False


def user_name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user {uid}"


def forbidden() -> str:
    """Whether ptrace(2) is refused altogether."""
    scope = ptrace_scope()
    if scope in ("2", "3"):
        return f"/proc/sys/kernel/yama/ptrace_scope is {scope}, which {ALLOWED[scope]}"
    return (
        "the system's rules (SELinux, AppArmor, or a container's filter: docker run "
        "--cap-add=SYS_PTRACE) forbid it"
    )


def trace(
    argv: Sequence[str | bytes | os.PathLike[str]] | None = None,
    *,
    pid: int | None = None,
    follow: bool = False,
    limit: int | None = LIMIT,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: Standard = None,
    stdout: Standard = None,
    stderr: Standard = None,
    seccomp: bool = True,
    malloc: bool | int = False,
) -> Trace:
    """Runs a program to its end, or follows a process to its, and takes down its memory calls.

    These are mmap, munmap, mremap, brk, mprotect, madvise, mlock and its kin, shmat, shmdt, clone,
    fork, vfork, execve and exit of all its threads. Before and after each, /proc/PID/statm is read
    while the thread stands still.

    Args:
        argv: the program and its arguments; it is looked for in PATH.
        pid: a process that runs already, instead. Every system call of it is stopped at, memory or
            not, since a filter can be installed by the process itself alone.
        follow: take down its children's calls, too.
        limit: how many calls to keep; None: all. Further ones are counted in `dropped`.
        env: the program's environment; None: this one.
        cwd: its working directory.
        stdin: a file or a descriptor; None: that of this process.
        stdout: the same.
        stderr: the same.
        seccomp: let the kernel stop the program at memory calls alone. Descendants of the program
            inherit that and must be followed to their end, recorded or not; as an ordinary user it
            also keeps setuid programs from gaining rights. False: stop at every call.
        malloc: tell calls of malloc(3), calloc, realloc, free and their kin, too, by breakpoints; a
            number: so many, then no more. `breakpoints` of the Trace says where that was possible
            (x86-64 alone). A system call's `within` names the function that made it.

    Raises:
        SyscallError: the program can't be run (errno says why), or ptrace(2) is forbidden here.
        NoSuchProcess, AccessDenied: of `pid`.
        BadArgument: neither argv nor pid, or both, or this very process.
        Unsupported: a kernel before 5.3.

    An exception that comes from outside (Ctrl-C) ends what was launched, and lets go what was not.

    Source: ptrace(2), seccomp(2), proc_pid_statm(5).

    >>> traced = trace(["true"])
    >>> traced[0].name, traced[-1].name, traced.returncode
    ('execve', 'exit_group', 0)
    """
    with Tracing(
        argv,
        pid=pid,
        follow=follow,
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        seccomp=seccomp,
        malloc=malloc,
    ) as tracing:
        return tracing.whole(limit)
