"""ELF files with sections that claim anything, and commands under limits of memory and time."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "COMPRESSED",
    "GIB",
    "MIB",
    "PROGBITS",
    "SHDR",
    "STRTAB",
    "SYMTAB",
    "Added",
    "add",
    "procmem_command",
    "running",
]

MIB, GIB = 1 << 20, 1 << 30
MEMORY = 2 * GIB
SECONDS = 300
"""Far more than any of them takes; a machine may be busy."""

SHDR = struct.Struct("<IIQQQQIIQQ")
SYMTAB, STRTAB, PROGBITS, COMPRESSED = 2, 3, 1, 0x800

Added = tuple[str, int, int, "bytes | None", int, int, "int | str", int]
"""Name, type, flags, contents or None, offset and size if None, link, entry size."""


def add(source: Path, to: Path, sections: list[Added], size: int = 0) -> None:
    """Adds sections to an ELF file, whatever they claim."""
    data = bytearray(source.read_bytes())
    (offset,) = struct.unpack_from("<Q", data, 40)
    count, names_at = struct.unpack_from("<HH", data, 60)
    table: list[list[int | str]] = [
        list(SHDR.unpack_from(data, offset + 64 * i)) for i in range(count)
    ]
    strings = bytearray(data[table[names_at][4] : table[names_at][4] + table[names_at][5]])
    numbers: dict[str, int] = {}
    for name, kind, flags, contents, at, claimed, link, entsize in sections:
        start, length = at, claimed
        if contents is not None:
            data += bytes(-len(data) % 16)
            start, length = len(data), len(contents)
            data += contents
        numbers[name] = len(table)
        table.append([len(strings), kind, flags, 0, start, length, link, 0, 8, entsize])
        strings += name.encode() + b"\0"
    for row in table:
        row[6] = numbers[row[6]] if isinstance(row[6], str) else row[6]
    table[names_at][4:6] = [len(data), len(strings)]
    data += strings + bytes(-len(strings) % 16)
    struct.pack_into("<Q", data, 40, len(data))
    struct.pack_into("<H", data, 60, len(table))
    for row in table:
        data += SHDR.pack(*row)
    to.write_bytes(data)
    to.chmod(0o755)
    if size:
        try:
            os.truncate(to, size)
        except OSError as error:
            pytest.skip(f"no sparse file of {size} bytes here: {error.strerror}")


@contextmanager
def running(binary: Path) -> Iterator[tuple[int, str]]:
    """A process of a program, and the address that it prints."""
    with subprocess.Popen([binary], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child.pid, child.stdout.readline().strip()
        finally:
            child.kill()


def procmem_command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command under its limits; it must end by itself and without a traceback."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    done = subprocess.run(
        [sys.executable, "-m", "procmem", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        preexec_fn=limit,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1, 2, 3), done.stderr
    return done
