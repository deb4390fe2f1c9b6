"""numa_maps as records: lines as kernels print them, and lines that none prints."""

from __future__ import annotations

import pytest

import procmem
from procmem.regions.numa import parse_numa_maps

TEXT = b"""\
00400000 default file=/a\\040b\\012N9=7 mapped=12 mapmax=3 active=10 N0=8 N1=4 kernelpagesize_kB=4
01a2b000 bind:0-1 heap anon=20 dirty=15 swapcache=2 active=0 writeback=1 N1=20 kernelpagesize_kB=4
7f0000000000 interleave=static:0,2 huge anon=2 dirty=2 N2=2 kernelpagesize_kB=2048
7f0000400000 prefer:1 stack
7ffff0000000 weighted_interleave:0-1 anon=1 N10=1 future=3 kernelpagesize_kB=64
"""


def test_lines_of_kernels() -> None:
    file, heap, huge, stack, future = parse_numa_maps(TEXT)
    assert (file.start, file.policy) == (0x400000, "default")
    # What looks like a node in the file's name is none.
    assert file.nodes == {0: 8 * 4096, 1: 4 * 4096}
    assert (file.mapped, file.mapmax, file.active, file.anon) == (12 * 4096, 3, 10 * 4096, 0)
    assert (heap.policy, heap.nodes) == ("bind:0-1", {1: 20 * 4096})
    assert (heap.anon, heap.dirty, heap.swapcache) == (20 * 4096, 15 * 4096, 2 * 4096)
    assert (heap.active, heap.writeback, heap.mapped) == (0, 4096, None)
    assert (huge.nodes, huge.page_size, huge.anon) == ({2: 4 << 20}, 2 << 20, 4 << 20)
    assert (stack.nodes, stack.anon, stack.mapmax, stack.page_size) == ({}, 0, 0, 4096)
    assert future.nodes == {10: 64 << 10}
    assert future.to_record()["node10"] == 64 << 10
    assert "nodes" not in future.to_record()


@pytest.mark.parametrize(
    "line", [b"x default", b"1000", b"1000 \xff", b"1000 default N0=x kernelpagesize_kB=4"]
)
def test_other_lines(line: bytes) -> None:
    with pytest.raises(procmem.ParseError) as caught:
        parse_numa_maps(b"1000 default\n" + line, source="here")
    assert (caught.value.source, caught.value.lineno) == ("here", 2)


def test_live() -> None:
    process = procmem.Process()
    try:
        found = process.numa()
    except procmem.Unsupported as error:
        pytest.skip(str(error))
    starts = {region.start for region in process.maps()}
    assert len({one.start for one in found} & starts) >= 5
    anonymous = sum(one.anon for one in found)
    # Every anonymous page is on some node.
    assert 0 < anonymous <= sum(sum(one.nodes.values()) for one in found)
