"""Recordings: what was seen through time, and what it tells together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import NoSuchProcess, ParseError, Process, Recorder, Recording, Snapshot, watch
from procmem.cli.record import seconds
from procmem.errors import BadArgument
from procmem.experiments import Specimen
from procmem.history.recording import grown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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

    def test_what_can_not_be_recorded(self, specimen: Specimen) -> None:
        for wrong in ({"every": 0}, {"share": 0}, {"share": 2}, {"detail": "all"}):
            with pytest.raises(BadArgument):
                recorder(specimen, **wrong)
        specimen.close()
        with pytest.raises(NoSuchProcess):
            recorder(specimen)

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
            recorder(specimen, path="/dev/full")


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

    def test_lines(self) -> None:
        assert grown([0, 1], [5, 5]) == (0, 0, 5, 5)
        assert grown([0.0, 1.0, 2.0], [0, 10, 20]) == (10, 1, 0, 20)
        assert grown([0.0, 1.0, 2.0], [20, 10, 0]) == (-10, -1, 20, 0)
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

    def test_ctrl_c_ends_a_recording_well(self, specimen: Specimen, tmp_path: Path) -> None:
        path = tmp_path / "a.rec"
        words = [*COMMAND, "record", str(specimen.pid), "-o", str(path)]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and (not path.exists() or path.stat().st_size < 100):
                time.sleep(0.01)
            time.sleep(0.3)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, "")
        assert "interrupted" in out

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
            child.communicate(timeout=60)
            assert child.returncode == 0


@contextmanager
def mapping(specimen: Specimen) -> Iterator[None]:
    """A process that maps ten pages every 50 ms."""
    done = threading.Event()

    def work() -> None:
        with suppress(BadArgument, NoSuchProcess):
            while not done.wait(0.05):
                specimen.mmap(10 * PAGE)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()
