"""Why a step changed what it changed, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.specimens import PAGE, area

if TYPE_CHECKING:
    from procmem.experiments import Specimen

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestWords:
    def test_why(self, specimen: Specimen) -> None:
        mapped = specimen.mmap(pages=2)
        assert "RSS +0" in mapped.why
        assert "first time" in specimen.touch(area(mapped)).why
        assert "no fault" in specimen.touch(area(mapped)).why
        assert "not allowed" in specimen.touch(0).why
        assert "write-protected" in specimen.fork().why
        mapped = specimen.mmap(pages=9)
        specimen.read(area(mapped))
        assert "9 pages only read until now, now written" in specimen.touch(area(mapped)).why
        assert "in place. VSZ -12 KiB. 3 pages given back" in (
            specimen.mremap(area(mapped), pages=6).why
        )
        assert "first accessed" in specimen.mlock(area(mapped), pages=6, on_fault=True).why
        populated = specimen.mmap(pages=4, populate=True)
        assert "at once" in populated.why
        assert "RSS +0" not in populated.why
        assert "No page moves" in specimen.madvise(area(populated), "willneed").why
