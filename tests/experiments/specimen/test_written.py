"""Pages that were written to."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from procmem.errors import NoSuchProcess, Unsupported
from tests.support.specimens import PAGE, area, is_gone

if TYPE_CHECKING:
    from procmem.experiments import Area, Specimen

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestWrites:
    @pytest.fixture
    def watched(self, specimen: Specimen) -> Area:
        mapped = area(specimen.mmap(pages=600))
        try:
            specimen.watch_writes(mapped).close()
        except Unsupported as error:
            pytest.skip(f"kernel feature missing: {error}")
        return area(specimen.mmap(pages=600))

    def test_page_by_page(self, specimen: Specimen, watched: Area) -> None:
        specimen.touch(watched, pages=300)
        with specimen.watch_writes(watched) as watch:
            assert watch.written() == []
            step = specimen.touch(watched, start=10, pages=5)
            assert not step.exact
            specimen.read(watched, start=400, pages=50)
            specimen.touch(watched, start=512, pages=1)
            pages = [(start - watched.start, end - watched.start) for start, end in watch.written()]
            assert pages == [(10 * PAGE, 15 * PAGE), (512 * PAGE, 513 * PAGE)]
            assert watch.written() == []
            specimen.touch(watched, start=10, pages=1)
            assert watch.written() == [(watched.start + 10 * PAGE, watched.start + 11 * PAGE)]

    def test_more_ranges_than_one_scan_holds(self, specimen: Specimen, watched: Area) -> None:
        large = area(specimen.mmap(pages=5000))
        with specimen.watch_writes(large) as watch:
            specimen.touch(large, pages=2500, stride=2 * PAGE)
            written = watch.written()
            assert len(written) == 2500
            assert all(end - start == PAGE for start, end in written)

    def test_a_specimen_that_is_gone(self, specimen: Specimen, watched: Area) -> None:
        watch = specimen.watch_writes(watched)
        os.kill(specimen.pid, signal.SIGKILL)
        assert is_gone(specimen.pid)
        with pytest.raises(NoSuchProcess):
            watch.written()
        watch.close()
