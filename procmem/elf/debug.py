"""Separate debug files, found as gdb finds them. Nothing is downloaded.

Source: gdb's manual, "Debugging Information in Separate Files".
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress

from procmem.elf import limits
from procmem.elf.headers import open_elf
from procmem.elf.limits import Deadline
from procmem.elf.notes import build_id
from procmem.elf.source import fail
from procmem.elf.spec import SHT_NOBITS
from procmem.procfs.text import kernel_bytes
from procmem.units import about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.elf.headers import ElfFile, Shdr

__all__ = ["DEBUG_ROOT", "has_lines", "open_alternate", "open_debug_file"]

DEBUG_ROOT = "/usr/lib/debug"

CHUNK = 1 << 20

LINKS_FOLLOWED = 8


def section_called(elf: ElfFile, *names: str) -> Shdr | None:
    """A section with one of the names that has contents; None if there is none."""
    return next(
        (
            section
            for section in elf.sections
            if section.sh_type != SHT_NOBITS and section.sh_size and section.name in names
        ),
        None,
    )


def has_lines(elf: ElfFile) -> bool:
    """Whether a file has source lines."""
    return section_called(elf, ".debug_line", ".zdebug_line") is not None


def open_debug_file(
    elf: ElfFile, path: bytes, debug_root: str, prefix: str, left_out: list[str]
) -> ElfFile | None:
    """The debug file of an ELF file, open; None if there is none that belongs to it.

    By the build-id below debug_root/.build-id, then by .gnu_debuglink: beside the file, in
    .debug beside it, and below debug_root. A file found by build-id must have that build-id,
    one found by name the checksum that the link has.

    Args:
        elf: the stripped file.
        path: where it lies.
        debug_root: usually /usr/lib/debug.
        prefix: put before all paths, such as "/proc/PID/root"; tried first, then without it.
        left_out: gets a sentence for each file that was too large to be checked.

    Raises:
        ElfError, OSError: as of ElfFile, for the stripped file.
    """
    name = build_id(elf)
    link = section_called(elf, ".gnu_debuglink")
    for place in dict.fromkeys((prefix, "")):
        found = of_build_id(name, place, debug_root)
        if found is not None:
            return found
        if link is not None:
            for candidate, checksum in linked(link, elf.layout.order, path, debug_root):
                found = opened(os.fsencode(place) + candidate)
                if found is not None:
                    with suppress(OSError):
                        try:
                            if crc(found) == checksum:
                                return found
                        except ValueError as error:  # ElfError: a bound
                            left_out.append(str(error))
                    found.close()
    return None


def of_build_id(name: bytes, place: str, debug_root: str) -> ElfFile | None:
    """The file below debug_root/.build-id that has a build-id."""
    if len(name) < 2:
        return None
    hexed = name.hex()
    found = opened(f"{place}{debug_root}/.build-id/{hexed[:2]}/{hexed[2:]}.debug".encode())
    if found is not None:
        with suppress(ValueError, OSError):
            if build_id(found) == name:
                return found
        found.close()
    return None


def open_alternate(elf: ElfFile, debug_root: str, prefix: str) -> ElfFile | None:
    """The file that dwz(1) has moved strings to, open; None if it is missing.

    It is named by .gnu_debugaltlink or by .debug_sup (DWARF 5), and must have the build-id
    that these tell. It is searched for under that name, which counts from the directory of
    the file that names it, and by its build-id below debug_root.

    Args:
        elf: the file whose debug information dwz has gone over.
        debug_root: as of open_debug_file().
        prefix: as well.
    """
    told = alternate_of(elf)
    if told is None:
        return None
    name, identity = told
    for place in dict.fromkeys((prefix, "")):
        if name.startswith(b"/"):
            candidates = [os.fsencode(place) + name]
        else:
            candidates = [
                os.path.join(os.path.dirname(each), name)
                for each in links_from(kernel_bytes(os.fspath(elf.source.path)), os.fsencode(place))
            ]
        for candidate in candidates:
            found = opened(candidate)
            if found is not None:
                with suppress(ValueError, OSError):
                    if build_id(found) == identity:
                        return found
                found.close()
        found = of_build_id(identity, place, debug_root)
        if found is not None:
            return found
    return None


def links_from(path: bytes, prefix: bytes) -> Iterator[bytes]:
    """A path, and those that it leads to as a symbolic link: below .build-id there are links."""
    for _ in range(LINKS_FOLLOWED):
        yield path
        try:
            target = os.readlink(path)
        except OSError:
            return
        path = (
            prefix + target if target[:1] == b"/" else os.path.join(os.path.dirname(path), target)
        )


def alternate_of(elf: ElfFile) -> tuple[bytes, bytes] | None:
    """Name and build-id of the file that the debug information refers to."""
    section = section_called(elf, ".gnu_debugaltlink")
    if section is not None:
        name, zero, identity = section.data(8192).partition(b"\0")
        return (name, identity) if name and zero and len(identity) > 1 else None
    section = section_called(elf, ".debug_sup")
    if section is None:
        return None
    # A half with the version, a byte that is 1 in the other file itself, name, length, identity.
    name, zero, rest = section.data(8192)[3:].partition(b"\0")
    identity = rest[1 : 1 + rest[0]] if rest and rest[0] < 128 else b""
    return (name, identity) if name and zero and len(identity) > 1 else None


def opened(path: bytes) -> ElfFile | None:
    try:
        return open_elf(os.fsdecode(path))
    except (ValueError, OSError):  # ElfError is a ValueError
        return None


def linked(link: Shdr, order: str, path: bytes, root: str) -> Iterator[tuple[bytes, int]]:
    """Where a debug link may lead, and the CRC-32 of the file."""
    data = link.data(4096)
    name, zero, _ = data.partition(b"\0")
    at = (len(name) + 4) // 4 * 4
    raw = data[at : at + 4]
    if not zero or not name or b"/" in name or len(raw) < 4:
        return
    checksum = int.from_bytes(raw, "little" if order == "<" else "big")
    folder = os.path.dirname(path)
    for place in (folder, folder + b"/.debug", os.fsencode(root) + folder):
        yield place + b"/" + name, checksum


def crc(elf: ElfFile) -> int:
    """The CRC-32 of a whole file.

    Raises:
        ElfError: it is too large, or takes too long.
        OSError
    """
    source = elf.source
    if source.size > limits.LINKED_FILE:
        fail(
            source.path,
            f"a debug file of {about(source.size)} is left out: its checksum is taken of at"
            f" most {about(limits.LINKED_FILE)}",
        )
    deadline = Deadline(source.path, "the checksum of a debug file", limits.LINKED_SECONDS)
    found = at = 0
    while chunk := source.read(at, CHUNK):
        found = zlib.crc32(chunk, found)
        at += len(chunk)
        deadline.check()
    return found
