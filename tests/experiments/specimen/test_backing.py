"""Files that are mapped."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem.errors import BadArgument, SyscallError, Unsupported
from procmem.experiments import Specimen
from procmem.experiments.specimen.backing import disk_file, pages_in_memory
from tests.support.specimens import PAGE, area, in_memory, moved, shared
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
        mapped = area(s.mmap(4 * M, prot="r", file=file))
        with in_memory(file):
            step = s.read(mapped)
        assert step.agrees or not step.exact, (step.delta, step.predicted)
        assert step.delta.minor in (64, 1024)  # fault-around, or a tmpfs


def test_what_the_kernel_dropped_since_is_a_major_fault() -> None:
    try:
        with disk_file(64, PAGE) as fd, Specimen() as s:
            shown = area(s.mmap(pages=64, prot="r", file=fd))
            s.madvise(shown, "random")
            os.posix_fadvise(fd, 8 * PAGE, 40 * PAGE, os.POSIX_FADV_DONTNEED)
            # The kernel may drop more at any time.
            assert 0 < pages_in_memory(fd, 64 * PAGE) <= 24
            step = s.read(shown, order="backward")
    except Unsupported as error:
        pytest.skip(str(error))
    assert moved(step)["major"] == step.predicted.major >= 40


def test_pages_in_memory() -> None:
    try:
        with disk_file(20, 4096) as fd:
            with in_memory(fd):
                assert pages_in_memory(fd, 20 * 4096) == 20
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert pages_in_memory(fd, 20 * 4096) == 0
    except Unsupported as error:
        pytest.skip(str(error))


def test_kept_pages_are_not_dropped() -> None:
    try:
        with disk_file(20, 4096) as fd:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            with in_memory(fd):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                assert pages_in_memory(fd, 20 * 4096) == 20
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert pages_in_memory(fd, 20 * 4096) == 0
    except Unsupported as error:
        pytest.skip(str(error))


def test_no_more_is_kept_than_the_limit_allows() -> None:
    code = """
import os, resource, tempfile
from procmem.experiments.specimen.backing import keep_in_memory
resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))
if not os.getuid():
    os.setresuid(65534, 65534, 65534)
with tempfile.TemporaryFile() as file:
    file.truncate(1 << 20)
    with keep_in_memory(file.fileno(), 1 << 20) as kept:
        print(kept)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")
