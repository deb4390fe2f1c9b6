from __future__ import annotations

import os
import struct

import pytest

import procmem
from procmem.experiments import Specimen
from procmem.heap.layout import MallocParameters
from procmem.heap.mapped import PAGE_SIZE, mapped_at
from procmem.heap.reading import mapped_bytes
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
    # Of huge pages.
    assert mapped_at(page(0, 1, 0x1FFFF2), 2 << 20, 8) == 2 << 20
    # Larger than its region, no whole pages, in an arena, of another distance.
    assert mapped_at(page(0, 0, 0x3002), 0x2000, 8) == 0
    assert mapped_at(page(0, 0, 0x3012), 0x10000, 8) == 0
    assert mapped_at(page(0, 0, 0x3003), 0x10000, 8) == 0
    assert mapped_at(page(48, 32, 0x2FE2), 0x10000, 8) == 0
    assert mapped_at(bytes(4096), 0x10000, 8) == 0
    assert mapped_at(b"", 0x10000, 8) == 0


def test_bytes_of_direct_mappings_are_those_found_or_a_count_of_whole_pages() -> None:
    def counted(mmaps: int, mmapped: int) -> MallocParameters:
        return MallocParameters(mmaps, mmapped, 0, 128 << 10)

    both = [(0x10000, 2 * PAGE_SIZE), (0x40000, PAGE_SIZE)]
    assert mapped_bytes([], both) is None
    for drift in (0, 16, PAGE_SIZE):
        assert mapped_bytes([counted(2, 3 * PAGE_SIZE + drift)], both) == 3 * PAGE_SIZE
    assert mapped_bytes([counted(1, PAGE_SIZE), counted(1, PAGE_SIZE * 2)], both) == 3 * PAGE_SIZE
    assert mapped_bytes([counted(0, 16)], []) == 0
    # One is not found.
    assert mapped_bytes([counted(3, 9 * PAGE_SIZE)], both) == 9 * PAGE_SIZE
    assert mapped_bytes([counted(3, 9 * PAGE_SIZE + 16)], both) is None


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


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc")
@pytest.mark.parametrize("flags", [(), ("-m32",)])
def test_direct_mappings_that_were_resized(flags: tuple[str, ...], tmp_path: Path) -> None:
    """The malloc of glibc 2.43 counts 16 bytes too many each time."""
    with Shaped(tmp_path, "resized", *flags) as target:
        heap = procmem.Process(target.pid).heap()
        assert heap.mmaps == target.said.hblks == len(heap.mapped) == 3
        assert heap.mmapped == (target.said.number << 20) + 3 * PAGE_SIZE
        assert heap.mmap_threshold is not None


def test_one_that_the_kernel_joined_with_an_arena() -> None:
    """Allocations are mapped below an arena where the kernel finds room there."""
    with Specimen(libc=True) as specimen:
        specimen.thread()
        arena = (specimen.malloc(1000, thread=0).address or 0) & -(64 << 20)
        chunk = (specimen.malloc(200_000).address or 0) & -PAGE_SIZE
        smaps = specimen.process.smaps()
        own, heap = smaps.find(chunk), smaps.find(arena)
        assert own is not None
        assert heap is not None
        size = 200_000 // PAGE_SIZE * PAGE_SIZE + PAGE_SIZE
        noreserve = "nr" in (heap.vm_flags or "")
        specimen.mmap(size, address=arena - size, noreserve=noreserve)
        # The allocation is moved there, as far as can be seen from outside.
        with open(f"/proc/{specimen.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(chunk)
            header = memory.read(16)
            memory.seek(chunk)
            memory.write(bytes(16))
            memory.seek(arena - size)
            memory.write(header)
        joined = specimen.process.maps().find(arena)
        assert joined is not None
        if joined.start == arena:
            pytest.skip("something else was mapped before the arena")
        found = specimen.process.heap()
        assert [(one.address, one.size) for one in found.mapped] == [(arena - size, size)]
        assert found.mmapped == size
