"""procmem report: what it writes, what it refuses, and what it prints."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import Process, Recording
from tests.support.commands import shell
from tests.support.reports import text_of
from tests.support.snapshots import same

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target


def test_a_process_a_snapshot_and_two(run: Run, target: Target, tmp_path: Path) -> None:
    snap, page = tmp_path / "one.snap", tmp_path / "one.html"
    taken = Process(target.pid).snapshot()
    taken.save(snap)
    cases: list[tuple[list[object], str]] = [
        ([target.pid], f"Memory of process {target.pid}"),
        ([snap], f"Memory of process {target.pid}"),
        ([snap, target.pid], f"What changed in process {target.pid}"),
        ([page], f"Memory of process {target.pid}"),  # a report of two is a series of snapshots
    ]
    for words, heading in cases:
        if words == [page]:
            pytest.importorskip("bokeh", reason="bokeh is not installed (extra report)")
        ran = run("report", *words, "-o", page)
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.startswith(f"{page}: ")
        assert heading in text_of(page.read_bytes())
    same(procmem.load(page, 0), taken)


def test_a_recording_and_one_of_its_snapshots(run: Run, target: Target, tmp_path: Path) -> None:
    pytest.importorskip("bokeh", reason="bokeh is not installed (extra report)")
    process = Process(target.pid)
    recording = Recording([process.snapshot(), process.snapshot(), process.snapshot()])
    rec, page = tmp_path / "one.rec", tmp_path / "one.html"
    recording.save(rec)
    assert run("report", rec, "-o", page).status == 0
    assert "over time" in text_of(page.read_bytes())
    assert len(Recording.load(page)) == 3
    assert run("record", "--report", page).status == 0
    assert run("maps", f"{page}:1").status == 0
    assert run("report", f"{rec}:1", "-o", page).status == 0
    same(procmem.load(page), recording[1])
    rec.write_bytes(rec.read_bytes()[:-10])
    assert run("report", rec, "-o", page).status == 0  # cut off, as if the recorder was killed
    assert len(Recording.load(page)) == 2


def test_the_default_name_is_in_this_directory(
    run: Run, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("report", target.pid)
    assert ran.out.startswith(f"procmem-{target.pid}.html: ")
    assert os.listdir() == [f"procmem-{target.pid}.html"]
    assert run("report", target.pid).status == 0  # our own is overwritten


def test_other_files_are_not_overwritten(run: Run, target: Target, tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<!DOCTYPE html>mine")
    ran = run("report", target.pid, "-o", mine)
    assert (ran.status, ran.out) == (1, "")
    assert "it is there and no report of procmem" in ran.err
    assert mine.read_text() == "<!DOCTYPE html>mine"
    assert run("report", target.pid, "-o", mine, "--force").status == 0
    assert procmem.load(mine).identity.pid == target.pid
    assert run("report", target.pid, "-o", tmp_path / "none" / "x.html").status == 1


@pytest.mark.parametrize(
    "words, status, said",
    [
        ([], 2, "is missing"),
        (["1", "2", "3"], 2, "give one process or file, or two"),
        (["/no/such/file"], 1, "no such file"),
        (["--frce", "1"], 2, "did you mean"),
    ],
)
def test_errors_are_one_line(run: Run, words: list[str], status: int, said: str) -> None:
    ran = run("report", *words)
    assert ran.status == status
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_traces_that_can_not_be_shown(run: Run, target: Target, tmp_path: Path) -> None:
    recorded, traced, page = tmp_path / "one.rec", tmp_path / "calls.json", tmp_path / "one.html"
    Recording([Process(target.pid).snapshot("maps") for _ in range(2)]).save(recorded)
    traced.write_text('{"pid": 1, "calls": [], "boot_id": null}')
    cases: list[tuple[list[object], str]] = [
        ([traced], "a trace, which has no snapshot: procmem report RECORDING --trace FILE"),
        ([target.pid, "--trace", traced], "--trace needs a recording"),
        ([recorded, "--trace", traced], f"no memory call of the recorded process {target.pid}"),
        ([recorded, "--trace", recorded], "not a trace: procmem trace --json -o FILE saves one"),
        ([recorded, "--trace", tmp_path / "none"], "none: No such file"),
    ]
    for words, said in cases:
        ran = run("report", *words, "-o", page)
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1), words
        assert said in ran.err
        assert not page.exists()


def test_an_output_that_is_a_pipe(target: Target) -> None:
    done = shell("report", str(target.pid), "-o", "/dev/stdout", "--force")
    assert done.returncode == 0
    assert done.stdout.startswith(b"<!DOCTYPE html>")
    assert done.stdout.rstrip().endswith(b"</html>")
