"""The ready experiments: their figures from theory, and the command that tells them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from procmem import experiments
from procmem.cli import main
from procmem.errors import BadArgument, Unsupported
from procmem.experiments import Specimen
from procmem.experiments.model.chunks import Learned
from procmem.experiments.model.page_tables import Tally
from procmem.experiments.ready.story import EXPERIMENTS, Story, Teller, Told, experiment, find
from procmem.experiments.specimen.backing import disk_file, memory_file, pages_in_memory
from procmem.experiments.specimen.kernel import has_swap
from procmem.experiments.specimen.libc import Verdict
from procmem.experiments.specimen.provoke import FAULTS
from procmem.experiments.specimen.step import Delta, Figures, Step
from procmem.experiments.specimen.why import Prediction
from procmem.view.experiment import story_text
from tests.support.targets import machine
from tests.support.targets.machine import as_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator

K = 1024
M = K * K

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)

stories: dict[str, Story] = {}


def story(name: str) -> Story:
    """An experiment's result; run once."""
    if name not in stories:
        function = find(name)
        stories[name] = function(**function.quick)  # type: ignore[attr-defined]
    return stories[name]


def deltas(told: Story) -> list[tuple[int, int, int, int, int, int]]:
    """VSZ, RSS and page tables in KiB; minor and major faults; regions."""
    found = []
    for one in told.told:
        if one.step is not None:
            d = one.step.delta
            assert None not in (d.rss, d.page_tables)
            kib = d.vsz // K, (d.rss or 0) // K, (d.page_tables or 0) // K
            found.append((*kib, d.minor, d.major, d.regions))
    return found


def claims(told: Story) -> dict[str, Any]:
    return {one.label: one.claim.seen for one in told.told if one.claim is not None}


def labelled(told: Story, label: str) -> Told:
    (found,) = (one for one in told.told if one.label == label)
    return found


# ---- what they find ----------------------------------------------------------------


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_agrees_with_theory(name: str) -> None:
    told = story(name)
    if told.skipped:
        pytest.skip(told.skipped)
    assert [(one.label, one.step, one.claim) for one in told.told if one.agrees is False] == []
    assert told.agrees
    assert told.total >= 6
    assert told.agreed == told.total == sum(not one.impossible for one in told.told)


def test_lazy_allocation() -> None:
    assert deltas(story("lazy-allocation")) == [
        # VSZ, RSS, tables, minor, major, regions
        (4, 0, 0, 0, 0, 1),
        (0, 0, 12, 1, 0, 0),
        (0, 4, 0, 1, 0, 0),
        (0, 0, 0, 0, 0, 0),
        (-4, -4, -12, 0, 0, -1),
        (4000, 0, 0, 0, 0, 1),
        (0, 40, 12, 10, 0, 0),
        (-4000, -40, -12, 0, 0, -1),
    ]


def test_lazy_allocation_of_other_sizes() -> None:
    found = deltas(experiments.lazy_allocation(pages=512, touched=512))
    assert found[5:] == [
        (2048, 0, 0, 0, 0, 1),
        (0, 2048, 12, 512, 0, 0),
        (-2048, -2048, -12, 0, 0, -1),
    ]


def test_brk() -> None:
    found = [(vsz, rss, minor, regions) for vsz, rss, _, minor, _, regions in deltas(story("brk"))]
    assert found == [
        (132, 0, 0, 1),
        (0, 12, 3, 0),
        (4, 0, 0, 0),
        (0, 0, 0, 0),
        (-4, 0, 0, 0),
        (-124, -4, 0, 0),
        (0, 0, 0, 0),
        (4, 0, 0, 0),
        (0, 0, 1, 0),
        (-12, -8, 0, -1),
    ]
    behind = labelled(story("brk"), "read beyond the break").step
    assert behind is not None
    assert behind.fault is not None
    assert (behind.fault.signal, behind.fault.code) == (11, 1)


def test_file_mapping() -> None:
    told = story("file-mapping")
    found = [(one.step.delta, one.label) for one in told.told if one.step is not None]
    assert (found[0][0].vsz, found[0][0].rss) == (256 * K, 0)
    # One fault maps 16 pages, of a file in memory as of one that the page cache holds.
    around = labelled(told, "read one byte of it").step
    assert around is not None
    # RssShmem is not in smaps_rollup, the source where VmRSS lags.
    assert around.delta.rss_shmem in (64 * K, None)
    assert (around.delta.rss, around.delta.minor) == (64 * K, 1)
    private = labelled(told, "write to page 0, privately").step
    assert private is not None
    assert private.delta.rss_shmem in (0, None)
    assert (private.delta.rss_anon, private.delta.rss, private.delta.minor) == (4 * K, 4 * K, 1)
    past = labelled(told, "read beyond the end of the file").step
    assert past is not None
    assert past.fault is not None
    assert (past.fault.signal, past.fault.code) == (7, 2)
    seen = claims(told)
    assert seen["the file stays as it was"] == 200
    assert seen["the file's size after all this"] == 256 * K
    reads = [d for d, label in found if label == "read all 64 pages"]
    if len(reads) == 2:  # a disk is there
        cold, warm = reads
        assert (cold.rss_file, cold.minor, cold.major) == (256 * K, 0, 64)
        assert (warm.rss_file, warm.minor, warm.major) == (256 * K, 4, 0)


def test_copy_on_write() -> None:
    told = story("copy-on-write")
    # P = 100, k = 30
    found = [tuple(one.claim.seen for one in told.told if one.claim)][0]
    before = (400 * K, 200 * K, 400 * K, 0)
    after = (400 * K, 260 * K, 280 * K, 120 * K)
    alone = (400 * K, 400 * K, 0, 400 * K)
    assert found == (*before, *before, *after, *after, 120 * K, *alone)
    faults = [one.step.delta.minor for one in told.told if one.step]
    assert faults == [0, 100, 0, 30, 30, 0, 70, 0]
    rss = [one.step.delta.rss for one in told.told if one.step]
    assert rss == [0, 400 * K, 0, 0, 0, 0, 0, -400 * K]


def test_copy_on_write_of_all_pages() -> None:
    told = experiments.copy_on_write(pages=8, written=8)
    assert told.agrees
    assert claims(told)["the memory of both (Σ Pss) has grown by"] == 32 * K


def test_page_tables() -> None:
    told = story("page-tables")
    if any(one.impossible for one in told.told):
        pytest.skip("a terabyte of addresses is not to be had here")
    assert deltas(told) == [
        (1 << 30, 0, 0, 0, 0, 1),
        (0, 0, 12, 1, 0, 0),
        (0, 0, 0, 1, 0, 0),
        (0, 0, 4, 1, 0, 0),
        (0, 0, 8, 1, 0, 0),
        (0, 0, 12, 1, 0, 0),
        (-1 << 30, 0, -36, 0, 0, -1),
        (1 << 20, 0, 0, 0, 0, 1),
        (0, 0, 2056, 1 << 18, 0, 0),
        (0, 0, 0, 0, 0, 0),
        (-1 << 19, 0, -1024, 0, 0, 0),
        (-1 << 19, 0, -1032, 0, 0, -1),
    ]


def test_page_table_arithmetic() -> None:
    told = experiments.page_tables(address=0b11110000111111110000000010101010, levels="10,10,12")
    (table,) = told.tables
    assert [row[2] for row in table.rows] == [963, 1008]
    assert table.notes[0] == "Offset 170 (0xaa) in page 987,120 (0xf0ff0)."
    assert told.agrees
    for levels in ("", "12", "10,0,12", "40,40,12", "ten,10,12", "10,10,-12"):
        with pytest.raises(BadArgument):
            experiments.page_tables(address=1, levels=levels or ",")
    with pytest.raises(BadArgument, match="no address of 32 bits"):
        experiments.page_tables(address=1 << 40, levels="10,10,12")


def test_protection() -> None:
    told = story("protection")
    regions = [one.step.delta.regions for one in told.told if one.step]
    assert regions[:8] == [1, 0, 2, 0, 0, -2, 1, -2]
    guarded = labelled(told, "write to page after page from the first of them").step
    assert guarded is not None
    assert guarded.fault is not None
    assert (guarded.result, guarded.delta.rss, guarded.fault.code) == (4, 16 * K, 2)


def test_static_dynamic() -> None:
    told = story("static-dynamic")
    if told.skipped:
        pytest.skip(told.skipped)
    (table,) = told.tables
    rows = {row[0]: row[1:] for row in table.rows}
    static, dynamic = rows["VSZ"]
    assert isinstance(static, int)
    assert isinstance(dynamic, int)
    assert static < 512 * K < dynamic
    assert rows["regions"][0] < rows["regions"][1]  # type: ignore[operator]


def test_grow() -> None:
    told = story("grow")
    if told.skipped:
        pytest.skip(told.skipped)
    seen = claims(told)
    assert [seen[f"{n} KiB string is in the"] for n in (1, 2, 4, 8, 16, 32, 64)] == ["heap"] * 7
    assert seen["16,384 KiB string is in the"] == "mapping"
    assert seen["16,384 KiB string: VSZ changes by"] == 8 * M


def test_copy() -> None:
    told = story("copy")
    if told.skipped:
        pytest.skip(told.skipped)
    steps = [(one.step.delta.vsz, one.step.delta.rss) for one in told.told if one.step]
    size = 4 * M
    assert steps == [(size, 0), (size, 0), (0, size), (0, size), (-size, -size), (-size, -size)]
    for table in told.tables:
        assert len(table.rows) >= 6
        assert all(row[1] > 0 for row in table.rows)  # type: ignore[operator]


def test_copy_of_a_size_that_is_no_whole_page() -> None:
    told = experiments.copy(size=100_001, rounds=1)
    assert told.skipped or told.agrees


# ---- faults ------------------------------------------------------------------------

SIGNALS = {
    "null": (11, 1),
    "unmapped": (11, 1),
    "kernel": (11, 1),
    "non-canonical": (11, 128),
    "read-only": (11, 2),
    "text": (11, 2),
    "prot-none": (11, 2),
    "no-exec": (11, 2),
    "past-end": (7, 2),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_each_kind(kind: str) -> None:
    if kind == "swap" and not has_swap():
        pytest.skip("no swap is set up")
    with Specimen() as s:
        try:
            step = s.fault(kind)
        except Unsupported as error:
            pytest.skip(str(error))
        assert step.agrees, step
        seen = step.fault and (step.fault.signal, step.fault.code)
        assert seen == SIGNALS.get(kind)
        counted = {"minor": (1, 0), "major": (0, 1), "swap": (0, 1)}.get(kind, (0, 0))
        assert (step.delta.minor, step.delta.major) == counted
        if kind == "null":
            assert step.fault is not None
            assert step.fault.address == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="adding swap takes root")
def test_faults_with_swap() -> None:
    with machine.swap() as there:
        if not there:
            pytest.skip(there.reason)
        told = experiments.faults(pages=32)
        assert told.agrees, story_text(told)
        assert not any("swap" in one.impossible for one in told.told)
        assert max(map(len, story_text(told).splitlines())) <= 80
        out = labelled(told, "ask for them to be swapped out").step
        back = labelled(told, "read them again").step
        assert out is not None
        assert back is not None
        assert (out.delta.rss, out.delta.swap) == (-128 * K, 128 * K)
        assert (back.delta.rss, back.delta.major) == (128 * K, 32)


def test_an_unknown_kind_of_fault() -> None:
    with Specimen() as s, pytest.raises(BadArgument, match="no-exec"):
        s.fault("fatal")


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_reading_past_the_end_maps_what_lies_around_before_it(kind: str) -> None:
    with Specimen() as s:
        for pages, offset, at in ((3, 0, 3), (3, 0, 15), (3, 1, 2), (20, 0, 21), (20, 5, 40)):
            try:
                with (memory_file if kind == "memory" else disk_file)(pages, 4096) as fd:
                    area = s.mmap(pages=64, prot="r", file=fd, offset=offset * 4096).mapping
                    assert area is not None
                    step = s.read(area, start=at)
            except Unsupported as error:
                pytest.skip(str(error))
            assert step.agrees, (pages, offset, at, step, step.delta, step.predicted)
            assert step.fault is not None
            assert (step.fault.signal, step.delta.minor) == (7, 0)


def test_a_file_that_was_written_in_large_pieces_faults_as_predicted(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(os.urandom(4 * M))
    with Specimen() as s:
        area = s.mmap(4 * M, prot="r", file=file).mapping
        assert area is not None
        step = s.read(area)
        assert step.agrees or not step.exact, (step.delta, step.predicted)
        assert step.delta.minor in (64, 1024)  # fault-around, or a tmpfs


# ---- the story ---------------------------------------------------------------------


def made_step(delta: Delta, reason: str | None = None) -> Step:
    figures = Figures(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    predicted = Prediction("mmap", Tally(vsz=1, regions=1), 4096)
    call = "mmap", lambda: ("...",)
    return Step(call, figures, figures, delta, 0, 0, reason, predicted, None, None)


def sample() -> Story:
    right, wrong = Delta(vsz=4096, regions=1), Delta(vsz=4096, rss=4096, regions=1)
    teller = Teller()
    teller.step("map one page", made_step(right))
    teller.step("map another", made_step(wrong), "So it should not be.")
    teller.step("map a third", made_step(wrong, "this kernel counts roughly"))
    teller.claim("the sky is", "blue", "blue", "It scatters.")
    teller.bytes("size", 8192, 4096)
    teller.impossible("swap it out", "no swap here")
    teller.table("Reported:", ("what", "ms"), [("a", 1.25), ("b", None)], "A note.")
    return Story("sample", "Sample", "Does it look right?", (*teller.told,), (*teller.tables,))


GOLDEN = """\
sample: Does it look right?

   Step             VSZ     RSS  Regions  Agrees
-  ------------  ------  ------  -------  ----------
1  map one page  +4 KiB       0       +1  yes
     mmap hands out addresses: VSZ +4 KiB. No page is allocated before it is
     first touched: RSS +0.
2  map another   +4 KiB  +4 KiB       +1  NO
     rss: predicted 0, measured +4 KiB
     mmap hands out addresses: VSZ +4 KiB. No page is allocated before it is
     first touched: RSS +0. So it should not be.
3  map a third   +4 KiB  +4 KiB       +1  not judged
     this kernel counts roughly
     mmap hands out addresses: VSZ +4 KiB. No page is allocated before it is
     first touched: RSS +0.

   Claim       Expected   Seen  Holds
-  ----------  --------  -----  -----
4  the sky is      blue   blue  yes
     It scatters.
5  size           8 KiB  4 KiB  NO

6  swap it out: not possible here: no swap here

Reported:
what   ms
----  ---
a     1.2
b       -
A note.

2 of 4 as predicted.
Not judged, since it can't be exact here: 1 (see above).
Not possible here: 1 (see above).
"""


def test_a_story_as_it_looks() -> None:
    assert story_text(sample()) == GOLDEN


def test_a_claim_that_rests_on_a_step_that_is_not_exact_is_not_judged() -> None:
    right, wrong = Delta(vsz=4096), Delta(vsz=8192)
    exact, doubtful = made_step(right), made_step(wrong, "another libc")
    teller = Teller()
    teller.claim("one", 1, 2, rests_on=[exact, doubtful])
    teller.bytes("two", 1, 2, rests_on=[doubtful])
    teller.bytes("three", 1, 1, rests_on=[exact])
    teller.bytes("four", 1, 2, rests_on=[exact])
    story = Story("sample", "Sample", "?", (*teller.told,))
    assert [one.agrees for one in story.told] == [None, None, True, False]
    assert (story.agreed, story.total, story.not_judged) == (1, 2, 2)
    text = story_text(story)
    assert text.count("not judged") == 2
    assert "another libc" in text
    assert "Not judged, since it can't be exact here: 2 (see above)." in text


def test_malloc_and_threads_of_another_libc_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = Verdict(Learned(tcache=0, arena=17, dtv=5), "another libc", "another libc")
    monkeypatch.setattr("procmem.experiments.specimen.libc._verdict", strange)
    for name in ("malloc", "threads"):
        story = find(name)()
        assert story.agrees, story_text(story)
        assert story.not_judged > 10


def test_a_story_counts_what_it_judges() -> None:
    told = sample()
    assert (told.agreed, told.total, told.agrees) == (2, 4, False)
    assert [one.agrees for one in told.told] == [True, False, None, True, False, None]
    record = json.loads(json.dumps(told.to_dict()))
    assert (record["agreed"], record["total"]) == (2, 4)
    assert record["told"][1]["step"]["differences"] == ["rss"]
    assert record["told"][5]["impossible"] == "no swap here"
    assert record["tables"][0]["rows"] == [{"what": "a", "ms": 1.25}, {"what": "b", "ms": None}]
    with pytest.raises(FrozenInstanceError):
        told.name = "other"  # type: ignore[misc]
    assert repr(told) == "<Story sample: 2 of 4>"


@pytest.mark.parametrize("width", [20, 50, 80, 119, 500])
@pytest.mark.parametrize("name", ["lazy-allocation", "copy-on-write", "faults", "protection"])
def test_no_line_is_wider_than_the_screen(name: str, width: int) -> None:
    widest = max(map(len, story_text(story(name), width).splitlines()))
    assert widest <= max(width, 80)


def test_what_is_unsupported_is_told_and_no_failure() -> None:
    @experiment("none", "None", "Nothing?")
    def nothing(_tell: Teller) -> None:
        raise Unsupported("magic", "no wand")

    @experiment("half", "Half", "Half of it?")
    def half(tell: Teller, *, size: int = 1) -> None:
        tell.claim("one", size, 1)
        raise Unsupported("magic", "no wand")

    assert (nothing().skipped, nothing().agrees) == ("magic: no wand", True)
    assert "not possible here: magic: no wand" in story_text(nothing())
    assert (half().skipped, half().agreed, half().told[1].impossible) == ("", 1, "magic: no wand")
    assert not half(size=2).agrees


def test_a_disturbed_story_is_told_anew_and_says_so() -> None:
    seen = iter([2, 1, 2, 2, 2])

    @experiment("shaky", "Shaky", "Does it hold?")
    def shaky(tell: Teller) -> None:
        tell.claim("one", 1, next(seen))

    told = shaky()
    assert (told.agreed, told.total, told.disturbed) == (1, 1, ("one",))
    assert "Told anew, since something else was in the way at first: one." in story_text(told)
    told = shaky()  # what differs each time is no disturbance
    assert (told.agreed, told.total, told.disturbed) == (0, 1, ())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_are_functions_of_the_package(name: str) -> None:
    function = getattr(experiments, name.replace("-", "_"))
    assert function is find(name)
    assert function.__doc__
    # What type checkers see.
    spelled = name.replace("-", "_")
    source = Path(experiments.__file__).read_text()
    assert f"from procmem.experiments.ready.{spelled} import {spelled} as {spelled}\n" in source
    assert len(EXPERIMENTS[name]) <= 80 - 4 - max(map(len, EXPERIMENTS))


def test_unknown_experiments() -> None:
    with pytest.raises(AttributeError):
        experiments.no_such_experiment  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(BadArgument, match="lazy-allocation"):
        find("no-such")


@pytest.mark.parametrize(
    "call",
    [
        lambda: experiments.lazy_allocation(pages=0),
        lambda: experiments.lazy_allocation(pages=1, touched=2),
        lambda: experiments.brk(pages=1),
        lambda: experiments.file_mapping(pages=0),
        lambda: experiments.copy_on_write(pages=3),
        lambda: experiments.faults(pages=-1),
        lambda: experiments.grow(doublings=99),
        lambda: experiments.copy(size=0),
    ],
)
def test_values_that_make_no_sense(call: Any) -> None:
    with pytest.raises(BadArgument):
        call()


# ---- files -------------------------------------------------------------------------


def test_pages_in_memory() -> None:
    try:
        with disk_file(20, 4096) as fd:
            assert pages_in_memory(fd, 20 * 4096) == 20
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert pages_in_memory(fd, 20 * 4096) == 0
            os.pread(fd, 1, 0)
            assert 1 <= pages_in_memory(fd, 20 * 4096) <= 20
    except Unsupported as error:
        pytest.skip(str(error))


# ---- nothing is left behind --------------------------------------------------------


def state() -> tuple[set[str], set[str], int, str]:
    children = set()
    for task in os.listdir("/proc/self/task"):
        children |= set(Path(f"/proc/self/task/{task}/children").read_text().split())
    return (
        children,
        set(os.listdir("/proc/self/fd")),
        len(Path("/proc/self/maps").read_text().splitlines()),
        Path("/proc/swaps").read_text(),
    )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_nothing_is_left_behind(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    function = find(name)
    function(**function.quick)  # type: ignore[attr-defined]  # what it imports stays
    before = state()
    function(**function.quick)  # type: ignore[attr-defined]
    after = state()
    assert after[:2] == before[:2]
    assert after[2] <= before[2] + 4  # malloc's own
    assert os.listdir(tmp_path) == []


# ---- the command -------------------------------------------------------------------


class Ran:
    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        try:
            self.status = main(["experiment", *words])
        except SystemExit as left:
            self.status = left.code if isinstance(left.code, int) else 1
        self.out, self.err = capsys.readouterr()


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys)
    assert ran.status == 0
    assert [line.split()[0] for line in ran.out.splitlines()[: len(EXPERIMENTS)]] == [*EXPERIMENTS]
    listed = json.loads(Ran(capsys, "--json").out)
    assert [one["name"] for one in listed] == [*EXPERIMENTS]
    assert "lazy-allocation" in Ran(capsys, "--help").out


def test_the_command_tells_a_story(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    ran = Ran(capsys, "lazy-allocation", "--pages", "2k", "--touched", "0x10")
    assert (ran.status, ran.err) == (0, "")
    assert "map 2,048 pages" in ran.out
    assert "+64 KiB" in ran.out
    assert ran.out.endswith("\n8 of 8 as predicted.\n")
    assert max(map(len, ran.out.splitlines())) <= 80
    monkeypatch.setenv("COLUMNS", "110")
    assert max(map(len, Ran(capsys, "lazy-allocation").out.splitlines())) > 80


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = json.loads(Ran(capsys, "lazy_allocation", "--json").out)
    assert record["agreed"] == record["total"] == 8
    assert record["told"][0]["step"]["delta"]["vsz"] == 4096


def test_the_command_runs_all(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "all")
    assert (ran.status, ran.err) == (0, "")
    assert f"\n{len(EXPERIMENTS)} experiments: " in ran.out
    assert [n for n in EXPERIMENTS if f"\n{n}: " not in f"\n{ran.out}"] == []


def test_the_command_fails_if_one_differs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procmem.cli.experiment.find", lambda _name: sample)
    assert Ran(capsys, "brk").status == 1
    ran = Ran(capsys, "all")
    assert ran.status == 1
    assert f"{2 * len(EXPERIMENTS)} of {4 * len(EXPERIMENTS)} as predicted" in ran.out


@pytest.mark.parametrize(
    "words, says",
    [
        (["no-such"], "copy-on-write"),
        (["brk", "--pages", "many"], "whole number"),
        (["brk", "--pages", "1"], "too few"),
        (["brk", "--colour"], "--colour"),
        (["page-tables", "--address", "1", "--levels", "x"], "10,10,12"),
        (["all", "--pages", "3"], "--pages"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    ran = Ran(capsys, *words)
    assert ran.status == 2
    assert says in ran.err
    assert "Traceback" not in ran.err


COMMAND = [sys.executable, "-m", "procmem", "experiment"]


def test_a_reader_that_leaves_is_no_error() -> None:
    with subprocess.Popen(
        [*COMMAND, "all"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


@pytest.fixture
def slow() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [*COMMAND, "copy", "--size", "16M", "--rounds", "1000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def test_ctrl_c_is_quiet(slow: subprocess.Popen[bytes]) -> None:
    # Once its work has begun, which a file without a name shows.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and slow.poll() is None:
        # Before exec it is a fork of this process, which has files without names, too.
        if b"copy" not in Path(f"/proc/{slow.pid}/cmdline").read_bytes():
            continue
        links = []
        for fd in os.listdir(f"/proc/{slow.pid}/fd"):
            try:
                links.append(os.readlink(f"/proc/{slow.pid}/fd/{fd}"))
            except OSError:
                continue
        if any("(deleted)" in link for link in links):
            break
    os.killpg(slow.pid, signal.SIGINT)
    out, err = slow.communicate(timeout=60)
    assert (slow.returncode, out, err) == (130, b"", b"")


def test_it_runs_as_an_ordinary_user() -> None:
    done = as_nobody(
        "import sys\nfrom procmem.cli import main\nsys.exit(main(['experiment', 'all', '--json']))"
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert len(told) == len(EXPERIMENTS)
    assert all(one["agreed"] == one["total"] for one in told)


def test_what_a_limit_forbids_is_no_failure() -> None:
    code = (
        "import resource\n"
        "from procmem.experiments import page_tables\n"
        "limit = 600 << 20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "told = page_tables()\n"
        "print(told.skipped, [one.impossible for one in told.told if one.impossible], told.agrees)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Cannot allocate memory" in done.stdout
