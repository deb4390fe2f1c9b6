"""The sections that GNU size counts, from a file's headers.

GNU's tools don't see sections as the file has them: their library (BFD) makes
sections of its own of them, and refuses a file as a whole where one header
contradicts another. The rules were found by observation; tests compare each
with the installed size. Names don't count, but for NAMED below.
"""

from __future__ import annotations

from array import array
from struct import Struct

from procmem.elf.counting import (
    ALLOC,
    CODE_FLAG,
    CONTENTS,
    NOT_RECOGNIZED,
    OTHER,
    READONLY,
    berkeley,
    gnu,
)
from procmem.elf.headers import MOST, ElfFile
from procmem.elf.source import fail
from procmem.elf.spec import (
    ET_CORE,
    ET_DYN,
    ET_EXEC,
    ET_REL,
    SHF_ALLOC,
    SHF_EXCLUDE,
    SHF_EXECINSTR,
    SHF_GROUP,
    SHF_INFO_LINK,
    SHF_LINK_ORDER,
    SHF_MERGE,
    SHF_STRINGS,
    SHF_TLS,
    SHF_WRITE,
    SHN_COMMON,
    SHT_DYNSYM,
    SHT_GNU_VERSYM,
    SHT_GROUP,
    SHT_NOBITS,
    SHT_NOTE,
    SHT_NULL,
    SHT_PROGBITS,
    SHT_REL,
    SHT_RELA,
    SHT_RELR,
    SHT_SHLIB,
    SHT_STRTAB,
    SHT_SYMTAB,
    SHT_SYMTAB_SHNDX,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import ClassVar

__all__ = ["ObjectSections", "section_flags"]

NAMED = (
    b".debug",
    b".gnu.debuglto_.debug_",
    b".gnu.linkonce.wi.",
    b".zdebug",
    b".line",
    b".stab",
    b".gdb_index",
    b".note.gnu",
)
"""Sections that BFD gives a flag of its own for their name alone."""

EM_386, EM_IAMCU, EM_X86_64 = 3, 6, 62

SHN_X86_64_LCOMMON = 0xFF02
SYMBOLS_AT_ONCE = 4096
MOST_SYMBOLS = 1 << 23
"""Symbols that are asked whether they are common ones: some seconds' worth."""

DEEPEST = 200
"""Headers that lead to each other before they are counted: no linker makes more than three."""


class ObjectSections:
    """The sections that GNU's library makes of an object, an executable or a debug file.

    Args:
        elf: its headers.

    Attributes:
        warnings: what GNU says about the file on standard error, without the program's name.

    Raises:
        ElfError: GNU does not recognise the file.
        OSError
    """

    core = False
    command: bytes | None = None

    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.warnings: list[str] = []
        header, source = elf.header, elf.source
        self._made = array("I")
        self._size = elf.layout.shdr.size
        self._count = 0
        self._symtab = self._dynsym = 0
        if header.e_type == ET_CORE:
            fail(source.path, NOT_RECOGNIZED)
        self._check_header()
        if header.e_shoff:
            self._table = elf.section_table()
            self._count = elf.shnum
            self._check_names()
        self._check_segments()
        if header.e_shoff and elf.shstrndx:
            self._make_all()

    def _refuse(self) -> None:
        fail(self.elf.source.path, NOT_RECOGNIZED)

    def _check_header(self) -> None:
        elf, header = self.elf, self.elf.header
        if header.e_ident[6] != 1:
            self._refuse()
        if not header.e_shoff:
            if header.e_type == ET_REL or header.e_shnum:
                self._refuse()
            return
        if header.e_shoff < elf.layout.ehdr.size + 16 or header.e_shentsize != self._size:
            self._refuse()
        if not elf.shnum:
            self._refuse()

    def _check_names(self) -> None:
        elf = self.elf
        count, limit = self._count, elf.source.size
        beyond = False
        for index, fields in enumerate(elf.layout.shdr.iter_unpack(self._table)):
            if (
                index
                and fields[1] != SHT_NOBITS
                and (fields[4] > limit or fields[5] > limit - fields[4])
            ):
                beyond = True
            if fields[6] >= count and index and not self._is_place(fields[6]):
                self._refuse()
            if (
                fields[7] >= count
                and index
                and (fields[2] & SHF_INFO_LINK or fields[1] == SHT_REL or fields[1] == SHT_RELA)
            ):
                self._refuse()
        if beyond:
            self.warnings.append("has a section extending past end of file")
        index = elf.shstrndx
        if 0 < index < self._count and self._fields(index)[1] == SHT_STRTAB:
            return
        self.warnings.append("has a corrupt string table index")
        elf.shstrndx = 0

    def _is_place(self, link: int) -> bool:
        """Whether a link says "before" or "after all others" and names no section (Solaris)."""
        elf = self.elf
        machine = elf.header.e_machine
        return link in (0xFF00, 0xFF01) and (
            machine == EM_X86_64 or (machine in (EM_386, EM_IAMCU) and not elf.layout.is64)
        )

    def _check_segments(self) -> None:
        elf = self.elf
        size = elf.layout.phdr.size
        if elf.phnum * size > elf.source.size or (
            elf.phnum and elf.header.e_phoff > elf.source.size - elf.phnum * size
        ):
            self._refuse()
        if not self.warnings and elf.phnum:
            unpacker = elf.layout.phdr
            raw = elf.source.read(elf.header.e_phoff, elf.phnum * size)
            if any(fields[-1] & (fields[-1] - 1) for fields in unpacker.iter_unpack(raw)):
                self.warnings.append("has a program header with invalid alignment")

    def _fields(self, index: int) -> tuple[int, ...]:
        return self.elf.layout.shdr.unpack_from(self._table, index * self._size)

    # ---- making sections -------------------------------------------------------

    def _make_all(self) -> None:
        self._done = bytearray(self._count)
        self._linked: dict[int, list[int]] | None = None
        self._is_made = bytearray(self._count)
        self._groups: dict[int, list[int]] | None = None
        self._relocated: set[tuple[int, int]] = set()
        self._forgiven: set[int] = set()
        self._owner: dict[int, int] = {}
        self._marked: set[int] = set()
        self._joined = bytearray(self._count)
        self._joined_groups = bytearray(self._count)
        self._filled: set[int] = set()
        names = self._fields(self.elf.shstrndx)
        self._names_size = self._usable_names(names)
        for index in range(1, self._count):
            self._make(index, 0)
        self._check_made()

    def _usable_names(self, fields: tuple[int, ...]) -> int:
        """Bytes of the section names' table; 0 if it can't be read."""
        offset, size = fields[4], fields[5]
        limit = self.elf.source.size
        if not size or size > limit or offset > limit - size:
            return 0
        return size if self.elf.source.read(offset + size - 1, 1) == b"\0" else 0

    def _make(self, index: int, depth: int) -> None:
        """Makes the section of a header, after those that the header refers to."""
        state = self._done[index]
        if state == 2:
            return
        if state == 1 or depth > DEEPEST:
            self._refuse()
        self._done[index] = 1
        fields = self._fields(index)
        if fields[0] and fields[0] >= self._names_size:
            self._refuse()
        kind = fields[1]
        if kind in (SHT_PROGBITS, SHT_NOBITS):
            self._add(index, fields)
        elif kind in self._SPECIAL:
            self._SPECIAL[kind](self, index, fields, depth)
            if index in self._forgiven and not self._is_made[index] and self._symtab != index:
                self._done[index] = 0
                return
        else:
            self._add(index, fields)
        self._done[index] = 2

    def _add(self, index: int, fields: tuple[int, ...]) -> None:
        if fields[8] & -fields[8] == 1 << 63:
            self._refuse()
        self._made.append(index)
        self._is_made[index] = 1
        if fields[2] & SHF_GROUP or index in self._marked:
            self._join_group(index)

    def _null(self, _index: int, _fields: tuple[int, ...], _depth: int) -> None:
        """No section is made of it."""

    def _note(self, index: int, fields: tuple[int, ...], _depth: int) -> None:
        offset, size, limit = fields[4], fields[5], self.elf.source.size
        if size and (size > limit or offset > limit - size):
            self._refuse()
        self._add(index, fields)

    def _symbols(self, index: int, fields: tuple[int, ...], _depth: int) -> None:
        _, kind, flags, _, _, size, _, info, _, entsize = fields
        if entsize != self.elf.layout.sym.size:
            self._refuse()
        if info * entsize > size and index not in self._forgiven:
            if size:
                self._refuse()
            # An empty table with symbols: passed over when it is met first.
            self._forgiven.add(index)
            return
        if kind == SHT_SYMTAB:
            if self._symtab:
                return
            self._symtab = index
            if flags & SHF_ALLOC and self.elf.header.e_type == ET_DYN:
                self._add(index, fields)
        else:
            if self._dynsym:
                return
            self._dynsym = index
            self._add(index, fields)

    def _strings(self, index: int, fields: tuple[int, ...], depth: int) -> None:
        if index == self.elf.shstrndx:
            return
        if self._symtab and self._fields(self._symtab)[6] == index:
            return
        if self._dynsym and self._fields(self._dynsym)[6] == index:
            self._add(index, fields)
            return
        if not self._symtab or not self._dynsym:
            # Which table these strings belong to depends on the headers that link to them.
            for other in self._links_to(index):
                if other == index:
                    self._refuse()
                self._make(other, depth + 1)
                if self._symtab == other:
                    return
                if self._dynsym == other:
                    break
        self._add(index, fields)

    def _links_to(self, index: int) -> Sequence[int]:
        if self._linked is None:
            linked: dict[int, list[int]] = {}
            for other, fields in enumerate(self.elf.layout.shdr.iter_unpack(self._table)):
                if other and fields[6]:
                    linked.setdefault(fields[6], []).append(other)
            self._linked = linked
        return self._linked.get(index, ())

    def _relocations(self, index: int, fields: tuple[int, ...], depth: int) -> None:
        _, kind, flags, _, _, _, link, info, _, entsize = fields
        layout, count = self.elf.layout, self._count
        wanted = {
            SHT_REL: 16 if layout.is64 else 8,
            SHT_RELA: 24 if layout.is64 else 12,
            SHT_RELR: 8 if layout.is64 else 4,
        }[kind]
        if entsize != wanted:
            self._refuse()
        if link >= count:
            self._add(index, fields)
            return
        if link and self._fields(link)[1] in (SHT_SYMTAB, SHT_DYNSYM):
            self._make(link, depth + 1)
        linked_image = self.elf.header.e_type in (ET_EXEC, ET_DYN)
        if (
            (linked_image and flags & SHF_ALLOC)
            or kind == SHT_RELR
            or link != self._symtab
            or not info
            or info >= count
            or self._fields(info)[1] in (SHT_REL, SHT_RELA)
        ):
            self._add(index, fields)
            return
        self._make(info, depth + 1)
        if not self._is_made[info]:
            self._refuse()
        if (info, kind) in self._relocated:
            self._add(index, fields)
        self._relocated.add((info, kind))

    def _versions(self, index: int, fields: tuple[int, ...], _depth: int) -> None:
        if fields[9] != 2:
            self._refuse()
        self._add(index, fields)

    # ---- groups ----------------------------------------------------------------

    def _group(self, index: int, fields: tuple[int, ...], _depth: int) -> None:
        size = fields[5]
        if fields[9] != 4 or size < 4 or size % 4:
            self._refuse()
        self._add(index, fields)
        members = (self._groups or {}).get(index, ())
        if any(member < self._count and self._joined[member] for member in members):
            self._filled.add(index)

    def _read_groups(self) -> dict[int, list[int]]:
        """The members of all groups: GNU reads them at the first section that is in one."""
        groups: dict[int, list[int]] = {}
        source = self.elf.source
        unpacker = UNPACKERS[self.elf.layout.order]
        room = MOST
        for index, fields in enumerate(self.elf.layout.shdr.iter_unpack(self._table)):
            size = fields[5]
            if index and fields[1] == SHT_GROUP and fields[9] == 4 and size >= 8 and not size % 4:
                room -= size // 4
                if room < 0:
                    fail(source.path, f"groups of more than {MOST} sections")
                raw = source.read(fields[4], size)
                if len(raw) < size:
                    raw = b""
                members = [member for (member,) in unpacker.iter_unpack(raw[4:])]
                groups[index] = members
                for member in members:
                    if member < self._count and self._fields(member)[1] != SHT_GROUP:
                        self._marked.add(member)
                        self._owner.setdefault(member, index)
        return groups

    def _join_group(self, index: int) -> None:
        if self._groups is None:
            self._groups = self._read_groups()
            for group in self._groups:
                self._make(group, 1)
        owner = self._owner.get(index)
        if owner is None:
            return
        if not self._joined_groups[owner]:
            self._joined_groups[owner] = 1
            self._check_signature(self._fields(owner))
        self._joined[index] = 1
        if self._is_made[owner]:
            self._filled.add(owner)

    def _check_signature(self, group: tuple[int, ...]) -> None:
        """The symbol that names a group must be one that can be read."""
        fields = self._fields(group[6])
        if fields[1] != SHT_SYMTAB:
            self._refuse()
        self._make(group[6], 0)
        fields = self._fields(group[6])
        size = self.elf.layout.sym.size
        if len(self.elf.source.read(fields[4] + group[7] * size, size)) < size:
            self._refuse()

    _SPECIAL: ClassVar[dict[int, Callable[[ObjectSections, int, tuple[int, ...], int], None]]] = {
        SHT_NULL: _null,
        SHT_SHLIB: _null,
        SHT_SYMTAB_SHNDX: _null,
        SHT_NOTE: _note,
        SHT_SYMTAB: _symbols,
        SHT_DYNSYM: _symbols,
        SHT_STRTAB: _strings,
        SHT_REL: _relocations,
        SHT_RELA: _relocations,
        SHT_RELR: _relocations,
        SHT_GNU_VERSYM: _versions,
        SHT_GROUP: _group,
    }

    def _check_made(self) -> None:
        """Checks that need all sections: links to them, and groups."""
        for index in self._made:
            fields = self._fields(index)
            if fields[2] & SHF_LINK_ORDER and fields[6] and not self._is_made_at(fields[6]):
                self._refuse()
            if fields[1] == SHT_GROUP and index not in self._filled:
                self._refuse()
        for index, members in (self._groups or {}).items():
            if not self._is_made[index]:
                self._refuse()
            for member in members:
                if member < self._count and not self._is_made[member]:
                    kind = self._fields(member)[1]
                    if kind not in (SHT_REL, SHT_RELA, SHT_GROUP):
                        self._refuse()

    def _is_made_at(self, link: int) -> bool:
        return link < self._count and bool(self._is_made[link])

    # ---- what was made ---------------------------------------------------------

    def rows(self) -> Iterator[tuple[bytes, int, int, int]]:
        """Name, address, size and flags of each section, in GNU's order."""
        name_of = self.elf.section_name
        for index in self._made:
            fields = self._fields(index)
            name = name_of(fields[0])
            yield name, fields[3], fields[5], section_flags(fields, name)

    def sums(self) -> tuple[list[int], list[int]]:
        """Bytes of each kind, by NONE, CODE, DATA, BSS: in the Berkeley and the GNU view."""
        ours, theirs = [0, 0, 0, 0], [0, 0, 0, 0]
        for index in self._made:
            fields = self._fields(index)
            flags = fields[2]
            if flags & SHF_ALLOC:
                simple = section_flags(fields, b"")
                ours[berkeley(simple)] += fields[5]
                theirs[gnu(simple)] += fields[5]
        return ours, theirs

    def common(self) -> int:
        """Bytes of common symbols, for which the linker will make room in .bss.

        Raises:
            OSError
        """
        elf = self.elf
        if not self._symtab or elf.header.e_type in (ET_EXEC, ET_DYN):
            return 0
        fields = self._fields(self._symtab)
        symbol, offset = elf.layout.sym, fields[4]
        end = min(offset + fields[5] // symbol.size * symbol.size, elf.source.size)
        large = SHN_X86_64_LCOMMON if elf.header.e_machine == EM_X86_64 else SHN_COMMON
        total = 0
        at, most = offset + symbol.size, MOST_SYMBOLS
        while at < end and most > 0:
            raw = elf.source.read(at, min(end - at, SYMBOLS_AT_ONCE * symbol.size))
            raw = raw[: len(raw) // symbol.size * symbol.size]
            if not raw:
                break
            for one in symbol.iter_unpack(raw):
                place, length, kind = (
                    (one[3], one[5], one[1]) if elf.layout.is64 else (one[5], one[2], one[3])
                )
                if place in (SHN_COMMON, large) and kind & 15 not in (3, 4):
                    total += length
            at += len(raw)
            most -= SYMBOLS_AT_ONCE
        return total & (1 << 64) - 1


UNPACKERS = {order: Struct(order + "I") for order in "<>"}


def section_flags(fields: tuple[int, ...], name: bytes) -> int:
    """The flags that BFD has for a section header."""
    flags = fields[2]
    found = 0 if fields[1] == SHT_NOBITS else CONTENTS
    if flags & SHF_ALLOC:
        found |= ALLOC
    if not flags & SHF_WRITE:
        found |= READONLY
    if flags & SHF_EXECINSTR:
        found |= CODE_FLAG
    if flags & (SHF_MERGE | SHF_STRINGS | SHF_TLS | SHF_EXCLUDE) or (
        not found and name.startswith(NAMED)
    ):
        found |= OTHER
    return found
