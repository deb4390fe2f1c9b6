"""PageMap: the pages of a range, of processes whose pages are known beforehand."""

from __future__ import annotations

import array
import itertools
import os
import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import procmem
from procmem import PageMap, PageState
from procmem.pages import pagemap as module
from procmem.pages import scan
from procmem.procfs import probes
from tests.support.plotted import plotted
from tests.support.specimens import in_memory
from tests.support.still import at_rest
from tests.support.targets import NOBODY, PAGE, Advice, TargetError, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.targets import Commands, Mapping, Target

    Start = Callable[..., Target]

HUGE = PAGE * (PAGE // 8)

needs_scan = pytest.mark.skipif(
    not probes.has_pagemap_scan(), reason="kernel feature missing: PAGEMAP_SCAN"
)


def pages_of(target: Commands, mapping: Mapping) -> PageMap:
    return procmem.Process(target.pid).pagemap(mapping.start, mapping.end)


@pytest.fixture(params=["PAGEMAP_SCAN", "pagemap"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways of reading; the second is that of kernels before 6.7."""
    if request.param == "pagemap":
        monkeypatch.setattr(probes, "has_pagemap_scan", lambda: False)
        scan.user_limit.cache_clear()
    yield request.param
    scan.user_limit.cache_clear()


# ---- what was touched ------------------------------------------------------------


def test_written_pages(target: Target, way: str) -> None:
    mapping = target.map(40)
    target.touch(mapping.page(3), 1)
    target.touch(mapping.page(10, 20))
    pages = pages_of(target, mapping)
    assert len(pages) == 40
    assert pages.row(40) == "...A......" + "A" * 20 + "." * 10
    assert list(pages.present) == [i == 3 or 10 <= i < 30 for i in range(40)]
    assert pages.present.count(True) == pages.exclusive.count(True) == 21
    assert pages.file.count(True) == pages.swapped.count(True) == 0
    assert [(run.start, run.end, run.state.value) for run in pages.runs()] == [
        (mapping.page(0).start, mapping.page(3).start, "."),
        (mapping.page(3).start, mapping.page(4).start, "A"),
        (mapping.page(4).start, mapping.page(10).start, "."),
        (mapping.page(10).start, mapping.page(30).start, "A"),
        (mapping.page(30).start, mapping.end, "."),
    ]
    assert pages.at(mapping.page(3).start + 17).state is PageState.ANONYMOUS
    counts = pages.counts()
    assert (counts.pages, counts.absent, counts.anonymous, counts.present) == (40, 19, 21, 21)
    target.madvise(mapping.page(10, 20), Advice.DONTNEED)
    assert pages_of(target, mapping).present.count(True) == 1
    assert pages.present.count(True) == 21


@needs_scan
def test_the_page_of_zeros(target: Target) -> None:
    mapping = target.map(20)
    target.read(mapping, 8)
    target.touch(mapping, 2)
    pages = pages_of(target, mapping)
    assert pages.row() == "AA" + "z" * 6 + "." * 12
    assert pages.zero is not None
    assert pages.zero.count(True) == 6
    region = procmem.Process(target.pid).smaps().find(mapping.start)
    assert region is not None
    assert pages.resident == region.rss == 2 * PAGE


@needs_scan
def test_the_page_of_zeros_is_told_without_frames(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "zero_frame", lambda: 0)
    monkeypatch.setattr(probes, "shows_page_frames", lambda: False)
    mapping = target.map(300)
    for page in range(0, 300, 2):
        target.read(mapping.page(page))
    pages = pages_of(target, mapping)
    assert pages.row(300) == "z." * 150
    assert pages.pfn is None
    assert pages[0].pfn is None
    # Two pages of one process share a frame with those of another, and are no zeros.
    target.touch(mapping.page(0, 10))
    with target.fork():
        assert pages_of(target, mapping).row(300) == "a" * 10 + "z." * 145


def test_without_scan_the_page_of_zeros_is_doubtful(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "has_pagemap_scan", lambda: False)
    mapping = target.map(4)
    target.read(mapping, 2)
    target.touch(mapping.page(1))
    pages = pages_of(target, mapping)
    assert (pages[0].zero, pages[1].zero, pages[2].zero) == (None, False, False)
    assert pages.zero is None
    assert pages.counts().zero is None
    assert pages.resident is None


def test_files_and_shared_memory(target: Target, tmp_path: Path, way: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(64 * PAGE))
    shared = target.map_file(path, 64, "rw-s")
    private = target.map_file(path, 64, "rw-p")
    target.touch(shared.page(0, 4))
    target.touch(private.page(30, 2))
    target.lock(shared.page(0, 4))
    assert pages_of(target, shared).row()[:4] == "FFFF"
    ours = pages_of(target, private)
    assert ours[30].state is ours[31].state is PageState.ANONYMOUS
    with in_memory(path):
        target.read(private.page(0, 4))
        assert pages_of(target, private).row()[:4] == pages_of(target, shared).row()[:4] == "ffff"
    memory = target.map(8, "rw-s")
    target.touch(memory, 5)
    assert pages_of(target, memory).row() == "FFFFF..."


def test_fork_shares_and_a_write_parts(target: Target, way: str) -> None:
    mapping = target.map(100)
    target.touch(mapping)
    with target.fork() as child:
        assert pages_of(target, mapping).row(100) == pages_of(child, mapping).row(100) == "a" * 100
        child.touch(mapping.page(0, 30))
        for each in (target, child):
            pages = pages_of(each, mapping)
            assert pages.row(100) == "A" * 30 + "a" * 70
            assert pages.exclusive.count(True) == 30


def test_guard_pages(target: Target, way: str) -> None:
    mapping = target.map(10)
    target.touch(mapping)
    try:
        target.madvise(mapping.page(4, 2), Advice.GUARD_INSTALL)
    except TargetError:
        pytest.skip("kernel feature missing: MADV_GUARD_INSTALL")
    pages = pages_of(target, mapping)
    if not probes.shows_guard_pages():
        assert pages.guard is None
        assert pages.counts().guard is None
        pytest.skip("kernel feature missing: guard pages in pagemap")
    assert pages.row() == "AAAAggAAAA"
    assert pages.guard is not None
    assert pages.guard.count(True) == 2
    assert pages.swapped.count(True) == 0
    assert pages[4].guard
    assert not pages[4].swapped


def test_pages_in_swap(start: Start, way: str) -> None:
    with machine.swap() as setting:
        setting.or_skip()
        target = start()
        mapping = target.map(256)
        target.touch(mapping)
        for _ in range(50):  # the kernel may pass over a page that is on its way to the LRU
            target.madvise(mapping, Advice.PAGEOUT)
            pages = pages_of(target, mapping)
            if pages.swapped.count(True) == 256:
                break
        region = procmem.Process(target.pid).smaps().find(mapping.start)
        assert region is not None
        assert pages.swapped.count(True) * PAGE == region.swap
        assert pages.present.count(True) * PAGE == region.rss
        target.touch(mapping, 3)
        row = pages_of(target, mapping).row(256)
        assert row[:3] == "AAA"
        assert set(row[100:]) <= {"s", "A"}


def test_transparent_huge_pages(target: Target, way: str) -> None:
    mapping = target.map(2 * HUGE // PAGE)
    at = -mapping.start % HUGE // PAGE
    huge = mapping.page(at, HUGE // PAGE)
    try:
        target.madvise(huge, Advice.HUGEPAGE)
    except TargetError:
        pytest.skip("kernel feature missing: transparent huge pages")
    target.touch(huge.page(0))
    pages = pages_of(target, huge)
    if pages.present.count(True) == 1:
        pytest.skip("the kernel found no huge page")
    assert pages.row(8) == "A" * 8
    assert pages.counts().anonymous == HUGE // PAGE


@needs_scan
def test_the_huge_page_of_zeros(target: Target) -> None:
    mapping = target.map(2 * HUGE // PAGE)
    huge = mapping.page(-mapping.start % HUGE // PAGE, HUGE // PAGE)
    try:
        target.madvise(huge, Advice.HUGEPAGE)
    except TargetError:
        pytest.skip("kernel feature missing: transparent huge pages")
    target.read(huge.page(0))
    counts = pages_of(target, huge).counts()
    if counts.present == 1:
        pytest.skip("the kernel uses no huge page of zeros here")
    assert (counts.zero, counts.file, counts.file_shared) == (HUGE // PAGE, 0, 0)


def test_hugetlb(target: Target, way: str) -> None:
    size = machine.hugepage_size()
    with machine.hugepages(2) as setting:
        setting.or_skip()
        mapping = target.map_huge(2 * size)
        target.touch(mapping.page(0))
        pages = pages_of(target, mapping)
        assert pages.present.count(True) * PAGE == size
        if probes.shows_page_frames() and probes.has_pagemap_scan():
            found = procmem.Process(target.pid).translate(mapping.start + size // 2 + 5)
            assert found.mapping_size == size
            assert found.offset == 5


def test_all_regions_agree_with_smaps(target: Target, way: str) -> None:
    target.touch(target.map(33), 20)
    target.malloc(100_000)
    process = procmem.Process(target.pid)
    whole, regions = at_rest(
        process,
        lambda: (
            process.pagemap(0, module.LIMIT),
            [
                (region, process.pagemap(region.start, region.end))
                for region in process.smaps()
                if region.end <= module.LIMIT
            ],
        ),
    )
    for region, pages in regions:
        resident = pages.resident if way == "PAGEMAP_SCAN" else None
        if resident is not None:
            assert resident == region.rss
        assert pages.swapped.count(True) * PAGE == region.swap
        inside = whole.within(region.start, region.end)
        # Others map the program's file too, and end meanwhile: not its `exclusive`.
        for view in ("present", "swapped", "file"):
            assert list(getattr(inside, view)) == list(getattr(pages, view))


@needs_scan
def test_both_ways_tell_the_same(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = target.map(3000)
    for first, count in ((0, 700), (705, 1), (770, 10), (1500, 600), (2999, 1)):
        target.touch(mapping.page(first, count))
    target.read(mapping.page(1400, 50))
    with target.fork() as child:
        child.touch(mapping.page(100, 50))
        process = procmem.Process(target.pid)
        low, high = mapping.start - 5000 * PAGE, mapping.end + 5000 * PAGE
        # The kernel may move a page (compaction) or evict one of a file between two readings: only
        # a reading between two equal ones tells the same moment.
        for _ in range(100):
            found = list(process.pagemap(low, high))
            with monkeypatch.context() as without:
                without.setattr(probes, "has_pagemap_scan", lambda: False)
                plain = list(process.pagemap(low, high))
            if found == list(process.pagemap(low, high)):
                break
        else:
            pytest.fail("the pages of a process that waits never kept still")
    assert [page.present for page in found] == [page.present for page in plain]
    assert [page.pfn for page in found] == [page.pfn for page in plain]
    assert [p.state for p in found if not p.zero] == [
        p.state for p, q in zip(plain, found, strict=True) if not q.zero
    ]


@needs_scan
def test_sparse_and_dense_parts_in_turn(target: Target) -> None:
    mapping = target.map(200_000)
    target.madvise(mapping, Advice.NOHUGEPAGE)
    touched: set[int] = set()
    at = 0
    for dense, gap in ((1, 600), (3, 5), (5000, 17), (1200, 70_000), (1, 1), (513, 511), (2, 9000)):
        target.touch(mapping.page(at, dense))
        touched.update(range(at, at + dense))
        at += dense + gap
    pages = pages_of(target, mapping)
    assert [i for i, there in enumerate(pages.present) if there] == sorted(touched)


# ---- what a PageMap is ------------------------------------------------------------


def test_bits_the_kernel_does_not_keep_are_none(target: Target) -> None:
    mapping = target.map(1)
    target.touch(mapping)
    pages = pages_of(target, mapping)
    if probes.has_soft_dirty():
        assert pages[0].soft_dirty
    else:
        assert pages[0].soft_dirty is None
        assert pages.soft_dirty is None
        assert pages.counts().soft_dirty is None


def test_a_user_sees_no_frames(start: Start) -> None:
    target = start(user=NOBODY) if os.geteuid() == 0 else start()
    mapping = target.map(4)
    target.touch(mapping)
    code = """
import sys, procmem
process = procmem.Process(int(sys.argv[1]))
start = int(sys.argv[2])
pages = process.pagemap(start, start + 4)
print(pages.pfn, pages[0].pfn, pages[0].present, pages.row())
for ask in (process.frames, process.sharers):
    try:
        ask(start, start + 1)
    except procmem.AccessDenied as error:
        print("CAP_SYS_ADMIN" in str(error))
try:
    process.translate(start)
except procmem.AccessDenied as error:
    print("CAP_SYS_ADMIN" in str(error))
"""
    done = machine.as_nobody(code, target.pid, mapping.start)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["None", "None", "True", "A", "True", "True", "True"]


def test_a_range_is_taken_to_whole_pages(target: Target) -> None:
    mapping = target.map(4)
    process = procmem.Process(target.pid)
    pages = process.pagemap(mapping.start + 1, mapping.start + PAGE + 1)
    assert (pages.start, pages.end) == (mapping.start, mapping.start + 2 * PAGE)
    empty = process.pagemap(mapping.start, mapping.start)
    assert len(empty) == 0
    assert list(empty.runs()) == []
    assert empty.row() == ""
    assert empty.counts().pages == 0
    with pytest.raises(ValueError, match="no range"):
        process.pagemap(5, 4)
    with pytest.raises(ValueError, match="no range"):
        process.pagemap(-1, 4)
    with pytest.raises(procmem.Unsupported, match="kernel"):
        process.pagemap(0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000)
    assert process.pagemap(module.LIMIT - PAGE, module.LIMIT).present.count(True) == 0


def test_the_sequence(target: Target) -> None:
    mapping = target.map(10)
    target.touch(mapping, 4)
    pages = pages_of(target, mapping)
    assert [page.address for page in pages] == [mapping.page(i).start for i in range(10)]
    assert pages[-1].address == mapping.page(9).start
    part = pages[2:6]
    assert (len(part), part.row()) == (4, "AA..")
    assert part[1:2].row() == "A"
    assert pages[6:2].row() == ""
    assert list(part.present) == part.present[:] == [True, True, False, False]
    assert part.present.tobytes() == b"\x01\x01\0\0"
    assert part.present.count(5) == 0
    assert repr(part.present) == "<PageView: 2 of 4 pages>"
    for wrong in (10, -11):
        with pytest.raises(IndexError):
            pages[wrong]
    with pytest.raises(IndexError):
        pages.at(mapping.end)
    with pytest.raises(ValueError, match="step"):
        pages[::2]
    with pytest.raises(ValueError, match="not within"):
        pages.within(mapping.start - PAGE, mapping.end)
    with pytest.raises(ValueError, match="letter"):
        pages.row(0)
    with pytest.raises(TypeError):
        pickle.dumps(pages)
    told = pages.to_dict()
    assert told["runs"] == [
        [mapping.start, mapping.page(4).start, "A"],
        [mapping.page(4).start, mapping.end, "."],
    ]


LETTER_OF = {
    0: ".",
    1 << 63 | 1 << 56: "A",
    1 << 63: "a",
    1 << 63 | 1 << 61 | 1 << 56: "F",
    1 << 63 | 1 << 61: "f",
    1 << 62: "s",
    1 << 62 | 1 << 58: "g",
}

entries = st.lists(
    st.tuples(st.sampled_from(sorted(LETTER_OF)), st.integers(1, 40)), max_size=30
).map(lambda runs: [kind for kind, count in runs for _ in range(count)])


@settings(max_examples=200)
@given(entries, st.integers(0, 1 << 40), st.data())
def test_questions_agree_with_a_plain_list(raw: list[int], first: int, data: st.DataObject) -> None:
    start = first * PAGE
    pages = PageMap.from_bytes(array.array("Q", raw).tobytes(), start, PAGE)
    letters = "".join(LETTER_OF[entry] for entry in raw)
    assert "".join(page.state.value for page in pages) == letters
    if raw:
        assert pages.row(len(raw)) == letters
    runs = list(pages.runs())
    assert "".join(run.state.value * ((run.end - run.start) // PAGE) for run in runs) == letters
    assert all(a.end == b.start and a.state is not b.state for a, b in itertools.pairwise(runs))
    low = data.draw(st.integers(0, len(raw)))
    high = data.draw(st.integers(low, len(raw)))
    part = pages[low:high]
    assert [page.state.value for page in part] == list(letters[low:high])
    counts = part.counts()
    for state in PageState:
        number = getattr(counts, state.name.lower())
        assert number in (None, letters[low:high].count(state.value))
    assert part.present.count(True) == sum(c in "AaFf" for c in letters[low:high])
    assert list(part.swapped) == [c == "s" for c in letters[low:high]]
    width = data.draw(st.integers(1, 50))
    row = part.row(width)
    assert len(row) == min(width, high - low)
    for i, letter in enumerate(row):
        n = high - low
        bucket = letters[low + i * n // len(row) : low + (i + 1) * n // len(row)]
        there = bucket.replace(".", "")
        if not there:
            assert letter == "."
        else:
            assert there.count(letter) == max(map(there.count, set(there)))


def test_what_is_no_page_map() -> None:
    with pytest.raises(ValueError, match="eight bytes"):
        PageMap.from_bytes(b"1234")
    with pytest.raises(ValueError, match="eight bytes"):
        PageMap.from_bytes(bytes(8), 5)


def test_soft_dirty_of_pages_that_are_not_there_is_left_out() -> None:
    raw = array.array("Q", [1 << 55, 1 << 63 | 1 << 56 | 1 << 55 | 77])
    pages = PageMap.from_bytes(raw.tobytes())
    assert pages.row() == ".A"
    assert [page.soft_dirty for page in pages] == [False, True]
    assert pages.pfn is not None
    assert list(pages.pfn) == pages.pfn[:] == [None, 77]
    assert pages.pfn.count(77) == 1
    assert array.array("Q", pages.pfn.tobytes()).tolist() == [0, 77]
    assert "FrameView" in repr(pages.pfn)


# ---- processes that can't be read ----------------------------------------------------


def test_large_and_empty(target: Target) -> None:
    mapping = target.map((8 << 40) // PAGE, "---p", at="any", flags=0x4000)
    if not probes.has_pagemap_scan():
        pytest.skip("kernel feature missing: PAGEMAP_SCAN")
    pages = pages_of(target, mapping)
    assert len(pages) == mapping.pages
    assert pages.row(16) == "." * 16
    (run,) = pages.runs()
    assert (run.start, run.end) == (mapping.start, mapping.end)


def test_a_plot_has_a_square_for_each_page(target: Target) -> None:
    mapping = target.map(100)
    target.touch(mapping.page(70, 10))
    pages = pages_of(target, mapping)
    axes = plotted(pages.plot)
    [image] = axes.images
    cells = [cell for row in image.get_array().tolist() for cell in row]
    assert cells[:100] == [int(70 <= page < 80) for page in range(100)]
    assert set(cells[100:]) == {-1}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["absent", "anonymous"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"{mapping.start:x}",
        f"{mapping.start + 64 * PAGE:x}",
    ]
    assert axes.get_title() == f"100 pages of {PAGE >> 10} KiB"


def test_a_plot_of_many_pages_says_how_many_a_square_is() -> None:
    entries = array.array("Q", [0]) * 40_000
    entries[20_001] = module.PRESENT | module.EXCLUSIVE
    axes = plotted(PageMap.from_bytes(entries.tobytes()).plot)
    cells = [cell for row in axes.images[0].get_array().tolist() for cell in row]
    assert cells.count(1) == 1
    assert len(cells) == 1 << 14
    assert axes.get_title() == "40,000 pages of 4 KiB, up to 3 in a square"
    plotted(PageMap.from_bytes(b"").plot)
