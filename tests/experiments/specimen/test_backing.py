"""Files that are mapped."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem.errors import BadArgument, SyscallError, Unsupported
from procmem.experiments import Specimen
from procmem.experiments.specimen.backing import disk_file, pages_in_memory
from tests.support.specimens import PAGE, area, shared
from tests.support.stories import M

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestFiles:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "file"
        file.write_bytes(os.urandom(64 * PAGE))
        return file

    def test_a_descriptor(self, specimen: Specimen) -> None:
        with tempfile.TemporaryFile(dir="/dev/shm") as file:
            file.write(bytes(8 * PAGE))
            file.flush()
            step = specimen.read(area(specimen.mmap(pages=8, file=file.fileno())))
            assert shared(step) == 8 * PAGE

    def test_a_file_that_is_none(self, specimen: Specimen, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        for path in (fifo, tmp_path, "/dev/zero"):
            with pytest.raises(BadArgument, match="regular"):
                specimen.mmap(pages=1, file=path)
        with pytest.raises(SyscallError, match="No such file"):
            specimen.mmap(pages=1, file=tmp_path / "nothing")


def test_a_file_that_was_written_in_large_pieces_faults_as_predicted(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(os.urandom(4 * M))
    with Specimen() as s:
        area = s.mmap(4 * M, prot="r", file=file).mapping
        assert area is not None
        step = s.read(area)
        assert step.agrees or not step.exact, (step.delta, step.predicted)
        assert step.delta.minor in (64, 1024)  # fault-around, or a tmpfs


def test_pages_in_memory() -> None:
    try:
        with disk_file(20, 4096) as fd:
            assert pages_in_memory(fd, 20 * 4096) == 20
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert pages_in_memory(fd, 20 * 4096) == 0
            os.pread(fd, 1, 0)
            assert 1 <= pages_in_memory(fd, 20 * 4096) <= 20
    except Unsupported as error:
        pytest.skip(str(error))
