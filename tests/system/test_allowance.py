"""CPU time that may be used, by clocks that only the test moves."""

from __future__ import annotations

from procmem.system.allowance import SAVED, CpuAllowance


class Clocks:
    now = 100.0
    cpu = 7.0


def test_what_was_used_has_to_be_waited_for() -> None:
    clocks = Clocks()
    made = CpuAllowance(0.1, lambda: clocks.now, lambda: clocks.cpu)
    assert made.debt() == 0
    clocks.cpu += 0.5
    assert made.spent == 0.5
    assert abs(made.debt() - 5) < 1e-9
    clocks.now += 4
    assert abs(made.debt() - 1) < 1e-9
    clocks.now += 1
    assert abs(made.debt()) < 1e-9


def test_no_more_than_ten_seconds_are_saved_up() -> None:
    clocks = Clocks()
    made = CpuAllowance(0.1, lambda: clocks.now, lambda: clocks.cpu)
    clocks.now += 1000
    assert abs(made.debt() + SAVED) < 1e-9
    clocks.cpu += 0.1 * SAVED + 0.2
    assert abs(made.debt() - 2) < 1e-9


def test_it_can_begin_anew() -> None:
    clocks = Clocks()
    made = CpuAllowance(0.1, lambda: clocks.now, lambda: clocks.cpu)
    clocks.cpu += 5
    made.restart()
    assert made.spent == made.debt() == 0
