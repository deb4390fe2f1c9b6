"""The arithmetic of the benchmarks, and that one of them runs. Nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.compare import SMOKE, compare, timed
from benchmarks.report import figure, line, markdown
from benchmarks.targets import CantMeasure, Target
from procmem import Process
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_ratios_are_taken_within_a_round() -> None:
    ours, theirs = iter([0.0, 2.0, 30.0, 4.0]), iter([1.0, 1.0, 10.0, 1.0])

    def sample(values: Iterator[float]) -> float:
        return next(values)

    found = compare(
        "it", 7, {"ours": lambda: sample(ours), "theirs": lambda: sample(theirs)}, SMOKE, unit="B"
    )
    row = found.row("ours", "theirs", target=2.5)
    # The first of each is the warm-up.
    assert (row.lowest, row.ratio, row.highest, row.rounds) == (2.0, 3.0, 4.0, 3)
    assert row.met is False
    assert found.row("ours", "theirs", target=3.0).met is True
    assert found.row("ours", "theirs").met is None
    assert "NO" in line(row)
    assert "**3.00** | 2.00–4.00 | ≤ 2.5 (missed) |" in markdown([row], [])


def test_a_sample_is_a_time() -> None:
    assert timed(lambda: None, SMOKE)() > 0
    # A clock that does not move within it: a ratio can be made of that, too.
    assert timed(lambda: None, SMOKE, clock=lambda: 5.0)() > 0


@pytest.mark.parametrize("ratio, text", [(12.345, "12.35"), (0.123, "0.12"), (0.00019, "0.00019")])
def test_small_ratios_keep_their_digits(ratio: float, text: str) -> None:
    assert figure(ratio) == text


def test_a_target_has_as_many_regions_as_asked_for() -> None:
    try:
        with Target(60, mebibytes=3) as target:
            regions = Process(target.pid).smaps()
            large = regions.filter(predicate=lambda region: region.size == 3 << 20)
            made = [regions.find(address) for address in target.addresses]
    except CantMeasure as reason:
        pytest.skip(str(reason))
    assert len(regions) == 60
    assert [region.rss for region in large] == [3 << 20]
    pages = [None if region is None else region.rss for region in made]
    assert pages == [regions.page_size, 0] * (len(made) // 2) + [regions.page_size] * (
        len(made) % 2
    )


def test_smoke(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    words = ["--smoke", "--only", "totals", "--markdown", "--json", str(written)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(written.read_text(encoding="utf-8"))
    if not figures["rows"]:
        pytest.skip(figures["skipped"][0]["why"])
    assert {row["subject"] for row in figures["rows"]} >= {"memory()", "rollup()"}
    assert "| memory() |" in done.stdout
