"""Stacks of threads: how much is reserved, was ever touched, is in use, and is left."""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, overload

from procmem import native
from procmem.pages.pagemap import PageState, read_pagemap
from procmem.pages.scan import IS_GUARD, IS_HUGE, IS_PRESENT, IS_SWAPPED, scan_ranges
from procmem.process.facts import facts_of, word_size
from procmem.procfs import system_file
from procmem.procfs.resident import ResidentMemory
from procmem.procfs.text import parse_limits, parse_stat
from procmem.regions.kinds import RegionKind, name_word
from procmem.regions.read import read_table
from procmem.regions.region import PAGE_SIZE

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from procmem.procfs import MemoryFile, ProcessFiles
    from procmem.regions import Region, RegionTable
    from procmem.regions.facts import Facts, Stack
    from procmem.regions.reading import MapsReading
    from procmem.tracing.holding import Stopped

__all__ = ["AlternateStack", "LiveStack", "RegionGroup", "Stacks", "read_stacks"]

K = RegionKind

GUARD_GAP = 256
"""Pages that the kernel keeps free below a stack that grows (stack_guard_gap, mm/mmap.c)."""

FRAME_SEARCHED = 64 << 10
"""Bytes above a stack pointer in which the frame of a signal handler is searched."""

STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "waiting, uninterruptible",
    "T": "stopped",
    "t": "stopped by a tracer",
    "I": "idle",
    "Z": "exited",
    "X": "exited",
}
"""States of proc_pid_stat(5)."""


class AlternateStack(NamedTuple):
    """An alternate signal stack (sigaltstack(2)) on which a thread is running a handler.

    Attributes:
        start: its lowest address (ss_sp).
        size: its bytes (ss_size).
        in_use: bytes from the stack pointer to its end.
    """

    start: int
    size: int
    in_use: int


class LiveStack(NamedTuple):
    """The stack of a thread. Sizes are in bytes; None: not known.

    Attributes:
        tid: the thread's ID; that of the main thread is the PID.
        name: its command name (comm), at most 15 bytes.
        state: one letter, as in proc_pid_stat(5): R running, S sleeping, D uninterruptible,
            T stopped, t traced, Z exited.
        start, end: of its stack, without guard; None: the thread has no mapping for its stack
            (threads of Go use parts of Go's heap), or it was not found.
        reserved: bytes from start to end. The C library keeps the thread's descriptor and its
            thread-local variables at the end. For the main thread: what is mapped by now.
        touched: bytes from the lowest page that is in memory or in swap to the end: how deep
            the stack ever was. A stack that glibc reused counts what an earlier thread left.
        in_use: bytes from the stack pointer to the end; of a thread that handles a signal on an
            alternate stack: from the interrupted stack pointer on, where that is known.
            None: the thread is running, so that the kernel shows no stack pointer, or it runs on
            other memory (see `elsewhere`), or this user may not read it.
        limit: bytes to which it may grow. Of the main thread: RLIMIT_STACK, or the room above
            the next mapping; of other threads all that is reserved.
        limited_by: what sets the limit, in words.
        guard: bytes without access below the stack; 0: none. The main thread has no guard
            region; the kernel keeps stack_guard_gap free there.
        guard_marks: whether the guard consists of marks in the page table
            (MADV_GUARD_INSTALL; glibc 2.42 on Linux 6.13), which split no region.
        alternate: the alternate signal stack on which it is running now; None: it is not on
            one. Whether it has registered one is not shown by the kernel.
        elsewhere: the name of the region that its stack pointer is in, if that is not its
            stack: an alternate signal stack, a coroutine's or goroutine's stack.
        huge: whether the lowest page is part of a huge page: then less may have been touched.
        guess: whether start and end are those of a region, with no thread descriptor to prove
            them.

    Source: proc_pid_task(5), proc_pid_syscall(5), pagemap.rst, pthreads(7).
    """

    tid: int
    name: str
    state: str
    start: int | None = None
    end: int | None = None
    touched: int | None = None
    in_use: int | None = None
    limit: int | None = None
    limited_by: str | None = None
    guard: int | None = None
    guard_marks: bool = False
    alternate: AlternateStack | None = None
    elsewhere: str | None = None
    huge: bool = False
    guess: bool = False

    @property
    def reserved(self) -> int | None:
        """Bytes from start to end."""
        return None if self.start is None or self.end is None else self.end - self.start

    @property
    def headroom(self) -> int | None:
        """Bytes by which it may become deeper than it ever was: limit - touched."""
        return None if self.limit is None or self.touched is None else self.limit - self.touched

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            **self._asdict(),
            "reserved": self.reserved,
            "headroom": self.headroom,
            "alternate": None if self.alternate is None else self.alternate._asdict(),
        }


class RegionGroup(NamedTuple):
    """Regions of one purpose.

    Attributes:
        name: the purpose, such as "thread stacks and their guards".
        regions: how many there are.
        guess: whether the purpose of one of them is a guess.
    """

    name: str
    regions: int
    guess: bool


class Stacks(Sequence[LiveStack]):
    """The stacks of all threads of a process, by thread ID.

    Attributes:
        pid: the process's ID.
        regions: the number of its regions, as the kernel counts them.
        max_regions: the most that it may have (vm.max_map_count); None: not known.
        groups: what the regions are for, the most frequent purpose first.
        unknown: what could not be read, a phrase each.
        stopped: how long its threads were stopped for the reading; None: they were not.
    """

    def __init__(
        self,
        stacks: Sequence[LiveStack],
        *,
        pid: int,
        regions: int,
        max_regions: int | None,
        groups: Sequence[RegionGroup],
        unknown: Sequence[str] = (),
    ) -> None:
        self._stacks = tuple(stacks)
        self.pid = pid
        self.regions = regions
        self.max_regions = max_regions
        self.groups = tuple(groups)
        self.unknown = tuple(unknown)
        self.stopped: Stopped | None = None

    def __len__(self) -> int:
        return len(self._stacks)

    @overload
    def __getitem__(self, index: int) -> LiveStack: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LiveStack]: ...
    def __getitem__(self, index: int | slice) -> LiveStack | Sequence[LiveStack]:
        return self._stacks[index]

    def __iter__(self) -> Iterator[LiveStack]:
        return iter(self._stacks)

    def __repr__(self) -> str:
        return f"<Stacks of process {self.pid}: {len(self)} threads, {self.regions} regions>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the stack of each thread, the deepest first."""
        from procmem.picture.markup import MOST_ROWS, block, kib, table

        ranked = sorted(self._stacks, key=lambda one: one.touched or 0, reverse=True)
        names = ("reserved", "touched", "in_use", "limit", "headroom")

        def figure(one: LiveStack, name: str) -> str | None:
            value = kib(getattr(one, name))
            return value if value is None or not one.guess else f"{value}?"

        rows = [
            [str(one.tid), one.name, one.state, *(figure(one, name) for name in names)]
            for one in ranked[:MOST_ROWS]
        ]
        footer = ["", "total", "", *(kib(self.total(name)) for name in names[:3]), "", ""]
        heading = ["TID", "Name", "State", "Reserved", "Touched", "In use", "Limit", "Headroom"]
        left = len(ranked) - len(rows)
        return block(
            f"Stacks of process {self.pid}: {len(self):,} threads, in KiB",
            table(heading, rows, "><<>>>>>", footer=footer),
            f"Not shown: {left:,} more." if left else "",
        )

    def total(self, figure: str) -> int | None:
        """The sum of "reserved", "touched", "in_use", "limit" or "headroom"; None: none is known.

        Stacks of which it is not known are left out.
        """
        known = [getattr(one, figure) for one in self._stacks]
        return sum(value or 0 for value in known) if any(v is not None for v in known) else None

    @property
    def deepest(self) -> LiveStack | None:
        """The stack that was touched most deeply; None: of none that is known."""
        known = [one for one in self._stacks if one.touched is not None]
        return max(known, key=lambda one: one.touched or 0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; sizes in bytes."""
        return {
            "pid": self.pid,
            "threads": len(self),
            **{name: self.total(name) for name in ("reserved", "touched", "in_use")},
            "regions": self.regions,
            "max_regions": self.max_regions,
            "groups": [one._asdict() for one in self.groups],
            "unknown": list(self.unknown),
            "stopped": None if self.stopped is None else self.stopped._asdict(),
            "stacks": [one.to_dict() for one in self._stacks],
        }


def read_stacks(files: ProcessFiles, *, stop: bool = False) -> Stacks:
    """The stacks of all threads of a process; see Process.stacks().

    Raises:
        AccessDenied, NoSuchProcess, ZombieProcess, KernelThread, ProcessChanged, Unsupported
        BadArgument: it is to be stopped, and it is this process.
    """
    # A thread that is stopped shows no other state.
    states = {tid: state for tid, _, state in threads_now(files)}
    # What is remembered of its ELF files, and imports, are no reason to stop it for longer.
    found = read_once(files, states)
    if not stop:
        return found
    from procmem.tracing.holding import Hold

    with Hold(files) as hold:
        found = read_once(files, states)
    found.stopped = hold.stopped
    return found


def read_once(files: ProcessFiles, states: Mapping[int, str]) -> Stacks:
    """Reads the stacks; the states of threads are those given, where they are."""
    kept: list[Facts | None] = []

    def find(regions: Sequence[Region], reading: MapsReading) -> Facts | None:
        kept.append(facts_of(files, regions, reading))
        return kept[0]

    table = read_table(files, native.MAPS, find_facts=find)
    groups = groups_of(table)
    facts = kept[0] if kept else None
    located = {stack.tid: stack for stack in ([] if facts is None else facts.stacks)}
    with files.memory("pagemap", beside_maps=True) as pagemap:
        memory = ResidentMemory(files)
        try:
            search = StackSearch(files, table, pagemap, memory, located)
            found = [
                search.stack(tid, name, states.get(tid, state))
                for tid, name, state in threads_now(files)
            ]
        finally:
            memory.close()
        pagemap.check()
    unknown = []
    if facts is None or not facts.memory_read:
        unknown.append(
            "its memory can't be read, which takes the rights of ptrace(2): run as root, or with "
            "CAP_SYS_PTRACE (kernel.yama.ptrace_scope); what is not known is missing above"
        )
    raw = system_file("sys/vm/max_map_count", files.root)
    return Stacks(
        found,
        pid=files.pid,
        # [vsyscall] is no mapping of the process.
        regions=sum(region.start < 1 << 63 for region in table),
        max_regions=None if raw is None or not raw.strip().isdigit() else int(raw),
        groups=groups,
        unknown=unknown,
    )


def threads_now(files: ProcessFiles) -> Iterator[tuple[int, str, str]]:
    """ID, name and state of each thread; those that end meanwhile are left out."""
    from procmem.errors import NoSuchProcess, ParseError

    for tid in files.thread_ids():
        name = f"task/{tid}/stat"
        try:
            stat = parse_stat(files.read(name), f"{files.path}/{name}")
        except (NoSuchProcess, ProcessLookupError, ParseError):
            files.check_running()
            continue
        yield tid, stat.comm.decode("utf-8", "surrogateescape"), stat.state


class Bounds(NamedTuple):
    """Where a stack is: its addresses with the guard, and bytes of guard at its start."""

    start: int
    end: int
    guard: int
    marks: bool = False
    guess: bool = False


class StackSearch:
    """Finds what is known of each stack of a process.

    Args:
        files: the process.
        table: its regions, with kinds.
        pagemap: its open pagemap.
        memory: its memory.
        located: what is known of the stack of each thread, by thread ID.
    """

    def __init__(
        self,
        files: ProcessFiles,
        table: RegionTable[Any],
        pagemap: MemoryFile,
        memory: ResidentMemory,
        located: Mapping[int, Stack],
    ) -> None:
        self.files = files
        self.regions = list(table)
        self.starts = [region.start for region in self.regions]
        self.pagemap = pagemap
        self.memory = memory
        self.located = located
        self.word = word_size(table)
        # Regions in which more than one thread has something, or a stack is known exactly.
        places = Counter(place for one in located.values() for place in self.places(one))
        proved = [one for one in located.values() if one.start is not None]
        self.crowded = {place for place, count in places.items() if count > 1}
        self.crowded.update(place for one in proved for place in self.places(one))

    def place(self, address: int | None) -> int | None:
        """The index of the region that covers an address; None: there is none."""
        if address is None:
            return None
        index = bisect_right(self.starts, address) - 1
        return index if index >= 0 and address < self.regions[index].end else None

    def places(self, known: Stack) -> set[int]:
        """The indices of the regions of a thread's stack pointer and of its descriptor."""
        found = map(self.place, (known.pointer, known.descriptor))
        return {place for place in found if place is not None}

    def stack(self, tid: int, name: str, state: str) -> LiveStack:
        """What is known of the stack of a thread."""
        known = self.located.get(tid)
        pointer = None if known is None else known.pointer
        made = LiveStack(tid, name, state)
        bounds = self.bounds(tid, known)
        if bounds is not None:
            made = self.measured(made, bounds)
            if tid == self.files.pid and self.is_main_stack(bounds):
                made = self.with_limit(made, bounds)
            else:
                made = made._replace(limit=made.reserved, limited_by="its reserved size")
        if pointer is None:
            return made
        in_use = used(made, pointer)
        if in_use is not None:
            return made._replace(in_use=in_use)
        place = self.place(pointer)
        if place is None:
            return made
        region = self.regions[place]
        if bounds is None and region.kind is K.THREAD_STACK:
            return made  # its stack, together with other memory
        # Where guards are marks in the page table, other memory may be in one region with stacks.
        other = "memory beside stacks" if region.kind is K.THREAD_STACK else name_word(region)
        made = made._replace(elsewhere=other)
        found = self.alternate(pointer, region)
        if found is None:
            return made
        alternate, interrupted = found
        return made._replace(
            alternate=alternate,
            elsewhere="an alternate signal stack",
            in_use=used(made, interrupted),
        )

    def is_main_stack(self, bounds: Bounds) -> bool:
        place = self.place(bounds.start)
        return place is not None and self.regions[place].raw_pathname == b"[stack]"

    def bounds(self, tid: int, known: Stack | None) -> Bounds | None:
        """The addresses of a thread's stack; None: not known."""
        if known is not None and known.start is not None and known.end is not None:
            return Bounds(known.start, known.end, known.guard, known.marked)
        if tid == self.files.pid:
            for region in self.regions:
                if region.raw_pathname == b"[stack]":
                    return Bounds(region.start, region.end, 0)
        place = None
        if known is not None:
            # Without the rights of ptrace(2) only the descriptor's address is known.
            place = self.place(known.descriptor if known.pointer is None else known.pointer)
        if place is None or place in self.crowded:
            return None
        region = self.regions[place]
        if region.kind is not K.THREAD_STACK:
            return None
        start = region.start
        if place and self.regions[place - 1].end == start:
            below = self.regions[place - 1]
            if below.kind is K.GUARD:
                start = below.start
        return Bounds(start, region.end, region.start - start, guess=True)

    def measured(self, made: LiveStack, bounds: Bounds) -> LiveStack:
        """A stack with its guard, and how deep it was."""
        low, end = bounds.start + bounds.guard, bounds.end
        # A program may take away access to more of it, as the JVM does.
        place = self.place(low)
        while place is not None and self.regions[place].perms[:3] == "---" and low < end:
            low = min(self.regions[place].end, end)
            place = self.place(low)
        first = low // PAGE_SIZE * PAGE_SIZE
        last = -(-end // PAGE_SIZE) * PAGE_SIZE
        lowest, huge, marks = None, False, bounds.marks
        for start, behind, kinds in self.pages(first, last):
            if kinds & IS_GUARD:
                if start == low:
                    low, marks = behind, True
                continue
            lowest, huge = max(start, low), bool(kinds & IS_HUGE)
            break
        return made._replace(
            start=low,
            end=end,
            touched=0 if lowest is None else end - lowest,
            guard=low - bounds.start,
            guard_marks=marks,
            huge=huge,
            guess=bounds.guess,
        )

    def pages(self, start: int, end: int) -> Iterable[tuple[int, int, int]]:
        """Ranges of pages that are in memory, in swap, or guards, with categories."""
        if start >= end:
            return ()
        try:
            found = scan_ranges(
                self.pagemap.fd, start, end, IS_PRESENT | IS_SWAPPED | IS_GUARD | IS_HUGE
            )
            if found is not None:
                return found
            pages = read_pagemap(self.pagemap.fd, start, end, PAGE_SIZE)
        except ProcessLookupError:
            return ()  # check() finds out why
        except OSError as error:
            self.files.fail(error, self.pagemap.path)
        return [
            (run.start, run.end, IS_GUARD if run.state is PageState.GUARD else IS_PRESENT)
            for run in pages.runs()
            if run.state is not PageState.ABSENT
        ]

    def with_limit(self, made: LiveStack, bounds: Bounds) -> LiveStack:
        """The main thread's stack with the size up to which the kernel lets it grow.

        Source: acct_stack_growth() and expand_downwards() of mm/vma.c and mm/mmap.c.
        """
        size = bounds.end - bounds.start
        allowed = self.stack_limit()
        place = self.place(bounds.start)
        room, above = bounds.end - PAGE_SIZE, "the lowest address"
        if place:
            below = self.regions[place - 1]
            # The kernel keeps the gap only from memory that can be accessed.
            gap = 0 if below.perms[:3] == "---" else guard_gap(self.files.root)
            room, above = bounds.end - below.end - gap, f"the mapping below it ({below.name})"
        if allowed is None:
            return made
        if allowed != UNLIMITED and allowed <= room:
            limit, by = allowed, "RLIMIT_STACK"
        else:
            limit, by = room, above
        # What is mapped by now stays, even if the limit was lowered later.
        return made._replace(limit=max(limit, size), limited_by=by)

    def stack_limit(self) -> int | None:
        """RLIMIT_STACK of the process in bytes; UNLIMITED; None: it can't be read."""
        from procmem.errors import ParseError, Unsupported

        try:
            limits = parse_limits(self.files.read("limits"), f"{self.files.path}/limits")
        except (ParseError, Unsupported):
            return None
        if "Max stack size" not in limits:
            return None
        soft = limits["Max stack size"][0]
        return UNLIMITED if soft is None else soft // PAGE_SIZE * PAGE_SIZE

    def alternate(self, pointer: int, region: Region) -> tuple[AlternateStack, int | None] | None:
        """The alternate signal stack that a stack pointer is on, and the interrupted one.

        The kernel writes what sigaltstack(2) has registered, and the interrupted registers, into
        the frame of the signal (struct ucontext: uc_stack, uc_mcontext). None: there is no frame.
        """
        if region.inode or (region.use is not None and region.kind is not K.THREAD_STACK):
            return None
        size = min(region.end - pointer, FRAME_SEARCHED)
        first = -(-pointer // self.word) * self.word
        data = self.memory.read(first, size)
        count = len(data) // self.word
        words = struct.unpack_from(f"={count}{'Q' if self.word == 8 else 'I'}", data)
        best = None
        for at in range(count - 2):
            start, flags, length = words[at : at + 3]
            # ss_flags are those at the time of the interruption: it was not on that stack yet.
            if (
                start <= pointer < start + length <= region.end
                and start >= region.start
                and length >= SMALLEST_ALTERNATE
                and flags & ~AUTODISARM & 0xFFFFFFFF == 0
                and first + at * self.word < start + length
            ):
                register = at + 3 + STACK_REGISTER.get(self.word, count)
                interrupted = words[register] if register < count and IS_X86 else None
                used = start + length - pointer
                best = AlternateStack(start, length, used), interrupted
        return best


def used(stack: LiveStack, pointer: int | None) -> int | None:
    """Bytes from a stack pointer to the end of the stack; None: it points elsewhere."""
    if pointer is None or stack.start is None or stack.end is None:
        return None
    return stack.end - pointer if stack.start <= pointer < stack.end else None


UNLIMITED = -1

SMALLEST_ALTERNATE = 2048
"""MINSIGSTKSZ of most architectures."""

AUTODISARM = 1 << 31
"""SS_AUTODISARM of sigaltstack(2)."""

IS_X86 = os.uname().machine in ("x86_64", "i686", "i586", "i486", "i386")

STACK_REGISTER = {8: 15, 4: 7}
"""The place of the stack pointer in uc_mcontext, in words: REG_RSP, REG_ESP (sys/ucontext.h)."""


@cache
def guard_gap(root: str = "/proc") -> int:
    """Bytes that the kernel keeps free below a growing stack (stack_guard_gap=, in pages)."""
    pages = GUARD_GAP
    for word in (system_file("cmdline", root) or b"").split():
        name, _, value = word.partition(b"=")
        if name == b"stack_guard_gap" and value.isdigit():
            pages = int(value)
    return pages * PAGE_SIZE


GROUPS = {
    K.THREAD_STACK: "thread stacks and their guards",
    K.GUARD: "other guards",
    K.ARENA: "malloc arenas",
    K.FILE: "mapped files",
    K.SHARED_MEMORY: "shared memory",
    K.HUGETLB: "huge pages",
    K.DEVICE: "mapped devices",
    K.ANON: "anonymous memory",
    **dict.fromkeys(
        (K.TEXT, K.RODATA, K.RELRO, K.DATA, K.BSS), "segments of programs and libraries"
    ),
}


def groups_of(table: RegionTable[Any]) -> list[RegionGroup]:
    """How many regions serve which purpose, the most frequent first."""
    counts: Counter[str] = Counter()
    guessed = set()
    for region in table:
        if region.start >= 1 << 63:
            continue
        kind, use = region.kind, region.use
        name = GROUPS.get(kind, "others")
        if kind is K.GUARD and region.name == "stack guard":
            name = GROUPS[K.THREAD_STACK]
        elif kind is K.ANON and use is not None:
            name = GROUPS[K.THREAD_STACK] if "ended thread" in use.name else use.name
        counts[name] += 1
        if region.kind_guess or (use is not None and use.guess):
            guessed.add(name)
    return [RegionGroup(name, count, name in guessed) for name, count in counts.most_common()]
