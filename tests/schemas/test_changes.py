"""Snapshots, diffs, recordings and traces are what their schemas say, and nothing else is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from procmem.schemas import schema
from tests.support.schemas import complaints, fits, sample

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target


def test_a_line_of_watch(run: Run, target: Target, tmp_path: Path) -> None:
    run("snapshot", target.pid, "-o", tmp_path / "before")
    run("snapshot", "self", "-o", tmp_path / "after")
    value = json.loads(run("diff", tmp_path / "before", tmp_path / "after", "--json").out)
    assert value["changes"]
    assert value["causes"]
    assert complaints("watch", value) == []
    assert complaints("watch", {"ended": "it exited"}) == []
    assert not fits("watch", {"ended": "it exited", "changes": []})


def test_an_allocator_may_have_less() -> None:
    """Growth in regions where less is in use than before: what was freed was kept."""
    (report,) = sample(schema("record report"))
    heap = report["suspects"][0]["heap"]
    heap |= {"gained": 4096, "in_use": -8192, "resident_free": 12288, "trimmable": -4096}
    assert complaints("record report", report) == []


def test_a_trace_of_a_program(run: Run, tmp_path: Path) -> None:
    run("trace", "--malloc", "--json", "-o", tmp_path / "t", "--", "true")
    value = json.loads((tmp_path / "t").read_text())
    assert value["calls"]
    assert complaints("trace", value) == []
