"""The report of a live process: its pages, stacks, heap and totals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem import Process, ProcmemError
from procmem.errors import AccessDenied
from procmem.experiments import Specimen
from procmem.process import reporting
from procmem.process.reporting import DIRTY, HUGE, Flags, pages_of, process_page
from tests.support.reports import data_of, text_of
from tests.support.targets import PAGE, Advice, Target, TargetError, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.targets import Mapping

HUGE_PAGE = 2 << 20


@pytest.fixture
def specimen() -> Iterator[Specimen]:
    with Specimen() as one:
        yield one


def runs_at(found: dict[str, object], number: int) -> list[tuple[int, ...]]:
    """First page, pages and state of each run of a region; neighbours alike are joined."""
    regions = found["regions"]
    assert isinstance(regions, dict)
    flat = regions[number]
    joined: list[tuple[int, ...]] = []
    for first, length, code in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
        if joined and joined[-1][0] + joined[-1][1] == first and joined[-1][2] == code & 7:
            joined[-1] = joined[-1][0], joined[-1][1] + length, code & 7
        else:
            joined.append((first, length, code & 7))
    return joined


def test_pages_are_those_that_were_touched(specimen: Specimen) -> None:
    step = specimen.mmap(pages=100)
    assert step.mapping
    specimen.touch(step.mapping, pages=10)
    specimen.touch(step.mapping, pages=5, start=50)
    process = Process(specimen.pid)
    regions = list(process.maps())
    number = next(n for n, one in enumerate(regions) if one.start == step.mapping.start)
    found = pages_of(process.files, regions)
    assert runs_at(found, number) == [(0, 10, 0), (50, 5, 0)]
    child = specimen.fork().child
    assert child
    with child:
        assert runs_at(pages_of(process.files, regions), number) == [(0, 10, 1), (50, 5, 1)]


# ---- each state of a page, from a truth that is known beforehand ----


def states_of(target: Target, mapping: Mapping) -> tuple[list[tuple[int, int, int]], Any]:
    """The runs of a mapping as a report has them, with all flags, and what is known of all."""
    process = Process(target.pid)
    regions = list(process.maps())
    number = next(n for n, one in enumerate(regions) if mapping.start in one)
    found = pages_of(process.files, regions)
    flat, offset = found["regions"][number], (mapping.start - regions[number].start) // PAGE
    triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    count = (mapping.end - mapping.start) // PAGE
    return [
        (first - offset, length, code)
        for first, length, code in triples
        if offset <= first < offset + count
    ], found


def test_pages_of_a_file_that_nobody_else_maps(target: Target, tmp_path: Path) -> None:
    file = tmp_path / "mapped"
    file.touch()
    os.truncate(file, 16 * PAGE)
    mapping = target.map_file(file, 16, "r--p")
    target.lock(mapping)  # locked pages of a file stay, however short of memory the machine is
    runs, _ = states_of(target, mapping)
    assert {code & 7 for _, _, code in runs} == {2}
    assert sum(length for _, length, _ in runs) == 16


def test_dirty_pages(target: Target) -> None:
    mapping = target.map(32)
    target.touch(mapping.page(0, 10))
    region = Process(target.pid).smaps().find(mapping.start)
    assert region is not None
    assert region.private_dirty == 10 * PAGE
    runs, found = states_of(target, mapping)
    assert sum(length for _, length, _ in runs) == 10
    if not found["dirty"]:
        pytest.skip("kernel feature missing: soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)")
    assert all(code & DIRTY for _, _, code in runs)
    try:
        Path(f"/proc/{target.pid}/clear_refs").write_text("4")
    except OSError as error:
        pytest.skip(f"clear_refs can't be written: {error}")
    target.touch(mapping.page(0, 3))
    runs, _ = states_of(target, mapping)
    assert sum(length for _, length, code in runs if code & DIRTY) == 3


def test_swapped_pages(target: Target) -> None:
    with machine.swap() as setting:
        setting.or_skip()
        mapping = target.map(64)
        target.touch(mapping)
        for _ in range(50):  # the kernel may pass over a page that is on its way to the LRU
            target.madvise(mapping, Advice.PAGEOUT)
            runs, _ = states_of(target, mapping)
            if runs and {code & 7 for _, _, code in runs} == {3}:
                break
        else:
            pytest.skip("not all pages could be swapped out (MADV_PAGEOUT)")
        assert sum(length for _, length, _ in runs) == 64
        region = Process(target.pid).smaps().find(mapping.start)
        assert region is not None
        assert region.swap == mapping.size
        target.close()


def test_huge_pages(target: Target) -> None:
    mapping = target.map(2 * HUGE_PAGE // PAGE)
    huge = mapping.page(-mapping.start % HUGE_PAGE // PAGE, HUGE_PAGE // PAGE)
    try:
        target.madvise(huge, Advice.HUGEPAGE)
    except TargetError:
        pytest.skip("kernel feature missing: transparent huge pages")
    target.touch(huge.page(0))
    runs, found = states_of(target, huge)
    if not found["huge"]:
        pytest.skip("kernel feature missing: PAGEMAP_SCAN, which finds huge pages")
    if sum(length for _, length, _ in runs) == 1:
        pytest.skip("the kernel found no huge page")
    assert [(length, code & (7 | HUGE)) for _, length, code in runs] == [(HUGE_PAGE // PAGE, HUGE)]


def test_the_page_has_all_parts(specimen: Specimen, tmp_path: Path) -> None:
    page = tmp_path / "one.html"
    assert Process(specimen.pid).report(page) == str(page)
    raw = page.read_bytes()
    text = text_of(raw)
    for heading in (
        "Where the memory is",
        "Address space",
        "Stacks of the threads",
        "How the totals reconcile",
    ):
        assert f"<h2>{heading}</h2>" in text
    assert "comparisons: " in text
    assert data_of(raw)["pages"]["regions"]
    loaded = procmem.load(page)
    assert loaded.identity.pid == specimen.pid
    assert loaded.vsz == Process(specimen.pid).memory().vsz


def test_pages_that_may_not_be_read_have_a_reason(
    specimen: Specimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(files: object, _: object) -> None:
        raise AccessDenied(specimen.pid, "its pages can't be read")

    monkeypatch.setattr(reporting, "pages_of", refuse)
    process = Process(specimen.pid)
    page = process_page(process.files, process.snapshot())
    assert page.pages is None
    assert "its pages can't be read" in page.pages_missing


def test_too_many_runs_are_left_out_and_said(
    specimen: Specimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "MOST_RUNS", 3)
    process = Process(specimen.pid)
    found = pages_of(process.files, list(process.maps()))
    assert sum(len(runs) // 3 for runs in found["regions"].values()) <= 3
    assert found["left_out"]
    assert not set(found["left_out"]) & set(found["regions"])


def test_runs_are_cut_where_flags_change() -> None:
    flags = Flags([(10, 20, 1 << 6), (20, 25, 1 << 7), (30, 40, 1 << 6 | 1 << 7), (50, 60, 0)])
    assert list(flags.cut(0, 12)) == [(0, 10, 0), (10, 12, 8)]
    assert list(flags.cut(15, 35)) == [(15, 20, 8), (20, 25, 16), (25, 30, 0), (30, 35, 24)]
    assert list(flags.cut(50, 60)) == [(50, 60, 0)]


def test_a_process_that_has_ended_is_a_typed_error(tmp_path: Path) -> None:
    with Specimen() as one:
        process = Process(one.pid)
    with pytest.raises(ProcmemError):
        process.report(tmp_path / "one.html")
    assert not list(tmp_path.iterdir())
