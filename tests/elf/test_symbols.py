"""Tables of symbols: their limits, and what they share."""

from __future__ import annotations

import shutil
import struct
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf import limits
from procmem.elf.symbols import SymbolTable
from tests.support.elves import Section, elf
from tests.support.hostile_elf import (
    running,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_found_in_half_a_table_is_an_error(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SYMBOLS", 10)
    binary = tmp_path / "copy"
    shutil.copy(program, binary)
    with running(binary) as (pid, address):
        with pytest.raises(procmem.ElfError) as failed:
            procmem.Process(pid).symbol_at(int(address, 16))
        assert "at most 10 of one object are" in failed.value.reason
    procmem.process.symbols._kept.clear()


def test_tables_that_share_names_read_them_once() -> None:
    strings = b"\0" + b"name\0"
    symbol = struct.pack("<IBBHQQ", 1, 18, 0, 1, 0x1000, 8)
    count = limits.SYMBOL_TABLES
    one = Section(".symtab", 2, data=symbol, link=1 + count, entsize=24)
    from procmem.elf.headers import ElfFile
    from procmem.elf.image import MemorySource

    data = elf([*[one] * count, Section(".strtab", 3, data=strings)])
    source = MemorySource(lambda at, size: data[at : at + size], 0, len(data), "made")
    table = SymbolTable([ElfFile(source)])
    assert len(table) == count
    assert table.memory < 300 * count + 2 * len(strings)
    assert not table.left_out
