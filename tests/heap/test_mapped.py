from __future__ import annotations

import os
import struct

import pytest

import procmem
from procmem.heap.mapped import mapped_at
from tests.support.allocating import Shaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def page(offset: int, before: int, head: int) -> bytes:
    return bytes(offset) + struct.pack("=2Q", before, head) + bytes(4080 - offset)


def test_headers_of_direct_mappings() -> None:
    assert mapped_at(page(0, 0, 0x3002), 0x3000, 8) == 0x3000
    assert mapped_at(page(4080, 4080, 0x3012 - 0x10 + 0x10), 0x10000, 8) == 0x4000
    # Since glibc 2.43 without the header.
    assert mapped_at(page(0, 0, 0x2FF2), 0x3000, 8) == 0x3000
    assert mapped_at(page(4080, 4080, 0x3002), 0x10000, 8) == 0x4000
    assert mapped_at(page(0, 0, 0x2FF2), 0x2000, 8) == 0
    # Larger than its region, no whole pages, in an arena, of another distance.
    assert mapped_at(page(0, 0, 0x3002), 0x2000, 8) == 0
    assert mapped_at(page(0, 0, 0x3012), 0x10000, 8) == 0
    assert mapped_at(page(0, 0, 0x3003), 0x10000, 8) == 0
    assert mapped_at(page(48, 32, 0x2FE2), 0x10000, 8) == 0
    assert mapped_at(bytes(4096), 0x10000, 8) == 0
    assert mapped_at(b"", 0x10000, 8) == 0


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc")
@pytest.mark.parametrize("flags", [(), ("-m32",)])
def test_each_direct_mapping_is_found(flags: tuple[str, ...], tmp_path: Path) -> None:
    with Shaped(tmp_path, "direct", *flags) as target:
        heap = procmem.Process(target.pid).heap()
        assert heap.mmaps == target.said.hblks == len(heap.mapped) == target.said.number
        assert heap.mmapped == target.said.hblkhd == sum(one.size for one in heap.mapped)
        assert heap.mapped[0].size == (5 << 20) + 4096
        # A half of each plain one was written, after its header, and all of the aligned ones.
        assert heap.mapped[0].resident == (5 << 19) + 4096
