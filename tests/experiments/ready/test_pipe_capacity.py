"""The experiment pipe-capacity."""

from __future__ import annotations

import os

import pytest

from procmem import experiments
from procmem.errors import BadArgument
from procmem.experiments.ready.pipe_capacity import fill, new_pipe, predicted_fill
from procmem.experiments.specimen.interpreter import waiting
from tests.support.stories import claims, story

PAGE = os.sysconf("SC_PAGE_SIZE")
pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


def test_the_course_text_s_figures() -> None:
    told = story("pipe-capacity")
    if told.skipped:
        pytest.skip(told.skipped)
    seen = claims(told)
    assert seen["bytes in it when writes of 3,000 fill it"] == 48_000
    assert seen["bytes in it when writes of 4,096 fill it"] == 65_536
    assert seen["procmem pipes, after writes of 3,000"] == "full"
    assert seen["write 1 byte after 4,095 of a full pipe's were read"] == "EAGAIN"
    assert seen["write 1 byte after one more was read"] == 1


@pytest.mark.parametrize(
    "size", [7, 999, 1365, 1366, 2049, 4095, 4097, 5000, 6144, 8191, 8193, 10_000, 70_000]
)
def test_the_rule_is_the_kernel_s(size: int) -> None:
    with new_pipe() as (read, write, _):
        fill(write, size)
        assert waiting(read) == predicted_fill(size, PAGE)


def test_a_size_of_one_s_own() -> None:
    assert experiments.pipe_capacity(size=5000).agrees
    for size in (0, 1 << 21):
        with pytest.raises(BadArgument):
            experiments.pipe_capacity(size=size)
