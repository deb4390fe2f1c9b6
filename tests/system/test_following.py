"""Rounds over all processes, and the frames that are kept of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from procmem import Unsupported
from procmem.system.following import PROCESS_BYTES, KeptFrames, MachineFollower, MachineFrame
from procmem.system.processes import read_process
from tests.support.screens import made_process, made_tree
from tests.support.targets import PAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.targets import Target


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def frame_of(follower: MachineFollower) -> MachineFrame:
    """The frame after one more round."""
    rounds = follower.rounds
    while follower.rounds == rounds:
        follower.turn()
    found = follower.frame()
    assert found is not None
    return found


def test_the_figures_are_the_kernels(target: Target) -> None:
    target.touch(target.map(500))
    frame = frame_of(MachineFollower())
    start = read_process(target.pid, "/proc")
    assert start is not None
    found = frame.process(target.pid, start.start_time)
    assert found is not None
    assert found.uss is not None
    assert found.uss >= 500 * PAGE
    assert [one.pid for one in frame.machine.processes] == sorted(
        one.pid for one in frame.machine.processes
    )
    assert frame.process(target.pid, start.start_time + 1) is None
    assert frame.process(4_000_000, 1) is None


def test_a_round_in_pieces(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc", 5)
    clock = Clock()
    follower = MachineFollower(root=str(root), every=10.0, clock=clock)
    assert follower.frame() is None
    seen = []
    while not follower.rounds:
        rest = follower.turn(most=0.0)  # one process at a time
        frame = follower.frame()
        assert frame is not None
        seen.append(len(frame.machine.processes))
        clock.now += 1
        assert rest == 0 or follower.rounds
    assert seen == [1, 2, 3, 4, 5]
    assert follower.round_seconds == 4
    assert follower.turn() == 5  # what is left of the ten seconds
    clock.now += 5
    made_process(root, 300, "new", 400, pss=400)
    follower.turn(most=0.0)
    frame = follower.frame()
    assert frame is not None
    # What was not read yet comes first, then what was read longest ago.
    assert frame.process(300, 1300) is not None
    assert frame.oldest == clock.now - 50
    follower.turn(most=0.0)
    assert frame_of(follower).oldest == 0


def test_processes_that_ended_are_gone(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc", 3)
    follower = MachineFollower(root=str(root), every=1e-9)
    assert len(frame_of(follower).machine.processes) == 3
    for name in os.listdir(root / "101"):
        os.unlink(root / "101" / name)
    os.rmdir(root / "101")
    assert [one.pid for one in frame_of(follower).machine.processes] == [100, 102]


def test_control_groups_are_read_if_they_are_asked_for(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc", 1)
    follower = MachineFollower(root=str(root), every=1e-9)
    follower.reads_cgroups = True
    frame = frame_of(follower)
    os.unlink(root / "100" / "cgroup")
    assert frame.machine.processes[0].cgroup == "/user.slice"


def test_no_proc(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        MachineFollower(root=str(tmp_path)).turn()


# ---- what is kept ----


def test_a_process_that_has_not_changed_is_kept_once(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc", 10)
    follower = MachineFollower(root=str(root), every=1e-9)
    kept = KeptFrames()
    first = kept.add(frame_of(follower))
    before = kept.size
    made_process(root, 105, "worker5", 9999, pss=999)
    second = kept.add(frame_of(follower))
    same = [
        one is other
        for one, other in zip(first.machine.processes, second.machine.processes, strict=True)
    ]
    assert same == [number != 5 for number in range(10)]
    assert second.machine.processes[5].rss == 9999 << 10
    assert PROCESS_BYTES < kept.size - before < 2 * PROCESS_BYTES
    assert kept.frame(0) is first
    assert kept.last(None, 5) == [first, second]
    assert kept.last(0, 5) == [first]


def test_the_oldest_frames_are_dropped(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc", 4)
    follower = MachineFollower(root=str(root), every=1e-9)
    kept = KeptFrames(most=10 * PROCESS_BYTES)
    for number in range(20):
        for pid in range(100, 104):
            made_process(root, pid, "busy", 4000 + number, pss=2000 + number)
        kept.add(frame_of(follower))
        assert kept.size <= kept.most
    assert (kept.first, kept.end) == (18, 20)
    with pytest.raises(IndexError):
        kept.frame(17)
    with pytest.raises(IndexError):
        kept.frame(20)
    assert kept.frame(19).machine.processes[0].rss == 4019 << 10
    assert len(kept.last(None, 12)) == 2
