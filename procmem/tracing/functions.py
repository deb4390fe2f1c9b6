"""Finds malloc and the like in a mapped file, for the tracer's breakpoints."""

from __future__ import annotations

import contextlib
import os
import platform
from typing import NamedTuple

from procmem.elf.debug import DEBUG_ROOT, open_debug_file
from procmem.elf.headers import ElfFile
from procmem.elf.source import Source
from procmem.elf.spec import PF_X, SHT_SYMTAB
from procmem.elf.symbols import EM_X86_64, functions_named
from procmem.errors import ElfError
from procmem.procfs import ProcessFiles
from procmem.procfs.mapped import names_on_disk, open_link, read_memory, stat_link
from procmem.tracing.allocators import FUNCTIONS, RUNTIMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Code", "find"]

X86 = platform.machine() == "x86_64"

NAMES = frozenset(one.symbol for one in FUNCTIONS) | frozenset(RUNTIMES)

CHECKED = 16
"""Bytes of each function that must be the same in memory as in the file."""

LOADERS = (b"ld-linux", b"ld64.so", b"ld.so")
"""glibc's loaders have a malloc of their own, for the time before libc is loaded."""

FORWARD = (b"libstdc++.so", b"libc++.so", b"libc++abi.so")
"""Their operator new calls malloc and their operator delete calls free, which are traced."""

MOST_KEPT = 64

DEBUG_FILES = 1 << 28
"""The largest debug file, in bytes, that is searched: larger ones have millions of symbols."""


class Code(NamedTuple):
    """Functions in one executable mapping.

    Attributes:
        room: first and last address of the unused bytes after the code.
        functions: numbers in FUNCTIONS, addresses (0: the code in memory is not that of the file),
            and whether the address is that of a resolver (STT_GNU_IFUNC).
        why: which allocator of its own a runtime in the file has; else empty.
    """

    room: tuple[int, int]
    functions: list[tuple[int, int, bool]]
    why: str


class CodeSegment(NamedTuple):
    """An executable PT_LOAD segment, with addresses of the file, and the functions in it."""

    offset: int
    address: int
    size: int
    padded: bool
    functions: tuple[tuple[int, int, bool, bytes], ...]
    why: str


KEPT: dict[tuple[int, ...], tuple[CodeSegment, ...]] = {}
"""Segments of files by device, inode, size and mtime."""


def find(pid: int, start: int, end: int, offset: int, inode: int, path: bytes) -> Code | None:
    """Functions in an executable mapping of a file; None: it can't be read, or is not an ELF file.

    Functions whose code in memory differs from the file are left out.

    Args:
        pid: the process.
        start: the start of the mapping.
        end: the end of the mapping.
        offset: the offset of the mapping in the file.
        inode: the inode of the file.
        path: the path of the file, as in maps.
    """
    files = ProcessFiles(pid)
    page = os.sysconf("SC_PAGESIZE")
    with contextlib.suppress(OSError, ElfError):
        for fd in opened(files, start, end, inode, path):
            try:
                status = os.fstat(fd)
                key = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
                segments = segments_of(fd, key, path, f"/proc/{pid}/root")
            finally:
                os.close(fd)
            for one in segments:
                if one.offset - one.offset % page != offset:
                    continue
                bias = start + one.offset % page - one.address
                last = bias + one.address + one.size
                room = (last, min(end, -(-last // page) * page)) if one.padded else (last, last)
                return Code(room, *there(files, one, bias, (start, end), os.path.basename(path)))
    return None


def there(
    files: ProcessFiles, segment: CodeSegment, bias: int, bounds: tuple[int, int], name: bytes
) -> tuple[list[tuple[int, int, bool]], str]:
    """The functions of a mapped segment, and which allocator of its own a runtime has."""
    if name.startswith(LOADERS):
        return [], ""
    found = []
    for number, value, chooses, code in segment.functions:
        if name.startswith(FORWARD) and FUNCTIONS[number].is_operator:
            continue
        if not bounds[0] <= bias + value < bounds[1]:
            continue
        if read_memory(files, bias + value, CHECKED) != code:
            found.append((number, 0, False))
        else:
            found.append((number, bias + value, chooses))
    return found, segment.why


def opened(files: ProcessFiles, start: int, end: int, inode: int, path: bytes) -> Iterator[int]:
    """Descriptors of files that may be the mapped one, the most certain first."""
    names = [b"map_files/%x-%x" % (start, end), files.memory_name("exe").encode()]
    for name in (*names, *names_on_disk(files, path)):
        status = stat_link(files, name, follow=True)
        if status is not None and status.st_ino == inode:
            fd = open_link(files, name, status)
            if fd is not None:
                yield fd


def segments_of(fd: int, key: tuple[int, ...], path: bytes, prefix: str) -> tuple[CodeSegment, ...]:
    """The executable segments of a file; kept, since all programs map the same libc.

    Raises:
        ElfError, OSError: as of ElfFile.
    """
    if key not in KEPT:
        if len(KEPT) >= MOST_KEPT:
            KEPT.clear()
        KEPT[key] = read(ElfFile(Source(fd, 0, key[2], "mapped file")), path, prefix)
    return KEPT[key]


def read(elf: ElfFile, path: bytes, prefix: str) -> tuple[CodeSegment, ...]:
    # On other architectures the tracer reports that it sets no breakpoints.
    if not elf.layout.is64 or (elf.header.e_machine != EM_X86_64 and X86):
        return ()
    values = functions_named([elf], NAMES)
    if not values and not any(section.sh_type == SHT_SYMTAB for section in elf.sections):
        with contextlib.suppress(OSError, ElfError):
            debug = open_debug_file(elf, path, DEBUG_ROOT, prefix, [])
            if debug is not None:
                try:
                    if debug.source.size <= DEBUG_FILES:
                        values = functions_named([debug], NAMES)
                finally:
                    debug.close()
    why = "; ".join(text for name, text in RUNTIMES.items() if name in values)
    if not why and any(section.name == ".gopclntab" for section in elf.sections):
        why = RUNTIMES["runtime.mallocgc"]
    found = []
    for load in elf.loads():
        if not load.p_flags & PF_X:
            continue
        inside = []
        known: set[int] = set()
        for number, one in enumerate(FUNCTIONS):
            value, chooses = values.get(one.symbol, (-1, False))
            at = value - load.p_vaddr
            if value in known or not 0 <= at < load.p_filesz:
                continue
            known.add(value)
            code = elf.source.read(load.p_offset + at, CHECKED)
            if len(code) == CHECKED:
                inside.append((number, value, chooses, code))
        padded = load.p_memsz == load.p_filesz
        found.append(
            CodeSegment(load.p_offset, load.p_vaddr, load.p_filesz, padded, tuple(inside), why)
        )
    return tuple(found)
