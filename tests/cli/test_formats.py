"""--format, --json and -o of the commands: what each prints in which format, and where."""

from __future__ import annotations

import csv
import io
import json
import mmap
import re
import subprocess
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem import cli
from procmem.cli import COMMANDS, experiment, main, watch
from procmem.cli.formats import ALL, print_streamed, print_table
from procmem.cli.tables import all_pages, page_of
from procmem.experiments.ready.story import Story
from procmem.grade.grading.client import end_servers
from procmem.process import Process
from tests.support.labs_made import make_lab, make_submission

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target

PAGE = mmap.PAGESIZE

ON_A_PROCESS = (
    "maps", "maps --fast", "maps --by kind", "family", "sections", "sections --totals", "pages",
    "pages [stack]", "heap", "threads", "cache", "container", "pipes", "shm", "why", "reconcile",
    "top --fast", "top --fast --by user", "snapshot", "snapshot --detail maps",
)  # fmt: skip


@pytest.fixture
def saved(run: Run, target: Target, tmp_path: Path) -> Path:
    """A snapshot in a file: what is read twice is the same."""
    file = tmp_path / "saved"
    run("snapshot", target.pid, "-o", file)
    return file


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("words", ON_A_PROCESS)
def test_each_command_has_each_format(run: Run, target: Target, tmp_path: Path, words: str) -> None:
    command, *more = words.split()
    if "[stack]" in more:
        asked: list[Any] = [command, target.pid, *more]
    else:
        asked = [command, *more, target.pid]
    ran = run(*asked, "--format", "csv")
    heading, *rows = rows_of(ran.out)
    if command == "container" and not rows:
        pytest.skip(f"no memory control group here: {ran.err}")
    assert ran.status == 0, ran.err
    assert len(heading) == len(set(heading))
    lines = [json.loads(line) for line in run(*asked, "--format", "jsonl").out.splitlines()]
    assert all([*line] == heading for line in lines)
    assert " rows</strong>" in run(*asked, "--format", "html").out
    if command == "snapshot":  # whose -o is the snapshot's
        return
    pl = pytest.importorskip("polars")
    file = tmp_path / "x.parquet"
    assert run(*asked, "-o", file).out == ""
    assert pl.read_parquet(file).columns == heading


def test_each_command_with_records_has_every_format() -> None:
    lacking = {
        "watch": ("table", "json", "jsonl", "csv"),  # whose rows come as long as it runs
    }
    without = {
        "report", "exporter", "schema", "demo", "completion",  # print no records
        "pmap", "ps", "size",  # take what the programs take that they imitate
        "grade",  # whose --format is which reports are written
    }  # fmt: skip
    for page in all_pages():
        command, *_ = page.words
        if command in without:
            continue
        for one in (page, *page.below):
            if one.words in (("lab",), ("lab", "new"), ("lab", "show")):
                continue
            options = {name: option for option in one.options for name in option.flags}
            assert options["--format"].choices == lacking.get(command, ALL), one.words
            assert "--json" in options
            assert "-o" in options


@pytest.mark.parametrize("command", [*COMMANDS])
def test_force_names_each_option_that_it_is_for(command: str) -> None:
    page = page_of(command)
    for one in (page, *page.below):
        said = {name: option.help for option in one.options for name in option.flags}
        if "--force" not in said:
            continue
        for name in ("-o", "--svg", "--perfetto", "--speedscope", "--report"):
            named = bool(re.search(rf"(?<!\S){name}(?![-\w])", said["--force"]))
            assert named == ("only with --force" in said.get(name, "")), (one.words, name)


@pytest.mark.parametrize("words", [["doctor"], ["lab", "list"], ["experiment"]])
def test_lists_are_tables(run: Run, words: list[str]) -> None:
    heading, *rows = rows_of(run(*words, "--format", "csv").out)
    assert rows
    assert heading == [*json.loads(run(*words, "--json").out)[0]]


class TestMaps:
    def test_the_values_are_those_of_the_table(self, run: Run, saved: Path) -> None:
        heading, *rows = rows_of(run("maps", saved, "--format", "csv").out)
        snapshot = procmem.load(saved)
        table = snapshot.regions
        assert [row[heading.index("start")] for row in rows] == [str(one.start) for one in table]
        assert [row[heading.index("rss")] for row in rows] == [str(one.rss) for one in table]
        assert {row[0] for row in rows} == {str(snapshot.identity.pid)}

    def test_names_that_others_rely_on(self, run: Run, target: Target) -> None:
        heading = rows_of(run("maps", target.pid, "--format", "csv").out)[0]
        names = (
            "start end size perms offset dev inode pathname deleted kind use owner name rss pss "
            "private_dirty"
        )
        assert {*names.split()} <= {*heading}

    def test_columns_are_chosen(self, run: Run, target: Target) -> None:
        ran = run("maps", target.pid, "--format", "csv", "--columns", "name,rss")
        assert rows_of(ran.out)[0] == ["name", "rss"]
        ran = run("maps", target.pid, "--format", "csv", "--columns", "nmae")
        assert (ran.status, ran.out) == (2, "")
        assert "there is no column 'nmae', but pid, start" in ran.err

    def test_json_is_format_json(self, run: Run, saved: Path) -> None:
        assert run("maps", saved, "--json").out == run("maps", saved, "--format=json").out

    def test_two_processes(self, run: Run, target: Target) -> None:
        ran = run("maps", target.pid, target.pid, "--format", "csv", "--columns", "pid")
        with Process(target.pid) as process:
            assert ran.out.count(f"{target.pid}\r\n") == 2 * len(process.maps())

    def test_one_that_can_not_be_read(self, run: Run, target: Target) -> None:
        ran = run("maps", target.pid, 1 << 30, "--format", "csv", "--columns", "pid")
        assert ran.status == 1
        assert ran.err.count("\n") == 1
        assert f"{target.pid}\r\n" in ran.out
        assert run("maps", 1 << 30, "--format", "csv").out == ""

    @pytest.mark.parametrize(
        "words",
        [
            ["--json", "--format", "csv"],
            ["--format", "xml"],
            ["--format", "csv", "--units", "B"],
            ["--format", "csv", "--numa"],
            ["--format", "json", "--columns", "rss"],
            ["--force"],
        ],
    )
    def test_what_is_refused(self, run: Run, target: Target, words: list[str]) -> None:
        ran = run("maps", target.pid, *words)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


class TestOutput:
    def test_the_table_goes_to_a_file(self, run: Run, saved: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.txt"
        shown = run("maps", saved).out
        assert run("maps", saved, "-o", file).out == ""
        assert file.read_text() == shown
        assert run("maps", saved, "-o", "-").out == shown

    def test_its_name_says_the_format(self, run: Run, target: Target, tmp_path: Path) -> None:
        for name, start in (("a.csv", "pid,"), ("a.json", "["), ("a.html", "<!"), ("a.jsonl", "{")):
            run("maps", "--fast", target.pid, "-o", tmp_path / name)
            assert (tmp_path / name).read_text().startswith(start)

    def test_nothing_is_overwritten(self, run: Run, target: Target, tmp_path: Path) -> None:
        file = tmp_path / "x.csv"
        file.write_text("mine\n")
        ran = run("maps", target.pid, "-o", file)
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert "it exists: name another file, or overwrite it with --force" in ran.err
        assert file.read_text() == "mine\n"
        assert run("maps", target.pid, "-o", file, "--force").status == 0
        assert file.read_text().startswith("pid,")
        link = tmp_path / "link.csv"
        link.symlink_to("x.csv")
        assert run("maps", target.pid, "-o", link).status == 1

    def test_after_an_error_it_is_as_it_was(self, run: Run, target: Target, tmp_path: Path) -> None:
        file = tmp_path / "x.csv"
        ran = run("maps", target.pid, "-o", file, "--columns", "nmae")
        assert ran.status == 2
        assert [*tmp_path.iterdir()] == []
        assert run("maps", target.pid, "-o", tmp_path / "no" / "x.csv").status == 1
        assert sys.stdout is not None

    def test_a_terminal_gets_no_parquet(
        self, run: Run, target: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        for words in (["maps", target.pid], ["doctor"]):
            ran = run(*words, "--format", "parquet")
            assert (ran.status, ran.out) == (2, "")
            assert "name a file with -o FILE" in ran.err
        ran = run("size", "--format=parquet", sys.executable)
        assert (ran.status, ran.out) == (1, "")
        ran = run("trace", "--format", "arrow", "--", "true")
        assert ran.status == 2

    def test_without_the_libraries(
        self, run: Run, target: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("pyarrow", "polars"):
            monkeypatch.setitem(sys.modules, name, None)
        ran = run("maps", target.pid, "-o", tmp_path / "x.parquet")
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert "procmem-live[frames]" in ran.err
        assert [*tmp_path.iterdir()] == []


class Screen(io.BytesIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_does_not_act_upon_names() -> None:
    line = "00400000-0040b000 r-xp 00000000 08:01 7 /tmp/x\x1b[2J\x9b\u202e,y\n".encode()
    table = procmem.parse_maps(line).select("start", "pathname")
    options = Namespace(format="csv", columns=None)
    screen, file = Screen(), io.BytesIO()
    print_table(table, options, screen)
    print_streamed(table, options, heading=False, to=screen)
    shown = b'4194304,"/tmp/x\\x1b[2J\\x9b\\u202e,y"\r\n'
    assert screen.getvalue() == b"start,pathname\r\n" + 2 * shown
    print_table(table, options, file)
    assert b"/tmp/x\x1b[2J" in file.getvalue(), "a file has the name as it is"


def test_a_pipe_that_is_closed() -> None:
    ran = subprocess.run(
        f"{sys.executable} -m procmem maps self --format csv | head -n 1",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.startswith("pid,start")
    assert ran.stderr == ""


class TestSize:
    def test_a_row_for_each_file(self, run: Run) -> None:
        heading, row = rows_of(run("size", "--format=csv", sys.executable).out)
        assert heading == ["path", "member", "text", "data", "bss", "total"]
        _, berkeley = run("size", sys.executable).out.splitlines()
        assert row[2:] == berkeley.split()[:4]

    def test_words_of_gnu_size_stay(self, run: Run) -> None:
        assert run("size", "--format=berkeley", sys.executable).out.startswith("   text")
        assert run("size", "--format=cvs", sys.executable).status == 1


class TestSnapshotsOverTime:
    def test_a_diff(self, run: Run, target: Target, tmp_path: Path) -> None:
        run("snapshot", target.pid, "-o", tmp_path / "a")
        run("snapshot", "self", "-o", tmp_path / "b")
        found = json.loads(run("diff", tmp_path / "a", tmp_path / "b", "--json").out)
        heading, *rows = rows_of(run("diff", tmp_path / "a", tmp_path / "b", "--format=csv").out)
        assert [row[heading.index("vsz")] for row in rows] == [
            str(change["vsz"]) for change in found["changes"]
        ]

    def test_a_recording_row_by_row_and_its_report(
        self, run: Run, target: Target, tmp_path: Path
    ) -> None:
        words = ["record", target.pid, "-o", tmp_path / "r", "--for", "0.3", "--quiet"]
        streamed = run(*words, "--format", "csv").out
        report = run("record", "--report", tmp_path / "r", "--format", "csv").out
        assert rows_of(streamed)[:2] == rows_of(report)[:2]
        assert rows_of(report)[0][:4] == ["number", "time", "seconds", "detail"]
        assert run(*words, "--format", "csv", "--columns", "nmae").status == 2

    def test_a_trace_line_by_line(self, run: Run, tmp_path: Path) -> None:
        words = ["trace", "-o", tmp_path / "t", "--force"]
        assert run(*words, "--format", "jsonl", "--", "true").status == 0
        lines = [json.loads(line) for line in (tmp_path / "t").read_text().splitlines()]
        assert lines[0]["name"] == "execve"
        assert lines[-1]["name"] == "exit_group"
        assert run(*words, "--format", "csv", "--columns", "name,result", "--", "true").status == 0
        heading, *rows = rows_of((tmp_path / "t").read_text())
        assert heading == ["name", "result"]
        assert (rows[0][0], rows[-1][0]) == ("execve", "exit_group")
        pl = pytest.importorskip("polars")
        assert run(*words, "--format", "parquet", "--", "true").status == 0
        assert pl.read_parquet(tmp_path / "t")["name"].to_list()[0] == "execve"


CHECKS = """
from procmem.grade import points

@points(2, "the file says yes", hint="Write yes into it.")
def test_yes(submission):
    assert submission.read("it.txt").strip() == "yes"
"""


class TestSteps:
    def test_an_experiment_has_a_row_for_each_step(self, run: Run, tmp_path: Path) -> None:
        words = ["experiment", "lazy-allocation"]
        (story,) = json.loads(run(*words, "--json").out)
        heading, *rows = rows_of(run(*words, "--format", "csv").out)
        found = [dict(zip(heading, row, strict=True)) for row in rows]
        assert [row["label"] for row in found] == [one["label"] for one in story["told"]]
        assert {row["name"] for row in found} == {"lazy-allocation"}
        for row, told in zip(found, story["told"], strict=True):
            step = told["step"]
            assert row["step_predicted_vsz"] == str(step["predicted"]["vsz"])
            assert row["step_predicted_rss"] == str(step["predicted"]["rss"])
            assert row["step_fault_signal"] == row["claim_holds"] == ""
        pl = pytest.importorskip("polars")
        assert run(*words, "-o", tmp_path / "x.parquet").out == ""
        frame = pl.read_parquet(tmp_path / "x.parquet")
        assert (frame.columns, frame.schema["step_delta_rss"]) == (heading, pl.Int64)

    def test_one_that_is_not_possible_is_named(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        skipped = Story("lazy-allocation", "title", "question", skipped="no helper here")
        monkeypatch.setattr(experiment, "told", lambda *_, **__: [skipped])
        ran = run("experiment", "lazy-allocation", "--format", "csv")
        assert ran.out.startswith("name,label,")
        assert ran.out.count("\n") == 1
        assert ran.err.endswith("lazy-allocation: not possible here: no helper here\n")

    def test_a_lab_has_a_row_for_each_check(self, run: Run, tmp_path: Path) -> None:
        lab = make_lab(tmp_path / "lab", CHECKS, 'files = ["it.txt"]\nprogram = ["cat"]\n')
        mine = make_submission(tmp_path / "ada", {"it.txt": "no"})
        ran = run("lab", "check", mine, "--lab", lab.directory, "--format", "csv")
        end_servers()
        heading, row = rows_of(ran.out)
        found = dict(zip(heading, row, strict=True))
        assert ran.status == 1
        assert (found["submission"], found["name"], found["status"]) == (
            "ada",
            "test_yes",
            "failed",
        )
        assert (float(found["score"]), float(found["points"])) == (0, 2)
        assert found["hint"] == "Write yes into it."


class TestSnapshot:
    def test_its_rows_are_those_of_maps(self, run: Run, saved: Path, tmp_path: Path) -> None:
        rows = run("snapshot", saved, "--format", "csv").out
        assert rows == run("maps", saved, "--format", "csv").out
        copy = tmp_path / "copy"
        ran = run("snapshot", saved, "-o", copy, "--format", "jsonl")
        snapshot = procmem.load(saved)
        assert json.loads(ran.out.splitlines()[0])["pid"] == snapshot.identity.pid
        assert procmem.load(copy).regions == snapshot.regions, "-o is the snapshot"

    def test_a_terminal_gets_no_parquet(
        self, run: Run, saved: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        ran = run("snapshot", saved, "--format", "parquet")
        assert (ran.status, ran.out) == (2, "")
        assert "--format parquet is no text: redirect the output" in ran.err


def test_watch_prints_a_row_for_each_change(
    run: Run, monkeypatch: pytest.MonkeyPatch, target: Target
) -> None:
    with Process(target.pid) as process:
        snapshots = [process.snapshot()]
        for pages in (3, 5):
            target.touch(target.map(pages))
            snapshots.append(process.snapshot())

    def changes(*_: object, **__: object) -> Generator[procmem.Diff, None, str]:
        yield from map(procmem.diff, snapshots, snapshots[1:])
        return "it exited"

    monkeypatch.setattr(watch, "watch", changes)
    ran = run("watch", target.pid, "--format", "csv")
    heading, *rows = rows_of(ran.out)
    assert heading[:4] == ["number", "time", "start", "end"]
    assert ran.out.count("number,time") == 1
    grown = {(row[0], row[heading.index("rss")]) for row in rows}
    assert {("0", str(3 * PAGE)), ("1", str(5 * PAGE))} <= grown
    assert {row[1][-1] for row in rows} == {"Z"}
    assert ran.err == "procmem watch: it exited\n"


def test_watch_keeps_what_it_has_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: Target
) -> None:
    with Process(target.pid) as process:
        before = process.snapshot()

    def changes(*_: object, **__: object) -> Iterator[Any]:
        yield procmem.diff(before, before)
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "watch", changes)
    with pytest.raises(KeyboardInterrupt):
        cli.run(["watch", str(target.pid), "-o", str(tmp_path / "x.jsonl")])
    (line,) = (tmp_path / "x.jsonl").read_text().splitlines()
    assert json.loads(line)["vsz"] == 0


def test_every_format_is_one_of_all() -> None:
    assert ALL == ("table", "json", "jsonl", "csv", "html", "arrow", "parquet")
    assert main(["maps", "self", "--format", "csv", "-o", "/dev/null", "--force"]) == 0
