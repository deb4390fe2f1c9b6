"""Experiments, labs and grades are what their schemas say, and nothing else is."""

from __future__ import annotations

import json

from procmem.grade import CheckResult, Grade, Status
from procmem.grade.grading.many import CheckCount, Outcome, Summary
from tests.support.schemas import complaints, fits


def test_a_grade() -> None:
    check = CheckResult("test_lazy", "it is lazy", Status.FAILED, 0, 2, needs=("test_start",))
    value = json.loads(Grade("alloc-size", "ada", (check,)).to_json())
    assert complaints("lab check", value) == []
    assert not fits("lab check", {**value, "checks": [{**value["checks"][0], "status": "lost"}]})


def test_a_summary() -> None:
    outcome = Outcome("ada", 1.0, 2.0, ("test_lazy",))
    summary = Summary("alloc-size", 1, [outcome], [CheckCount("test_lazy", "it is lazy", 2)])
    value = json.loads(json.dumps(summary.to_dict()))
    assert complaints("grade", value) == []
    assert not fits("grade", {**value, "total": -1})
