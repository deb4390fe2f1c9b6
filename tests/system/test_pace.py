"""Resting between pieces of work."""

from __future__ import annotations

import time

import pytest

from procmem.system.pace import Pace


def test_all_of_a_cpu_needs_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it rested"))
    Pace(1).rest()


def test_it_rests_as_long_as_its_work_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"wall": 100.0, "cpu": 7.0}
    rests = []

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        clock["wall"] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: clock["wall"])
    monkeypatch.setattr(time, "thread_time", lambda: clock["cpu"])
    monkeypatch.setattr(time, "sleep", sleep)
    pace = Pace(0.25)
    for seconds in (1.0, 0.0001, 2.0):
        clock["wall"] += seconds
        clock["cpu"] += seconds
        pace.rest()
    assert rests == pytest.approx([3.0, 6.0003])
    assert clock["wall"] - 100 == pytest.approx(4 * (clock["cpu"] - 7))
