"""procmem snapshot: what it prints and what it saves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import procmem
from tests.support.still import undisturbed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target


@pytest.mark.parametrize("name", ["one.snap", "one.json"])
def test_a_snapshot_is_saved_whole(run: Run, target: Target, tmp_path: Path, name: str) -> None:
    def truth() -> list[tuple[int, int | None]]:
        return [(region.start, region.rss) for region in procmem.Process(target.pid).smaps()]

    now, ran = undisturbed(truth, lambda: run("snapshot", target.pid, "-o", tmp_path / name))
    saved = procmem.Snapshot.load(str(tmp_path / name))
    assert ran.status == 0
    assert [(region.start, region.rss) for region in saved.regions] == now


def test_json_has_the_regions(run: Run, target: Target) -> None:
    ran = run("snapshot", "--json", "--detail", "maps", target.pid)
    (one,) = json.loads(ran.out)
    assert one["identity"]["pid"] == target.pid


def test_other_files_are_not_overwritten(run: Run, target: Target, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    ran = run("snapshot", target.pid, "-o", mine)
    assert ran.status == 1
    assert str(mine) in ran.err
    assert mine.read_text() == "mine"
    assert run("snapshot", target.pid, "-o", mine, "--force").status == 0
    assert run("snapshot", target.pid, "-o", mine).status == 0  # a snapshot by now


def test_options_that_make_no_sense_are_refused(run: Run, target: Target, tmp_path: Path) -> None:
    ran = run("snapshot", target.pid, target.pid, "-o", tmp_path / "two.json")
    assert ran.status == 2
    assert "contains one snapshot" in ran.err
    assert "--force needs -o FILE" in run("snapshot", target.pid, "--force").err
