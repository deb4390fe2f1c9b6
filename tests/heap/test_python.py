from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

import procmem
from tests.support.blocking import until_asleep
from tests.support.interpreters import (
    Interpreted,
    class_differences,
    has_pymalloc,
    interpreters,
    is_free_threaded,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

MALLINFO = """
import ctypes, random, sys
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]
ask = ctypes.CDLL(None).mallinfo2
ask.restype = Info
random.seed(3)
kept = [bytes(random.randrange(500)) for _ in range(100000)]
kept = [piece for piece in kept if random.random() < 0.5]
info = ask()
# arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost
print(info.h, info.i, info.e, flush=True)
sys.stdin.read(1)
"""
KEEPING = """
import sys
# 33 bytes are the object's own: blocks of 400 bytes.
kept = [bytes(367) for _ in range(30000)]
kept = kept[::1500]
print(*map(id, kept), flush=True)
sys.stdin.readline()
kept.clear()
print("dropped", flush=True)
sys.stdin.readline()
"""


OBJECTS = """
import sys
kept = [bytes(1000) for _ in range(20000)]
large = bytes(3000000)
print(sys._is_gil_enabled(), id(large), *map(id, kept[::500]), flush=True)
sys.stdin.readline()
"""
FREE_THREADED = [python for python in interpreters() if is_free_threaded(python)]


@pytest.mark.skipif(not FREE_THREADED, reason="no free-threaded Python, such as python3.14t")
@pytest.mark.parametrize("python", FREE_THREADED)
def test_objects_of_a_free_threaded_python_are_in_mimalloc(python: str) -> None:
    with subprocess.Popen(
        [python, "-I", "-c", OBJECTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        gil, *addresses = process.stdout.readline().split()
        live = procmem.Process(process.pid)
        heap, table = live.heap(), live.smaps()
        regions = {table.find(int(address)) for address in addresses}
        # Uses are determined when they are first asked for.
        uses = {str(region.use) for region in regions if region is not None}
        process.stdin.close()
    assert gil == "False"
    assert heap.doubts == ()
    assert heap.python is not None
    assert (heap.python.allocator, heap.python.guess, heap.python.pools) == ("mimalloc", True, 0)
    assert None not in regions
    assert uses == {"mimalloc?"}
    held = sum(region.rss or 0 for region in regions if region is not None)
    assert held >= 20000 * 1000 + 3000000


@pytest.mark.parametrize("hooks", [False, True])
@pytest.mark.parametrize("python", interpreters())
def test_size_classes_equal_those_the_interpreter_reports(python: str, hooks: bool) -> None:
    if not has_pymalloc(python):
        pytest.skip(f"{python} has no allocator of its own")
    built_with = subprocess.run(
        [python, "-I", "-c", "import sys; print(hasattr(sys, 'gettotalrefcount'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    # Debug builds always have the hooks.
    hooked = hooks or built_with.stdout == "True\n"
    with Interpreted(python, **({"PYTHONMALLOC": "debug"} if hooks else {})) as target:
        for seed, steps in ((1, 10), (2, 40000), (3, 20000)):
            truth = target.go(seed, steps)
            found = procmem.Process(target.pid).heap().python
            assert class_differences(found, truth) == []
            assert found is not None
            assert found.allocator == ("pymalloc with debug hooks" if hooked else "pymalloc")
            assert not found.guess
            used = sum(size * one.in_use for size, one in found.classes.items())
            assert found.in_use == used
    assert len(truth.classes) > 20


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc")
@pytest.mark.parametrize("python", interpreters())
@pytest.mark.parametrize("setting", ["malloc", "malloc_debug"])
def test_an_interpreter_without_the_allocator(python: str, setting: str) -> None:
    if python in FREE_THREADED:
        pytest.skip(f"{python} has mimalloc alone")
    with subprocess.Popen(
        [python, "-s", "-c", MALLINFO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONMALLOC": setting},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if line:
            until_asleep(process.pid)
        heap = procmem.Process(process.pid).heap()
        process.stdin.close()
    if not line:
        pytest.skip(f"{python} has no ctypes, or the C library no mallinfo2")
    uordblks, fordblks, hblkhd = map(int, line.split())
    assert heap.doubts == ()
    assert heap.python is not None
    assert heap.python.pools == 0
    assert heap.python.guess
    assert (heap.python.allocator, heap.python.evidence) == (
        "malloc",
        f"PYTHONMALLOC={setting} in its environment",
    )
    # After mallinfo2 the interpreter prints what it returned.
    assert abs(heap.in_use + heap.tcache - uordblks) < 16384
    assert abs(heap.free - fordblks) < 16384 + 135168
    # With glibc 2.43 each realloc(3) of such an allocation adds 16 bytes.
    assert heap.mmapped == hblkhd // PAGE_SIZE * PAGE_SIZE
    assert heap.in_use > 5_000_000


@pytest.mark.parametrize("python", interpreters())
def test_objects_that_keep_arenas(python: str) -> None:
    if python in FREE_THREADED:
        pytest.skip(f"{python} has no arenas of pymalloc")
    with subprocess.Popen(
        [python, "-I", "-c", KEEPING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        kept = {int(word) for word in process.stdout.readline().split()}
        until_asleep(process.pid)
        before = procmem.Process(process.pid).heap().python
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "dropped\n"
        until_asleep(process.pid)
        after = procmem.Process(process.pid).heap().python
        process.stdin.close()
    assert before is not None
    assert after is not None
    pinned = before.pinned()
    assert all(len(arena.held) == arena.blocks > 0 for arena in pinned)
    # Those that are kept by nothing else; the interpreter may have taken a pool in some.
    alone = [arena for arena in pinned if {block.address for block in arena.held} <= kept]
    held = {block.address for arena in alone for block in arena.held}
    assert len(alone) >= 5
    assert 2 * len(held) > len(kept)
    assert {block.size for arena in alone for block in arena.held} == {400}
    # CPython keeps one empty arena for later, and may have put a new pool into another.
    left = {arena.address for arena in alone} & {arena.address for arena in after.arenas}
    assert len(left) <= 2


def test_an_interpreter_inside_a_program_of_another_name(tmp_path: Path) -> None:
    service = tmp_path / "service"
    shutil.copy(os.path.realpath(sys.executable), service)
    code = "kept = [bytes(300) for _ in range(5000)]; print(len(kept), flush=True); input()"
    with subprocess.Popen(
        [service, "-S", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not process.stdout.readline():
            pytest.skip("this interpreter does not run from another directory")
        until_asleep(process.pid)
        found = procmem.Process(process.pid).heap().python
        process.stdin.close()
    assert found is not None
    assert found.classes[336].in_use >= 5000
