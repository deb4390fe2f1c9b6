"""Files that claim terabytes, and tables that claim gigabytes.

Each command runs in a process of its own, with 2 GiB of address space and little time.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.support.hostile_elf import (
    COMPRESSED,
    GIB,
    MIB,
    PROGBITS,
    SHDR,
    STRTAB,
    SYMTAB,
    Added,
    add,
    procmem_command,
    running,
)

if TYPE_CHECKING:
    from pathlib import Path


def bomb(claimed: int, real: int = 64 * MIB) -> bytes:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(MIB)) for _ in range(real >> 20)) + packer.flush()
    return struct.pack("<IIQQ", 1, 0, claimed, 1) + packed


EMPTY = bytes(48)


def tables(count: int) -> list[Added]:
    return [(f".symtab{i}", SYMTAB, 0, EMPTY, 0, 0, ".strings", 24) for i in range(count)]


def sparse(name: str, size: int, kind: int = PROGBITS) -> Added:
    return (name, kind, 0, None, 32 * MIB, size, 0, 0)


def packed(name: str, contents: bytes) -> Added:
    return (name, PROGBITS, COMPRESSED, contents, 0, 0, 0, 0)


DEBUG = (".debug_info", ".debug_abbrev", ".debug_line")

HOSTILE: dict[str, tuple[list[Added], int, str]] = {
    "symbols": (
        [(".symtab", SYMTAB, 0, None, 64 * MIB, 1500 * MIB // 24 * 24, ".strings", 24),
         sparse(".strings", 1024, STRTAB)],
        4 * GIB, "65,536,000 symbols",
    ),
    "names": (
        [(".symtab", SYMTAB, 0, struct.pack("<IBBHQQ", 1, 18, 0, 1, 4096, 9) * 4, 0, 0,
          ".strings", 24),
         sparse(".strings", 3 * GIB, STRTAB)],
        4 * GIB, "3 GiB of names",
    ),
    "tables": ([*tables(300), sparse(".strings", 200 * MIB, STRTAB)], GIB, "302 tables of symbols"),
    "bomb": ([packed(name, bomb(4 * GIB)) for name in DEBUG], 0, "at most 512 MiB are"),
    "liar": ([packed(name, bomb(MIB)) for name in DEBUG], 0, "unpacks to another size"),
    "debug": ([sparse(name, 3 * GIB) for name in DEBUG], 4 * GIB, ""),
    "strings": (
        [(".debug_line", PROGBITS, 0, bytes(16), 0, 0, 0, 0),
         (".debug_info", PROGBITS, 0, struct.pack("<IHIB", 1 << 31, 4, 0, 8) + b"\1", 0, 0, 0, 0),
         sparse(".debug_abbrev", 3 * GIB)],
        4 * GIB, "can't be read",
    ),
    "relocations": (
        [(".rela.x", 4, 0, None, 32 * MIB, 2 * GIB, ".dynsym2", 24),
         (".dynsym2", 11, 0, None, 32 * MIB, 2 * GIB // 24 * 24, ".strings", 24),
         sparse(".strings", 1024, STRTAB),
         (".plt.x", PROGBITS, 6, None, 32 * MIB, 2 * GIB, 0, 16)],
        4 * GIB, "symbols, 2,097",
    ),
    "altlink": (
        [(".gnu_debugaltlink", PROGBITS, 0, b"huge.dbg\0" + bytes(20), 0, 0, 0, 0),
         (".debug_sup", PROGBITS, 0, b"\5\0\0" + b"x" * 8000, 0, 0, 0, 0)],
        0, "",
    ),
    "frames": ([sparse(".eh_frame_hdr", 3 * GIB)], 4 * GIB, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_file_claims_is_bounded(program: Path, tmp_path: Path, name: str) -> None:
    sections, size, words = HOSTILE[name]
    binary = tmp_path / "hostile"
    add(program, binary, sections, size)
    with running(binary) as (pid, address):
        done = procmem_command("query", str(pid), address)
        # What could be read is there, what was left out is said.
        assert "work" in done.stdout or words in done.stdout + done.stderr
        assert words in done.stdout + done.stderr
        for command in (
            ("sections", str(pid), "--totals"), ("maps", str(pid)), ("snapshot", str(pid)),
            ("size", binary),
        ):  # fmt: skip
            assert procmem_command(*command).returncode == 0


def many_sections(source: Path, to: Path, kind: int, flags: int) -> None:
    """A program with 250,000 sections more, by extended numbering; their names overlap."""
    data = bytearray(source.read_bytes())
    (offset,) = struct.unpack_from("<Q", data, 40)
    (count,) = struct.unpack_from("<H", data, 60)
    rows = [SHDR.unpack_from(data, offset + 64 * i) for i in range(count)]
    extra, strings = 250_000, b"a" * MIB
    start = len(data)
    data += strings
    named = ((i * 3 % MIB, kind, flags, 0x401000, 0x1000, 16) for i in range(extra))
    rows += [(*row, count + extra, 0, 1, 24) for row in named]
    rows.append((0, STRTAB, 0, 0, start, len(strings), 0, 0, 1, 0))
    rows[0] = (0, 0, 0, 0, 0, len(rows), len(rows) - 1, 0, 0, 0)
    struct.pack_into("<Q", data, 40, len(data))
    struct.pack_into("<HH", data, 60, 0, 0xFFFF)
    to.write_bytes(bytes(data) + b"".join(SHDR.pack(*row) for row in rows))
    to.chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize("kind, flags", [(PROGBITS, 0), (PROGBITS, 6), (SYMTAB, 0), (4, 0)])
def test_a_quarter_of_a_million_sections(
    program: Path, tmp_path: Path, kind: int, flags: int
) -> None:
    binary = tmp_path / "many"
    many_sections(program, binary, kind, flags)
    with running(binary) as (pid, address):
        for words in (
            ("query", str(pid), address), ("sections", str(pid), "--totals"), ("maps", str(pid)),
            ("size", binary),
        ):  # fmt: skip
            procmem_command(*words)
