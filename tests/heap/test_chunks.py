from __future__ import annotations

import os
import re

import pytest

import procmem
from tests.support.allocating import Allocating

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)

MADE = "not a heap that glibc 2.26 to 2.43 would make"


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
