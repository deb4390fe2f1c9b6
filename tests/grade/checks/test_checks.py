"""Checks in words: points, what an assertion tells, predictions, lab files, the vocabulary."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import procmem
from procmem import units
from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    KiB,
    Lab,
    LabError,
    Predictions,
    SubmissionError,
    anonymous,
    bss,
    data,
    heap,
    libraries,
    mmap_threshold,
    not_possible,
    partly,
    points,
    regions,
    same_bytes,
    stack,
    stack_limit,
    text,
    thread_stack,
    threads,
    top_pad,
)
from procmem.grade.checks import explain as ex
from procmem.grade.checks.points import Partly, check_of
from procmem.grade.errors import NotPossibleHere
from procmem.grade.submissions.predictions import parse_size
from procmem.labs import find
from procmem.snapshots import Snapshot
from tests.support.labs_made import make_lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.targets import Target

# ---- points ----


def test_points_marks_a_function_and_leaves_it_as_it_is() -> None:
    def test_it() -> int:
        return 3

    marked = points(2, "a title", hint="why?", needs="test_other", hidden=True)(test_it)
    assert marked is test_it
    check = check_of(marked)
    assert check is not None
    assert (check.points, check.title, check.hint) == (2, "a title", "why?")
    assert (check.needs, check.hidden) == (("test_other",), True)
    assert check_of(lambda: 0) is None
    assert check_of(None) is None


@pytest.mark.parametrize("worth", [-1, float("nan"), float("inf"), "2", None, True])
def test_points_that_are_no_points(worth: object) -> None:
    with pytest.raises(ValueError, match="points"):
        points(worth, "a title")  # type: ignore[arg-type]


def test_partly_takes_a_share_or_points() -> None:
    def of(share: object, points: float) -> float:
        return Partly(share, "why").of(points)  # type: ignore[arg-type]

    assert of(0.25, 4) == 1
    assert of(1, 4) == 1
    assert of(1.0, 4) == 4
    assert of(0, 4) == 0
    for share in (1.5, 5, -1, "1", None, True, float("nan")):
        with pytest.raises(ValueError, match="partly"):
            of(share, 4)
    with pytest.raises(Partly):
        partly(0.5, "why")
    assert not issubclass(Partly, Exception)  # no `except Exception` of a check takes it


def test_not_possible() -> None:
    with pytest.raises(NotPossibleHere, match="no such thing"):
        not_possible("no such thing")


# ---- what a failure tells ----


def told(
    source: str, comparisons: list[tuple[str, object, object]], **variables: object
) -> ex.Explained:
    """What is told of the only assertion in a source."""
    line = next(i for i, line in enumerate(source.splitlines(), 1) if "assert" in line)
    return ex.explain(
        AssertionError("assert ..."),
        [ex.Compared(*one) for one in comparisons],
        source,
        line,
        variables,
        lambda shot: "a phase",
        {},
    )


@pytest.mark.parametrize(
    "assertion, op, left, right, expected, seen",
    [
        ("delta.vsz == 4 * KiB", "==", 139264, 4096, "4 KiB", "136 KiB"),
        ("delta.vsz <= 4 * KiB", "<=", 139264, 4096, "at most 4 KiB", "136 KiB"),
        ("4 * KiB >= delta.vsz", ">=", 4096, 139264, "at most 4 KiB", "136 KiB"),
        ("4 * KiB == delta.vsz", "==", 4096, 139264, "4 KiB", "136 KiB"),
        ("delta.vsz > 0", ">", 0, 0, "more than 0", "0"),
        ("delta.vsz == -PAGE", "==", 0, -4096, "-4 KiB", "0"),
        ("delta.rss == 100", "==", 4096, 100, "100 bytes", "4,096 bytes"),
        ("delta.minor == 1024", "==", 2048, 1024, "1024", "2048"),
        ("delta.rss // PAGE == 1024", "==", 2048, 1024, "1024", "2048"),
        ("len(regions(s)) == 1", "==", 2048, 1, "1", "2048"),
        ("max(r.size for r in s.regions) >= 65536", ">=", 4096, 65536, "at least 64 KiB", "4 KiB"),
        ("run.output == 'x'", "==", "y", "x", "x", "y"),
        ("'libm' in libraries(s)", "in", "libm", ("libc", "ld"), "one of libc, ld", "libm"),
        ("found is not None", "is not", None, None, "anything but None", "None"),
        ("status != 0", "!=", 0, 0, "anything but 0", "0"),
        ("many == 123456", "==", 0, 123456, "123,456", "0"),
    ],
)
def test_what_was_expected_and_seen(
    assertion: str, op: str, left: object, right: object, expected: str, seen: str
) -> None:
    story = told(f"def test_it():\n    assert {assertion}\n", [(op, left, right)])
    assert (story.expected, story.seen) == (expected, seen)
    assert story.message is None
    # What stands in a check is nobody's business: words, or nothing.
    assert story.what is None or not set(story.what) & set("()[]_.=")


@pytest.mark.parametrize(
    "assertion, op, left, right, expected, seen",
    [
        ("4 <= delta.minor < 10", "<=", 4, 2, "at least 4", "2"),
        ("4 <= delta.minor < 10", "<", 12, 10, "less than 10", "12"),
        ("r.start == where.address", "==", 4096, 1 << 20, "0x100000", "0x1000"),
        ("r.end - r.start == 8192", "==", 4096, 8192, "8 KiB", "4 KiB"),
    ],
)
def test_chains_and_addresses(
    assertion: str, op: str, left: object, right: object, expected: str, seen: str
) -> None:
    story = told(f"def test_it():\n    assert {assertion}\n", [(op, left, right)])
    assert (story.expected, story.seen) == (expected, seen)


@pytest.mark.parametrize(
    "assertion, words",
    [
        ("(after - before).vsz == 4", "change of VSZ"),
        ("change.vsz == 4", "change of VSZ"),
        ("heap(after).size - heap(before).size == 4", "change of the size of the heap"),
        ("anonymous(s).rss == 4", "RSS of anonymous mappings"),
        ("len(threads(s)) == 4", "number of threads"),
        ("grown == 4", "change of the size of the heap"),
        ("here()['secret'] == 4", None),
    ],
)
def test_what_was_measured_is_said_in_words(assertion: str, words: str | None) -> None:
    source = f"""
def test_it():
    change = after - before
    grown = heap(after).size - heap(before).size
    assert {assertion}
"""
    assert told(source, [("==", 1, 4)]).what == words


def test_what_is_expected_may_stand_on_the_left(shots: list[Snapshot]) -> None:
    source = "def test_it():\n    assert wanted == (after - before).vsz\n"
    story = told(source, [("==", 4096, 8192)], wanted=4096, before=shots[0], after=shots[1])
    assert (story.expected, story.seen) == ("4 KiB", "8 KiB")


def test_units_are_found_through_assignments() -> None:
    source = """
SIZE = 64 * KiB

def test_it():
    before, after = bss(one).rss, bss(two).rss
    assert after >= SIZE, "of bss"
"""
    story = told(source, [(">=", 4096, 65536)])
    assert (story.expected, story.seen) == ("at least 64 KiB", "4 KiB")


def test_an_assertion_without_a_comparison_shows_no_code() -> None:
    story = told("def test_it():\n    assert any(r.perms.write for r in found)\n", [])
    assert story.message == "the statement in the title of this check does not hold"
    assert (story.expected, story.seen, story.what) == (None, None, None)
    story = told("def t():\n    assert not found, 'areas of hello.py'\n", [])
    assert "found" not in (story.message or "")


def test_the_comparison_that_failed_is_told() -> None:
    story = told("def test_it():\n    assert a == 1 and b == 2\n", [("==", 1, 1), ("==", 3, 2)])
    assert (story.expected, story.seen) == ("2", "3")


@pytest.fixture(scope="module")
def shots() -> list[Snapshot]:
    """Of a process that maps four pages, then touches one."""
    with Specimen() as one:
        found = [one.process.snapshot()]
        step = one.mmap(pages=4)
        found.append(one.process.snapshot())
        assert step.mapping is not None
        one.touch(step.mapping, pages=1)
        found.append(one.process.snapshot())
    return found


def test_the_cause_is_likely_where_it_makes_up_the_difference(shots: list[Snapshot]) -> None:
    before, after, _ = shots
    source = "def test_it():\n    assert (after - before).vsz == 0\n"
    story = told(source, [("==", 4 * PAGE, 0)], before=before, after=after)
    assert story.phase == "a phase"
    assert (story.cause or "").startswith(
        f"likely: +{4 * PAGE // KiB} KiB of VSZ: anonymous memory"
    )
    # 1 page is expected and 4 are seen: the 4 do not make up the 3.
    source = "def test_it():\n    assert (after - before).vsz == PAGE\n"
    story = told(source, [("==", 4 * PAGE, PAGE)], before=before, after=after)
    assert (story.cause or "").startswith("what changed: ")


def test_snapshots_are_found_in_variables_and_structures(shots: list[Snapshot]) -> None:
    class Phases:
        first, second = shots[0], shots[1]

    for assertion in (
        "regions(phases.second) == regions(phases.first)",
        "shots[1].vsz == shots[0].vsz",
        "grown == 0",
    ):
        story = told(
            f"def test_it():\n    assert {assertion}\n",
            [("==", 1, 0)],
            phases=Phases(),
            shots=shots,
            one=shots[0],
            two=shots[1],
        )
        assert story.phase == "a phase"
        assert "mapped" in (story.cause or ""), assertion


def test_what_stands_in_an_assertion_is_not_called_again(shots: list[Snapshot]) -> None:
    def call() -> None:
        pytest.fail("called")

    source = "def test_it():\n    assert call().vsz == taken[call()] == (after - before).rss\n"
    told(source, [("==", 1, 0)], call=call, taken={}, before=shots[0], after=shots[1])


@given(st.recursive(st.none() | st.text() | st.integers() | st.binary(), st.lists))
def test_any_value_is_told_in_a_line(value: object) -> None:
    line = ex.short(value)
    assert "\n" not in line
    assert len(line) <= ex.LONGEST


def test_objects_are_told_by_what_they_are(shots: list[Snapshot]) -> None:
    assert "VSZ" in ex.short(shots[0])
    assert "changes" in ex.short(shots[1] - shots[0])
    assert "regions" in ex.short(shots[0].regions)
    assert "KiB" in ex.short(shots[0].regions[0])
    assert ex.short(object()) == "a object"
    assert ex.short([]) == "nothing"

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert ex.short(Broken()) == "a Broken"


# ---- predictions ----


@pytest.mark.parametrize(
    "written, size",
    [
        ("4096", 4096),
        ("4 KiB", 4096),
        ("4K", 4096),
        ("4k", 4096),
        ("4 kB", 4096),
        ("4,096 bytes", 4096),
        ("4_096", 4096),
        ("2 MiB", 2 << 20),
        ("1.5M", 3 << 19),
        ("1 G", 1 << 30),
        ("-4 KiB", -4096),
        ("−4 KiB", -4096),
        ("0", 0),
        ("1 byte", 1),
    ],
)
def test_sizes_as_people_write_them(written: str, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written", ["", "KiB", "4 pages", "4 4", "1.3 B", "0.3K", "four", "4 KiBs"]
)
def test_what_is_no_size(written: str) -> None:
    with pytest.raises(ValueError, match=r"size|unit|bytes"):
        parse_size(written)


@given(st.integers(-(1 << 60), 1 << 60))
def test_every_size_that_is_told_can_be_written(size: int) -> None:
    assert parse_size(units.comparable(size)) == size


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    path = tmp_path / "predictions.toml"
    path.write_text(
        'vsz = "4 KiB"\nrss = 4096\nfaults = 1_024\nlazy = true\nwhy = "first touch"\n'
        'part = "B"\nempty = "?"\nhalf = 0.5\n[heap]\nsize = "132K"\n'
    )
    return Predictions(path)


def test_entries_of_each_type(predictions: Predictions) -> None:
    assert predictions.size("vsz") == predictions.size("rss") == 4096
    assert predictions.integer("faults") == 1024
    assert predictions.number("half") == 0.5
    assert predictions.boolean("lazy") is True
    assert predictions.text("why") == "first touch"
    assert predictions.choice("part", ["a", "b"]) == "b"
    assert predictions.size("heap.size") == 132 * KiB


@pytest.mark.parametrize(
    "getter, name, words",
    [
        ("size", "vzs", "no entry vzs: write vzs = .*there is vsz"),
        ("size", "why", "why = 'first touch': write why = 12345 or \"12 KiB\""),
        ("size", "lazy", "lazy = True"),
        ("size", "empty", "empty is not filled in"),
        ("size", "heap", "heap = "),
        ("integer", "vsz", "write vsz = 7"),
        ("number", "why", "write why = 7.5"),
        ("boolean", "rss", "true or false"),
        ("text", "rss", "some words"),
        ("size", "rss.more", "no entry"),
    ],
)
def test_odd_entries_say_what_to_write(
    predictions: Predictions, getter: str, name: str, words: str
) -> None:
    with pytest.raises(SubmissionError, match=words):
        getattr(predictions, getter)(name)
    with pytest.raises(SubmissionError, match='"a" or "b"'):
        predictions.choice("why", ["a", "b"])


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "predictions.toml is missing"),
        (b"vsz = \n", "not TOML"),
        (b"vsz: 4096\n", "Write lines such as"),
        (b"\xff", "UTF-8"),
        (b"x = " + b"[" * 5000, "not TOML"),
        (b"#" * (1 << 20) + b"#", "longer"),
        (b"vsz = " + b"9" * 5000, "not TOML"),
        (b"vsz = 0x" + b"9" * 5000, "too large"),
        (b'vsz = "' + b"9" * 5000 + b'"', "write vsz = 12345"),
        (b"vsz" + b".a" * 5000 + b" = 1", "not a single value"),
        (b"vsz = " + b"[" * 90 + b"]" * 90, "not a single value"),
    ],
    ids=[
        "missing",
        "cut",
        "yaml",
        "bytes",
        "deep",
        "long",
        "digits",
        "hex",
        "quoted digits",
        "dots",
        "lists",
    ],
)
def test_odd_files_say_so(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "predictions.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SubmissionError, match=words):
        Predictions(path).size("vsz")


@pytest.mark.parametrize("text", [f"n = 0x{'9' * 5000}", f"n = '{'9' * 5000}'", "n.n.n = 1"])
@pytest.mark.parametrize("getter", ["size", "integer", "number", "boolean", "text", "choice"])
def test_odd_values_are_never_the_graders_fault(tmp_path: Path, text: str, getter: str) -> None:
    path = tmp_path / "predictions.toml"
    path.write_text(text)
    known = Predictions(path)
    with contextlib.suppress(SubmissionError):
        assert isinstance(
            getattr(known, getter)("n", *([["a"]] if getter == "choice" else [])), str
        )


def test_a_choice_that_is_not_filled_in_names_all_and_no_answer(predictions: Predictions) -> None:
    with pytest.raises(SubmissionError, match=r'write empty = "heap", "stack" or "mapping"$'):
        predictions.choice("empty", ["heap", "stack", "mapping"])


def test_a_mark_of_the_byte_order_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "predictions.toml").write_bytes(b"\xef\xbb\xbfvsz = 1\r\n")
    assert Predictions(tmp_path / "predictions.toml").size("vsz") == 1


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "predictions.toml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.mkdir()
    with pytest.raises(SubmissionError, match="predictions"):
        Predictions(path).size("vsz")


def test_answers_are_choices_of_the_quiz(tmp_path: Path) -> None:
    quiz = (
        '[[question]]\nname = "one"\ntext = "Which?"\nchoices = { a = "this", b = "that" }\n'
        '[[question]]\nname = "two"\ntext = "How much?"\n'
    )
    lab = make_lab(tmp_path / "lab", "", files={"quiz.toml": quiz})
    assert [question.name for question in lab.quiz] == ["one", "two"]
    assert lab.quiz[0].choices == {"a": "this", "b": "that"}
    path = tmp_path / "answers.toml"
    path.write_text('one = "B"\ntwo = "4K"\n')
    answers = Predictions(path, lab.quiz)
    assert answers.choice("one") == "b"
    assert answers.size("two") == 4096
    path.write_text('one = "c"\n')
    with pytest.raises(SubmissionError, match='write one = "a" or "b"'):
        Predictions(path, lab.quiz).choice("one")
    with pytest.raises(KeyError):
        answers.choice("three")


# ---- lab.toml ----


def test_a_lab_is_read(tmp_path: Path) -> None:
    lab = make_lab(
        tmp_path / "my-lab",
        "",
        'summary = "short"\nbuild = "make -s"\nprogram = ["./it", "x y"]\n'
        'files = ["it.c"]\n[limits]\nwall = 5\n',
    )
    assert (lab.name, lab.title, lab.summary) == ("my-lab", "a lab", "short")
    assert (lab.build, lab.program, lab.files) == (("make", "-s"), ("./it", "x y"), ("it.c",))
    assert lab.limits.wall == 5
    assert lab.quiz == ()
    assert find(tmp_path / "my-lab") == lab


@pytest.mark.parametrize(
    "toml, words",
    [
        ("", "title is missing"),
        ("title = 3", "title = 3"),
        ('title = "t"\nprogramm = ["x"]', "unknown key programm: did you mean program?"),
        ('title = "t"\nxyz = 1', "known ones are title"),
        ('title = "t"\nbuild = 7', "write a list of words"),
        ('title = "t"\nbuild = ["make", 7]', "write a list of words"),
        ('title = "t"\nbuild = "make \'x"', "quotation"),
        ('title = "t"\nfiles = ["../x"]', "outside of"),
        ('title = "t"\n[limits]\nwal = 5', "did you mean wall?"),
        ('title = "t"\n[limits]\nwall = 0', "a number above 0"),
        ('title = "t"\n[limits]\nwall = true', "a number above 0"),
        ('title = "t"\nlimits = 5', r"write \[limits\]"),
        ("title", "not TOML"),
    ],
)
def test_an_odd_lab_says_what_to_write(tmp_path: Path, toml: str, words: str) -> None:
    (tmp_path / "lab.toml").write_text(toml)
    (tmp_path / "checks.py").write_text("")
    with pytest.raises(LabError, match=words):
        Lab.load(tmp_path)


@pytest.mark.parametrize(
    "quiz, words",
    [
        ('[[questions]]\nname = "a"', "did you mean question?"),
        ("question = 3", "not a list of tables"),
        ('[[question]]\ntext = "?"', "name is missing"),
        ('[[question]]\nname = "a"\ntext = "?"\nchoices = ["x"]', "write choices"),
        ('[[question]]\nname = "a"\ntext = "?"\nchoices = { a = "x" }', "at least two"),
        ('[[question]]\nname = "a"\ntext = "?"\n[[question]]\nname = "a"\ntext = "?"', "two"),
        ('[[question]]\nname = "a"\ntext = "?"\nright = "a"', "unknown key right"),
    ],
)
def test_an_odd_quiz_says_what_to_write(tmp_path: Path, quiz: str, words: str) -> None:
    with pytest.raises(LabError, match=words):
        make_lab(tmp_path, "", files={"quiz.toml": quiz})


def test_a_directory_that_is_no_lab(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"lab.toml: it is missing"):
        Lab.load(tmp_path)
    (tmp_path / "lab.toml").write_text('title = "t"\n')
    with pytest.raises(LabError, match="checks are missing"):
        find(tmp_path)
    with pytest.raises(LabError, match="no such lab, and no directory"):
        find("no-such-lab-anywhere")


# ---- the vocabulary ----


def test_parts_of_a_process(target: Target) -> None:
    shot = procmem.Process(target.pid).snapshot()
    table = shot.regions
    heaps = [region for region in table if region.pathname == "[heap]"]
    assert heap(shot).size == sum(region.size for region in heaps)
    assert heap(shot).regions == len(heaps)
    first = next(region for region in table if region.pathname == "[stack]")
    assert stack(shot) == (first.size, first.rss, 1)
    exe = os.readlink(f"/proc/{target.pid}/exe")
    code = [r for r in table if r.pathname == exe and r.perms.execute]
    assert text(shot).size == sum(region.size for region in code)
    written = [r for r in table if r.pathname == exe and r.perms.write]
    assert data(shot).size >= sum(region.size for region in written)
    assert bss(shot).size % PAGE == 0
    assert anonymous(shot).size < shot.vsz
    assert len(threads(shot)) == len(os.listdir(f"/proc/{target.pid}/task"))
    mapped = {r.pathname for r in table if r.inode and r.perms.execute and r.pathname != exe}
    assert set(libraries(shot)) == mapped
    assert len(regions(shot, kind="stack")) == 1
    bare = procmem.Process(target.pid).snapshot("maps")
    assert stack(bare).rss is None
    assert not heap(Snapshot(procmem.parse_maps(b"")))


def test_figures_of_this_machine() -> None:
    assert os.sysconf("SC_PAGESIZE") == PAGE
    limit = subprocess.run(["sh", "-c", "ulimit -s"], capture_output=True, text=True, check=True)
    told = limit.stdout.strip()
    assert stack_limit() == (None if told == "unlimited" else int(told) * KiB)
    assert thread_stack() % PAGE == 0


def test_malloc_is_measured() -> None:
    try:
        threshold, pad = mmap_threshold(), top_pad()
    except NotPossibleHere as error:
        pytest.skip(str(error))
    with Specimen(libc=True) as one:
        one.malloc(1)
        one.malloc(pad - 16 * KiB)  # what is left is less than the requests below
        below = one.malloc(threshold - 24)
        region = one.process.region_at(below.address or 0)
        assert region is not None
        assert region.pathname == "[heap]"
        one.malloc(pad - 16 * KiB)
        above = one.malloc(threshold - 23)
        region = one.process.region_at(above.address or 0)
        assert region is not None
        assert region.pathname is None


def test_files_are_compared_by_their_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"x" * (3 << 20))
    other.write_bytes(b"x" * (3 << 20))
    assert same_bytes(one, other)
    other.write_bytes(b"x" * ((3 << 20) - 1) + b"y")
    assert not same_bytes(one, other)
    other.write_bytes(b"")
    assert not same_bytes(one, other)
    with pytest.raises(SubmissionError, match="nothing"):
        same_bytes(one, tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SubmissionError, match="regular"):
        same_bytes(tmp_path / "fifo", one)
