"""Separate debug files, found as gdb finds them. Nothing is downloaded.

Source: gdb's manual, "Debugging Information in Separate Files".
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress

from procmem.elf.headers import open_elf
from procmem.elf.notes import build_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.elf.headers import ElfFile, Shdr

__all__ = ["DEBUG_ROOT", "has_lines", "open_debug_file"]

DEBUG_ROOT = "/usr/lib/debug"

CHUNK = 1 << 20


def section_called(elf: ElfFile, *names: str) -> Shdr | None:
    """A section with one of the names; None if there is none."""
    return next((section for section in elf.sections if section.name in names), None)


def has_lines(elf: ElfFile) -> bool:
    """Whether a file tells source lines."""
    return section_called(elf, ".debug_line", ".zdebug_line") is not None


def open_debug_file(elf: ElfFile, path: bytes, debug_root: str, prefix: str = "") -> ElfFile | None:
    """The debug file of an ELF file, open; None if there is none that belongs to it.

    By the build-id below debug_root/.build-id, then by .gnu_debuglink: beside the file, in
    .debug beside it, and below debug_root. A file found by build-id must have that build-id,
    one found by name the checksum that the link tells.

    Args:
        elf: the stripped file.
        path: where it lies.
        debug_root: usually /usr/lib/debug.
        prefix: put before all paths, such as "/proc/PID/root"; tried first, then without it.

    Raises:
        ElfError, OSError: as of ElfFile, for the stripped file.
    """
    name = build_id(elf)
    link = section_called(elf, ".gnu_debuglink")
    for place in dict.fromkeys((prefix, "")):
        if len(name) > 1:
            hexed = name.hex()
            found = opened(f"{place}{debug_root}/.build-id/{hexed[:2]}/{hexed[2:]}.debug".encode())
            if found is not None:
                with suppress(ValueError, OSError):
                    if build_id(found) == name:
                        return found
                found.close()
        if link is not None:
            for candidate, checksum in linked(link, elf.layout.order, path, debug_root):
                found = opened(os.fsencode(place) + candidate)
                if found is not None:
                    if crc(found) == checksum:
                        return found
                    found.close()
    return None


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
    """The CRC-32 of a whole file."""
    found = at = 0
    while chunk := elf.source.read(at, CHUNK):
        found = zlib.crc32(chunk, found)
        at += len(chunk)
    return found
