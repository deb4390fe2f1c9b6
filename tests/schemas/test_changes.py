"""Snapshots, diffs, recordings and traces are what their schemas say, and nothing else is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.schemas import complaints, fits, spoilt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target


def test_snapshot(run: Run, target: Target) -> None:
    value = json.loads(run("snapshot", target.pid, "--heap", "--json").out)
    assert complaints("snapshot", value) == []
    assert not fits("snapshot", [{**value[0], "detail": "all"}])


def test_diff(run: Run, target: Target, tmp_path: Path) -> None:
    run("snapshot", target.pid, "-o", tmp_path / "before")
    run("snapshot", "self", "-o", tmp_path / "after")
    value = json.loads(run("diff", tmp_path / "before", tmp_path / "after", "--json").out)
    assert value["changes"]
    assert value["causes"]
    assert complaints("diff", value) == []
    assert complaints("watch", value) == []
    assert complaints("watch", {"ended": "it exited"}) == []
    assert not fits("watch", {"ended": "it exited", "changes": []})
    for why, one in spoilt({**value, "changes": value["changes"][:1]}):
        if "/" not in why and "is a float" not in why:
            assert not fits("diff", one), why


def test_record(run: Run, target: Target, tmp_path: Path) -> None:
    run("record", target.pid, "-o", tmp_path / "r", "--for", "0.2", "--quiet")
    value = json.loads(run("record", "--report", tmp_path / "r", "--json").out)
    assert complaints("record report", value) == []
    assert not fits("record report", {**value, "snapshots": None})


def test_trace(run: Run, tmp_path: Path) -> None:
    run("trace", "--malloc", "--json", "-o", tmp_path / "t", "--", "true")
    value = json.loads((tmp_path / "t").read_text())
    assert value["calls"]
    assert complaints("trace", value) == []
    call = value["calls"][0]
    assert not fits("trace", {**value, "calls": [{**call, "delta_vsz": "1"}]})
