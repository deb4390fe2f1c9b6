"""ELF headers as typed objects, by the specification's names.

Both classes and both byte orders. Counts are bounded by the file's size, and
by MOST; a header that claims more raises ElfError.
"""

from __future__ import annotations

from struct import Struct

from procmem.elf.source import fail, open_source
from procmem.elf.spec import (
    EI_CLASS,
    EI_DATA,
    EI_NIDENT,
    ELFMAG,
    PN_XNUM,
    PT_LOAD,
    SHN_UNDEF,
    SHN_XINDEX,
    SHT_NOBITS,
    SHT_NULL,
)

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from procmem.elf.source import Source

__all__ = ["Ehdr", "ElfFile", "Phdr", "Shdr", "open_elf"]

MOST = 1 << 18
"""Section or program headers of one file: four times what numbering without extension knows."""

LONGEST_NAME = 1 << 14
"""Bytes of a name: more is cut. Names that share their bytes could fill any memory."""

NAME_KEPT = 1 << 8

HELD = 1 << 20
"""Bytes of a string table that is read as a whole."""


class Encoding:
    """The structures of one class and byte order."""

    __slots__ = ("dyn", "ehdr", "is64", "order", "phdr", "shdr", "sym")

    def __init__(self, is64: bool, order: str) -> None:
        self.is64 = is64
        self.order = order
        self.ehdr = Struct(order + ("HHIQQQIHHHHHH" if is64 else "HHIIIIIHHHHHH"))
        self.shdr = Struct(order + ("IIQQQQIIQQ" if is64 else "10I"))
        self.phdr = Struct(order + ("IIQQQQQQ" if is64 else "8I"))
        self.sym = Struct(order + ("IBBHQQ" if is64 else "IIIBBH"))
        self.dyn = Struct(order + ("qQ" if is64 else "iI"))


_encodings: dict[tuple[int, int], Encoding] = {}


def encoding_of(head: bytes) -> Encoding | None:
    """The class and byte order that e_ident names; None: it names none."""
    key = head[EI_CLASS], head[EI_DATA]
    if key not in _encodings:
        if not (key[0] in (1, 2) and key[1] in (1, 2)):
            return None
        _encodings[key] = Encoding(key[0] == 2, "<" if key[1] == 1 else ">")
    return _encodings[key]


class Fields:
    """A header: its fields are attributes by the specification's names."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def _fields(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={getattr(self, name):#x}" for name in self.__match_args__)
        return f"{type(self).__name__}({said})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())


class Ehdr(Fields):
    """The ELF header (elf(5), Elf32_Ehdr and Elf64_Ehdr), its fields as they are in the file.

    Attributes:
        e_ident: bytes.
        e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize,
            e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx: int.
    """

    __match_args__ = (
        "e_type",
        "e_machine",
        "e_version",
        "e_entry",
        "e_phoff",
        "e_shoff",
        "e_flags",
        "e_ehsize",
        "e_phentsize",
        "e_phnum",
        "e_shentsize",
        "e_shnum",
        "e_shstrndx",
    )
    __slots__ = ("e_ident", *__match_args__)

    def __init__(self, e_ident: bytes, fields: tuple[int, ...]) -> None:
        self.e_ident = e_ident
        (
            self.e_type,
            self.e_machine,
            self.e_version,
            self.e_entry,
            self.e_phoff,
            self.e_shoff,
            self.e_flags,
            self.e_ehsize,
            self.e_phentsize,
            self.e_phnum,
            self.e_shentsize,
            self.e_shnum,
            self.e_shstrndx,
        ) = fields


class Shdr(Fields):
    """A section header (elf(5), Elf32_Shdr and Elf64_Shdr).

    Attributes:
        index: its number in the table.
        sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_info,
            sh_addralign, sh_entsize: int.
        name: the text that sh_name points to, read when it is asked for; bytes that are no
            UTF-8 are kept (surrogateescape), "" where there is none.
    """

    __match_args__ = (
        "sh_name",
        "sh_type",
        "sh_flags",
        "sh_addr",
        "sh_offset",
        "sh_size",
        "sh_link",
        "sh_info",
        "sh_addralign",
        "sh_entsize",
    )
    __slots__ = ("_elf", "_name", "index", *__match_args__)

    def __init__(self, elf: ElfFile, index: int, fields: tuple[int, ...]) -> None:
        self._elf = elf
        self._name: str | None = None
        self.index = index
        (
            self.sh_name,
            self.sh_type,
            self.sh_flags,
            self.sh_addr,
            self.sh_offset,
            self.sh_size,
            self.sh_link,
            self.sh_info,
            self.sh_addralign,
            self.sh_entsize,
        ) = fields

    @property
    def name(self) -> str:
        """Its name."""
        found = self._name
        if found is None:
            found = self._elf.section_name(self.sh_name).decode("utf-8", "surrogateescape")
            # Names that share their bytes could fill any memory.
            if len(found) < NAME_KEPT:
                self._name = found
        return found

    def data(self, limit: int = HELD) -> bytes:
        """Its bytes in the file, at most `limit`; none if it takes none there (SHT_NOBITS)."""
        if self.sh_type in (SHT_NOBITS, SHT_NULL):
            return b""
        return self._elf.source.read(self.sh_offset, min(self.sh_size, limit))


class Phdr(Fields):
    """A program header (elf(5), Elf32_Phdr and Elf64_Phdr).

    Attributes:
        index: its number in the table.
        p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align: int.
    """

    __match_args__ = (
        "p_type",
        "p_flags",
        "p_offset",
        "p_vaddr",
        "p_paddr",
        "p_filesz",
        "p_memsz",
        "p_align",
    )
    __slots__ = ("index", *__match_args__)

    def __init__(self, index: int, fields: tuple[int, ...]) -> None:
        self.index = index
        (
            self.p_type,
            self.p_flags,
            self.p_offset,
            self.p_vaddr,
            self.p_paddr,
            self.p_filesz,
            self.p_memsz,
            self.p_align,
        ) = fields


class ElfFile:
    """The headers of one ELF file, read from an open source as they are asked for.

    Args:
        source: it must stay open while this object is asked.

    Attributes:
        source: as given.
        header: the ELF header.
        shnum, phnum, shstrndx: the counts and the index, extended numbering resolved.

    Raises:
        ElfError: it is no ELF file, or its header is cut off.
        OSError
    """

    __slots__ = (
        "_sections",
        "_strings",
        "_table",
        "header",
        "layout",
        "phnum",
        "shnum",
        "shstrndx",
        "source",
    )

    def __init__(self, source: Source) -> None:
        self.source = source
        head = source.read(0, 64)
        if head[:4] != ELFMAG:
            fail(source.path, "not an ELF file")
        layout = encoding_of(head) if len(head) >= EI_NIDENT else None
        if layout is None:
            fail(source.path, "no known class or byte order in e_ident")
        if len(head) < EI_NIDENT + layout.ehdr.size:
            fail(source.path, "the ELF header is cut off")
        self.layout = layout
        self.header = header = Ehdr(head[:EI_NIDENT], layout.ehdr.unpack_from(head, EI_NIDENT))
        self.shnum, self.phnum, self.shstrndx = header.e_shnum, header.e_phnum, header.e_shstrndx
        self._table: bytes | None = None
        self._sections: list[Shdr] | None = None
        self._strings: tuple[int, int, bytes] | None = None
        if header.e_shoff and (
            not self.shnum or self.shstrndx == SHN_XINDEX or self.phnum == PN_XNUM
        ):
            first = self._first_section()
            if first is None:
                return
            if not self.shnum:
                self.shnum = first[5]
            if self.shstrndx == SHN_XINDEX:
                self.shstrndx = first[6]
            if self.phnum == PN_XNUM and first[7]:
                self.phnum = first[7]

    def _first_section(self) -> tuple[int, ...] | None:
        raw = self.source.read(self.header.e_shoff, self.layout.shdr.size)
        return self.layout.shdr.unpack(raw) if len(raw) == self.layout.shdr.size else None

    def section_table(self) -> bytes:
        """The section headers as they are in the file.

        Raises:
            ElfError: they are of another size than the class has, reach beyond the file, or
                are more than MOST.
            OSError
        """
        if self._table is None:
            self._table = self._headers(
                "section", self.header.e_shoff, self.shnum, self.header.e_shentsize,
                self.layout.shdr.size,
            )  # fmt: skip
        return self._table

    def _headers(self, what: str, offset: int, count: int, entsize: int, size: int) -> bytes:
        if not offset or not count:
            return b""
        if entsize != size:
            fail(self.source.path, f"{what} headers of {entsize} bytes instead of {size}")
        if count > self.source.size // size or offset > self.source.size - count * size:
            fail(self.source.path, f"{count} {what} headers reach beyond the end of the file")
        if count > MOST:
            fail(self.source.path, f"{count} {what} headers; at most {MOST} are read")
        raw = self.source.read(offset, count * size)
        if len(raw) < count * size:
            fail(self.source.path, "the file was cut short while it was read")
        return raw

    def raw_segments(self) -> Iterator[tuple[int, ...]]:
        """The fields of each program header, in the order of Elf64_Phdr.

        Raises:
            ElfError, OSError: as section_table().
        """
        header, layout = self.header, self.layout
        raw = self._headers(
            "program", header.e_phoff, self.phnum, header.e_phentsize, layout.phdr.size
        )
        found = layout.phdr.iter_unpack(raw)
        if layout.is64:
            return found
        # p_flags moved between the classes.
        return ((a, g, b, c, d, e, f, h) for a, b, c, d, e, f, g, h in found)

    @property
    def segments(self) -> list[Phdr]:
        """The program headers, in the order of the file.

        Raises:
            ElfError, OSError: as section_table().
        """
        return [Phdr(index, fields) for index, fields in enumerate(self.raw_segments())]

    @property
    def sections(self) -> list[Shdr]:
        """The section headers, in the order of the file; the null section is the first.

        Raises:
            ElfError, OSError: as section_table().
        """
        if self._sections is None:
            found = self.layout.shdr.iter_unpack(self.section_table())
            self._sections = [Shdr(self, index, fields) for index, fields in enumerate(found)]
        return self._sections

    def loads(self) -> list[Phdr]:
        """The segments that are mapped: PT_LOAD."""
        return [segment for segment in self.segments if segment.p_type == PT_LOAD]

    def section_name(self, offset: int) -> bytes:
        """The name at an offset of the section names' table; b"" where there is none."""
        if self._strings is None:
            self._strings = (0, 0, b"")
            table, size = self.section_table(), self.layout.shdr.size
            if SHN_UNDEF < self.shstrndx < len(table) // size:
                fields = self.layout.shdr.unpack_from(table, self.shstrndx * size)
                length = min(fields[5], self.source.size)
                held = self.source.read(fields[4], length) if length <= HELD else b""
                self._strings = (fields[4], length, held)
        start, length, held = self._strings
        if offset >= length:
            return b""
        if held:
            end = held.find(b"\0", offset, offset + LONGEST_NAME)
            # A table without the last NUL loses its last byte, as with GNU.
            return held[offset : min(offset + LONGEST_NAME, len(held) - 1) if end < 0 else end]
        room = min(LONGEST_NAME, length - offset - 1)
        short = self.source.read(start + offset, min(room, 128))
        if b"\0" not in short and room > 128:
            short = self.source.read(start + offset, room)
        return short.partition(b"\0")[0]

    def close(self) -> None:
        """Closes the source."""
        self.source.close()

    def __enter__(self) -> ElfFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_elf(path: str | os.PathLike[str]) -> ElfFile:
    """The headers of an ELF file; close it, or use it as a context manager.

    Raises:
        ElfError, OSError
    """
    source = open_source(path)
    try:
        return ElfFile(source)
    except BaseException:
        source.close()
        raise
