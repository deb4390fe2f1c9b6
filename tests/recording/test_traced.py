"""The memory calls of a process in the report of its recording."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from procmem import KiB, Process, Recording, load
from procmem.errors import BadArgument
from procmem.procfs import probes
from procmem.recording.packed import figures_of
from procmem.recording.traced import calls_between
from procmem.snapshots import Identity
from procmem.snapshots.moment import Clock
from procmem.tracing.saved import SavedCall, load_trace
from tests.support.reports import HOSTILE, data_of, text_of, values_of
from tests.support.snapshots import same, table
from tests.support.traced import may_trace, until_traced

if TYPE_CHECKING:
    from pathlib import Path

    from procmem import Snapshot
    from procmem.experiments import Specimen

CLONE_THREAD = 0x10000


def call(name: str, ended: int, vsz: int | None = 0, **more: Any) -> SavedCall:
    """A call of process 7 that ended at a time."""
    made: dict[str, Any] = {
        "pid": 7, "tid": 7, "args": {}, "result": 0, "errno": None, "began": ended - 5, "ns": 5,
        "delta_vsz": vsz, "delta_rss": vsz and 0, "within": None, "is_function": False,
        "region_row": None, "reason": "", "exact": True,
    }  # fmt: skip
    return SavedCall(name, **{**made, **more})


def snapshots(*times: int) -> list[Snapshot]:
    return [
        replace(
            table(), identity=Identity(7, 7, "boot"), clock=Clock(at, at, at), source=f"of {at}"
        )
        for at in times
    ]


def between(calls: list[SavedCall], *times: int, boot: str | None = None) -> Any:
    found = snapshots(*times)
    return calls_between(calls, boot, found[0], list(map(figures_of, found)))


def rows(series: dict[str, Any]) -> list[list[Any]]:
    """By snapshot, in words, what series["between"] has."""
    columns = series["between"]
    numbers = values_of(columns[0])
    assert numbers
    named = [series["names"][number] for number in columns[1]]
    return [list(row) for row in zip(numbers, named, *columns[2:], strict=True)]


def test_a_call_counts_where_it_ended() -> None:
    found = between(
        [
            call("mmap", 100, 1),  # at the very time of the first snapshot: before it
            call("mmap", 101, 4096),
            call("mmap", 200, 8192),  # at the time of the second: by it
            call("munmap", 201, -4096),
            call("brk", 290, None, errno=12, result=None),
            call("brk", 300, 4096, exact=False, reason="it has other threads"),
            call("munmap", 301, -1),  # after the last
        ],
        100, 200, 300,
    )  # fmt: skip
    assert rows(found.series) == [
        [1, "mmap", 2, 0, 12288, 0, 0, 0],
        [2, "brk", 2, 1, 4096, 0, 1, 1],
        [2, "munmap", 1, 0, -4096, 0, 0, 0],
    ]
    assert "2 calls before the first or after the last snapshot are left out" in found.summary
    assert found.series["drawn"]["words"][0] == "mmap, thread 7; VSZ +4 KiB"
    assert found.series["drawn"]["words"][-1] == "brk, thread 7; VSZ ~+4 KiB"


def test_forks_execs_and_exits_are_events() -> None:
    found = between(
        [
            call("fork", 110, result=8),
            call("clone", 120, result=9, args={"flags": CLONE_THREAD}),
            call("clone", 130, None, result=None, errno=11),
            call("execve", 140, 4096, args={"pathname": "/bin/x"}),
            call("execve", 150, args={"pathname": None}),
            call("exit", 160, None, tid=9, result=None, ns=None, began=160),
            call("exit_group", 250, None, result=None, ns=None, began=250),
        ],
        100, 200, 300,
    )  # fmt: skip
    assert [(after, by, what) for after, by, _, what, _ in found.events] == [
        (0, 1, "fork: new process 8"),
        (0, 1, "clone: new thread 9"),
        (0, 1, "execve: /bin/x"),
        (0, 1, "execve: unknown path"),
        (0, 1, "exit: thread 9 ends"),
        (1, 2, "exit_group: the process ends"),
    ]
    assert found.events[-1][2] == 150 / 1e9
    # A new program's memory is no growth of the old one's.
    assert [1, "execve", 2, 0, 0, 0, 2, 0] in rows(found.series)


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("procmem.recording.traced.MOST_DRAWN", 2)
    found = between(
        [
            *(call("mmap", 110 + at, at * 4096) for at in range(5)),
            call("mmap", 120, 1 << 20, pid=8),
            call("malloc", 130, 4096, is_function=True),
        ],
        100, 200,
    )  # fmt: skip
    assert found.series["names"] == ["mmap"]
    assert len(found.series["drawn"]["at"]) == 2
    for words in (
        "the 2 with the largest effects are drawn",
        "1 call of 1 other process are left out",
        "1 call of malloc and similar functions are left out",
    ):
        assert words in found.summary
    assert [row[5] for row in found.table.rows] == [3 * 4096, 4 * 4096]


def test_forks_that_are_not_listed_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("procmem.recording.traced.MOST_LIFE", 2)
    forks = [call("fork", 110 + at, result=8 + at) for at in range(3)]
    assert "forks" not in between(forks[:2], 100, 200).summary
    found = between(forks, 100, 200)
    assert [what for *_, what, _ in found.events] == ["fork: new process 8", "fork: new process 9"]
    assert "The first 2 of 3 forks, execs and exits are listed." in found.summary


def test_traces_that_do_not_belong_to_it() -> None:
    with pytest.raises(BadArgument, match="recorded process 7: its processes are 8"):
        between([call("mmap", 110, pid=8)], 100, 200)
    with pytest.raises(BadArgument, match="its processes are none"):
        between([], 100, 200)
    with pytest.raises(BadArgument, match="no memory call of the trace ended while process 7"):
        between([call("mmap", 210)], 100, 200)
    with pytest.raises(BadArgument, match="reboot"):
        between([call("mmap", 110)], 100, 200, boot="another")
    assert between([call("mmap", 110)], 100, 200, boot="boot")
    bare = replace(table(), identity=Identity(7))
    with pytest.raises(BadArgument, match="no clocks"):
        calls_between([call("mmap", 110)], None, bare, [figures_of(bare)] * 2)


def test_hostile_names_are_text(tmp_path: Path) -> None:
    pytest.importorskip("bokeh", reason="bokeh is not installed (extra report)")
    region = 0x1000, 0x2000, "rw-p"
    calls: Any = [
        call("execve", 110 + at, args={"pathname": name}, region_row=(*region, name))
        for at, name in enumerate(HOSTILE)
    ]
    page = tmp_path / "one.html"
    Recording(snapshots(100, 200)).report(page, trace=calls)
    text = text_of(page.read_bytes())
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "\x1b" not in text
    drawn = data_of(page.read_bytes())["series"]["calls"]["drawn"]["words"]
    assert any("lone \\xff\\xe9 bytes" in one for one in drawn)


def test_the_calls_of_a_process_add_up_to_what_changed(specimen: Specimen, tmp_path: Path) -> None:
    pytest.importorskip("bokeh", reason="bokeh is not installed (extra report)")
    if not may_trace():
        pytest.skip("ptrace(2) is forbidden here")
    file, page = tmp_path / "calls.json", tmp_path / "one.html"
    process = Process(specimen.pid)
    command = [sys.executable, "-m", "procmem", "trace", "--json", "-p", str(specimen.pid)]
    # A file of -o is there when the trace is over; standard error has each call at once.
    with file.open("wb") as out, subprocess.Popen(command, stderr=out) as tracer:
        try:
            until_traced(specimen.pid)
            # The tracer attaches first and stops the process then: from the first call that it
            # reports it misses none.
            deadline = time.monotonic() + 300
            while "mmap" not in file.read_text():
                assert time.monotonic() < deadline
                specimen.mmap(pages=1)
            taken = [process.snapshot()]
            area = specimen.mmap(pages=30).mapping
            assert area
            taken.append(process.snapshot())
            specimen.touch(area, pages=20)
            taken.append(process.snapshot())
            child = specimen.fork().child
            assert child
            taken.append(process.snapshot())
            specimen.munmap(area)
            taken.append(process.snapshot())
        finally:
            tracer.terminate()
            tracer.wait(300)
    recording = Recording(taken)
    assert recording.report(page, trace=file) == str(page)
    series = data_of(page.read_bytes())["series"]
    found = rows(series["calls"])
    size = 120 * KiB
    # Where counters lag, RSS comes with a later call, and no call is exact.
    known = 5 if probes.counters_lag() else 8
    begun = [row[:known] for row in found]
    assert [1, "mmap", 1, 0, size, 0, 0, 0][:known] in begun
    assert not [row for row in found if row[0] == 2]
    assert [4, "munmap", 1, 0, -size, -80 * KiB, 0, 0][:known] in begun
    for at in range(1, 5):
        assert sum(row[4] for row in found if row[0] == at) == taken[at].vsz - taken[at - 1].vsz
    events = [one for one in series["events"] if one[2] is not None]
    assert [(after, by, words.split(": ")[1]) for after, by, _, words in events] == [
        (2, 3, f"new process {child.pid}")
    ]
    for at, one in enumerate(taken):
        same(load(page, at), one)
    saved = load_trace(file)
    assert saved.boot_id == taken[0].identity.boot_id
    assert {one.pid for one in saved.calls} == {specimen.pid}
