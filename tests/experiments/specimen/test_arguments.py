"""Arguments that no call can be made with, and orders of accesses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from procmem.errors import BadArgument, SyscallError
from procmem.experiments import Area, Specimen
from procmem.experiments.specimen.arguments import order_of
from tests.support.specimens import PAGE, area, moved

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestBadInput:
    def test_lengths(self, specimen: Specimen) -> None:
        with pytest.raises(SyscallError, match="mmap: Invalid argument"):
            specimen.mmap(0)
        with pytest.raises(SyscallError, match="address space"):
            specimen.mmap(1 << 60)
        for length, pages in ((None, None), (1, 1), (-1, None), (None, -1), (1 << 70, None)):
            with pytest.raises(BadArgument):
                specimen.mmap(length, pages=pages)

    def test_addresses(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(PAGE))
        with pytest.raises(SyscallError, match="something is mapped there"):
            specimen.mmap(PAGE, address=mapped.start)
        with pytest.raises(SyscallError):
            specimen.mmap(PAGE, address=mapped.start + 1)
        with pytest.raises(SyscallError):
            specimen.munmap(Area(mapped.start + 1, PAGE, PAGE))

    def test_words(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(PAGE))
        wrongs: list[Callable[[], object]] = [
            lambda: specimen.mmap(PAGE, prot="rwz"),
            lambda: specimen.mmap(PAGE, place="anywhere"),
            lambda: specimen.touch(mapped, order="sideways", pages=2),
            lambda: specimen.touch(mapped, pages=0),
            lambda: specimen.touch(mapped, stride=0),
            lambda: specimen.madvise(mapped, "something"),
            lambda: specimen.munmap(mapped, start=-1),
            lambda: Specimen(source="ps"),
        ]
        for wrong in wrongs:
            with pytest.raises(BadArgument):
                wrong()

    @pytest.mark.parametrize("wrong", [1.5, float("nan"), "3", b"3", 1 << 64, -1 << 64])
    def test_what_is_no_word_leaves_no_trace(self, specimen: Specimen, wrong: Any) -> None:
        mapped = area(specimen.mmap(pages=10))
        before = specimen.figures
        calls: list[Callable[[], object]] = [
            lambda: specimen.mmap(wrong),
            lambda: specimen.mmap(pages=wrong),
            lambda: specimen.mmap(PAGE, address=wrong),
            lambda: specimen.mmap(PAGE, offset=wrong),
            lambda: specimen.touch(wrong),
            lambda: specimen.touch(mapped, pages=wrong),
            lambda: specimen.touch(mapped, start=wrong),
            lambda: specimen.touch(mapped, stride=wrong),
            lambda: specimen.munmap(wrong),
            lambda: specimen.munmap(mapped, start=wrong),
            lambda: specimen.mlock(mapped, pages=wrong),
            lambda: specimen.mremap(mapped, pages=wrong),
            lambda: specimen.mremap(mapped, pages=1, to=wrong),
            lambda: specimen.brk(wrong),
            lambda: specimen.sbrk(wrong),
            lambda: specimen.jump(wrong),
            lambda: specimen.watch_writes(wrong),
            lambda: Specimen(kind=wrong),
        ]
        for call in calls:
            with pytest.raises(BadArgument):
                call()
        assert specimen.figures == before
        moved(specimen.touch(area(specimen.mmap(pages=3))))

    def test_numbers_of_other_types(self, specimen: Specimen) -> None:
        """As numpy's: whatever has __index__."""

        class Number:
            def __index__(self) -> int:
                return 3

        three: Any = Number()
        mapped = specimen.mmap(pages=three)
        assert mapped.delta.vsz == 3 * PAGE
        assert specimen.touch(area(mapped), pages=three).delta.rss_anon == 3 * PAGE

    def test_a_refused_call_changes_nothing(self, specimen: Specimen) -> None:
        before = specimen.figures
        wrongs: list[Callable[[], object]] = [
            lambda: specimen.mmap(0),
            lambda: specimen.brk(4096),
            lambda: specimen.madvise(
                Area(specimen._stepper.place(PAGE, "near"), PAGE, PAGE), "dontneed"
            ),
        ]
        for wrong in wrongs:
            with pytest.raises(SyscallError):
                wrong()
        assert specimen.figures == before
        moved(specimen.mmap(PAGE))


class TestWords:
    @pytest.mark.parametrize("count", [1, 2, 7, 512, 1000])
    def test_orders_visit_every_page_once(self, count: int) -> None:
        for order in ("forward", "backward", "random"):
            factor, shift = order_of(order, count, 5)
            assert sorted((n * factor + shift) % count for n in range(count)) == list(range(count))
