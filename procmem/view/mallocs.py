"""Calls of malloc and its kin in words: which of them needed the kernel, for what, and why."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from procmem.view.columns import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.history.trace import Breakpoints, MemoryCall

__all__ = ["Mallocs", "Run", "function_words", "length_text", "size_of"]

GLIBC = re.compile(r"libc(\.so\.6|-2\.\d+\.so)$")
THRESHOLD = 128 * 1024
"""glibc's M_MMAP_THRESHOLD as a program starts (malloc/malloc.c, DEFAULT_MMAP_THRESHOLD)."""

ENTRY = 16
"""Bytes of a chunk's header, which stands before what malloc returns."""

Key = tuple[int, int]


def length_text(value: int) -> str:
    """A length in KiB if it is a whole number of them, else in bytes."""
    return f"{value // 1024:,} KiB" if value and not value % 1024 else f"{value:,} bytes"


def size_of(call: MemoryCall) -> int:
    """The bytes that a function was asked for; 0 for free and malloc_trim."""
    args = call.args
    return int(args.get("size", 0)) * int(args.get("nmemb", 1))


def mapping_of(call: MemoryCall, inner: Sequence[MemoryCall]) -> MemoryCall | None:
    """The mmap that made room for this piece alone; None: it lies among others."""
    address = call.address
    if address is None:
        return None
    for each in inner:
        if each.name in ("mmap", "mremap") and each.result:
            length = each.words[1 if each.name == "mmap" else 2]
            # An arena is larger by far, and begins without any access.
            if each.result < address < each.result + length <= address + size_of(
                call
            ) + 3 * 4096 and address - each.result < 4096 + int(call.args.get("alignment", 0)):
                return each
    return None


def function_words(call: MemoryCall, inner: Sequence[MemoryCall], size: int | None) -> str:
    """What one call was and whether it needed the kernel.

    Args:
        call: of a function.
        inner: the system calls it made.
        size: of what free and realloc are handed; None: not known.
    """
    if not call.returned:
        return "it did not return"
    if call.name == "free":
        return free_words(call, inner, size)
    if call.name == "malloc_trim":
        return "gave memory back" if call.result else "there was nothing to give back"
    asked = length_text(size_of(call))
    if call.name == "realloc" and call.args["ptr"]:
        asked = f"{length_text(size)} to {asked}" if size else f"to {asked}"
    if call.address is None:
        return f"{asked}: refused" if size_of(call) else f"{asked}: NULL"
    return f"{asked}: {how(call, inner)}"


def how(call: MemoryCall, inner: Sequence[MemoryCall]) -> str:
    names = {each.name for each in inner if not each.errno}
    if "mremap" in names:
        return "mremap changes its mapping"
    if mapping_of(call, inner):
        return "large, mmap makes it a mapping"
    if "brk" in names:
        if any(each.name == "brk" and not each.words[0] for each in inner):
            return "no heap yet, brk makes one"
        return "the heap is full, brk enlarges it"
    if "mmap" in names:
        return (
            "mmap makes this thread an arena" if opens_arena(inner) else "no room, mmap makes some"
        )
    if "mprotect" in names:
        return "the arena is full, mprotect opens more"
    if names:
        return f"by {', '.join(sorted(names))}"
    if call.name.startswith("realloc") and call.args["ptr"] == call.address:
        return "in place, no system call"
    return f"{place(call)} has room, no system call"


def opens_arena(inner: Sequence[MemoryCall]) -> bool:
    """How glibc does it: it reserves addresses, and opens a part (malloc/arena.c, new_heap)."""
    return any(
        each.name == "mmap" and not each.errno and not each.args["prot"] for each in inner
    ) and any(each.name == "mprotect" and not each.errno for each in inner)


def place(call: MemoryCall) -> str:
    region = call.region
    return "the heap" if region and region.pathname == "[heap]" else "malloc"


def free_words(call: MemoryCall, inner: Sequence[MemoryCall], size: int | None) -> str:
    if not call.args["ptr"]:
        return "NULL: nothing to free"
    freed = "" if size is None else f"{length_text(size)}: "
    names = {each.name for each in inner if not each.errno}
    if "munmap" in names:
        return f"{freed}munmap gives its mapping back"
    if "brk" in names:
        return f"{freed}brk gives the heap's end back"
    if names:
        return f"{freed}{', '.join(sorted(names))} gives pages back"
    return f"{freed}kept for later, no system call"


class Run:
    """Calls of functions one after the other that needed no system call."""

    def __init__(self, first: MemoryCall) -> None:
        self.tid = first.tid
        self.names: dict[str, int] = {}
        self.sizes: list[int] = []
        self.count = 0
        self.rss: int | None = 0
        self.last = first
        self.exact = True

    def takes(self, call: MemoryCall) -> bool:
        """Whether a call belongs to it: three of one name make a run that stays with it."""
        return call.tid == self.tid and (
            len(self.names) != 1 or call.name in self.names or self.count < 3
        )

    def add(self, call: MemoryCall, size: int | None) -> None:
        """Takes one."""
        self.names[call.name] = self.names.get(call.name, 0) + 1
        self.count += 1
        asked = size if call.name == "free" else size_of(call)
        if asked is not None:
            low, high = self.sizes or (asked, asked)
            self.sizes = [min(low, asked), max(high, asked)]
        change = call.delta_rss
        self.rss = None if self.rss is None or change is None else self.rss + change
        self.exact = self.exact and call.exact
        self.last = call

    @property
    def title(self) -> str:
        """Whose calls they are."""
        name = next(iter(self.names))
        return f"{name} x{self.count}" if len(self.names) == 1 else f"{self.count} calls"

    @property
    def words(self) -> str:
        """What they did."""
        if len(self.names) > 1:
            told = ", ".join(f"{count} {name}" for name, count in self.names.items())
            return f"{told}: no system call"
        low, high = self.sizes or (0, 0)
        sizes = f"{length_text(low)} each" if low == high else f"up to {length_text(high)}"
        if "free" in self.names:
            return f"{sizes if self.sizes else 'pieces'}: kept for later, no system call"
        return f"{sizes}: {place(self.last)} has room, no system call"


class Mallocs:
    """What a trace told of malloc, added up and explained."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {}
        self.inside: dict[str, dict[str, int]] = {}
        self.live: dict[Key, int] = {}
        self.found: list[Breakpoints] = []
        self.limited = False
        self.small = self.unserved = self.large = self.kept = self.kept_bytes = 0
        self.largest_small = 0
        self.smallest_large: int | None = None
        self.given_back = self.given_bytes = self.highest = 0
        self.heap_grew = self.arena_opened = self.mapped_more = 0

    def size_at(self, call: MemoryCall) -> int | None:
        """The size of what a call is handed, if it was told."""
        return self.live.get((call.pid, call.args.get("ptr", 0)))

    def add(self, call: MemoryCall, inner: Sequence[MemoryCall]) -> None:
        """Takes a function's call and the system calls it made."""
        row = self.rows.setdefault(call.name, [0, 0])
        row[0] += 1
        row[1] += not inner
        told = self.inside.setdefault(call.name, {})
        for name in {each.name for each in inner}:
            told[name] = told.get(name, 0) + 1
        if not call.returned:
            return
        handed, address, size = call.args.get("ptr", 0), call.address, size_of(call)
        old = self.live.pop((call.pid, handed), None) if handed else None
        if address is not None:
            self.live[call.pid, address] = size
        elif call.name == "realloc" and old is not None and size:
            self.live[call.pid, handed] = old  # refused: the old piece stays
        if call.name == "free":
            self._freed(inner, old)
        elif address is not None and call.name != "realloc":
            self._given(call, inner, size)

    def _given(self, call: MemoryCall, inner: Sequence[MemoryCall], size: int) -> None:
        if mapping_of(call, inner):
            self.large += 1
            least = self.smallest_large
            self.smallest_large = size if least is None else min(least, size)
            return
        self.small += 1
        self.unserved += not inner
        self.largest_small = max(self.largest_small, size)
        names = {each.name for each in inner if not each.errno}
        if any(each.name == "brk" and each.words[0] for each in inner):
            self.heap_grew += 1
        elif "mprotect" in names:
            self.arena_opened += 1
        elif "mmap" in names:
            self.mapped_more += 1

    def _freed(self, inner: Sequence[MemoryCall], size: int | None) -> None:
        mapped = [each for each in inner if each.name == "munmap" and not each.errno]
        if mapped:
            self.given_back += 1
            self.given_bytes += sum(each.words[1] for each in mapped)
            self.highest = max(self.highest, *(each.words[1] for each in mapped))
        elif not inner:
            self.kept += 1
            self.kept_bytes += size or 0

    def replaced(self, pid: int) -> None:
        """execve(2): what the process had is gone."""
        self.live = {key: size for key, size in self.live.items() if key[0] != pid}

    def place(self, found: Breakpoints) -> None:
        """That a file's malloc is seen."""
        if found.limited:
            self.limited = True
        else:
            self.found.append(found)

    @property
    def is_glibc(self) -> bool:
        """Whether it is glibc's malloc, as far as can be told: others have other rules."""
        paths = {one.path for one in self.found if one.names}
        return bool(paths) and all(GLIBC.search(path) for path in paths) and not any(
            name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ
        )  # fmt: skip

    def text(self) -> str:
        """A table of functions and system calls, and sentences."""
        if not self.rows:
            return self.missing()
        made = sorted({name for told in self.inside.values() for name in told})
        rows = [
            (name, f"{count}", f"{alone}",
             *(str(self.inside.get(name, {}).get(each, "")) for each in made))
            for name, (count, alone) in sorted(self.rows.items(), key=lambda item: -item[1][0])
        ]  # fmt: skip
        table = columns(
            ("Function", "Calls", "No system call", *(f"by {each}" for each in made)),
            rows,
            "<" + ">" * (2 + len(made)),
        )
        return table + "".join(f"- {line}\n" for line in self.sentences()) + self.missing()

    def sentences(self) -> list[str]:
        """Why the figures are what they are."""
        told = []
        glibc = self.is_glibc
        if self.small:
            told.append(self._small(glibc))
        if self.large and self.smallest_large is not None:
            rule = (
                " malloc does so from 128 KiB on."
                if glibc and self.smallest_large >= THRESHOLD - 64
                else ""
            )
            told.append(
                f"Large pieces ({length_text(self.smallest_large)} and more here) have a mapping "
                f"each: {counted(self.large, 'call')}, each with an mmap.{rule}"
            )
        if self.given_back:
            told.append(
                f"free gave {counted(self.given_back, 'such mapping')} back at once (munmap): VSZ "
                f"fell by {length_text(self.given_bytes)}."
                + (
                    f" From then on malloc takes pieces below {length_text(self.highest)} from the "
                    "heap: free of a mapping raises the border."
                    if glibc and THRESHOLD < self.highest <= 32 << 20
                    else ""
                )
            )
        if self.kept:
            told.append(
                f"free kept {counted(self.kept, 'piece')}"
                + (f" ({length_text(self.kept_bytes)})" if self.kept_bytes else "")
                + " for later mallocs: the kernel heard nothing of it, VSZ and RSS stay."
            )
        if self.live and not self.limited:
            size = length_text(sum(self.live.values()))
            told.append(f"Never freed: {counted(len(self.live), 'piece')}, {size}.")
        return told

    def _small(self, glibc: bool) -> str:
        more = [
            f"{what} {times(count)}"
            for what, count in (
                ("brk moved the heap's end", self.heap_grew),
                ("mprotect opened more of a thread's arena", self.arena_opened),
                ("mmap made room", self.mapped_more),
            )
            if count
        ]
        heap = "the heap" if glibc and not self.arena_opened else "what malloc has taken before"
        pad = ", 128 KiB more at a time," if glibc and self.heap_grew else ""
        pad = f"{pad[:-1]} by brk," if pad and self.arena_opened else pad
        calls = counted(self.small, "call")
        needed = (
            f"of {calls} {self.unserved} needed no system call"
            if self.unserved
            else f"{calls}, each with a system call"
        )
        return (
            f"Small pieces (up to {length_text(self.largest_small)} here) share {heap}: {needed}"
            + (f", and {', '.join(more)}" if more else "")
            + (
                f": malloc takes more from the kernel than it is asked for{pad} and cuts the "
                "next pieces from that."
                if more
                else "."
            )
        )

    def missing(self) -> str:
        """What was not seen, and why."""
        if self.limited:
            return (
                "malloc was called so often that only system calls are told after the first calls; "
                "--malloc tells them all.\n"
            )
        if not any(one.names for one in self.found):
            reason = next((one.reason for one in self.found if one.reason), "") or (
                "no file that the program maps has that function among its symbols (a static "
                "program without symbols, or one with an allocator of its own)"
            )
            return f"Calls of malloc are not told: {reason}.\n"
        partly = sorted({one.reason for one in self.found if one.reason})
        return "".join(f"Some functions of malloc's kin are not told: {each}.\n" for each in partly)


def counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
