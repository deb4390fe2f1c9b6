"""Headers of ELF files as objects: both classes, both orders, extended numbering, bad input."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procmem import elf as package
from procmem.elf import ElfFile, open_elf, size, sizes
from procmem.elf.programs import program
from procmem.elf.source import open_source
from procmem.elf.spec import PT_LOAD, SHF_ALLOC, SHT_NOBITS, name_of
from procmem.errors import ElfError
from tests.support.elves import SECTIONS, Section, Segment, elf, put

if TYPE_CHECKING:
    from pathlib import Path


def test_all_names_are_there() -> None:
    assert all(getattr(package, name) is not None for name in package.__all__)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_fields_have_the_names_of_the_specification(tmp_path: Path, bits: int, order: str) -> None:
    segment = Segment(PT_LOAD, 5, 0, 0x1000, 4, 9, 4096)
    path = put(tmp_path, elf(SECTIONS, [segment], bits=bits, order=order, type=2, machine=8))
    with open_elf(path) as found:
        assert (found.header.e_type, found.header.e_machine, found.header.e_shnum) == (2, 8, 4)
        _, text, bss, names = found.sections
        assert (text.name, text.sh_addr, text.sh_size, text.data()) == (".text", 0x1000, 4, b"abcd")
        assert (bss.sh_type, bss.sh_flags & SHF_ALLOC, bss.data()) == (SHT_NOBITS, 2, b"")
        assert names.name == ".shstrtab"
        (load,) = found.segments
        assert (load.p_type, load.p_flags, load.p_vaddr) == (PT_LOAD, 5, 0x1000)
        assert (load.p_filesz, load.p_memsz, load.p_align) == (4, 9, 4096)
        assert load == found.loads()[0]
        assert hash(load) == hash(found.loads()[0])
        assert "p_memsz=0x9" in repr(load)


def test_constants_are_named() -> None:
    assert name_of("SHT_", SHT_NOBITS) == "SHT_NOBITS"
    assert name_of("SHT_", 12345) is None


def extended(sections: int = 3, segments: int = 2) -> bytes:
    data = bytearray(
        elf(
            [Section(".s", 1, 2, b"x") for _ in range(sections)],
            [Segment(PT_LOAD, 4, 0, i << 12, 0, 4096) for i in range(segments)],
            type=2,
            shnum=0,
            shstrndx=0xFFFF,
            phnum=0xFFFF,
        )
    )
    (shoff,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<Q", data, shoff + 32, sections + 2)
    struct.pack_into("<II", data, shoff + 40, sections + 1, segments)
    return bytes(data)


def test_extended_numbering(tmp_path: Path) -> None:
    path = put(tmp_path, extended())
    with open_elf(path) as found:
        assert (found.shnum, found.shstrndx, found.phnum) == (5, 4, 2)
        assert [one.name for one in found.sections[1:]] == [".s", ".s", ".s", ".shstrtab"]
        assert len(found.segments) == 2
    assert size(path).text == 3


def test_seventy_thousand_sections_and_segments(tmp_path: Path) -> None:
    path = put(tmp_path, extended(70_000, 70_000))
    start = time.process_time()
    assert size(path).text == 70_000
    assert len(size(path).sections) == 70_000
    with open_elf(path) as found:
        assert len(found.segments) == 70_000
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7fEL",
        b"\x7fELF",
        b"text\n" * 40,
        elf(SECTIONS)[:60],
        elf(SECTIONS, ident_4=3),
        elf(SECTIONS, ident_5=0),
        elf(SECTIONS, shoff=1 << 63),
        elf(SECTIONS, shnum=60_000),
        elf(SECTIONS, shentsize=63),
        elf(SECTIONS, [Segment()], type=2, phnum=50_000),
    ],
)
def test_what_is_malformed_is_an_elf_error_with_the_path(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path, data)
    for ask in (size, sizes, program):
        with pytest.raises(ElfError) as caught:
            ask(path)
        assert str(path) in str(caught.value)


def test_a_count_of_2_to_the_64_is_refused_at_once(tmp_path: Path) -> None:
    data = bytearray(extended())
    (shoff,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<Q", data, shoff + 32, (1 << 64) - 1)
    with pytest.raises(ElfError):
        size(put(tmp_path, bytes(data)))


def test_a_sparse_file_of_many_headers_is_refused(tmp_path: Path) -> None:
    data = bytearray(extended())
    (shoff,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<Q", data, shoff + 32, 1 << 24)
    path = put(tmp_path, bytes(data))
    os.truncate(path, 1 << 31)
    with pytest.raises(ElfError, match="at most"):
        size(path)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, "/dev/null", "/dev/zero"):
        for ask in (size, sizes, program, open_elf):
            with pytest.raises(ElfError):
                ask(path)
    with pytest.raises(FileNotFoundError):
        size(tmp_path / "missing")


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = put(tmp_path, elf(SECTIONS))
    with open_source(path) as source:
        found = ElfFile(source)
        source._head = b""
        os.truncate(path, 70)
        with pytest.raises(ElfError, match="cut short"):
            found.sections  # noqa: B018 - it is read when it is asked for


def test_sections_of_another_file_are_not_passed_off(tmp_path: Path) -> None:
    path = put(tmp_path, elf(SECTIONS))
    found = size(path)
    path.write_bytes(elf([*SECTIONS, Section(".more", 1, 2, b"abc")]))
    with pytest.raises(ElfError, match="changed"):
        found.sections  # noqa: B018


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_behind_the_magic(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = put(tmp_path_factory.getbasetemp(), b"\x7fELF" + data)
    for ask in (size, sizes, program):
        with contextlib.suppress(ElfError):
            ask(path)


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    whole = elf(
        [*SECTIONS, Section(".note", 7, 2, struct.pack("<III", 4, 4, 3) + b"GNU\0abcd")],
        [Segment(4, 4, 120, 0, 20, 20, 4)],
        type=2,
    )
    expected = size(put(tmp_path, whole))
    for length in range(len(whole)):
        path = put(tmp_path, whole[:length])
        for ask in (size, program):
            with pytest.raises(ElfError):
                ask(path)
    assert size(put(tmp_path, whole)).text == expected.text
