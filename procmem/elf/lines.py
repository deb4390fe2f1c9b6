"""Source lines of addresses, from DWARF.

Linkers leave the line tables and ranges of functions that they removed, with an address that
no code has: 0, 1, or the largest ones (GNU ld, gold, lld: "tombstones"). Some of them cover
live code of small addresses. So what does not begin in a section of code counts for nothing.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from procmem.elf import limits
from procmem.elf.dwarf import (
    COMP_DIR,
    DW_TAG_COMPILE_UNIT,
    DW_TAG_SKELETON_UNIT,
    STMT_LIST,
    Cursor,
    Damaged,
    Debug,
    Form,
    Unit,
)
from procmem.elf.limits import Deadline
from procmem.elf.source import fail
from procmem.units import about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from procmem.elf.headers import ElfFile

__all__ = ["Lines"]

STEPS_BACK = 1000
"""Ranges that are tried for one address: those that overlap are few in a sound file."""

CODE_UNITS = DW_TAG_COMPILE_UNIT, DW_TAG_SKELETON_UNIT

DW_LNCT_PATH, DW_LNCT_DIRECTORY_INDEX = 1, 2

LAST_TOMBSTONE = 1
"""The largest of the small addresses that stand for removed code: the others are no addresses."""

NAMES = 1 << 18
"""Directories, or files, of one line table."""

CHECKED = 4096
"""Steps of a line table between two readings of the clock."""


class Sequence(NamedTuple):
    """Rows of a line table by address, without a gap: those of one section of an object file."""

    start: int
    end: int
    addresses: array[int]
    files: array[int]
    lines: array[int]


class Table(NamedTuple):
    """A line table: what has code, and the names that files and directories have in it."""

    version: int
    sequences: list[Sequence]
    folders: list[bytes | None]
    files: list[tuple[bytes | None, int]]


class Lines:
    """The line tables of one file; a unit's table is decoded when it is asked for.

    Args:
        elf: the file; it belongs to this object from now on, and is closed with it.
        other: opens the file that dwz(1) has moved names to; None: it isn't there.

    Raises:
        ElfError: the debug information is damaged.
    """

    __slots__ = ("_debug", "_elf", "_rows", "_tables", "_units", "path")

    def __init__(self, elf: ElfFile, other: Callable[[], ElfFile | None] | None = None) -> None:
        self.path = os.fsdecode(elf.source.path)
        self._elf = elf
        self._tables: dict[int, Table] = {}
        self._rows = 0
        self._units: Index | None = None
        self._debug = Debug(elf, other)

    def _fail(self, error: Damaged) -> NoReturn:
        fail(self.path, f"its debug information can't be read: {error}")

    def at(self, value: int) -> str | None:
        """The source line of an address of the file, as "path:line"; None if not known.

        Raises:
            ElfError: the debug information is damaged, or takes more than elf.limits allows.
            OSError
        """
        debug = self._debug
        home = debug.section_at(value)
        # Linkers make PLTs: there is no unit to search for.
        if home is None or debug.code[home][2].startswith(".plt"):
            return None
        deadline = Deadline(self.path, "reading source lines", limits.LINE_SECONDS)
        try:
            if debug.section("debug_line") is None:
                return None
            if self._units is None:
                self._units = Index(debug, deadline)
            return self._line(value, home, self._units, deadline)
        except Damaged as error:
            self._fail(error)

    def _line(self, value: int, home: int, index: Index, deadline: Deadline) -> str | None:
        debug = self._debug
        floor = debug.code[home][0]
        doubtful: list[tuple[Sequence, Table, Unit]] = []
        for offset in index.units_at(value):
            unit = debug.fill(Unit(offset, debug.need("debug_info").read(offset, 40), debug.order))
            start = unit.attributes.get(STMT_LIST)
            if start is None:
                continue
            table = self._table(int(start[1]), unit, deadline)
            for sequence in table.sequences:
                if floor <= sequence.start <= value < sequence.end:
                    if sequence.start > LAST_TOMBSTONE:
                        return self._row(sequence, value, table, unit)
                    doubtful.append((sequence, table, unit))
        # A section of code begins where linkers put what they have removed, which may cover it.
        # No code overlaps other code.
        alive = [each for each in doubtful if each[0].end <= index.first_above(LAST_TOMBSTONE)]
        if len({(each[0].start, each[0].end) for each in alive}) == 1:
            sequence, table, unit = alive[0]
            return self._row(sequence, value, table, unit)
        return None

    def _row(self, sequence: Sequence, value: int, table: Table, unit: Unit) -> str | None:
        """The row of an address in a sequence; of several at one address the last counts."""
        place = bisect_right(sequence.addresses, value) - 1
        line = sequence.lines[place]
        name = self._name(table, sequence.files[place], unit) if line else None
        return None if name is None else f"{name}:{line}"

    def _table(self, offset: int, unit: Unit, deadline: Deadline) -> Table:
        found = self._tables.get(offset)
        if found is None:
            found = read_table(self._debug, offset, unit, deadline)
            rows = sum(len(sequence.addresses) for sequence in found.sequences)
            if self._rows + rows > limits.LINE_ROWS:
                self._tables, self._rows = {}, 0
            self._rows += rows
            self._tables[offset] = found
        return found

    def _name(self, table: Table, number: int, unit: Unit) -> str | None:
        """The path of a file; a bare name where its directory is not known."""
        first = 0 if table.version >= 5 else 1
        if not 0 <= number - first < len(table.files):
            return None
        name, folder_number = table.files[number - first]
        if not name:
            return None
        told = unit.attributes.get(COMP_DIR)
        home = None if told is None else self._debug.text(*told, unit)
        if table.version < 5 and not folder_number:
            folder = home
        elif 0 <= folder_number - first < len(table.folders):
            folder = table.folders[folder_number - first]
        else:
            folder = None
        if folder and home and folder != home and not folder.startswith(b"/"):
            folder = home + b"/" + folder
        if folder and not name.startswith(b"/"):
            name = folder + b"/" + name
        return name.decode("utf-8", "surrogateescape")


class Index:
    """Which units may have an address.

    A unit with a set in .debug_aranges has its code there, and need not be read. Some
    compilers make none: then the units themselves are read.
    """

    __slots__ = ("_ends", "_reach", "_starts", "_units", "unranged")

    def __init__(self, debug: Debug, deadline: Deadline) -> None:
        found: list[tuple[int, int, int]] = []

        def add(ranges: Iterable[tuple[int, int]], offset: int) -> None:
            for start, end in ranges:
                if debug.section_at(start) is not None:
                    found.append((start, end, offset))
                    if len(found) > limits.UNIT_RANGES:
                        fail(
                            debug.path,
                            f"source lines are left out: more than {limits.UNIT_RANGES} ranges"
                            " of code",
                        )

        known = set()
        for offset, ranges in debug.aranges(deadline):
            known.add(offset)
            add(ranges, offset)
        self.unranged: list[int] = []
        for unit in debug.units(deadline):
            if unit.offset in known:
                continue
            debug.fill(unit)
            # Units of types, and parts that units share, have no code.
            if STMT_LIST not in unit.attributes or unit.tag not in CODE_UNITS:
                continue
            told = debug.ranges(unit, deadline)
            if told is None:
                self.unranged.append(unit.offset)
            else:
                add(told, unit.offset)
        found.sort()
        self._starts = array("Q", [start for start, _, _ in found])
        self._ends = array("Q", [min(end, (1 << 64) - 1) for _, end, _ in found])
        self._units = array("Q", [offset for _, _, offset in found])
        self._reach = array("Q")
        reach = 0
        for end in self._ends:
            reach = max(reach, end)
            self._reach.append(reach)

    def first_above(self, value: int) -> int:
        """Where the first range begins above an address; the end of all addresses without one."""
        index = bisect_right(self._starts, value)
        return self._starts[index] if index < len(self._starts) else 1 << 64

    def units_at(self, value: int) -> list[int]:
        """Offsets of the units: those that begin nearest first, those without addresses last."""
        found: dict[int, None] = {}
        index = bisect_right(self._starts, value) - 1
        lowest = max(-1, index - STEPS_BACK)
        while index > lowest and self._reach[index] > value:
            if self._ends[index] > value:
                found[self._units[index]] = None
            index -= 1
        return [*found, *self.unranged]


# ---- one line table ------------------------------------------------------------------


def read_table(debug: Debug, offset: int, unit: Unit, deadline: Deadline) -> Table:
    """Decodes the line table at an offset of .debug_line.

    Args:
        debug: the file's sections.
        offset: where the table begins.
        unit: one that refers to it.
        deadline: when to give up.

    Raises:
        Damaged: in the dwarf module's sense.
        ElfError: it is too large, or takes too long.
    """
    section = debug.need("debug_line")
    cursor = Cursor(section.read(offset, 16), debug.order)
    length, size = cursor.length()
    if length > limits.LINE_TABLE:
        fail(
            debug.path,
            f"source lines are left out: the line table of a unit takes {about(length)},"
            f" at most {about(limits.LINE_TABLE)} are read",
        )
    data = section.read(offset + cursor.at, length)
    if len(data) < length:
        raise Damaged("a line table reaches beyond the end of .debug_line")
    cursor = Cursor(data, debug.order)
    version = cursor.uint(2)
    if not 2 <= version <= 5:
        raise Damaged(f"a line table of version {version} (2 to 5 are known)")
    width = unit.address_size
    if version >= 5:
        width = cursor.uint(1)
        cursor.skip(1)
    # Forms are read as the table's own format has them, which may not be the unit's.
    own = Unit(unit.offset, b"\0\0\0\0", debug.order)
    own.offset_size, own.address_size, own.version = size, width, version
    own.attributes = unit.attributes
    begin = cursor.uint(size)
    begin += cursor.at
    steps = Steps(cursor, version)
    if version >= 5:
        folders = [name for name, _ in entries(debug, cursor, own)]
        files = entries(debug, cursor, own)
    else:
        folders = old_folders(cursor)
        files = old_files(cursor)
    if begin > len(data):
        raise Damaged("the head of a line table reaches beyond its end")
    cursor.at = begin
    sequences = run(cursor, steps, debug, width, deadline, files)
    return Table(version, sequences, folders, files)


class Steps:
    """The parameters of the opcodes, from the header of a line table."""

    __slots__ = ("base", "lengths", "line_base", "line_range", "smallest", "together")

    def __init__(self, cursor: Cursor, version: int) -> None:
        self.smallest = cursor.uint(1)
        self.together = cursor.uint(1) if version >= 4 else 1
        cursor.skip(1)
        self.line_base = (cursor.uint(1) ^ 128) - 128
        self.line_range = cursor.uint(1)
        self.base = cursor.uint(1)
        if not self.line_range or not self.base:
            raise Damaged("the head of a line table has a zero where none may be")
        self.lengths = [0, *(cursor.uint(1) for _ in range(self.base - 1))]


def entries(debug: Debug, cursor: Cursor, unit: Unit) -> list[tuple[bytes | None, int]]:
    """Directories or files of a version 5 table: names, and numbers of directories."""
    formats = [(cursor.uleb(), cursor.uleb()) for _ in range(cursor.uint(1))]
    count = cursor.uleb()
    if count > min(NAMES, cursor.end if formats else 0):
        raise Damaged(f"a line table with {count} names")
    found = []
    for _ in range(count):
        name, folder = None, 0
        for what, form in formats:
            value = Form.read(form, cursor, unit)
            if what == DW_LNCT_PATH:
                name = debug.text(form, value, unit)
            elif what == DW_LNCT_DIRECTORY_INDEX and isinstance(value, int):
                folder = value
        found.append((name, folder))
    return found


def old_folders(cursor: Cursor) -> list[bytes | None]:
    found: list[bytes | None] = []
    while name := cursor.text():
        found.append(name)
        if len(found) > NAMES:
            raise Damaged(f"a line table with more than {NAMES} directories")
    return found


def old_files(cursor: Cursor) -> list[tuple[bytes | None, int]]:
    found: list[tuple[bytes | None, int]] = []
    while name := cursor.text():
        found.append((name, cursor.uleb()))
        cursor.uleb()
        cursor.uleb()
        if len(found) > NAMES:
            raise Damaged(f"a line table with more than {NAMES} files")
    return found


def run(
    cursor: Cursor,
    steps: Steps,
    debug: Debug,
    width: int,
    deadline: Deadline,
    files: list[tuple[bytes | None, int]],
) -> list[Sequence]:
    """Runs the program of a line table (DWARF 5, 6.2.5); returns its sequences in code."""
    data, end, most = cursor.data, cursor.end, (1 << 8 * width) - 1
    base, line_base, line_range = steps.base, steps.line_base, steps.line_range
    smallest, together = steps.smallest, steps.together or 1
    found: list[Sequence] = []
    count = total = 0
    address = index = 0
    file = line = 1
    addresses, file_numbers, lines = array("Q"), array("I"), array("I")
    is_live = False

    while cursor.at < end:
        count += 1
        if not count % CHECKED:
            deadline.check()
            if total + len(addresses) > limits.LINE_ROWS:
                fail(
                    debug.path,
                    "source lines are left out: the line table of a unit has more than"
                    f" {limits.LINE_ROWS} rows",
                )
        opcode = data[cursor.at]
        cursor.at += 1
        if opcode >= base:
            advance, step = divmod(opcode - base, line_range)
            line += line_base + step
        elif opcode == 1:  # DW_LNS_copy
            advance = 0
        elif opcode in (2, 8):  # DW_LNS_advance_pc, DW_LNS_const_add_pc
            advance = cursor.uleb() if opcode == 2 else (255 - base) // line_range
            index += advance
            address = (address + smallest * (index // together)) & most
            index %= together
            continue
        elif opcode == 3:  # DW_LNS_advance_line
            line += cursor.sleb()
            continue
        elif opcode == 4:  # DW_LNS_set_file
            file = cursor.uleb()
            continue
        elif opcode == 9:  # DW_LNS_fixed_advance_pc
            address = (address + cursor.uint(2)) & most
            index = 0
            continue
        elif opcode:
            for _ in range(steps.lengths[opcode]):
                cursor.uleb()
            continue
        else:
            length = cursor.uleb()
            behind = cursor.at + length
            if not length or behind > end:
                raise Damaged("a line table ends in the middle of an opcode")
            opcode = cursor.uint(1)
            if opcode == 2:  # DW_LNE_set_address
                address, index = cursor.uint(length - 1) & most, 0
            elif opcode == 3:  # DW_LNE_define_file
                files.append((cursor.text(), cursor.uleb()))
                if len(files) > NAMES:
                    raise Damaged(f"a line table with more than {NAMES} files")
            elif opcode == 1:  # DW_LNE_end_sequence
                if is_live and addresses:
                    total += len(addresses)
                    found.append(sequence(addresses, file_numbers, lines, address))
                if addresses:
                    addresses, file_numbers, lines = array("Q"), array("I"), array("I")
                address = index = 0
                file = line = 1
                is_live = False
            cursor.at = behind
            continue
        if advance:
            index += advance
            address = (address + smallest * (index // together)) & most
            index %= together
        if not addresses:
            is_live = debug.section_at(address) is not None
        elif not is_live:
            continue
        addresses.append(address)
        file_numbers.append(file & 0xFFFFFFFF)
        lines.append(line & 0xFFFFFFFF)
    return found


def sequence(addresses: array[int], files: array[int], lines: array[int], end: int) -> Sequence:
    if any(after < before for before, after in pairwise(addresses)):
        order = sorted(range(len(addresses)), key=addresses.__getitem__)
        addresses = array("Q", [addresses[at] for at in order])
        files = array("I", [files[at] for at in order])
        lines = array("I", [lines[at] for at in order])
    return Sequence(addresses[0], end, addresses, files, lines)
