"""ELF files and archives made by hand, field by field, right and wrong ones."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FILES", "SECTIONS", "Section", "Segment", "archive", "elf", "member", "put"]

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

    A null section is put before the sections, and .shstrtab after them unless
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
    """One member of an archive, as it is in the file; `name` is the header's."""
    length = len(data) if size is None else size
    head = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name, 0, 0, 0, b"644", length)
    return head + data + (b"\n" if len(data) % 2 else b"")


def archive(*members: bytes, magic: bytes = b"!<arch>\n") -> bytes:
    """An archive of what member() made."""
    return magic + b"".join(members)


OBJECT = elf(
    [
        Section(".text", 1, 6, b"abcd"),
        Section(".rela.text", 4, 0x40, bytes(24), 0, 4, 1, 8, 24),
        Section(".data", 1, 3, b"abc"),
        Section(".symtab", 2, 0, bytes(24) + struct.pack("<IBBHQQ", 1, 17, 0, 0xFFF2, 4, 100),
                0, 5, 1, 8, 24),
        Section(".strtab", 3, 0, b"\0common\0"),
        Section(".note", 7, 2, struct.pack("<III", 4, 4, 1) + b"GNU\0abcd"),
        Section(".bss", 8, 3, b"123"),
        Section(".dynstr", 3, 2, b"123"),
        Section(".dynsym", 11, 2, bytes(48), 0, 8, 1, 8, 24),
    ]
)  # fmt: skip


def group() -> bytes:
    """An object with a section group, whose sections come before it."""
    return elf(
        [
            Section(".text.f", 1, 0x206, b"abcd"),
            Section(".rodata.f", 1, 0x202, b"ab"),
            Section(".group", 17, 0, struct.pack("<III", 1, 1, 2), 0, 4, 1, 4, 4),
            Section(".symtab", 2, 0, bytes(48), 0, 5, 1, 8, 24),
            Section(".strtab", 3, 0, b"\0"),
        ]
    )


def core(threads: int = 2) -> bytes:
    """A core file with the notes that Linux writes."""

    def note(name: bytes, kind: int, data: bytes) -> bytes:
        head = struct.pack("<III", len(name), len(data), kind)
        return head + name.ljust(-(-len(name) // 4) * 4, b"\0") + data + bytes(-len(data) % 4)

    info = bytes(24) + struct.pack("<i", 99) + bytes(28) + b"a b ".ljust(80, b"\0")
    notes = note(b"CORE\0", 3, info)
    for i in range(threads):
        notes += note(b"CORE\0", 1, bytes(32) + struct.pack("<i", 77 + i) + bytes(300))
        notes += note(b"CORE\0", 2, bytes(512)) + note(b"LINUX\0", 0x202, bytes(20))
        notes += note(b"CORE\0", 0x53494749, bytes(128))
    notes += note(b"CORE\0", 6, bytes(32)) + note(b"CORE\0", 0x46494C45, bytes(60))
    at = 64 + 56 * 5
    segments = [
        Segment(4, 4, at, 0, len(notes), 0, 4),
        Segment(1, 5, at, 0x1000, 100, 100),
        Segment(1, 6, at, 0x2000, 100, 300),
        Segment(1, 4, at, 0x4000, 0, 300),
        Segment(1, 6, at, 0xFFFFFFFFFF600000, 10, 10),
    ]
    return elf(None, segments, type=4, tail=notes)


FILES = {
    "object.o": OBJECT,
    "group.o": group(),
    "core": core(),
    "none": elf(None, type=2),
    "empty-table": elf([]),
    "short": elf([Section(".a", 1, 2, b"x")]),
    "nameless": elf([Section("", 1, 2, b"x")]),
    "odd-name": elf([Section(".\xff\x01name", 1, 6, b"abc")]),
    "high": elf([Section(".a", 1, 2, addr=(1 << 64) - 1, fields={"size": (1 << 64) - 1})]),
    "wrap": elf([Section(f".{i}", 8, 3, fields={"size": (1 << 63) + i}) for i in range(3)]),
    "big32.o": elf([Section(".a", 1, 6, b"abc")], bits=32, order=">", machine=20),
    "big64.o": elf([Section(".a", 1, 6, b"abc")], order=">", machine=21),
    "arm.o": elf([Section(".a", 1, 6, b"abc"), Section(".b", 8, 3, b"a")], bits=32, machine=40),
    "riscv.so": elf([Section(".a", 1, 6, b"abc")], [Segment()], machine=243, type=3),
    "relr": elf([Section(".relr", 19, 2, bytes(16), entsize=8)], type=3),
    "loaded": elf([Section(".a", 1, 6, b"a")], [Segment(1, 5, 0, 0, 99, 99)], type=2),
    "past": elf([Section(".a", 1, 6, b"abc", fields={"size": 9999})]),
    "align": elf([Section(".a", 1, 6, b"abc")], [Segment(align=3)], type=2),
    "strtab": elf([Section(".a", 1, 6, b"abc")], shstrndx=1),
    "text": b"hello\n",
    "zero": b"",
    "lib.a": archive(
        member(b"//", b"a_long_name_for_a_member.o/\n"),
        member(b"object.o/", OBJECT),
        member(b"/0", OBJECT + b"x"),
        member(b"text/", b"hello\n"),
        member(b"#1/8", b"bsd name" + OBJECT),
        member(b"inner.a/", archive(member(b"object.o/", OBJECT))),
    ),
    "thin.a": archive(
        member(b"//", b"object.o/\nlib.a/\nsub/../short/\n"),
        member(b"/0", b"", size=9),
        member(b"/10", b"", size=9),
        member(b"/17", b"", size=9),
        magic=b"!<thin>\n",
    ),
    "missing.a": archive(
        member(b"//", b"gone.o/\n"), member(b"/0", b"", size=9), magic=b"!<thin>\n"
    ),
    "cut.a": archive(member(b"object.o/", OBJECT))[:600],
    "bad.a": archive(member(b"object.o/", OBJECT), b"x" * 60),
    "noend.a": archive(member(b"object.o/", OBJECT), member(b"o/", OBJECT, size=10**10 - 1)),
    "negative.a": archive(member(b"o/", OBJECT).replace(b"%-10d" % len(OBJECT), b"-100      ")),
    "only.a": archive(),
    "names.a": archive(
        *(member(name, OBJECT) for name in (b"a b.o/", b"a b", b"", b"abcdefghijklmnop", b"x\0y"))
    ),
}


SECTIONS = [Section(".text", 1, 6, b"abcd", addr=0x1000), Section(".bss", SHT_NOBITS, 3, b"12345")]


def put(folder: Path, data: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    return path
