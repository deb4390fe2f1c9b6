from __future__ import annotations

import os

import pytest

import procmem
import procmem.heap.figures as module
from procmem import native
from tests.support.allocating import Allocating, Shaped, anonymous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)


@pytest.mark.parametrize("threads", [0, 8])
def test_a_trim_returns_what_was_predicted(program: Path, threads: int) -> None:
    with Allocating(program, threads) as target:
        process = procmem.Process(target.pid)
        for seed in range(4):
            target.go(seed, 20000)
            heap = process.heap()
            gone = target.trim(process)
            # 0, if the history ended with a trim.
            assert gone == heap.trimmable >= 0
            assert sum(one.resident for one in heap.trim().ranges) == gone
            assert process.heap().trimmable == 0


def test_the_chunk_below_the_top_is_named(program: Path) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        (arena,) = procmem.Process(target.pid).heap().arenas
        assert arena.last_in_use is not None
        assert arena.last_size
        assert arena.last_in_use < arena.last_in_use + arena.last_size


def test_a_page_table_that_can_not_be_read_is_a_doubt(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is resident would be too little, without a word."""

    class Refusing:
        def __getattr__(self, name: str) -> object:
            refused = name in ("pm_pages_read", "pm_pages_scan")
            return (lambda *_: -5) if refused else getattr(native.lib, name)

    with Allocating(program) as target:
        target.go(1, 300)
        monkeypatch.setattr(module, "lib", Refusing())
        heap = procmem.Process(target.pid).heap()
    assert any("page table can't be read" in doubt for doubt in heap.doubts)


@pytest.mark.parametrize("kind", ["forgetful", "leaking"])
def test_a_service_in_cpp_with_eight_arenas(kind: str, tmp_path: Path) -> None:
    """RSS alone is about the same in both: one has freed what the other has leaked."""
    # On a machine with one processor there would be no more than eight with the main arena.
    limit = "glibc.malloc.arena_max=16"
    with Shaped(tmp_path, kind, program="service", tunables=limit) as target:
        process = procmem.Process(target.pid)
        heap = process.heap()
        said = target.said
        assert heap.doubts == ()
        used = [arena for arena in heap.arenas if arena.threads and not arena.main]
        assert len(used) == len({arena.threads for arena in used}) == 8
        assert heap.in_use + heap.tcache == said.uordblks
        assert (heap.free, heap.system) == (said.fordblks, said.arena)
        # Headers of chunks, the nodes of the map, and what the C++ library keeps.
        assert said.number <= heap.in_use < 1.1 * said.number + 600_000
        before = anonymous(process)
        after = target.trim()
        assert before - anonymous(process) == heap.trimmable
        assert after.uordblks == said.uordblks
        if kind == "leaking":
            assert heap.in_use > 40_000_000
            assert heap.trimmable < heap.in_use // 20
        else:
            assert heap.in_use < 2_000_000
            assert heap.trimmable > 40_000_000
        again = process.heap()
        assert again.doubts == ()
        assert again.trimmable == 0
        # A trim joins fast chunks with their neighbours, and takes nothing that is in use.
        assert again.in_use + again.tcache == after.uordblks
