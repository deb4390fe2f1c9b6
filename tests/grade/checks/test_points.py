"""What makes a function a check, and how a check may end."""

from __future__ import annotations

import pytest

from procmem.grade import (
    not_possible,
    partly,
    points,
)
from procmem.grade.checks.points import Partly, check_of
from procmem.grade.errors import NotPossibleHere


def test_points_marks_a_function_and_leaves_it_as_it_is() -> None:
    def test_it() -> int:
        return 3

    marked = points(2, "a title", hint="why?", needs="test_other", hidden=True)(test_it)
    assert marked is test_it
    check = check_of(marked)
    assert check is not None
    assert (check.points, check.title, check.hint) == (2, "a title", "why?")
    assert (check.needs, check.hidden) == (("test_other",), True)
    assert check_of(lambda: 0) is None
    assert check_of(None) is None


@pytest.mark.parametrize("worth", [-1, float("nan"), float("inf"), "2", None, True])
def test_points_that_are_no_points(worth: object) -> None:
    with pytest.raises(ValueError, match="points"):
        points(worth, "a title")  # type: ignore[arg-type]


def test_partly_takes_a_share_or_points() -> None:
    def of(share: object, points: float) -> float:
        return Partly(share, "why").of(points)  # type: ignore[arg-type]

    assert of(0.25, 4) == 1
    assert of(1, 4) == 1
    assert of(1.0, 4) == 4
    assert of(0, 4) == 0
    for share in (1.5, 5, -1, "1", None, True, float("nan")):
        with pytest.raises(ValueError, match="partly"):
            of(share, 4)
    with pytest.raises(Partly):
        partly(0.5, "why")
    assert not issubclass(Partly, Exception)  # no `except Exception` of a check takes it


def test_not_possible() -> None:
    with pytest.raises(NotPossibleHere, match="no such thing"):
        not_possible("no such thing")
