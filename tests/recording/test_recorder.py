"""Recordings: what was seen through time, and what it tells together."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pickle
import pty
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import NoSuchProcess, ParseError, Process, Recorder, Recording, Snapshot, watch
from procmem.cli import main
from procmem.cli.record import seconds
from procmem.errors import AccessDenied, BadArgument
from procmem.experiments import Specimen
from procmem.recording.growth import grown
from procmem.snapshots.moment import Clock
from procmem.snapshots.saved import MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.targets import Target

PAGE = os.sysconf("SC_PAGE_SIZE")
COMMAND = [sys.executable, "-m", "procmem"]


@pytest.fixture
def specimen() -> Iterator[Specimen]:
    with Specimen() as one:
        yield one


def recorder(specimen: Specimen, **how: object) -> Recorder:
    return Recorder(Process(specimen.pid), **how)  # type: ignore[arg-type]


def steps(specimen: Specimen, made: Recorder, count: int) -> None:
    """Maps ten pages and touches them, again and again, with a look after each."""
    for _ in range(count):
        area = specimen.mmap(pages=10).mapping
        assert area is not None
        specimen.touch(area)
        time.sleep(0.002)
        assert made.turn() is not None


class TestRecorder:
    def test_only_changes_are_taken(self, specimen: Specimen) -> None:
        made = recorder(specimen)
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
        made = recorder(specimen)
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

    def test_it_ends_with_the_time(self, specimen: Specimen) -> None:
        made = recorder(specimen, every=0.01)
        begun = time.monotonic()
        assert made.run(0.1).ended == "the time is over"
        assert time.monotonic() - begun < 5

    def test_execve_is_followed(self) -> None:
        code = "import os, sys; sys.stdin.readline(); os.execv('/bin/sleep', ['sleep', '60'])"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
            made = Recorder(Process(child.pid), every=0.01)
            assert child.stdin is not None
            child.stdin.write(b"\n")
            child.stdin.flush()
            deadline = time.monotonic() + 30
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
            def snapshot(self, detail: str = "smaps", *, kinds: bool = True) -> Snapshot:
                found = super().snapshot(detail, kinds=kinds)
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
            def snapshot(self, detail: str = "smaps", *, kinds: bool = True) -> Snapshot:
                found = super().snapshot(detail, kinds=kinds)
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
        made = recorder(specimen, every=0.001, share=0.01, detail="smaps")
        costs = [0.0]
        begun = time.monotonic()
        with mapping(specimen, 0.001):
            made.run(0.5, lambda one, _: costs.append(one.cost))
        dearest = max(after - before for before, after in itertools.pairwise([*costs, made.cost]))
        assert made.cost <= 0.01 * (time.monotonic() - begun) + 3 * dearest
        assert made.turns < 300

    def test_how_it_ended(self) -> None:
        for code, told in (
            ("import sys; sys.stdin.read(); sys.exit(3)", "has ended with status 3"),
            ("import os, sys; sys.stdin.read(); os.kill(os.getpid(), 15)", "was ended by SIGTERM"),
        ):
            with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
                made, reaped = (Recorder(Process(child.pid), every=0.01) for _ in range(2))
                assert child.stdin is not None
                child.stdin.close()
                assert made.run(60).ended == f"the process {told}, and waits for its parent"
                child.wait(60)
            # Kernels before 6.15 don't tell it to strangers.
            assert reaped.run(60).ended in (f"the process {told}", "the process has ended")

    def test_it_goes_on_where_the_first_thread_ended(self, target: Target) -> None:
        target.exit_leader()
        made = Recorder(Process(target.pid), every=0.01)
        assert made.run(0.1).ended == "the time is over"
        assert made.turns > 1
        target.touch(target.map(4), 4)
        assert made.turn() is not None

    def test_beside_an_event_loop(self, tmp_path: Path) -> None:
        handlers = [signal.getsignal(one) for one in signal.valid_signals()]
        threads = threading.active_count()

        async def work() -> Recording:
            with procmem.record(every=0.002, path=tmp_path / "a.rec") as made:
                memory = procmem.mmap(pages=100)
                await asyncio.sleep(0.05)
                memory.close()
            return made.recording

        assert len(asyncio.run(work())) >= 1
        assert [signal.getsignal(one) for one in signal.valid_signals()] == handlers
        assert threading.active_count() == threads

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
            deadline = time.monotonic() + 30
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


class TestFile:
    def test_it_loads_as_it_was(self, specimen: Specimen, tmp_path: Path) -> None:
        path = tmp_path / "a.rec"
        made = recorder(specimen, path=path, keep=True)
        steps(specimen, made, 4)
        made.close()
        loaded = Recording.load(path)
        assert [one.to_dict() for one in loaded] == [one.to_dict() for one in made.recording]
        assert [one.to_dict() for one in Snapshot.load_all(path)] == [
            one.to_dict() for one in loaded
        ]
        again = tmp_path / "b.rec"
        loaded.save(again)
        assert [one.to_dict() for one in Recording.load(again)] == [one.to_dict() for one in loaded]

    def test_one_that_was_cut_off(self, specimen: Specimen, tmp_path: Path) -> None:
        path = tmp_path / "a.rec"
        made = recorder(specimen, path=path, keep=True)
        steps(specimen, made, 3)
        made.close()
        whole = path.read_bytes()
        path.write_bytes(whole[:-5])
        loaded = Recording.load(path)
        assert len(loaded) == len(made.recording) - 1
        assert loaded.ended == "the file was cut off"

    def test_every_cut_loads_to_the_last_whole_snapshot(
        self, specimen: Specimen, tmp_path: Path
    ) -> None:
        path, whole, ends = three_frames(specimen, tmp_path)
        every = Recording.load(path).values("vsz")
        for size in reversed(range(len(whole))):
            os.truncate(path, size)
            count = sum(end <= size for end in ends)
            if not count:
                with pytest.raises(ParseError):
                    Recording.load(path)
                continue
            loaded = Recording.load(path)
            assert loaded.values("vsz") == every[:count]
            assert loaded.ended == ("" if size in ends else "the file was cut off")

    def test_no_changed_byte_gets_through(self, specimen: Specimen, tmp_path: Path) -> None:
        path, whole, ends = three_frames(specimen, tmp_path)
        every = Recording.load(path)
        told = every.values("vsz"), every.times
        for place in changed_bytes(path, whole):
            count = sum(end <= place for end in ends)
            try:
                loaded = Recording.load(path)
            except ParseError as error:
                assert place < len(MAGIC) or f"snapshot {count + 1}, at byte" in str(error)
                if not count or place < len(MAGIC):
                    continue
                loaded = Recording.load(path, damaged=True)
                assert "damaged" in loaded.ended
            else:
                # A length that reaches behind the end looks like a file that was cut off.
                assert loaded.ended == "the file was cut off"
            assert (loaded.values("vsz"), loaded.times) == tuple(one[:count] for one in told)

    def test_snapshots_are_unpacked_when_asked_for(
        self, specimen: Specimen, tmp_path: Path
    ) -> None:
        path, whole, _ = three_frames(specimen, tmp_path)
        loaded = Recording.load(path)
        again = pickle.loads(pickle.dumps(loaded))
        path.unlink()
        assert [one.to_dict() for one in again] == [one.to_dict() for one in loaded]
        assert loaded[1:][0] == loaded[1] == loaded[-2]
        assert loaded[-1] is loaded[-1]
        assert len(loaded[::2]) == 2
        with pytest.raises(IndexError):
            loaded[3]
        # One that is emptied behind its back is found out.
        path.write_bytes(whole)
        loaded = Recording.load(path)
        path.write_bytes(b"")
        with pytest.raises(ParseError, match="snapshot 1"):
            loaded[0]

    def test_other_files_are_left_alone(self, specimen: Specimen, tmp_path: Path) -> None:
        path = tmp_path / "notes"
        path.write_text("dear diary")
        with pytest.raises(FileExistsError):
            recorder(specimen, path=path)
        assert path.read_text() == "dear diary"
        path = tmp_path / "a.rec"
        first = recorder(specimen, path=path)
        with pytest.raises(BlockingIOError):
            recorder(specimen, path=path)
        steps(specimen, first, 2)
        first.close()
        assert len(Recording.load(path)) == 3
        recorder(specimen, path=path).close()
        assert len(Recording.load(path)) == 1

    def test_what_is_no_recording(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        for content in (b"", b"something else"):
            path.write_bytes(content)
            with pytest.raises(ParseError):
                Recording.load(path)
        with pytest.raises(FileNotFoundError):
            Recording.load(tmp_path / "nothing")

    def test_a_recorder_that_is_killed_loses_nothing(
        self, specimen: Specimen, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.rec"
        words = [*COMMAND, "record", str(specimen.pid), "-o", str(path), "--every", "5ms"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as child:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and (not path.exists() or path.stat().st_size < 100):
                time.sleep(0.01)
            area = specimen.mmap(pages=10).mapping
            assert area is not None
            size = path.stat().st_size
            while time.monotonic() < deadline and path.stat().st_size == size:
                time.sleep(0.01)
            child.kill()
        assert Recording.load(path)[-1].regions.find(area.start) is not None

    def test_killed_at_random_moments(self, specimen: Specimen, tmp_path: Path) -> None:
        words = [*COMMAND, "record", str(specimen.pid), "--every", "1ms", "--share", "100"]
        moments = random.Random(5)
        with mapping(specimen, 0.001):
            for number in range(6):
                path = tmp_path / f"{number}.rec"
                with subprocess.Popen([*words, "-o", str(path)]) as child:
                    deadline = time.monotonic() + 60
                    while time.monotonic() < deadline and not (
                        path.exists() and path.stat().st_size > 1000
                    ):
                        time.sleep(0.001)
                    time.sleep(moments.random() / 5)
                    child.kill()
                loaded = Recording.load(path)
                assert loaded.ended in ("", "the file was cut off")
                assert loaded.times == sorted(loaded.times, key=float)  # type: ignore[arg-type]
                assert all(len(one.regions) for one in loaded)


class TestAnswers:
    def test_peak_and_growth(self, specimen: Specimen) -> None:
        made = recorder(specimen, detail="smaps")
        steps(specimen, made, 8)
        recording = made.recording
        peak, growth = recording.peak("vsz"), recording.growth("rss")
        assert peak is not None
        assert growth is not None
        assert (peak.value, peak.at) == (recording[-1].vsz, len(recording) - 1)
        assert growth.confidence == 1
        assert growth.last - growth.first == 80 * PAGE
        assert growth.slope > 0
        with pytest.raises(BadArgument, match="figures are"):
            recording.peak("pss")

    def test_a_leak_is_suspected(self, specimen: Specimen) -> None:
        steady = specimen.mmap(pages=100, prot="rx").mapping
        assert steady is not None
        specimen.process.snapshot()  # the first one of a program imports for 0.3 s
        made = recorder(specimen, detail="smaps")
        steps(specimen, made, 10)
        suspects = made.recording.suspects()
        assert [one.kind for one in suspects] == ["anon"]
        assert suspects[0].growth.last - suspects[0].growth.first == 100 * PAGE
        assert suspects[0].regions >= 10

    def test_what_comes_and_goes_is_no_leak(self, specimen: Specimen) -> None:
        made = recorder(specimen, detail="smaps")
        for _ in range(6):
            area = specimen.mmap(pages=100).mapping
            assert area is not None
            specimen.touch(area)
            made.turn()
            specimen.munmap(area)
            made.turn()
        assert made.recording.suspects() == []

    def test_leaks(self) -> None:
        """What leaks for 4 s, with a clock that makes the rate exact."""
        with Specimen(libc=True) as specimen:
            addresses: list[int] = []

            def mapped(_: int) -> None:
                area = specimen.mmap(pages=10).mapping
                assert area is not None
                specimen.touch(area)

            def allocated(_: int) -> None:
                for _ in range(20):
                    addresses.append(specimen.malloc(4000).address or 0)
                    specimen.touch(addresses[-1])

            for leak, kind, rate in (
                (mapped, "anon", 10 * PAGE * 10),
                (allocated, "heap", 20 * 4016 * 10),
            ):
                (suspect,) = paced(specimen, leak).suspects()
                assert (suspect.kind, suspect.figure) == (kind, "resident")
                assert suspect.growth.slope == pytest.approx(rate, rel=0.1)
                assert suspect.growth.confidence > 0.95

    def test_a_leak_that_some_moments_show(self, specimen: Specimen) -> None:
        """Where the recorder could often afford maps alone."""
        recording = paced(
            specimen,
            lambda _: specimen.mmap(pages=10, populate=True),
            ("smaps", "maps", "maps", "residency"),
        )
        assert recording.details.count("maps") == 20
        (suspect,) = recording.suspects()
        assert suspect.figure == "resident"
        assert suspect.growth.slope == pytest.approx(100 * PAGE)

    def test_a_cache_that_is_full_when_regions_are_measured_no_more(
        self, specimen: Specimen
    ) -> None:
        """Growth is judged by the totals, which every snapshot has."""
        area = specimen.mmap(pages=400).mapping
        assert area is not None

        def fill(number: int) -> None:
            if number < 32:
                specimen.touch(area, start=number * 10, pages=10)

        details = ["smaps"] * 31 + ["maps"] * 8 + ["smaps"]
        assert paced(specimen, fill, details).suspects() == []

    @pytest.mark.parametrize("details", [("smaps",), ("maps",) * 5 + ("smaps",)])
    def test_a_leak_below_what_comes_and_goes(
        self, specimen: Specimen, details: Sequence[str]
    ) -> None:
        area = specimen.mmap(pages=1000, prot="rx").mapping
        work = specimen.mmap(pages=1000).mapping
        leak = specimen.mmap(pages=400, prot="rwx").mapping
        assert area is not None
        assert work is not None
        assert leak is not None

        def go(number: int) -> None:
            specimen.touch(leak, start=number * 10, pages=10)
            if number % 4 < 2:
                specimen.touch(work)
            else:
                specimen.madvise(work, "dontneed")

        (suspect,) = paced(specimen, go, details).suspects()
        (place,) = suspect.places
        assert (place.start, suspect.figure) == (leak.start, "resident")
        assert suspect.rate == pytest.approx(100 * PAGE, rel=0.25)
        assert suspect.elsewhere == 0

    def test_one_arena_of_several(self, specimen: Specimen) -> None:
        """Two grow, one of them until the middle: the other one is named by its addresses."""
        with Specimen(libc=True) as threads:
            arenas: list[int] = []
            for _ in range(3):
                threads.thread()
                arenas.append(threads.malloc(1000, thread=len(arenas)).address or 0)
            pieces: list[int] = []

            def go(number: int) -> None:
                for thread in (0, 1) if number < 15 else (1,):
                    for _ in range(10):
                        pieces.append(threads.malloc(4000, thread=thread).address or 0)
                        threads.touch(pieces[-1])

            recording = paced(threads, go)
        (suspect,) = recording.suspects()
        assert suspect.kind == "arena"
        (place,) = suspect.places
        assert place.start <= arenas[1] < place.end
        assert not place.start <= arenas[0] < place.end
        # Thread IDs rise in the order in which threads begin.
        told = {one.arena: one.tid for one in recording[-1].threads or () if one.arena}
        assert sorted(told.values()) == [told[start & -(64 << 20)] for start in arenas]
        assert place.threads == ((told[place.start], "specimen_libc"),)
        assert Snapshot.from_json(recording[-1].to_json()).threads == recording[-1].threads

    def test_threads_that_never_end(self) -> None:
        with Specimen(libc=True) as threads:
            found = paced(threads, lambda _: threads.thread()).suspects()
        assert "thread stacks" in {one.name for one in found}
        assert next(one for one in found if one.name == "thread stacks").regions >= 38

    def test_files_that_stay_mapped(self, specimen: Specimen, tmp_path: Path) -> None:
        def go(number: int) -> None:
            path = tmp_path / f"{number}"
            path.write_bytes(bytes(20 * PAGE))
            specimen.mmap(pages=20, prot="r", file=path)

        (suspect,) = paced(specimen, go).suspects()
        assert (suspect.figure, suspect.kind) == ("size", "file")
        assert suspect.rate == pytest.approx(200 * PAGE, rel=0.1)

    def test_which_snapshot_has_all_where_the_process_ended(
        self, specimen: Specimen, tmp_path: Path
    ) -> None:
        details = ["smaps"] * 30 + ["maps"] * 10
        recording = paced(specimen, lambda _: specimen.mmap(pages=1), details)
        assert recording.last_full == 29
        path = tmp_path / "a.rec"
        recording.save(path)
        status, out, _ = command("record", "--report", path)
        assert status == 0
        told = " ".join(out.split())
        assert "The last snapshot with all details is number 29 of 2.9 s" in told
        assert "Compare FILE:0 with FILE:29." in told
        assert json.loads(command("record", "--report", path, "--json")[1])["last_full"] == 29
        assert procmem.diff(procmem.load(path, 0), procmem.load(path, 29)).rss is not None

    def test_a_leak_that_is_given_back_when_the_process_ends(self, specimen: Specimen) -> None:
        area = specimen.mmap(pages=400).mapping
        assert area is not None

        def go(number: int) -> None:
            if number < 39:
                specimen.touch(area, start=number * 10, pages=10)
            else:
                specimen.madvise(area, "dontneed")

        recording = paced(specimen, go)
        # One that runs on has no leak.
        assert recording.suspects() == []
        recording.ended = "the process has ended with status 0"
        (suspect,) = recording.suspects()
        assert suspect.rate == pytest.approx(100 * PAGE, rel=0.1)

    def test_shared_memory_that_grows(self, specimen: Specimen) -> None:
        area = specimen.mmap(pages=400, shared=True).mapping
        assert area is not None
        recording = paced(specimen, lambda n: specimen.touch(area, start=n * 10, pages=10))
        (suspect,) = recording.suspects()
        assert (suspect.kind, suspect.figure) == ("shared memory", "resident")
        assert [place.start for place in suspect.places] == [area.start]

    def test_a_leak_of_addresses_alone(self, specimen: Specimen) -> None:
        (suspect,) = paced(specimen, lambda _: specimen.mmap(pages=50)).suspects()
        assert (suspect.kind, suspect.figure) == ("anon", "size")
        assert suspect.growth.slope == pytest.approx(500 * PAGE)
        assert suspect.growth.confidence == 1

    @pytest.mark.parametrize("share", [0.25, 0.6, 0.75])
    def test_what_fills_and_stays_is_no_leak(self, specimen: Specimen, share: float) -> None:
        area = specimen.mmap(pages=400, prot="rw").mapping
        assert area is not None

        def fill(number: int) -> None:
            if number < 40 * share:
                specimen.touch(area, start=number * 10, pages=10)

        filled = paced(specimen, fill)
        assert filled.diff().rss == (400 * share - 10) * PAGE
        assert filled.suspects() == []

    def test_what_filled_before_a_long_quiet_is_no_leak(self, specimen: Specimen) -> None:
        made = recorder(specimen, detail="smaps")
        steps(specimen, made, 10)
        quiet = replace_clock(made.last, 100)
        grew = [replace_clock(one, number / 10) for number, one in enumerate(made.recording)]
        recording = Recording([*grew, quiet])
        assert recording.suspects() == []
        growth = recording.growth()
        assert growth is not None
        assert growth.confidence < 0.2
        assert Recording(grew).suspects() != []

    def test_a_sawtooth_is_no_leak(self, specimen: Specimen) -> None:
        area = specimen.mmap(pages=100).mapping
        assert area is not None

        def work(number: int) -> None:
            if number % 10 == 9:
                specimen.madvise(area, "dontneed")
            else:
                specimen.touch(area, start=number % 10 * 10, pages=10)

        assert paced(specimen, work).suspects() == []

    def test_a_file_that_is_read_is_no_leak(self, specimen: Specimen, tmp_path: Path) -> None:
        path = tmp_path / "data"
        path.write_bytes(bytes(400 * PAGE))
        area = specimen.mmap(pages=400, prot="r", file=path).mapping
        assert area is not None
        read = paced(
            specimen,
            lambda number: specimen.read(area, start=number * 10, pages=10),
        )
        assert read[-1].regions.find(area.start).rss == 400 * PAGE  # type: ignore[union-attr]
        assert read.suspects() == []

    def test_thousands_of_moments(self) -> None:
        times = [number / 10 for number in range(36_000)]
        growth = grown(times, [1000 * number for number in range(36_000)])
        assert growth is not None
        assert growth.slope == pytest.approx(10_000)
        assert growth.confidence == 1

    def test_lines(self) -> None:
        assert grown([0, 1], [5, 5]) == (0, 0, 5, 5)
        assert grown([0.0, 1.0, 2.0], [0, 10, 20]) == (10, 1, 0, 20)
        assert grown([0.0, 1.0, 2.0], [20, 10, 0]) == (-10, -1, 20, 0)
        # Of a hundred seconds one was growth.
        found = grown([0.0, 0.5, 1.0, 100.0], [0, 5, 10, 10])
        assert found is not None
        assert found.slope < 0.2
        assert grown([0.0, None], [1, 2]) is None
        assert grown([], []) is None


class TestWatch:
    def test_changes_as_they_happen(self, specimen: Specimen) -> None:
        found = watch(specimen.pid, every=0.01)
        with mapping(specimen):
            change = next(found)
        assert change.vsz % (10 * PAGE) == 0
        assert change.vsz > 0
        specimen.close()
        assert len(list(found)) <= 1


class TestCommands:
    def test_spans(self) -> None:
        assert [seconds(text) for text in ("100ms", "2", "0.5s", "2m", "1h", ".5")] == [
            0.1, 2, 0.5, 120, 3600, 0.5,
        ]  # fmt: skip
        for wrong in ("", "0", "-1", "ms", "1d", "1 s"):
            with pytest.raises(ValueError, match=f"^{wrong}$"):
                seconds(wrong)

    def test_record(self, specimen: Specimen, tmp_path: Path) -> None:
        path = tmp_path / "a.rec"
        words = [*COMMAND, "record", str(specimen.pid), "-o", str(path), "--for", "0.2s"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert "the time is over" in done.stdout
        assert len(Recording.load(path)) >= 1
        done = subprocess.run(
            [*words, "--json"], capture_output=True, text=True, check=False, timeout=60
        )
        assert json.loads(done.stdout)["ended"] == "the time is over"

    def test_a_report_of_what_was_recorded(self, specimen: Specimen, tmp_path: Path) -> None:
        path, whole, _ = three_frames(specimen, tmp_path)
        status, out, err = command("record", "--report", path)
        assert (status, err) == (0, "")
        assert f"Process {specimen.pid} " in out
        assert "\n3 snapshots in 0." in out
        status, out, _ = command("record", "--report", path, "--json")
        told = json.loads(out)
        assert (told["snapshots"], told["looks"]) == (3, None)
        assert told["details"] == {"smaps": 3}
        assert told["figures"]["vsz"]["peak"]["at"] == 2
        assert told["identity"]["pid"] == specimen.pid

        path.write_bytes(whole[:-3])
        status, out, err = command("record", "--report", path)
        assert (status, err) == (0, "")
        assert "2 snapshots" in out
        assert "the file was cut off" in out
        path.write_bytes(whole[:-3] + b"x" + whole[-2:])
        status, out, err = command("record", "--report", path)
        assert status == 1
        assert err.startswith(f"procmem record: {path}: snapshot 3, at byte ")
        assert err.count("\n") == 1
        assert "2 snapshots" in out
        path.write_bytes(b"something else")
        status, out, err = command("record", "--report", path)
        assert (status, out) == (1, "")
        assert "no recording" in err
        status, out, err = command("record", "--report", tmp_path / "none")
        assert (status, out) == (1, "")
        assert err == f"procmem record: {tmp_path}/none: No such file or directory\n"

    def test_usage(
        self, specimen: Specimen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for words in (
            [],
            [specimen.pid],
            ["-o", tmp_path / "a"],
            ["--report", "a", specimen.pid],
            ["--report", "a", "-o", "b"],
        ):
            with pytest.raises(SystemExit) as ended:
                main(["record", *map(str, words)])
            assert ended.value.code == 2
            assert "usage: procmem record" in capsys.readouterr().err

    def test_where_it_can_not_write(self, specimen: Specimen, tmp_path: Path) -> None:
        notes = tmp_path / "notes"
        notes.write_text("dear diary")
        cases = {
            notes: "it is there and no snapshot or recording: name another file, or overwrite it "
            "with --force",
            tmp_path / "no" / "a.rec": "No such file or directory",
            tmp_path: "Is a directory",
        }
        forced = {Path("/dev/full"): "No space left on device"}
        if os.path.exists("/dev/full"):
            cases |= forced
        for path, reason in cases.items():
            more = ["--force"] if path in forced else []
            status, out, err = command("record", specimen.pid, "-o", path, *more)
            assert (status, out, err) == (1, "", f"procmem record: {path}: {reason}\n")

    def test_a_full_disk_keeps_what_was_written(self, specimen: Specimen, tmp_path: Path) -> None:
        path = tmp_path / "a.rec"
        limit = f"ulimit -f 8; exec {sys.executable} -m procmem record {specimen.pid}"
        with mapping(specimen, 0.002):
            done = subprocess.run(
                ["sh", "-c", f"{limit} -o {path} --every 2ms --share 100"],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == f"procmem record: {path}: File too large\n"
        assert "it could not be written any more" in " ".join(done.stdout.split())
        loaded = Recording.load(path)
        assert loaded.ended == ""
        assert f"\n{len(loaded)} snapshots" in done.stdout

    def test_output_that_is_no_file(self, specimen: Specimen) -> None:
        read, write = os.pipe()
        with os.fdopen(read, "rb") as end:
            words = [*COMMAND, "record", str(specimen.pid), "-o", f"/dev/fd/{write}", "--force"]
            done = subprocess.run(
                [*words, "--for", "0.2s"], pass_fds=[write], capture_output=True, text=True,
                check=False, timeout=60,
            )  # fmt: skip
            os.close(write)
            assert (done.returncode, done.stderr) == (0, "")
            assert end.read().startswith(MAGIC)
        assert "the time is over" in done.stdout

    @pytest.mark.parametrize("quiet", [False, True])
    def test_progress_on_a_terminal(self, specimen: Specimen, tmp_path: Path, quiet: bool) -> None:
        terminal, end = pty.openpty()
        words = [*COMMAND, "record", str(specimen.pid), "-o", str(tmp_path / "a.rec")]
        words += ["--for", "1s", *(["--quiet"] if quiet else [])]
        with os.fdopen(terminal, "rb", buffering=0) as screen:
            done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=end, check=False)
            os.write(end, b"!")
            os.close(end)
            told = b""
            while not told.endswith(b"!"):
                told += screen.read(4096)
        assert done.returncode == 0
        if quiet:
            assert told == b"!"
        else:
            assert b"snapshots, RSS" in told
            assert b"\n" not in told
            assert told.startswith(b"\r\x1b[K")
            assert told.endswith(b"\r\x1b[K!")

    @pytest.mark.parametrize(
        "number, told", [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
    )
    def test_signals_end_a_recording_well(
        self, specimen: Specimen, tmp_path: Path, number: signal.Signals, told: str
    ) -> None:
        path = tmp_path / "a.rec"
        words = [*COMMAND, "record", str(specimen.pid), "-o", str(path)]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and (not path.exists() or path.stat().st_size < 100):
                time.sleep(0.01)
            time.sleep(0.3)
            child.send_signal(number)
            out, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, "")
        assert told in out
        assert Recording.load(path).ended == ""

    @pytest.mark.parametrize("command", ["record", "watch"])
    def test_what_is_not_there(self, command: str, tmp_path: Path) -> None:
        more = ["-o", str(tmp_path / "a")] if command == "record" else []
        words = [*COMMAND, command, "2147483646", *more]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"procmem {command}: process 2147483646: no such process\n"
        assert not (tmp_path / "a").exists()

    def test_watch(self, specimen: Specimen) -> None:
        words = [*COMMAND, "watch", str(specimen.pid), "--every", "20ms"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child, mapping(specimen):
            assert child.stdout is not None
            assert "VSZ +" in child.stdout.readline()
            assert "mapped" in child.stdout.readline()
            specimen.close()
            out = child.communicate(timeout=60)[0]
            assert child.returncode == 0
            assert re.search(r"^\d\d:\d\d:\d\d  the process ", out.splitlines()[-1])

    def test_watch_as_json(self, specimen: Specimen) -> None:
        words = [*COMMAND, "watch", str(specimen.pid), "--every", "20ms", "--json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child, mapping(specimen):
            assert child.stdout is not None
            first = json.loads(child.stdout.readline())
            specimen.close()
            lines = child.communicate(timeout=60)[0].splitlines()
        assert first["vsz"] > 0
        assert json.loads(lines[-1])["ended"].startswith("the process ")
        assert all("changes" in json.loads(line) for line in lines[:-1])

    def test_a_reader_of_watch_may_go(self, specimen: Specimen) -> None:
        words = [*COMMAND, "watch", str(specimen.pid), "--every", "20ms"]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child, mapping(specimen):  # fmt: skip
            assert child.stdout is not None
            assert child.stderr is not None
            child.stdout.readline()
            child.stdout.close()
            assert child.wait(60) == 141
            assert child.stderr.read() == b""


def command(*words: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def three_frames(specimen: Specimen, directory: Path) -> tuple[Path, bytes, list[int]]:
    """A recording of three snapshots, its bytes, and where each snapshot ends."""
    path = directory / "three.rec"
    made = recorder(specimen, path=path, detail="smaps")
    ends = [path.stat().st_size]
    for _ in range(2):
        steps(specimen, made, 1)
        ends.append(path.stat().st_size)
    made.close()
    return path, path.read_bytes(), ends


def changed_bytes(path: Path, whole: bytes) -> Iterator[int]:
    """The places of a file, each while another byte stands there."""
    with path.open("r+b", buffering=0) as file:
        for place, byte in enumerate(whole):
            os.pwrite(file.fileno(), bytes([byte ^ 0x55]), place)
            yield place
            os.pwrite(file.fileno(), bytes([byte]), place)


def replace_clock(snapshot: Snapshot, seconds: float) -> Snapshot:
    nanoseconds = round(seconds * 1e9)
    return replace(snapshot, clock=Clock(nanoseconds, nanoseconds, nanoseconds))


def paced(
    specimen: Specimen, work: Callable[[int], object], details: Sequence[str] = ("smaps",)
) -> Recording:
    """Real snapshots after each of 40 pieces of work, as if each had taken 100 ms."""
    found = []
    for number, detail in zip(range(40), itertools.cycle(details), strict=False):
        work(number)
        found.append(replace_clock(specimen.process.snapshot(detail), number / 10))
    return Recording(found)


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


@contextmanager
def mapping(specimen: Specimen, every: float = 0.05) -> Iterator[None]:
    """A process that maps ten pages, again and again."""
    done = threading.Event()

    def work() -> None:
        with suppress(BadArgument, NoSuchProcess):
            while not done.wait(every):
                specimen.mmap(10 * PAGE)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()
