"""Archives: long names, thin ones, and broken ones."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf import size, sizes
from procmem.errors import ElfError
from tests.support.elves import Section, archive, elf, member
from tests.support.hostile_elf import (
    procmem_command,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_thin_archive_of_one_large_file(program: Path, tmp_path: Path) -> None:
    """Each member costs as much as the file, and there may be 262,144 of them."""
    shutil.copy(program, tmp_path / "one")
    member = b"one/".ljust(16) + b"0".ljust(32) + b"16".ljust(10) + b"`\n"
    archive = tmp_path / "thin.a"
    archive.write_bytes(b"!<thin>\n" + member * 64)
    assert len(procmem.elf.sizes(archive)) == 64
    archive.write_bytes(b"!<thin>\n" + member * 200_000)
    with pytest.raises(procmem.ElfError, match="more than 64 times"):
        procmem.elf.sizes(archive)
    assert procmem_command("size", archive).returncode in (1, 2, 3)


def test_members_of_archives(tmp_path: Path) -> None:
    one = elf([Section(".text", 1, 6, b"abcd")])
    two = elf([Section(".data", 1, 3, b"ab")], bits=32)
    path = tmp_path / "lib.a"
    names = b"a_rather_long_name_for_a_member.o/\n"
    nested = archive(member(b"inner.o/", one))
    path.write_bytes(
        archive(
            member(b"//", names),
            member(b"one.o/", one),
            member(b"/0", two),
            member(b"#1/20", b"bsd long name.o\0\0\0\0\0" + one),
            member(b"nested.a/", nested),
        )
    )
    found = sizes(path)
    assert [(size.member, size.text, size.data) for size in found] == [
        ("one.o", 4, 0),
        ("a_rather_long_name_for_a_member.o", 0, 2),
        ("bsd long name.o", 4, 0),
    ]
    assert [section.name for section in found[2].sections][:1] == [".text"]
    with pytest.raises(ElfError, match="archive"):
        size(path)


def test_thin_archives(tmp_path: Path) -> None:
    (tmp_path / "one.o").write_bytes(elf([Section(".text", 1, 6, b"abcd")]))
    path = tmp_path / "thin.a"
    head = member(b"/0", b"", size=9)
    path.write_bytes(archive(member(b"//", b"one.o/\n"), head, magic=b"!<thin>\n"))
    (found,) = sizes(path)
    assert found.text == 4
    assert found.member == str(tmp_path / "one.o")
    assert [one.name for one in found.sections][:1] == [".text"]
    for target in (b"missing.o/\n", b"thin.a/\n", b"/dev/zero/\n"):
        path.write_bytes(archive(member(b"//", target), head, magic=b"!<thin>\n"))
        if target.startswith(b"thin"):
            assert sizes(path) == []
        else:
            with pytest.raises(ElfError):
                sizes(path)


@pytest.mark.parametrize(
    "data",
    [
        archive(member(b"//", b"abc", size=10**9)),
        archive(member(b"/", b"\xff\xff\xff\xff")),
        archive(member(b"/99", elf([]))[:200]),
        archive(b"x" * 80),
        archive(member(b"#1/99999", elf([]))),
        archive(member(b"t.txt/", b"no object\n")),
        b"!<arch>\nx",
    ],
)
def test_broken_archives(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.a"
    path.write_bytes(data)
    with pytest.raises(ElfError, match=r"broken\.a|t\.txt"):
        sizes(path)
