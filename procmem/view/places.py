"""Names for unnamed memory in a trace, the same as `procmem maps` gives it.

A trace reads neither ELF headers nor thread descriptors, but it has seen the system calls: the
dynamic loader maps a file and its zero-filled end, clone(2) creates a thread with its stack, malloc
makes an arena writable. With less evidence a name is a guess and marked with a "?". Memory whose
use is not known yet is "anonymous".
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from typing import Any, NamedTuple

from procmem.regions.kinds import ARENA_SIZES, MARK, RegionKind, stacks_name
from procmem.tracing.arguments import Clone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.tracing.events import MemoryCall

__all__ = ["KnownRegion", "Places"]

MAP_FIXED = 0x10
MAP_PRIVATE_ANONYMOUS = 0x22
MAP_STACK = 0x20000
MREMAP_DONTUNMAP = 4

ARENA = ARENA_SIZES[0]
PAGE = os.sysconf("SC_PAGESIZE")

NAMELESS = {"anonymous", "reserved address space", f"guard{MARK}"}
"""Names of unnamed memory about which nothing else is known."""

MOST_TLS = 1 << 20
"""Room for the thread-local variables that a C library keeps above a stack in the same mapping."""

MOST = 100_000
"""The most mappings that are remembered per process."""


class KnownRegion(NamedTuple):
    """What is known about a region, in the terms of `procmem maps`."""

    name: str
    kind: RegionKind
    evidence: str
    guess: bool = False

    @property
    def word(self) -> str:
        """The name for a table, with a "?" if it is a guess."""
        return self.name + MARK if self.guess else self.name


class GivenStack(NamedTuple):
    """The stack of a thread, without its guard."""

    tid: int
    start: int
    end: int
    perms: str


class Span(NamedTuple):
    """The remaining part of a private anonymous mapping, and how it was requested."""

    start: int
    end: int
    asked: bool
    """Whether with MAP_STACK."""
    reserve: bool
    """Whether as glibc's new_heap() does it: PROT_NONE, the size of arenas."""
    writable: int
    """The start of the part that was made writable last; for a stack, after the guard."""
    perms: str
    """The permissions of that part; empty: unknown."""


class KnownMemory:
    """The anonymous mappings, stacks and mapped files of a process."""

    def __init__(self, *, whole: bool = False) -> None:
        self.starts: list[int] = []
        self.spans: dict[int, Span] = {}
        self.stacks: dict[int, GivenStack] = {}
        self.ended: dict[int, GivenStack] = {}
        self.arenas: dict[int, bool] = {}
        """Starts of arenas, and whether malloc is known to have created them."""
        self.data: dict[int, tuple[int, str]] = {}
        """Writable private file mappings: the start and the file's name, by the end."""
        self.files: dict[tuple[Any, int], bool] = {}
        """Whether a file is mapped as code, by device and inode."""
        self.whole = whole
        """Traced since execve(2): any other mapped file is the program or its loader."""

    def copy(self) -> KnownMemory:
        """A copy for a child process."""
        made = KnownMemory(whole=self.whole)
        made.starts = self.starts.copy()
        made.spans, made.arenas = self.spans.copy(), self.arenas.copy()
        made.data, made.files = self.data.copy(), self.files.copy()
        # Its parent's threads are none of its own.
        made.ended = {**self.ended, **self.stacks}
        return made

    def overlapping(self, start: int, end: int) -> list[Span]:
        last = bisect_left(self.starts, end)
        first = max(0, bisect_right(self.starts, start, 0, last) - 1)
        # Spans do not overlap each other: only the first may end before the range begins.
        spans = [self.spans[at] for at in self.starts[first:last]]
        return spans[1:] if spans and spans[0].end <= start else spans

    def add(self, span: Span) -> None:
        self.forget(span.start, span.end)
        if len(self.starts) < MOST:
            self._insert(span)

    def _insert(self, span: Span) -> None:
        self.starts.insert(bisect_left(self.starts, span.start), span.start)
        self.spans[span.start] = span

    def forget(self, start: int, end: int) -> None:
        """Forgets everything in a range that was unmapped or replaced."""
        for span in self.overlapping(start, end):
            del self.starts[bisect_left(self.starts, span.start)]
            del self.spans[span.start]
            if span.start < start:
                self._insert(span._replace(end=start))
            if end < span.end:
                self._insert(span._replace(start=end))
        for stacks in (self.stacks, self.ended):
            if stacks:
                drop(stacks, start, end)
        if self.arenas:
            for at in [at for at in self.arenas if start <= at < end]:
                del self.arenas[at]
        if self.data:
            for at in [at for at in self.data if start < at <= end]:
                del self.data[at]


class Places:
    """Remembers what calls reveal about the regions of traced processes."""

    def __init__(self) -> None:
        self._memory: dict[int, KnownMemory] = {}
        self._before: dict[MemoryCall, KnownRegion | None] = {}
        self.stacks: list[dict[str, int]] = []
        """The stacks of new threads: pid, tid, start and end of each."""

    def watch(self, call: MemoryCall) -> None:
        """Takes note of a system call; to be called in the order of their ends."""
        name, pid = call.name, call.pid
        if name == "exit":
            memory = self._memory.get(pid)
            if memory and (stack := memory.stacks.pop(call.tid, None)):
                memory.ended[call.tid] = stack
            return
        if call.result is None:
            return
        if name.startswith("exec"):
            self._memory[pid] = KnownMemory(whole=True)
            return
        memory = self._memory.get(pid)
        if memory is None:
            memory = self._memory[pid] = KnownMemory()
        match name:
            case "mmap":
                self._mapped(memory, call)
            case "munmap":
                # Its region is as it was before.
                self._before[call] = self.known(call)
                start, length = call.words[:2]
                memory.forget(start, start + rounded(length))
            case "mprotect" | "pkey_mprotect":
                opened(memory, call)
            case "mremap":
                moved(memory, call)
            case "shmat":
                if bounds := call.region_bounds:
                    memory.forget(*bounds)
            case "clone" | "clone3":
                self._made(memory, call)
            case "fork" | "vfork":
                self._memory.setdefault(call.result, memory.copy())

    def _mapped(self, memory: KnownMemory, call: MemoryCall) -> None:
        _, length, prot, flags, _, _ = call.words
        start, end = call.result or 0, (call.result or 0) + rounded(length)
        data = memory.data.get(start) if flags & MAP_FIXED else None
        if flags & MAP_PRIVATE_ANONYMOUS == MAP_PRIVATE_ANONYMOUS:
            # Up to glibc 2.40 with MAP_NORESERVE.
            reserve = bool(not prot and length in (ARENA, 2 * ARENA))
            told = call.region_row
            perms = told[2] if told else ""
            memory.add(Span(start, end, bool(flags & MAP_STACK), reserve, start, perms))
            if data is not None:
                memory.data[start] = data
            return
        memory.forget(start, end)
        region = call.region
        if region is not None and region.pathname is not None and flags & 2:
            identity = region.dev, region.inode
            memory.files[identity] = bool(prot & 4) or memory.files.get(identity, False)
            if prot & 2:
                memory.data[region.end] = region.start, region.name

    def _made(self, memory: KnownMemory, call: MemoryCall) -> None:
        args = call.args
        flags = int(args.get("flags", 0))
        if not call.result:
            return
        if not flags & Clone.CLONE_THREAD:
            self._memory.setdefault(call.result, memory.copy())
            return
        start = int(args.get("stack", 0))
        end = start + int(args.get("stack_size", 0))
        inside = memory.overlapping(end - 1, end)
        if not end or any(span.reserve for span in inside):
            return
        if not inside and (call.name == "clone" or start == end):
            return  # the argument is the top alone
        perms = ""
        if inside:
            perms = inside[0].perms
            start, top = inside[0].writable, inside[0].end
            # Behind the top glibc has the thread's descriptor; and other memory may follow.
            end = top if call.name == "clone" else min(top, rounded(end) + MOST_TLS)
        drop(memory.ended, start, end)
        memory.stacks[call.result] = GivenStack(call.result, start, end, perms)
        self.stacks.append({"pid": call.pid, "tid": call.result, "start": start, "end": end})

    def stack_made(self, call: MemoryCall) -> GivenStack | None:
        """The stack of the thread that a call of clone(2) created."""
        memory = self._memory.get(call.pid)
        return memory.stacks.get(call.result or 0) if memory else None

    def known(self, call: MemoryCall) -> KnownRegion | None:
        """What is known about the region of a call; None: nothing more than the kernel reports."""
        if call in self._before:
            return self._before.pop(call)
        told = call.region_row
        memory = self._memory.get(call.pid)
        if told is None or memory is None:
            return None
        start, end, perms, name = told
        if name not in NAMELESS or perms[3] != "p":
            return None
        if perms[1] == "w":
            return written(memory, start, end, perms)
        return inaccessible(memory, start, end) if perms[:3] == "---" else None

    def record(self, call: MemoryCall) -> dict[str, Any]:
        """MemoryCall.to_dict() with what is known about the region."""
        record = call.to_dict()
        region = record["region"]
        known = self.known(call) or self._file_part(call)
        if known is not None and region is not None:
            arena = known.kind is RegionKind.ARENA
            region.update(
                kind=known.kind.value,
                kind_evidence=known.evidence,
                kind_guess=known.guess,
                name=known.name,
                use="malloc arena" if arena else region["use"],
                use_evidence=known.evidence if arena else region["use_evidence"],
                use_guess=known.guess if arena else region["use_guess"],
            )
        return record

    def _file_part(self, call: MemoryCall) -> KnownRegion | None:
        """The kind of a region of a file that is mapped as code."""
        memory, region = self._memory.get(call.pid), call.region
        if memory is None or region is None or region.pathname is None or region.perms.shared:
            return None
        if not region.pathname.startswith("/") or not memory.files.get(
            (region.dev, region.inode), memory.whole
        ):
            return None
        perms = region.perms
        if perms.execute:
            kind = RegionKind.TEXT
        elif perms.write:
            kind = RegionKind.DATA
        elif not perms.read:
            kind = RegionKind.GUARD
        elif call.name == "mprotect":
            # Once it has written the addresses of functions there (PT_GNU_RELRO).
            kind = RegionKind.RELRO
        else:
            kind = RegionKind.RODATA
        return KnownRegion(region.name, kind, "perms")


def drop(stacks: dict[int, GivenStack], start: int, end: int) -> None:
    for tid in [tid for tid, one in stacks.items() if start < one.end and one.start < end]:
        del stacks[tid]


def rounded(length: int) -> int:
    return -(-length // PAGE) * PAGE


def opened(memory: KnownMemory, call: MemoryCall) -> None:
    """Notes that memory was made writable: a stack without its guard, or a part of an arena."""
    start, _, prot = call.words[:3]
    told = call.region_row
    inside = memory.overlapping(start, start + 1) if prot & 2 else None
    if not inside or told is None:
        return
    first = told[0]
    memory.spans[inside[0].start] = inside[0]._replace(writable=start, perms=told[2])
    if inside[0].reserve and not first % ARENA and start - first < ARENA:
        memory.arenas[first] = memory.arenas.get(first, False) or call.within is not None


def moved(memory: KnownMemory, call: MemoryCall) -> None:
    """Notes that memory was moved by mremap(2)."""
    old, old_length, length, flags = call.words[:4]
    start = call.result or 0
    inside = memory.overlapping(old, old + 1)
    if not flags & MREMAP_DONTUNMAP:
        memory.forget(old, old + rounded(old_length))
    if inside:
        memory.add(inside[0]._replace(start=start, end=start + rounded(length)))
    else:
        memory.forget(start, start + rounded(length))


def arena(sure: bool, name: str) -> KnownRegion:
    evidence = "malloc's mprotect" if sure else "mmap and mprotect, as glibc's malloc makes them"
    return KnownRegion(name, RegionKind.ARENA, evidence, not sure)


def written(memory: KnownMemory, start: int, end: int, perms: str) -> KnownRegion | None:
    """What is known about writable unnamed memory."""
    if start in memory.data:
        return KnownRegion(memory.data[start][1], RegionKind.BSS, "mmap behind the file's data")
    if start in memory.arenas:
        return arena(memory.arenas[start], "malloc arena")
    stacks, ended = (
        [one for one in found.values() if one.start < end and start < one.end]
        for found in (memory.stacks, memory.ended)
    )
    if stacks:
        tids = sorted(one.tid for one in stacks)
        covered = sum(min(one.end, end) - max(one.start, start) for one in (*stacks, *ended))
        name = stacks_name(tids, len(ended), covered, end - start, executable=perms[2] == "x")
        return KnownRegion(name, RegionKind.THREAD_STACK, "clone")
    if ended:
        return KnownRegion("stack of an ended thread", RegionKind.ANON, "clone, exit")
    spans = memory.overlapping(start, end)
    if spans and all(span.asked for span in spans):
        return KnownRegion("thread stack", RegionKind.THREAD_STACK, "MAP_STACK", guess=True)
    return None


def inaccessible(memory: KnownMemory, start: int, end: int) -> KnownRegion | None:
    """What is known about inaccessible unnamed memory."""
    block = start // ARENA * ARENA
    if block in memory.arenas and block < start and end <= block + ARENA:
        return arena(memory.arenas[block], "malloc arena, reserved")
    spans = memory.overlapping(start, end)
    if len(spans) == 1 and spans[0].start <= start and end < spans[0].end:
        for found in (memory.stacks, memory.ended):
            if any(one.start == end for one in found.values()):
                return KnownRegion("stack guard", RegionKind.GUARD, "clone")
        if spans[0].asked:
            return KnownRegion("stack guard", RegionKind.GUARD, "MAP_STACK", guess=True)
    if any(span.asked for span in spans):
        # A whole stack before it is opened, perhaps with the guard of the next.
        return KnownRegion("reserved address space", RegionKind.ANON, "perms")
    return None
