"""malloc and threads of a specimen: other libcs, misuse, ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from procmem import Process
from procmem.errors import BadArgument, NoSuchProcess, SyscallError
from procmem.experiments import Specimen
from procmem.experiments.model.chunks import Learned
from procmem.experiments.specimen import libc as module
from procmem.experiments.specimen.libc import Libc, Verdict
from tests.support.mallocs import PAGE, at, good

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != PAGE, reason="the figures here are those of 4 KiB pages"
)


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
    predicted = step.predicted._asdict()
    for name, value in step.delta._asdict().items():
        # Where VmRSS lags, its parts are not known.
        assert name == "minor" or value in (predicted[name], None)
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
    deadline = time.monotonic() + 60
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


def test_a_stack_that_is_not_found_leaves_the_rest(
    glibc: Specimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 6.7 it is joined with memory beside it: then malloc is known all the same."""
    whole = module.learn()[0]
    monkeypatch.setattr(module, "new_ranges", lambda *_: [])
    learned, threads = module.learn()
    assert threads is not None
    nothing = Learned()
    assert learned == whole._replace(
        stack_flags=nothing.stack_flags, stack_pages=nothing.stack_pages
    )
