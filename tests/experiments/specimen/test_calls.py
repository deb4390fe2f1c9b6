"""System calls of a specimen: every figure from theory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem import GiB, KiB
from procmem.errors import SyscallError
from tests.support.specimens import PAGE, area, moved, shared

if TYPE_CHECKING:
    from procmem.experiments import Specimen

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestTheory:
    def test_the_mmap_report(self, specimen: Specimen) -> None:
        mapped = specimen.mmap(PAGE)
        assert moved(mapped) == {"vsz": PAGE, "regions": 1}
        # Its first page in this part of the address space: a table on each of three levels.
        assert moved(specimen.read(area(mapped))) == {"page_tables": 12 * KiB, "minor": 1}
        written = specimen.touch(area(mapped))
        assert moved(written) == {"rss": PAGE, "rss_anon": PAGE, "minor": 1}
        assert moved(specimen.touch(area(mapped))) == {}
        gone = specimen.munmap(area(mapped))
        assert moved(gone) == {
            "vsz": -PAGE, "rss": -PAGE, "rss_anon": -PAGE, "page_tables": -12 * KiB, "regions": -1,
        }  # fmt: skip

    def test_a_thousand_pages(self, specimen: Specimen) -> None:
        mapped = specimen.mmap(pages=1000)
        assert moved(mapped) == {"vsz": 4000 * KiB, "regions": 1}
        ten = specimen.touch(area(mapped), pages=10)
        assert ten.delta.rss == ten.predicted.rss == 40 * KiB
        assert ten.delta.minor == 10
        rest = specimen.touch(area(mapped), order="random", seed=3)
        # 1,000 pages span two lowest tables.
        assert moved(rest) == {
            "rss": 3960 * KiB, "rss_anon": 3960 * KiB, "page_tables": 4 * KiB, "minor": 990,
        }  # fmt: skip

    def test_lengths_are_rounded_up(self, specimen: Specimen) -> None:
        assert specimen.mmap(1).delta.vsz == PAGE
        assert specimen.mmap(PAGE + 1).delta.vsz == 2 * PAGE

    def test_part_of_a_mapping_is_unmapped(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=8))
        specimen.touch(mapped)
        middle = specimen.munmap(mapped, start=3, pages=2)
        assert moved(middle) == {"vsz": -2 * PAGE, "rss": -2 * PAGE, "rss_anon": -2 * PAGE,
                                 "regions": 1}  # fmt: skip
        assert moved(specimen.munmap(mapped, start=3, pages=2)) == {}

    def test_populate(self, specimen: Specimen) -> None:
        step = specimen.mmap(pages=100, populate=True)
        assert (step.delta.rss, step.delta.minor) == (100 * PAGE, 100)
        moved(step)

    def test_brk(self, specimen: Specimen) -> None:
        grown = specimen.sbrk(10 * PAGE)
        assert (grown.delta.vsz, grown.delta.rss) in {(10 * PAGE, 0), (11 * PAGE, 0)}
        moved(grown)
        start = -(-area(grown).start // PAGE) * PAGE
        assert moved(specimen.touch(start, pages=5))["rss"] == 5 * PAGE
        shrunk = specimen.sbrk(-8 * PAGE)
        assert shrunk.delta.vsz == -8 * PAGE
        assert moved(shrunk)["rss"] in {-3 * PAGE, -4 * PAGE}
        assert moved(specimen.sbrk(0)) == {}

    def test_lock(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=4))
        locked = specimen.mlock(mapped)
        assert (locked.delta.rss, locked.delta.locked) == (4 * PAGE, 4 * PAGE)
        moved(locked)
        assert moved(specimen.munlock(mapped)) == {"locked": -4 * PAGE}

    def test_give_back(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=20))
        specimen.touch(mapped)
        step = specimen.madvise(mapped, "dontneed", start=0, pages=5)
        assert moved(step) == {"rss": -5 * PAGE, "rss_anon": -5 * PAGE}

    def test_move(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=20))
        specimen.touch(mapped, pages=10)
        there = mapped.start + GiB
        step = specimen.mremap(mapped, pages=30, to=there)
        assert area(step).start == there
        assert moved(step)["vsz"] == 10 * PAGE
        assert "rss" not in moved(step)
        assert moved(specimen.touch(area(step), pages=10)) == {}

    def test_shared_memory(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=32, shared=True))
        # A read allocates, too: shared memory has no zero page.
        assert shared(specimen.read(mapped, pages=2)) == 2 * PAGE
        specimen.touch(mapped)
        assert shared(specimen.madvise(mapped, "dontneed")) == -32 * PAGE
        # Still there: a fault maps 16 pages at once (fault-around, 64 KiB).
        again = specimen.read(mapped)
        assert (shared(again), again.delta.minor) == (32 * PAGE, 2)
        moved(again)

    def test_guard_pages(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=4))
        try:
            moved(specimen.madvise(mapped, "guard_install", start=1, pages=1))
        except SyscallError as error:
            pytest.skip(f"kernel feature missing: MADV_GUARD_INSTALL ({error})")
        step = specimen.touch(mapped)
        moved(step)
        assert step.fault is not None
        assert step.fault.address == mapped.start + PAGE
