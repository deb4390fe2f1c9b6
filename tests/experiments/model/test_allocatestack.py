"""Stacks of threads, and which of them glibc keeps."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.experiments.specimen.libc import verdict
from tests.support.mallocs import PAGE, K, at, good, rss, vsz

if TYPE_CHECKING:
    from procmem.experiments import Specimen

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != PAGE, reason="the figures here are those of 4 KiB pages"
)


FULL_STACK = resource.getrlimit(resource.RLIMIT_STACK)[0]


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
