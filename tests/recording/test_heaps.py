"""Suspects: live memory, memory that was freed and kept, and fragmentation are told apart."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from procmem import MiB, Process, Recorder, Recording
from procmem.recording.heaps import heap_growth
from procmem.recording.recorder import SMALL_HEAP
from procmem.snapshots.heaps import ArenaSummary, HeapSummary
from procmem.view.recording import recording_dict, recording_summary
from tests.support.allocating import anonymous
from tests.support.holding import Holding, built_holding
from tests.support.recordings import command, replace_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from procmem.recording.suspects import Suspect

GLIBC = "CS_GNU_LIBC_VERSION" in os.confstr_names
pytestmark = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")

ROUNDS = 24


@pytest.fixture
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holding]:
    with Holding(built_holding(str(tmp_path_factory.getbasetemp()))) as started:
        yield started


def recorded(
    target: Holding, work: Callable[[int], Sequence[str]], heaps: Sequence[int] = (0, ROUNDS - 1)
) -> Recording:
    """Snapshots after each round of work, as if each had taken 100 ms; some with the heap."""
    process, found = Process(target.pid), []
    for number in range(ROUNDS):
        for line in work(number):
            target.ask(line)
        one = process.snapshot(heap=number in heaps)
        found.append(replace_clock(one, number / 10))
    return Recording(found)


def only(recording: Recording) -> Suspect:
    (found,) = recording.suspects()
    assert found.kind == "heap"
    return found


def sentence(recording: Recording) -> str:
    return " ".join(recording_summary(recording).split())


def test_a_leak_of_live_memory(target: Holding) -> None:
    recording = recorded(target, lambda _: ["leak 1"])
    heap = only(recording).heap
    assert heap is not None
    assert (heap.verdict, heap.certain) == ("live", True)
    assert heap.in_use == pytest.approx((ROUNDS - 1) * MiB, rel=0.05)
    assert heap.resident_free < MiB
    assert "It is live: malloc has" in sentence(recording)
    assert "A leak, or something that was not full yet." in sentence(recording)


def test_memory_that_is_freed_and_kept(target: Holding) -> None:
    """Each round takes 1 MiB more than the last, and frees it below a piece that stays."""
    recording = recorded(target, lambda number: [f"take {number + 1}", "drop"])
    heap = only(recording).heap
    assert heap is not None
    assert heap.verdict == "kept"
    assert heap.resident_free > 0.75 * heap.gained > 0
    assert heap.in_use < MiB
    process = Process(target.pid)
    before = anonymous(process)
    target.ask("trim")
    assert before - anonymous(process) == heap.trimmable_now
    assert "It is not live: malloc has" in sentence(recording)
    assert "leak" not in sentence(recording)


def test_fragmentation(target: Holding) -> None:
    """Holes between pieces that stay: the next round's pieces are too large for them."""
    recording = recorded(target, lambda _: ["holes 1"])
    heap = only(recording).heap
    assert heap is not None
    assert heap.verdict == "fragmented"
    assert heap.resident_free > 0.75 * heap.gained > 0
    assert heap.trimmable < 0.5 * heap.resident_free
    assert "It is fragmentation: malloc has" in sentence(recording)
    assert "leak" not in sentence(recording)


def test_live_and_free_both_grow(target: Holding) -> None:
    recording = recorded(target, lambda _: ["leak 1 60000", "holes 1"])
    heap = only(recording).heap
    assert heap is not None
    assert heap.verdict == "mixed"
    assert "It is both live and free" in sentence(recording)


def test_large_allocations_are_mappings(target: Holding) -> None:
    recording = recorded(target, lambda _: ["maps 1"])
    (one,) = [one for one in recording.suspects() if one.figure == "resident"]
    assert one.kind == "anon"
    assert one.heap is not None
    assert one.heap.verdict == "live"


def test_the_summary_at_the_beginning_of_the_growth_counts(target: Holding) -> None:
    """What was freed before that is not what grows."""

    def work(number: int) -> list[str]:
        return ["take 60", "drop", "trim"] if number == 1 else ["leak 8"] if number > 9 else []

    recording = recorded(target, work, heaps=(0, 3, 5, ROUNDS - 1))
    one = only(recording)
    assert not one.whole
    assert one.heap is not None
    assert (one.heap.since, one.heap.verdict) == (0.5, "live")


def test_without_two_summaries_nothing_is_said_of_the_cause(target: Holding) -> None:
    recording = recorded(target, lambda _: ["leak 1"], heaps=(0,))
    assert only(recording).heap is None
    assert "It looks like a leak, or something that was not full yet" in sentence(recording)


def summary(in_use: int, free: int = 0, trimmable: int = 0) -> HeapSummary:
    return HeapSummary(
        "glibc malloc", (ArenaSummary(4096, True, in_use + free, in_use, 0, free, free, trimmable),)
    )


def test_a_growth_that_the_heap_does_not_account_for() -> None:
    """The program's own mappings beside the heap, for example."""
    before, after = summary(MiB), summary(2 * MiB)
    assert heap_growth("heap", 10 * MiB, before, after, 0, 1) is None
    assert heap_growth("stack", MiB, before, after, 0, 1) is None
    assert heap_growth("heap", 0, before, after, 0, 1) is None
    found = heap_growth("heap?", MiB, before, after, 0, 1)
    assert found is not None
    assert found.verdict == "live"


def test_python_s_arenas_count_as_their_own() -> None:
    before = HeapSummary(None, (), python_system=MiB, python_in_use=MiB // 2, python_free=0)
    live = before._replace(python_system=9 * MiB, python_in_use=8 * MiB)
    pinned = before._replace(python_system=9 * MiB, python_in_use=MiB)
    found = heap_growth("anon", 8 * MiB, before, live, 0, 1)
    assert found is not None
    assert (found.verdict, found.allocator) == ("live", "Python")
    found = heap_growth("anon", 8 * MiB, before, pinned, 0, 1)
    assert found is not None
    assert found.verdict == "fragmented"


@pytest.mark.parametrize("heap", [True, None, False])
def test_a_recorder_reads_the_heap_first_and_last(
    target: Holding, heap: bool | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.rec"
    # With the whole CPU at its disposal, so that it does not depend on how busy that is.
    made = Recorder(Process(target.pid), path=path, every=0.001, heap=heap, share=1.0)
    target.ask("leak 8")
    assert made.turn() is not None
    made.run(0.002)
    made.close()
    recording = Recording.load(path)
    assert [recording[at].heap is not None for at in (0, -1)] == [heap is not False] * 2
    if heap is not False:
        found = recording.diff().heap
        assert found is not None
        assert found.in_use == pytest.approx(8 * MiB, rel=0.1)


@pytest.mark.parametrize("times, read", [(5, True), (20, False)])
def test_the_last_reading_may_cost_more_than_the_first(
    target: Holding, times: int, read: bool
) -> None:
    made = Recorder(Process(target.pid))
    assert made.last.heap is not None
    made._heap_price = times * made._heap_most / SMALL_HEAP
    made._taken_at -= 1.0  # so that the last one is taken at all
    made.ask_to_stop()
    assert (made.run()[-1].heap is not None) is read


def test_a_recorder_reads_the_heap_when_it_has_grown(
    target: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that something is known of a process that ends by itself."""
    monkeypatch.setattr("procmem.recording.recorder.HEAP_PAUSE", 0.0)
    made = Recorder(Process(target.pid), detail="smaps", heap=True)
    made._heap_income, made._heap_most = 0.0, 10.0  # however long it takes
    for command_line, saved, read in (
        ("leak 8", 0.0, False),  # it can't be afforded yet
        ("leak 8", 10.0, True),
        ("maps 0", 10.0, False),  # it has not grown
        ("leak 8", 10.0, True),  # by more than counters hold back where they lag
    ):
        made._heap_saved = saved
        target.ask(command_line)
        made._seen = made._seen._replace(statm=b"")  # so that there is something new each time
        found = made.turn()
        assert found is not None
        assert (found.heap is not None) is read
    assert made._heap_saved < 10.0
    made.close()


def test_the_report_has_it_as_json(target: Holding, tmp_path: Path) -> None:
    recording = recorded(target, lambda _: ["holes 1"])
    recording.save(tmp_path / "a.rec")
    status, out, _ = command("record", "--report", tmp_path / "a.rec", "--json")
    assert status == 0
    (suspect,) = json.loads(out)["suspects"]
    assert suspect["heap"]["verdict"] == "fragmented"
    assert suspect == json.loads(json.dumps(recording_dict(recording)["suspects"][0]))
