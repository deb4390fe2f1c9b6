"""The experiment faults."""

from __future__ import annotations

import os

import pytest

from procmem import experiments
from procmem.procfs import probes
from procmem.view.experiment import story_text
from tests.support.stories import K, labelled
from tests.support.targets import machine

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


@pytest.mark.skipif(os.geteuid() != 0, reason="adding swap takes root")
def test_faults_with_swap() -> None:
    with machine.swap() as there:
        if not there:
            pytest.skip(there.reason)
        told = experiments.faults(pages=32)
        assert told.agrees, story_text(told)
        assert not any("swap" in one.impossible for one in told.told)
        assert max(map(len, story_text(told).splitlines())) <= 80
        out = labelled(told, "ask for them to be swapped out").step
        back = labelled(told, "read them again").step
        assert out is not None
        assert back is not None
        # VmSwap is a counter as VmRSS is.
        swapped = None if probes.counters_lag() else 128 * K
        assert (out.delta.rss, out.delta.swap) == (-128 * K, swapped)
        assert (back.delta.rss, back.delta.major) == (128 * K, 32)
