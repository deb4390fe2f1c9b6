"""Outliers among rows of figures, by median and MAD."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from procmem.cluster.outliers import NORMAL, SCORE, Deviation, deviations


def test_the_odd_one_among_equal_ones_to_the_byte() -> None:
    rows = [{"rss": 4096, "swap": 0}] * 199
    rows.insert(73, {"rss": 4097, "swap": 0})
    (one,) = deviations(rows)
    assert one == Deviation(73, "rss", 4097, 4096.0, 0.0, 200)
    assert one.difference == 1
    assert deviations(rows, least=1) == []
    assert deviations(rows, least={"rss": 0.5}) == [one]


def test_what_spreads_is_judged_by_its_spread() -> None:
    """Median 14, distances 4 3 2 1 0 1 2 3 4 and 86: MAD 2.5, limit 3.5 × 2.5 / 0.6745 = 12.97."""
    values = [10, 11, 12, 13, 14, 15, 16, 17, 18]
    assert deviations([{"x": value} for value in values]) == []
    found = deviations([{"x": value} for value in [*values, 100]])
    assert [(one.row, one.value, one.median, one.mad) for one in found] == [(9, 100, 14.5, 2.5)]
    limit = SCORE * 2.5 / NORMAL
    assert not deviations([{"x": value} for value in [*values, int(14.5 + limit)]])


def test_two_cannot_tell_which_is_the_odd_one() -> None:
    assert deviations([{"x": 1}, {"x": 2}]) == []
    nothing: list[dict[str, int]] = []
    assert deviations(nothing) == []
    (one,) = deviations([{"x": 1}, {"x": 1}, {"x": 2}])
    assert one.row == 2


def test_what_is_not_known_is_not_zero() -> None:
    rows: list[dict[str, int | None]] = [{"x": 5}, {"x": None}, {"x": 5}, {}, {"x": 5}]
    assert deviations(rows) == []
    rows.append({"x": 0})
    (one,) = deviations(rows)
    assert (one.row, one.rows) == (5, 4)


def test_the_largest_first() -> None:
    rows = [{"a": 0, "b": 0}] * 5 + [{"a": 3, "b": -7}, {"a": 7, "b": 0}]
    assert [(one.row, one.figure) for one in deviations(rows)] == [(5, "b"), (6, "a"), (5, "a")]


@given(
    st.lists(st.integers(0, 1 << 50), min_size=3, max_size=60),
    st.integers(-(1 << 30), 1 << 30),
    st.integers(2, 9),
)
def test_neither_shift_nor_scale_changes_who_is_odd(
    values: list[int], shift: int, scale: int
) -> None:
    def odd(numbers: list[int]) -> set[int]:
        return {one.row for one in deviations([{"x": number} for number in numbers])}

    assert odd([value + shift for value in values]) == odd(values)
    assert len(odd(values)) <= len(values) / 2
    if max(values) < 1 << 40:  # floats are exact there
        assert odd([-value for value in values]) == odd(values)
