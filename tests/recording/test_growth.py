"""What keeps growing, by its lower envelope: series with a known truth."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procmem.recording.growth import grown, sustained

MIB = 1 << 20
LEAST = 64 << 10
SPAN = 20.0

Course = Callable[[float], float]
"""MiB at a time."""


def square(period: float, height: float, at: float) -> float:
    return height * (int(2 * at / period) % 2)


def saw(period: float, height: float, at: float) -> float:
    return height * (at / period % 1)


def series(
    course: Course, chance: random.Random, span: float = SPAN
) -> tuple[list[float], list[int]]:
    """Looks of 100 ms, some of them late, as those of a recorder that saves its time."""
    times, values, at = [], [], 0.0
    while at < SPAN:
        times.append(at)
        values.append(int(course(at) * MIB))
        at += SPAN / 200 * chance.choice([1, 1, 1, 1, 2, 5])
    return [*times, SPAN], [*values, int(course(SPAN) * MIB)]


LEAKS: dict[str, tuple[Callable[[random.Random], Course], float]] = {
    "steady": (lambda _: lambda t: 50 + t, 0),
    "below a square wave of 1 s": (lambda _: lambda t: 50 + t + square(1, 40, t), 0),
    "below a square wave of 2 s": (lambda r: wave(2, r), 0),
    "below a square wave of 3 s": (lambda r: wave(3, r), 0),
    "below a square wave of 4 s": (lambda r: wave(4, r), 0),
    "with noise": (lambda r: lambda t: 50 + t / 10 + abs(r.gauss(0, 0.3)), 0),
    "in steps": (lambda _: lambda t: 50 + 5 * (t // 3), 0),
    "in few steps": (lambda _: lambda t: 50 + 5 * (t // 5), 0),
    "with pauses": (lambda _: lambda t: 50 + 2 * (t // 3) + min(2, t % 3), 0),
    "begun in the middle": (lambda _: lambda t: 50 + max(0, t - 10), 10),
    "begun late": (lambda _: lambda t: 50 + max(0, t - 14), 14),
    "behind a warm-up": (lambda _: lambda t: min(50, t * 50) + t / 10, 1),
    "behind a peak": (lambda _: lambda t: 125 * t if t < 4 else 100 + t, 4),
    "ever faster": (lambda _: lambda t: 50 + t * t / 10, 0),
}


def wave(period: float, chance: random.Random) -> Course:
    phase = chance.random() * period
    return lambda t: 50 + t + square(period, 40, t + phase)


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_found(name: str) -> None:
    make, begun = LEAKS[name]
    for seed in range(30):
        chance = random.Random(seed)
        found = sustained(*series(make(chance), chance), LEAST)
        assert found is not None, seed
        assert found.until == SPAN
        assert abs(found.since - begun) <= 6, (seed, found)
        assert found.whole == (found.since <= 4 and begun == 0) or found.since <= 6


def test_rates_are_those_of_the_leak() -> None:
    for name in ("steady", "below a square wave of 1 s", "below a square wave of 2 s"):
        for seed in range(30):
            chance = random.Random(seed)
            found = sustained(*series(LEAKS[name][0](chance), chance), LEAST)
            assert found is not None
            assert found.whole
            assert found.rate == pytest.approx(MIB, rel=0.2)
            assert found.gained == pytest.approx(20 * MIB, rel=0.25)


def step(at: float) -> Course:
    return lambda t: 50 + 20 * (t > at)


def toothed(
    shape: Callable[[float, float, float], float], period: float, chance: random.Random
) -> Course:
    phase = chance.random() * period
    return lambda t: 50 + shape(period, 40, t + phase)


CACHES = 0.2, 0.5, 0.6, 0.7, 0.79


def cache(share: float, _: random.Random) -> Course:
    return lambda t: 50 + min(t, SPAN * share)


def slowing(tau: float, _: random.Random) -> Course:
    return lambda t: 50 + 20 * (1 - math.exp(-t / tau))


NONE: dict[str, Callable[[random.Random], Course]] = {
    "flat": lambda _: lambda _: 50,
    "noise": lambda r: lambda _: 50 + r.gauss(0, 1),
    "one step": lambda r: step(r.random() * SPAN),
    "a warm-up": lambda _: lambda t: min(50, 10 * t),
    "shrinking": lambda _: lambda t: 100 - t,
    "up and down": lambda _: lambda t: 60 - abs(t - 10),
    **{f"a cache that is full at {share:.0%}": partial(cache, share) for share in CACHES},
    **{f"filling ever more slowly, {tau} s": partial(slowing, tau) for tau in (1, 2, 4, 5)},
    **{
        f"a sawtooth of {period} s": partial(toothed, saw, period)
        for period in (0.5, 1, 3, 4, 5, 6, 8, 12)
    },
    **{
        f"a square wave of {period} s": partial(toothed, square, period)
        for period in (0.5, 1, 2, 3, 5, 8, 12, 15)
    },
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_leak(name: str) -> None:
    for seed in range(30):
        chance = random.Random(seed)
        assert sustained(*series(NONE[name](chance), chance), LEAST) is None, seed


def test_what_can_not_be_told_apart_is_found() -> None:
    """A cache that was full in the last tenth of the time may be a leak."""
    chance = random.Random(1)
    assert sustained(*series(lambda t: 50 + min(t, 19), chance), LEAST) is not None


def test_too_little_is_none() -> None:
    times, values = series(lambda t: 50 + t / 400, random.Random(1))
    assert sustained(times, values, LEAST) is None
    assert sustained(times, values, 1024) is not None
    assert sustained([], [], 1) is None
    assert sustained([0, 1], [0, 9], 1) is None
    assert sustained([5, 5, 5, 5], [0, 1, 2, 3], 1) is None


POINTS = st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 1 << 40)), min_size=1, max_size=120)


def times_of(points: list[tuple[float, int]]) -> list[float]:
    at, times = 0.0, []
    for gap, _ in points:
        at += gap
        times.append(at)
    return times


@settings(max_examples=200, deadline=None)
@given(POINTS)
def test_what_is_found_is_within_what_was_seen(points: list[tuple[float, int]]) -> None:
    times, values = times_of(points), [value for _, value in points]
    found = sustained(times, values, LEAST)
    if found is not None:
        assert times[0] <= found.since < found.until == times[-1]
        assert LEAST <= found.gained <= max(values) - min(values)
        # The same, later and higher.
        again = sustained([t + 64 for t in times], [v + MIB for v in values], LEAST)
        assert again is None or again.gained == pytest.approx(found.gained, rel=0.5)


@settings(max_examples=200, deadline=None)
@given(POINTS)
def test_what_never_grows_is_none(points: list[tuple[float, int]]) -> None:
    values = sorted((value for _, value in points), reverse=True)
    assert sustained(times_of(points), values, LEAST) is None


@settings(max_examples=200, deadline=None)
@given(POINTS)
def test_what_was_reached_long_ago_is_none(points: list[tuple[float, int]]) -> None:
    times, values = times_of(points), sorted(value for _, value in points)
    times = [*times, times[-1] + 2 * (times[-1] - times[0]) + 1]
    assert sustained(times, [*values, values[-1]], LEAST) is None


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 1 << 20), st.sets(st.integers(0, 199), max_size=60))
def test_a_leak_below_any_peaks_is_found(base: int, rate: int, peaks: set[int]) -> None:
    """Peaks at some looks, but not at eight windows in a row."""
    peaks = {at for at in peaks if at % 20 >= 5 and at < 195}
    values = [base + rate * 4096 * at + (1 << 36 if at in peaks else 0) for at in range(200)]
    assert sustained([at / 10 for at in range(200)], values, 1) is not None


class TestAnswers:
    def test_lines(self) -> None:
        assert grown([0, 1], [5, 5]) == (0, 0, 5, 5)
        assert grown([0.0, 1.0, 2.0], [0, 10, 20]) == (10, 1, 0, 20)
        assert grown([0.0, 1.0, 2.0], [20, 10, 0]) == (-10, -1, 20, 0)
        # Of a hundred seconds one was growth.
        found = grown([0.0, 0.5, 1.0, 100.0], [0, 5, 10, 10])
        assert found is not None
        assert found.slope < 0.2
        assert grown([0.0, None], [1, 2]) is None
        assert grown([], []) is None
