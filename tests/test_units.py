"""Figures in text."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem import units

SIZES = st.integers(-(1 << 60), 1 << 60)
SCALES = {"byte": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@given(SIZES | SIZES.map(lambda value: value << 20))
def test_a_size_is_exact(value: int) -> None:
    for text in (units.size(value), units.comparable(value)):
        figure, unit = text.split()
        assert int(figure.replace(",", "")) * SCALES[unit] == value


@given(SIZES)
def test_a_difference_begins_with_its_sign(value: int) -> None:
    sign = "-" if value < 0 else "+"
    assert units.signed(value) == sign + units.kib(abs(value))
    assert units.signed_in_unit("B")(value) == f"{value:+d}"
    assert float(units.signed_in_unit("KiB")(value << 10)) == pytest.approx(value)


def test_powers_of_two_are_said_in_their_unit() -> None:
    assert [units.about(1 << bits) for bits in (12, 21, 30, 39, 48, 57, 62)] == [
        "4 KiB", "2 MiB", "1 GiB", "512 GiB", "256 TiB", "128 PiB", "4 EiB",
    ]  # fmt: skip


def test_every_signal_has_a_name_of_its_own() -> None:
    names = {number: units.signal_name(number) for number in range(1, signal.SIGRTMAX + 1)}
    assert len(set(names.values())) == len(names)
    for one in signal.Signals:
        assert names[one] == one.name
    assert names[signal.SIGRTMIN + 3] == "SIGRTMIN+3"
    assert units.signal_name(signal.SIGRTMAX + 1) == f"signal {signal.SIGRTMAX + 1}"


def test_constants() -> None:
    assert (units.KiB, units.MiB, units.GiB) == (1 << 10, 1 << 20, 1 << 30)
