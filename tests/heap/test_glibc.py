from __future__ import annotations

import os

import pytest

import procmem
from tests.support.allocating import Allocating, Shaped, built

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)


@pytest.mark.parametrize("flag", ["-static", "-m32"])
def test_programs_of_other_forms(flag: str, tmp_path: Path) -> None:
    with Allocating(built(str(tmp_path), flag), 2) as target:
        target.go(3, 5000)
        heap = procmem.Process(target.pid).heap()
        info = target.info()
        assert heap.doubts == ()
        assert [(a.system, a.fast, a.free + a.top) for a in heap.arenas] == list(info.arenas)
        assert heap.in_use + heap.tcache == info.uordblks
        process = procmem.Process(target.pid)
        assert target.trim(process) == heap.trimmable


@pytest.mark.parametrize("flags", [(), ("-m32",), ("-static",)])
def test_a_break_that_somebody_else_moves(flags: tuple[str, ...], tmp_path: Path) -> None:
    with Shaped(tmp_path, "foreign", *flags) as target:
        heap = procmem.Process(target.pid).heap()
        assert heap.doubts == ()
        (arena,) = heap.arenas
        assert arena.chunks is not None
        assert len(arena.heaps) == 2
        # malloc counts the memory between its pieces as in use, with what aligns the next one.
        assert 0 <= arena.others - target.said.number < 32
        assert heap.in_use + heap.tcache == target.said.uordblks
        assert heap.free == target.said.fordblks


@pytest.mark.parametrize("flags", [(), ("-m32",)])
def test_a_main_arena_without_the_break(flags: tuple[str, ...], tmp_path: Path) -> None:
    with Shaped(tmp_path, "stuck", *flags) as target:
        heap = procmem.Process(target.pid).heap()
        assert heap.doubts == ()
        (arena,) = heap.arenas
        assert arena.chunks is not None
        assert len(arena.heaps) > 2
        assert arena.others == 0
        assert arena.system == target.said.arena
        assert heap.in_use + heap.tcache == target.said.uordblks
        assert heap.free == target.said.fordblks
