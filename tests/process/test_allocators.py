from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import procmem
from tests.support.allocating import Allocating, anonymous, built
from tests.support.blocking import until, until_asleep

pytestmark = pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc")


def test_a_stopped_heap_is_exact_while_it_allocates(tmp_path: Path) -> None:
    with Allocating(built(str(tmp_path)), 3) as target:
        worker = threading.Thread(target=target.go, args=(1, 300_000))
        worker.start()
        try:
            for _ in range(5):
                heap = procmem.Process(target.pid).heap(stop=True)
                assert heap.doubts == ()
                assert heap.held is not None
                assert heap.held > 0
                for arena in heap.arenas:
                    assert arena.chunks is not None
        finally:
            worker.join()
        assert "TracerPid:\t0\n" in Path(f"/proc/{target.pid}/status").read_text()


def test_it_says_for_how_long_it_was_held(tmp_path: Path) -> None:
    with Allocating(built(str(tmp_path))) as target:
        assert procmem.Process(target.pid).heap().held is None
        assert 0 < (procmem.Process(target.pid).heap(stop=True).held or 0) < 60


def test_a_process_can_not_be_stopped_by_itself() -> None:
    with pytest.raises(procmem.BadArgument):
        procmem.Process().heap(stop=True)


def test_a_python_process_is_joined_of_both() -> None:
    code = "kept = [bytes(300) for _ in range(20000)]; big = bytes(5 << 20); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        until_asleep(process.pid)
        heap = procmem.Process(process.pid).heap(stop=True)
        process.stdin.write(b"\n")
        process.stdin.close()
    assert heap.doubts == ()
    assert heap.python is not None
    assert heap.python.classes[336].in_use >= 20000
    assert heap.mapped[0].size >= 5 << 20
    named = {part.name: part for part in heap.parts}
    assert named["Python: objects"].size == heap.python.in_use
    ours = [part.size for part in heap.parts if part.name.startswith("Python")]
    assert sum(ours) > 20000 * 336


SERVICE = """
import ctypes, sys, threading
def work():
    mine = [bytearray(4000) for _ in range(5000)]
    kept.append(mine[::400])
    done.wait()
kept, done = [], threading.Barrier(3)
workers = [threading.Thread(target=work) for _ in range(3)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
trim = ctypes.CDLL(None).malloc_trim
print(flush=True)
sys.stdin.readline()
trim(0)
print(flush=True)
sys.stdin.readline()
"""


def test_a_trim_of_a_python_service_confirms_the_prediction() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        # A thread that was joined still gives back what malloc kept for it.
        until(lambda: len(os.listdir(f"/proc/{process.pid}/task")) == 1)
        until_asleep(process.pid)
        inspected = procmem.Process(process.pid)
        heap = inspected.heap(stop=True)
        before = anonymous(inspected)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        after = anonymous(inspected)
        process.stdin.close()
    assert heap.certain
    assert heap.trimmable > 3 * 5000 * 4000 * 9 // 10
    # Reading the line and calling the function take a few pages themselves.
    assert abs(before - after - heap.trimmable) < 256 << 10
