"""Where an ELF file was loaded, by its program headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf import open_elf
from procmem.elf.image import Image, Load, place
from tests.support.elves import Section, Segment, elf
from tests.support.targets import PAGE, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Target]
    Build = Callable[[str], Path]


def image_with(*loads: Load) -> Image:
    image = Image.__new__(Image)
    image.loads, image.relro, image.sections = list(loads), None, []
    return image


def test_two_segments_in_one_file_page_are_told_apart() -> None:
    # As gcc -Wl,-z,noseparate-code: file page 0 holds the end of the first, the start of the other.
    image = image_with(Load(0, 0, 0xD00, 0xD00, 5), Load(0xD00, 0x1D00, 0x200, 0x400, 6))
    base = 0x7F0000000000
    regions = [
        procmem.Region(base, base + PAGE, "r-xp", 0, (8, 1), 7, "/lib/x.so"),
        procmem.Region(base + PAGE, base + 2 * PAGE, "rw-p", 0, (8, 1), 7, "/lib/x.so"),
    ]
    assert place(image, regions, PAGE) == [base]


def test_a_library_may_be_there_twice() -> None:
    image = image_with(Load(0, 0, 0x1800, 0x1800, 5), Load(0x1800, 0x3800, 0x200, 0x400, 6))
    regions = []
    for base in (0x10000000, 0x10010000):
        regions += [
            procmem.Region(base, base + 0x2000, "r-xp", 0, (8, 1), 7, "/lib/x.so"),
            procmem.Region(base + 0x3000, base + 0x4000, "rw-p", 0x1000, (8, 1), 7, "/lib/x.so"),
        ]
    assert place(image, regions, 0x1000) == [0x10000000, 0x10010000]


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "many"
    loads = [Segment(vaddr=at << 12, filesz=1, memsz=1) for at in range(70_000)]
    path.write_bytes(elf(None, loads, type=3, phnum=65_000))
    with open_elf(path) as file, pytest.raises(procmem.ElfError):
        Image(file)
    text = [Section(flags=2, addr=1 << 12) for _ in range(70_000)]
    path.write_bytes(elf(text, names=False, shnum=0, type=3))
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[40:48], "little")
    data[start + 32 : start + 40] = (70_001).to_bytes(8, "little")  # sh_size of section 0
    path.write_bytes(data)
    with open_elf(path) as file, pytest.raises(procmem.ElfError):
        Image(file)
