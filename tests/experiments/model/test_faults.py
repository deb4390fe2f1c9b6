"""Page faults: which pages an access brings in, and which it is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import GiB
from procmem.errors import Unsupported
from procmem.experiments import Specimen
from procmem.experiments.specimen.backing import disk_file, memory_file
from tests.support.specimens import PAGE, area, in_memory, moved

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestTheory:
    def test_faults_of_the_program(self, specimen: Specimen) -> None:
        segv, maperr, accerr = signal.SIGSEGV, 1, 2
        shared = area(specimen.mmap(pages=2, shared=True))
        longer = specimen.mremap(shared, pages=4, to=shared.start + GiB)
        writable = area(specimen.mmap(pages=1))
        cases = [
            (specimen.read(0), segv, maperr, 0),
            (specimen.touch(writable.end), segv, maperr, writable.end),
            (specimen.touch(0x401000 if specimen.kind == "program" else 0), segv, None, None),
            (specimen.read(area(specimen.mmap(pages=1, prot=""))), segv, accerr, None),
            (specimen.touch(area(specimen.mmap(pages=1, prot="r"))), segv, accerr, None),
            (specimen.jump(writable.start), segv, accerr, writable.start),
            (specimen.read(1 << 62), segv, None, None),
            (specimen.read(area(longer), start=2), signal.SIGBUS, 2, area(longer).start + 2 * PAGE),
        ]
        for step, number, code, address in cases:
            assert step.fault is not None, step
            assert step.fault.signal == number
            assert code in {None, step.fault.code}
            assert address in {None, step.fault.address}
            assert step.agrees, (step, step.differences, step.fault, step.predicted_fault)


class TestFiles:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "file"
        file.write_bytes(os.urandom(64 * PAGE))
        return file

    def test_a_fault_brings_its_neighbours(self, specimen: Specimen, file: Path) -> None:
        mapped = area(specimen.mmap(pages=64, file=file))
        with in_memory(file):
            step = specimen.read(mapped, pages=1)
            if not step.exact:
                pytest.skip(f"not possible here: {step.reason}")
            around = specimen.space.rules.around
            assert step.delta.rss == around * PAGE
            assert moved(step)["minor"] == 1
            rest = specimen.read(mapped)
        assert rest.delta.minor == 64 // around - 1
        moved(rest)

    def test_private_writes_are_copies(self, specimen: Specimen, file: Path) -> None:
        before = file.read_bytes()
        mapped = area(specimen.mmap(pages=64, file=file))
        with in_memory(file):
            step = specimen.touch(mapped, value=77)
        if step.exact:
            assert (step.delta.rss_anon, step.delta.minor) == (64 * PAGE, 64)
            moved(step)
        assert file.read_bytes() == before

    def test_shared_writes_are_the_files(self, specimen: Specimen, file: Path) -> None:
        mapped = area(specimen.mmap(pages=64, file=file, shared=True))
        specimen.touch(mapped, value=77, pages=2)
        assert file.read_bytes()[::PAGE][:2] == b"MM"

    def test_cold_pages_are_major_faults(self, specimen: Specimen, file: Path) -> None:
        mapping = specimen.mmap(pages=64, file=file, warm=False)
        mapped = area(mapping)
        specimen.madvise(mapped, "random")
        step = specimen.read(mapped, pages=40)
        if not step.predicted.major:
            pytest.skip("the temporary files here lie in memory")
        assert step.delta.major == 40
        moved(step)

    def test_readahead_is_not_predicted(self, specimen: Specimen, file: Path) -> None:
        step = specimen.read(area(specimen.mmap(pages=64, file=file, warm=False)), pages=1)
        if not step.predicted.major:
            pytest.skip("the temporary files here lie in memory")
        assert not step.exact
        assert step.reason is not None
        assert "readahead" in step.reason


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_reading_past_the_end_maps_what_lies_around_before_it(kind: str) -> None:
    with Specimen() as s:
        for pages, offset, at in ((3, 0, 3), (3, 0, 15), (3, 1, 2), (20, 0, 21), (20, 5, 40)):
            try:
                with (memory_file if kind == "memory" else disk_file)(pages, 4096) as fd:
                    area = s.mmap(pages=64, prot="r", file=fd, offset=offset * 4096).mapping
                    assert area is not None
                    with in_memory(fd):
                        step = s.read(area, start=at)
            except Unsupported as error:
                pytest.skip(str(error))
            assert step.agrees, (pages, offset, at, step, step.delta, step.predicted)
            assert step.fault is not None
            assert (step.fault.signal, step.delta.minor) == (7, 0)
