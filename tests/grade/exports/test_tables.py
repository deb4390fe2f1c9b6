"""CSV."""

from __future__ import annotations

import csv as standard
import io
from typing import TYPE_CHECKING

from procmem.grade.exports import (
    csv,
)
from tests.support.grades import BROKEN, FULL, MIXED

if TYPE_CHECKING:
    from procmem.grade.results import Grade


def test_csv_has_a_row_for_each_and_no_formula(grade: Grade) -> None:
    told = csv([grade, FULL])
    rows = list(standard.reader(io.StringIO(told, newline="")))
    assert len(rows) == 3
    assert len({len(row) for row in rows}) == 1
    assert told.count("\r\n") == 3
    for cell in (cell for row in rows for cell in row):
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "|", "%")), cell
        assert cell == "" or cell.isprintable()


def test_csv_tells_points_and_what_was_not_counted() -> None:
    rows = list(standard.DictReader(io.StringIO(csv([MIXED, BROKEN]))))
    assert rows[0]["score"] == "3.5"
    assert rows[0]["max_score"] == "13"
    assert rows[0]["not_judged"] == "3"
    assert rows[0]["test_partly"] == "1.5"
    assert rows[0]["test_missed"] == "0"
    assert rows[0]["test_impossible"] == "not possible"
    assert rows[0]["test_error"] == "error"
    assert rows[1]["test_passed"] == ""
    assert csv([]) == "submission,lab,score,max_score,not_judged,build\r\n"
