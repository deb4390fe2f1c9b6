"""What of a file is in the page cache: exactly what was written, by both calls."""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING

import pytest

from procmem.native import ffi, lib
from procmem.pages import cache
from procmem.pages.cache import CacheUse, cache_frames, cache_of
from procmem.procfs import probes
from tests.support.targets import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def memory() -> Iterator[int]:
    """A file in memory, whose pages nobody can take: 7 pages of 20, and a page in part."""
    fd = os.memfd_create("cached")
    os.ftruncate(fd, 20 * PAGE + 100)
    os.pwrite(fd, b"x" * (7 * PAGE), 3 * PAGE)
    os.pwrite(fd, b"end", 20 * PAGE)
    yield fd
    os.close(fd)


def without_cachestat(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSYS) -> None:
    class Old:
        def __getattr__(self, name: str) -> object:
            return getattr(lib, name)

        def pm_cachestat(self, *_: object) -> int:
            return -number

    monkeypatch.setattr(cache, "lib", Old())


def test_pages_in_the_cache(memory: int) -> None:
    found = cache_of(memory, PAGE)
    assert (found.size, found.cached) == (20 * PAGE + 100, 8 * PAGE)
    if found.source == "cachestat":
        assert (found.writeback, found.evicted, found.recently_evicted) == (0, 0, 0)


def test_mincore_where_there_is_no_cachestat(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    without_cachestat(monkeypatch)
    assert cache_of(memory, PAGE) == CacheUse(
        20 * PAGE + 100, 8 * PAGE, None, None, None, None, "mincore"
    )


def test_a_filter_that_refuses_cachestat(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    without_cachestat(monkeypatch, errno.EPERM)
    monkeypatch.setattr(probes, "has_cachestat", lambda: False)
    assert cache_of(memory, PAGE).source == "mincore"
    monkeypatch.setattr(probes, "has_cachestat", lambda: True)
    with pytest.raises(PermissionError):
        cache_of(memory, PAGE)


def test_a_file_larger_than_a_window(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    without_cachestat(monkeypatch)
    monkeypatch.setattr(cache, "WINDOW", 4)
    assert cache_of(memory, PAGE).cached == 8 * PAGE
    assert list(cache.windows(20 * PAGE + 1, PAGE))[-1] == (20, 1)
    assert list(cache.windows(0, PAGE)) == []
    if probes.shows_page_frames():
        assert len(cache_frames(memory, PAGE)) == 8


def test_an_empty_file() -> None:
    fd = os.memfd_create("empty")
    try:
        assert cache_of(fd, PAGE).cached == 0
        assert list(cache_frames(fd, PAGE)) == []
    finally:
        os.close(fd)


def test_frames_are_those_of_the_file(memory: int) -> None:
    if not probes.shows_page_frames():
        pytest.skip("page frames are shown with CAP_SYS_ADMIN alone")
    frames = cache_frames(memory, PAGE)
    assert len(frames) == len(set(frames)) == 8
    # Asking has neither brought in the pages between nor left anything mapped.
    assert cache_of(memory, PAGE).cached == 8 * PAGE
    with open("/proc/self/maps", "rb") as maps:
        assert b"memfd:cached" not in maps.read()
    with mmap.mmap(memory, 20 * PAGE, prot=mmap.PROT_READ) as mapped:
        mapped[3 * PAGE]
        address = ffi.cast("uintptr_t", ffi.from_buffer(mapped))
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            pagemap.seek((int(address) // PAGE + 3) * 8)
            entry = int.from_bytes(pagemap.read(8), "little")
    assert entry & cache.FRAME == frames[0]


def test_mincore_lies_to_those_who_may_not_write(
    memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_cachestat(monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: os.fstat(memory).st_uid + 1)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="owner"):
        cache_of(memory, PAGE)
