"""Recordings as text: the report of procmem record, and the lines of procmem watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.errors import BadArgument
from procmem.recording.recording import Recording
from procmem.units import in_unit
from procmem.view.names import cells
from procmem.view.recording import (
    change_lines,
    chosen_figures,
    recording_dict,
    recording_summary,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target


@pytest.fixture
def recorded(run: Run, target: Target, tmp_path: Path) -> Recording:
    file = tmp_path / "one.rec"
    assert run("record", target.pid, "-o", file, "--for", "50ms", "--quiet").status == 0
    return Recording.load(str(file))


@pytest.mark.parametrize("width", [40, 80, None])
def test_a_report_has_the_totals_and_fits(
    recorded: Recording, target: Target, width: int | None
) -> None:
    vsz = procmem.Process(target.pid).memory().vsz
    text = recording_summary(recorded, unit="B", chosen=["figure", "last"], width=width)
    assert ["VSZ", str(vsz)] in [line.split() for line in text.splitlines()]
    assert width is None or max(map(cells, text.splitlines())) <= width
    assert recording_dict(recorded)["figures"]["vsz"]["peak"]["value"] == vsz
    assert in_unit("MiB")(vsz) in recording_summary(recorded, unit="MiB")


def test_columns_are_checked_beforehand() -> None:
    chosen_figures(["figure", "trend"])
    with pytest.raises(BadArgument, match="did you mean 'trend'"):
        chosen_figures(["trnd"])


def test_a_change_has_its_size(target: Target) -> None:
    process = procmem.Process(target.pid)
    before = process.snapshot()
    target.map(10)
    text = change_lines(process.snapshot() - before)
    assert "VSZ +40 KiB" in text
