"""Facts about the regions of a process, from its threads, its memory and its ELF files.

The process is not stopped, and no page is brought into memory: pagemap is read first, and then
only pages that are present. If this user may not read something, the facts from it are missing, and
kinds and uses that depend on them are guesses.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from bisect import bisect_right
from functools import cached_property
from itertools import pairwise

from procmem import errors, native
from procmem.elf import limits
from procmem.elf.headers import ElfFile
from procmem.elf.source import Source
from procmem.elf.spec import SHN_UNDEF
from procmem.elf.symbols import symbol_tables
from procmem.native import ffi, lib
from procmem.process.sections import header_kinds, look_at_files
from procmem.procfs.mapped import open_link, stat_link
from procmem.procfs.probes import shows_guard_pages
from procmem.procfs.resident import ResidentMemory
from procmem.regions.facts import Facts, Stack
from procmem.regions.kinds import ARENA_SIZES
from procmem.regions.marks import where
from procmem.regions.read import read_scan
from procmem.regions.region import PAGE_SIZE
from procmem.regions.table import RegionTable
from procmem.regions.threads import stack_pointer
from procmem.regions.uses import CHECKS, SECTIONS, SYMBOLS, program_of_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from procmem.elf.headers import Shdr
    from procmem.process.sections import Mapped
    from procmem.procfs import MemoryFile, ProcessFiles
    from procmem.regions import Region
    from procmem.regions.marks import Marks
    from procmem.regions.reading import MapsReading

__all__ = ["facts_of"]

MOST = 4096
"""The most addresses of each kind that are read, so that no process makes this endless."""

AROUND = 2048
"""Bytes before and after the list of robust futexes that contain the thread's descriptor:
struct pthread has 2,304 bytes with glibc 2.36 on x86-64, and 200 with musl."""

LARGEST_STACK = 1 << 40
LARGEST_STATE = 1 << 20
KEPT = 256
LARGEST_STRINGS = 16 << 20
"""The most bytes of symbol names that are searched in a program."""

PRIVATE = frozenset(
    int.from_bytes(f"{r}{w}{x}p".encode(), sys.byteorder) for r in "r-" for w in "w-" for x in "x-"
)
"""Permissions as in a record: of all private memory."""

GUARDED = 1 << 58
"""A bit of an entry in pagemap (Documentation/admin-guide/mm/pagemap.rst)."""


def facts_of(files: ProcessFiles, regions: Sequence[Region], reading: MapsReading) -> Facts | None:
    """Facts about the regions of a process; None: it has ended, or runs another program now.

    Regions that were unmapped or changed since they were read are left out.

    Args:
        files: the process.
        regions: its regions, by address.
        reading: the reading that they belong to.
    """
    try:
        return gather(files, regions, reading)
    except (errors.ProcmemError, OSError):
        return None


def gather(files: ProcessFiles, regions: Sequence[Region], reading: MapsReading) -> Facts | None:
    facts = Facts(main=files.pid)
    live = files.is_live
    if not live:
        facts.stacks = [Stack(tid, stack_pointer(files, tid)) for tid in files.thread_ids()]
        return facts
    marks = reading.marks()
    mapped, stacks, heaps = map(where, (marks.by_file, marks.stack_like, marks.heap_like))
    with files.memory("maps") as maps:
        present = StillMapped(files, maps, regions, marks, len(mapped) + len(stacks) + len(heaps))
        memory = ResidentMemory(files)
        try:
            find_stacks(files, facts, present, stacks, memory)
            if memory:
                facts.memory_read = True
                # A heap that has grown since then still has the same start and first words.
                find_heaps(facts, present.begun(heaps), memory, marks.word_size)
            read_programs(files, maps, facts, present, mapped, reading)
            if memory:
                for check in CHECKS:
                    if check.program in facts.programs:
                        found = check.find(present.anonymous, facts, memory.read)
                        facts.checked.update(found)
        finally:
            memory.close()
        maps.check()
    return facts


class StillMapped:
    """Which regions of a reading are still mapped; they may have grown, or merged with others.

    A few are asked for one by one (PROCMAP_QUERY). For many, or on a kernel without it, maps is
    read once more.

    Args:
        files: the process.
        maps: its open maps file.
        regions: all regions of the reading, in their order.
        marks: of these.
        expected: about how many will be asked for.
    """

    def __init__(
        self,
        files: ProcessFiles,
        maps: MemoryFile,
        regions: Sequence[Region],
        marks: Marks,
        expected: int,
    ) -> None:
        self.regions = regions
        self.marks = marks
        self._files = files
        self._maps = maps
        self._starts = marks.column(native.START)
        self._one_by_one = expected * DEAR < len(regions)
        self._words = ffi.new(f"uint64_t[{native.HEADER_WORDS}]")
        self._vma = ffi.new("pm_vma *")

    @cached_property
    def _now(self) -> tuple[list[int], list[int]]:
        """Starts and ends of what is mapped now."""
        scan, _, _ = read_scan(self._files, native.MAPS)
        return scan.column(native.START), scan.column(native.END)

    @cached_property
    def all(self) -> list[Region]:
        """All regions that are still mapped."""
        ends = self.marks.column(native.END)
        if self._now == (self._starts, ends):
            return list(self.regions)
        now = set(zip(*self._now, strict=True))
        return [
            region
            for region, one in zip(self.regions, zip(self._starts, ends, strict=True), strict=True)
            if one in now or self._bounds(one[0])[1] >= one[1]
        ]

    @cached_property
    def anonymous(self) -> list[Region]:
        """Those of private memory without a name."""
        return [
            region
            for region in self.all
            if not region._name and region._perms in PRIVATE and not region.inode
        ]

    def some(self, indices: Iterable[int]) -> list[Region]:
        """Those of some regions that are still mapped."""
        found = [self.regions[index] for index in indices]
        return [region for region in found if self.bounds(region.start)[1] >= region.end]

    def begun(self, indices: Iterable[int]) -> list[Region]:
        """Those of some regions where a region still starts."""
        found = [self.regions[index] for index in indices]
        return [region for region in found if self.bounds(region.start)[0] == region.start]

    def find(self, address: int) -> Region | None:
        """The region that covers an address, if it is still mapped; None: there is none."""
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address >= self.regions[place].end:
            return None
        return next(iter(self.some([place])), None)

    def bounds(self, address: int) -> tuple[int, int]:
        """Start and end of what is mapped at an address now; (0, 0): nothing is."""
        # [vsyscall], in the kernel's half, is in no answer.
        if self._one_by_one and address < 1 << 63:
            status = lib.pm_query_vma(self._maps.fd, address, 0, self._words, self._vma)
            if not status:
                return self._words[native.START], self._words[native.END]
            if status in (-errno.ENOENT, -errno.ESRCH):
                return 0, 0
            self._one_by_one = False
        return self._bounds(address)

    def _bounds(self, address: int) -> tuple[int, int]:
        starts, ends = self._now
        place = bisect_right(starts, address) - 1
        if place < 0 or address >= ends[place]:
            return 0, 0
        return starts[place], ends[place]


DEAR = 8
"""A query takes as long as reading this many lines of maps."""


# ---- threads -------------------------------------------------------------------


def find_stacks(
    files: ProcessFiles,
    facts: Facts,
    present: StillMapped,
    candidates: Sequence[int],
    memory: ResidentMemory,
) -> None:
    word = present.marks.word_size
    numbers = files.has_our_numbers
    pointers: dict[int, tuple[int | None, int]] = {}
    for tid in files.thread_ids():
        try:
            pointer = stack_pointer(files, tid)
        except (errors.NoSuchProcess, errors.Unsupported):
            continue
        pointers[tid] = pointer, lib.pm_robust_list(tid) if numbers else 0
    # The ID of a thread that ended meanwhile may now be of another process's thread.
    living = set(files.thread_ids())
    for tid, (pointer, head) in pointers.items():
        if tid in living:
            facts.stacks.append(stack_of(tid, pointer, head, present, memory, word))
    if memory and word == 8:
        find_descriptors(facts, present, candidates, memory)
    facts.all_located = all(
        stack.pointer is not None or stack.descriptor is not None
        for stack in facts.stacks
        if stack.tid != files.pid
    ) and len(facts.stacks) == len(living)


def word_size(regions: Sequence[Region]) -> int:
    """The size of an address of the program in bytes: only a 64-bit one has memory above 4 GiB."""
    return 8 if any(1 << 32 < region.end < 1 << 63 for region in regions) else 4


def stack_of(
    tid: int,
    pointer: int | None,
    head: int,
    present: StillMapped,
    memory: ResidentMemory,
    word: int,
) -> Stack:
    region = present.find(head) if head else None
    if region is None or not region.perms.write or region.inode:
        return Stack(tid, pointer)
    first = max(region.start, (head - AROUND) // word * word)
    data = memory.read(first, min(region.end, head + AROUND) - first)
    found = block_in(data, head, region, word)
    if found is None:
        return Stack(tid, pointer, head)
    start, end, guard = found
    marked = bool(guard and memory.entry(start) & GUARDED)
    return Stack(tid, pointer, head, start, end, guard, marked)


def block_in(data: bytes, head: int, region: Region, word: int) -> tuple[int, int, int] | None:
    """Start, end and guard size of a stack, from the words of its thread's descriptor.

    glibc: stackblock, stackblock_size, guardsize, reported_guardsize (nptl/descr.h). musl:
    map_base, map_size, stack, stack_size, guard_size (src/internal/pthread_impl.h).
    """
    count = len(data) // word
    words = struct.unpack_from(f"={count}{'Q' if word == 8 else 'I'}", data)
    for place, (start, size) in enumerate(pairwise(words[:-3])):
        # Most words are 0.
        if not 0 < start <= head < start + size <= region.end or size > LARGEST_STACK:
            continue
        end = start + size
        third, fourth, fifth = words[place + 2 : place + 5]
        if third < size and fourth < size and not (third % PAGE_SIZE or start % word):
            return start, end, third
        if start % PAGE_SIZE == 0 and start < third <= end and fourth <= size and fifth < size:
            return start, end, fifth
    return None


def find_descriptors(
    facts: Facts, present: StillMapped, candidates: Sequence[int], memory: ResidentMemory
) -> None:
    """Finds stacks with a thread's descriptor at their top, including those of ended threads.

    glibc keeps the stacks of ended threads for new ones (allocate_stack()), and a child of fork(2)
    has the stacks of all of its parent's threads.
    """
    shows_guards = shows_guard_pages()
    tops = {stack.end: stack.start for stack in facts.stacks if stack.start is not None}
    unknown = {stack.tid: place for place, stack in enumerate(facts.stacks) if not stack.start}
    looked = 0
    # The descriptor alone, with the least stack that pthread_create(3) takes, needs two pages.
    for region in present.some(candidates):
        if not shows_guards:
            below = present.find(region.start - 1)
            if below is None or below.perms != "---p":
                continue
        # Without guards in between, adjacent stacks may be one region.
        top: int | None = region.end
        while top is not None and region.start < top and looked < MOST:
            if top in tops:
                top = tops[top]
                continue
            looked += 1
            found = descriptor_below(top, region, memory)
            if found is None:
                break
            tid, stack = found
            if tid in unknown:
                place = unknown.pop(tid)
                stack = stack._replace(tid=tid, pointer=facts.stacks[place].pointer)
                facts.stacks[place] = stack
            else:
                facts.ended.append(stack)
            top = stack.start


def upper_bytes(address: int) -> bytes:
    """The bytes that all addresses of a page share, in memory order."""
    whole = address.to_bytes(8, sys.byteorder)
    return whole[2:] if sys.byteorder == "little" else whole[:6]


def descriptor_below(top: int, region: Region, memory: ResidentMemory) -> tuple[int, Stack] | None:
    """The thread ID in the descriptor at the top of a glibc stack, and the stack; None: no stack.

    On x86-64 struct pthread starts with its own address, which is repeated two words later
    (tcbhead_t: tcb, self). It is aligned to 64 bytes.
    """
    first = top - PAGE_SIZE
    if first < region.start:
        return None
    data = memory.read(first, PAGE_SIZE)
    # It contains its own address; few other pages contain even the upper bytes of that.
    if len(data) < PAGE_SIZE or upper_bytes(first) not in data:
        return None
    words = struct.unpack(f"={PAGE_SIZE // 8}Q", data)
    for place in range(0, len(words) - 8, 8):
        address = first + 8 * place
        if words[place] != address or words[place + 2] != address:
            continue
        block = block_in(data[8 * place :], address, region, 8)
        if block is None or block[1] != top:
            continue
        start, end, guard = block
        tid = 0
        for at in range(place + 64, min(len(words), place + 128)):
            # robust_head.list of a thread that holds no robust mutex points to itself.
            if words[at] == first + 8 * at:
                tid = int.from_bytes(data[8 * at - 16 : 8 * at - 12], sys.byteorder)
                break
        marked = bool(guard and memory.entry(start) & GUARDED)
        return tid, Stack(0, None, address, start, end, guard, marked)
    return None


# ---- malloc --------------------------------------------------------------------


NAMES = None, b"[anon: glibc: malloc arena]"


def find_heaps(
    facts: Facts, candidates: Sequence[Region], memory: ResidentMemory, word: int
) -> None:
    """Finds the heaps of malloc's arenas by their first words.

    heap_info of glibc (malloc/arena.c): the arena, the previous heap, bytes in use, bytes
    that were made writable.
    """
    length = ARENA_SIZES[word == 4]
    shape = struct.Struct("=4Q" if word == 8 else "=4I")
    looked = 0
    for region in candidates:
        first = -(-region.start // length) * length
        if first >= region.end or region.inode or region.perms != "rw-p":
            continue
        if region.raw_pathname not in NAMES:
            continue
        for start in range(first, region.end, length):
            looked += 1
            if looked > MOST:
                return
            data = memory.read(start, shape.size)
            if len(data) < shape.size:
                facts.unread.add(start)
                continue
            arena, before, size, opened = shape.unpack(data)
            if is_heap(start, length, word, arena, before, size, opened):
                facts.heaps[start] = opened


def is_heap(
    start: int, length: int, word: int, arena: int, before: int, size: int, opened: int
) -> bool:
    whole = not (size % PAGE_SIZE or opened % PAGE_SIZE)
    if not (whole and 0 < size <= opened <= length) or before % length or before == start:
        return False
    # In the first heap of an arena the arena follows these words.
    home = before or start
    return 4 * word <= arena - home < 4096 if not before else 4 * word <= arena % length < 4096


# ---- ELF files -----------------------------------------------------------------


def read_programs(
    files: ProcessFiles,
    maps: MemoryFile,
    facts: Facts,
    present: StillMapped,
    mapped: Sequence[int],
    reading: MapsReading,
) -> None:
    """Adds facts from the headers of the mapped ELF files, and the runtimes in these files.

    They are cached as long as the same files are mapped at the same addresses.
    """
    owner = files.root, files.pid, files.start_time
    key = reading.exe, *file_layout(present.some(mapped))
    kept = _programs.get(owner)
    if kept is None or kept[0] != key:
        if not present.all:
            return
        look_at_programs(files, maps, facts, present.all, reading)
        if len(_programs) > KEPT:
            _programs.clear()
        _programs[owner] = key, facts.headers, facts.objects, facts.programs, facts.go_heap
    else:
        _, facts.headers, facts.objects, facts.programs, facts.go_heap = kept


_programs: dict[Any, tuple[Any, ...]] = {}
"""For each process the addresses of its files, and the facts from them."""


def file_layout(regions: Sequence[Region]) -> list[tuple[Any, ...]]:
    """A key of each region of a file, and of the region after it, which may contain its bss."""
    return [
        (region.start, region.end, region._perms, region.inode, region.raw_pathname)
        for region in regions
    ]


def look_at_programs(
    files: ProcessFiles,
    maps: MemoryFile,
    facts: Facts,
    regions: Sequence[Region],
    reading: MapsReading,
) -> None:
    table: RegionTable[Any] = RegionTable(type(regions[0]), regions, reading, consistent=True)
    found, places = look_at_files(files, maps, table)
    for number, mapped in enumerate(found):
        if mapped.image is None:
            continue
        first = mapped.regions[0].start
        name = os.path.basename(mapped.regions[0].pathname or "")
        facts.objects.add(name)
        library = program_of_library(name)
        if library is not None:
            facts.programs.setdefault(library, f"{name} is mapped")
        for bias in places[number]:
            for region, kind in header_kinds(table, mapped, bias):
                facts.headers[region.start] = kind, name, first
        for section in mapped.image.sections:
            program = SECTIONS.get(section.name)
            if program is not None:
                facts.programs.setdefault(program, f"{section.name} in {name}")
        if reading.exe is not None and mapped.path == reading.exe:
            for program, (symbol, value, size) in symbols_in(files, mapped).items():
                facts.programs.setdefault(program, f"{symbol} in {name}")
                if symbol == "runtime.mheap_" and places[number]:
                    facts.go_heap = places[number][0] + value, min(size, LARGEST_STATE)


Symbols = dict[str, tuple[str, int, int]]
"""For each runtime: a symbol that only this runtime has, and the symbol's value and size."""

_symbols: dict[tuple[int, ...], Symbols] = {}
"""The runtimes found in programs, by device, inode, size and mtime."""


def symbols_in(files: ProcessFiles, mapped: Mapped) -> Symbols:
    """The runtimes whose symbols a program defines; none if its file can't be read."""
    identity, link = mapped.identity, mapped.link
    if identity is None or link is None:
        return {}
    if identity in _symbols:
        return _symbols[identity]
    told = stat_link(files, link, follow=True)
    fd = None if told is None else open_link(files, link, told)
    if fd is None:
        return {}
    found: Symbols = {}
    try:
        with ElfFile(Source(fd, 0, os.fstat(fd).st_size, mapped.path)) as elf:
            for table, names in symbol_tables(elf)[: limits.SYMBOL_TABLES]:
                look_for_symbols(elf, table, names, found)
    except (errors.ProcmemError, OSError):
        return {}
    finally:
        os.close(fd)
    if len(_symbols) > KEPT:
        _symbols.clear()
    _symbols[identity] = found
    return found


def look_for_symbols(elf: ElfFile, table: Shdr, strings: Shdr, found: Symbols) -> None:
    if strings.sh_size > LARGEST_STRINGS or table.sh_size > LARGEST_STRINGS:
        return
    names = strings.data(LARGEST_STRINGS)
    offsets = {}
    for symbol, program in SYMBOLS.items():
        place = names.find(b"\0" + symbol.encode() + b"\0")
        if place >= 0:
            offsets[place + 1] = symbol, program
    if not offsets:
        return
    raw, shape = table.data(LARGEST_STRINGS), elf.layout.sym
    for fields in shape.iter_unpack(raw[: len(raw) // shape.size * shape.size]):
        if fields[0] in offsets:
            if elf.layout.is64:
                name, _, _, index, value, size = fields
            else:
                name, value, size, _, _, index = fields
            symbol, program = offsets[name]
            if index != SHN_UNDEF:
                found.setdefault(program, (symbol, value, size))
