from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

import procmem
from tests.support.allocating import Allocating, Shaped, built
from tests.support.paths import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

MADE = "not a heap that glibc 2.26 to 2.43 would make"
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


def test_an_overwritten_top_ends_with_the_memory_of_the_arena(program: Path) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        (where,) = target.ask("top")
        heap = procmem.Process(target.pid).heap()
        (arena,) = heap.arenas
        (region,) = procmem.Process(target.pid).maps().filter(kind=procmem.RegionKind.HEAP)
        assert arena.top == region.end - int(where, 16)
        assert arena.in_use + arena.tcache + arena.fast + arena.free + arena.top == arena.system
        assert any(f"{MADE}, at {int(where, 16):#x}: " in doubt for doubt in heap.doubts)


@pytest.mark.parametrize("kind", ["tcache", "fast", "unsorted", "small", "large"])
def test_a_list_that_leads_into_itself_ends(program: Path, kind: str) -> None:
    # A thread's cache keeps seven chunks of a size, and from glibc 2.42 on 16.
    with Allocating(program, GLIBC_TUNABLES="glibc.malloc.tcache_count=7") as target:
        (where,) = target.ask(f"loop {kind}")
        heap = procmem.Process(target.pid).heap()
        (arena,) = heap.arenas
        assert arena.chunks is not None
        assert 0 < arena.in_use < arena.system
        assert arena.in_use + arena.tcache + arena.fast + arena.free + arena.top == arena.system
        assert any(f"{MADE}, at 0x" in doubt for doubt in heap.doubts)
        # Of a list that is linked in one direction, some chunk of it.
        links = range(int(where, 16), int(where, 16) + 1, 1)
        if kind in ("tcache", "fast"):
            links = range(int(where, 16) - 24 * 256, int(where, 16) + 256)
        found = re.search(f"{MADE}, at 0x([0-9a-f]+): ", " ".join(heap.doubts))
        assert found
        assert int(found[1], 16) in links


LIMITED = """
import json, resource, sys
import procmem
# Seconds of processor time, however busy the machine is.
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
print(json.dumps(procmem.Process(int(sys.argv[1])).heap().to_dict()))
"""


@pytest.mark.parametrize("kind", ["many", "ring", "huge", "chain"])
def test_arenas_that_a_hostile_process_makes_up(program: Path, kind: str) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        (main,) = procmem.Process(target.pid).heap().arenas
        target.ask(f"fake 5000 {kind} {main.address:x}")
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(target.pid)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        heap = json.loads(done.stdout)
    assert not heap["certain"]
    assert any(f"{MADE}, at 0x" in doubt for doubt in heap["doubts"])
    assert heap["arenas"][0]["address"] == main.address
    assert heap["arenas"][0]["in_use"] == main.in_use
    for one in heap["arenas"]:
        names = ("in_use", "tcache", "fast", "free", "top")
        assert all(one[name] >= 0 for name in names)
        assert sum(one[name] for name in names) == one["system"]
    assert len(heap["arenas"]) <= 4097
    # No text is longer for the number of lies.
    assert len(heap["doubts"]) < 100


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


@pytest.mark.parametrize("place", ["8", "100000", "7ffffffffff8", "fffffffffffffff0"])
def test_a_thread_that_names_no_storage_of_its_own(program: Path, place: str) -> None:
    with Allocating(program) as target:
        target.ask("cache 3 100")
        target.ask(f"robust {place}")
        heap = procmem.Process(target.pid).heap()
        assert len(heap.arenas) == 1
        assert any("the caches of threads were not found" in doubt for doubt in heap.doubts)


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


def test_two_c_libraries_in_one_process(tmp_path: Path) -> None:
    with Shaped(tmp_path, "second") as target:
        heap = procmem.Process(target.pid).heap()
        if not target.said.number:
            pytest.skip("dlmopen(3) can't load a second C library here")
        assert heap.doubts == ()
        first, second = heap.arenas
        assert first.main
        assert second.main
        assert second.system == target.said.arena
        assert second.in_use + second.tcache == target.said.uordblks
        assert second.free + second.fast + second.top == target.said.fordblks
        assert first.threads == second.threads == (target.pid,)


def test_threads_are_sure_if_the_arena_counts_as_many(program: Path) -> None:
    with Allocating(program, 3) as target:
        target.go(1, 300)
        arenas = procmem.Process(target.pid).heap().arenas
        assert [arena.attached for arena in arenas] == [1, 1, 1, 1]
        assert not any(arena.threads_guess for arena in arenas)


def test_a_main_arena_whose_link_leads_nowhere(program: Path) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        (main,) = procmem.Process(target.pid).heap().arenas
        (where,) = target.ask(f"fake 0 none {main.address:x}")
        heap = procmem.Process(target.pid).heap()
        (found,) = heap.arenas
        assert found._replace(locked=main.locked) == main
        assert any(f"{MADE}, at {int(where, 16) + 48:#x}: " in doubt for doubt in heap.doubts)
