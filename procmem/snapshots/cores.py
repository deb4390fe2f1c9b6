"""A Moment of an ELF core: what was mapped when the process died."""

from __future__ import annotations

import os
from struct import Struct, error

from procmem.elf.cores import INFO, NT_FILE, NT_PRPSINFO
from procmem.elf.headers import ElfFile, open_elf
from procmem.elf.notes import notes_in
from procmem.elf.spec import PF_W, PF_X, PT_LOAD, PT_NOTE
from procmem.regions.region import plain_line
from procmem.regions.text import parse_maps
from procmem.snapshots.moment import Identity, Moment, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from procmem.regions import RegionTable

__all__ = ["load_core"]

ET_CORE = 4
PF_R = 4
LETTERS = ((PF_R, b"r"), (PF_W, b"w"), (PF_X, b"x"))
HELD = 1 << 26
"""Bytes of notes that are read at most: NT_FILE of 65,536 mapped files takes about 6 MB."""

MISSING = {
    "perms": "a core does not show which memory is shared: all regions have p",
    "dev, inode": "a core has only the paths of files",
    "memory": "a core has no totals of the kernel",
    "faults": "a core does not tell them",
    "threads": "not read from cores",
}


def load_core(path: str | os.PathLike[str]) -> Moment:
    """The regions of a core: their addresses from PT_LOAD, their files from NT_FILE.

    The kernel writes a program header for each region; gdb's gcore leaves some out. Regions that
    are only in NT_FILE are listed without permissions. [vsyscall] is in no core.

    Raises:
        ElfError: it is no core, or it is damaged.
        OSError

    Source: core(5); fs/binfmt_elf.c, fill_files_note().
    """
    from procmem.errors import ElfError

    with open_elf(path) as elf:
        if elf.header.e_type != ET_CORE:
            raise ElfError(
                path, "an ELF file, but no core: only cores have the memory of a process"
            )
        files: list[tuple[int, int, int, bytes]] = []
        pid = comm = arguments = None
        for owner, kind, data in notes_of(elf):
            if owner == b"CORE" and kind == NT_FILE:
                files = mapped_files(elf, data, path)
            elif owner == b"CORE" and kind == NT_PRPSINFO and len(data) in INFO:
                at, name, words = INFO[len(data)]
                pid = int.from_bytes(
                    data[at : at + 4], "little" if elf.layout.order == "<" else "big"
                )
                comm = text(data[name : name + 16].split(b"\0")[0])
                arguments = text(data[words : words + 80].split(b"\0")[0])
        table, bare = core_table(elf, files, os.fspath(path))
    if not len(table):
        raise ElfError(path, "a core without a PT_LOAD segment: it has no regions")
    missing = dict(MISSING)
    if bare:
        missing["perms of files"] = (
            f"{bare} mappings of files have no segment in this core: shown without permissions"
        )
    if arguments is not None:
        missing["cmdline"] = f"a core keeps 80 bytes of it: {arguments}"
    return Moment(
        table,
        identity=Identity(pid, None, None, comm, table.exe, None),
        unavailable=missing,
        source=os.fspath(path),
    )


def notes_of(elf: ElfFile) -> list[tuple[bytes, int, bytes]]:
    return [
        note
        for kind, _, offset, _, _, size, _, align in elf.raw_segments()
        if kind == PT_NOTE
        for note in notes_in(elf.source.read(offset, min(size, HELD)), elf.layout.order, align)
    ]


def mapped_files(
    elf: ElfFile, data: bytes, path: str | os.PathLike[str]
) -> list[tuple[int, int, int, bytes]]:
    """Start, end, offset in bytes and path of each mapping in NT_FILE."""
    from procmem.errors import ElfError

    word = "Q" if elf.layout.is64 else "I"
    try:
        count, page = Struct(f"{elf.layout.order}2{word}").unpack_from(data)
        three = Struct(f"{elf.layout.order}3{word}")
        base = 2 * three.size // 3
        if count > (len(data) - base) // three.size:
            raise ElfError(path, f"NT_FILE tells of {count} mappings, and is too short for them")
        rows = [three.unpack_from(data, base + i * three.size) for i in range(count)]
    except error as damage:
        raise ElfError(path, f"NT_FILE is damaged: {damage}") from damage
    names = data[base + count * three.size :].split(b"\0")
    if len(names) < count:
        raise ElfError(path, "NT_FILE has fewer names than mappings")
    return [(s, e, o * page, name) for (s, e, o), name in zip(rows, names, strict=False)]


def core_table(
    elf: ElfFile, files: list[tuple[int, int, int, bytes]], source: str
) -> tuple[RegionTable[Any], int]:
    """The regions, and how many of them have no segment and so no known permissions."""
    from procmem.regions.kinds import Kind, RegionKind

    by_start = {start: (offset, name) for start, _, offset, name in files}
    found = [
        (
            start,
            start + size,
            b"".join(letter if flags & bit else b"-" for bit, letter in LETTERS) + b"p",
        )
        for kind, flags, _, start, _, _, size, _ in elf.raw_segments()
        if kind == PT_LOAD and size
    ]
    covered = {start for start, _, _ in found}
    # gdb's gcore writes no header for what can be read from the file; the kernel does.
    bare = {start for start, end, _, _ in files if start not in covered and end > start}
    found += [(start, end, b"---p") for start, end, _, _ in files if start in bare]
    inodes: dict[bytes, int] = {}
    lines: list[bytes] = []
    guess: list[bytes] = []
    for start, end, perms in sorted(found):
        offset, name = by_start.get(start, (0, b""))
        name = name.replace(b"\n", b"\\012")
        inode = inodes.setdefault(name, len(inodes) + 1) if name else 0
        lines.append(plain_line(start, end, perms, offset, (0, 0), 0, name))
        guess.append(plain_line(start, end, perms, offset, (0, 0), inode, name))
    # Kinds depend on the other regions of the same file: made-up inodes stand for the names.
    table, told = (
        parse_maps(b"".join(line + b"\n" for line in text), source=source)
        for text in (lines, guess)
    )
    for index, region in enumerate(told):
        kind = told.reading.kind(index)
        if region.start in bare:
            kind = Kind(RegionKind.FILE, None, "name", region.name)
        table.reading.retell(index, kind)
    return table, len(bare)
