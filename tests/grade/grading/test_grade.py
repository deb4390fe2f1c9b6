"""Grading one submission: how checks end, and what happens when the checks themselves fail."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem.grade import Grade, Lab, LabError, Sandbox, Status, grade
from procmem.grade.grading.client import borrowed_server, end_servers
from procmem.grade.sandbox.sandbox import why_not
from tests.support.labs_made import LAZY, make_lab, make_submission

if TYPE_CHECKING:
    from collections.abc import Callable

IMPORTS = """
import os, time
import pytest
from procmem.errors import MissingExtra, NoSuchProcess, Unsupported
from procmem.grade import KiB, PAGE, SubmissionError, heap, not_possible, partly, points
"""


@pytest.fixture
def graded(tmp_path: Path) -> Callable[..., Grade]:
    """Grades an empty submission by checks that are given as text."""

    def run(checks: str, **options: object) -> Grade:
        lab = make_lab(tmp_path / "lab", IMPORTS + checks)
        return grade(lab, make_submission(tmp_path / "sub"), **options)  # type: ignore[arg-type]

    return run


def statuses(found: Grade) -> dict[str, str]:
    return {check.name.removeprefix("test_"): check.status.value for check in found.checks}


# ---- how a check ends ----


def test_each_status(graded: Callable[..., Grade]) -> None:
    found = graded("""
@points(1, "passes")
def test_passes():
    pass

@points(2, "fails", hint="think")
def test_fails():
    assert 1 + 1 == 3, "a sum"

@points(2, "part by a share")
def test_share():
    partly(0.25, "a quarter")

@points(2, "part in points")
def test_part():
    partly(1, "one point")

@points(4, "skipped")
def test_skip():
    pytest.skip("no such thing here")

@points(4, "not possible")
def test_not_possible():
    not_possible("no such thing here")

@points(4, "not supported")
def test_unsupported():
    raise Unsupported("PAGEMAP_SCAN", "this kernel has none")

@points(4, "an extra is missing")
def test_extra():
    raise MissingExtra("plot", "this")

@points(8, "raises")
def test_raises():
    {}["nothing"]

@points(16, "the student's fault")
def test_submission():
    raise SubmissionError("hand in a file")

@points(32, "the process is gone")
def test_gone():
    raise NoSuchProcess(12345)

def test_informs():
    "says what it is"
    pytest.fail("no points")
""")
    assert statuses(found) == {
        "passes": "passed",
        "fails": "failed",
        "share": "partly",
        "part": "partly",
        "skip": "not possible here",
        "not_possible": "not possible here",
        "unsupported": "not possible here",
        "extra": "not possible here",
        "raises": "error",
        "submission": "failed",
        "gone": "failed",
        "informs": "failed",
    }
    assert (found.score, found.max_score, found.uncounted) == (2.5, 55, 24)
    assert found.error is None
    failed = found.check("test_fails")
    assert (failed.message, failed.expected, failed.seen) == ("a sum", "3", "2")
    assert failed.hint == "think"
    assert found.check("test_share").score == 0.5
    assert found.check("test_part").score == 1
    assert found.check("test_not_possible").message == "no such thing here"
    assert found.check("test_submission").message == "hand in a file"
    assert found.check("test_informs").title == "says what it is"
    error = found.check("test_raises")
    assert "KeyError" in (error.message or "")
    assert "checks.py" in (error.detail or "")
    assert all(check.seconds >= 0 for check in found.checks)
    assert found.machine["page_size"] == os.sysconf("SC_PAGESIZE")


def test_what_fails_in_a_fixture(graded: Callable[..., Grade]) -> None:
    found = graded("""
@pytest.fixture(scope="module")
def bad():
    1 / 0

@pytest.fixture
def odd():
    raise SubmissionError("hand in a file")

@pytest.fixture
def after():
    yield
    1 / 0

@points(1, "a")
def test_a(bad): pass

@points(1, "b")
def test_b(bad): pass

@points(1, "c")
def test_c(odd): pass

@points(1, "d")
def test_d(after): pass

@points(1, "e")
def test_e(after): assert 0, "failed before"

@points(1, "f")
def test_f(no_such_fixture): pass
""")
    assert statuses(found) == {
        "a": "error", "b": "error", "c": "failed", "d": "error", "e": "failed", "f": "error",
    }  # fmt: skip


def test_points_that_can_not_be_given_are_the_labs_error(graded: Callable[..., Grade]) -> None:
    found = graded("""
@points(1, "more than there are")
def test_more(): partly(2, "too much")

@points(1, "all of it")
def test_all(): partly(1.0, "everything")
""")
    assert statuses(found) == {"more": "error", "all": "passed"}


def test_variants_of_a_check_count_each(graded: Callable[..., Grade]) -> None:
    found = graded("""
@pytest.mark.parametrize("size", [1, 2, 3])
@points(1, "a size")
def test_size(size): assert size != 2

@points(1, "after them", needs="test_size")
def test_after(): pass

@points(1, "after one", needs="test_size[1]")
def test_after_one(): pass
""")
    assert [check.title for check in found.checks][:3] == [
        "a size (1)", "a size (2)", "a size (3)",
    ]  # fmt: skip
    assert (found.score, found.max_score) == (3, 5)
    assert found.check("test_after").status is Status.MISSED
    assert found.check("test_after_one").status is Status.PASSED


# ---- what a check needs ----


def test_a_check_is_missed_when_one_that_it_needs_failed(graded: Callable[..., Grade]) -> None:
    found = graded("""
@points(1, "third", needs="test_second")
def test_third(): assert 0, "must not run"

@points(1, "second", needs=["test_first"])
def test_second(): assert 0, "must not run"

@points(1, "first")
def test_first(): assert 0

@points(1, "not possible")
def test_np(): not_possible("x")

@points(1, "error")
def test_error(): 1 / 0

@points(1, "part")
def test_part(): partly(0.5, "y")

@points(1, "after it", needs="test_np")
def test_after_np(): assert 0, "must not run"

@points(1, "after an error", needs="test_error")
def test_after_error(): assert 0, "must not run"

@points(1, "after a part", needs="test_part")
def test_after_part(): pass
""")
    assert statuses(found) == {
        "third": "missed",
        "second": "missed",
        "first": "failed",
        "np": "not possible here",
        "error": "error",
        "part": "partly",
        "after_np": "not possible here",
        "after_error": "error",
        "after_part": "passed",
    }
    assert "first" in (found.check("test_second").message or "")
    assert (found.score, found.max_score) == (1.5, 5)


CIRCLE = """
@points(1, "a", needs="test_b")
def test_a(): pass

@points(1, "b", needs="test_a")
def test_b(): pass
"""
TYPO = """
@points(1, "a", needs="test_maps")
def test_a(): pass

@points(1, "b")
def test_map(): pass
"""


@pytest.mark.parametrize(
    "checks, words",
    [
        (CIRCLE, "test_a needs test_b needs test_a"),
        ('@points(1, "a", needs="test_a")\ndef test_a(): pass', "test_a needs test_a"),
        (TYPO, "test_a needs test_maps, which does not exist: did you mean test_map?"),
        ('@points(-1, "a")\ndef test_a(): pass', "points(-1"),
        ('@points(1, " ")\ndef test_a(): pass', "title"),
        ("def test_a(:\n    pass", "checks.py"),
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("", "holds no checks"),
        ("raise SystemExit(3)", "3"),
    ],
    ids=["circle", "itself", "typo", "negative", "title", "syntax", "import", "empty", "exit"],
)  # fmt: skip
def test_a_lab_that_is_wrong_is_an_error_of_the_grader(
    graded: Callable[..., Grade], checks: str, words: str
) -> None:
    found = graded(checks)
    assert found.error is not None
    assert words in found.error
    assert (found.score, found.max_score) == (0, 0)


# ---- checks that do harm ----


def test_a_check_that_ends_the_grader(graded: Callable[..., Grade]) -> None:
    found = graded("""
@points(1, "before")
def test_before(): pass

@points(1, "ends")
def test_ends(): os._exit(7)

@points(1, "behind")
def test_behind(): pass
""")
    assert statuses(found) == {"before": "passed", "ends": "error", "behind": "error"}
    assert "status 7" in (found.error or "")
    assert (found.check("test_behind").message or "").startswith("not run")
    assert (found.score, found.max_score) == (1, 1)


def test_a_check_that_kills_the_grader(graded: Callable[..., Grade]) -> None:
    found = graded("""
@points(1, "ends")
def test_ends(): os.kill(os.getpid(), 9)
""")
    assert "signal 9" in (found.error or "")
    assert statuses(found) == {"ends": "error"}


def test_a_check_that_hangs(graded: Callable[..., Grade], tmp_path: Path) -> None:
    found = graded(
        f"""
@points(1, "before")
def test_before(): pass

@points(1, "hangs")
def test_hangs():
    if not os.fork():
        with open({str(tmp_path / "pid")!r}, "w") as file:
            file.write(str(os.getpid()))
        while True:
            time.sleep(60)
    while not os.path.exists({str(tmp_path / "pid")!r}):
        time.sleep(0.01)
    with open({str(tmp_path / "pid")!r}) as file:
        while True:
            time.sleep(60)
""",
        # On a busy machine it takes long to begin, and to start another process.
        patience=15.0,
    )
    assert statuses(found) == {"before": "passed", "hangs": "error"}
    assert "did not finish in time" in (found.error or "")
    # What it had started is gone, too.
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_a_server_that_is_gone_is_an_error_of_one_grade(
    graded: Callable[..., Grade], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setenv("TMPDIR", str(room))
    end_servers()
    killed = graded("""
@points(1, "kills the server")
def test_kills(): os.kill(os.getppid(), 9); time.sleep(5)
""")
    assert "has ended" in (killed.error or "")
    assert list(room.rglob("job-*"))
    again = graded('@points(1, "passes")\ndef test_a(): pass')
    assert (again.error, again.score) == (None, 1)
    # What the killed one had left is removed by the next.
    end_servers()
    assert not list(room.rglob("job-*"))


def test_nothing_is_written_into_the_lab_and_the_submission(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", "import helper\ndef test_a(): assert helper.FINE",
                   files={"helper.py": "FINE = True\n"})  # fmt: skip
    submission = make_submission(tmp_path / "sub", {"conftest.py": "raise SystemExit(9)"})
    (tmp_path / "conftest.py").write_text("raise SystemExit(9)")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    before = sorted(tmp_path.rglob("*"))
    found = grade(lab, submission)
    assert (found.error, statuses(found)) == (None, {"a": "passed"})
    assert sorted(tmp_path.rglob("*")) == before


def test_the_users_pytest_settings_are_not_heard(
    graded: Callable[..., Grade], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    end_servers()
    assert graded('@points(1, "passes")\ndef test_a(): pass').score == 1


# ---- the program ----


NEEDS_CC = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
LAZY_LAB = """
from procmem.grade import PAGE, heap, points

@points(1, "the first answer maps a page", hint="Which call is it?")
def test_maps(program):
    with program.run() as run:
        before = run.pause()
        run.answer()
        after = run.pause()
        assert (after - before).vsz == PAGE

@points(1, "no heap by then", hidden=True)
def test_heap(program):
    with program.run() as run:
        before = run.pause()
        assert heap(before).size == 0
"""
TOML = 'build = ["cc", "-O1", "-o", "lazy", "lazy.c"]\nprogram = ["./lazy"]\nfiles = ["lazy.c"]\n'


@NEEDS_CC
def test_a_failure_is_explained(tmp_path: Path) -> None:
    # The wrong one asks only once the page is mapped, by stdio that has no heap yet.
    lab = make_lab(tmp_path / "lab", LAZY_LAB, TOML)
    wrong = LAZY.replace(
        "    getchar();\n    page = ", "    { char c; (void)!read(0, &c, 1); }\n    page = "
    )
    wrong = wrong.replace("#include <stdio.h>", "#include <stdio.h>\n#include <unistd.h>")
    right = grade(lab, make_submission(tmp_path / "right", {"lazy.c": LAZY}))
    found = grade(lab, make_submission(tmp_path / "wrong", {"lazy.c": wrong}))
    assert (right.error, found.error) == (None, None)
    assert right.build is not None
    assert right.build.ok
    assert right.check("test_maps").status is Status.PASSED
    failed = found.check("test_maps")
    assert failed.status is Status.FAILED
    assert failed.expected == "4 KiB"
    assert failed.seen == "136 KiB"
    assert failed.what == "change of VSZ"
    assert failed.phase is not None
    assert "2nd" in failed.phase or "1st answer" in failed.phase
    assert failed.cause == (
        "likely: +132 KiB is the heap that stdio created for its buffers, not your mmap"
    )
    assert failed.hint == "Which call is it?"
    assert found.check("test_heap").status is Status.PASSED
    assert right.check("test_heap").seen == "132 KiB"
    assert "132 KiB" not in right.for_student().to_json()
    assert str(tmp_path) not in found.to_json()


@NEEDS_CC
def test_a_submission_that_does_not_build_fails(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", LAZY_LAB, TOML)
    found = grade(lab, make_submission(tmp_path / "sub", {"lazy.c": "int main(void) { oops"}))
    assert statuses(found) == {"maps": "failed", "heap": "failed"}
    assert found.build is not None
    assert not found.build.ok
    assert "oops" in found.build.output
    assert found.error is None


@NEEDS_CC
def test_forged_results_are_only_output(tmp_path: Path) -> None:
    forged = Grade("lab", "sub").to_json().replace('"', r"\"")
    printed = (
        'printf("{\\"event\\": \\"result\\", \\"result\\": {\\"name\\": \\"test_maps\\", '
        '\\"status\\": \\"passed\\"}}\\n%s\\n1 passed\\n", "' + forged + '"); '
        'for (int fd = 3; fd < 64; fd++) dprintf(fd, "{\\"event\\": \\"done\\"}\\n");'
    )
    source = LAZY.replace("    getchar();\n", "    " + printed + "\n", 1)
    lab = make_lab(tmp_path / "lab", LAZY_LAB, TOML)
    found = grade(lab, make_submission(tmp_path / "sub", {"lazy.c": source}))
    assert found.error is None
    assert found.check("test_maps").status is Status.FAILED
    assert found.score == 0


def test_a_submission_that_is_not_there(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", "def test_a(submission): pass")
    found = grade(lab, tmp_path / "nothing")
    assert "nothing" in (found.error or "")


def test_what_only_the_grader_can_do_wrong_is_raised(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"lab\.toml"):
        grade(tmp_path, tmp_path)


# ---- many times, from anywhere ----


CAT = """
from procmem.grade import points

@points(1, "cat asks")
def test_asks(program):
    with program.run() as run:
        run.pause()

@points(1, "and again")
def test_again(program):
    with program.run() as run:
        before = run.pause()
        run.answer("a line")
        assert (run.pause() - before).vsz == 0
"""


@pytest.fixture(scope="module")
def cat_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    place = tmp_path_factory.mktemp("cat")
    make_submission(place / "sub")
    return make_lab(place / "lab", CAT)


def cat_submission(lab: Lab) -> Path:
    return lab.directory.parent / "sub"


def test_the_same_submission_gets_the_same_grade(cat_lab: Lab) -> None:
    found = [grade(cat_lab, cat_submission(cat_lab)) for _ in range(5)]
    assert found[0].score == found[0].max_score == 2
    assert len({one.verdict() for one in found}) == 1


def test_a_grade_says_in_which_sandbox_it_was_made(cat_lab: Lab) -> None:
    assert grade(cat_lab, cat_submission(cat_lab)).machine["sandbox"] == Sandbox().chosen()
    if not why_not("landlock"):
        made = grade(cat_lab, cat_submission(cat_lab), sandbox=Sandbox("landlock"))
        assert made.machine["sandbox"] == "landlock"


def test_from_threads(cat_lab: Lab) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: grade(cat_lab, cat_submission(cat_lab)), range(9)))
    assert {one.score for one in found} == {2}


def grade_it(lab: Lab) -> tuple[float, str | None]:
    found = grade(lab, cat_submission(lab))
    return found.score, found.error


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_from_processes(cat_lab: Lab, method: str) -> None:
    # The parent's own server stays the parent's.
    assert grade_it(cat_lab) == (2, None)
    if method == "fork" and sys.version_info >= (3, 12) and threading.active_count() > 1:
        pytest.skip("Python warns of a fork beside threads")
    try:
        with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
            assert set(pool.map(grade_it, [cat_lab] * 6)) == {(2, None)}
    finally:
        resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
    assert grade_it(cat_lab) == (2, None)


def test_a_server_does_not_grow(cat_lab: Lab) -> None:
    import procmem

    def taken() -> int:
        # Pages of files come and go with the page cache.
        with borrowed_server() as server:
            return procmem.Process(server.process.pid).rollup().anonymous or 0

    end_servers()
    grade_it(cat_lab)
    for _ in range(3):
        grade_it(cat_lab)
    before = taken()
    for _ in range(20):
        grade_it(cat_lab)
    assert 0 < taken() < before + 256 * 1024


def test_a_server_ends_with_its_client(cat_lab: Lab) -> None:
    grade_it(cat_lab)
    with borrowed_server() as server:
        process = server.process
    end_servers()
    assert process.poll() is not None


def test_nothing_is_left_in_the_temporary_directory(
    cat_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    os.chmod(tmp_path, 0o711)
    end_servers()
    assert grade_it(cat_lab) == (2, None)
    end_servers()
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert not left


# ---- checks that can't be evaluated on a wrong program ----

ODD_CHECKS = """
from procmem.grade import points

def words(submission):
    return submission.read("x.txt").split()

@points(1, "needs that", needs="test_needs")
def test_needs_more(submission): pass
@points(1, "needs one", needs="test_index")
def test_needs(submission): pass

@points(1, "index")
def test_index(submission): assert words(submission)[2]
@points(1, "unpacking")
def test_unpack(submission): a, b, c = words(submission)
@points(1, "a number")
def test_number(submission): assert int(words(submission)[-1]) == 3
@points(1, "a key")
def test_key(submission): assert dict(one=1)[words(submission)[0]] == 1
@points(1, "none")
def test_none(submission): assert {"one": "1"}.get(words(submission)[0]).upper()
@points(1, "a file")
def test_file(submission): open(submission.path("x.txt") + "y" * (3 - len(words(submission))))
@points(1, "a bug of the lab's")
def test_bug(submission): assert len(words(submission)) > 2 or no_such_name
@points(1, "never")
def test_never(submission): {}["x"]
@points(1, "hidden", hidden=True)
def test_hidden(submission): assert words(submission)[2]
@points(1, "right")
def test_right(submission): pass
"""


def test_a_check_that_can_not_be_evaluated_is_failed_if_the_solution_passes(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", ODD_CHECKS, 'program = ["cat"]\nfiles = ["x.txt"]\n')
    make_submission(lab.solution, {"x.txt": "one two 3"})
    wrong = grade(lab, make_submission(tmp_path / "wrong", {"x.txt": "uno x"}))
    assert statuses(wrong) == {
        **dict.fromkeys(("index", "unpack", "number", "key", "none", "file", "hidden"), "failed"),
        "needs": "missed", "needs_more": "missed",
        "bug": "error", "never": "error", "right": "passed",
    }  # fmt: skip
    assert (wrong.score, wrong.max_score, wrong.uncounted) == (1, 10, 2)
    said = wrong.check("test_index").message
    assert said is not None
    assert "IndexError" in said
    shown = wrong.for_student()
    assert all(check.raised is None for check in shown.checks)
    assert "IndexError" not in str(shown.checks[10])
    assert Grade.from_json(wrong.to_json()) == wrong
    right = grade(lab, lab.solution)
    assert statuses(right)["never"] == "error"
    assert right.score == 11


def test_without_a_solution_nobody_knows_whose_fault_it_is(graded: Callable[..., Grade]) -> None:
    found = graded('@points(1, "a")\ndef test_a(submission): assert [][0]')
    assert statuses(found) == {"a": "error"}
    assert found.check("test_a").raised == "IndexError: list index out of range"


def test_what_fails_inside_procmem_is_the_graders(tmp_path: Path) -> None:
    checks = """
from procmem.grade import heap, points
@points(1, "inside")
def test_inside(submission): assert submission.read("x.txt") == "1" or heap(7)
@points(1, "the machine's")
def test_machine(submission):
    if submission.read("x.txt") != "1":
        raise OSError(28, "No space left on device")
"""
    lab = make_lab(tmp_path / "lab", checks, 'program = ["cat"]\nfiles = ["x.txt"]\n')
    make_submission(lab.solution, {"x.txt": "1"})
    found = grade(lab, make_submission(tmp_path / "wrong", {"x.txt": "2"}))
    assert statuses(found) == {"inside": "error", "machine": "error"}


# ---- the lab's own solution ----

SOLVED = """
from procmem.grade import points, predicted

@points(1, "prediction: waits")
def test_waits(submission, solution):
    seen = solution.walk("first", "second", program=["sh", "-c", "read a; read b"])
    predicted("waits", submission.predictions.integer("waits"), len(seen.phases))

@points(1, "the solution does not work here")
def test_broken(solution):
    solution.walk("first", program=["sh", "-c", "read a; exit 3"])
"""


def test_the_solution_says_what_is_right(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", SOLVED)
    sent = make_submission(tmp_path / "sub", {"predictions.toml": "waits = 2\n"})
    assert statuses(grade(lab, sent)) == {
        "waits": "not possible here",
        "broken": "not possible here",
    }
    make_submission(tmp_path / "lab" / "solution", {"cat.txt": "\n"})
    found = grade(lab, sent)
    assert statuses(found) == {"waits": "passed", "broken": "not possible here"}
    assert "solution does not work here" in (found.check("test_broken").message or "")
    (sent / "predictions.toml").write_text("waits = 3\n")
    assert grade(lab, sent).check("test_waits").status is Status.FAILED


# ---- pictures ----

WALKS = """
from procmem.grade import points, walk

@points(1, "a hidden check with a run of its own", hidden=True)
def test_hidden(program):
    walk(program, "secret", "more secret", "most secret")

@points(1, "a check of a run")
def test_run(program):
    seen = walk(program, "at the start", "mapped", "written")
    assert (seen[2] - seen[1]).vsz >= 4096
"""


def test_the_pictures_are_of_the_first_run_that_is_not_hidden(tmp_path: Path) -> None:
    toml = 'program = ["./lazy"]\nbuild = ["cc", "-o", "lazy", "lazy.c"]\nfiles = ["lazy.c"]\n'
    lab = make_lab(tmp_path / "lab", WALKS, toml)
    found = grade(lab, make_submission(tmp_path / "sub", {"lazy.c": LAZY}))
    assert statuses(found) == {"hidden": "passed", "run": "passed"}
    assert [(one.before, one.after) for one in found.pictures] == [
        ("at the start", "mapped"),
        ("mapped", "written"),
    ]
    written = found.pictures[1]
    # Pages of files that are read meanwhile count, too.
    assert written.vsz == 0
    assert (written.rss or 0) >= os.sysconf("SC_PAGE_SIZE")
    assert Grade.from_json(found.to_json()) == found
    assert found.for_student().pictures == found.pictures


def test_without_a_run_there_is_no_picture(graded: Callable[..., Grade]) -> None:
    found = graded("""
@points(1, "passes")
def test_passes():
    pass
""")
    assert found.pictures == ()
