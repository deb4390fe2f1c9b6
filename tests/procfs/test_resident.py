from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.procfs import ProcessFiles
from procmem.procfs.resident import ResidentMemory

if TYPE_CHECKING:
    from tests.support.targets import Target


def test_pages_that_are_not_there_are_not_read(target: Target) -> None:
    size = os.sysconf("SC_PAGE_SIZE")
    mapping = target.map(4)
    target.touch(mapping, 2)
    process = procmem.Process(target.pid)
    before = process.memory().rss_anon
    with ResidentMemory(ProcessFiles(target.pid)) as memory:
        assert memory
        assert len(memory.read(mapping.start, 4 * size)) == 2 * size
        assert len(memory.read(mapping.start + 100, 10)) == 10
        assert memory.read(mapping.start + 3 * size, 8) == b""
        assert memory.entries(mapping.start, mapping.start + 4 * size) == [True, True, False, False]
    assert process.memory().rss_anon == before


def test_required_memory_that_is_denied_raises() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read all memory")
    with pytest.raises(procmem.AccessDenied):
        ResidentMemory(ProcessFiles(1), required=True)


def test_memory_that_is_not_required_is_empty() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read all memory")
    with ResidentMemory(ProcessFiles(1)) as memory:
        assert not memory
        assert memory.read(0x1000, 8) == b""
