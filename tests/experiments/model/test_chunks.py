"""Sizes of chunks, and their bins."""

from __future__ import annotations

import os

import pytest

from procmem.experiments.model.chunks import bin_of, chunk_size
from tests.support.mallocs import PAGE

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != PAGE, reason="the figures here are those of 4 KiB pages"
)


@pytest.mark.parametrize(
    "request_, size", [(0, 32), (24, 32), (25, 48), (40, 48), (1032, 1040), (131_049, 131_072)]
)
def test_sizes_of_chunks(request_: int, size: int) -> None:
    assert chunk_size(request_) == size


def test_bins() -> None:
    numbers = [bin_of(size) for size in range(32, 1 << 21, 16)]
    assert numbers == sorted(numbers)
    assert (bin_of(1008), bin_of(1024), bin_of(1 << 30)) == (63, 64, 126)
