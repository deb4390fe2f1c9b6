"""Symbols of ELF files: which function or variable an address belongs to.

The tables are read by struct, as headers are: a library has thousands of symbols, and
pyelftools takes tens of microseconds for each. Names are decoded when they are asked for.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from operator import itemgetter
from struct import Struct

from procmem.elf import limits
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
from procmem.units import about

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator

    from procmem.elf.headers import ElfFile, Shdr

__all__ = ["SymbolTable", "functions_named", "symbol_tables", "types_of"]

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

PLTS = 64
"""Sections of entries of PLTs that are read: linkers make up to four."""


STEPS_BACK = 1000
"""Symbols that are tried for one address: in a sound table few enclose each other."""

LONGEST_NAME = 1 << 16

SYMBOLS_AT_ONCE = 1 << 16

FUNCTION_START = 0x03, 0x3B
"""How .eh_frame_hdr writes the count, and the pairs, where it can be searched: DW_EH_PE_udata4, and
DW_EH_PE_datarel | DW_EH_PE_sdata4."""

Entry = tuple[int, int, int, int, int]
"""Value, rank, size, string table and offset in it. Of an entry of a PLT the table's number is
inverted (~)."""


class Room:
    """How much may still be read of one object's tables.

    Attributes:
        left_out: a sentence for each table that did not fit.
    """

    __slots__ = ("_strings", "_symbols", "left_out")

    def __init__(self) -> None:
        self._symbols = limits.SYMBOLS
        self._strings = limits.SYMBOL_NAMES
        self.left_out: list[str] = []

    def tables(self, elf: ElfFile) -> list[tuple[Shdr, Shdr]]:
        """The tables of symbols of a file, each with that of its names."""
        found = symbol_tables(elf)
        if len(found) > limits.SYMBOL_TABLES:
            self._say(
                elf.source.path,
                f"{len(found):,} tables of symbols, {limits.SYMBOL_TABLES} were read",
            )
        return found[: limits.SYMBOL_TABLES]

    def symbols(self, elf: ElfFile, table: Shdr) -> Iterator[tuple[int, ...]]:
        """The fields of the symbols of a table, as many as fit."""
        width = elf.layout.sym.size
        count = min(table.sh_size, elf.source.size) // width
        fitting = min(count, self._symbols)
        self._symbols -= fitting
        if fitting < count:
            self._say(
                elf.source.path,
                f"{table.name[:64]} has {count:,} symbols, {fitting:,} were read:"
                f" at most {limits.SYMBOLS:,} of one object are",
            )
        for at in range(0, fitting, SYMBOLS_AT_ONCE):
            size = min(SYMBOLS_AT_ONCE, fitting - at) * width
            raw = elf.source.read(table.sh_offset + at * width, size)
            yield from elf.layout.sym.iter_unpack(raw[: len(raw) // width * width])
            if len(raw) < size:
                return

    def strings(self, elf: ElfFile, table: Shdr) -> bytes:
        """The bytes of a table of names, as many as fit."""
        size = min(table.sh_size, elf.source.size)
        fitting = min(size, self._strings)
        self._strings -= fitting
        if fitting < size:
            self._say(
                elf.source.path,
                f"{table.name[:64]} has {about(size)} of names, {about(fitting)} were read:"
                f" at most {about(limits.SYMBOL_NAMES)} of one object are",
            )
        return table.data(fitting)

    def contents(self, elf: ElfFile, section: Shdr) -> bytes:
        """The bytes of another section that is needed to find symbols; b"" if they don't fit."""
        size = min(section.sh_size, elf.source.size)
        if size > self._strings:
            self._say(elf.source.path, f"{section.name[:64]} has {about(size)}: it was not read")
            return b""
        self._strings -= size
        return section.data(size)

    def _say(self, path: str | bytes | os.PathLike[str], what: str) -> None:
        name = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
        if len(self.left_out) < 8:
            self.left_out.append(f"{name}: {what}")


def symbol_tables(elf: ElfFile) -> list[tuple[Shdr, Shdr]]:
    """The tables of symbols of a file, each with that of its names.

    Raises:
        ElfError, OSError: as of ElfFile.
    """
    sections = elf.sections
    return [
        (table, sections[table.sh_link])
        for table in sections
        if table.sh_type in (SHT_SYMTAB, SHT_DYNSYM) and table.sh_link < len(sections)
    ]


class SymbolTable:
    """The defined functions and variables of some files that are one object.

    Args:
        files: such as a stripped library and its debug file; they may be closed afterwards.

    Attributes:
        left_out: what was not read since it is too large (elf.limits), a sentence each.

    Raises:
        ElfError, OSError: as of ElfFile.
    """

    __slots__ = ("_entries", "_reach", "_sections", "_starts", "_strings", "_values", "left_out")

    def __init__(self, files: Iterable[ElfFile]) -> None:
        self._strings: list[bytes] = []
        self._sections: list[tuple[int, int, str]] = []
        self._starts = Starts()
        room = Room()
        found: list[Entry] = []
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
            if not self._starts:
                self._starts = function_starts(elf, sections, room)
            numbers: dict[tuple[int, int], int] = {}
            for section, names in room.tables(elf):
                found.extend(self._read(elf, section, names, room, numbers))
            if elf.header.e_machine == EM_X86_64 and elf.layout.order == "<" and elf.layout.is64:
                found.extend(self._read_plt(elf, sections, room, numbers))
        # The best of those with one value is the last, where the search starts.
        found.sort()
        self._entries = found
        self._values = list(map(itemgetter(0), self._entries))
        self._reach: list[int] = []
        reach = 0
        for value, _, size, _, _ in self._entries:
            reach = max(reach, value + size)
            self._reach.append(reach)
        self.left_out = room.left_out

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def memory(self) -> int:
        """Bytes that it takes, roughly."""
        return 300 * len(self._entries) + sum(map(len, self._strings))

    def _names(
        self, elf: ElfFile, table: Shdr, room: Room, numbers: dict[tuple[int, int], int]
    ) -> int:
        """The number of a table of names, which is read when it is first needed."""
        key = table.sh_offset, table.sh_size
        number = numbers.get(key)
        if number is None:
            number = numbers[key] = len(self._strings)
            self._strings.append(room.strings(elf, table))
        return number

    def _read(
        self,
        elf: ElfFile,
        table: Shdr,
        names: Shdr,
        room: Room,
        numbers: dict[tuple[int, int], int],
    ) -> Iterator[Entry]:
        is64 = elf.layout.is64
        is_arm = elf.header.e_machine == EM_ARM
        strings = b""
        number = -1
        for fields in room.symbols(elf, table):
            if is64:
                name, info, _, index, value, size = fields
            else:
                name, value, size, info, _, index = fields
            kind = info & 15
            if (
                index == SHN_UNDEF
                # Absolute and common symbols are no addresses; SHN_XINDEX is one of a section.
                or (SHN_LORESERVE <= index != 0xFFFF)
                or kind not in (NOTYPE, OBJECT, FUNC, GNU_IFUNC)
            ):
                continue
            if number < 0:
                number = self._names(elf, names, room, numbers)
                strings = self._strings[number]
            # "$a" and the like mark code and data on ARM.
            if not name < len(strings) or strings[name : name + 1] in (b"\0", b"$"):
                continue
            if is_arm and kind == FUNC:
                value &= ~1  # the bit says that the code is Thumb
            yield value, rank(kind, info >> 4, size, strings, name), size, number, name

    def _read_plt(
        self,
        elf: ElfFile,
        sections: list[Shdr],
        room: Room,
        numbers: dict[tuple[int, int], int],
    ) -> Iterator[Entry]:
        """The entries of PLTs. They have no symbols, but their slots have relocations."""
        plts = [
            section
            for section in sections
            if section.sh_flags & SHF_EXECINSTR and section.name.startswith(".plt")
        ][:PLTS]
        slots = dict(self._slots(elf, sections, room, numbers)) if plts else {}
        for section in plts:
            size = section.sh_entsize if section.sh_entsize in PLT_ENTRIES else PLT_ENTRIES[0]
            for jump in JUMP.finditer(room.contents(elf, section)):
                displacement = int.from_bytes(jump[1], "little", signed=True)
                told = slots.get(section.sh_addr + jump.end() + displacement)
                if told:
                    yield section.sh_addr + jump.start() // size * size, 0, size, *told

    def _slots(
        self,
        elf: ElfFile,
        sections: list[Shdr],
        room: Room,
        numbers: dict[tuple[int, int], int],
    ) -> Iterator[tuple[int, tuple[int, int]]]:
        """The words of .got and .got.plt that hold functions' addresses, and their names."""
        kept: dict[int, bytes] = {}
        tables = [section for section in sections if section.sh_type == SHT_RELA]
        for section in tables[: limits.SYMBOL_TABLES]:
            if not 0 < section.sh_link < len(sections):
                continue
            symbols = sections[section.sh_link]
            if symbols.sh_type != SHT_DYNSYM or symbols.sh_link >= len(sections):
                continue
            if section.sh_link not in kept:
                kept[section.sh_link] = room.contents(elf, symbols)
            raw = kept[section.sh_link]
            number = ~self._names(elf, sections[symbols.sh_link], room, numbers)
            table = room.contents(elf, section)
            for slot, info, _ in RELA.iter_unpack(table[: len(table) // RELA.size * RELA.size]):
                at = (info >> 32) * elf.layout.sym.size
                if info & 0xFFFFFFFF in (R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT) and at:
                    yield slot, (number, int.from_bytes(raw[at : at + 4], "little"))

    def find(self, value: int) -> tuple[str, int, int] | None:
        """The symbol that covers an address of the file: its name, its value and its size.

        One without a size, as of hand-written assembly, reaches at most to the next symbol, to
        the next function that .eh_frame_hdr knows, or to the end of its section. That it
        covers what follows it is a guess.
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
            if home is not None and home[0] <= entry[0] and self._starts.before(value) <= entry[0]:
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


class Starts:
    """Where functions begin, from .eh_frame_hdr: a table that unwinders search.

    Args:
        base: its address, from which it counts.
        pairs: of a function and its entry in .eh_frame, by address.
        order: "<" or ">".

    Source: Linux Standard Base, "The .eh_frame_hdr section".
    """

    __slots__ = ("_base", "_pair", "_pairs")

    def __init__(self, base: int = 0, pairs: bytes = b"", order: str = "<") -> None:
        self._base = base
        self._pairs = pairs
        self._pair = Struct(order + "ii")

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def before(self, value: int) -> int:
        """The last start up to an address; -1: none is known."""
        low, high = 0, len(self._pairs) // 8
        while low < high:
            middle = (low + high) // 2
            if self._at(middle) <= value:
                low = middle + 1
            else:
                high = middle
        return self._at(low - 1) if low else -1

    def _at(self, index: int) -> int:
        (start, _) = self._pair.unpack_from(self._pairs, index * 8)
        return self._base + int(start)


def function_starts(elf: ElfFile, sections: list[Shdr], room: Room) -> Starts:
    """The entries of .eh_frame_hdr; none where it is not the table that linkers make."""
    for section in sections:
        if section.sh_flags & SHF_ALLOC and section.name == ".eh_frame_hdr":
            head = section.data(12)
            if len(head) < 12 or head[0] != 1 or (head[2], head[3]) != FUNCTION_START:
                break
            count = Struct(elf.layout.order + "I").unpack_from(head, 8)[0]
            pairs = room.contents(elf, section)[12 : 12 + 8 * count]
            return Starts(section.sh_addr, pairs[: len(pairs) // 8 * 8], elf.layout.order)
    return Starts()


def functions_named(
    files: Iterable[ElfFile], names: Collection[str]
) -> dict[str, tuple[int, bool]]:
    """Values of the functions of these names, and whether the value is of one that chooses.

    A function that is chosen while the program starts (STT_GNU_IFUNC) has the value of the function
    that chooses. A local symbol counts where no other has the name, and only one local one does:
    linkers make those of a static program local that nothing else may call.

    Args:
        files: that are one object, such as a stripped library and its debug file.
        names: of the functions, as they are in the symbol table.

    Raises:
        ElfError, OSError: as of ElfFile.
    """
    found: dict[str, tuple[int, bool]] = {}
    local: dict[str, set[tuple[int, bool]]] = {}
    wanted = {name.encode(): name for name in names}
    longest = max(map(len, wanted), default=0)
    room = Room()
    for elf in files:
        layout = elf.layout
        for table, strings_table in room.tables(elf):
            strings = room.strings(elf, strings_table)
            for fields in room.symbols(elf, table):
                if layout.is64:
                    at, info, _, index, value, _ = fields
                else:
                    at, value, _, info, _, index = fields
                if info & 15 not in (FUNC, GNU_IFUNC) or not SHN_UNDEF < index < SHN_LORESERVE:
                    continue
                name = wanted.get(strings[at : at + longest + 1].partition(b"\0")[0])
                if name is None:
                    continue
                told = value, info & 15 == GNU_IFUNC
                if info >> 4 in (GLOBAL, WEAK):
                    found.setdefault(name, told)
                else:
                    local.setdefault(name, set()).add(told)
    for name, all_told in local.items():
        if len(all_told) == 1:
            found.setdefault(name, *all_told)
    return found


def types_of(elf: ElfFile, name: str) -> set[int]:
    """The types (STT_FUNC ...) of the symbols of a name that a file defines.

    Raises:
        ElfError, OSError: as of ElfFile.
    """
    found = set()
    wanted = name.encode()
    room = Room()
    for table, strings_table in room.tables(elf):
        strings = room.strings(elf, strings_table)
        for fields in room.symbols(elf, table):
            at, info, index = itemgetter(*((0, 1, 3) if elf.layout.is64 else (0, 3, 5)))(fields)
            if index != SHN_UNDEF and strings[at : at + len(wanted) + 1] == wanted + b"\0":
                found.add(info & 15)
    return found


def rank(kind: int, binding: int, size: int, strings: bytes, name: int) -> int:
    """The rank of a symbol: of several at one address, the highest is the best name."""
    best = (8 if size else 0) + (4 if kind != NOTYPE else 0) + BINDINGS.get(binding, 0)
    # Aliases for a library's own use begin with underscores.
    head = strings[name : name + 3]
    return best * 4 + 3 - (len(head) - len(head.lstrip(b"_")))
