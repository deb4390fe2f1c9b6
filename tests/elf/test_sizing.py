"""Sizes from the API: what counts as what, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem.elf import Sums, size
from tests.support.elves import Section, elf

if TYPE_CHECKING:
    from pathlib import Path


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
