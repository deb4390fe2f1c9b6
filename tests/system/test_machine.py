"""All processes of the machine: sums, groups, and what could not be read."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.system import machine as module
from procmem.system.memory import read_sums
from procmem.system.pace import ENTRY
from tests.support.targets import PAGE, Advice

if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem.system.machine import Machine
    from procmem.system.processes import MachineProcess
    from tests.support.targets import Target


def only(machine: Machine, *pids: int) -> list[MachineProcess]:
    return [process for process in machine.processes if process.pid in pids]


def test_the_parts_are_all_of_it() -> None:
    # A balloon of a virtual machine may change it.
    before = read_sums().meminfo["MemTotal"]
    found = procmem.machine()
    assert found.total in (before, read_sums().meminfo["MemTotal"])
    assert sum(part.size for part in found.parts) + found.remainder == found.total
    by_name = {part.name: part.size for part in found.parts}
    # smem's way: the sum of the shares of all processes, of this reading.
    assert by_name["processes"] == sum(process.pss or 0 for process in found.processes)


def test_a_fork_shares_its_pages(target: Target) -> None:
    mapping = target.map(1000)
    target.touch(mapping)
    with target.fork() as child:
        child.touch(mapping.page(0, 300))
        found = procmem.machine()
        # Processes are in the order of their PIDs, and these may start anew.
        (parent,), (forked,) = only(found, target.pid), only(found, child.pid)
        assert (forked.ppid, forked.name) == (parent.pid, parent.name)
        assert parent.counters is not None
        assert forked.counters is not None
        for process in (parent, forked):
            shares = procmem.Process(process.pid).smaps().find(mapping.start)
            assert shares is not None
            assert shares.uss == 300 * PAGE
            assert shares.pss == (300 + 700 // 2) * PAGE


def test_groups(target: Target, start: Callable[..., Target]) -> None:
    other = start()
    with target.fork() as child:
        found = procmem.machine()
        found.processes[:] = only(found, target.pid, other.pid, child.pid)
        (user,) = found.groups("user")
        assert {process.pid for process in user.processes} == {target.pid, other.pid, child.pid}
        assert user.pss == sum(process.pss or 0 for process in found.processes)
        assert [len(group) for group in found.groups("command")] == [3]
        trees = {
            group.name: {each.pid for each in group.processes} for group in found.groups("tree")
        }
        name = found.processes[0].name
        assert trees == {
            f"{name} ({target.pid})": {target.pid, child.pid},
            f"{name} ({other.pid})": {other.pid},
        }
        sizes = [group.pss or 0 for group in found.groups("tree")]
        assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(procmem.BadArgument, match="command, user, cgroup, service, tree"):
        found.groups("colour")


def test_one_that_would_stall_too_long_is_left_out(target: Target) -> None:
    mapping = target.map(20_000)
    target.touch(mapping)
    found = procmem.machine(max_stall=20_000 * module.FIRST_GUESS)
    (left_out,) = only(found, target.pid)
    assert "left out" in left_out.unread
    assert (left_out.pss, left_out in found.unread) == (None, True)
    assert left_out.rss is not None
    assert left_out.rss >= 20_000 * PAGE
    (small,) = only(procmem.machine(max_stall=100.0), target.pid)
    assert small.unread == ""


def test_one_slow_reading_is_forgotten(
    start: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the CPU had done something else for a minute meanwhile."""
    large, small = start(), start()
    large.touch(large.map(6000))
    small.touch(small.map(module.WORTH_A_MEASURE))
    stalls = module.Stalls(1.0)
    times = iter([0.0, 60.0])
    with monkeypatch.context() as patched:
        patched.setattr(time, "thread_time", lambda: next(times))
        assert stalls.read(small.pid, "/proc") is not None
    left_out = stalls.read(large.pid, "/proc")
    assert left_out is not None
    assert "left out" in left_out.unread
    for _ in range(module.LATEST):
        read = stalls.read(small.pid, "/proc")
        assert read is not None
        assert read.unread == ""
    read = stalls.read(large.pid, "/proc")
    assert read is not None
    assert read.unread == ""


def test_one_that_maps_only_zeros_stalls_too_and_is_left_out(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel walks its page tables as it does others', but nothing of it is in RSS."""
    # What a page takes is measured on other processes: on a busy machine that may be any time.
    monkeypatch.setattr(module, "WORTH_A_MEASURE", sys.maxsize)
    mapping = target.map(300_000)
    target.madvise(mapping, Advice.NOHUGEPAGE)
    (before,) = only(procmem.machine(max_stall=300_000 * ENTRY / 2), target.pid)
    assert before.unread == ""
    target.read(mapping)
    (left_out,) = only(procmem.machine(max_stall=300_000 * ENTRY / 2), target.pid)
    assert "left out by max_stall" in left_out.unread
    assert left_out.rss is not None
    assert left_out.rss < 300_000 * PAGE // 10


def test_it_rests_between_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    rests: list[None] = []

    class Resting:
        def __init__(self, share: float) -> None:
            shares.append(share)

        def rest(self) -> None:
            rests.append(None)

    monkeypatch.setattr(module, "Pace", Resting)
    found = procmem.machine(share=0.02)
    assert shares == [0.02]
    assert len(rests) >= len(found.processes)


@pytest.mark.parametrize("wrong", [{"share": 0}, {"share": -1}, {"max_stall": 0}])
def test_bad_arguments(wrong: dict[str, float]) -> None:
    with pytest.raises(procmem.BadArgument):
        procmem.machine(**wrong)  # type: ignore[arg-type]


def test_all_of_it_as_plain_values() -> None:
    import json

    found = procmem.machine()
    plain = json.loads(json.dumps(found.to_dict()))
    (me,) = [each for each in plain["processes"] if each["pid"] == os.getpid()]
    assert me["rss"] >= me["pss"] >= me["uss"]
    assert plain["remainder"] == found.remainder
    for by in module.GROUPINGS:
        groups = [group.to_dict() for group in found.groups(by)]
        assert sum(len(group["processes"]) for group in groups) == len(found.processes)
