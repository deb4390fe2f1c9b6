"""What notebooks show of the other classes: figures equal the objects'."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import procmem
from procmem.experiments import Specimen
from procmem.picture.markup import UNKNOWN
from procmem.system.machine import Machine
from procmem.system.memory import KernelSums
from tests.support.html import number, page_of, rows_below

if TYPE_CHECKING:
    from tests.support.targets import Target


def test_a_page_map(target: Target) -> None:
    mapping = target.map(100)
    target.touch(mapping, 30)
    with procmem.Process(target.pid) as process:
        pages = process.pagemap(mapping.start, mapping.end)
    page = page_of(pages)
    *rows, footer = rows_below(page, "")
    counts = {row[0]: row[2] for row in rows}
    assert counts["A"] == "30"
    assert counts["."] == "70"
    assert footer[2] == "100"
    drawn = [float(given["width"] or 0) for name, given in page.tags if name == "rect"]
    assert drawn[0] == 640 * 30 / 100  # the first thirty, in one piece
    for name in ("zero", "guard"):
        if getattr(pages.counts(), name) is None:
            assert UNKNOWN in counts.values()


def test_a_whole_address_space_is_small(target: Target) -> None:
    with procmem.Process(target.pid) as process:
        pages = process.pagemap(0, 1 << 47)
    page = page_of(pages)
    assert f"{1 << 35:,} pages" in page.text
    assert len(page.tags) < 2000


def test_a_reconciliation() -> None:
    result = procmem.Process().reconcile()
    page = page_of(result)
    rows = rows_below(page, "Total")
    assert len(rows) == len(result.comparisons)
    for row, one in zip(rows, result.comparisons, strict=True):
        assert (row[0], row[2], row[5]) == (one.left, one.right, one.why)
        assert number(row[1]) - number(row[3]) == one.difference
        assert (row[4] == "=") == (one.difference == 0)


def test_a_step() -> None:
    with Specimen() as specimen:
        step = specimen.mmap(pages=1000)
        assert step.mapping is not None
        touched = specimen.touch(step.mapping, pages=10)
    rows = {row[0]: row[1:] for row in rows_below(page_of(touched), "KiB, or a number")}
    assert touched.delta.rss is not None
    assert touched.before.rss is not None
    assert [number(cell) for cell in rows["rss"][:3]] == [
        touched.before.rss,
        touched.after.rss,
        touched.delta.rss,
    ]
    assert rows["minor"][2] == f"{touched.delta.minor:+,}"
    assert (rows["rss"][4] == "yes") == ("rss" not in touched.differences)
    assert touched.why in page_of(touched).text


def test_the_machine() -> None:
    found = procmem.machine(frames=False)
    page = page_of(found)
    *rows, footer = rows_below(page, "Part")
    assert number(footer[1]) == found.total
    assert sum(number(row[1]) for row in rows) == found.total
    none = Machine([], KernelSums({"MemTotal": 1 << 20, "MemFree": 1 << 20}, None, None))
    assert "0 processes" in page_of(none).text


def test_pipes_and_segments() -> None:
    ends = os.pipe()
    try:
        os.write(ends[1], b"12345")
        inode = os.fstat(ends[0]).st_ino
        page = page_of(procmem.pipes().of(os.getpid()))
    finally:
        for end in ends:
            os.close(end)
    (mine,) = [row for row in rows_below(page, "Pipe") if row[0] == f"pipe {inode}"]
    assert mine[1] == "5"
    assert f"{os.getpid()} (" in mine[3]
    file = os.memfd_create("</td><script>")
    try:
        os.ftruncate(file, 8192)
        segments = procmem.segments().of(os.getpid())
        text = page_of(segments).text
    finally:
        os.close(file)
    assert "memfd</td><script>" in text


def test_stacks(target: Target) -> None:
    with procmem.Process(target.pid) as process:
        stacks = process.stacks()
    page = page_of(stacks)
    *rows, total = rows_below(page, "TID")
    assert [int(row[0]) for row in rows] == [one.tid for one in stacks]
    for row, one in zip(rows, stacks, strict=True):
        if one.touched is None:
            assert row[4] == UNKNOWN
        else:
            assert number(row[4]) == one.touched
            assert row[4].endswith("?") == one.guess
    assert total[1] == "total"
