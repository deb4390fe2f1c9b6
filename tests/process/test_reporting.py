"""The report of a live process: its pages, stacks, heap and totals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import Process, ProcmemError
from procmem.errors import AccessDenied
from procmem.experiments import Specimen
from procmem.process import reporting
from procmem.process.reporting import Flags, pages_of, process_page
from tests.support.reports import data_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
