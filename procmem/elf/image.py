"""What the headers of a mapped ELF file say about memory, and where it was put.

An Image is kept by the file's device, inode, size and mtime, so that a second reading of
a process opens nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from procmem.elf import limits
from procmem.elf.counting import berkeley
from procmem.elf.headers import ElfFile
from procmem.elf.notes import build_id
from procmem.elf.sections import section_flags
from procmem.elf.source import Source, fail
from procmem.elf.spec import (
    PF_W,
    PF_X,
    PT_GNU_RELRO,
    PT_LOAD,
    SHF_ALLOC,
    SHF_TLS,
    SHT_NOBITS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from procmem.regions import Region

__all__ = [
    "Image",
    "Load",
    "MemorySource",
    "Section",
    "image_of",
    "kept_image",
    "place",
    "reason_of",
]

KEPT = 2048
"""Images that are kept, over all processes."""

COUNTS_AS = ("", "text", "data", "bss")

MOST_LOADS = 256
MOST_SECTIONS = 1 << 16
LONGEST_NAME = 256
"""Bounds on what is kept of a file: a damaged one may have headers without end."""

LOADS_TRIED = 32
"""Segments that a place is checked by: linkers make up to six."""


class Section(NamedTuple):
    """A section that is in memory when the file runs (SHF_ALLOC)."""

    name: str
    address: int  # sh_addr
    size: int
    type: int
    flags: int
    counts_as: str  # text, data or bss, as GNU size counts it
    loaded: bool  # whether it lies in a segment: .tbss does not


class Load(NamedTuple):
    """A segment that is mapped (PT_LOAD)."""

    offset: int
    vaddr: int
    filesz: int
    memsz: int
    flags: int

    def file_pages(self, page: int) -> tuple[int, int]:
        """Addresses of the pages that are mapped from the file, before the load bias."""
        if not self.filesz:
            # The kernel and the loader map such a segment as anonymous memory alone.
            return self.vaddr // page * page, self.vaddr // page * page
        return self.vaddr // page * page, -(-(self.vaddr + self.filesz) // page) * page

    def pages(self, page: int) -> tuple[int, int]:
        """The same, with the anonymous pages after them (p_memsz > p_filesz)."""
        start, end = self.file_pages(page)
        return start, max(end, -(-(self.vaddr + self.memsz) // page) * page)


class Image:
    """The headers of one file.

    Attributes:
        build_id: b"" if it has none.
        type, machine: e_type, e_machine.
        loads: the PT_LOAD segments.
        relro: address and size of PT_GNU_RELRO; None without it.
        sections: those with SHF_ALLOC.
        head: bytes of the ELF and program headers, at the start of the file.
    """

    __slots__ = ("build_id", "head", "loads", "machine", "relro", "sections", "type")

    def __init__(self, elf: ElfFile, *, in_memory: bool = False) -> None:
        header = elf.header
        self.type, self.machine = header.e_type, header.e_machine
        self.build_id = build_id(elf, in_memory=in_memory)
        self.loads: list[Load] = []
        self.relro: tuple[int, int] | None = None
        for kind, flags, offset, vaddr, _, filesz, memsz, _ in elf.raw_segments():
            if kind == PT_LOAD and memsz:
                if len(self.loads) == MOST_LOADS:
                    fail(elf.source.path, f"more than {MOST_LOADS} segments in memory")
                self.loads.append(Load(offset, vaddr, filesz, max(filesz, memsz), flags))
            elif kind == PT_GNU_RELRO:
                self.relro = vaddr, memsz
        self.loads.sort(key=lambda load: load.vaddr)
        self.head = elf.layout.ehdr.size + 16
        if header.e_phoff == self.head:
            self.head += elf.phnum * elf.layout.phdr.size
        self.sections = list(self._sections(elf))

    def _sections(self, elf: ElfFile) -> list[Section]:
        found: list[Section] = []
        spans = [(load.vaddr, load.vaddr + load.memsz) for load in self.loads]
        starts = [start for start, _ in spans]
        for shdr in elf.sections[1:]:
            if not shdr.sh_flags & SHF_ALLOC:
                continue
            fields = (
                shdr.sh_name, shdr.sh_type, shdr.sh_flags, shdr.sh_addr,
                shdr.sh_offset, shdr.sh_size,
            )  # fmt: skip
            within = bisect_right(starts, shdr.sh_addr) - 1
            thread_bss = shdr.sh_type == SHT_NOBITS and shdr.sh_flags & SHF_TLS
            loaded = (
                within >= 0
                and shdr.sh_addr + shdr.sh_size <= spans[within][1]
                # The memory of .tbss is each thread's own; its addresses are others' here.
                and not (thread_bss and shdr.sh_size)
            )
            if len(found) == MOST_SECTIONS:
                fail(elf.source.path, f"more than {MOST_SECTIONS} sections in memory")
            found.append(
                Section(
                    shdr.name[:LONGEST_NAME],
                    shdr.sh_addr,
                    shdr.sh_size,
                    shdr.sh_type,
                    shdr.sh_flags,
                    COUNTS_AS[berkeley(section_flags(fields, b""))],
                    loaded,
                )
            )
        return found

    def sums(self) -> tuple[int, int, int]:
        """Text, data and bss, as GNU size counts them."""
        found = dict.fromkeys(COUNTS_AS, 0)
        for section in self.sections:
            found[section.counts_as] += section.size
        return found["text"], found["data"], found["bss"]


# ---- reading and keeping ---------------------------------------------------


class MemorySource(Source):
    """An image in memory, read as a file: offset 0 is where it starts.

    Args:
        read: gives bytes at an address.
        start, size: where it lies.
        path: named in errors.
    """

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[int, int], bytes], start: int, size: int, path: str) -> None:
        super().__init__(-1, start, size, path)
        self._read = read

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the image; fewer where it ends."""
        if not 0 <= offset < self.size or size <= 0:
            return b""
        return self._read(self.start + offset, min(size, self.size - offset))


Identity = tuple[int, ...]

_kept: dict[Identity, Image | str] = {}


def kept_image(identity: Identity) -> Image | str | None:
    """What is cached of a file: its headers, or why they can't be read, or nothing yet.

    Args:
        identity: device, inode, size and mtime in ns.
    """
    return _kept.get(identity)


def image_of(source: Source, identity: Identity | None = None, *, in_memory: bool = False) -> Image:
    """The headers of an open file, which are kept.

    Raises:
        ElfError: it is no ELF file, or a damaged one.
        OSError
    """
    kept = _kept.get(identity) if identity else None
    if isinstance(kept, str):
        fail(source.path, kept)
    if kept is not None:
        return kept
    made: Image | str
    try:
        made = Image(ElfFile(source), in_memory=in_memory)
    except ValueError as error:  # ElfError, whose import costs more than reading headers
        made = reason_of(error)
    if identity:
        taken = sum(len(each.sections) for each in _kept.values() if isinstance(each, Image))
        if len(_kept) >= KEPT or taken > limits.PROCESS_SECTIONS:
            _kept.clear()
        _kept[identity] = made
    if isinstance(made, str):
        fail(source.path, made)
    return made


def reason_of(error: Exception) -> str:
    """The reason of an error, without the path."""
    return str(getattr(error, "reason", None) or error)


# ---- where it was put ------------------------------------------------------


def place(image: Image, regions: Sequence[Region], page: int) -> list[int]:
    """The load bias of each time that a file was loaded, by its regions.

    A file page that two segments share is mapped twice, so a region alone does not show
    which segment it is. Every segment proposes a bias for every region; the bias that
    puts all segments where regions of the right offset are is the true one.

    Args:
        image: of the file.
        regions: all regions of the file in one process, ascending.
        page: the page size, in bytes.

    Returns:
        What is added to p_vaddr; nothing if the file is mapped as plain data only.
    """
    loads = [load for load in image.loads if load.filesz][:LOADS_TRIED]
    usual = [load for load in loads if load.offset % page == load.vaddr % page]
    if not usual:
        return []
    starts = [region.start for region in regions]
    proposers = {usual[0]}
    for bit in (PF_X, PF_W):
        proposers.update([load for load in usual if load.flags & bit][:1])

    def found(load: Load, bias: int) -> Region | None:
        address = bias + load.vaddr // page * page
        index = bisect_right(starts, address) - 1
        if index < 0 or address not in regions[index]:
            return None
        offset = regions[index].offset + address - regions[index].start
        return regions[index] if offset == load.offset // page * page else None

    scores: dict[int, int] = {}
    for region in regions:
        for load in proposers:
            first = load.offset // page * page
            if region.offset < load.offset + load.filesz and first < region.offset + region.size:
                bias = region.start - region.offset + first - load.vaddr // page * page
                if bias not in scores:
                    scores[bias] = sum(found(each, bias) is not None for each in usual)
    places: list[int] = []
    taken: set[int] = set()
    for bias in sorted(scores, key=lambda bias: (-scores[bias], bias)):
        if scores[bias] < min(2, len(usual)):
            break
        at = [(load, found(load, bias)) for load in usual]
        addresses = {bias + load.vaddr // page * page for load, region in at if region is not None}
        if not taken & addresses and is_loaded(at, regions, bias, page):
            taken |= addresses
            places.append(bias)
    return sorted(places)


def is_loaded(
    at: Sequence[tuple[Load, Region | None]], regions: Sequence[Region], bias: int, page: int
) -> bool:
    """Whether the segments were mapped to be run, rather than the file to be read as data."""
    for load, region in at:
        if region is None:
            continue
        if load.flags & PF_W:
            # A writable segment has a region of its own: it starts one, and is private.
            return region.perms.private and region.start == bias + load.vaddr // page * page
    for load, region in at:
        if region is not None and load.flags & PF_X:
            start, end = (bias + edge for edge in load.file_pages(page))
            return any(
                each.perms.execute for each in regions if each.start < end and start < each.end
            )
    return any(region is not None for _, region in at)
