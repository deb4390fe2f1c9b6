"""What kind of program a file is, and the way from its sizes to bytes of address space."""

from __future__ import annotations

import os

from procmem.elf.counting import ALLOC, NOT_RECOGNIZED
from procmem.elf.headers import ElfFile, open_elf
from procmem.elf.notes import build_id
from procmem.elf.sizing import read_sections
from procmem.elf.source import fail
from procmem.elf.spec import (
    DF_1_NOW,
    DF_1_PIE,
    DF_BIND_NOW,
    DT_BIND_NOW,
    DT_FLAGS,
    DT_FLAGS_1,
    DT_NULL,
    ET_CORE,
    ET_DYN,
    ET_EXEC,
    ET_REL,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_RELRO,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    SHF_ALLOC,
    SHF_TLS,
    SHT_NOBITS,
    SHT_NOTE,
)

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from procmem.elf.headers import Phdr

__all__ = ["Bridge", "Program", "Step", "program"]

LONGEST_PATH = 4096
LONGEST_DYNAMIC = 1 << 16


class Step:
    """One step of a bridge.

    Attributes:
        what: what is added or taken away, in words.
        size: bytes; negative where they are taken away.
    """

    __slots__ = ("size", "what")

    def __init__(self, what: str, size: int) -> None:
        self.what = what
        self.size = size

    def __repr__(self) -> str:
        return f"Step({self.what!r}, {self.size})"


class Bridge:
    """The way from text + data + bss to the address space that a file's segments take.

    Attributes:
        start: text + data + bss in the Berkeley view, bytes.
        steps: what is added and taken away.
        occupied: bytes of the pages that the PT_LOAD segments lie in, each page once: worked
            out from the segments alone.
    """

    __slots__ = ("occupied", "start", "steps")

    def __init__(self, start: int, steps: list[Step], occupied: int) -> None:
        self.start = start
        self.steps = steps
        self.occupied = occupied

    @property
    def remainder(self) -> int:
        """What the steps leave unexplained: 0."""
        return self.occupied - self.start - sum(step.size for step in self.steps)


class Program:
    """What an ELF file is, judging by its headers.

    Attributes:
        kind: "object", "static executable", "static PIE", "dynamic executable",
            "dynamic PIE", "shared object", "debug file" or "core file".
        interpreter: the loader that PT_INTERP names, else None.
        relro: "full" (all relocations are done at the start, and their pages read-only from
            then on), "partial", or "none".
        relro_size: bytes of PT_GNU_RELRO.
        nx: whether the stack can't run code (PT_GNU_STACK); None: the file doesn't say.
        build_id: hexadecimal, else None.
        bridge: None where nothing is loaded as it is (objects, debug files, cores).
    """

    __slots__ = ("bridge", "build_id", "interpreter", "kind", "nx", "relro", "relro_size")

    def __init__(self, elf: ElfFile, page_size: int) -> None:
        segments = elf.segments
        of_type: dict[int, Phdr] = {}
        for segment in segments:
            of_type.setdefault(segment.p_type, segment)
        tags = dynamic(elf, of_type.get(PT_DYNAMIC))
        self.interpreter: str | None = None
        if PT_INTERP in of_type:
            one = of_type[PT_INTERP]
            raw = elf.source.read(one.p_offset, min(one.p_filesz, LONGEST_PATH))
            self.interpreter = os.fsdecode(raw.partition(b"\0")[0])
        self.kind = self._kind(elf, tags)
        now = (
            DT_BIND_NOW in tags
            or tags.get(DT_FLAGS, 0) & DF_BIND_NOW
            or tags.get(DT_FLAGS_1, 0) & DF_1_NOW
            or not tags
        )
        relro = of_type.get(PT_GNU_RELRO)
        self.relro = "none" if relro is None else "full" if now else "partial"
        self.relro_size = 0 if relro is None else relro.p_memsz
        stack = of_type.get(PT_GNU_STACK)
        self.nx = None if stack is None else not stack.p_flags & PF_X
        self.build_id = build_id(elf).hex() or None
        self.bridge = None
        if self.kind not in ("object", "debug file", "core file"):
            self.bridge = bridge(elf, segments, page_size)

    def _kind(self, elf: ElfFile, tags: dict[int, int]) -> str:
        kind = elf.header.e_type
        if kind == ET_CORE:
            return "core file"
        if kind == ET_REL:
            return "object"
        if kind not in (ET_EXEC, ET_DYN):
            return f"file of type {kind:#x}"
        taken = [one for one in elf.sections if one.sh_flags & SHF_ALLOC]
        if taken and all(one.sh_type in (SHT_NOBITS, SHT_NOTE) for one in taken):
            return "debug file"
        if kind == ET_EXEC:
            return "dynamic executable" if self.interpreter or tags else "static executable"
        if tags.get(DT_FLAGS_1, 0) & DF_1_PIE or (self.interpreter and not tags):
            return "dynamic PIE" if self.interpreter else "static PIE"
        return "shared object"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        names = ("kind", "interpreter", "relro", "relro_size", "nx", "build_id")
        found = {name: getattr(self, name) for name in names}
        found["bridge"] = self.bridge and {
            "start": self.bridge.start,
            "steps": [{"what": step.what, "size": step.size} for step in self.bridge.steps],
            "occupied": self.bridge.occupied,
            "remainder": self.bridge.remainder,
        }
        return found


def program(path: str | os.PathLike[str], *, page_size: int | None = None) -> Program:
    """The kind of an ELF file, and the way from its sizes to address space.

    Args:
        path: an object, shared object, executable, debug or core file.
        page_size: bytes of a page where it is to run; None: as here.

    Raises:
        ElfError, OSError
    """
    with open_elf(path) as elf:
        if elf.header.e_ident[6] != 1:
            fail(path, NOT_RECOGNIZED)
        return Program(elf, page_size or os.sysconf("SC_PAGE_SIZE"))


def dynamic(elf: ElfFile, segment: Phdr | None) -> dict[int, int]:
    """The entries of PT_DYNAMIC by tag; the last of each."""
    if segment is None:
        return {}
    one = elf.layout.dyn
    raw = elf.source.read(segment.p_offset, min(segment.p_filesz, LONGEST_DYNAMIC))
    found: dict[int, int] = {}
    for tag, value in one.iter_unpack(raw[: len(raw) // one.size * one.size]):
        if tag == DT_NULL:
            break
        found[tag] = value
    return found


# ---- the bridge --------------------------------------------------------------------


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same addresses as ranges that don't touch, in order."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(one for one in ranges if one[0] < one[1]):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def length(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(end - start for start, end in ranges)


def common(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What two lists of merged ranges share."""
    found = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            found.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return found


def bridge(elf: ElfFile, segments: list[Phdr], page_size: int) -> Bridge | None:
    """The bridge of a file that is loaded as it is; None: it has no PT_LOAD."""
    loads = [one for one in segments if one.p_type == PT_LOAD and one.p_memsz]
    if not loads:
        return None
    counted = [row for row in read_sections(elf.source).rows() if row[3] & ALLOC]
    start = sum(size for _, _, size, _ in counted)
    thread_local = {
        (one.sh_addr, one.sh_size, one.name.encode("utf-8", "surrogateescape"))
        for one in elf.sections
        if one.sh_type == SHT_NOBITS and one.sh_flags & SHF_TLS
    }
    tbss = 0
    placed = []
    for name, address, size, _ in counted:
        if (address, size, name) in thread_local:
            tbss += size
        else:
            placed.append((address, address + size))
    exact = merged((one.p_vaddr, one.p_vaddr + one.p_memsz) for one in loads)
    pages = merged(
        (
            one.p_vaddr // page_size * page_size,
            -(-(one.p_vaddr + one.p_memsz) // page_size) * page_size,
        )
        for one in loads
    )
    covered = merged(placed)
    inside = common(covered, exact)
    first = min((begin for begin, _ in inside), default=exact[0][1])
    ahead = length(common([(exact[0][0], max(first, exact[0][0]))], exact))
    gaps = length(exact) - length(inside) - ahead
    # Two segments that end and begin within one page are mapped as a page each where the file's
    # offsets allow it, and the later one covers the earlier: the page is there once.
    steps = [
        Step(".tbss: counts as bss, but is made for each thread elsewhere", -tbss),
        Step("sections that share addresses are counted twice", length(covered) - length(placed)),
        Step("sections outside every PT_LOAD segment", length(inside) - length(covered)),
        Step("ELF header and program headers, before the first section", ahead),
        Step("gaps between sections, for alignment", gaps),
        Step(f"segments rounded to pages of {page_size} bytes", length(pages) - length(exact)),
    ]
    return Bridge(start, steps, length(pages))
