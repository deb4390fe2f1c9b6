"""Page tables: how many an access takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem import GiB, KiB, MiB
from tests.support.specimens import PAGE, area, moved

if TYPE_CHECKING:
    from procmem.experiments import Specimen

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestTheory:
    def test_zero_pages_cost_page_tables(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(GiB, prot="r", place="slot"))
        step = specimen.read(mapped, pages=512, stride=2 * MiB)
        # 512 lowest tables, one above them, one above that.
        assert moved(step) == {"page_tables": 2056 * KiB, "minor": 512}

    def test_page_tables_by_distance(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(1 << 40, prot="rw", noreserve=True, place="slot"))
        deltas = [
            specimen.touch(mapped.start + offset).delta.page_tables
            for offset in (0, PAGE, 2 * MiB, GiB, 512 * GiB)
        ]
        assert deltas == [12 * KiB, 0, 4 * KiB, 8 * KiB, 12 * KiB]
