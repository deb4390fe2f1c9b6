"""Where a mapped file has malloc and its kin, for the tracer's breakpoints."""

from __future__ import annotations

import contextlib
import os
import platform
from typing import NamedTuple

from procmem.elf.headers import ElfFile
from procmem.elf.source import Source
from procmem.elf.spec import PF_X
from procmem.elf.symbols import EM_X86_64, functions_named
from procmem.errors import ElfError
from procmem.procfs import ProcessFiles
from procmem.procfs.mapped import names_on_disk, open_link, read_memory, stat_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Code", "find"]

X86 = platform.machine() == "x86_64"

CHECKED = 16
"""Bytes of each function that must lie in memory as they lie in the file."""

LOADERS = (b"ld-linux", b"ld64.so", b"ld.so")
"""glibc's own loaders have had a malloc for the time until libc is there."""


MOST_KEPT = 64


class Code(NamedTuple):
    """Functions in one executable mapping.

    Attributes:
        room: first and last address of bytes behind the code that nothing uses.
        functions: names and addresses.
    """

    room: tuple[int, int]
    functions: list[tuple[str, int]]


class Segment(NamedTuple):
    """An executable PT_LOAD, in the file's addresses, and the functions of the file."""

    offset: int
    address: int
    size: int
    padded: bool
    functions: tuple[tuple[str, int, bytes], ...]


KEPT: dict[tuple[tuple[int, ...], tuple[str, ...]], tuple[Segment, ...]] = {}
"""By device, inode, size and time of change."""


def find(
    pid: int, start: int, end: int, offset: int, inode: int, path: bytes, names: Sequence[str]
) -> Code | None:
    """Functions in an executable mapping of a file; None: it can't be read, or is no ELF file.

    Where a copy of a file differs from what is mapped, its functions are left out.

    Args:
        pid: the process.
        start: of the mapping.
        end: likewise.
        offset: of it in the file.
        inode: of the file.
        path: of the file, as maps has it.
        names: of the functions.
    """
    files = ProcessFiles(pid)
    page = os.sysconf("SC_PAGESIZE")
    with contextlib.suppress(OSError, ElfError):
        for fd in opened(files, start, end, inode, path):
            try:
                status = os.fstat(fd)
                key = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
                segments = segments_of(fd, key, tuple(names))
            finally:
                os.close(fd)
            for one in segments:
                if one.offset - one.offset % page != offset:
                    continue
                bias = start + one.offset % page - one.address
                last = bias + one.address + one.size
                room = (last, min(end, -(-last // page) * page)) if one.padded else (last, last)
                loader = os.path.basename(path).startswith(LOADERS)
                return Code(
                    room,
                    []
                    if loader
                    else [
                        (name, bias + value)
                        for name, value, code in one.functions
                        if start <= bias + value < end
                        and read_memory(files, bias + value, CHECKED) == code
                    ],
                )
    return None


def opened(files: ProcessFiles, start: int, end: int, inode: int, path: bytes) -> Iterator[int]:
    """Descriptors of what may be the mapped file, the surest first."""
    names = [b"map_files/%x-%x" % (start, end), files.memory_name("exe").encode()]
    for name in (*names, *names_on_disk(files, path)):
        told = stat_link(files, name, follow=True)
        if told is not None and told.st_ino == inode:
            fd = open_link(files, name, told)
            if fd is not None:
                yield fd


def segments_of(fd: int, key: tuple[int, ...], names: tuple[str, ...]) -> tuple[Segment, ...]:
    """What a file has; kept, since all programs map the same libc.

    Raises:
        ElfError, OSError: as of ElfFile.
    """
    if (key, names) not in KEPT:
        if len(KEPT) >= MOST_KEPT:
            KEPT.clear()
        KEPT[key, names] = read(ElfFile(Source(fd, 0, key[2], "mapped file")), names)
    return KEPT[key, names]


def read(elf: ElfFile, names: tuple[str, ...]) -> tuple[Segment, ...]:
    # Elsewhere the tracer says that it places none.
    if not elf.layout.is64 or (elf.header.e_machine != EM_X86_64 and X86):
        return ()
    values = functions_named(elf, names)
    found = []
    for load in elf.loads():
        if not load.p_flags & PF_X:
            continue
        inside = tuple(
            (name, values[name], code)
            for name in names
            if name in values
            and 0 <= (at := values[name] - load.p_vaddr) < load.p_filesz
            and len(code := elf.source.read(load.p_offset + at, CHECKED)) == CHECKED
        )
        found.append(
            Segment(
                load.p_offset, load.p_vaddr, load.p_filesz, load.p_memsz == load.p_filesz, inside
            )
        )
    return tuple(found)
