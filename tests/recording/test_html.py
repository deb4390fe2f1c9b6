"""Recordings in a notebook: peak and values are those of the recording, no peak is lost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import procmem
from procmem.picture.markup import line
from procmem.units import about
from tests.support.html import Page, number, page_of, rows_below

if TYPE_CHECKING:
    from tests.support.targets import Target


def test_a_recording(target: Target) -> None:
    with procmem.Process(target.pid) as process:
        taken = [process.snapshot()]
        for _ in range(3):
            mapping = target.map(100)
            target.touch(mapping, 100)
            taken.append(process.snapshot())
    recording = procmem.Recording(taken, ended="it was </b> interrupted")
    page = page_of(recording)
    peak = recording.peak("rss")
    assert peak is not None
    assert f"peak {about(peak.value)}" in page.labels()[0]
    rows = {row[0]: row[1:] for row in rows_below(page, "KiB")}
    values = recording.values("rss")
    assert [number(cell) for cell in rows["RSS"][:3]] == [values[0], values[-1], peak.value]
    assert "it was </b> interrupted" in page.text
    assert "No snapshots" in page_of(procmem.Recording([])).text


def test_a_peak_of_one_sample_is_drawn() -> None:
    values: list[int | None] = [1000] * 36_000
    values[20_001] = 1_000_000
    text = line(values, "RSS")
    assert len(text) < 20_000
    heights = [float(found) for found in re.findall(r"[\d.]+,([\d.]+)", text)]
    assert min(heights) == 2.0  # the top
    assert max(heights) > 60


def test_unknown_values_leave_a_gap() -> None:
    text = line([1, 2, None, None, 3, 4, None, 5], "RSS")
    names = [name for name, _ in Page(text).tags]
    assert names.count("polyline") == 2
    assert names.count("circle") == 1
    assert "polyline" not in line([None, None], "RSS")
    assert "<svg" in line([], "RSS")
