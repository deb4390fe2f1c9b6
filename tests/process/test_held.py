"""The files that a process has mapped or open, and what the page cache has of them."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.process.held import cached_files, cached_path, held_files
from tests.support.targets import PAGE, Target

if TYPE_CHECKING:
    from pathlib import Path


def test_mapped_and_open_files(tmp_path: Path) -> None:
    mapped, both = tmp_path / "mapped", tmp_path / "b o\nth"
    for file in (mapped, both):
        file.write_bytes(b"x" * 3 * PAGE)
    with Target() as target, both.open("rb") as held:
        target.map_file(mapped, 3, "r--s")
        files = {one.path: one for one in held_files(procmem.Process(target.pid).files)}
        one = files[str(mapped)]
        assert (one.mapped, one.deleted) == (True, False)
        assert one.key == (mapped.stat().st_dev, mapped.stat().st_ino)
        mine = {one.path: one for one in held_files(procmem.Process().files)}
        assert (mine[str(both)].opened, mine[str(both)].mapped) == (True, False)
        assert held.fileno() >= 0


def test_cached_pages_of_a_process(tmp_path: Path) -> None:
    file = tmp_path / "cached"
    file.touch()
    os.truncate(file, 10 * PAGE)
    with Target() as target:
        mapping = target.map_file(file, 10, "rw-s")
        target.touch(mapping)
        target.lock(mapping)
        found = {one.path: one for one in cached_files(procmem.Process(target.pid).files)}
        use = found[str(file)].cache
        assert use is not None
        assert (use.size, use.cached) == (10 * PAGE, 10 * PAGE)
        assert list(found)[-1] is not None


def test_a_deleted_file_is_reached_by_root_or_named_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "gone"
    file.write_bytes(b"x" * 4 * PAGE)
    with Target() as target:
        mapping = target.map_file(file, 4, "rw-s")
        target.touch(mapping)
        target.lock(mapping)
        file.unlink()
        file.write_bytes(b"another")
        found = [one for one in cached_files(procmem.Process(target.pid).files) if one.deleted]
        (gone,) = [one for one in found if one.path == str(file)]
        if gone.cache is None:
            assert gone.reason
            assert os.geteuid() != 0
        else:
            assert gone.cache.cached == 4 * PAGE


def test_an_open_file_that_was_deleted(tmp_path: Path) -> None:
    file = tmp_path / "gone"
    with file.open("wb") as held:
        held.write(b"x" * PAGE)
        held.flush()
        file.unlink()
        (gone,) = [one for one in cached_files(procmem.Process().files) if one.path == str(file)]
        assert (gone.deleted, gone.opened) == (True, True)


def test_nothing_but_regular_files_is_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, "/dev/zero"):
        found = cached_path(path)
        assert (found.cache, found.reason) == (None, "not a regular file")
    end = os.open(fifo, os.O_RDWR)
    with socket.socket() as listening:
        paths = [one.path for one in held_files(procmem.Process().files)]
        assert str(fifo) not in paths
        assert listening.fileno() >= 0
    os.close(end)


def test_a_path(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (5 * PAGE + 1))
    (tmp_path / "link").symlink_to(file)
    found = cached_path(tmp_path / "link")
    assert found.cache is not None
    assert found.cache.size == 5 * PAGE + 1
    assert found.cache.cached <= 6 * PAGE
    with pytest.raises(FileNotFoundError, match="nothing"):
        cached_path(tmp_path / "nothing")
