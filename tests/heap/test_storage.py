from __future__ import annotations

import os

import pytest

import procmem
from tests.support.allocating import Allocating

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)


def test_threads_are_named_with_the_arena_they_use(program: Path) -> None:
    with Allocating(program, 3) as target:
        target.go(1, 300)
        process = procmem.Process(target.pid)
        arenas = process.heap().arenas
        tids = {thread.tid for thread in process.threads()}
        named = [arena.threads for arena in arenas]
        assert arenas[0].main
        assert arenas[0].threads == (target.pid,)
        assert {tid for one in named for tid in one} == tids
        assert [len(one) for one in named] == [1, 1, 1, 1]


def test_threads_are_sure_if_the_arena_counts_as_many(program: Path) -> None:
    with Allocating(program, 3) as target:
        target.go(1, 300)
        arenas = procmem.Process(target.pid).heap().arenas
        assert [arena.attached for arena in arenas] == [1, 1, 1, 1]
        assert not any(arena.threads_guess for arena in arenas)


@pytest.mark.parametrize("place", ["8", "100000", "7ffffffffff8", "fffffffffffffff0"])
def test_a_thread_that_names_no_storage_of_its_own(program: Path, place: str) -> None:
    with Allocating(program) as target:
        target.ask("cache 3 100")
        target.ask(f"robust {place}")
        heap = procmem.Process(target.pid).heap()
        assert len(heap.arenas) == 1
        assert any("the caches of threads were not found" in doubt for doubt in heap.doubts)
