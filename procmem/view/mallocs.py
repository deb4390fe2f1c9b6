"""Describes calls of malloc functions: which of them made system calls, and why."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from procmem.tracing.allocators import FUNCTIONS, Role
from procmem.units import comparable, count
from procmem.view.columns import columns
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.tracing.events import Breakpoints, MemoryCall

__all__ = ["Mallocs", "SharedLine", "function_words", "size_of"]

GLIBC = re.compile(r"libc(\.so\.6|-2\.\d+\.so)$")
THRESHOLD = 128 * 1024
"""The initial value of glibc's M_MMAP_THRESHOLD (malloc/malloc.c, DEFAULT_MMAP_THRESHOLD)."""

ENTRY = 16
"""Bytes of the chunk header before the memory that malloc returns."""

Key = tuple[int, int]

MOST_NAMES = 3
"""The most functions without breakpoints that are named in one sentence."""

NEW = {Role.GIVES, Role.STORES}
RESIZED = {Role.RESIZES, Role.RESIZES_OR_FREES, Role.EXPANDS}


class Allocation(NamedTuple):
    """An allocation that is in use.

    Attributes:
        size: the requested bytes; None: not known.
        given: the time at which the call that allocated it ended, in nanoseconds of
            CLOCK_MONOTONIC.
    """

    size: int | None
    given: int


def role_of(call: MemoryCall) -> Role:
    """The role of the function that was called."""
    return call.function.role if call.function is not None else Role.OTHER


def size_of(call: MemoryCall) -> int:
    """The requested bytes; 0 for functions that allocate nothing."""
    if role_of(call) not in NEW | RESIZED:
        return 0
    args = call.args
    return int(args.get("size", 0)) * int(args.get("nmemb", 1))


def is_refused(call: MemoryCall) -> bool:
    """Whether an allocation or reallocation failed."""
    if role_of(call) is Role.EXPANDS and call.address is None:
        # xallocx returns the size of the block now.
        return not call.result or call.result < size_of(call)
    return call.address is None


def mapping_of(call: MemoryCall, inner: Sequence[MemoryCall]) -> MemoryCall | None:
    """The mmap or mremap call for this allocation only; None: the allocation shares a mapping."""
    address = call.address
    if address is None:
        return None
    for each in inner:
        if each.name in ("mmap", "mremap") and each.result:
            length = each.words[1 if each.name == "mmap" else 2]
            size, end = size_of(call), each.result + length
            # An arena is much larger, and is first mapped with PROT_NONE. musl maps a page or two
            # for several small pieces of one size.
            if (
                each.result < address < end <= address + size + 3 * 4096
                and address - each.result < 4096 + int(call.args.get("alignment", 0))
                and end - address < 2 * size
            ):
                return each
    return None


def function_words(call: MemoryCall, inner: Sequence[MemoryCall], size: int | None) -> str:
    """Describes a call and whether it made system calls.

    Args:
        call: the call of a function.
        inner: the system calls that it made.
        size: of the memory passed to free or realloc; None: unknown.
    """
    if not call.returned:
        return "it did not return"
    role = role_of(call)
    if role is Role.FREES:
        return free_words(call, inner, size)
    if role is Role.TRIMS:
        return "gave memory back" if call.result else "there was nothing to give back"
    if role is Role.OTHER:
        return "its effect on allocations is not tracked"
    asked = comparable(size_of(call)) if "size" in call.args else "an unknown size"
    if role in RESIZED and call.args["ptr"]:
        asked = f"{comparable(size)} to {asked}" if size is not None else f"to {asked}"
    if not is_refused(call):
        return f"{asked}: {how(call, inner)}"
    if not size_of(call):
        return f"{asked}: freed" if role in RESIZED and call.args["ptr"] else f"{asked}: NULL"
    if role is Role.RESIZES_OR_FREES and call.args["ptr"]:
        return f"{asked}: refused, the old piece is freed"
    return f"{asked}: refused"


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
    if role_of(call) in RESIZED and call.args["ptr"] and call.address in (call.args["ptr"], None):
        return "in place, no system call"
    return f"{place(call)} has room, no system call"


def opens_arena(inner: Sequence[MemoryCall]) -> bool:
    """Whether system calls create an arena of glibc.

    Addresses are reserved with PROT_NONE, and the first part is made writable (malloc/arena.c,
    new_heap).
    """
    return any(
        each.name == "mmap" and not each.errno and not each.args["prot"] for each in inner
    ) and any(each.name == "mprotect" and not each.errno for each in inner)


def place(call: MemoryCall) -> str:
    region = call.region
    return "the heap" if region and region.pathname == "[heap]" else "malloc"


def free_words(call: MemoryCall, inner: Sequence[MemoryCall], size: int | None) -> str:
    if not call.args["ptr"]:
        return "NULL: nothing to free"
    freed = "" if size is None else f"{comparable(size)}: "
    names = {each.name for each in inner if not each.errno}
    if "munmap" in names:
        return f"{freed}munmap gives its mapping back"
    if "brk" in names:
        return f"{freed}brk gives the heap's end back"
    if names:
        return f"{freed}{', '.join(sorted(names))} gives pages back"
    return f"{freed}kept for later, no system call"


class SharedLine:
    """A line for consecutive calls of functions that made no system calls."""

    def __init__(self, first: MemoryCall) -> None:
        self.tid = first.tid
        self.names: dict[str, int] = {}
        self.sizes: list[int] = []
        self.count = 0
        self.rss: int | None = 0
        self.last = first
        self.exact = True
        self.frees = False

    def takes(self, call: MemoryCall) -> bool:
        """Whether a call can be added; after three calls of one function, only that function."""
        return call.tid == self.tid and (
            len(self.names) != 1 or call.name in self.names or self.count < 3
        )

    def add(self, call: MemoryCall, size: int | None) -> None:
        """Adds a call.

        Args:
            call: the call.
            size: bytes of the block passed to free or realloc; None: not known.
        """
        self.names[call.name] = self.names.get(call.name, 0) + 1
        self.count += 1
        self.frees = self.frees or role_of(call) is Role.FREES
        asked = size if role_of(call) is Role.FREES else size_of(call)
        if asked is not None:
            low, high = self.sizes or (asked, asked)
            self.sizes = [min(low, asked), max(high, asked)]
        change = call.delta_rss
        self.rss = None if self.rss is None or change is None else self.rss + change
        self.exact = self.exact and call.exact
        self.last = call

    @property
    def title(self) -> str:
        """The names of the functions."""
        name = next(iter(self.names))
        return f"{name} x{self.count}" if len(self.names) == 1 else f"{self.count} calls"

    @property
    def words(self) -> str:
        """What they did, in words."""
        if len(self.names) > 1:
            told = ", ".join(f"{count} {name}" for name, count in self.names.items())
            return f"{told}: no system call"
        low, high = self.sizes or (0, 0)
        sizes = f"{comparable(low)} each" if low == high else f"up to {comparable(high)}"
        if self.frees:
            return f"{sizes if self.sizes else 'pieces'}: kept for later, no system call"
        return f"{sizes}: {place(self.last)} has room, no system call"


class Mallocs:
    """Adds up and explains the calls of malloc functions in a trace."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {}
        self.inside: dict[str, dict[str, int]] = {}
        self.live: dict[Key, Allocation] = {}
        self.older: dict[Key, list[Allocation]] = {}
        self.found: list[Breakpoints] = []
        self.whole: set[int] = set()
        self.freeing: set[str] = set()
        self.not_followed: set[str] = set()
        self.limited = False
        self.strangers = 0
        self.last_frees: dict[int, int] = {}
        self.small = self.unserved = self.large = self.kept = self.kept_bytes = 0
        self.largest_small = 0
        self.smallest_large: int | None = None
        self.given_back = self.given_bytes = self.highest = 0
        self.heap_grew = self.arena_opened = self.mapped_more = 0

    def size_at(self, call: MemoryCall) -> int | None:
        """Bytes of the block passed to free or realloc; None: not known."""
        args = call.args
        piece = self.live.get((call.pid, args.get("ptr", 0)))
        if piece is not None:
            return piece.size
        return args.get("size") if role_of(call) is Role.FREES and args["ptr"] else None

    def add(self, call: MemoryCall, inner: Sequence[MemoryCall]) -> None:
        """Adds a function call and the system calls that it made."""
        row = self.rows.setdefault(call.name, [0, 0])
        row[0] += 1
        row[1] += not inner
        told = self.inside.setdefault(call.name, {})
        for name in {each.name for each in inner}:
            told[name] = told.get(name, 0) + 1
        role = role_of(call)
        before = self.strangers
        self._add(call, inner, role)
        if role is Role.FREES and self.strangers > before:
            self.last_frees[call.tid] = self.last_frees.get(call.tid, 0) + 1
        else:
            self.last_frees.pop(call.tid, None)

    def _add(self, call: MemoryCall, inner: Sequence[MemoryCall], role: Role) -> None:
        if role is Role.OTHER:
            self.not_followed.add(call.name)
        elif role is Role.FREES:
            self.freeing.add(call.name)
            piece = self._take(call)
            if call.returned and call.args["ptr"]:
                self._freed(inner, piece.size if piece else call.args.get("size"))
        elif role in RESIZED and call.args["ptr"]:
            self._resized(call)
        elif role in NEW | RESIZED and call.returned and call.address is not None:
            self._keep(call)
            self._given(call, inner, size_of(call))

    def watch(self, call: MemoryCall) -> None:
        """Adds any call, without the system calls that it made."""
        if call.is_function:
            self.add(call, ())
        else:
            self.system_call(call)

    def system_call(self, call: MemoryCall) -> None:
        """Adds a system call that was not made by a function."""
        if call.name == "exit":
            # A thread that ends frees the blocks in its cache, which the program has freed before
            # (malloc/malloc.c, tcache_thread_shutdown).
            again = self.last_frees.pop(call.tid, 0)
            self.strangers -= again
            self.kept -= min(again, self.kept)
        elif call.name.startswith("exec") and call.result == 0:
            self._replaced(call.pid)

    def _keep(self, call: MemoryCall) -> None:
        address = call.address or int(call.args["ptr"])
        key = call.pid, address
        old = self.live.get(key)
        if old is not None:
            # Another thread has freed it, but its call has not returned; or the call was missed.
            self.older.setdefault(key, []).append(old)
        size = size_of(call) if "size" in call.args else None
        self.live[key] = Allocation(size, call.began + (call.ns or 0))

    def _take(self, call: MemoryCall) -> Allocation | None:
        """Removes the allocation passed to a call, and returns it."""
        key = call.pid, int(call.args["ptr"])
        now = self.live.get(key)
        older = self.older.get(key)
        if older and (now is None or call.began < now.given):
            at = next((i for i in range(len(older) - 1, 0, -1) if older[i].given <= call.began), 0)
            if len(older) == 1:
                del self.older[key]
            return older.pop(at)
        if now is not None:
            del self.live[key]
        elif key[1] and call.pid in self.whole:
            self.strangers += 1
        return now

    def _resized(self, call: MemoryCall) -> None:
        if not call.returned:
            return
        role = role_of(call)
        if not is_refused(call):
            self._take(call)
            self._keep(call)
        elif role is Role.RESIZES_OR_FREES or (role is Role.RESIZES and not size_of(call)):
            # realloc(3) to 0 bytes that returns NULL has freed the block, in most allocators.
            self._take(call)

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

    def _replaced(self, pid: int) -> None:
        # execve(2) drops all its allocations, and all calls from now on are seen.
        self.live = {key: piece for key, piece in self.live.items() if key[0] != pid}
        self.older = {key: pieces for key, pieces in self.older.items() if key[0] != pid}
        self.whole.add(pid)

    def place(self, found: Breakpoints) -> None:
        """Notes that the malloc functions of a file are traced."""
        if found.limited:
            self.limited = True
        else:
            self.found.append(found)

    @property
    def is_glibc(self) -> bool:
        """Whether all malloc functions are glibc's, by the files' names, with default settings."""
        paths = {one.path for one in self.found if one.names}
        return bool(paths) and all(GLIBC.search(path) for path in paths) and not any(
            name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ
        )  # fmt: skip

    def text(self, *, foreign: bool = False) -> str:
        """A table of functions and system calls, with explanations.

        Args:
            foreign: a traced program is of another architecture, which is reported elsewhere.
        """
        notes = "".join(f"{note}\n" for note in self.notes(foreign=foreign))
        if not self.rows:
            return notes
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
        return table + "".join(f"- {line}\n" for line in self.sentences()) + notes

    def sentences(self) -> list[str]:
        """Sentences that explain the figures."""
        told = []
        glibc = self.is_glibc
        partly = bool(self.unseen())
        frees = next(iter(self.freeing)) if len(self.freeing) == 1 else "free functions"
        if self.small and not partly:
            told.append(self._small(glibc))
        if self.large and self.smallest_large is not None:
            rule = (
                " malloc does so from 128 KiB on."
                if glibc and self.smallest_large >= THRESHOLD - 64
                else ""
            )
            told.append(
                f"Large pieces ({comparable(self.smallest_large)} and more here) have a mapping "
                f"each: {count(self.large, 'call')}, each with an mmap.{rule}"
            )
        if self.given_back:
            mapping = "such mapping" if self.large else "mapping"
            told.append(
                f"{frees} gave {count(self.given_back, mapping)} back at once (munmap): "
                f"VSZ fell by {comparable(self.given_bytes)}."
                + (
                    f" From then on malloc takes pieces below {comparable(self.highest)} from the "
                    "heap: freeing a mapping raises this threshold."
                    if glibc and THRESHOLD < self.highest <= 32 << 20
                    else ""
                )
            )
        if self.kept and not partly:
            told.append(
                f"{frees} kept {count(self.kept, 'piece')}"
                + (f" ({comparable(self.kept_bytes)})" if self.kept_bytes else "")
                + " for later calls of malloc; no system call was made, VSZ and RSS stay."
            )
        if self.live and not self.limited and not partly:
            size = comparable(sum(piece.size or 0 for piece in self.live.values()))
            unsized = sum(piece.size is None for piece in self.live.values())
            size += f" and {count(unsized, 'piece')} of unknown size" if unsized else ""
            seen = all(pid in self.whole for pid, _ in self.live)
            what = "Never freed" if seen else "Given while it was traced, and not freed"
            told.append(f"{what}: {count(len(self.live), 'piece')}, {size}.")
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
        calls = count(self.small, "call")
        needed = (
            f"of {calls} {self.unserved} needed no system call"
            if self.unserved
            else f"{calls}, each with a system call"
        )
        return (
            f"Small pieces (up to {comparable(self.largest_small)} here) share {heap}: {needed}"
            + (f", and {', '.join(more)}" if more else "")
            + (
                f": malloc takes more from the kernel than it is asked for{pad} and cuts the "
                "next pieces from that."
                if more
                else "."
            )
        )

    def unseen(self) -> list[str]:
        """Why some calls of an allocator were not traced, as far as that is known."""
        told = []
        for one in self.found:
            if one.missing:
                names = ", ".join(one.missing[:MOST_NAMES])
                more = len(one.missing) - MOST_NAMES
                names += f" and {more} more" if more > 0 else ""
                where = f" of {printable(os.path.basename(one.path))}" if one.path else ""
                told.append(f"{names}{where}: {one.reason}")
        placed = {name for one in self.found for name in one.names}
        known = placed.union(*(one.missing for one in self.found))
        if placed & {"free", "realloc", "calloc"} and "malloc" not in known:
            told.append("malloc: no file that the program maps has it among its symbols")
        if placed and Role.FREES not in {ROLES[name] for name in known}:
            told.append("no file that the program maps has free among its symbols")
        if self.strangers and not self.limited:
            pieces = count(self.strangers, "piece")
            told.append(f"{pieces} freed or resized that no call seen had given")
        lost = sum(map(len, self.older.values()))
        if lost and not self.limited:
            told.append(
                f"{count(lost, 'piece')} given anew at an address that no call seen had freed"
            )
        told += [
            f"{name} was called, and its effect on allocations is not tracked"
            for name in sorted(self.not_followed)
        ]
        return list(dict.fromkeys(told))

    def notes(self, *, foreign: bool = False) -> list[str]:
        """Sentences about calls that were not traced, with the reasons.

        Args:
            foreign: a traced program is of another architecture, which is reported elsewhere.
        """
        told = [
            f"Not seen: {text} ({printable(os.path.basename(one.path))})."
            for one in self.found
            for text in one.runtime.split("; ")
            if text
        ]
        if self.limited:
            told.append(
                "malloc was called so often that after the first calls only system calls are "
                "shown; --malloc shows all."
            )
        if not any(one.names for one in self.found):
            reason = next((one.reason for one in self.found if one.reason), "")
            if not reason and (foreign or told):
                return list(dict.fromkeys(told))
            reason = reason or (
                "no file that the program maps has that function among its symbols (a static "
                "program without symbols, or one with an allocator of its own)"
            )
            told.append(f"Calls of malloc are not traced: {reason}.")
        else:
            told += [f"Some malloc functions are not traced: {each}." for each in self.unseen()]
            if self.unseen() and self.rows:
                told.append(
                    "Therefore kept and unfreed memory is not reported: the figures would be "
                    "incomplete."
                )
        return list(dict.fromkeys(told))


ROLES = {one.name: one.role for one in FUNCTIONS}


def times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
