"""Fixtures of tests of exports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.grades import GRADES, HOSTILE, hostile

if TYPE_CHECKING:
    from procmem.grade.results import Grade


@pytest.fixture(params=[*GRADES, *(f"hostile {i}" for i in range(len(HOSTILE)))])
def grade(request: pytest.FixtureRequest) -> Grade:
    name = request.param
    return GRADES[name] if name in GRADES else hostile(HOSTILE[int(name.split()[1])])
