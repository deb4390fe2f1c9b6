"""Arenas: which thread gets which."""

from __future__ import annotations

import os

import pytest

from procmem.experiments import Specimen
from procmem.experiments.specimen.libc import verdict
from tests.support.mallocs import PAGE, at, good, vsz

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != PAGE, reason="the figures here are those of 4 KiB pages"
)


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
