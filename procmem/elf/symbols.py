"""Symbols of ELF files: which function or variable an address belongs to.

The tables are read by struct, as headers are: a library has thousands of symbols, and
pyelftools takes tens of microseconds for each. Names are decoded when they are asked for.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from operator import itemgetter
from struct import Struct

from procmem.elf.spec import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_TLS,
    SHN_LORESERVE,
    SHN_UNDEF,
    SHT_DYNSYM,
    SHT_NOBITS,
    SHT_RELA,
    SHT_SYMTAB,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from procmem.elf.headers import ElfFile, Shdr

__all__ = ["SymbolTable", "functions_named"]

NOTYPE, OBJECT, FUNC, GNU_IFUNC = 0, 1, 2, 10
LOCAL, GLOBAL, WEAK = 0, 1, 2
EM_ARM, EM_X86_64 = 40, 62
R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT = 6, 7
RELA = Struct("<QQq")
JUMP = re.compile(rb"\xff\x25(....)", re.DOTALL)
"""jmp *displacement(%rip), by which an entry of a PLT goes on to the function."""

PLT_ENTRIES = 16, 8
"""Bytes of an entry; the first where sh_entsize does not tell."""

BINDINGS = {GLOBAL: 2, WEAK: 1}

STEPS_BACK = 1000
"""Symbols that are looked at for one address: those that nest are few in a sound table."""

LONGEST_NAME = 1 << 16

Entry = tuple[int, int, int, int, int]
"""Value, rank, size, string table and offset in it. Of an entry of a PLT the table's number is
inverted (~)."""


class SymbolTable:
    """The defined functions and variables of some files that are one object.

    Args:
        files: such as a stripped library and its debug file; they may be closed afterwards.

    Raises:
        ElfError, OSError: as of ElfFile.
    """

    __slots__ = ("_entries", "_reach", "_sections", "_strings", "_values")

    def __init__(self, files: Iterable[ElfFile]) -> None:
        self._strings: list[bytes] = []
        self._sections: list[tuple[int, int, str]] = []
        found: set[Entry] = set()
        for elf in files:
            sections = elf.sections
            if not self._sections:
                self._sections = sorted(
                    (section.sh_addr, section.sh_addr + section.sh_size, section.name[:256])
                    for section in sections
                    if section.sh_flags & SHF_ALLOC
                    and section.sh_size
                    and not (section.sh_flags & SHF_TLS and section.sh_type == SHT_NOBITS)
                )
            for section in sections:
                if section.sh_type in (SHT_SYMTAB, SHT_DYNSYM):
                    found.update(self._read(elf, sections, section))
            if elf.header.e_machine == EM_X86_64 and elf.layout.order == "<" and elf.layout.is64:
                found.update(self._read_plt(elf, sections))
        # The best of those with one value is the last, where the search starts.
        self._entries = sorted(found)
        self._values = list(map(itemgetter(0), self._entries))
        self._reach: list[int] = []
        reach = 0
        for value, _, size, _, _ in self._entries:
            reach = max(reach, value + size)
            self._reach.append(reach)

    def __len__(self) -> int:
        return len(self._entries)

    def _read(self, elf: ElfFile, sections: list[Shdr], table: Shdr) -> Iterator[Entry]:
        layout, source = elf.layout, elf.source
        if table.sh_link >= len(sections):
            return
        strings = sections[table.sh_link].data(source.size)
        number = len(self._strings)
        self._strings.append(strings)
        raw = table.data(source.size)
        whole = len(raw) // layout.sym.size * layout.sym.size
        is_arm = elf.header.e_machine == EM_ARM
        for fields in layout.sym.iter_unpack(raw[:whole]):
            if layout.is64:
                name, info, _, index, value, size = fields
            else:
                name, value, size, info, _, index = fields
            kind = info & 15
            if (
                index == SHN_UNDEF
                # Absolute and common symbols are no addresses; SHN_XINDEX is one of a section.
                or (SHN_LORESERVE <= index != 0xFFFF)
                or kind not in (NOTYPE, OBJECT, FUNC, GNU_IFUNC)
                or not name < len(strings)
                # "$a" and the like tell code from data on ARM.
                or strings[name : name + 1] in (b"\0", b"$")
            ):
                continue
            if is_arm and kind == FUNC:
                value &= ~1  # the bit says that the code is Thumb
            yield value, rank(kind, info >> 4, size, strings, name), size, number, name

    def _read_plt(self, elf: ElfFile, sections: list[Shdr]) -> Iterator[Entry]:
        """The entries of PLTs: no symbols tell them, but relocations of where they lead to."""
        plts = [
            section
            for section in sections
            if section.sh_flags & SHF_EXECINSTR and section.name.startswith(".plt")
        ]
        slots = dict(self._slots(elf, sections)) if plts else {}
        for section in plts:
            size = section.sh_entsize if section.sh_entsize in PLT_ENTRIES else PLT_ENTRIES[0]
            for jump in JUMP.finditer(section.data(elf.source.size)):
                displacement = int.from_bytes(jump[1], "little", signed=True)
                told = slots.get(section.sh_addr + jump.end() + displacement)
                if told:
                    yield section.sh_addr + jump.start() // size * size, 0, size, *told

    def _slots(self, elf: ElfFile, sections: list[Shdr]) -> Iterator[tuple[int, tuple[int, int]]]:
        """The words of .got and .got.plt that hold functions' addresses, and their names."""
        for section in sections:
            if section.sh_type != SHT_RELA or not 0 < section.sh_link < len(sections):
                continue
            symbols = sections[section.sh_link]
            if symbols.sh_type != SHT_DYNSYM or symbols.sh_link >= len(sections):
                continue
            raw = symbols.data(elf.source.size)
            number = ~len(self._strings)
            self._strings.append(sections[symbols.sh_link].data(elf.source.size))
            table = section.data(elf.source.size)
            for slot, info, _ in RELA.iter_unpack(table[: len(table) // RELA.size * RELA.size]):
                at = (info >> 32) * elf.layout.sym.size
                if info & 0xFFFFFFFF in (R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT) and at:
                    yield slot, (number, int.from_bytes(raw[at : at + 4], "little"))

    def find(self, value: int) -> tuple[str, int, int] | None:
        """The symbol that covers an address of the file: its name, its value and its size.

        One without a size, as of hand-written assembly, reaches to the next symbol or the
        end of its section.
        """
        index = last = bisect_right(self._values, value) - 1
        lowest = max(-1, index - STEPS_BACK)
        while index > lowest and self._reach[index] > value:
            entry = self._entries[index]
            if entry[0] + entry[2] > value:
                return self._told(entry)
            index -= 1
        if last >= 0 and not self._entries[last][2]:
            entry = self._entries[last]
            home = self.section_at(value)
            if home is not None and home[0] <= entry[0]:
                return self._told(entry)
        return None

    def _told(self, entry: Entry) -> tuple[str, int, int]:
        value, _, size, number, name = entry
        strings = self._strings[number if number >= 0 else ~number]
        end = strings.find(b"\0", name, name + LONGEST_NAME)
        text = strings[name : end if end >= 0 else name + LONGEST_NAME]
        text += b"" if number >= 0 else b"@plt"  # as gdb and objdump name it
        return text.decode("utf-8", "surrogateescape"), value, size

    def section_at(self, value: int) -> tuple[int, int, str] | None:
        """Start, end and name of the section that holds an address of the file."""
        index = bisect_right(self._sections, value, key=itemgetter(0)) - 1
        if index >= 0 and value < self._sections[index][1]:
            return self._sections[index]
        return None


def functions_named(elf: ElfFile, names: Iterable[str]) -> dict[str, int]:
    """Values of the functions of these names that other files, or all of its own, may call.

    Those that are chosen while the program starts (STT_GNU_IFUNC) are left out: their value is the
    function that chooses.

    Raises:
        ElfError, OSError: as of ElfFile.
    """
    found: dict[str, int] = {}
    layout, source = elf.layout, elf.source
    sections = elf.sections
    for table in sections:
        if table.sh_type not in (SHT_SYMTAB, SHT_DYNSYM) or table.sh_link >= len(sections):
            continue
        strings = sections[table.sh_link].data(source.size)
        wanted = {}
        # A name may be the end of a longer one, whose bytes it shares.
        for name in names:
            text = name.encode() + b"\0"
            at = strings.find(text)
            while at >= 0:
                wanted[at] = name
                at = strings.find(text, at + 1)
        raw = table.data(source.size)
        for fields in layout.sym.iter_unpack(raw[: len(raw) // layout.sym.size * layout.sym.size]):
            if layout.is64:
                at, info, _, index, value, _ = fields
            else:
                at, value, _, info, _, index = fields
            if (
                at in wanted
                and info & 15 == FUNC
                and info >> 4 in (GLOBAL, WEAK)
                and SHN_UNDEF < index < SHN_LORESERVE
            ):
                found.setdefault(wanted[at], value)
    return found


def rank(kind: int, binding: int, size: int, strings: bytes, name: int) -> int:
    """Which of several symbols at one address a person would name: the highest."""
    best = (8 if size else 0) + (4 if kind != NOTYPE else 0) + BINDINGS.get(binding, 0)
    # Aliases for a library's own use begin with underscores.
    head = strings[name : name + 3]
    return best * 4 + 3 - (len(head) - len(head.lstrip(b"_")))
