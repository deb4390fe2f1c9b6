"""Grading many: resumable, stable, one bad submission never stopping the rest."""

from __future__ import annotations

import base64
import csv
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from procmem.grade import Grade, Lab
from procmem.grade.grading.client import end_servers
from procmem.grade.grading.many import ResultsInUse, grade_all
from procmem.grade.grading.overview import outcome_line, overview
from procmem.grade.submissions.handins import NoSubmissions
from tests.support.dask import Cluster, wait_for
from tests.support.labs_made import make_lab, make_submission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.grade.grading.many import Outcome, Summary

CHECKS = """
import os, signal, time
from pathlib import Path
from procmem.grade import SubmissionError, not_possible, points

LOG, GATE = Path({log!r}), Path({gate!r})

@points(3, "it says what it should")
def test_says(submission):
    with LOG.open("a") as log:  # the grader's own side, which runs in no sandbox
        log.write(submission.read("name.txt").strip() + "\\n")
    asked = submission.read("do.txt").split()
    if asked[:1] == ["sleep"]:
        time.sleep(float(asked[1]))
    if asked[:1] == ["gate"]:
        while not GATE.exists():
            time.sleep(0.01)
    if asked[:1] == ["die"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if asked[:1] == ["bug"]:
        raise ZeroDivisionError
    if asked[:1] == ["impossible"]:
        not_possible("no luck here")
    assert asked[0] in ("well", "sleep", "gate")

@points(1, "it is there")
def test_is_there(submission):
    pass
"""


class Class:
    """A lab, and a directory of submissions to it.

    Attributes:
        gate: the submission "gate" is graded when this file exists, and not before.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "log"
        self.gate = place / "gate"
        self.submissions = place / "subs"
        self.results = place / "results"
        toml = 'files = ["do.txt", "name.txt"]\nprogram = ["cat"]\n'
        checks = CHECKS.format(log=str(self.log), gate=str(self.gate))
        self.lab: Lab = make_lab(place / "lab", checks, toml)
        self.submissions.mkdir()

    def add(self, name: str, do: str = "well") -> Path:
        return make_submission(
            self.submissions / name, {"do.txt": do, "name.txt": ascii(name)[1:-1]}
        )

    def grade(self, **how: Any) -> Summary:
        how.setdefault("jobs", 2)
        return grade_all(self.lab, self.submissions, self.results, **how)

    @property
    def ran(self) -> list[str]:
        """Whose checks were run, each time."""
        return sorted(self.log.read_text().split("\n")[:-1]) if self.log.exists() else []

    def loaded(self, name: str) -> Grade:
        return Grade.from_json((self.results / "submissions" / name / "grade.json").read_bytes())

    def table(self) -> list[dict[str, str]]:
        with open(self.results / "grades.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Class]:
    yield Class(tmp_path)
    end_servers()


def names(summary: Summary) -> list[str]:
    return [outcome.submission for outcome in summary.outcomes]


# ---- results ----


def test_every_submission_gets_its_results(many: Class) -> None:
    for name, do in (("a", "well"), ("b", "badly"), ("c", "impossible"), ("d", "bug")):
        many.add(name, do)
    summary = many.grade()
    assert names(summary) == ["a", "b", "c", "d"]
    scores = [(one.score, one.max_score) for one in summary.outcomes]
    assert scores == [(4, 4), (1, 4), (1, 1), (1, 1)]
    assert [one.submission for one in summary.errors] == ["d"]
    assert summary.outcomes[1].lost == ("it says what it should",)
    for name in "abcd":
        assert sorted(os.listdir(many.results / "submissions" / name)) == [
            "autolab.txt", "check50.json", "classroom.txt", "done", "grade.json", "junit.xml",
            "report.html", "report.md", "results.json",
        ]  # fmt: skip
        assert many.loaded(name).submission == name
    assert [row["score"] for row in many.table()] == ["4", "1", "1", "1"]
    assert [row["test_says"] for row in many.table()] == ["3", "0", "not possible", "error"]
    (says, there) = summary.checks
    assert (says.name, says.failing, there.failing) == ("test_says", 1, 0)
    told = json.loads((many.results / "summary.json").read_text())
    assert told == json.loads(json.dumps(summary.to_dict()))
    assert os.stat(many.results).st_mode & 0o077 == 0


def test_the_order_is_that_of_the_names_whoever_ends_first(many: Class) -> None:
    many.add("a", "gate")
    for name in "edcb":
        many.add(name)
    seen: list[str] = []

    def note(outcome: Outcome, _: Summary) -> None:
        seen.append(outcome.submission)
        if len(seen) == 4:
            many.gate.touch()

    summary = many.grade(progress=note)
    assert seen[-1] == "a"
    assert names(summary) == ["a", "b", "c", "d", "e"]
    assert [row["submission"] for row in many.table()] == ["a", "b", "c", "d", "e"]


def test_progress_tells_how_far_it_is(many: Class) -> None:
    for name in "abc":
        many.add(name)
    seen: list[tuple[int, int, float | None]] = []

    def note(_: Outcome, summary: Summary) -> None:
        seen.append((len(summary.outcomes), summary.total, summary.remaining))

    many.grade(progress=note)
    assert [(done, total) for done, total, _ in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[0][2] is not None
    assert seen[0][2] > 0
    assert seen[-1][2] == 0


def test_only_the_formats_that_are_asked_for(many: Class) -> None:
    many.add("a")
    many.grade()
    many.grade(formats=["junit"], again=True)
    there = sorted(os.listdir(many.results / "submissions" / "a"))
    assert there == ["done", "grade.json", "junit.xml"]
    before = len(many.ran)
    many.grade(formats=["junit", "html"])  # one more, of the same grade
    assert "report.html" in os.listdir(many.results / "submissions" / "a")
    assert len(many.ran) == before


# ---- going on ----


def test_what_is_done_is_not_graded_again(many: Class) -> None:
    for name in "abc":
        many.add(name)
    first = many.grade()
    second = many.grade()
    assert many.ran == ["a", "b", "c"]
    assert second.kept == 3
    assert [o.score for o in first.outcomes] == [o.score for o in second.outcomes]
    assert many.grade(again=True).kept == 0
    assert many.ran == ["a", "a", "b", "b", "c", "c"]


def test_a_changed_submission_is_graded_again_and_a_new_one_too(many: Class) -> None:
    for name in "ab":
        many.add(name)
    many.grade()
    many.add("a", "badly")
    many.add("c")
    summary = many.grade()
    assert many.ran == ["a", "a", "b", "c"]
    assert [one.score for one in summary.outcomes] == [1, 4, 4]
    assert [one.kept for one in summary.outcomes] == [False, True, False]


def test_a_changed_lab_grades_all_again(many: Class) -> None:
    many.add("a")
    many.grade()
    with open(many.lab.checks, "a") as checks:
        checks.write("\n# another thought\n")
    many.grade()
    assert many.ran == ["a", "a"]


def test_what_the_grader_failed_at_is_tried_again_next_time(many: Class) -> None:
    many.add("a", "bug")
    many.grade()
    assert many.grade().kept == 0
    assert many.ran == ["a", "a"]


@pytest.mark.parametrize("file", ["grade.json", "done"])
def test_half_a_result_is_none(many: Class, file: str) -> None:
    many.add("a")
    many.grade()
    path = many.results / "submissions" / "a" / file
    path.write_bytes(path.read_bytes()[:-20])
    assert many.grade().kept == 0
    assert many.ran == ["a", "a"]


def test_a_result_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    """`ulimit -f`: write(2) fails, and does not say of which file."""
    path = tmp_path / "report.html"
    code = (
        "import resource, signal, sys; from procmem.grade.grading.many import put\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: put(sys.argv[1], bytes(10_000))\n"
        "except OSError as error: print(error.filename, error.strerror)\n"
    )
    words = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"{path} File too large\n"
    assert not list(tmp_path.iterdir())


def test_one_process_at_a_time_writes_results(many: Class) -> None:
    many.add("a")

    def again(*_: object) -> None:
        with pytest.raises(ResultsInUse, match="another process"):
            many.grade()

    many.grade(progress=again)


COMMAND = [sys.executable, "-m", "procmem", "grade", "--jobs", "2", "-o"]


def command(many: Class) -> list[str]:
    return [*COMMAND, str(many.results), str(many.lab.directory), str(many.submissions)]


def below(pid: int) -> set[int]:
    """The processes that a process has started, and theirs."""
    found = {pid}
    while True:
        more = set(found)
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent in found:
                more.add(int(entry))
        if more == found:
            return found - {pid}
        found = more


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_killed_run_goes_on_where_it_was(many: Class, how: signal.Signals) -> None:
    for number in range(8):
        many.add(f"s{number}", "gate" if number in (3, 4) else "well")
    with subprocess.Popen(
        command(many), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        # Two are at work in it, the quick ones are done.
        wait_for(lambda: len(many.ran) >= 5)
        started = below(run.pid)
        run.send_signal(how)
        out, err = run.communicate(timeout=300)
    many.gate.touch()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in started))
    if how is signal.SIGINT:
        assert run.returncode == 130
        assert "stopped after 3 of 8" in err
        assert [row["submission"] for row in many.table()] == ["s0", "s1", "s2"]
    else:
        assert run.returncode == -signal.SIGKILL
    assert out.count("all points") == 3
    assert "Traceback" not in err
    before = many.ran
    summary = many.grade()
    assert [one.kept for one in summary.outcomes] == [True] * 3 + [False] * 5
    assert summary.errors == []
    # Each was graded once; those that the kill met, were begun twice.
    assert sorted(many.ran) == sorted(before + [f"s{n}" for n in range(3, 8)])
    assert len(many.table()) == 8


def test_a_second_killed_run_leaves_no_half_files(many: Class) -> None:
    many.add("a")
    many.grade()
    (many.results / "submissions" / "a" / "done").unlink()
    half = many.results / "submissions" / "a" / "grade.json.1.part"
    half.write_text("{")
    assert many.grade().kept == 0
    assert many.loaded("a").score == 4


# ---- bad submissions ----


def test_one_that_kills_its_grader_does_not_stop_the_others(many: Class) -> None:
    many.add("bad", "die")
    for name in "abc":
        many.add(name)
    summary = many.grade()
    assert names(summary) == ["a", "b", "bad", "c"]
    assert [one.submission for one in summary.errors] == ["bad"]
    assert [one.score for one in summary.outcomes if one.error is None] == [4, 4, 4]


def test_names_may_be_anything(many: Class) -> None:
    hostile = ["two\nlines", "=cmd()", "<b>", "a'b\"c", "-o", "\udcff", "x" * 200, " space "]
    for name in hostile:
        many.add(name)
    summary = many.grade()
    assert sorted(names(summary)) == sorted(hostile)
    assert summary.errors == []
    assert sorted(os.listdir(many.results / "submissions")) == sorted(hostile)
    assert len(many.table()) == len(hostile)


def test_odd_things_among_the_submissions(many: Class) -> None:
    many.add("a")
    os.symlink("nowhere", many.submissions / "broken-link")
    os.mkfifo(many.submissions / "fifo")
    (many.submissions / ".DS_Store").write_text("")
    (many.submissions / "__MACOSX").mkdir()
    (many.submissions / "odd.xyz").write_text("what is that")
    deep = many.submissions / "deep"
    deep.mkdir()
    os.mkfifo(deep / "do.txt")
    summary = many.grade()
    assert names(summary) == ["a", "broken-link", "deep", "fifo", "odd.xyz"]
    assert [one.score for one in summary.outcomes] == [4, 1, 1, 1, 1]
    assert summary.errors == []
    build = many.loaded("odd.xyz").build
    assert build is not None
    assert "do.txt, name.txt" in build.output


def test_the_results_are_no_submission(many: Class) -> None:
    many.add("a")
    many.results = many.submissions / "results"
    assert names(many.grade()) == ["a"]
    assert names(many.grade()) == ["a"]


def test_no_submissions_is_an_error_that_says_so(many: Class) -> None:
    with pytest.raises(NoSubmissions, match="no submissions"):
        many.grade()
    with pytest.raises(NoSubmissions, match="No such file"):
        grade_all(many.lab, many.place / "nothing", many.results)


# ---- archives ----


def test_a_broken_archive_loses_points_and_says_why(many: Class) -> None:
    (many.submissions / "a.zip").write_text("no zip")
    summary = many.grade()
    assert summary.errors == []
    assert summary.outcomes[0].lost == ("it says what it should",)
    assert "not a zip file" in (many.results / "submissions" / "a.zip" / "report.html").read_text()


# ---- executors ----


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_any_executor_will_do(many: Class, kind: str) -> None:
    for name in "abcdef":
        many.add(name)
    if kind == "threads":
        made: Executor = ThreadPoolExecutor(2)
    else:
        made = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    try:
        with made as executor:
            summary = many.grade(executor=executor)
    finally:
        if kind == "processes":  # a process that would stay until the tests end
            resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
    assert [one.score for one in summary.outcomes] == [4] * 6
    assert many.ran == list("abcdef")


class Breaking(ThreadPoolExecutor):
    """An executor that breaks at its third job, as a pool does when a process of it is killed."""

    count = 0

    def submit(self, *args: Any, **how: Any) -> Future[Any]:
        self.count += 1
        if self.count > 3:
            raise BrokenProcessPool
        if self.count == 3:
            broken: Future[Any] = Future()
            broken.set_exception(BrokenProcessPool())
            return broken
        return super().submit(*args, **how)


def test_an_executor_that_breaks_is_done_without(many: Class) -> None:
    for name in "abcdef":
        many.add(name)
    with Breaking(2) as executor:
        summary = many.grade(executor=executor)
    assert names(summary) == list("abcdef")
    assert [one.score for one in summary.outcomes] == [4] * 6


# ---- Dask ----


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and two workers."""
    with ExitStack() as stack:
        made = Cluster(stack, tmp_path)
        yield made.address, [made.worker("--resources=slot=1", f"--name=w{i}") for i in (0, 1)]


@pytest.mark.slow
def test_dask_grades_each_once_though_a_worker_is_killed(
    many: Class, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, workers = cluster
    for number in range(12):
        many.add(f"s{number:02}", "sleep 0.3")
    with subprocess.Popen(
        [*command(many), "--dask", address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        wait_for(lambda: len(many.ran) >= 4)
        started = below(workers[0].pid)
        workers[0].kill()
        out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert out.count("all points\n") == 12
    assert [row["submission"] for row in many.table()] == [f"s{n:02}" for n in range(12)]
    assert {row["score"] for row in many.table()} == {"4"}
    # What the killed worker had begun was begun once more; nothing else was.
    assert set(many.ran) == {f"s{n:02}" for n in range(12)}
    assert len(many.ran) in (12, 13)
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in started))


def test_a_missing_extra_is_told_with_the_command_that_brings_it(
    many: Class, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from procmem.cli import main

    many.add("a")
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = ["grade", str(many.lab.directory), str(many.submissions), "-o", str(many.results)]
    assert main([*words, "--dask", "tcp://127.0.0.1:1"]) == 1
    assert "pip install 'procmem-live[distributed]'" in capsys.readouterr().err


# ---- lists for the instructor ----


def test_hand_ins_that_could_not_be_opened_have_a_list(many: Class) -> None:
    many.add("a")
    (many.submissions / "b.zip").write_text("no zip")
    (many.submissions / "c.rar").write_bytes(b"Rar!\x1a\x07\0" + bytes(50))
    summary = many.grade()
    assert [one.submission for one in summary.unopened] == ["b.zip", "c.rar"]
    told = " ".join(overview(summary).split())
    assert "Could not be opened, so no file of them counted: 2 b.zip: the archive is" in told
    assert summary.to_dict()["unopened"] == ["b.zip", "c.rar"]
    assert "could not be opened: a file of the kind rar" in outcome_line(summary.outcomes[2])


def test_two_hand_ins_of_one_student_are_pointed_out(many: Class) -> None:
    for name in ("alice", "bob", "Alice (1)"):
        many.add(name)
    summary = many.grade()
    assert summary.doubles == [("Alice (1)", "alice")]
    assert (
        "Perhaps from the same student, judging by the names; each was graded separately: Alice "
        "(1), alice" in (" ".join(overview(summary).split()))
    )


def test_no_path_of_the_graders_is_in_a_report(tmp_path: Path) -> None:
    checks = """
import os
from procmem.grade import points
@points(1, "a path in a message")
def test_a(submission):
    assert False, f"see {submission.path('x.c')} and {submission.directory} and {__file__}"
@points(1, "a path that is compared")
def test_b(submission):
    assert submission.path("x.c") == os.path.join(submission.source, "x.c")
@points(1, "a build")
def test_c(submission):
    submission.program()
@points(1, "an error of the grader")
def test_d(submission):
    open(os.path.join(submission.directory, "none"))
@points(1, "a temporary file")
def test_e():
    import tempfile
    assert not tempfile.gettempdir()
"""
    toml = 'build = ["make"]\nprogram = ["./x"]\nfiles = ["x.c", "Makefile"]\n'.replace(
        "\\\n", "\n"
    )
    lab = make_lab(tmp_path / "lab" / "secret-lab", checks, toml)
    rules = "all:\n\tpwd\n\techo $(CURDIR) $$TMPDIR\n\tfalse\n"
    make_submission(tmp_path / "subs" / "a", {"x.c": "", "Makefile": rules})
    grade_all(lab, tmp_path / "subs", tmp_path / "results", jobs=1)
    place = tmp_path / "results" / "submissions" / "a"
    for path in place.iterdir():
        if path.name not in ("grade.json", "done"):
            told = path.read_text()
            if path.name == "classroom.txt":
                told = base64.b64decode(told).decode()
            assert "procmem-jobs" not in told, path
            assert str(tmp_path) not in told, path
    end_servers()


def test_files_that_canvas_lays_beside_each_other_are_one_hand_in(many: Class) -> None:
    for name, text in (
        ("doejane_12_301_do.txt", "well"), ("doejane_12_302_name.txt", "jane"),
        ("roejohn_LATE_13_303_do.txt", "badly"), ("roejohn_LATE_13_304_name-1.txt", "john"),
        ("poejim_14_305_do.txt", "well"), ("poejim_14_306_do-1.txt", "badly"),
    ):  # fmt: skip
        (many.submissions / name).write_text(text)
    summary = many.grade(jobs=1)
    apart = ["poejim_14_305_do.txt", "poejim_14_306_do-1.txt"]
    assert names(summary) == ["doejane_12", *apart, "roejohn_13"]
    assert [outcome.score for outcome in summary.outcomes][::3] == [4, 1]
    assert summary.doubles == [tuple(apart)]
    assert "name.txt: found as doejane_12_302_name.txt" in many.loaded("doejane_12").notes
    assert many.grade().kept == 4
    (many.submissions / "doejane_12_301_do.txt").write_text("badly")
    assert many.grade().kept == 3
