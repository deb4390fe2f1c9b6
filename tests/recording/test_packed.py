"""Files of recordings: what is cut off, damaged, or belongs to others."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from procmem import ParseError, Recording, Snapshot
from procmem.snapshots.saved import MAGIC
from tests.support.blocking import until
from tests.support.recordings import COMMAND, mapping, recorder, steps, three_frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from procmem.experiments import Specimen


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
            until(lambda: len(written(path)) > 0)
            area = specimen.mmap(pages=10).mapping
            assert area is not None
            # The snapshot that is being taken meanwhile may not have it yet.
            until(lambda: written(path)[-1].regions.find(area.start) is not None)
            child.kill()
        assert Recording.load(path)[-1].regions.find(area.start) is not None

    def test_killed_at_random_moments(self, specimen: Specimen, tmp_path: Path) -> None:
        words = [*COMMAND, "record", str(specimen.pid), "--every", "1ms", "--share", "100"]
        moments = random.Random(5)
        with mapping(specimen, 0.001):
            for number in range(6):
                path = tmp_path / f"{number}.rec"
                with subprocess.Popen([*words, "-o", str(path)]) as child:
                    deadline = time.monotonic() + 300
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


def written(path: Path) -> Recording:
    """What a recorder has written so far."""
    try:
        return Recording.load(path)
    except (FileNotFoundError, ParseError):
        return Recording([])


def changed_bytes(path: Path, whole: bytes) -> Iterator[int]:
    """The places of a file, each while another byte stands there."""
    with path.open("r+b", buffering=0) as file:
        for place, byte in enumerate(whole):
            os.pwrite(file.fileno(), bytes([byte ^ 0x55]), place)
            yield place
            os.pwrite(file.fileno(), bytes([byte]), place)
