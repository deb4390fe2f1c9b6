from __future__ import annotations

import os

import pytest

import procmem
from tests.support.allocating import Allocating, built

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)

MADE = "not a heap that glibc 2.26 to 2.43 would make"


@pytest.mark.parametrize(
    "flags", [(), ("-DOWN=100000",), ("-DOWN=100000", "-static"), ("-m32",), ("-m32", "-static")]
)
@pytest.mark.parametrize("threads", [0, 3])
def test_caches_hold_what_was_freed_last(
    threads: int, flags: tuple[str, ...], tmp_path: Path
) -> None:
    with Allocating(built(str(tmp_path), *flags), threads) as target:
        process = procmem.Process(target.pid)
        expected = 0
        for count, size in ((1, 24), (5, 100), (7, 500), (3, 1000), (2, 1032)):
            target.ask(f"cache {count} {size}")
            # A chunk is the piece and its size, in whole 16 bytes.
            word = 4 if "-m32" in flags else 8
            if size <= (1012 if word == 4 else 1032):
                expected += count * max((size + word + 15) // 16 * 16, 4 * word)
            heap = process.heap()
            if flags[-1:] == ("-static",) and not heap.certain:
                # From glibc 2.43 on the program's variables may stand between those of malloc.
                assert all("cache was not found" in doubt for doubt in heap.doubts)
                continue
            assert heap.certain, heap.doubts
            assert [arena.tcache for arena in heap.arenas] == [expected] * (threads + 1)
            assert [len(arena.threads) for arena in heap.arenas] == [1] * (threads + 1)


def test_a_cache_that_is_broken_is_a_doubt(program: Path) -> None:
    with Allocating(program) as target:
        target.ask("spoil")
        heap = procmem.Process(target.pid).heap()
        assert not heap.certain
        assert any(f"{MADE}, at 0x" in doubt for doubt in heap.doubts)


def test_a_thread_that_has_only_asked_for_aligned_memory_has_no_cache(program: Path) -> None:
    with Allocating(program) as target:
        # The only call of this history is aligned_alloc(3).
        target.go(12, 1, 2000)
        heap, info = procmem.Process(target.pid).heap(), target.info()
    assert heap.doubts == ()
    assert heap.tcache == 0
    assert heap.in_use == info.uordblks > 0


def test_a_cache_in_a_chunk_that_is_a_little_larger(program: Path) -> None:
    """malloc gives a whole chunk if what would be left is too small for another one."""
    with Allocating(program, 3, GLIBC_TUNABLES="glibc.malloc.arena_max=1") as target:
        target.ask("snug")
        target.ask("cache 3 100")
        heap, info = procmem.Process(target.pid).heap(), target.info()
        assert heap.doubts == ()
        assert heap.in_use + heap.tcache == info.uordblks
        assert heap.tcache >= 4 * 3 * 112


@pytest.mark.parametrize("threads", [0, 2])
def test_a_cache_that_is_a_mapping_of_its_own(program: Path, threads: int) -> None:
    """That of the first thread, if M_MMAP_THRESHOLD is lower than its size."""
    setting = "glibc.malloc.mmap_threshold=0"
    with Allocating(program, threads, GLIBC_TUNABLES=setting) as target:
        process = procmem.Process(target.pid)
        for seed in range(4):
            # The first thread frees what another one's arena gave.
            target.go(seed, 500, 2000, seed % (threads + 1))
            heap, info = process.heap(), target.info()
            assert heap.doubts == ()
            assert heap.mmap_threshold == 0
            assert [(a.system, a.fast, a.free + a.top) for a in heap.arenas] == list(info.arenas)
            assert (heap.mmaps, heap.mmapped) == (info.hblks, info.hblkhd)
            assert heap.in_use + heap.tcache == info.uordblks
