"""A process that is followed, and one that is replayed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from procmem import Process
from procmem.experiments import Specimen
from procmem.screen.opened import FollowedProcess, ReplayedProcess
from procmem.snapshots import diff
from procmem.view.recording import change_lines
from tests.support.screens import PATIENCE, made_recording
from tests.support.targets import machine

if TYPE_CHECKING:
    from tests.support.targets import Target


def followed(pid: int, start_time: int | None = None) -> FollowedProcess:
    return FollowedProcess(pid, start_time, "?", share=1.0)


def until_end(opened: FollowedProcess, end: int) -> None:
    """Follows a process until so many snapshots are there, or it has ended."""
    deadline = time.monotonic() + PATIENCE
    while opened.end < end and opened.live:
        assert time.monotonic() < deadline
        rest = opened.turn()
        if opened.end < end and opened.live:
            time.sleep(min(rest, 0.1))


def test_every_change_is_kept_with_its_causes(specimen: Specimen) -> None:
    opened = followed(specimen.pid)
    until_end(opened, 1)
    assert opened.changes(0) == []
    for number in range(1, 4):
        specimen.mmap(pages=100 * number)
        until_end(opened, number + 1)
        lines = opened.changes(number)
        assert f"VSZ +{400 * number:,} KiB" in lines[0]
        assert "anonymous memory was mapped" in lines[1]
    # What is computed again from what was packed is the same.
    opened._lines.clear()
    opened._loaded = None
    assert f"VSZ +{1200:,} KiB" in opened.changes(3)[0]
    times, values = opened.series(3, 2)
    assert len(times) == len(values) == 2
    assert times[0] is not None
    assert times[1] is not None
    assert times[0] < times[1]
    assert values[1] == opened.snapshot(3).rss
    opened.close()
    assert opened.turn() == float("inf")


def test_a_process_that_ends() -> None:
    specimen = Specimen()
    opened = followed(specimen.pid)
    until_end(opened, 1)
    specimen.close()
    until_end(opened, 1 << 30)
    assert not opened.live
    assert opened.ended
    assert not opened.failed
    assert opened.snapshot(0).identity.pid == specimen.pid
    opened.close()


def test_execve_is_followed(target: Target) -> None:
    opened = followed(target.pid)
    until_end(opened, 1)
    opened.name = "before"
    target.exec()
    deadline = time.monotonic() + PATIENCE
    while opened.name == "before":
        assert time.monotonic() < deadline
        until_end(opened, opened.end + 1)
    assert opened.live
    opened.close()


def test_another_process_of_that_pid_is_not_opened(specimen: Specimen) -> None:
    started = Process(specimen.pid).start_time
    assert started is not None
    opened = followed(specimen.pid, started - 1)
    assert opened.turn() == float("inf")
    assert "its PID is another's" in opened.failed
    opened.close()
    opened = followed(specimen.pid, started)
    until_end(opened, 1)
    assert opened.end == 1
    opened.close()


def test_there_is_no_such_process() -> None:
    opened = followed(4_000_000)
    assert opened.turn() == float("inf")
    assert "4000000" in opened.failed
    opened.read_heap()
    assert opened.heap is None


def test_what_every_user_may_read(target: Target) -> None:
    code = (
        "from procmem.screen.opened import FollowedProcess\n"
        f"opened = FollowedProcess({target.pid}, None, '?')\n"
        "opened.turn()\n"
        "print(opened.live, bool(opened.failed), opened.totals.rss > 0)"
    )
    done = machine.as_nobody(code, modules=("procmem.screen.opened",))
    assert done.stdout.split() == ["False", "True", "True"], done.stderr


def test_the_heap_is_read(specimen: Specimen) -> None:
    opened = followed(specimen.pid)
    until_end(opened, 1)
    opened.read_heap()
    assert opened.heap is not None or opened.heap_failed
    opened.close()


# ---- a recording ----


def test_a_replay_is_the_recording() -> None:
    recording = made_recording(6, 5)
    opened = ReplayedProcess(recording)
    assert (opened.first, opened.end, opened.pid, opened.live) == (0, 5, 4711, False)
    assert opened.ended == "the process has ended"
    for number in range(5):
        assert opened.snapshot(number) is recording[number]
        assert opened.time_of(number) == number
    change = diff(recording[1], recording[2])
    assert opened.changes(2) == change_lines(change, 1 << 20).splitlines()
    assert opened.series(3, 2) == ([2.0, 3.0], recording.values("rss")[2:4])
    assert [opened.number_at(when) for when in (0.0, 0.9, 1.0, 3.7, 99.0)] == [0, 0, 1, 3, 4]
    with pytest.raises(IndexError):
        opened.read(5)
