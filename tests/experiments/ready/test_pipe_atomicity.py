"""The experiment pipe-atomicity."""

from __future__ import annotations

import pytest

from procmem import experiments
from procmem.errors import BadArgument
from tests.support.stories import claims, story


def test_what_is_mixed() -> None:
    told = story("pipe-atomicity")
    if told.skipped:
        pytest.skip(told.skipped)
    seen = claims(told)
    assert seen["pieces of 4,096 bytes that came whole"] == 600
    assert seen["pages written by both"] == 9
    assert seen["what was read"] == "mixed"


def test_other_numbers() -> None:
    assert experiments.pipe_atomicity(writers=2, writes=3).agrees
    for values in ({"writers": 1}, {"writers": 27}, {"writes": 0}):
        with pytest.raises(BadArgument):
            experiments.pipe_atomicity(**values)
