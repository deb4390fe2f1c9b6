"""The words for what a region is."""

from __future__ import annotations

import os

from procmem import (
    MiB,
    Use,
    parse_maps,
)
from procmem.regions.kinds import name_word
from tests.support.texts import kernel_line

PAGE = os.sysconf("SC_PAGESIZE")


def stack_text(*lines: tuple[int, int, str], libc: bytes = b"/usr/lib/libc.so.6") -> bytes:
    at = 0x7F0000000000
    text = [kernel_line(at, at + PAGE, "r-xp", 0, (8, 1), 7, libc).text]
    at += 64 * MiB
    for skip, size, perms in lines:
        at += skip
        text.append(kernel_line(at, at + size, perms, 0, (0, 0), 0, b"").text)
        at += size
    return b"\n".join(text) + b"\n"


def test_marks_of_names() -> None:
    table = parse_maps(stack_text((0, PAGE, "---p"), (0, 8 * MiB, "rw-p")))
    assert [name_word(r) for r in table] == ["libc.so.6", "stack guard?", "thread stack?"]
    assert str(Use("a", "b")) == "a"
    assert str(Use("a", "b", guess=True)) == "a?"
