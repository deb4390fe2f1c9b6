"""Parts: the figures that sentences about memory show."""

from __future__ import annotations

import pytest

from procmem.snapshots.parts import Amount, Cause, Part


@pytest.mark.parametrize(
    "amount, spec, text",
    [
        (8192, "", "8 KiB"),
        (8192, "+", "+8 KiB"),
        (8192, "-", "-8 KiB"),
        (-8192, "+", "-8 KiB"),
        (0, "+", "+0 KiB"),
        (1, "page", "1 page"),
        (1234, "page", "1,234 pages"),
        (300 << 20, "about", "300 MiB"),
    ],
)
def test_how_an_amount_is_written(amount: int, spec: str, text: str) -> None:
    assert format(Amount(amount), spec) == text


def test_the_size_of_a_part_is_its_largest_figure_in_bytes() -> None:
    figures = {"rss": Amount(-8192), "vsz": Amount(4096), "pages": Amount(1 << 20)}
    assert Part(Cause.GIVEN_BACK, "", (), figures).size == 8192
    assert Part(Cause.RENAMED, "", ()).size == 0
