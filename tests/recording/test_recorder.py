"""Recording live processes: what is taken, at which level of detail, and how it ends."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import NoSuchProcess, Process, Recorder, Recording, Snapshot, watch
from procmem.errors import AccessDenied, BadArgument
from procmem.experiments import Specimen
from tests.support.recordings import PAGE, mapping, recorder, steps

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.targets import Target


class TestRecorder:
    def test_only_changes_are_taken(self, specimen: Specimen) -> None:
        # After ten seconds, or `every`, a snapshot shows that nothing has changed.
        made = recorder(specimen, every=1000)
        made.turn()  # what it compares with from now on
        taken = made.taken
        for _ in range(5):
            assert made.turn() is None
        assert made.taken == taken
        steps(specimen, made, 1)
        assert made.taken == taken + 1

    def test_every_byte_is_in_it(self, specimen: Specimen) -> None:
        made = recorder(specimen, detail="smaps")
        steps(specimen, made, 6)
        recording = made.recording
        found = recording.diff()
        assert (found.vsz, found.rss, found.minor) == (60 * PAGE, 60 * PAGE, 60)
        assert not found.remainder
        assert recording[-1].memory == specimen.process.memory()

    def test_a_change_of_protection_alone_is_seen(self, specimen: Specimen) -> None:
        area = specimen.mmap(pages=4).mapping
        assert area is not None
        # If reading maps takes more than `share` of `every`, it waits for a later turn.
        made = recorder(specimen, every=1000, share=1.0)
        made.turn()
        specimen.mprotect(area, "r")
        assert made.turn() is not None

    def test_the_cheapest_detail_where_time_is_short(self, specimen: Specimen) -> None:
        made = recorder(specimen, every=1e-6, share=1e-6)
        steps(specimen, made, 4)
        assert [one.detail for one in made.recording][-1] == "maps"

    def test_it_ends_with_the_process(self) -> None:
        specimen = Specimen()
        made = recorder(specimen, every=0.01)
        specimen.close()
        recording = made.run(5)
        assert recording.ended.startswith(("the process has ended", "the process was ended by"))
        assert len(recording) == 1

    def test_a_plateau_before_the_end_is_in_it(self, clock: FakeTime) -> None:
        """What filled up, and then stayed as it was, has not grown until the end."""
        with Specimen() as specimen:
            made = recorder(specimen, every=0.01)
            steps(specimen, made, 3)
            before = made.last
            clock.wall += 5
            assert made.turn() is None
        recording = made.run(5)
        assert len(recording) == 5
        last = recording[-1]
        assert last.clock is not None
        assert before.clock is not None
        assert last.clock.monotonic > before.clock.monotonic
        assert last.regions.to_dict() == before.regions.to_dict()
        assert (last.memory, last.faults, last.heap) == (before.memory, before.faults, None)

    def test_it_ends_with_the_time(self, specimen: Specimen) -> None:
        made = recorder(specimen, every=0.01)
        assert made.run(0.1).ended == "the time is over"

    def test_execve_is_followed(self) -> None:
        code = "import os, sys; sys.stdin.readline(); os.execv('/bin/sleep', ['sleep', '60'])"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
            made = Recorder(Process(child.pid), every=0.01)
            assert child.stdin is not None
            child.stdin.write(b"\n")
            child.stdin.flush()
            deadline = time.monotonic() + 300
            while time.monotonic() < deadline:
                made.run(0.05)
                made.ended = ""
                if made.last.identity.comm == "sleep":
                    break
            child.kill()
        assert made.last.identity.comm == "sleep"

    def test_a_quiet_process_is_told_of_now_and_then(
        self, specimen: Specimen, clock: FakeTime
    ) -> None:
        made = recorder(specimen, every=0.1)
        for _ in range(1000):
            clock.wall += 0.1
            made.turn()
        assert 9 <= made.taken - 1 <= 10
        assert made.turns == 1000

    def test_details_follow_what_they_cost(self, specimen: Specimen, clock: FakeTime) -> None:
        dear = {"smaps": 10e-6, "residency": 2e-6, "maps": 5e-9}
        taken: list[str] = []

        class Priced(Process):
            def snapshot(
                self, detail: str = "smaps", *, kinds: bool = True, heap: bool = False
            ) -> Snapshot:
                found = super().snapshot(detail, kinds=kinds, heap=heap)
                assert found.rss is not None
                clock.cpu += dear[detail] * (found.rss // PAGE)
                taken.append(detail)
                return found

        small = specimen.mmap(pages=400).mapping
        assert small is not None
        made = Recorder(Priced(specimen.pid), every=0.1, share=0.02)

        def turns(count: int) -> list[str]:
            taken.clear()
            for number in range(count):
                clock.wall += 0.1
                specimen.touch(small, start=number % 200, pages=1)
                specimen.madvise(small, "dontneed", start=number % 200, pages=1)
                assert made.turn() is not None
            return taken

        # 2 ms a turn: smaps of this process takes less.
        assert set(turns(20)) == {"smaps"}
        large = specimen.mmap(pages=20_000, populate=True).mapping
        assert large is not None
        # Now it takes 200 ms, all that may be saved up, and residency 40 ms.
        found = turns(100)
        assert found.count("smaps") <= 1
        assert found.count("maps") > found.count("residency") > 0
        assert clock.cpu <= made.share * clock.wall + 0.25
        specimen.munmap(large)
        turns(100)
        assert set(turns(20)) == {"smaps"}

    def test_the_last_snapshot_has_all_details(self, specimen: Specimen) -> None:
        """However dear that is; nothing but the end asks for it here."""
        made = recorder(specimen, every=0.01, share=1e-6)
        area = specimen.mmap(pages=30, populate=True).mapping
        assert area is not None
        recording = made.run(0.05)
        assert (recording[0].detail, recording[-1].detail) == ("smaps", "smaps")
        assert recording.last_full == len(recording) - 1
        found = recording.diff()
        assert (found.rss, bool(found.remainder)) == (30 * PAGE, False)
        (change,) = found.changes
        assert change.rss == 30 * PAGE

    @pytest.mark.parametrize("detail", ["maps", "residency"])
    def test_a_detail_that_is_asked_for_is_kept(self, specimen: Specimen, detail: str) -> None:
        made = recorder(specimen, every=0.01, detail=detail)
        specimen.mmap(pages=3)
        assert set(made.run(0.03).details) == {detail}
        assert made.recording.last_full == len(made.recording) - 1

    def test_dear_details_are_saved_for(self, specimen: Specimen, clock: FakeTime) -> None:
        """Poorer ones at every turn don't take all, however much they cost."""
        taken: list[tuple[float, str]] = []

        class Priced(Process):
            def snapshot(
                self, detail: str = "smaps", *, kinds: bool = True, heap: bool = False
            ) -> Snapshot:
                found = super().snapshot(detail, kinds=kinds, heap=heap)
                clock.cpu += {"smaps": 0.1, "residency": 0.05, "maps": 0.004}[detail]
                taken.append((clock.wall, detail))
                return found

        area = specimen.mmap(pages=600).mapping
        assert area is not None
        made = Recorder(Priced(specimen.pid), every=0.1, share=0.02)
        for number in range(600):
            clock.wall += max(0.1, -(made._credit - made._set_aside) / made._income)
            specimen.touch(area, start=number, pages=1)
            specimen.madvise(area, "dontneed", start=number, pages=1)
            made.turn()
        moments = [when for when, detail in taken if detail == "smaps"]
        pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
        # 100 ms of CPU are half of 2 % in 10 s.
        assert len(moments) > 5
        assert max(pauses[1:]) < 20
        assert clock.cpu <= 0.02 * clock.wall + 0.25

    def test_turns_are_put_off_where_all_is_too_dear(self, specimen: Specimen) -> None:
        begun = time.monotonic()  # the share counts from here on: on a busy machine this takes long
        made = recorder(specimen, every=0.001, share=0.01, detail="smaps")
        costs = [0.0]
        with mapping(specimen, 0.001):
            made.run(0.5, lambda one, _: costs.append(one.cost))
        dearest = max(after - before for before, after in itertools.pairwise([*costs, made.cost]))
        assert made.cost <= 0.01 * (time.monotonic() - begun) + 3 * dearest
        assert made.turns < 300

    def test_it_goes_on_where_the_first_thread_ended(self, target: Target) -> None:
        target.exit_leader()
        made = Recorder(Process(target.pid), every=0.01)
        for _ in range(100):  # on a slow machine one turn takes longer than 0.1 s
            assert made.run(0.1).ended == "the time is over"
            if made.turns > 1:
                break
        assert made.turns > 1
        target.touch(target.map(4), 4)
        assert made.turn() is not None

    def test_beside_an_event_loop(self, tmp_path: Path) -> None:
        handlers = [signal.getsignal(one) for one in signal.valid_signals()]
        threads = set(threading.enumerate())

        async def work() -> Recording:
            with procmem.record(every=0.002, path=tmp_path / "a.rec") as made:
                memory = procmem.mmap(pages=100)
                await asyncio.sleep(0.05)
                memory.close()
            return made.recording

        assert len(asyncio.run(work())) >= 1
        assert [signal.getsignal(one) for one in signal.valid_signals()] == handlers
        # A thread of another test may end meanwhile.
        assert set(threading.enumerate()) <= threads

    def test_a_child_is_not_its_parent(self) -> None:
        code = "import os, sys; sys.stdin.readline(); os.fork() or bytearray(1 << 26)"
        code += "; sys.stdin.readline()"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
            made = Recorder(Process(child.pid), every=0.01)
            assert child.stdin is not None
            child.stdin.write(b"\n")
            child.stdin.flush()
            recording = made.run(0.3)
            child.kill()
        peak = recording.peak("vsz")
        assert peak is not None
        assert peak.value - recording[0].vsz < 1 << 26

    def test_what_can_not_be_recorded(self, specimen: Specimen) -> None:
        for wrong in ({"every": 0}, {"share": 0}, {"share": 2}, {"detail": "all"}):
            with pytest.raises(BadArgument):
                recorder(specimen, **wrong)
        specimen.close()
        with pytest.raises(NoSuchProcess):
            recorder(specimen)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every process")
    def test_what_is_denied(self) -> None:
        with pytest.raises(AccessDenied):
            Recorder(Process(1))

    def test_in_the_background(self) -> None:
        with procmem.record(every=0.005) as made:
            memory = procmem.mmap(pages=3000)
            memory.touch()
            deadline = time.monotonic() + 300
            while made.taken < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
        peak = made.recording.peak("rss")
        assert peak is not None
        assert peak.value >= 3000 * PAGE
        assert made.recording.ended == "stopped"
        memory.close()

    def test_what_fails_in_the_background_is_told(self, specimen: Specimen) -> None:
        if not os.path.exists("/dev/full"):
            pytest.skip("there is no /dev/full")
        with pytest.raises(OSError, match="No space"):
            recorder(specimen, path="/dev/full", force=True)


class TestWatch:
    def test_changes_as_they_happen(self, specimen: Specimen) -> None:
        found = watch(specimen.pid, every=0.01)
        with mapping(specimen):
            # What is mapped while the first snapshot is taken may be in its totals already, and
            # not in its regions: then the first change has none of it in VSZ.
            change = next(one for one in found if one.vsz)
        assert change.vsz % (10 * PAGE) == 0
        assert change.vsz > 0
        specimen.close()
        assert len(list(found)) <= 1


class FakeTime:
    """Stands for the module time: its clocks go when they are told to."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def monotonic(self) -> float:
        return self.wall

    def thread_time(self) -> float:
        return self.cpu


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    made = FakeTime()
    monkeypatch.setattr("procmem.recording.recorder.time", made)
    return made
