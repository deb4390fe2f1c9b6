"""malloc and threads of a specimen: glibc's figures from theory, misuse, and its end."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks.agreement import LibcWalk
from procmem import Process
from procmem.errors import BadArgument, NoSuchProcess, SyscallError, Unsupported
from procmem.experiments import Specimen
from procmem.experiments.model.chunks import Learned, bin_of, chunk_size
from procmem.experiments.ready.story import find
from procmem.experiments.specimen.libc import Libc, Verdict, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.experiments.specimen.step import Step

K = 1024
PAGE = 4 * K

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != PAGE, reason="the figures here are those of 4 KiB pages"
)
FULL_STACK = resource.getrlimit(resource.RLIMIT_STACK)[0]


@pytest.fixture
def s() -> Iterator[Specimen]:
    try:
        made = Specimen(libc=True)
    except Unsupported as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture
def glibc(s: Specimen) -> Specimen:
    found = verdict()
    if found.malloc or found.threads:
        pytest.skip(found.malloc or found.threads or "")
    return s


def good(step: Step) -> Step:
    """Exact, and as the model has it, in every figure and in the address."""
    assert step.exact, step.reason
    assert step.agrees, (step.differences, step.delta, step.predicted)
    return step


def vsz(step: Step) -> int:
    return good(step).delta.vsz // K


def rss(step: Step) -> int:
    assert good(step).delta.rss is not None
    return (step.delta.rss or 0) // K


def at(step: Step) -> int:
    assert step.address
    return step.address


# ---- brk or mmap ------------------------------------------------------------------------


def test_the_first_malloc_buys_a_heap(glibc: Specimen) -> None:
    step = glibc.malloc(1)
    assert (vsz(step), rss(step), step.delta.regions, step.delta.minor) == (132, 4, 1, 1)
    (heap,) = (region for region in glibc.process.maps() if region.pathname == "[heap]")
    assert heap.size == 132 * K
    # Behind the thread's cache of freed chunks: 0x290 bytes.
    assert at(step) == heap.start + verdict().learned.tcache + 16


def test_the_threshold_is_131_049_bytes(glibc: Specimen) -> None:
    glibc.malloc(1)
    under = glibc.malloc(131_048)
    over = glibc.malloc(131_049)
    heap = glibc.process.region_at(at(under))
    assert heap is not None
    assert heap.pathname == "[heap]"
    assert (vsz(over), rss(over)) == (132, 4)
    assert at(over) % PAGE == 16
    assert at(over) not in heap


def test_freeing_a_mapping_moves_the_threshold(glibc: Specimen) -> None:
    # A heap for the thread's cache comes with it.
    first = glibc.malloc(200_000)
    assert vsz(first) == 132 + 196
    assert vsz(glibc.free(at(first))) == -196
    again = glibc.malloc(200_000)
    assert vsz(again) == 192
    heap = glibc.process.region_at(at(again))
    assert heap is not None
    assert heap.pathname == "[heap]"
    # It moves for all sizes up to that one, and for none above.
    assert vsz(glibc.malloc(210_000)) == 208


def test_the_threshold_ends_at_32_mib(glibc: Specimen) -> None:
    huge = glibc.malloc(40 << 20)
    good(glibc.free(at(huge)))
    assert vsz(glibc.malloc(200_000)) == 196


def test_ten_of_32_kib_take_few_brk(glibc: Specimen) -> None:
    glibc.malloc(1)
    steps = [glibc.malloc(32 * K) for _ in range(10)]
    assert [vsz(one) for one in steps] == [0, 0, 0, 0, 160, 0, 0, 0, 0, 160]
    assert [vsz(glibc.free(at(one))) for one in steps[:-1]] == [0] * 9
    assert vsz(glibc.free(at(steps[-1]))) == -320
    assert vsz(glibc.trim()) == -128


def test_ten_of_256_kib_take_a_mapping_each(glibc: Specimen) -> None:
    glibc.malloc(1)
    steps = [glibc.malloc(256 * K) for _ in range(10)]
    assert [vsz(one) for one in steps] == [260] * 10
    assert [rss(one) for one in steps] == [4] * 10
    # Side by side, so the kernel shows one region: bytes tell, lines don't.
    assert sum(one.delta.regions for one in steps) <= 1
    assert vsz(glibc.free(at(steps[4]))) == -260


def test_what_malloc_gave_is_touched_page_by_page(glibc: Specimen) -> None:
    block = glibc.malloc(1 << 20)
    touched = good(glibc.touch(at(block), pages=256))
    # The first of them malloc has written to.
    assert (touched.delta.rss, touched.delta.minor) == (255 * PAGE, 255)
    assert rss(glibc.free(at(block))) == -1024


def test_calloc_leaves_fresh_memory_untouched(glibc: Specimen) -> None:
    glibc.malloc(1)
    assert rss(glibc.calloc(1000, 1000)) == 4
    block = glibc.malloc(100_000)
    good(glibc.free(at(block)))
    # From the heap it may be dirty, and is cleared.
    assert rss(glibc.calloc(100, 1000)) >= 92


def test_realloc_of_a_mapping_moves_no_page(glibc: Specimen) -> None:
    block = glibc.malloc(1 << 20)
    good(glibc.touch(at(block), pages=256))
    grown = glibc.realloc(at(block), 4 << 20)
    assert (vsz(grown), rss(grown)) == (3072, 0)
    assert vsz(glibc.realloc(at(grown), 1 << 19)) == -3584
    with pytest.raises(BadArgument, match="free"):
        glibc.realloc(at(grown), 0)


def test_holes_in_the_heap_are_given_back_by_trim(glibc: Specimen) -> None:
    blocks = [glibc.malloc(100_000) for _ in range(3)]
    good(glibc.touch(at(blocks[1]), pages=24))
    good(glibc.free(at(blocks[1])))
    trimmed = glibc.trim()
    assert rss(trimmed) < -80
    assert trimmed.result == 1


def test_an_end_of_minimal_size_is_miscounted(glibc: Specimen) -> None:
    """glibc 2.36: malloc_trim asks for a page more where nothing is left at the heap's end."""
    first = glibc.malloc(24)
    left = 132 * K - (at(first) - 16 + 32 - (at(first) & -PAGE))
    good(glibc.malloc(left - 32 - 8))
    trimmed = glibc.trim()
    assert vsz(trimmed) == 4
    assert "miscounts" in trimmed.why


def test_no_memory(glibc: Specimen) -> None:
    for size in (1 << 63, 1 << 48, (1 << 64) - 1):
        with pytest.raises(SyscallError, match="ask for less"):
            glibc.malloc(size)
        with pytest.raises(SyscallError, match="ask for less"):
            glibc.calloc(size, 1)
    good(glibc.malloc(100))
    with pytest.raises(BadArgument, match="size_t"):
        glibc.malloc(-1)
    with pytest.raises(BadArgument, match="size_t"):
        glibc.calloc(1, 1 << 64)
    wrong: Any
    for wrong in (1.5, "3", None):
        for call in (glibc.malloc, glibc.free, glibc.trim, glibc.join):
            with pytest.raises(BadArgument, match="whole number"):
                call(wrong)
    good(glibc.malloc(100))


def test_why_names_the_call(glibc: Specimen) -> None:
    assert "(brk)" in glibc.malloc(10).why
    mapped = glibc.malloc(1 << 20)
    assert "mapping of its own" in mapped.why
    assert "threshold" in glibc.free(at(mapped)).why
    assert glibc.free(0).why == "free(NULL) does nothing."


@pytest.mark.parametrize(
    "request_, size", [(0, 32), (24, 32), (25, 48), (40, 48), (1032, 1040), (131_049, 131_072)]
)
def test_sizes_of_chunks(request_: int, size: int) -> None:
    assert chunk_size(request_) == size


def test_bins() -> None:
    numbers = [bin_of(size) for size in range(32, 1 << 21, 16)]
    assert numbers == sorted(numbers)
    assert (bin_of(1008), bin_of(1024), bin_of(1 << 30)) == (63, 64, 126)


# ---- threads ----------------------------------------------------------------------------


def test_a_thread_takes_a_stack_and_a_guard(glibc: Specimen) -> None:
    glibc.malloc(1)
    before = {region.start for region in glibc.process.maps()}
    step = glibc.thread()
    stack = 2 << 20 if FULL_STACK == resource.RLIM_INFINITY else -(-FULL_STACK // PAGE) * PAGE
    assert vsz(step) == stack // K + 4
    assert step.thread == 0
    assert rss(step) <= 20
    new = [region for region in glibc.process.maps() if region.start not in before]
    assert [(str(one.perms), one.size) for one in new] == [("---p", PAGE), ("rw-p", stack)]


@pytest.mark.skipif(FULL_STACK != 8192 * K, reason="ulimit -s is not 8192")
def test_8_196_and_73_732_kib(glibc: Specimen) -> None:
    glibc.malloc(1)
    thread = glibc.thread()
    assert vsz(thread) == 8196
    allocated = glibc.malloc(1, thread=thread.thread)
    assert (vsz(allocated), allocated.delta.regions) == (65_536, 2)
    assert vsz(thread) + vsz(allocated) == 73_732
    arena = glibc.process.region_at(at(allocated))
    assert arena is not None
    assert (arena.start % (64 << 20), arena.size) == (0, 132 * K)
    behind = glibc.process.region_at(arena.end)
    assert behind is not None
    assert (str(behind.perms), behind.size) == ("---p", 65_536 * K - 132 * K)


def test_without_a_heap_the_first_thread_makes_one(glibc: Specimen) -> None:
    assert vsz(glibc.thread(65536)) == 64 + 4 + 132


def test_stacks_are_kept_up_to_40_mib(glibc: Specimen) -> None:
    glibc.malloc(1)
    threads = [glibc.thread(8 << 20).thread for _ in range(6)]
    assert [vsz(glibc.join(one)) for one in threads if one is not None] == [0] * 4 + [-8196] * 2
    assert vsz(glibc.thread(8 << 20)) == 0


def test_an_arena_is_used_again(glibc: Specimen) -> None:
    first, second = glibc.thread().thread, glibc.thread().thread
    assert first is not None
    assert vsz(glibc.malloc(1, thread=first)) == 65_536
    assert vsz(glibc.malloc(1, thread=second)) == 65_536
    good(glibc.join(first))
    assert vsz(glibc.malloc(1, thread=glibc.thread().thread)) == 0


def test_arenas_are_capped_by_cpus() -> None:
    if verdict().threads:
        pytest.skip(verdict().threads or "")
    cpus = 1 if verdict().learned.by_affinity else os.sysconf("SC_NPROCESSORS_ONLN")
    if cpus > 6:
        pytest.skip("more arenas than a specimen has threads")
    # Eight for a CPU; but glibc counts them only when it has nine. One is the main arena.
    most = max(9, 8 * cpus) - 1
    with Specimen(libc=True, cpu=min(os.sched_getaffinity(0))) as one:
        threads = [one.thread(65536).thread for _ in range(most + 3)]
        grown = [vsz(one.malloc(1, thread=thread)) for thread in threads]
    # The main arena, shared then, has no heap before.
    assert grown[:most] == [65_536] * most
    assert sum(grown[most:]) <= 132


def test_a_thread_frees_what_another_allocated(glibc: Specimen) -> None:
    thread = glibc.thread().thread
    block = glibc.malloc(100_000, thread=thread)
    good(glibc.free(at(block)))
    assert at(good(glibc.malloc(100_000, thread=thread))) == at(block)


@pytest.mark.parametrize(
    "limit, kib", [(1024 * K, 1028), (resource.RLIM_INFINITY, 2052), (10_000_000, 9772)]
)
def test_stacks_follow_ulimit(limit: int, kib: int) -> None:
    if resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY:
        pytest.skip("the hard limit of ulimit -s is not unlimited")
    if verdict().threads:
        pytest.skip(verdict().threads or "")
    code = (
        "from procmem.experiments import Specimen\n"
        "with Specimen(libc=True) as s:\n"
        "    s.malloc(1); t = s.thread(); print(t.delta.vsz // 1024, t.exact, t.agrees)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_STACK, (limit, resource.RLIM_INFINITY)
        ),
    )  # fmt: skip
    assert done.stdout.split() == [str(kib), "True", "True"]


def test_an_odd_stack_is_not_called_exact(glibc: Specimen) -> None:
    step = glibc.thread(100_001)
    assert not step.exact
    assert "multiple" in (step.reason or "")
    # What doesn't depend on it is exact all the same.
    good(glibc.touch(good(glibc.mmap(pages=3)).mapping or 0))


# ---- the model against the process ------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_random_steps_agree(glibc: Specimen, seed: int) -> None:
    walk = LibcWalk(seed)
    try:
        for step in islice(walk, 1500):
            good(step)
    finally:
        walk.close()


def test_an_outsider_sees_the_same(glibc: Specimen) -> None:
    block = glibc.malloc(3 << 20)
    step = glibc.touch(at(block), pages=100)
    seen = Process(glibc.pid).memory()
    assert (seen.vsz, seen.rss) == (step.after.vsz, step.after.rss)


def test_a_fork_has_its_own_heap(glibc: Specimen) -> None:
    block = glibc.malloc(100_000)
    good(glibc.touch(at(block), pages=20))
    child = good(glibc.fork()).child
    assert child is not None
    with child:
        for one in (glibc, child):
            good(one.malloc(1000))
            good(one.free(at(block)))
            good(one.malloc(200_000))
        assert "since the fork" in (child.thread().reason or "")
    step = glibc.thread()
    assert not step.exact
    assert "each takes a fault" in (step.reason or "")
    assert step.delta._replace(minor=0) == step.predicted._replace(minor=0)
    assert step.delta.minor - step.predicted.minor in (0, 1, 2)
    thread = step.thread
    with pytest.raises(BadArgument, match="join them first"):
        glibc.fork()
    assert thread is not None
    good(glibc.join(thread))


def test_another_libc_is_never_called_exact(s: Specimen) -> None:
    s._allocator = Libc(s._stepper, Verdict(Learned(), "no glibc", "no glibc"))
    block = s.malloc(1 << 20)
    assert (block.exact, block.reason, block.predicted_address) == (False, "no glibc", None)
    thread = s.thread().thread
    assert not s.malloc(100, thread=thread).exact
    assert not s.free(at(block), thread=thread).exact
    area = good(s.mmap(pages=10)).mapping
    assert area is not None
    good(s.touch(area))
    assert thread is not None
    assert not s.join(thread).exact
    good(s.munmap(area))


# ---- misuse, and the end ----------------------------------------------------------------


def test_no_libc() -> None:
    with Specimen() as one:
        for name, arguments in (
            ("malloc", [1]), ("free", [0]), ("trim", []), ("thread", []), ("join", [0]),
            ("calloc", [1, 1]), ("realloc", [0, 1]),
        ):  # fmt: skip
            with pytest.raises(BadArgument, match="libc=True"):
                getattr(one, name)(*arguments)


def test_misuse_is_refused(s: Specimen) -> None:
    block = s.malloc(100)
    with pytest.raises(BadArgument, match="never returned 0x10"):
        s.free(16)
    with pytest.raises(BadArgument, match="never returned"):
        s.free(at(block) + 16)
    with pytest.raises(BadArgument, match="never returned"):
        s.realloc(-1, 5)
    s.free(at(block))
    with pytest.raises(BadArgument, match="freed already"):
        s.free(at(block))
    with pytest.raises(BadArgument, match="no thread 3"):
        s.malloc(1, thread=3)
    with pytest.raises(BadArgument, match="no thread 3"):
        s.join(3)
    with pytest.raises(BadArgument, match="16,384"):
        s.thread(100)
    with pytest.raises(BadArgument, match="without libc"):
        s.brk(0)
    thread = s.thread().thread or 0
    s.join(thread)
    with pytest.raises(BadArgument, match="no thread 0"):
        s.join(thread)


def test_more_threads_than_it_holds(s: Specimen) -> None:
    for _ in range(64):
        s.thread(16384)
    with pytest.raises(SyscallError, match="pthread_create"):
        s.thread(16384)


def test_a_double_free_ends_it(glibc: Specimen) -> None:
    block = glibc.malloc(100)
    glibc.free(at(block))
    with pytest.raises(NoSuchProcess, match=r"killed by SIGABRT"):
        glibc.free(at(block), check=False)
    assert not glibc.is_alive
    # Waited for: no zombie is left.
    with pytest.raises(ChildProcessError):
        os.waitpid(glibc.pid, os.WNOHANG)
    with pytest.raises(NoSuchProcess, match="SIGABRT"):
        glibc.malloc(1)
    glibc.close()


def test_a_wild_free_ends_it(s: Specimen) -> None:
    with pytest.raises(NoSuchProcess, match=r"killed by SIG(SEGV|ABRT|BUS)"):
        s.free(1 << 40, check=False)


def test_close_with_threads_alive() -> None:
    one = Specimen(libc=True)
    thread = one.thread().thread
    one.malloc(1000, thread=thread)
    one.close()
    assert not Path(f"/proc/{one.pid}").exists()


def test_it_ends_with_its_last_reference() -> None:
    one = Specimen(libc=True)
    one.thread()
    one.malloc(1)
    pid = one.pid
    del one
    assert not Path(f"/proc/{pid}").exists()


def test_it_dies_with_its_parent() -> None:
    code = (
        "import time; from procmem.experiments import Specimen\n"
        "s = Specimen(libc=True); s.malloc(10); s.malloc(10, thread=s.thread().thread)\n"
        "print(s.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return
        # A zombie of whoever adopted it, or another process.
        if fields[0] in "ZX" or fields[19] != start:
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} lives on")


# ---- the experiments --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["malloc", "threads"])
def test_the_experiments_agree(glibc: Specimen, name: str) -> None:
    told = find(name)()
    assert not told.skipped
    assert told.agreed == told.total >= 15
