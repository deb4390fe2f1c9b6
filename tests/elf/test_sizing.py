"""Sizes from the API: what counts as what, why, archives, the program's type and the bridge."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from procmem.elf import Sums, size, sizes
from procmem.elf.programs import program
from procmem.errors import ElfError
from tests.support.elves import Section, Segment, archive, elf, member

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
#include <stdio.h>
__thread int each; __thread int filled = 4;
const int table[100] = {1}; int zeros[1000]; int ones[50] = {1};
__attribute__((section("odd_place"))) int odd = 3;
int main(void) { return printf("%d", each + filled + table[2] + zeros[1] + odd + ones[1]); }
"""


def compiled(folder: Path, *flags: str) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")
    source, made = folder / "program.c", folder / "made"
    source.write_text(SOURCE)
    done = subprocess.run(
        ["gcc", source, "-o", made, *flags], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this toolchain can't build with {' '.join(flags)}")
    return made


def test_each_kind_and_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(
        elf(
            [
                Section(".text", 1, 6, b"abcd"),
                Section(".rodata", 1, 2, b"abc"),
                Section(".data", 1, 3, b"ab"),
                Section(".bss", 8, 3, b"1"),
                Section(".rozero", 8, 2, b"12345"),
                Section(".comment", 1, 0, b"123456"),
            ]
        )
    )
    found = size(path)
    assert (found.text, found.data, found.bss, found.total) == (4 + 3 + 5, 2, 1, 15)
    assert found.gnu == Sums(4, 3 + 2, 1 + 5)
    assert found.gnu.total == 15
    kinds = {one.name: (one.counts_as, one.counts_as_gnu) for one in found.sections}
    assert kinds == {
        ".text": ("text", "text"),
        ".rodata": ("text", "data"),
        ".data": ("data", "data"),
        ".bss": ("bss", "bss"),
        ".rozero": ("text", "bss"),
        ".comment": (None, None),
    }
    why = {one.name: one.why for one in found.sections}
    assert why[".rodata"] == (
        "allocated, read-only, with contents: counts as text in Berkeley's view, as data in GNU's"
    )
    assert why[".text"] == "allocated, code: counts as text in both views"
    assert why[".bss"] == "allocated, writable, no contents: counts as bss in both views"
    assert "not allocated" in why[".comment"]
    assert found.member is None
    assert found.path == str(path)
    assert found.to_dict()["gnu"]["data"] == 5


def test_sums_wrap(tmp_path: Path) -> None:
    path = tmp_path / "file"
    huge = [Section(f".b{i}", 8, 3, fields={"size": 1 << 63}) for i in range(2)]
    path.write_bytes(elf([*huge, Section(".c", 8, 3, b"123")]))
    assert size(path).bss == size(path).total == 3


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


@pytest.mark.parametrize(
    "flags, kind, relro",
    [
        (("-pie", "-fPIE", "-Wl,-z,now"), "dynamic PIE", "full"),
        (("-no-pie", "-Wl,-z,lazy"), "dynamic executable", "partial"),
        (("-static", "-no-pie"), "static executable", None),
        (("-static-pie", "-fPIE"), "static PIE", None),
        (("-shared", "-fPIC", "-Wl,-z,lazy", "-Wl,-z,norelro"), "shared object", "none"),
        (("-c",), "object", "none"),
    ],
)
def test_the_programs_type(
    tmp_path: Path, flags: tuple[str, ...], kind: str, relro: str | None
) -> None:
    path = compiled(tmp_path, *flags, *(() if "-c" in flags else ("-Wl,--build-id",)))
    found = program(path)
    assert found.kind == kind
    assert relro is None or found.relro == relro
    assert (found.interpreter is not None) == kind.startswith("dynamic")
    if kind == "object":
        assert found.bridge is None
        return
    assert found.nx is True
    assert found.build_id is not None
    assert len(found.build_id) == 40
    assert found.bridge is not None
    assert found.bridge.remainder == 0
    assert found.bridge.start == size(path).total
    steps = {step.what.partition(":")[0]: step.size for step in found.bridge.steps}
    assert steps[".tbss"] <= -4


def test_a_stack_that_can_run_code(tmp_path: Path) -> None:
    assert program(compiled(tmp_path, "-z", "execstack")).nx is False


def test_debug_files(tmp_path: Path) -> None:
    path = compiled(tmp_path, "-g")
    if not shutil.which("objcopy"):
        pytest.skip("no objcopy here")
    debug = tmp_path / "made.debug"
    subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
    assert program(debug).kind == "debug file"
    assert program(debug).build_id == program(path).build_id
    # Sections without contents are told by their flags, as with the program itself.
    assert size(debug).text == size(path).text


def test_the_bridge_of_odd_segments(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(
        elf(
            [
                Section(".text", 1, 6, b"a" * 100, addr=0x1100),
                Section(".again", 1, 2, b"a" * 50, addr=0x1120),
                Section(".outside", 1, 2, b"a" * 10, addr=0x90000),
                Section(".tbss", 8, 0x403, b"a" * 30, addr=0x2000),
                Section(".bss", 8, 3, b"a" * 40, addr=0x1FF0),
            ],
            [Segment(1, 5, 0, 0x1000, 0x200, 0x200), Segment(1, 6, 0, 0x1FF0, 0, 0x40)],
            type=2,
        )
    )
    bridge = program(path, page_size=4096).bridge
    assert bridge is not None
    assert (bridge.start, bridge.occupied, bridge.remainder) == (230, 0x2000, 0)
