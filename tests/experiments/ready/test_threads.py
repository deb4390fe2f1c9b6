"""The experiment threads."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from procmem.experiments.ready.threads import threads
from tests.support.stories import K, M, labelled

if TYPE_CHECKING:
    from procmem.experiments import Specimen

PAGE = resource.getpagesize()
pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


def test_threads(glibc: Specimen) -> None:
    found = threads(stack=256 * K)
    started = labelled(found, "start a thread with a stack of 256 KiB").step
    assert started is not None
    assert started.delta.vsz == 256 * K + PAGE  # the stack, and its guard
    arena = labelled(found, "malloc(100) in the thread").step
    assert arena is not None
    assert (arena.address or 0) % (64 * M) < M  # at the beginning of a heap of 64 MiB
    again = labelled(found, "malloc(100) in it").step
    assert again is not None
    assert (again.delta.vsz, (again.address or 0) // M) == (0, (arena.address or 0) // M)
