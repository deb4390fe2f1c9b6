"""Regions: what splits and what merges them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.specimens import PAGE, area, moved

if TYPE_CHECKING:
    from procmem.experiments import Specimen

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestTheory:
    def test_protection_splits_and_joins(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=10))
        assert moved(specimen.mprotect(mapped, "r", start=4, pages=2)) == {"regions": 2}
        refused = specimen.touch(mapped)
        assert refused.result == 4
        assert refused.fault is not None
        assert (refused.fault.signal, refused.fault.code) == (signal.SIGSEGV, 2)
        moved(refused)
        assert moved(specimen.mprotect(mapped, "rw", start=4, pages=2)) == {"regions": -2}

    def test_neighbours_are_joined(self, specimen: Specimen) -> None:
        first = area(specimen.mmap(pages=2))
        assert moved(specimen.mmap(pages=2, address=first.end)) == {"vsz": 2 * PAGE}
