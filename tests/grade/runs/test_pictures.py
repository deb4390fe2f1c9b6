"""Pictures of runs: the waits between which memory changed, with what changed."""

from __future__ import annotations

import json
import os

import pytest

from procmem.experiments import Specimen
from procmem.grade.results import PhasePicture
from procmem.grade.runs.pictures import LONGEST, MOST_PICTURES, MOST_ROWS, pictures_of
from procmem.picture.shapes import CHANGED, GONE, NEW
from tests.support.snapshots import anon, mapped, table

PAGE = os.sysconf("SC_PAGE_SIZE")


def test_each_wait_beside_the_one_before() -> None:
    with Specimen() as s:
        phases = [("start", s.process.snapshot())]
        area = mapped(s, 100)
        phases.append(("mapped", s.process.snapshot()))
        phases.append(("nothing", s.process.snapshot()))
        s.touch(area, pages=10)
        phases.append(("touched", s.process.snapshot()))
        s.munmap(area)
        phases.append(("unmapped", s.process.snapshot()))
    found = pictures_of(phases)
    assert [(one.before, one.after) for one in found] == [
        ("start", "mapped"),
        ("nothing", "touched"),
        ("touched", "unmapped"),
    ]
    assert [(one.vsz, one.rss) for one in found] == [
        (100 * PAGE, 0),
        (0, 10 * PAGE),
        (-100 * PAGE, -10 * PAGE),
    ]
    marks = [
        {block.mark for row in one.rows for block in (*row.before, *row.after)} - {""}
        for one in found
    ]
    assert marks == [{NEW}, {CHANGED}, {GONE}]
    [block] = [block for row in found[1].rows for block in row.after if block.mark]
    assert (block.size, block.resident) == (100 * PAGE, 10 * PAGE)
    assert found[0].figures == ("VSZ", "RSS")
    whole = found[0].bars[-1]
    assert whole.before is not None
    assert (whole.values[0] or 0) - (whole.before[0] or 0) == 100 * PAGE


def test_a_single_wait_and_none() -> None:
    [one] = pictures_of([("only", table(anon(0, 4, rss=2)))])
    assert (one.before, one.after, one.vsz, one.rss) == ("", "only", 4 * 4096, 2 * 4096)
    assert pictures_of([]) == ()
    same = table(anon(0, 4, rss=2))
    [one] = pictures_of([("a", same), ("b", same)])
    assert (one.before, one.after) == ("", "b")


def test_a_program_can_not_make_them_large() -> None:
    phases = [
        (
            f"wait {at}",
            table(*(anon(2 * n, 1 + at % 2, pathname=f"/{n}{'x' * 250}") for n in range(2000))),
        )
        for at in range(20)
    ]
    found = pictures_of(phases)
    assert len(found) == MOST_PICTURES
    assert all(len(one.rows) <= MOST_ROWS for one in found)
    names = [name for one in found for row in one.rows for b in row.after for name in b.names]
    assert max(map(len, names)) <= LONGEST
    assert len(json.dumps([one.to_dict() for one in found])) < 300_000


def test_out_and_in_again() -> None:
    with Specimen() as s:
        before = s.process.snapshot()
        s.touch(mapped(s, 10))
        found = pictures_of([("a", before), ("b", s.process.snapshot())])
    [one] = found
    record = json.loads(json.dumps(one.to_dict()))
    assert PhasePicture.from_dict(record) == one
    for name, value in (("vsz", "x"), ("rows", [[1]]), ("bars", [[1, 2]]), ("rss", [])):
        with pytest.raises((KeyError, TypeError, ValueError)):
            PhasePicture.from_dict({**record, name: value})
