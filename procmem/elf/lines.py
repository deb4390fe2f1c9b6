"""Source lines, from DWARF, through pyelftools."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from procmem.elf.source import fail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

__all__ = ["Lines"]

Sequence = tuple[int, int, "list[int]", "list[tuple[int, int]]"]
"""First address, end, addresses, and the file and line of each."""


class Lines:
    """The line tables of one file; a unit's table is decoded when it is asked for.

    Args:
        stream: the file; it is not needed any more afterwards.
        path: named in errors.

    Raises:
        ElfError: the debug information is damaged.
    """

    __slots__ = ("_dwarf", "_ranges", "_units", "path")

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self.path = path
        self._units: dict[int, tuple[list[Sequence], list[str]]] = {}
        self._ranges: list[tuple[int, int, int]] | None = None
        try:
            from elftools.elf.elffile import ELFFile

            file = ELFFile(stream)
            self._dwarf: Any = None
            if file.has_dwarf_info():
                # Links are not followed: they would be opened by names that the file holds.
                self._dwarf = file.get_dwarf_info(follow_links=False)
        except ImportError:
            raise
        except Exception as error:  # noqa: BLE001 - pyelftools lets through what its parser meets
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        said = str(error) or type(error).__name__
        fail(self.path, f"its debug information can't be read: {said[:200]}")

    def at(self, value: int) -> str | None:
        """The source line of an address of the file, as "path:line"; None if not told.

        Raises:
            ElfError: the debug information is damaged.
        """
        if self._dwarf is None:
            return None
        try:
            for offset in self._units_at(value):
                if offset not in self._units:
                    self._units[offset] = self._decode(offset)
                sequences, files = self._units[offset]
                found = line_in(sequences, value)
                if found is not None:
                    number, line = found
                    return f"{files[number]}:{line}" if line and number < len(files) else None
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        return None

    def _units_at(self, value: int) -> Iterator[int]:
        """Offsets of the units that may hold an address."""
        aranges = self._dwarf.get_aranges() if self._dwarf.debug_aranges_sec is not None else None
        told = None if aranges is None else aranges.cu_offset_at_addr(value)
        if told is not None:
            yield told
        # Some compilers make no .debug_aranges: then the units themselves tell.
        if self._ranges is None:
            self._ranges = sorted(self._unit_ranges())
        index = bisect_right(self._ranges, (value, 1 << 64, 0))
        for start, end, offset in self._ranges[max(0, index - 64) : index]:
            if start <= value < end and offset != told:
                yield offset

    def _unit_ranges(self) -> Iterator[tuple[int, int, int]]:
        from elftools.dwarf.ranges import BaseAddressEntry

        for unit in self._dwarf.iter_CUs():
            top = unit.get_top_DIE()
            low = top.attributes.get("DW_AT_low_pc")
            high = top.attributes.get("DW_AT_high_pc")
            ranges = top.attributes.get("DW_AT_ranges")
            base = low.value if low is not None else 0
            if high is not None and low is not None:
                # An address, or since DWARF 4 a length.
                end = high.value if high.form == "DW_FORM_addr" else base + high.value
                yield base, end, unit.cu_offset
            elif ranges is not None:
                lists = self._dwarf.range_lists()
                for entry in lists.get_range_list_at_offset(ranges.value, cu=unit):
                    if isinstance(entry, BaseAddressEntry):
                        base = entry.base_address
                        continue
                    add = 0 if getattr(entry, "is_absolute", False) else base
                    yield entry.begin_offset + add, entry.end_offset + add, unit.cu_offset

    def _decode(self, offset: int) -> tuple[list[Sequence], list[str]]:
        unit = self._dwarf.get_CU_at(offset)
        program = self._dwarf.line_program_for_CU(unit)
        if program is None:
            return [], []
        sequences: list[Sequence] = []
        rows: list[tuple[int, int, int]] = []
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if state.end_sequence:
                if rows:
                    rows.sort(key=lambda row: row[0])
                    sequences.append(
                        (
                            rows[0][0],
                            state.address,
                            [row[0] for row in rows],
                            [row[1:] for row in rows],
                        )
                    )
                rows = []
            else:
                rows.append((state.address, state.file, state.line))
        sequences.sort(key=lambda sequence: sequence[:2])
        return sequences, list(file_names(program, folder_of(unit)))


def line_in(sequences: list[Sequence], value: int) -> tuple[int, int] | None:
    """The file and line of an address; of several rows at one address the last counts."""
    for start, end, addresses, rows in sequences:
        if start <= value < end:
            return rows[bisect_right(addresses, value) - 1]
    return None


def folder_of(unit: Any) -> str:
    """The directory that a unit was compiled in; "" where that is kept in another file."""
    try:
        told = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
    except Exception:  # noqa: BLE001 - dwz moves strings to a file that is not opened here
        return ""
    return "" if told is None else text(told.value)


def file_names(program: Any, folder: str) -> Iterator[str]:
    """The path of each file by its number in the line table."""
    header = program.header
    folders = [text(each) for each in header["include_directory"]]
    if header["version"] < 5:
        # Files are numbered from 1, and directory 0 is the unit's own.
        folders.insert(0, folder)
        yield ""
    for entry in header["file_entry"]:
        name = text(entry.name)
        place = folders[entry.dir_index] if entry.dir_index < len(folders) else ""
        if place and not place.startswith("/") and place != folder and folder:
            place = f"{folder}/{place}"
        yield name if name.startswith("/") or not place else f"{place}/{name}"


def text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
