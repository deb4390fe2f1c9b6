from __future__ import annotations

import os

import pytest

import procmem
from tests.support.allocating import Allocating, built

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

GLIBC = "CS_GNU_LIBC_VERSION" in os.confstr_names
pytestmark = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(str(tmp_path_factory.mktemp("broken")))


def test_an_overwritten_size_is_said_with_its_address(program: Path) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        (where,) = target.ask("overwrite")
        heap = procmem.Process(target.pid).heap()
        assert not heap.certain
        # The size stands in the second word of the chunk.
        assert any(f"{int(where, 16):#x}" in doubt for doubt in heap.doubts)
        assert heap.arenas[0].chunks is None
        assert heap.by_size() == []


def test_a_list_that_leads_into_itself_ends(program: Path) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        target.ask("loop")
        heap = procmem.Process(target.pid).heap()
        assert heap.arenas[0].chunks is not None


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


def test_the_chunk_below_the_top_is_named(program: Path) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        (arena,) = procmem.Process(target.pid).heap().arenas
        assert arena.last_in_use is not None
        assert arena.last_size
        assert arena.last_in_use < arena.last_in_use + arena.last_size


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
        before = process.smaps()
        target.ask("trim")
        gone = sum(r.rss or 0 for r in before) - sum(r.rss or 0 for r in process.smaps())
        assert gone == heap.trimmable
