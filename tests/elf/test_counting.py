"""What a section counts as, from its flags."""

from __future__ import annotations

from itertools import product

import pytest

from procmem.elf.counting import (
    ALLOC,
    BSS,
    CODE,
    CODE_FLAG,
    CONTENTS,
    DATA,
    NONE,
    OTHER,
    READONLY,
    berkeley,
    gnu,
)

FLAGS = ALLOC, CONTENTS, READONLY, CODE_FLAG, OTHER


@pytest.mark.parametrize(
    "flags, in_berkeley, in_gnu",
    [
        (ALLOC | CONTENTS | READONLY | CODE_FLAG, CODE, CODE),  # .text
        (ALLOC | CONTENTS | READONLY, CODE, DATA),  # .rodata
        (ALLOC | CONTENTS, DATA, DATA),  # .data
        (ALLOC, BSS, BSS),  # .bss
        (ALLOC | READONLY, CODE, BSS),  # NOBITS that may not be written
        (CONTENTS | READONLY, NONE, NONE),  # .debug_info
        (0, NONE, NONE),
    ],
)
def test_sections_of_a_linker(flags: int, in_berkeley: int, in_gnu: int) -> None:
    assert (berkeley(flags), gnu(flags)) == (in_berkeley, in_gnu)


def test_all_flags() -> None:
    for chosen in product((False, True), repeat=len(FLAGS)):
        flags = sum(flag for flag, is_set in zip(FLAGS, chosen, strict=True) if is_set)
        # Nothing counts unless it is allocated; no flag besides these four matters.
        assert (berkeley(flags) != NONE) == (gnu(flags) != NONE) == bool(flags & ALLOC)
        assert berkeley(flags) == berkeley(flags ^ OTHER)
        assert gnu(flags) == gnu(flags ^ OTHER)
        # The views differ in what may not be written and is no code.
        if berkeley(flags) != gnu(flags):
            assert flags & READONLY
            assert not flags & CODE_FLAG
