"""What a check may ask of a snapshot and of this machine."""

from __future__ import annotations

import os
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    KiB,
    Submission,
    SubmissionError,
    anonymous,
    bss,
    data,
    heap,
    libc_version,
    libraries,
    malloc_heap,
    malloc_state,
    mmap_threshold,
    regions,
    same_bytes,
    stack,
    stack_limit,
    text,
    thread_stack,
    threads,
    top_pad,
)
from procmem.grade.errors import NotPossibleHere
from procmem.snapshots import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.targets import Target


def test_parts_of_a_process(target: Target) -> None:
    shot = procmem.Process(target.pid).snapshot()
    table = shot.regions
    heaps = [region for region in table if region.pathname == "[heap]"]
    assert heap(shot).size == sum(region.size for region in heaps)
    assert heap(shot).regions == len(heaps)
    first = next(region for region in table if region.pathname == "[stack]")
    assert stack(shot) == (first.size, first.rss, 1)
    exe = os.readlink(f"/proc/{target.pid}/exe")
    code = [r for r in table if r.pathname == exe and r.perms.execute]
    assert text(shot).size == sum(region.size for region in code)
    written = [r for r in table if r.pathname == exe and r.perms.write]
    assert data(shot).size >= sum(region.size for region in written)
    assert bss(shot).size % PAGE == 0
    assert anonymous(shot).size < shot.vsz
    assert len(threads(shot)) == len(os.listdir(f"/proc/{target.pid}/task"))
    mapped = {r.pathname for r in table if r.inode and r.perms.execute and r.pathname != exe}
    assert set(libraries(shot)) == mapped
    assert len(regions(shot, kind="stack")) == 1
    bare = procmem.Process(target.pid).snapshot("maps")
    assert stack(bare).rss is None
    assert not heap(Snapshot(procmem.parse_maps(b"")))


def test_figures_of_this_machine() -> None:
    assert os.sysconf("SC_PAGESIZE") == PAGE
    limit = subprocess.run(["sh", "-c", "ulimit -s"], capture_output=True, text=True, check=True)
    told = limit.stdout.strip()
    assert stack_limit() == (None if told == "unlimited" else int(told) * KiB)
    assert thread_stack() % PAGE == 0


def test_malloc_is_measured() -> None:
    try:
        threshold, pad = mmap_threshold(), top_pad()
    except NotPossibleHere as error:
        pytest.skip(str(error))
    with Specimen(libc=True) as one:
        one.malloc(1)
        one.malloc(pad - 16 * KiB)  # what is left is less than the requests below
        below = one.malloc(threshold - 24)
        region = one.process.region_at(below.address or 0)
        assert region is not None
        assert region.pathname == "[heap]"
        one.malloc(pad - 16 * KiB)
        above = one.malloc(threshold - 23)
        region = one.process.region_at(above.address or 0)
        assert region is not None
        assert region.pathname is None


def test_files_are_compared_by_their_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"x" * (3 << 20))
    other.write_bytes(b"x" * (3 << 20))
    assert same_bytes(one, other)
    other.write_bytes(b"x" * ((3 << 20) - 1) + b"y")
    assert not same_bytes(one, other)
    other.write_bytes(b"")
    assert not same_bytes(one, other)
    with pytest.raises(SubmissionError, match="nothing"):
        same_bytes(one, tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SubmissionError, match="regular"):
        same_bytes(tmp_path / "fifo", one)


WAITS = """
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    char c;
    for (volatile int i = 0; i < BLOCKS; i++)
        *(volatile char *)malloc(70000) = 1;
    return read(0, &c, 1) < 0;
}
"""


@pytest.mark.parametrize("blocks", [9, 0])
def test_the_inside_of_malloc(tmp_path: Path, blocks: int) -> None:
    (tmp_path / "waits.c").write_text(WAITS)
    build = ["cc", f"-DBLOCKS={blocks}", "-o", "waits", "waits.c"]
    with (
        Submission(tmp_path, build=build, program=["./waits"]) as made,
        made.program().run() as run,
    ):
        run.pause()
        if not blocks:
            with pytest.raises(SubmissionError, match="no heap"):
                malloc_heap(run)
            return
        sizes = {row.size: row.in_use for row in malloc_heap(run).by_size()}
    assert sum(many for size, many in sizes.items() if 70008 <= size < 70080) == blocks


STATE = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    char line[32] = "", *volatile hole, *volatile kept, *volatile large, *before;
    size_t threshold, *volatile piece;

    large = malloc(1 << 20);
    free(large);
    /* More than malloc asks the kernel for beside what it needs: no free memory is larger. */
    hole = malloc(140000);
    kept = malloc(40);
    free(hole);
    if (read(0, line, sizeof line - 1) < 0)
        return 1;
    threshold = strtoul(line, NULL, 10);
    before = sbrk(0);
    hole = malloc(ROOM);
    printf("same=%d ", sbrk(0) == before);
    free(hole);
    large = malloc(ROOM + 1);
    printf("more=%d ", sbrk(0) != before);
    /* A chunk of this size, and one that is 16 bytes smaller. */
    piece = malloc(threshold - sizeof *piece);
    printf("mapped=%d ", !!(piece[-1] & 2));
    piece = malloc(threshold - sizeof *piece - 16);
    printf("heap=%d\\n", !(piece[-1] & 2));
    fflush(stdout);
    return read(0, line, 2) < 0;
}
"""


def test_what_malloc_will_do_next(tmp_path: Path) -> None:
    if libc_version() is None:
        pytest.skip("the C library is not the GNU one")
    (tmp_path / "state.c").write_text(STATE)
    word = struct.calcsize("P")
    # 140,000 bytes and a header, in whole 16 bytes; without it as much as fits.
    room = (140000 + word + 15) // 16 * 16 - word
    build = ["cc", f"-DROOM={room}", "-o", "state", "state.c"]
    with (
        Submission(tmp_path, build=build, program=["./state"]) as made,
        made.program().run() as run,
    ):
        run.pause()
        state = malloc_state(run)
        assert state is not None
        assert state.room == room
        # It was freed: what was mapped for it, in glibc 2.43 without the header.
        assert 1 << 20 < state.threshold <= (1 << 20) + PAGE
        run.answer(str(state.threshold))
        run.pause()
        assert "same=1 more=1 mapped=1 heap=1" in run.output
