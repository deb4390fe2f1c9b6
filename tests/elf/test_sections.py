"""The sections that GNU's library makes of a file: all rules, beside the short way in C."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf.counting import BSS, CODE, DATA, NOT_RECOGNIZED
from procmem.elf.headers import open_elf
from procmem.elf.sections import ObjectSections
from procmem.native import _records
from tests.support.elves import SECTIONS, Section, elf, put

if TYPE_CHECKING:
    from pathlib import Path

SYMTAB, STRTAB = 2, 3


@pytest.mark.parametrize("path", [os.path.realpath(sys.executable), _records.__file__])
def test_all_rules_and_the_short_way_count_the_same(path: str) -> None:
    sized = procmem.size(path)
    with open_elf(path) as opened:
        ours, theirs = ObjectSections(opened).sums()
    assert (ours[CODE], ours[DATA], ours[BSS]) == (sized.text, sized.data, sized.bss)
    gnu = sized.gnu
    assert (theirs[CODE], theirs[DATA], theirs[BSS]) == (gnu.text, gnu.data, gnu.bss)


def test_rows_are_in_the_order_of_the_headers(tmp_path: Path) -> None:
    with open_elf(put(tmp_path, elf(SECTIONS))) as opened:
        rows = list(ObjectSections(opened).rows())
    assert [row[:3] for row in rows][:2] == [(b".text", 0x1000, 4), (b".bss", 0, 5)]


def test_one_header_that_contradicts_refuses_the_whole(tmp_path: Path) -> None:
    symbols = Section(".symtab", SYMTAB, data=bytes(24), link=2, entsize=23)
    made = elf([symbols, Section(".strtab", STRTAB, data=b"\0")])
    with (
        open_elf(put(tmp_path, made)) as opened,
        pytest.raises(procmem.ElfError, match=NOT_RECOGNIZED),
    ):
        ObjectSections(opened)


def test_a_section_beyond_the_end_is_a_warning(tmp_path: Path) -> None:
    beyond = Section(".data", flags=3, data=b"abcd", fields={"size": 1 << 20})
    with open_elf(put(tmp_path, elf([beyond]))) as opened:
        made = ObjectSections(opened)
    assert made.warnings == ["has a section extending past end of file"]
