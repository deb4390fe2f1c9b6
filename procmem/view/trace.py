"""Traced calls as text: a table that explains each call, a summary, and JSON."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import NamedTuple

from procmem.calls.constants import Prot, show_prot
from procmem.procfs import probes
from procmem.tracing.arguments import Clone, signed
from procmem.tracing.events import UNREAD, Breakpoints, MemoryCall, ProcessEnd, Refused
from procmem.units import KiB, comparable, kib, signal_name, signed_in_unit
from procmem.view.columns import columns, known, narrowed, prose
from procmem.view.mallocs import Mallocs, SharedLine, function_words
from procmem.view.names import cells, clipped, printable
from procmem.view.places import NAMELESS, Places
from procmem.view.strace import AGAIN, ARCHES, LOCKALLS, POLICIES, PRCTLS, UFFDS, advice_name, bits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from procmem.tracing.events import Event

__all__ = ["TraceLayout", "TraceSummary", "TraceTable", "call_json"]


def signed_in(unit: str) -> Callable[[int | None], str]:
    """A function that formats a change in a unit of units.UNITS; "-" if it is unknown.

    >>> signed_in("KiB")(-8192), signed_in("human")(1 << 20), signed_in("B")(0)
    ('-8', '+1M', '0')
    """
    figure = signed_in_unit(unit)

    def signed_figure(value: int | None) -> str:
        return "0" if value == 0 else figure(value)

    return signed_figure


def kib_text(value: int) -> str:
    """A length in whole KiB, rounded up."""
    return kib(value + KiB - 1)


ROOM = 24
"""The least width for the words on what a call does."""


class TraceColumn(NamedTuple):
    """A column of the table. Its width is fixed, since lines are printed as the calls happen."""

    key: str
    title: str
    width: int
    align: str = "<"


PLACES = (
    TraceColumn("tid", "TID", 7, ">"),
    TraceColumn("vsz", "ΔVSZ", 8, ">"),
    TraceColumn("rss", "ΔRSS", 8, ">"),
    TraceColumn("call", "Call", 14),
    TraceColumn("what", "What it does", 46),
    TraceColumn("region", "Region", 32),
)
FIGURES = (1, 2)
WORDS = 4
"""The first column whose texts may be long."""
GAP = "  "


class TraceLayout:
    """How the table of a trace is printed.

    Args:
        unit: of changes, one of units.UNITS.
        chosen: keys of the columns to show, in their order; None: all.
        width: cells per line; what a call does and its region are wrapped. None: as many as needed.

    Raises:
        BadArgument: there is no such column.
    """

    def __init__(
        self, unit: str = "KiB", chosen: Sequence[str] | None = None, width: int | None = None
    ) -> None:
        keys = [place.key for place in PLACES]
        order = [keys.index(known(key, keys, "column")) for key in chosen or keys]
        # Bytes have more digits.
        more = 4 if unit == "B" else 0
        self._places = [
            (number, place._replace(width=place.width + (more if number in FIGURES else 0)))
            for number, place in ((number, PLACES[number]) for number in order)
        ]
        self._whole = GAP.join(f"{{{n}:{place.align}{place.width}}}" for n, place in self._places)
        # What comes in front of the words, which may go on in further lines.
        first = next((at for at, (n, _) in enumerate(self._places) if n >= WORDS), len(order))
        self._words = [number for number, _ in self._places[first:]]
        self._head = sum(place.width + len(GAP) for _, place in self._places[:first])
        self.signed = signed_in(unit)
        self.width = width

    def heading(self) -> str:
        """The first two lines."""
        titles = self._whole.format(*(place.title for place in PLACES))
        rule = GAP.join("-" * place.width for _, place in self._places)
        return "".join(line[: self.width].rstrip() + "\n" for line in (titles, rule))

    def row(self, tid: object, vsz: str, rss: str, name: str, does: str, region: str = "") -> str:
        """A row as a line; more than one if it does not fit."""
        texts = (tid, vsz, rss, name, does, region)
        line = self._whole.format(*texts).rstrip()
        if self.width is None or cells(line) <= self.width:
            return line + "\n"
        # The blanks between what it does and the region are no longer needed.
        rest = " ".join(str(texts[number]) for number in self._words if texts[number])
        indent = self._head if self.width >= self._head + ROOM else 4
        return prose(line[: self._head] + rest, self.width, " " * indent)


class TraceTable:
    """The table of a trace, made while it runs, with malloc's system calls below malloc's line.

    Args:
        malloc: whether calls of malloc are traced; if so, it is reported where they could not be.
        every: a line for each call of malloc; otherwise those that made no system call share one.
        layout: how it is printed.
    """

    def __init__(
        self, *, malloc: bool = False, every: bool = False, layout: TraceLayout | None = None
    ) -> None:
        self.layout = layout or TraceLayout()
        self.summary = TraceSummary(self.layout.signed)
        self.mallocs = Mallocs() if malloc else None
        self._every = every
        self._held: dict[int, list[MemoryCall]] = {}
        self._run: SharedLine | None = None
        self.refused: dict[str, None] = {}
        self._places = Places()

    def _row(self, call: MemoryCall, does: str = "") -> str:
        tid, name, within, vsz, rss, exact = call.row
        doubt, signed = "" if exact else "~", self.layout.signed
        return self.layout.row(
            tid,
            (doubt if not exact and not call.alone else "") + signed(vsz),
            doubt + signed(rss),
            "  " + name if within else name,
            does or what(call),
            where(call, self._places),
        )

    def add(self, one: Event) -> str:
        """Takes an event, and returns the lines that can be printed now."""
        if isinstance(one, MemoryCall):
            self.summary.add(one)
            if not one.is_function:
                self._places.watch(one)
            if not self.mallocs:
                return self._row(one)
            if one.within:
                self._held.setdefault(one.tid, []).append(one)
                return ""
            if one.is_function:
                return self._function(one)
            self.mallocs.system_call(one)
            return self._flush() + self._row(one)
        if isinstance(one, Breakpoints):
            self.summary.place(one)
            if self.mallocs:
                self.mallocs.place(one)
            return self._flush() + self._placed(one)
        if isinstance(one, ProcessEnd):
            return self._flush() + self.layout.row(one.pid, "", "", "", end_words(one))
        if isinstance(one, Refused):
            self.refused[refusal_words(one)] = None
            return self._flush() + self.layout.row(
                one.pid, "", "", "", f"{one.request}: refused, it is traced"
            )
        verb = "stopped by" if one.stopped else "signal"
        return self._flush() + self.layout.row(
            one.tid, "", "", "", f"{verb} {signal_name(one.number)}"
        )

    def _placed(self, one: Breakpoints) -> str:
        if one.limited:
            return self.layout.row(one.pid, "", "", "", "breakpoints at malloc are lifted")
        if not one.names:
            return ""
        name = os.path.basename(clipped(printable(one.path)))
        told = f"breakpoints, to see malloc in {name}"
        return self.layout.row(one.pid, "0", self.layout.signed(one.delta_rss), "(procmem)", told)

    def _function(self, call: MemoryCall) -> str:
        inner = self._held.pop(call.tid, [])
        size = self.mallocs.size_at(call) if self.mallocs else None
        if self.mallocs:
            self.mallocs.add(call, inner)
        if inner or self._every or not call.returned:
            told = self._row(call, function_words(call, inner, size))
            return self._flush() + told + "".join(map(self._row, inner))
        lines = ""
        if self._run is None or not self._run.takes(call):
            lines = self._flush()
            self._run = SharedLine(call)
        self._run.add(call, size)
        self._last = size
        return lines

    def _flush(self) -> str:
        run, self._run = self._run, None
        if run is None:
            return ""
        if run.count == 1:
            return self._row(run.last, function_words(run.last, (), self._last))
        rss = ("" if run.exact else "~") + self.layout.signed(run.rss)
        vsz = "0" if run.exact or run.last.alone else "~0"
        return self.layout.row(
            run.tid, vsz, rss, run.title, run.words, where(run.last, self._places)
        )

    def end(self, *, foreign: bool = False) -> str:
        """The remaining lines, and the summary.

        Args:
            foreign: a traced program is of another architecture.
        """
        lines = self._flush() + "".join(
            self._row(call) for held in self._held.values() for call in held
        )
        self._held.clear()
        rest = f"\n{self.summary.text()}"
        if self.mallocs:
            text = self.mallocs.text(foreign=foreign)
            rest += f"\n{text}" if text else ""
        rest += "".join(f"{words}\n" for words in self.refused)
        return lines + narrowed(rest, self.layout.width)


def end_words(end: ProcessEnd) -> str:
    if end.returncode >= 0:
        return f"process exited with {end.returncode}"
    return f"process was killed by {signal_name(-end.returncode)}"


def refusal_words(one: Refused) -> str:
    """Why the program could not trace, and what to do."""
    what = f"process {one.pid} wanted to trace " + (
        f"thread {one.thread}" if one.thread != one.pid else "itself"
    )
    if one.request == "PTRACE_TRACEME":
        what = f"process {one.pid} wanted to be traced by its parent"
    return (
        f"{what}, and was refused, because procmem traces it and there can be only one tracer. (A "
        f"debugger does not work under procmem trace; LeakSanitizer can be turned off with "
        f"ASAN_OPTIONS=detect_leaks=0.)"
    )


def where(call: MemoryCall, places: Places) -> str:
    told = call.region_row
    if told is None:
        stack = places.stack_made(call) if call.name in ("clone", "clone3") else None
        if stack is None:
            return ""
        return f"{stack.start:x}-{stack.end:x} {stack.perms or '    '} stack of thread {stack.tid}"
    start, end, perms, name = told
    if name in NAMELESS and (found := places.known(call)) is not None:
        name = found.word
    return f"{start:x}-{end:x} {perms} {shown_name(name)}"


@lru_cache(maxsize=4096)
def shown_name(name: str) -> str:
    return clipped(printable(name), 24)


def what(call: MemoryCall) -> str:
    """What a call does."""
    if call.result is None:
        if call.errno:
            return f"failed: {AGAIN.get(call.errno) or os.strerror(call.errno)}"
        if not call.name.startswith("exit"):
            return "killed during the call"
    return words(call)


@lru_cache(maxsize=4096)
def map_words(length: int, prot: int, flags: int, fd: int) -> str:
    kind = "shared" if flags & 3 in {1, 3} else "private"
    of = "anonymous" if flags & 0x20 else f"fd {signed(fd)}"
    place = ", in place" if flags & 0x100010 else ""
    return f"map {kib_text(length)} {show_prot(Prot(prot & 0xFFFFFFFF))} {kind} {of}{place}"


def words(call: MemoryCall) -> str:
    name = call.name
    if name == "mmap":
        return map_words(*call.words[1:5])
    if name == "munmap":
        return f"unmap {kib_text(call.words[1])}"
    if name == "brk":
        return break_words(call, call.words[0])
    args = call.args
    match name:
        case "mprotect" | "pkey_mprotect":
            return f"{kib_text(args['length'])} become {show_prot(args['prot'])}"
        case "madvise":
            return f"{advice_name(args['advice'])} for {kib_text(args['length'])}"
        case "mremap":
            moved = "" if call.result == args["old_address"] else ", moved"
            return f"from {kib_text(args['old_size'])} to {kib_text(args['new_size'])}{moved}"
        case "mlock" | "mlock2":
            return f"lock {kib_text(args['length'])} into memory"
        case "munlock":
            return f"unlock {kib_text(args['length'])}"
        case "mlockall":
            return f"lock everything ({bits(args['flags'], LOCKALLS)})"
        case "munlockall":
            return "unlock everything"
        case "shmat":
            return f"attach shared memory {args['shmid']}"
        case "shmdt":
            return "detach shared memory"
        case "execve" | "execveat":
            return f"start {clipped(printable(str(args['pathname'])), 36)}"
        case "exit":
            return "the thread ends"
        case "exit_group":
            status = args["status"] & 0o377
            cut = "" if status == args["status"] else f" ({args['status']} & 0377)"
            return f"the process ends with {status}{cut}"
        case "mseal":
            return f"seal {kib_text(args['length'])}: it can no longer be unmapped or changed"
        case "map_shadow_stack":
            return f"map a shadow stack of {kib_text(args['length'])}"
        case "remap_file_pages":
            return f"{kib_text(args['size'])} show page {args['pgoff']:,} of the file"
        case "mbind":
            mode = args["mode"] & 0xFF
            return f"{POLICIES.get(mode, mode)} for {kib_text(args['length'])}"
        case "set_mempolicy_home_node":
            return f"node {args['home_node']} for {kib_text(args['length'])}"
        case "process_madvise":
            ranges = f"{args['vlen']} range{'s' if args['vlen'] != 1 else ''}"
            return f"{advice_name(args['advice'])} for {ranges} of pidfd {args['pidfd']}"
        case "process_mrelease":
            return f"free the memory of pidfd {args['pidfd']}, which is dying"
        case "ftruncate":
            return f"the file (fd {args['fd']}) ends after {comparable(args['length'])}"
        case "truncate":
            return f"the file ends after {comparable(args['length'])}"
        case "fallocate":
            what = "punch a hole of" if args["mode"] & 2 else "allocate"
            return f"{what} {kib_text(args['length'])} in the file (fd {args['fd']})"
        case "prctl":
            return prctl_words(call.words)
        case "arch_prctl":
            return ARCHES.get(args["option"], hex(args["option"]))
        case "ioctl":
            return f"{UFFDS.get(args['request'], hex(args['request']))} (fd {args['fd']})"
        case _:
            thread = int(args.get("flags", 0)) & Clone.CLONE_THREAD
            return f"new {'thread' if thread else 'process'} {call.result}"


def prctl_words(words: tuple[int, ...]) -> str:
    option, second, address, length, _, _ = words
    match PRCTLS.get(option):
        case "PR_SET_VMA":
            return f"name {kib_text(length)} at {address:#x}"
        case "PR_SET_THP_DISABLE":
            return f"transparent huge pages {'off' if second else 'as the system has them'}"
        case "PR_SET_MEMORY_MERGE":
            return f"merge equal pages (KSM): {'on' if second else 'off'}"
        case "PR_SET_MDWE":
            return "memory can no longer become executable"
        case other:
            return str(other or hex(option))


def break_words(call: MemoryCall, asked: int) -> str:
    if not asked:
        return "read the program break"
    if call.result != asked:
        return "refused: the break stays"
    delta = call.delta_vsz
    # Where RSS comes late, VSZ is exact all the same.
    if not delta or not call.alone:
        return f"the break is {asked:#x} now"
    return f"heap {'grows' if delta > 0 else 'shrinks'} by {kib_text(abs(delta))}"


class TraceSummary:
    """Counts and sums of a trace, added up as the calls happen.

    Args:
        signed: formats a change in bytes; None: in KiB.
    """

    def __init__(self, signed: Callable[[int | None], str] | None = None) -> None:
        self._signed = signed or signed_in("KiB")
        self.rows: dict[str, list[int]] = {}
        self.last: dict[int, tuple[int, int]] = {}
        self.between = [0, 0]
        self.ours = [0, 0]
        self.known = True
        self.late = False
        self.reasons: dict[str, None] = {}

    def place(self, found: Breakpoints) -> None:
        """Takes the effect of setting breakpoints, which is listed apart."""
        if found.before and found.after:
            last = self.last.get(found.pid)
            if last:
                self.between[0] += found.before.vsz - last[0]
                self.between[1] += found.before.rss - last[1]
            self.last[found.pid] = found.after
            self.ours[0] += found.after.vsz - found.before.vsz
            self.ours[1] += found.after.rss - found.before.rss

    def add(self, call: MemoryCall) -> None:
        """Takes a call; the effects of a function are those of its system calls and of touching."""
        if not call.exact:
            self.known = False
            if call.alone:
                self.late = True
            else:
                self.reasons[call.reason] = None
        if call.is_function:
            return
        name, pid, exact = call.name, call.pid, call.exact
        vsz_before, rss_before, vsz, rss = call.figures
        row = self.rows.get(name)
        if row is None:
            row = self.rows[name] = [0, 0, 0, 0]
        row[0] += 1
        row[1] += call.errno is not None
        last = self.last.get(pid)
        # execve(2) puts a new memory into the place of the old one: no growth of either.
        if vsz_before != UNREAD:
            if vsz != UNREAD and name not in ("execve", "execveat"):
                row[2] += vsz - vsz_before
                row[3] += rss - rss_before
            if last and exact:
                self.between[0] += vsz_before - last[0]
                self.between[1] += rss_before - last[1]
        if vsz != UNREAD:
            self.last[pid] = vsz, rss

    def text(self) -> str:
        """The summary as text."""
        if not self.rows:
            return "no memory calls\n"
        rows = [
            (name, str(count), str(failed), self._signed(vsz), self._signed(rss))
            for name, (count, failed, vsz, rss) in sorted(
                self.rows.items(), key=lambda item: -item[1][0]
            )
        ]
        if self.known:
            vsz, rss = map(self._signed, self.between)
            rows.append(("between the calls", "", "", vsz, rss))
            if any(self.ours):
                vsz, rss = map(self._signed, self.ours)
                rows.append(("(breakpoints)", "", "", vsz, rss))
        told = columns(("Call", "Calls", "Failed", "ΔVSZ", "ΔRSS"), rows, "<>>>>")
        if self.known and self.between[1] > 0:
            told += (
                "Between the calls pages are touched for the first time: that is when RSS grows.\n"
            )
        told += "".join(f"~: {reason}.\n" for reason in self.reasons)
        if self.late:
            bound = probes.rss_bound(1) >> 10
            told += (
                f"~: this kernel counts pages late: RSS may be off by up to {bound:,} KiB, and so "
                f"may sums of many calls.\n"
            )
        return told


# ---- JSON ----


def call_json(call: MemoryCall, places: Places) -> str:
    """One call on one line, with the region's name as in `procmem maps`."""
    return json.dumps(places.record(call))
