"""A step as it is shown and compared."""

from __future__ import annotations

import pytest

from procmem.calls.constants import Prot
from procmem.experiments import Delta, Specimen
from procmem.experiments.specimen.arguments import names
from tests.support.specimens import PAGE, area

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestWords:
    def test_calls_as_one_would_write_them(self, specimen: Specimen) -> None:
        step = specimen.mmap(pages=2)
        start = hex(area(step).start)
        assert step.call == (
            f"mmap({start}, 8192, PROT_READ|PROT_WRITE,"
            " MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE, -1, 0)"
        )
        assert specimen.munmap(area(step)).call == f"munmap({start}, 8192)"
        assert names(0, Prot) == "PROT_NONE"

    def test_unknown_figures_are_not_compared(self) -> None:
        assert Delta(rss_file=None).differences(Delta(rss_file=4096)) == []
        assert Delta(vsz=1).differences(Delta()) == ["vsz"]
