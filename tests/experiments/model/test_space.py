"""The model of an address space: fork, and random walks against the kernel."""

from __future__ import annotations

import os
import tempfile
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from benchmarks.agreement import Walk
from tests.support.specimens import PAGE, area, is_gone, moved, untrue

if TYPE_CHECKING:
    from procmem.experiments import Specimen

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestTheory:
    def test_copy_on_write(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=100))
        specimen.touch(mapped)
        forked = specimen.fork()
        assert moved(forked) == {}
        child = forked.child
        assert child is not None
        with child:
            rollup = child.process.smaps().filter(start=mapped.start, end=mapped.end)[0]
            assert (rollup.rss, rollup.pss, rollup.shared_dirty) == (
                100 * PAGE, 50 * PAGE, 100 * PAGE,
            )  # fmt: skip
            assert moved(child.touch(mapped, pages=30)) == {"minor": 30}
            after = child.process.smaps().filter(start=mapped.start, end=mapped.end)[0]
            assert after.private_dirty == 30 * PAGE
            assert after.shared_dirty == 70 * PAGE
            assert after.pss == 30 * PAGE + 35 * PAGE
            # The parent's pages are its own again, but that is found out by a fault each.
            assert moved(specimen.touch(mapped, pages=30)) == {"minor": 30}
            assert moved(specimen.touch(mapped, pages=30)) == {}
        assert moved(specimen.touch(mapped)) == {"minor": 70}

    def test_a_childs_memory_is_its_own(self, specimen: Specimen) -> None:
        child = specimen.fork().child
        assert child is not None
        mapped = area(child.mmap(pages=3))
        assert moved(child.touch(mapped))["rss"] == 3 * PAGE
        assert specimen.touch(mapped).fault is not None
        child.close()
        assert is_gone(child.pid)
        assert specimen.is_alive


class TestAgreement:
    @pytest.mark.parametrize("seed", [1, 2])
    def test_random_steps(self, seed: int) -> None:
        self.walk(seed, 1000, [])

    def test_random_steps_on_a_file_in_memory(self) -> None:
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
            file.write(os.urandom(700 * PAGE))
            file.flush()
            self.walk(3, 1000, [file.name])

    def walk(self, seed: int, steps: int, files: list[str]) -> None:
        walk = Walk(seed, files=files)
        try:
            for step in islice(walk, steps):
                assert step.agrees or not step.exact, (
                    step, step.differences, step.delta, step.predicted,
                )  # fmt: skip
                if step.exact:
                    assert not untrue(step), (step, untrue(step), step.why, step.delta)
        finally:
            walk.close()

    def test_a_model_that_is_wrong_is_seen(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(pages=10))
        specimen.space.munmap(
            mapped.start // PAGE, 1, type(specimen.touch(mapped)._prediction.tally)()
        )
        step = specimen.touch(mapped)
        assert not step.agrees
        assert "fault" in step.differences
        assert "differs" in repr(step)
