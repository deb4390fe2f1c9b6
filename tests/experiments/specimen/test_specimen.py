"""The Specimen as users hold it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import KiB, native
from tests.support.specimens import PAGE

if TYPE_CHECKING:
    from procmem.experiments import Specimen

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestLife:
    def test_it_is_small(self, specimen: Specimen) -> None:
        if specimen.kind != "program":
            pytest.skip("the program can't be run here")
        figures = specimen.figures
        regions = len(specimen.process.maps())
        assert figures.regions == regions <= 9
        assert figures.vsz <= 256 * KiB
        assert (figures.rss or 0) <= 64 * KiB
        program = Path(native.__file__).with_name("specimen")
        assert program.stat().st_size < 16 * KiB
