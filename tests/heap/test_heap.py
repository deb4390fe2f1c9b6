from __future__ import annotations

import os

import pytest

import procmem
import procmem.heap.heap as module
from procmem import native
from tests.support.allocating import Allocating, Shaped, anonymous, built
from tests.support.busy import Busy, Mode, busy_program, wrong
from tests.support.plotted import plotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.allocating import MallocInfo

LIBRARY = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
pytestmark = pytest.mark.skipif(not LIBRARY, reason="the C library is not glibc")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(str(tmp_path_factory.mktemp("allocating")))


def agree(heap: procmem.Heap, info: MallocInfo) -> None:
    assert heap.doubts == ()
    assert heap.certain
    assert [(a.system, a.fast, a.free + a.top) for a in heap.arenas] == list(info.arenas)
    assert heap.in_use + heap.tcache == info.uordblks
    assert heap.free == info.fordblks
    assert (heap.mmaps, heap.mmapped) == (info.hblks, info.hblkhd)
    assert heap.arenas[0].top == info.keepcost
    sizes = heap.by_size()
    assert sum(one.size * one.free for one in sizes) == sum(a.free + a.fast for a in heap.arenas)
    assert sum(one.in_use for one in sizes) == sum(a.chunks or 0 for a in heap.arenas)


@pytest.mark.parametrize("threads", [0, 1, 3, 9])
def test_each_arena_equals_what_malloc_says_of_itself(program: Path, threads: int) -> None:
    with Allocating(program, threads) as target:
        process = procmem.Process(target.pid)
        for seed in range(6):
            target.go(seed, [10, 300, 5000, 20000][seed % 4])
            agree(process.heap(), target.info())


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


def test_reading_changes_nothing(program: Path) -> None:
    with Allocating(program, 2) as target:
        process = procmem.Process(target.pid)
        target.go(1, 20000)
        target.ask("trim")
        before = process.smaps()
        process.heap()
        after = process.smaps()
        assert [(r.start, r.rss, r.private_dirty, r.swap) for r in before] == [
            (r.start, r.rss, r.private_dirty, r.swap) for r in after
        ]


@pytest.mark.parametrize(
    "threads, mode", [(1, Mode.BURSTS), (2, Mode.BURSTS), (4, Mode.HOT), (1, Mode.HOT)]
)
def test_a_heap_that_changes_is_right_or_doubtful(
    threads: int, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0)
    with Busy(busy_program(tmp_path), tmp_path, threads) as target:
        settled = target.settle()
        assert settled.certain
        assert len(settled.arenas) == threads
        target.run(mode)
        process = procmem.Process(target.pid)
        for _ in range(8):
            target.begin()
            assert wrong(target, process.heap()) == []
        target.park()
        target.begin()
        heap = process.heap()
        assert heap.certain
        assert wrong(target, heap) == []


def test_a_process_without_a_heap_of_glibc() -> None:
    with pytest.raises(procmem.ProcessError):
        procmem.Process(2).heap()


def test_a_page_table_that_can_not_be_read_is_a_doubt(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is resident would be too little, without a word."""

    class Refusing:
        def __getattr__(self, name: str) -> object:
            return (lambda *_: -5) if name == "pm_pages_read" else getattr(native.lib, name)

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


@pytest.mark.parametrize("flags", [(), ("-static",), ("-m32",)])
@pytest.mark.parametrize("shape", ["mixed", "pages", "top"])
def test_a_container_seen_from_outside(shape: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    with Shaped(tmp_path, shape, *flags, root=tmp_path / "root") as target:
        process = procmem.Process(target.pid)
        assert os.readlink(f"/proc/{target.pid}/root") == str(tmp_path / "root")
        assert os.readlink(f"/proc/{target.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
        heap, said = process.heap(), target.said
        assert heap.doubts == ()
        assert heap.allocator == "glibc malloc"
        assert heap.in_use + heap.tcache == said.uordblks
        assert (heap.free, heap.system) == (said.fordblks, said.arena)
        assert (heap.mmaps, heap.mmapped) == (said.hblks, said.hblkhd)
        assert heap.arenas[0].threads == (target.pid,)
        before = anonymous(process)
        target.trim()
        assert before - anonymous(process) == heap.trimmable
        assert heap.trimmable > 10_000_000 or shape != "top"
        assert process.heap().trimmable == 0


def test_a_plot_has_the_parts_of_each_arena(program: Path) -> None:
    with Allocating(program, 2) as target:
        target.go(1, 300)
        heap = procmem.Process(target.pid).heap()
    axes = plotted(heap.plot)
    widths = [bar.get_width() for bar in axes.patches]
    count = len(heap.arenas)
    assert len(widths) == 5 * count
    for at, arena in enumerate(heap.arenas):
        assert sum(widths[at::count]) == arena.system
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "main arena"
