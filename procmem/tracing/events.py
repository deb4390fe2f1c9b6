"""What a trace consists of: memory calls, signals and ends of processes, decoded from records.

The records are those of native/tracer.c, of fixed size, each with the texts that belong to it.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from array import array
from functools import partial

from procmem.arrow import Columnar, SequenceOf
from procmem.calls._bracket import Reading
from procmem.columns import ArrowColumn, PackedRows, booleans, categories, numbers, sourced
from procmem.native import HEADER_WORDS, ffi, lib
from procmem.procfs import probes
from procmem.regions.kinds import GUARD_LIMIT, name_word
from procmem.tracing.allocators import FUNCTIONS, AllocatorFunction, Role
from procmem.tracing.arguments import decode, decode_siginfo

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, TextIO, TypeAlias, overload

    from matplotlib.axes import Axes

    from procmem.arrow import Makers
    from procmem.regions import Region

    Event: TypeAlias = "MemoryCall | ProcessEnd | Signal | Breakpoints | Refused"

__all__ = [
    "UNREAD",
    "Breakpoints",
    "MemoryCall",
    "ProcessEnd",
    "Refused",
    "Signal",
    "Trace",
    "events_in",
]

SYSTEM_CALLS = int(lib.pm_traced_calls)
NAMES: tuple[str, ...] = (
    *(ffi.string(lib.pm_traced_names[i]).decode() for i in range(SYSTEM_CALLS)),
    *(one.name for one in FUNCTIONS),
)
RECORD = struct.Struct(f"=IHHiiIIIHH6QqQQ4Q{HEADER_WORDS}Q")
FLAGS, ARGUMENTS, RESULT, BEGAN, REGION = 2, 4, 10, 11, 17
"""The places of fields in a record, in 64-bit words. Flags are the low half of theirs."""
X86 = platform.machine() == "x86_64"

FAILED: int = lib.PM_CALL_FAILED
ENDLESS: int = lib.PM_CALL_ENDLESS
SHARED: int = lib.PM_CALL_SHARED
BORROWED: int = lib.PM_CALL_BORROWED
DOUBTFUL = SHARED | BORROWED
HAS_REGION: int = lib.PM_CALL_REGION
MANY: int = lib.PM_CALL_MANY
UNREAD: int = lib.PM_UNREAD
SIGNALS: tuple[int, ...] = (lib.PM_EVENT_SIGNAL, lib.PM_EVENT_STOPPED)
PLACED: tuple[int, ...] = (lib.PM_EVENT_BREAKS, lib.PM_EVENT_LIMIT)


REGION_NAMES: dict[tuple[int, int, bytes, bool], tuple[str, str]] = {}
"""Perms and names of regions by inode, perms, raw name, and whether they are large."""
MOST_NAMES = 10_000


class MemoryCall:
    """One call of a traced program: a system call, or a function of malloc's family.

    Sizes are bytes. An errno of 512 or more means that the kernel restarts the call.
    """

    __slots__ = ("_lag", "_record", "_text")

    def __init__(self, record: tuple[int, ...], text: bytes, lag: str) -> None:
        self._record = record
        self._text = text
        self._lag = lag

    @property
    def name(self) -> str:
        """Its name: "mmap" as in section 2 of the manual, or "malloc", "operator new[]"."""
        return NAMES[self._record[2]]

    @property
    def pid(self) -> int:
        """The ID of the process that made it."""
        return self._record[3]

    @property
    def tid(self) -> int:
        """The ID of the thread that made it."""
        return self._record[4]

    @property
    def args(self) -> dict[str, Any]:
        """The arguments by the names of the manual page: numbers, flags, the strings of execve."""
        function = self.function
        if function is not None:
            return dict(zip(function.arguments, self._record[10:16], strict=False))
        return decode(self.name, self._record[10:16], self._text[self._record[6] :], x86=X86)

    @property
    def words(self) -> tuple[int, ...]:
        """The six argument registers, undecoded."""
        return self._record[10:16]

    @property
    def within(self) -> str | None:
        """The traced function that made this system call, such as "malloc" (malloc=True).

        None: no traced function made it, or this is a function itself.
        """
        return NAMES[self._record[8] - 1] if self._record[8] else None

    @property
    def function(self) -> AllocatorFunction | None:
        """The function of malloc's family that was called; None if this is a system call."""
        number = self._record[2] - SYSTEM_CALLS
        return FUNCTIONS[number] if number >= 0 else None

    @property
    def is_function(self) -> bool:
        """Whether it is a function of malloc's family, and not a system call."""
        return self._record[2] >= SYSTEM_CALLS

    @property
    def made(self) -> int:
        """How many of the traced system calls this function made; 0 for a system call."""
        return self._record[9]

    @property
    def address(self) -> int | None:
        """The address of the memory that a function allocated; None if it allocated none."""
        function = self.function
        if function is None or not self.returned:
            return None
        if function.role is Role.STORES:
            return self._record[15] or None
        return self._record[16] % (1 << 64) or None if function.gives == lib.PM_GIVES else None

    @property
    def returned(self) -> bool:
        """Whether the call returned."""
        return not self._record[5] & ENDLESS

    @property
    def result(self) -> int | None:
        """Its return value; None if it failed or did not return."""
        return None if self._record[5] & (FAILED | ENDLESS) else self._record[16]

    @property
    def errno(self) -> int | None:
        """Its errno; None if it did not fail."""
        return -self._record[16] if self._record[5] & FAILED else None

    @property
    def began(self) -> int:
        """CLOCK_MONOTONIC when it began, in nanoseconds."""
        return self._record[17]

    @property
    def ns(self) -> int | None:
        """How long it took in nanoseconds, the tracer's work included; None: it never returned."""
        return self._record[18] if self.returned else None

    @property
    def before(self) -> Reading | None:
        """VSZ and RSS when it began; None if they could not be read."""
        vsz, rss = self._record[19:21]
        return None if vsz == UNREAD else Reading(vsz, rss)

    @property
    def after(self) -> Reading | None:
        """VSZ and RSS when it ended; None if they could not be read, or it did not return."""
        vsz, rss = self._record[21:23]
        return None if vsz == UNREAD else Reading(vsz, rss)

    @property
    def delta_vsz(self) -> int | None:
        """By how many bytes VSZ grew; None: not known."""
        before, after = self._record[19], self._record[21]
        return None if UNREAD in (before, after) else after - before

    @property
    def delta_rss(self) -> int | None:
        """By how many bytes RSS grew; None: not known."""
        before, after = self._record[20], self._record[22]
        return None if UNREAD in (before, after) else after - before

    @property
    def region(self) -> Region | None:
        """The region that it made or changed; None if there is none."""
        if not self._record[5] & HAS_REGION:
            return None
        from procmem.regions import Region
        from procmem.regions.reading import split_deleted

        start, end, offset, inode, dev, perms, _ = self._record[23:30]
        raw = self._text[: self._record[6]]
        path, deleted = split_deleted(raw) if raw else (None, False)
        letters = struct.pack("=I", perms & 0xFFFFFFFF).decode()
        return Region(start, end, letters, offset, (dev >> 32, dev & 0xFFFFFFFF), inode, path,
                      deleted=deleted)  # fmt: skip

    @property
    def region_bounds(self) -> tuple[int, int] | None:
        """Start and end of the region, without the cost of making a Region."""
        return self._record[23:25] if self._record[5] & HAS_REGION else None  # type: ignore[return-value]

    @property
    def row(self) -> tuple[int, str, bool, int | None, int | None, bool]:
        """A table row at once: tid, name, whether `within` is set, both changes, exact."""
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
        """VSZ and RSS before and after; UNREAD where `before` or `after` is None."""
        return self._record[19:23]  # type: ignore[return-value]

    @property
    def region_row(self) -> tuple[int, int, str, str] | None:
        """Start, end, perms and name of the region, without the cost of making a Region."""
        record = self._record
        # Memory without access is named by its size as well.
        large = record[24] - record[23] > GUARD_LIMIT
        key = record[26], record[28], self._text[: record[6]], large
        names = REGION_NAMES.get(key) if record[5] & HAS_REGION else None
        if names is None:
            if len(REGION_NAMES) > MOST_NAMES:
                REGION_NAMES.clear()
            region = self.region
            if region is None:
                return None
            names = REGION_NAMES[key] = region.perms, name_word(region)
        return record[23], record[24], *names

    @property
    def reason(self) -> str:
        """Why the change may not be this call's alone; empty if it is."""
        flags = self._record[5]
        if flags & SHARED:
            return "the process has other threads: what they did meanwhile is included"
        if flags & BORROWED:
            return "vfork: parent and child share this memory until the child calls execve"
        return self._lag

    @property
    def exact(self) -> bool:
        """Whether this call alone made the whole change, and the figures are exact."""
        return not (self._record[5] & DOUBTFUL or self._lag)

    @property
    def alone(self) -> bool:
        """Whether this call alone made the change, even if RSS is not exact on this kernel."""
        return not self._record[5] & DOUBTFUL

    @property
    def rss_error(self) -> int:
        """By how many bytes each RSS may be off on this kernel; 0 if it is exact."""
        return probes.rss_bound(1) if self._lag else 0

    @property
    def several(self) -> bool:
        """Whether more than one thread was being traced at that time."""
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
        end = "did not return" if not self.returned else (
            f"= {self.result:#x}" if self.result is not None
            else f"failed: {errno.errorcode.get(self.errno or 0, self.errno)}"
        )  # fmt: skip
        change = (
            "" if self.delta_vsz is None else f", vsz {self.delta_vsz:+}, rss {self.delta_rss:+}"
        )
        return f"<MemoryCall {self.name} {end}{change}>"


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value if value is None else (
        int(value) if isinstance(value, int) else str(value)
    )  # fmt: skip


class ProcessEnd:
    """The end of a traced process.

    Attributes:
        pid: its ID.
        returncode: its exit status, or the negative number of the signal that killed it.
        several: whether other processes were still being traced.
    """

    __slots__ = ("pid", "returncode", "several")

    def __init__(self, pid: int, returncode: int, *, several: bool) -> None:
        self.pid = pid
        self.returncode = returncode
        self.several = several

    def __repr__(self) -> str:
        return f"<ProcessEnd {self.pid}: {self.returncode}>"


class Signal:
    """A signal that is about to be delivered to a thread, or that has stopped it.

    Attributes:
        pid, tid: the process and the thread.
        number: the signal's number.
        stopped: whether the signal has stopped the thread, until SIGCONT.
        several: whether more than one thread was being traced.
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
        """siginfo_t of sigaction(2): si_code and the members that this signal has."""
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
    """Breakpoints were set at malloc in a mapped file, or could not be, or were removed.

    Attributes:
        pid: the process.
        path: the mapped file; empty if `limited`.
        names: the functions that have a breakpoint from now on.
        missing: functions of the file that could get none.
        reason: why they could not; else empty.
        runtime: which allocator of its own the file has, whose calls are not traced; else empty.
        before, after: VSZ and RSS around it; None if they could not be read.
        limited: the number of calls that was asked for is reached, and all breakpoints are removed.
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
        """By how many bytes the breakpoints raised RSS; None: not known.

        Each page that a breakpoint is written to becomes a private copy, and faults map the pages
        around it.
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
        what = "removed" if self.limited else f"{len(self.names)} in {self.path!r}"
        return f"<Breakpoints of {self.pid}: {what}{', ' + self.reason if self.reason else ''}>"


REFUSED = {
    errno.ENOSPC: "breakpoints need unused bytes near the code, and there are none",
    errno.ENOEXEC: "they begin with an instruction that can't be run at another address",
    errno.ENOSYS: "breakpoints are only possible on x86-64",
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
    """A call of ptrace(2) by the traced program that failed: a thread can have only one tracer.

    Attributes:
        pid: the process that made it.
        request: "PTRACE_ATTACH", "PTRACE_SEIZE" or "PTRACE_TRACEME".
        thread: the thread that it wanted to trace.
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


SOURCES = {
    **dict.fromkeys(("name", "pid", "tid", "result", "errno"), "ptrace(2)"),
    **dict.fromkeys((f"arg{number}" for number in range(6)), "ptrace(2): registers"),
    "within": "breakpoints at malloc's functions",
    "ns": "CLOCK_MONOTONIC",
    **dict.fromkeys(("region_perms", "region_name"), "maps"),
    "exact": "whether other threads ran, and how this kernel counts VmRSS",
}
"""What each column is read from, of those that do not name it themselves."""


class Trace(Columnar, SequenceOf[MemoryCall]):
    """The calls of a traced program, in the order in which they ended.

    Args:
        batches: whole records, until the trace is over.
        pid: the program, or the process that was attached to.
        limit: how many calls to keep; None: all.
        lag: why RSS is not exact on this kernel; empty if it is.
        setuid_ignored: see Tracing.

    Attributes:
        pid: the program, or the process that was attached to.
        returncode: as in subprocess: the exit status, or the negative number of the signal that
            killed it; None if the process is still alive.
        ended: the same for every traced process that ended, by PID.
        dropped: how many calls came after the limit was reached; they are not kept.
        foreign: PIDs that run a program of another architecture (32 bits): their calls are missing.
        breakpoints: which breakpoints were set at malloc (malloc=True).
        refused: calls of ptrace(2) by the program itself that failed, as those of a debugger or of
            LeakSanitizer do: a thread can have only one tracer.
        setuid_ignored: see Tracing.
        exact: whether every call made its whole change alone; `reason` says why if not.
    """

    def __init__(
        self,
        batches: Iterable[bytes],
        *,
        pid: int,
        limit: int | None = None,
        lag: str = "",
        setuid_ignored: bool = False,
    ) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended: dict[int, int] = {}
        self.dropped = 0
        self.foreign: list[int] = []
        self.breakpoints: list[Breakpoints] = []
        self.refused: list[Refused] = []
        self.setuid_ignored = setuid_ignored
        self._limit = limit
        self._data = bytearray()
        self._offsets = array("Q")
        self._lag = lag
        for data in batches:
            for kind, start, end in records(data):
                self._add(data, kind, start, end)

    def _add(self, data: bytes, kind: int, start: int, end: int) -> None:
        if kind == lib.PM_EVENT_CALL:
            if self._limit is not None and len(self._offsets) >= self._limit:
                self.dropped += 1
                return
            self._offsets.append(len(self._data))
            self._data += data[start:end]
        elif kind == lib.PM_EVENT_END:
            one = ended(data, start)
            self.ended[one.pid] = one.returncode
        elif kind in PLACED:
            self.breakpoints.append(placed(data, start))
        elif kind == lib.PM_EVENT_REFUSED:
            self.refused.append(refused(data, start))
        elif kind == lib.PM_EVENT_FOREIGN:
            self.foreign.append(RECORD.unpack_from(data, start)[3])

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

    def arrow_makers(self) -> Makers:
        """What makes each column for data frames, a row for each call.

        name, pid, tid, within, result, errno, address, began, ns, the figures before and after,
        the region that the call made or changed, and whether the change is this call's alone. The
        arguments are registers, as they were passed: arg0 to arg5.
        """
        data = bytes(self._data)
        places = array("I", [offset // 8 for offset in self._offsets])
        rows = PackedRows(ffi.from_buffer("uint64_t[]", data), 1, len(places), places)
        failed, returned = (FLAGS, FAILED, FAILED), (FLAGS, FAILED | ENDLESS, 0)
        region = FLAGS, HAS_REGION, HAS_REGION
        figures = ("vsz_before", "rss_before", "vsz_after", "rss_after")
        makers: Makers = {
            "name": lambda: rows.dictionary("name", 0, 48, 16, dict(enumerate(NAMES)), len(NAMES)),
            "pid": lambda: self._id("pid", rows, 0),
            "tid": lambda: self._id("tid", rows, 32),
            "within": lambda: rows.dictionary(
                "within", 3, 32, 16, dict(enumerate(NAMES, 1)), len(NAMES) + 1
            ),
            "result": lambda: rows.words("result", RESULT, kind="l", when=returned),
            "errno": lambda: rows.words("errno", RESULT, kind="l", when=failed, negative=True),
            "address": lambda: numbers("address", [call.address for call in self]).described(
                "address", "what a function of malloc's family returned or stored"
            ),
            "began": lambda: rows.words("began", BEGAN, kind="tDn").described(
                source="CLOCK_MONOTONIC"
            ),
            "ns": lambda: rows.words("ns", BEGAN + 1, kind="tDn", when=(FLAGS, ENDLESS, 0)),
            **{
                name: partial(self._figure, rows, name, word)
                for word, name in enumerate(figures, BEGAN + 2)
            },
            "delta_vsz": lambda: rows.difference(
                "delta_vsz", BEGAN + 4, BEGAN + 2, missing=True
            ).described("bytes", "statm"),
            "delta_rss": lambda: rows.difference(
                "delta_rss", BEGAN + 5, BEGAN + 3, missing=True
            ).described("bytes", "statm"),
            "region_start": lambda: rows.words("region_start", REGION, when=region).described(
                "address", "maps"
            ),
            "region_end": lambda: rows.words("region_end", REGION + 1, when=region).described(
                "address", "maps"
            ),
            "region_perms": lambda: self._of_region("region_perms", 2),
            "region_name": lambda: self._of_region("region_name", 3),
            **{
                f"arg{number}": partial(rows.words, f"arg{number}", ARGUMENTS + number)
                for number in range(6)
            },
            "exact": lambda: (
                booleans("exact", [False] * len(self))
                if self._lag
                else rows.bits("exact", FLAGS, DOUBTFUL, 0)
            ),
        }
        return sourced(makers, SOURCES)

    def arrow_metadata(self) -> Mapping[str, str]:
        """The program's process ID."""
        return {"pid": str(self.pid)}

    @staticmethod
    def _figure(rows: PackedRows, name: str, word: int) -> ArrowColumn:
        return rows.words(name, word, missing=True).described("bytes", "statm")

    @staticmethod
    def _id(name: str, rows: PackedRows, shift: int) -> ArrowColumn:
        return ArrowColumn(
            name, "i", rows.count, (None, rows.parts(1, shift, 32)[0]), nullable=False
        )

    def _of_region(self, name: str, which: int) -> ArrowColumn:
        found = [call.region_row for call in self]
        return categories(name, [None if row is None else str(row[which]) for row in found])

    @property
    def reason(self) -> str:
        """Why a change may not be one call's alone; empty if none.

        The first reason found, but that counters lag only if nothing else holds.
        """
        lag = ""
        for call in self:
            if not call.alone:
                return call.reason
            lag = lag or call.reason
        return lag

    @property
    def exact(self) -> bool:
        """Whether every call made its whole change alone."""
        return not self.reason

    def to_perfetto(self, file: str | os.PathLike[str] | TextIO) -> None:
        """Writes the trace for Perfetto (ui.perfetto.dev) and Chrome: the Trace Event Format.

        A slice for each call, with its arguments and effects, VSZ and RSS as counters, forks,
        execve and exits as instants. Times are CLOCK_MONOTONIC.

        Args:
            file: a path, which is written anew, or an open text file.

        Raises:
            OSError: it can't be written.
        """
        from procmem.tracing.exports import PerfettoTrace, opened

        with opened(file) as out:
            made = PerfettoTrace(out, self.pid)
            for call in self:
                made.add(call)
            made.close()

    def to_speedscope(self, file: str | os.PathLike[str] | TextIO) -> None:
        """Writes the trace for speedscope (speedscope.app).

        A profile over time for each thread, with malloc's functions around the system calls that
        they make, and profiles of the bytes by which calls raised VSZ and RSS.

        Args:
            file: a path, which is written anew, or an open text file.

        Raises:
            OSError: it can't be written.
        """
        from procmem.tracing.exports import FlameTrace, opened

        with opened(file) as out:
            made = FlameTrace(out, self.pid)
            for call in self:
                made.add(call)
            made.close()

    def plot(self, ax: Axes | None = None, *, figure: str = "rss") -> Axes:
        """VSZ or RSS of each traced process over time, by its calls, with matplotlib.

        Args:
            ax: where to draw; None: on a new figure.
            figure: "vsz" or "rss".

        Raises:
            MissingExtra: matplotlib is not installed.
            BadArgument: there is no such figure.
        """
        from procmem.tracing.pictures import plot_figure

        return plot_figure(self, ax, figure)

    def _repr_html_(self) -> str:
        """What a notebook shows: the calls by name, and those that changed most."""
        from procmem.tracing.html import trace_html

        return trace_html(self)

    def __repr__(self) -> str:
        more = f", {self.dropped} not kept" if self.dropped else ""
        return f"<Trace of {self.pid}: {len(self)} calls{more}, returncode {self.returncode}>"


def call_at(data: bytes | bytearray, offset: int, lag: str) -> MemoryCall:
    record = RECORD.unpack_from(data, offset)
    start = offset + RECORD.size
    return MemoryCall(record, bytes(data[start : start + record[6] + record[7]]), lag)


def events_in(data: bytes, lag: str, foreign: list[int]) -> list[Event]:
    """The events of some whole records.

    Args:
        data: the records.
        lag: why RSS is not exact on this kernel; empty if it is.
        foreign: PIDs that run a program of another architecture; further ones are appended.
    """
    found: list[Event] = []
    for kind, start, _ in records(data):
        if kind == lib.PM_EVENT_CALL:
            found.append(call_at(data, start, lag))
        elif kind == lib.PM_EVENT_END:
            found.append(ended(data, start))
        elif kind in PLACED:
            found.append(placed(data, start))
        elif kind in SIGNALS:
            found.append(signalled(data, start))
        elif kind == lib.PM_EVENT_REFUSED:
            found.append(refused(data, start))
        else:
            foreign.append(RECORD.unpack_from(data, start)[3])
    return found


def records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each record."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from("=IH", data, at)
        yield kind, at, at + size
        at += size


def ended(data: bytes, start: int) -> ProcessEnd:
    record = RECORD.unpack_from(data, start)
    return ProcessEnd(
        record[3], os.waitstatus_to_exitcode(record[16]), several=bool(record[5] & MANY)
    )
