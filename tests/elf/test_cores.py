"""What GNU size counts of a core file."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf.cores import MOST_NOTES, CoreSections
from procmem.elf.counting import BSS, CODE, DATA
from procmem.elf.headers import open_elf
from tests.support.elves import Segment, elf, put
from tests.support.gnu_size import needs_size, same

if TYPE_CHECKING:
    from pathlib import Path

CORE, LOAD, NOTE = 4, 1, 4
READ, WRITE, EXECUTE = 4, 2, 1


def note(kind: int, description: bytes, owner: bytes = b"CORE\0") -> bytes:
    def padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % 4)

    head = struct.pack("<III", len(owner), len(description), kind)
    return head + padded(owner) + padded(description)


def core(folder: Path, notes: bytes = b"") -> Path:
    first = 64 + 4 * 56
    segments = [
        Segment(NOTE, 0, offset=first, filesz=len(notes), align=4),
        Segment(LOAD, READ | EXECUTE, offset=first, vaddr=0x1000, filesz=0, memsz=8192),
        Segment(LOAD, READ | WRITE, offset=first, vaddr=0x9000, filesz=0, memsz=4096),
        Segment(LOAD, READ, offset=first, vaddr=0x20000, filesz=0, memsz=100),
    ]
    return put(folder, elf(None, segments, type=CORE, tail=notes))


def test_segments_count_by_their_permissions(tmp_path: Path) -> None:
    path = core(tmp_path)
    with open_elf(path) as opened:
        ours, theirs = CoreSections(opened).sums()
    # Nothing has contents here: what may be written is bss, all else is code to Berkeley.
    assert (ours[CODE], ours[DATA], ours[BSS]) == (8292, 0, 4096)
    assert (theirs[CODE], theirs[DATA], theirs[BSS]) == (8192, 0, 4196)


@needs_size
def test_gnu_agrees(tmp_path: Path) -> None:
    path = str(core(tmp_path, note(6, bytes(16)) + note(0x46494C45, bytes(16))))
    for view in ("-A", "-B", "-G"):
        assert same([view, path])


def test_the_command_is_the_one_of_the_note(tmp_path: Path) -> None:
    info = bytearray(136)
    struct.pack_into("<i", info, 24, 77)
    info[56 : 56 + 9] = b"cat file "
    with open_elf(core(tmp_path, note(3, bytes(info)))) as opened:
        assert CoreSections(opened).command == b"cat file"


def test_a_note_beyond_its_segment_is_refused(tmp_path: Path) -> None:
    with (
        open_elf(core(tmp_path, note(6, bytes(16))[:-4])) as opened,
        pytest.raises(procmem.ElfError, match="not recognized"),
    ):
        CoreSections(opened)


def test_notes_end_somewhere(tmp_path: Path) -> None:
    with (
        open_elf(core(tmp_path, note(6, b"", b"") * (MOST_NOTES + 1))) as opened,
        pytest.raises(procmem.ElfError, match="more than"),
    ):
        CoreSections(opened)
