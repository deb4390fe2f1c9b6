"""Notes of ELF files: the build-id, which names one output of a linker."""

from __future__ import annotations

from struct import Struct

from procmem.elf.spec import NT_GNU_BUILD_ID, PT_NOTE, SHT_NOTE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.elf.headers import ElfFile

__all__ = ["build_id", "notes_in"]

HELD = 1 << 16
"""Bytes of one segment or section of notes that are read."""

TRIED = 64
"""Segments or sections of notes that are searched."""

LONGEST = 64
"""Bytes of a build-id: ld's longest style has 20."""


def notes_in(data: bytes, order: str, align: int) -> Iterator[tuple[bytes, int, bytes]]:
    """Owner, type and description of each note, as far as they are whole.

    Args:
        data: the bytes of a note segment or section.
        order: "<" or ">".
        align: of the segment; 8 pads to 8 bytes, all else to 4 (elf(5)).
    """
    unpack = Struct(order + "III").unpack_from
    step = 8 if align == 8 else 4
    at = 0
    while at + 12 <= len(data):
        namesz, descsz, kind = unpack(data, at)
        desc = at + -(-(12 + namesz) // step) * step
        if desc + descsz > len(data):
            return
        yield data[at + 12 : at + 12 + namesz].rstrip(b"\0"), kind, data[desc : desc + descsz]
        at = desc + -(-descsz // step) * step


def build_id(elf: ElfFile, *, in_memory: bool = False) -> bytes:
    """The build-id of a file; b"" if it has none.

    Args:
        elf: its headers.
        in_memory: it is read as it lies in memory: only what is mapped, by its p_vaddr.

    Raises:
        ElfError, OSError: as of ElfFile.
    """
    found: list[tuple[int, int, int]] = []
    base = None
    for kind, _, offset, vaddr, _, filesz, _, align in elf.raw_segments():
        if kind == 1 and base is None:
            base = vaddr - offset
        if kind == PT_NOTE:
            found.append((vaddr - (base or 0) if in_memory else offset, filesz, align))
    if not found and not in_memory:
        table = elf.layout.shdr.iter_unpack(elf.section_table())
        found = [(s[4], s[5], s[8]) for s in table if s[1] == SHT_NOTE]
    for offset, size, align in found[:TRIED]:
        data = elf.source.read(offset, min(size, HELD))
        for owner, kind, description in notes_in(data, elf.layout.order, align):
            if owner == b"GNU" and kind == NT_GNU_BUILD_ID and len(description) <= LONGEST:
                return description
    return b""
