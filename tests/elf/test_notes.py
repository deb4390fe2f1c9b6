"""Notes of ELF files, and the build-id among them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from procmem.elf.headers import open_elf
from procmem.elf.notes import LONGEST, build_id, notes_in
from tests.support.elves import Section, elf, put

if TYPE_CHECKING:
    from pathlib import Path

ID = bytes(range(20))


def note(kind: int, description: bytes, owner: bytes, *, order: str = "<", step: int = 4) -> bytes:
    head = struct.pack(order + "III", len(owner), len(description), kind)
    data = head + owner
    data += bytes(-len(data) % step) + description
    return data + bytes(-len(data) % step)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("step", [4, 8])
def test_each_note_is_found_behind_the_padding_of_the_one_before(order: str, step: int) -> None:
    data = b"".join(
        note(kind, bytes(kind), b"GNU\0", order=order, step=step) for kind in (1, 5, 8, 0)
    )
    assert list(notes_in(data, order, step)) == [
        (b"GNU", kind, bytes(kind)) for kind in (1, 5, 8, 0)
    ]


def test_a_note_that_is_cut_is_left_out() -> None:
    whole = note(3, ID, b"GNU\0")
    for size in range(len(whole)):
        assert list(notes_in(whole[:size], "<", 4)) == []
    assert list(notes_in(whole + whole[:-1], "<", 4)) == [(b"GNU", 3, ID)]


@pytest.mark.parametrize(
    "notes, expected",
    [
        (note(1, b"x", b"GNU\0") + note(3, ID, b"GNU\0"), ID),
        (note(3, ID, b"Go\0\0"), b""),
        (note(3, bytes(LONGEST + 1), b"GNU\0"), b""),
        (b"", b""),
    ],
)
def test_the_build_id_is_gnus_note_of_type_3(tmp_path: Path, notes: bytes, expected: bytes) -> None:
    section = Section(".note", 7, flags=2, data=notes, align=4)
    with open_elf(put(tmp_path, elf([section]))) as opened:
        assert build_id(opened) == expected
