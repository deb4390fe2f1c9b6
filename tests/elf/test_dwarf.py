"""Damaged DWARF: named in words, and bounded."""

from __future__ import annotations

import random
import re
import struct
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf import limits
from procmem.elf.dwarf import Cursor, Damaged
from procmem.elf.headers import open_elf
from procmem.elf.lines import Lines
from tests.support.dwarf import (
    ABBREVIATION,
    CXX,
    build,
    info,
    line_table,
    made,
)

if TYPE_CHECKING:
    from pathlib import Path


SET = b"\0\x09\x02" + struct.pack("<Q", 0x1000)
END = b"\x02\x10\0\x01\x01"


def test_a_unit_that_does_not_tell_where_its_code_is(tmp_path: Path) -> None:
    path = made(tmp_path, info(b"\x01" + bytes(4)), line_table(SET + b"\x01" + END))
    with open_elf(path) as file:
        assert Lines(file).at(0x1008) == "a.c:1"
        assert Lines(file).at(0x1010) is None


@pytest.mark.parametrize(
    "units, table, abbreviations, words",
    [
        (info(b"\x01" + bytes(4), 6), line_table(), ABBREVIATION, "DWARF version 6"),
        (info(b"\x01" + bytes(4)), line_table(version=6), ABBREVIATION, "line table of version 6"),
        (info(b"\x02" + bytes(4)), line_table(), ABBREVIATION, "abbreviation 2 is missing"),
        (info(b"\x01"), line_table(), ABBREVIATION, "in the middle of a number"),
        (info(b"\x01" + bytes(4)), line_table(), b"\x01\x11\x00\x10\x7f\x00\x00\x00",
         "unknown form 0x7f"),
        (info(b"\x01" + bytes(4)), line_table(line_range=0), ABBREVIATION, "a zero where none"),
        (info(b"\x01\xff\xff\xff\x7f"), line_table(), ABBREVIATION, "refers to 0x7fffffff"),
        (b"\xf4\xff\xff\xff" + bytes(40), line_table(), ABBREVIATION, "no version of DWARF"),
        (b"\xff" * 12 + b"\4\0" + bytes(8) + b"\x08" + bytes(40), line_table(), ABBREVIATION,
         "beyond the end of .debug_info"),
        (info(b"\x01" + bytes(4)), line_table()[:-3], ABBREVIATION, "beyond the end"),
    ],
)  # fmt: skip
def test_damage_is_named(
    tmp_path: Path, units: bytes, table: bytes, abbreviations: bytes, words: str
) -> None:
    path = made(tmp_path, units, table, abbreviations)
    with open_elf(path) as file, pytest.raises(procmem.ElfError) as failed:
        Lines(file).at(0x1000)
    assert words in failed.value.reason
    assert "Error" not in failed.value.reason


def test_numbers_end_somewhere() -> None:
    assert Cursor(b"\xff" * 40 + b"\x7f", "<").uleb() < 1 << 64
    assert Cursor(b"\x7f", "<").sleb() == -1
    assert Cursor(b"\xc0\xbb\x78", "<").sleb() == -123456
    with pytest.raises(Damaged):
        Cursor(b"\xff" * 40, "<").uleb()


def test_a_line_table_with_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, info(b"\x01" + bytes(4)), line_table(SET + b"\x0d" * 100_000 + END))
    monkeypatch.setattr(limits, "LINE_ROWS", 50_000)
    with open_elf(path) as file, pytest.raises(procmem.ElfError, match="more than 50000 rows"):
        Lines(file).at(0x1000)
    monkeypatch.setattr(limits, "LINE_ROWS", 1 << 20)
    monkeypatch.setattr(limits, "LINE_TABLE", 4096)
    with open_elf(path) as file, pytest.raises(procmem.ElfError, match="at most 4 KiB"):
        Lines(file).at(0x1000)
    monkeypatch.setattr(limits, "LINE_TABLE", 1 << 20)
    monkeypatch.setattr(limits, "LINE_SECONDS", -1.0)
    with open_elf(path) as file, pytest.raises(procmem.ElfError, match="left out"):
        Lines(file).at(0x1000)


def test_too_many_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, info(b"\x01" + bytes(4)) * 3000, line_table(SET + b"\x01" + END))
    with open_elf(path) as file:
        assert Lines(file).at(0x1008) == "a.c:1"
    monkeypatch.setattr(limits, "UNITS", 1000)
    with open_elf(path) as file, pytest.raises(procmem.ElfError, match="more than 1000 units"):
        Lines(file).at(0x1008)


def test_chance_damage_is_an_elf_error(tmp_path: Path) -> None:
    whole = build(tmp_path, CXX, "g++", "-g").read_bytes()
    path = tmp_path / "damaged"
    path.write_bytes(whole)
    with open_elf(path) as file:
        parts = [(s.sh_offset, s.sh_size) for s in file.sections if s.name.startswith(".debug")]
        (code,) = [s for s in file.sections if s.name == ".text"]
    chance = random.Random(11)
    told = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 5, 30))):
            start, size = chance.choice(parts)
            data[start + chance.randrange(size)] = chance.choice((0, 1, 127, 128, 255))
        path.write_bytes(data)
        with open_elf(path) as file:
            try:
                lines = Lines(file)
                for at in range(0, code.sh_size, 16):
                    lines.at(code.sh_addr + at)
                told += 1
            except procmem.ElfError as error:
                assert not re.search(r"\b\w*(Error|Exception)\b", error.reason), error.reason
    assert told
