"""Experiments, labs and grades are what their schemas say, and nothing else is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from procmem.grade import CheckResult, Grade, Status
from procmem.grade.grading.many import CheckCount, Outcome, Summary
from tests.support.schemas import complaints, fits, spoilt

if TYPE_CHECKING:
    from tests.support.commands import Run


def test_experiment(run: Run) -> None:
    value = json.loads(run("experiment", "lazy-allocation", "--json").out)
    assert complaints("experiment", value) == []
    assert not fits("experiment", [{**value[0], "agreed": "all"}])


def test_lists(run: Run) -> None:
    for name, words in (("experiment list", ["experiment"]), ("lab list", ["lab", "list"])):
        value = json.loads(run(*words, "--json").out)
        assert complaints(name, value) == []
        for why, one in spoilt(value):
            assert not fits(name, one), why


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
