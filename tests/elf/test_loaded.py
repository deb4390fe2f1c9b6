"""Ranges of addresses: what loaded files cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem.elf.loaded import union, without

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.targets import Target

    Start = Callable[..., Target]
    Build = Callable[[str], Path]


def test_ranges() -> None:
    assert union([(5, 9), (1, 3), (3, 4), (8, 12), (7, 7)]) == [(1, 4), (5, 12)]
    assert without([(0, 10), (20, 30)], [(2, 4), (8, 22), (29, 40)]) == [
        (0, 2), (4, 8), (22, 29),
    ]  # fmt: skip
    assert without([(0, 10)], []) == [(0, 10)]
    assert without([(3, 5)], [(0, 10)]) == []
