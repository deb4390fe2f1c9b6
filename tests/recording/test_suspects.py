"""Which regions are suspected of a leak, and which are not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from procmem import Process, Recording, RegionKind, Snapshot
from procmem.experiments import Specimen
from procmem.procfs import probes
from procmem.recording.growth import grown
from tests.support.recordings import PAGE, paced, recorder, replace_clock, steps
from tests.support.specimens import in_memory
from tests.support.stacks import has_marked_guards

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class TestAnswers:
    def test_a_leak_is_suspected(self, specimen: Specimen) -> None:
        steady = specimen.mmap(pages=100, prot="rx").mapping
        assert steady is not None
        made = recorder(specimen, detail="smaps")
        steps(specimen, made, 10)
        # A step that took longer than the others on a busy machine would be a pause of the growth.
        even = [replace_clock(one, number / 10) for number, one in enumerate(made.recording)]
        suspects = Recording(even).suspects()
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

    @pytest.mark.parametrize("lags", [False, True])
    def test_a_leak_that_some_moments_show(
        self, specimen: Specimen, monkeypatch: pytest.MonkeyPatch, lags: bool
    ) -> None:
        """Where the recorder could often afford maps alone, whether VmRSS lags or not."""
        if lags:
            monkeypatch.setattr(probes, "counters_lag", lambda: True)
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

        recording = paced(specimen, go, details)
        if recording.rss_error:
            # 400 pages are less than VmRSS may be off where it lags, and few snapshots are exact.
            assert recording.suspects() == []
            return
        (suspect,) = recording.suspects()
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
            # The kernel lists threads in the order in which they began; their IDs may start anew.
            main, *begun = map(int, os.listdir(f"/proc/{threads.pid}/task"))
        (suspect,) = recording.suspects()
        assert main == threads.pid
        assert suspect.kind == "arena"
        (place,) = suspect.places
        assert place.start <= arenas[1] < place.end
        assert not place.start <= arenas[0] < place.end
        told = {one.arena: one.tid for one in recording[-1].threads or () if one.arena}
        assert begun == [told[start & -(64 << 20)] for start in arenas]
        assert place.threads == ((told[place.start], "specimen_libc"),)
        assert Snapshot.from_json(recording[-1].to_json()).threads == recording[-1].threads

    def test_threads_that_never_end(self) -> None:
        with Specimen(libc=True) as threads:
            found = paced(threads, lambda _: threads.thread()).suspects()
            table = Process(threads.pid).maps()
            stack = next(one for one in table if one.kind is RegionKind.THREAD_STACK)
            one_region = has_marked_guards(table, stack)
        assert "thread stacks" in {one.name for one in found}
        suspect = next(one for one in found if one.name == "thread stacks")
        assert suspect.regions >= (1 if one_region else 38)

    def test_files_that_stay_mapped(self, specimen: Specimen, tmp_path: Path) -> None:
        def go(number: int) -> None:
            path = tmp_path / f"{number}"
            path.write_bytes(bytes(20 * PAGE))
            specimen.mmap(pages=20, prot="r", file=path)

        (suspect,) = paced(specimen, go).suspects()
        assert (suspect.figure, suspect.kind) == ("size", "file")
        assert suspect.rate == pytest.approx(200 * PAGE, rel=0.1)

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
        with in_memory(path):
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
