"""ELF files and archives made by hand, field by field, right and wrong ones."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

__all__ = ["Section", "Segment", "archive", "elf", "member"]

SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA = 0, 1, 2, 3, 4
SHT_NOTE, SHT_NOBITS, SHT_REL = 7, 8, 9
WRITE, ALLOC, EXEC = 1, 2, 4


@dataclass
class Section:
    """One section; `fields` overrides what would be written for it."""

    name: str = ""
    type: int = SHT_PROGBITS
    flags: int = 0
    data: bytes = b""
    addr: int = 0
    link: int = 0
    info: int = 0
    align: int = 1
    entsize: int = 0
    fields: dict[str, int] = field(default_factory=dict)


@dataclass
class Segment:
    """One program header."""

    type: int = 1
    flags: int = 4
    offset: int = 0
    vaddr: int = 0
    filesz: int = 0
    memsz: int = 0
    align: int = 1


SECTION_FIELDS = "name type flags addr offset size link info align entsize".split()


def elf(
    sections: list[Section] | None = None,
    segments: list[Segment] | None = None,
    *,
    bits: int = 64,
    order: str = "<",
    type: int = 1,  # noqa: A002 - e_type
    machine: int | None = None,
    names: bool = True,
    tail: bytes = b"",
    **header: int,
) -> bytes:
    """An ELF file: header, program headers, contents, section headers.

    A null section is put before the sections, and .shstrtab behind them unless
    `names` is False; `header` overrides fields of the ELF header by name
    without "e_", and bytes of e_ident as ident_4 and so on.
    """
    wide = bits == 64
    word = "Q" if wide else "I"
    ehsize, phentsize, shentsize = (64, 56, 64) if wide else (52, 32, 40)
    if machine is None:
        machine = 62 if wide else 3
    body = bytearray()
    start = ehsize + phentsize * len(segments or [])
    headers: list[bytes] = []
    every: list[Section] = []
    if sections is not None:
        every = [Section(type=SHT_NULL), *sections]
        if names:
            every.append(Section(".shstrtab", SHT_STRTAB))
    strings = bytearray(b"\0")
    offsets = []
    for one in every:
        offsets.append(len(strings) if one.name else 0)
        if one.name:
            strings += one.name.encode("latin-1") + b"\0"
    if every and names:
        every[-1].data = bytes(strings)
    for one, name in zip(every, offsets, strict=True):
        at = start + len(body) if one.type != SHT_NULL else 0
        size = len(one.data)
        if one.type != SHT_NOBITS:
            body += one.data
        values = dict(
            zip(
                SECTION_FIELDS,
                (
                    *(name, one.type, one.flags, one.addr, at, size),
                    *(one.link, one.info, one.align if one.type else 0, one.entsize),
                ),
                strict=True,
            )
        )
        values.update(one.fields)
        headers.append(struct.pack(order + "II" + word * 4 + "II" + word * 2, *values.values()))
    while (start + len(body)) % 8:
        body.append(0)
    shoff = start + len(body) if every else 0
    table = b"".join(headers)
    values = {
        "type": type,
        "machine": machine,
        "version": 1,
        "entry": 0,
        "phoff": ehsize if segments else 0,
        "shoff": shoff,
        "flags": 0,
        "ehsize": ehsize,
        "phentsize": phentsize if segments else 0,
        "phnum": min(len(segments or []), 0xFFFF),
        "shentsize": shentsize,
        "shnum": len(every),
        "shstrndx": len(every) - 1 if every and names else 0,
    }
    ident = bytearray(b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]))
    ident += bytes(16 - len(ident))
    for key, value in header.items():
        if key.startswith("ident_"):
            ident[int(key[6:])] = value
        else:
            assert key in values, key
            values[key] = value
    head = bytes(ident) + struct.pack(order + "HHI" + word * 3 + "IHHHHHH", *values.values())
    programs = bytearray()
    for seg in segments or []:
        if wide:
            programs += struct.pack(
                order + "IIQQQQQQ", seg.type, seg.flags, seg.offset, seg.vaddr, 0,
                seg.filesz, seg.memsz, seg.align,
            )  # fmt: skip
        else:
            programs += struct.pack(
                order + "8I", seg.type, seg.offset, seg.vaddr, 0, seg.filesz, seg.memsz,
                seg.flags, seg.align,
            )  # fmt: skip
    return head + bytes(programs + body) + table + tail


def member(name: bytes, data: bytes, size: int | None = None) -> bytes:
    """One member of an archive, as it lies in the file; `name` is what the header says."""
    length = len(data) if size is None else size
    head = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name, 0, 0, 0, b"644", length)
    return head + data + (b"\n" if len(data) % 2 else b"")


def archive(*members: bytes, magic: bytes = b"!<arch>\n") -> bytes:
    """An archive of what member() made."""
    return magic + b"".join(members)
