"""Rounds: the kernel's figures by kind and use, a ceiling that is kept, and what is left out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.regions import Region, parse_smaps
from procmem.system import rounds as module
from procmem.system.processes import read_process
from procmem.system.rounds import ProcessChoice, Rounds, Sizes, printable_label, uses_of
from tests.support.targets import PAGE, Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SMAPS = b"""\
7f0000000000-7f0000004000 rw-p 00000000 00:00 0 
Size:                 16 kB
Rss:                  12 kB
Pss:                   8 kB
Private_Clean:         0 kB
Private_Dirty:         4 kB
Swap:                  4 kB
7f0000004000-7f0000008000 r--p 00000000 00:00 0 
Size:                 16 kB
Rss:                   0 kB
Pss:                   0 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
Swap:                  0 kB
7f0000009000-7f000000a000 rw-p 00000000 00:00 0 
Size:                  4 kB
Rss:                   4 kB
Pss:                   4 kB
"""  # noqa: W291 - as the kernel prints it


class Clock:
    """A time and a CPU time that only this test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.cpu = 5.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def targets() -> Iterator[list[Target]]:
    with Target() as one, Target() as two:
        yield [one, two]


def made(clock: Clock, **options: Any) -> Rounds:
    name = ProcessChoice(names=(f"rounds-{os.getpid()}",))
    return Rounds(name, clock=lambda: clock.now, cpu=lambda: clock.cpu, **options)


def named(targets: list[Target]) -> None:
    for target in targets:
        target.comm(f"rounds-{os.getpid()}")


def one_round(rounds: Rounds, clock: Clock) -> None:
    before = rounds.rounds
    while rounds.rounds == before:
        wait = rounds.turn()
        clock.now += wait


# ---- what is read ----


def test_the_figures_are_the_kernels(clock: Clock, targets: list[Target]) -> None:
    named(targets)
    targets[0].touch(targets[0].map(300))
    rounds = made(clock)
    one_round(rounds, clock)
    assert [one.pid for one in rounds.readings] == sorted(target.pid for target in targets)
    # Anonymous memory: what other processes do changes no figure of it.
    private = ("anon", "heap", "stack")
    for one in rounds.readings:
        with procmem.Process(one.pid) as process:
            regions = process.smaps().filter(lambda region: region.kind.value in private)
        mine = [sizes for (kind, _), sizes in one.uses.items() if kind.rstrip("?") in private]
        for field in Sizes._fields:
            assert sum(getattr(sizes, field) for sizes in mine) == regions.total(field)
    by_pid = {one.pid: one for one in rounds.readings}
    anon = sum(
        sizes.rss
        for (kind, _), sizes in by_pid[targets[0].pid].uses.items()
        if kind.startswith("anon")
    )
    assert anon >= 300 * PAGE
    assert all(one.processes == one.rss == 0 for one in rounds.left_out)


def test_sums_by_kind_and_use() -> None:
    (only,) = uses_of(parse_smaps(SMAPS)).items()
    # Of the last region the kernel shows neither USS nor swap: a sum without it would be wrong.
    assert only == (("anon", ""), Sizes(16 << 10, 12 << 10, None, None))


def test_a_guess_is_marked() -> None:
    for region in procmem.Process().smaps():
        if region.rss and region.use is not None and region.use.guess:
            assert any(use.endswith("?") for _, use in uses_of([region]))
    assert isinstance(region, Region)


def test_a_process_that_ended_is_forgotten(clock: Clock, targets: list[Target]) -> None:
    named(targets)
    rounds = made(clock)
    one_round(rounds, clock)
    assert len(rounds.readings) == 2
    targets[1].close()
    clock.now += 100
    one_round(rounds, clock)
    assert [one.pid for one in rounds.readings] == [targets[0].pid]
    assert all(one.processes == 0 for one in rounds.left_out)


# ---- the ceiling ----


def test_the_share_is_kept(
    clock: Clock, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    named(targets)
    rounds = made(clock, share=0.05, every=0.5)
    real = uses_of

    def costly(regions: object) -> dict[tuple[str, str], Sizes]:
        clock.cpu += 0.3
        clock.now += 0.4
        return real(regions)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "uses_of", costly)
    began = clock.now
    for _ in range(60):
        wait = rounds.turn()
        clock.now += wait
        elapsed = clock.now - began
        # What a reading costs is paid after it, before the next one.
        assert rounds.spent <= 0.05 * elapsed + 1e-6
    assert rounds.spent >= 0.8 * 0.05 * (clock.now - began)


def test_what_was_not_used_is_not_saved_up_for_ever(clock: Clock, targets: list[Target]) -> None:
    named(targets)
    rounds = made(clock, share=0.1)
    one_round(rounds, clock)
    clock.now += 100_000
    rounds.turn()
    clock.cpu += 3
    # Ten seconds of a tenth are one second: two of the three are to be paid by rests.
    assert rounds.turn() == pytest.approx(20)


def test_rounds_are_no_more_frequent_than_asked(clock: Clock, targets: list[Target]) -> None:
    named(targets)
    rounds = made(clock, every=15.0)
    began = clock.now
    for _ in range(4):
        one_round(rounds, clock)
    assert clock.now - began == pytest.approx(60)


# ---- what is left out ----


def left_out(rounds: Rounds) -> dict[str, int]:
    return {one.reason: one.processes for one in rounds.left_out}


def test_what_is_too_expensive_is_left_out_and_counted(
    clock: Clock, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    named(targets)
    targets[0].touch(targets[0].map(6000))
    monkeypatch.setattr(module, "FIRST_GUESS", 0.01)
    rounds = made(clock, share=0.1, max_age=300.0)
    one_round(rounds, clock)
    # 6,000 pages would take a minute, of which ten minutes allow 30 seconds.
    assert [one.pid for one in rounds.readings] == [targets[1].pid]
    (budget,) = [one for one in rounds.left_out if one.reason == "budget"]
    assert budget.processes == 1
    assert budget.rss >= 6000 * PAGE


def test_a_long_stall_is_left_out(
    clock: Clock, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    named(targets)
    targets[0].touch(targets[0].map(6000))
    monkeypatch.setattr(module, "FIRST_GUESS", 1e-6)
    rounds = made(clock, max_stall=0.005)
    one_round(rounds, clock)
    assert left_out(rounds) == {"budget": 0, "stall": 1, "denied": 0}
    assert [one.pid for one in rounds.readings] == [targets[1].pid]


def test_what_can_not_be_read_is_counted(
    clock: Clock, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    named(targets)
    hidden = targets[0].pid
    real = procmem.Process.smaps

    def smaps(self: procmem.Process) -> object:
        if self.pid == hidden:
            raise procmem.AccessDenied(self.pid, "not yours")
        return real(self)

    monkeypatch.setattr(procmem.Process, "smaps", smaps)
    rounds = made(clock)
    one_round(rounds, clock)
    assert left_out(rounds) == {"budget": 0, "stall": 0, "denied": 1}


def test_an_old_reading_is_left_out(clock: Clock, targets: list[Target]) -> None:
    named(targets)
    rounds = made(clock, max_age=60.0)
    one_round(rounds, clock)
    clock.now += 30
    assert rounds.oldest_age is not None
    assert 30 <= rounds.oldest_age < 60
    clock.now += 60
    assert rounds.readings == []
    assert rounds.oldest_age is None
    assert left_out(rounds)["budget"] == 2


def test_before_it_is_reached_a_process_is_left_out(clock: Clock, targets: list[Target]) -> None:
    named(targets)
    rounds = made(clock)
    rounds.turn()
    assert left_out(rounds)["budget"] == 2
    rounds.turn()
    assert left_out(rounds)["budget"] == 1


# ---- the selection ----


def test_selections() -> None:
    with Target() as target:
        found = read_process(target.pid, "/proc")
        assert found is not None
        assert ProcessChoice().takes(found)
        assert ProcessChoice(names=("x", found.name)).takes(found)
        assert not ProcessChoice(names=("x",)).takes(found)
        assert ProcessChoice(users=(found.user,)).takes(found)
        assert ProcessChoice(users=(str(os.geteuid()),)).takes(found)
        assert not ProcessChoice(names=(found.name,), users=("nobody at all",)).takes(found)
        if found.cgroup:
            assert ProcessChoice(groups=(found.cgroup,)).takes(found)
            assert ProcessChoice(groups=("/",)).takes(found)
            assert not ProcessChoice(groups=(found.cgroup.rstrip("/") + "x",)).takes(found)


def test_bad_arguments() -> None:
    for options in ({"share": 0}, {"share": 1.1}, {"every": 0}, {"max_age": 0}, {"max_stall": 0}):
        with pytest.raises(procmem.BadArgument):
            Rounds(**options)


def test_labels_are_valid_text() -> None:
    assert printable_label(b"a\xffb".decode("utf-8", "surrogateescape")) == "a\\xffb"
    assert printable_label("höhle") == "höhle"
