"""Finds the function or variable at an address of a process."""

from __future__ import annotations

import os
from contextlib import suppress

from procmem import native
from procmem.elf import limits
from procmem.elf.debug import has_lines, open_alternate, open_debug_file
from procmem.elf.demangling import demangle
from procmem.elf.headers import ElfFile, open_elf
from procmem.elf.image import MemorySource
from procmem.elf.source import source_of
from procmem.elf.symbols import SymbolTable
from procmem.native import ffi
from procmem.process.sections import identity_of, lay_out, locate
from procmem.procfs.mapped import open_link, read_memory, stat_link
from procmem.regions.read import ATTEMPTS, RECORD, Queries, read_table

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from procmem.elf.lines import Lines
    from procmem.process.sections import Mapped
    from procmem.procfs import ProcessFiles
    from procmem.regions import Region

__all__ = ["ElfAddress", "Loaded", "Symbol", "SymbolFinder"]

KEPT = 64
"""The most objects whose symbols are cached, in all processes together."""


class Symbol:
    """A function or variable at an address.

    Attributes:
        name: the name in the symbol table; `demangled` is the name in C++ or Rust.
        offset: bytes from the symbol's start to the address.
        address: the address in the process at which the symbol starts.
        size: in bytes; 0: the symbol table has no size.
        guess: True if the symbol has no size and starts before the address: then it is not known
            whether the address belongs to it, and str() ends in "?".
        object: the path of the symbol's ELF file, as in maps; or "[vdso]".

    Source: elf(5), Elf64_Sym.
    """

    __slots__ = ("_place", "address", "name", "object", "offset", "size")

    def __init__(self, place: ElfAddress, name: str, value: int, size: int) -> None:
        self.name = name
        self.offset = place.value - value
        self.address = place.bias + value
        self.size = size
        self.object = place.path
        self._place = place

    @property
    def guess(self) -> bool:
        """Whether it is a guess that the symbol covers the address."""
        return not self.size and self.offset > 0

    @property
    def demangled(self) -> str | None:
        """The name in C++ or Rust code; None if it is not a mangled name. See elf.demangle()."""
        return demangle(self.name)

    @property
    def section(self) -> str | None:
        """The name of the section that contains the address; None: no section does."""
        return self._place.section

    @property
    def source_line(self) -> str | None:
        """The source line of the address, as "path:line"; None without debug information.

        Raises:
            ElfError: the debug information is damaged.
        """
        return self._place.source_line

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Symbol):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def _fields(self) -> tuple[Any, ...]:
        return self.name, self.offset, self.address, self.size, self.object, self.section

    def __str__(self) -> str:
        mark = "?" if self.guess else ""
        return f"{self.name}+{self.offset:#x}{mark}" if self.offset else self.name

    def __repr__(self) -> str:
        return f"<Symbol {self} of {self.object!r}>"


class ElfAddress:
    """An address within an ELF file.

    Attributes:
        path: the file's path, as in maps.
        bias: the load bias: address in the process minus address in the file.
        value: the address in the file (the virtual address of its program headers).
    """

    __slots__ = ("_finder", "_loaded", "_mapped", "bias", "path", "value")

    def __init__(
        self, mapped: Mapped, bias: int, value: int, loaded: Loaded, finder: SymbolFinder
    ) -> None:
        self.path = mapped.regions[0].pathname or ""
        self.bias = bias
        self.value = value
        self._mapped = mapped
        self._loaded = loaded
        self._finder = finder

    @property
    def section(self) -> str | None:
        """The name of the section that contains the address; None: no section does."""
        told = self._loaded.table.section_at(self.value)
        return None if told is None else told[2]

    @property
    def offset_in_section(self) -> int | None:
        """Bytes from the section's start to the address; None: no section contains it."""
        told = self._loaded.table.section_at(self.value)
        return None if told is None else self.value - told[0]

    @property
    def left_out(self) -> list[str]:
        """Parts of the file or of its debug file that are too large to be read, a sentence each."""
        return self._loaded.left_out

    @property
    def symbol(self) -> Symbol | None:
        """The symbol that covers the address; None: none of the symbols that were read does."""
        told = self._loaded.table.find(self.value)
        return None if told is None else Symbol(self, *told)

    @property
    def source_line(self) -> str | None:
        """The source line of the address: see Symbol."""
        loaded = self._loaded
        lines = loaded.lines(lambda: self._finder.open_file(self._mapped))
        if lines is None and loaded.debug is not None:
            # The process that the file was opened through has ended; another one may map it.
            for key in [key for key, kept in _kept.items() if kept is loaded]:
                _kept.pop(key, None)
        return None if lines is None else lines.at(self.value)


class Loaded:
    """The symbols of one object, and the file with its source lines.

    It stays cached when the process that it was read for has ended.

    Args:
        table: the symbols.
        debug: the path of the debug file with the source lines; "": the file itself has them;
            None: there are none.
        places: the directory of debug files, and a prefix for their paths.
        left_out: debug files that were too large, a sentence each.

    Attributes:
        table, debug: as given.
        left_out: the same, and what the symbol table left out.
    """

    __slots__ = ("_lines", "_places", "debug", "left_out", "table")

    def __init__(
        self,
        table: SymbolTable,
        debug: str | None,
        places: tuple[str, str] = ("", ""),
        left_out: Sequence[str] = (),
    ) -> None:
        self.table = table
        self.debug = debug
        self.left_out = [*left_out, *table.left_out]
        self._places = places
        self._lines: Lines | None = None

    def lines(self, open_file: Callable[[], ElfFile | None]) -> Lines | None:
        """The line tables, loaded at the first call.

        Args:
            open_file: a function that opens the ELF file itself.

        Returns:
            None: there are none, or the file that has them can no longer be opened.
        """
        if self._lines is None and self.debug is not None:
            from procmem.elf.lines import Lines

            if self.debug:
                try:
                    elf: ElfFile | None = open_elf(self.debug)
                except OSError:
                    elf = None
            else:
                elf = open_file()
            if elf is not None:
                file = elf
                self._lines = Lines(file, lambda: open_alternate(file, *self._places))
        return self._lines


_kept: dict[tuple[Any, ...], Loaded] = {}

Key = tuple[int, ...]


class SymbolFinder:
    """Finds the symbols of one process. Results are cached as long as its regions stay the same."""

    __slots__ = ("_found", "_objects", "_queries", "_spare", "files")

    def __init__(self, files: ProcessFiles) -> None:
        self.files = files
        self._queries = Queries(files)
        self._spare: list[Any] = []
        # The parts of objects in each region; an empty list is an answer, too.
        self._found: dict[Key, list[tuple[int, int, int]]] = {}
        # Each object with its load bias, and a region of its file that stays while it is loaded.
        self._objects: list[tuple[Mapped, int, Key]] = []

    def place(self, address: int, debug_root: str) -> ElfAddress | None:
        """The ELF file at an address, and the address in it; None if there is none.

        Args:
            address: an address in the process.
            debug_root: the directory with debug files, such as /usr/lib/debug.

        Raises:
            ElfError: the file is damaged.
        """
        for _ in range(ATTEMPTS):
            key = self._key_at(address)
            if key is None:
                return None
            parts = self._found.get(key)
            if parts is None:
                self._look()
                parts = self._found.setdefault(key, [])
            for start, end, number in parts:
                if start <= address < end:
                    mapped, bias, anchor = self._objects[number]
                    # The anonymous memory may belong to another object by now.
                    if not key[INODE] and anchor[INODE] and self._key_at(anchor[0]) != anchor:
                        break
                    loaded = self._load(mapped, debug_root)
                    if loaded is None:
                        return None
                    return ElfAddress(mapped, bias, address - bias, loaded, self)
            else:
                return None
            self._found = {}
        return None

    def _key_at(self, address: int) -> Key | None:
        """A key that identifies the region at an address; None: nothing is mapped there."""
        queries = self._queries
        if not queries.supported:
            return self._key_in_maps(address)
        if not 0 <= address < 1 << 63:  # above it there is only the kernel's [vsyscall]
            return None
        # Each call has its own buffer, because threads may call this at the same time.
        words, vma = self._spare.pop() if self._spare else (ffi.new(RECORD), ffi.new("pm_vma *"))
        try:
            found = queries.ask(address, words, vma)
        except LookupError:
            return self._key_in_maps(address)
        key = tuple(ffi.unpack(words, KEY_WORDS)) if found else None
        self._spare.append((words, vma))
        return key

    def _key_in_maps(self, address: int) -> Key | None:
        region: Region | None = read_table(self.files, native.MAPS).find(address)
        return None if region is None else key_of(region)

    def _look(self) -> None:
        """Reads maps, and finds all objects in it."""
        self._found = {}
        self._objects = []
        with self.files.memory("maps") as maps:
            table = read_table(self.files, native.MAPS)
            located = locate(self.files, maps, table)
            maps.check()
        for region in table:
            self._found[key_of(region)] = []
        for mapped, bias in located:
            if mapped.image is None:
                continue
            live = lay_out(table, mapped, bias)
            number = len(self._objects)
            anchors = [region for region in live.regions if region.inode]
            anchor = (anchors or live.regions or mapped.regions)[-1]
            self._objects.append((mapped, bias, key_of(anchor)))
            for start, end in live.pieces:
                for region in live.regions:
                    low, high = max(start, region.start), min(end, region.end)
                    if low < high:
                        self._found[key_of(region)].append((low, high, number))

    def _load(self, mapped: Mapped, debug_root: str) -> Loaded | None:
        """The symbols of an object; None if its file can no longer be opened."""
        if mapped.identity is None:
            key: tuple[Any, ...] = ("[vdso]", mapped.build_id)
        else:
            key = (*mapped.identity, mapped.build_id, debug_root)
        kept = _kept.get(key)
        if kept is None:
            kept = (
                self._load_vdso(mapped)
                if mapped.identity is None
                else self._read(mapped, debug_root)
            )
            if kept is not None:
                taken = sum(each.table.memory for each in _kept.values())
                if len(_kept) >= KEPT or taken + kept.table.memory > limits.KEPT_BYTES:
                    _kept.clear()
                _kept[key] = kept
        return kept

    def _load_vdso(self, mapped: Mapped) -> Loaded:
        region = mapped.regions[0]
        source = MemorySource(
            lambda address, size: read_memory(self.files, address, size),
            region.start,
            region.size,
            "[vdso]",
        )
        return Loaded(SymbolTable([ElfFile(source)]), None)

    def _open(self, mapped: Mapped) -> int | None:
        if mapped.link is None:
            return None
        told = stat_link(self.files, mapped.link, follow=True)
        if told is None or identity_of(told) != mapped.identity:
            return None
        return open_link(self.files, mapped.link, told)

    def _read(self, mapped: Mapped, debug_root: str) -> Loaded | None:
        elf = self.open_file(mapped)
        if elf is None:
            return None
        with elf:
            own = "" if has_lines(elf) else None
            left_out: list[str] = []
            places = debug_root, self._root()
            debug = open_debug_file(elf, mapped.path, *places, left_out)
            if debug is not None:
                # If the debug file is damaged (ElfError), the symbols of the file itself are used.
                with debug, suppress(ValueError):
                    table = SymbolTable([elf, debug])
                    lines = os.fsdecode(debug.source.path) if has_lines(debug) else own
                    return Loaded(table, lines, places, left_out)
            return Loaded(SymbolTable([elf]), own, places, left_out)

    def _root(self) -> str:
        """A prefix for paths in the process's root; "" if its root is this process's root, too."""
        ours, theirs = os.stat("/"), stat_link(self.files, "root", follow=True)
        if theirs is None or (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
            return ""
        return f"{self.files.path}/root"

    def open_file(self, mapped: Mapped) -> ElfFile | None:
        """The mapped file; None if it can no longer be opened."""
        fd = self._open(mapped)
        if fd is None:
            return None
        source = source_of(fd, os.fsdecode(mapped.path))
        try:
            return ElfFile(source)
        except BaseException:
            source.close()
            raise


def key_of(region: Region) -> Key:
    """The first words of a region's record, which PROCMAP_QUERY returns, too."""
    device = region._dev_major << 32 | region._dev_minor
    return region.start, region.end, region.offset, region.inode, device


INODE = native.INODE
KEY_WORDS = native.DEV + 1
