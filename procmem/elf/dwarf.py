"""The part of DWARF that leads from an address to a line table: units and their ranges.

Of each unit only the first entry is read. Sections are read in pieces where they are asked
for, so that what a file costs does not depend on what it claims; compressed ones are
unpacked as a whole, within a bound.

Source: DWARF Debugging Information Format, versions 2 to 5; for compressed sections the
System V ABI, chapter 4; for DW_FORM_GNU_* the documentation of GCC's fission and of dwz.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from struct import Struct

from procmem.elf import limits
from procmem.elf.source import fail
from procmem.elf.spec import (
    SHF_ALLOC,
    SHF_COMPRESSED,
    SHF_EXECINSTR,
    SHF_TLS,
    SHT_NOBITS,
    SHT_NULL,
)
from procmem.units import about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import ClassVar, NoReturn

    from procmem.elf.headers import ElfFile, Shdr
    from procmem.elf.limits import Deadline
    from procmem.elf.source import Source

__all__ = ["Cursor", "Debug", "DebugSection", "Form", "Unit", "code_of"]

PIECE = 1 << 16
"""Bytes that a read of a section takes along."""

LONGEST_STRING = 1 << 14
LONGEST_ENTRY = 1 << 16
LONGEST_ABBREVIATIONS = 1 << 20

ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD = 1, 2

WAY_OUT = "objcopy --decompress-debug-sections FILE unpacks them"

DW_TAG_COMPILE_UNIT, DW_TAG_SKELETON_UNIT = 0x11, 0x4A
DW_UT_TYPE, DW_UT_SKELETON, DW_UT_SPLIT_COMPILE, DW_UT_SPLIT_TYPE = 2, 4, 5, 6

STMT_LIST, LOW_PC, HIGH_PC, COMP_DIR, RANGES = 0x10, 0x11, 0x12, 0x1B, 0x55
STR_OFFSETS_BASE, ADDR_BASE, RNGLISTS_BASE, GNU_ADDR_BASE = 0x72, 0x73, 0x74, 0x2133
KEPT = frozenset((STMT_LIST, LOW_PC, HIGH_PC, COMP_DIR, RANGES)) | {
    STR_OFFSETS_BASE,
    ADDR_BASE,
    RNGLISTS_BASE,
    GNU_ADDR_BASE,
}


class Damaged(Exception):
    """The debug information is damaged; users get an ElfError with these words."""


class Cursor:
    """Reads numbers from bytes, one after the other.

    Raises:
        Damaged: the bytes end.
    """

    __slots__ = ("at", "data", "end", "order")

    def __init__(self, data: bytes, order: str, at: int = 0) -> None:
        self.data = data
        self.order = "little" if order == "<" else "big"
        self.at = at
        self.end = len(data)

    def uint(self, size: int) -> int:
        """An unsigned number of that many bytes."""
        at = self.at
        if size > self.end - at:
            raise Damaged("it ends in the middle of a number")
        self.at = at + size
        return int.from_bytes(self.data[at : at + size], self.order)  # type: ignore[arg-type]

    def uleb(self) -> int:
        """An unsigned LEB128 number, modulo 2**64."""
        data, at = self.data, self.at
        value = shift = 0
        while at < self.end:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                self.at = at
                return value & (1 << 64) - 1
            shift = min(shift + 7, 70)
        raise Damaged("it ends in the middle of a number")

    def sleb(self) -> int:
        """A signed LEB128 number."""
        data, at = self.data, self.at
        value = shift = 0
        while at < self.end:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift = min(shift + 7, 70)
            if byte < 128:
                self.at = at
                return value - (1 << shift) if byte & 64 else value
        raise Damaged("it ends in the middle of a number")

    def text(self) -> bytes:
        """A text up to its NUL."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise Damaged("it ends in the middle of a text")
        found = self.data[self.at : end]
        self.at = end + 1
        return found

    def skip(self, size: int) -> None:
        """Skips bytes."""
        if size > self.end - self.at:
            raise Damaged("it ends in the middle of an entry")
        self.at += size

    def length(self) -> tuple[int, int]:
        """An initial length, and the bytes of an offset: 4, or 8 in the 64-bit format."""
        first = self.uint(4)
        if first < 0xFFFFFFF0:
            return first, 4
        if first != 0xFFFFFFFF:
            raise Damaged(f"a length of {first:#x}, which no version of DWARF has")
        return self.uint(8), 8


class DebugSection:
    """The contents of a debug section, read in pieces.

    Args:
        name: for errors.
        source: the file; None if `held` has all.
        start, size: where it lies there.
        held: what was unpacked.
    """

    __slots__ = ("_at", "_held", "_source", "_start", "name", "size")

    def __init__(
        self, name: str, source: Source | None, start: int, size: int, held: bytes = b""
    ) -> None:
        self.name = name
        self.size = size
        self._source = source
        self._start = start
        self._held = held
        self._at = 0

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from an offset on; fewer only where the section ends.

        Raises:
            Damaged: it is not there, or the file ends before.
        """
        if not 0 <= offset <= self.size:
            raise Damaged(f"it refers to {offset:#x} of {self.name}, of {self.size:#x} bytes")
        size = min(size, self.size - offset)
        begin = offset - self._at
        if self._source is None or 0 <= begin <= len(self._held) - size:
            return self._held[begin : begin + size]
        held = self._source.read(self._start + offset, min(max(size, PIECE), self.size - offset))
        if len(held) < size:
            raise Damaged(f"{self.name} reaches beyond the end of the file")
        if len(held) <= PIECE:
            self._at, self._held = offset, held
        return held[:size]

    def text(self, offset: int) -> bytes:
        """The text at an offset."""
        data = self.read(offset, LONGEST_STRING)
        end = data.find(b"\0")
        if end < 0:
            raise Damaged(f"a text of {self.name} without an end")
        return data[:end]


class Form:
    """The forms of attributes (DWARF 5, 7.5.6), by what must be read."""

    FIXED: ClassVar[dict[int, int]] = {
        0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8,
        0x1C: 4, 0x1E: 16, 0x20: 8, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1,
        0x2A: 2, 0x2B: 3, 0x2C: 4,
    }  # fmt: skip
    ULEB = frozenset((0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23, 0x1F01, 0x1F02))
    OFFSET = frozenset((0x0E, 0x17, 0x1D, 0x1F, 0x1F20, 0x1F21))
    BLOCKS: ClassVar[dict[int, int]] = {0x0A: 1, 0x03: 2, 0x04: 4}
    ADDR, STRING, BLOCK, SDATA, REF_ADDR, INDIRECT = 0x01, 0x08, 0x09, 0x0D, 0x10, 0x16
    EXPRLOC, FLAG_PRESENT, IMPLICIT_CONST = 0x18, 0x19, 0x21
    STRP, LINE_STRP, STRP_SUP, GNU_STRP_ALT = 0x0E, 0x1F, 0x1D, 0x1F21
    RNGLISTX = 0x23
    STRX = frozenset((0x1A, 0x25, 0x26, 0x27, 0x28, 0x1F02))
    ADDRX = frozenset((0x1B, 0x29, 0x2A, 0x2B, 0x2C, 0x1F01))

    @classmethod
    def read(cls, form: int, cursor: Cursor, unit: Unit) -> int | bytes:
        """The value of an attribute as it is stored: a number, or a text's bytes."""
        size = cls.FIXED.get(form)
        if size is not None:
            return cursor.uint(size)
        if form in cls.OFFSET:
            return cursor.uint(unit.offset_size)
        if form in cls.ULEB:
            return cursor.uleb()
        if form == cls.ADDR:
            return cursor.uint(unit.address_size)
        if form == cls.STRING:
            return cursor.text()
        if form == cls.SDATA:
            return cursor.sleb()
        if form == cls.FLAG_PRESENT:
            return 1
        if form == cls.REF_ADDR:
            return cursor.uint(unit.address_size if unit.version < 3 else unit.offset_size)
        if form in cls.BLOCKS:
            cursor.skip(cursor.uint(cls.BLOCKS[form]))
            return 0
        if form in (cls.BLOCK, cls.EXPRLOC):
            cursor.skip(cursor.uleb())
            return 0
        if form == cls.INDIRECT:
            inner = cursor.uleb()
            if inner not in (cls.INDIRECT, cls.IMPLICIT_CONST):
                return cls.read(inner, cursor, unit)
        raise Damaged(f"it has an attribute of the unknown form {form:#x}")


class Unit:
    """A unit of .debug_info: its header and its first entry.

    Attributes:
        offset, end: where it lies in .debug_info.
        version, offset_size, address_size: of its format.
        tag: of its first entry; 0 before that is read.
        attributes: form and value by attribute, of those that matter here.
    """

    __slots__ = (
        "abbreviations",
        "address_size",
        "attributes",
        "body",
        "end",
        "kind",
        "offset",
        "offset_size",
        "tag",
        "version",
    )

    def __init__(self, offset: int, data: bytes, order: str) -> None:
        cursor = Cursor(data, order)
        size, self.offset_size = cursor.length()
        self.offset = offset
        self.end = offset + cursor.at + size
        self.attributes: dict[int, tuple[int, int | bytes]] = {}
        self.kind = self.tag = 0
        self.address_size = 0
        self.abbreviations = 0
        self.version = 0
        self.body = 0
        if not size:
            return
        self.version = cursor.uint(2)
        if not 2 <= self.version <= 5:
            raise Damaged(f"a unit of DWARF version {self.version} (2 to 5 are known)")
        if self.version >= 5:
            self.kind = cursor.uint(1)
            self.address_size = cursor.uint(1)
            self.abbreviations = cursor.uint(self.offset_size)
            if self.kind in (DW_UT_SKELETON, DW_UT_SPLIT_COMPILE):
                cursor.skip(8)
            elif self.kind in (DW_UT_TYPE, DW_UT_SPLIT_TYPE):
                cursor.skip(8 + self.offset_size)
        else:
            self.abbreviations = cursor.uint(self.offset_size)
            self.address_size = cursor.uint(1)
        if self.address_size not in (1, 2, 4, 8):
            raise Damaged(f"a unit with addresses of {self.address_size} bytes")
        self.body = cursor.at


def code_of(elf: ElfFile) -> list[tuple[int, int, str]]:
    """Start, end and name of the sections that hold a program's code, by address."""
    return sorted(
        (section.sh_addr, section.sh_addr + section.sh_size, section.name[:256])
        for section in elf.sections
        if section.sh_flags & SHF_ALLOC
        and section.sh_flags & SHF_EXECINSTR
        and not section.sh_flags & SHF_TLS
        and section.sh_size
    )


class Debug:
    """The debug sections of a file.

    Args:
        elf: its headers; it stays open while this object is asked.
        other: opens the file that .gnu_debugaltlink or .debug_sup names; None: it isn't there.

    Attributes:
        order: "<" or ">".
    """

    __slots__ = ("_alternate", "_found", "_headers", "_other", "_room", "code", "order", "path")

    def __init__(self, elf: ElfFile, other: Callable[[], ElfFile | None] | None = None) -> None:
        self.path = elf.source.path
        self.order = elf.layout.order
        self.code = code_of(elf)
        self._headers: dict[str, tuple[ElfFile, Shdr]] = {}
        for section in elf.sections:
            if section.sh_type in (SHT_NOBITS, SHT_NULL) or not section.sh_size:
                continue
            name = section.name[:32]
            if name.startswith((".debug_", ".zdebug_")):
                self._headers.setdefault(name.removeprefix(".z").removeprefix("."), (elf, section))
        self._found: dict[str, DebugSection | None] = {}
        self._room = limits.INFLATED
        self._other = other
        self._alternate: Debug | None = None

    def section(self, name: str) -> DebugSection | None:
        """A section by its name without ".": None if the file has none.

        Raises:
            ElfError: it is compressed in a way that can't be unpacked here, or too large.
        """
        if name not in self._found:
            header = self._headers.get(name)
            self._found[name] = None if header is None else self._open(*header)
        return self._found[name]

    def need(self, name: str) -> DebugSection:
        """A section that another refers to."""
        found = self.section(name)
        if found is None:
            raise Damaged(f"it refers to .{name}, which the file lacks")
        return found

    def _open(self, elf: ElfFile, header: Shdr) -> DebugSection:
        name, source = header.name[:32], elf.source
        start, size = header.sh_offset, header.sh_size
        if header.sh_flags & SHF_COMPRESSED:
            word = Struct(elf.layout.order + ("IIQQ" if elf.layout.is64 else "III"))
            head = source.read(start, min(word.size, size))
            if len(head) < word.size:
                raise Damaged(f"{name} is cut off")
            fields = word.unpack(head)
            kind, whole = fields[0], fields[2] if elf.layout.is64 else fields[1]
            skipped = word.size
        elif name.startswith(".zdebug_"):
            head = source.read(start, min(12, size))
            if len(head) < 12 or head[:4] != b"ZLIB":
                raise Damaged(f"{name} does not begin as GNU's compressed sections do")
            kind, whole, skipped = ELFCOMPRESS_ZLIB, int.from_bytes(head[4:], "big"), 12
        else:
            return DebugSection(name, source, start, size)
        if whole > self._room or size > limits.INFLATED:
            fail(
                self.path,
                f"its compressed debug information is left out: {name} takes"
                f" {about(max(whole, size))}, at most {about(limits.INFLATED)} are"
                f" unpacked; {WAY_OUT}",
            )
        packed = source.read(start + skipped, size - skipped)
        if len(packed) < size - skipped:
            raise Damaged(f"{name} reaches beyond the end of the file")
        self._room -= whole
        return DebugSection(name, None, 0, whole, self._unpack(name, kind, packed, whole))

    def _unpack(self, name: str, kind: int, packed: bytes, whole: int) -> bytes:
        if kind == ELFCOMPRESS_ZLIB:
            try:
                held = zlib.decompressobj().decompress(packed, whole + 1)
            except zlib.error as error:
                raise Damaged(f"{name} can't be unpacked: {error}") from None
        elif kind == ELFCOMPRESS_ZSTD:
            held = unpack_zstd(self.path, name, packed, whole)
        else:
            fail(
                self.path,
                f"its debug information is compressed in an unknown way (ch_type {kind:#x});"
                f" {WAY_OUT}, if it knows that",
            )
        if len(held) != whole:
            raise Damaged(
                f"{name} unpacks to another size than the {whole} bytes that it should have"
            )
        return held

    def text(self, form: int, value: int | bytes, unit: Unit) -> bytes | None:
        """The text of an attribute; None if it is in another file that is missing."""
        if isinstance(value, bytes):
            return value
        if form == Form.STRP:
            return self.need("debug_str").text(value)
        if form == Form.LINE_STRP:
            return self.need("debug_line_str").text(value)
        if form in Form.STRX:
            base = unit.attributes.get(STR_OFFSETS_BASE)
            start = int(base[1]) if base is not None else 0
            table = self.section("debug_str_offsets")
            if table is None:
                return None
            at = table.read(start + value * unit.offset_size, unit.offset_size)
            return self.need("debug_str").text(Cursor(at, self.order).uint(unit.offset_size))
        if form in (Form.STRP_SUP, Form.GNU_STRP_ALT):
            if self._alternate is None and self._other is not None:
                other, self._other = self._other(), None
                self._alternate = None if other is None else Debug(other)
            if self._alternate is None:
                return None
            return self._alternate.need("debug_str").text(value)
        return None

    # ---- units ---------------------------------------------------------------------

    def units(self, deadline: Deadline) -> Iterator[Unit]:
        """The units of .debug_info, without attributes."""
        info = self.section("debug_info")
        offset = count = 0
        while info is not None and offset + 4 <= info.size:
            unit = Unit(offset, info.read(offset, 40), self.order)
            if not unit.version:
                return  # what remains is padding
            if unit.end > info.size:
                raise Damaged("a unit reaches beyond the end of .debug_info")
            yield unit
            offset = unit.end
            count += 1
            if count > limits.UNITS:
                fail(
                    self.path,
                    f"source lines are left out: more than {limits.UNITS} units of debug"
                    " information",
                )
            if not count & 255:
                deadline.check()

    def fill(self, unit: Unit) -> Unit:
        """The unit with the attributes of its first entry."""
        info, at = self.need("debug_info"), unit.offset + unit.body
        cursor = Cursor(info.read(at, min(unit.end - at, LONGEST_ENTRY)), self.order)
        code = cursor.uleb() if cursor.end else 0
        if not code:
            return unit
        found = unit.attributes
        unit.tag, attributes = self._abbreviation(unit, code)
        for name, form, constant in attributes:
            value = constant if form == Form.IMPLICIT_CONST else Form.read(form, cursor, unit)
            if name in KEPT:
                found[name] = form, value
        return unit

    def _abbreviation(self, unit: Unit, code: int) -> tuple[int, list[tuple[int, int, int]]]:
        table = self.need("debug_abbrev")
        for size in (512, PIECE):
            cursor = Cursor(table.read(unit.abbreviations, size), self.order)
            try:
                return find_abbreviation(cursor, code)
            except Damaged:
                if cursor.end < size:
                    raise
        cursor = Cursor(table.read(unit.abbreviations, LONGEST_ABBREVIATIONS), self.order)
        return find_abbreviation(cursor, code)

    def address(self, form: int, value: int | bytes, unit: Unit) -> int:
        """The address that an attribute holds, or the index of one."""
        if form in Form.ADDRX:
            base = unit.attributes.get(ADDR_BASE) or unit.attributes.get(GNU_ADDR_BASE)
            return self._indexed(int(value), int(base[1]) if base else 0, unit)
        return int(value)

    def _indexed(self, index: int, base: int, unit: Unit) -> int:
        table, size = self.need("debug_addr"), unit.address_size
        return Cursor(table.read(base + index * size, size), self.order).uint(size)

    def ranges(self, unit: Unit, deadline: Deadline) -> Iterator[tuple[int, int]] | None:
        """The address ranges of a unit's code, removed code included; None: not given."""
        low = unit.attributes.get(LOW_PC)
        high = unit.attributes.get(HIGH_PC)
        ranges = unit.attributes.get(RANGES)
        base = 0 if low is None else self.address(*low, unit)
        if ranges is not None:
            if unit.version < 5:
                return self._ranges(unit, int(ranges[1]), base, deadline)
            at = int(ranges[1])
            if ranges[0] == Form.RNGLISTX:
                table = self.need("debug_rnglists")
                start = int(unit.attributes.get(RNGLISTS_BASE, (0, 0))[1])
                size = unit.offset_size
                where = table.read(start + at * size, size)
                at = start + Cursor(where, self.order).uint(size)
            return self._range_list(unit, at, base, deadline)
        if high is not None and low is not None:
            # An address, or since DWARF 4 a length.
            absolute = high[0] == Form.ADDR or high[0] in Form.ADDRX
            end = self.address(*high, unit) if absolute else base + int(high[1])
            return iter(((base, end),))
        return None

    def _ranges(
        self, unit: Unit, at: int, base: int, deadline: Deadline
    ) -> Iterator[tuple[int, int]]:
        table, size = self.need("debug_ranges"), unit.address_size
        most = (1 << 8 * size) - 1
        while True:
            cursor = Cursor(table.read(at, PIECE), self.order)
            deadline.check()
            while cursor.end - cursor.at >= 2 * size:
                start, end = cursor.uint(size), cursor.uint(size)
                if not start and not end:
                    return
                if start == most:
                    base = end
                elif start < end:
                    yield (base + start) & most, (base + end) & most
            if cursor.end < PIECE:
                return
            at += cursor.at

    def _range_list(
        self, unit: Unit, at: int, base: int, deadline: Deadline
    ) -> Iterator[tuple[int, int]]:
        table, size = self.need("debug_rnglists"), unit.address_size
        address_base = unit.attributes.get(ADDR_BASE)
        first = int(address_base[1]) if address_base else 0
        most = (1 << 8 * size) - 1
        cursor = Cursor(table.read(at, PIECE), self.order)
        while True:
            if cursor.at > PIECE - 64:
                deadline.check()
                at += cursor.at
                cursor = Cursor(table.read(at, PIECE), self.order)
            kind = cursor.uint(1)
            if not kind:
                return
            if kind == 1:
                base = self._indexed(cursor.uleb(), first, unit)
                continue
            if kind == 5:
                base = cursor.uint(size)
                continue
            if kind in (2, 3):
                start = self._indexed(cursor.uleb(), first, unit)
                end = cursor.uleb()
                end = self._indexed(end, first, unit) if kind == 2 else start + end
            elif kind == 4:
                start, end = base + cursor.uleb(), base + cursor.uleb()
            elif kind in (6, 7):
                start = cursor.uint(size)
                end = cursor.uint(size) if kind == 6 else start + cursor.uleb()
            else:
                raise Damaged(f"a list of ranges has an entry of the unknown kind {kind}")
            if start < end:
                yield start & most, end & most

    def aranges(self, deadline: Deadline) -> Iterator[tuple[int, Iterator[tuple[int, int]]]]:
        """Offset of the unit, and start and end of its code, of each set of .debug_aranges."""
        table = self.section("debug_aranges")
        offset = 0
        while table is not None and offset + 12 <= table.size:
            cursor = Cursor(table.read(offset, 32), self.order)
            length, size = cursor.length()
            end = offset + cursor.at + length
            if not length:
                return
            if end > table.size or cursor.uint(2) != 2:
                raise Damaged(".debug_aranges is damaged")
            unit, width, segment = cursor.uint(size), cursor.uint(1), cursor.uint(1)
            if width in (4, 8) and not segment:
                at = offset + -(-cursor.at // (2 * width)) * 2 * width
                yield unit, self._arange(table, at, end, width)
            deadline.check()
            offset = end

    def _arange(
        self, table: DebugSection, at: int, end: int, width: int
    ) -> Iterator[tuple[int, int]]:
        pairs = Struct(("<" if self.order == "<" else ">") + ("QQ" if width == 8 else "II"))
        # A pair of zeros ends a set, but linkers may leave one where code was removed.
        while at < end:
            data = table.read(at, min(end - at, PIECE))
            data = data[: len(data) // pairs.size * pairs.size]
            if not data:
                return
            for start, length in pairs.iter_unpack(data):
                if length:
                    yield start, start + length
            at += len(data)

    def section_at(self, value: int) -> int | None:
        """The number, in `code`, of the section that holds an address; None if none does."""
        index = bisect_right(self.code, (value, 1 << 65, "")) - 1
        if index >= 0 and value < self.code[index][1]:
            return index
        return None


def find_abbreviation(cursor: Cursor, code: int) -> tuple[int, list[tuple[int, int, int]]]:
    """The tag of an abbreviation, and name, form and constant of each attribute."""
    while True:
        number = cursor.uleb()
        if not number:
            raise Damaged(f"its abbreviation {code} is missing")
        tag = cursor.uleb()
        cursor.skip(1)
        found = []
        while True:
            name, form = cursor.uleb(), cursor.uleb()
            constant = cursor.sleb() if form == Form.IMPLICIT_CONST else 0
            if not name and not form:
                break
            found.append((name, form, constant))
        if number == code:
            return tag, found


def unpack_zstd(path: object, name: str, packed: bytes, whole: int) -> bytes:
    """A section that was compressed by Zstandard.

    Raises:
        ElfError: nothing here can do that.
        Damaged
    """
    try:
        from compression import zstd

        def unpack(size: int) -> bytes:
            return bytes(zstd.ZstdDecompressor().decompress(packed, size))
    except ImportError:
        try:
            import zstandard
        except ImportError:
            no_zstd(path)

        def unpack(size: int) -> bytes:
            made = zstandard.ZstdDecompressor(max_window_size=limits.INFLATED)
            with made.stream_reader(packed) as reader:
                return bytes(reader.read(size))

    try:
        return unpack(whole + 1)
    except Exception as error:  # noqa: BLE001 - each library has errors of its own
        raise Damaged(f"{name} can't be unpacked: {error}") from None


def no_zstd(path: object) -> NoReturn:
    fail(
        path,  # type: ignore[arg-type]
        "its debug information is compressed by zstd, which Python can unpack from 3.14 on;"
        f" pip install 'procmem-live[zstd]' helps, or {WAY_OUT}",
    )
