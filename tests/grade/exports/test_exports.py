"""A grade in the formats of other systems, each checked against the rules of its documents."""

from __future__ import annotations

import base64
import csv as standard
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procmem.grade.exports import (
    FORMATS,
    autolab,
    check50,
    classroom,
    csv,
    gradescope,
    html,
    junit,
    markdown,
    text,
    written,
)
from procmem.grade.results import BuildResult, CheckResult, Grade, Status

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "the-hidden-checks-own-words"
TRACE = "a-traceback-of-the-grader"
HOSTILE = [
    "plain",
    "two\nlines",
    "<script>alert(1)</script>",
    "</style></script><img src=x onerror=alert(1)>",
    "]]><!-- &amp; &#0; --><![CDATA[",
    "bad \udcff\ud800 surrogates",
    "\x00\x01\x1b[2J\x7f\x9b controls",
    "\u202eright to left\u2066",
    '=HYPERLINK("http://x")',
    "+1", "-1", "@SUM(A1)", "\t=1", " =1", "'=1",
    "a|b`c*d_e[f](g)#h @everyone",
    "```\n~~~~\n# not a heading",
    'quotes " and \' and ,;',
    "back\\slash \\u0041",
    "\ufffe\uffff\U0001f4a9",
    "a" * 50_000,
    "",
]  # fmt: skip


def check(
    name: str, status: Status, score: float = 0, points: float = 2, **more: Any
) -> CheckResult:
    return CheckResult(f"test_{name}", f"title of {name}", status, score, points, **more)


MIXED = Grade(
    "alloc-size",
    "alice",
    (
        check("passed", Status.PASSED, 2),
        check(
            "failed",
            Status.FAILED,
            what="heap(after).size",
            expected="4 KiB",
            seen="136 KiB",
            phase="after the 1st answer",
            cause="+132 KiB is the heap that stdio made, not your mmap",
            hint="Who allocates the page: mmap, or the first write?",
        ),
        check("partly", Status.PARTLY, 1.5, message="three of four"),
        check("missed", Status.MISSED, needs=("test_failed",)),
        check("impossible", Status.NOT_POSSIBLE, message="valgrind is not installed"),
        check("error", Status.ERROR, points=1, message=TRACE, detail=TRACE),
        check("secret", Status.FAILED, hidden=True, hint=SECRET, message=SECRET, expected=SECRET),
    ),
    BuildResult(ok=True, command=("make",), seconds=0.2),
    seconds=1.5,
    machine={"kernel": "6.1", "libc": "glibc 2.36", "walls": ["x"]},
    version="0.1.0",
)
"""3.5 of 10 points; 3 more were not counted."""
FULL = replace(MIXED, checks=MIXED.checks[:1])
UNCOUNTED = replace(MIXED, checks=MIXED.checks[4:6])
UNBUILT = replace(
    MIXED,
    build=BuildResult(ok=False, output="\x1b[01m\x1b[Ka.c:1:1:\x1b[m\x1b[K error: `x' <y>\r\n"),
    checks=(check("passed", Status.FAILED, message="it does not build"),),
)
BROKEN = replace(MIXED, checks=(), error=TRACE)
GRADES = {
    "mixed": MIXED,
    "full": FULL,
    "uncounted": UNCOUNTED,
    "unbuilt": UNBUILT,
    "broken": BROKEN,
    "no build": replace(MIXED, build=None),
}


def hostile(words: str) -> Grade:
    """A grade with the same words wherever words can stand."""
    checks = [
        CheckResult(
            words, words, status, 1 if status is Status.PARTLY else 0, 2, hidden=hidden,
            message=words, expected=words, seen=words, what=words, phase=words, cause=words,
            hint=words, needs=(words,), detail=words,
        )
        for status in Status
        for hidden in (False, True)
    ]  # fmt: skip
    build = BuildResult(ok=False, output=words, command=(words, words))
    machine = {words: words}
    return Grade(words, words, tuple(checks), build, machine=machine, version=words)


@pytest.fixture(params=[*GRADES, *(f"hostile {i}" for i in range(len(HOSTILE)))])
def grade(request: pytest.FixtureRequest) -> Grade:
    name = request.param
    return GRADES[name] if name in GRADES else hostile(HOSTILE[int(name.split()[1])])


# ---- all formats ----


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_valid_utf8_without_controls(grade: Grade, form: str) -> None:
    told = written(grade, form).decode("utf-8")
    assert not [char for char in told if not (char.isprintable() or char in "\n\t")]
    assert told == written(grade, form).decode("utf-8")


@pytest.mark.parametrize("form", [*FORMATS, "text"])
def test_what_a_student_may_not_see_is_in_no_format(form: str) -> None:
    told = text(MIXED) if form == "text" else written(MIXED, form).decode()
    if form == "classroom":
        told = base64.b64decode(told).decode()
    assert TRACE not in told
    if form == "gradescope":  # it hides the whole test
        assert [t["visibility"] for t in json.loads(told)["tests"] if SECRET in str(t)] == [
            "hidden"
        ]
    else:
        assert SECRET not in told
        assert "test_secret" not in told
        assert "hidden check 1" in told or "hidden_1" in told


# ---- Gradescope ----

FORMATS_OF_TEXT = {"text", "html", "simple_format", "md", "ansi"}
VISIBILITIES = {"hidden", "after_due_date", "after_published", "visible"}
GRADESCOPE = {
    "score": (int, float), "execution_time": (int, float), "output": str, "output_format": str,
    "test_output_format": str, "test_name_format": str, "visibility": str,
    "stdout_visibility": str, "extra_data": dict, "tests": list, "leaderboard": list,
}  # fmt: skip
GRADESCOPE_TEST = {
    "score": (int, float), "max_score": (int, float), "status": str, "name": str,
    "name_format": str, "number": str, "output": str, "output_format": str, "tags": list,
    "visibility": str, "extra_data": dict,
}  # fmt: skip


def fits(record: dict[str, Any], kinds: dict[str, Any]) -> None:
    assert set(record) <= set(kinds)
    for name, value in record.items():
        assert isinstance(value, kinds[name]), name
        if name.endswith("format"):
            assert value in FORMATS_OF_TEXT
        if name.endswith("visibility"):
            assert value in VISIBILITIES


def test_gradescope_is_as_its_specification_has_it(grade: Grade) -> None:
    told = json.loads(written(grade, "gradescope"))
    fits(told, GRADESCOPE)
    for test in told["tests"]:
        fits(test, GRADESCOPE_TEST)
        assert test.get("status") in (None, "passed", "failed")
        assert ("score" in test) == ("max_score" in test) == ("status" in test)
    # It stands at the top, or on every test; here there are then no tests.
    assert "score" in told or told["tests"] == []


def test_gradescope_scales_what_could_be_checked_to_all_points() -> None:
    told = gradescope(MIXED)
    assert told["score"] == pytest.approx(3.5 / 10 * 13, abs=1e-4)
    assert "4.55 of 13" in told["output"]
    assert gradescope(FULL)["score"] == 2
    counted = [test for test in told["tests"] if "score" in test]
    assert len(counted) == 5
    assert sum(test["score"] for test in counted) == MIXED.score


@pytest.mark.parametrize("name", ["uncounted", "broken"])
def test_where_nothing_could_be_graded_there_is_no_score(name: str) -> None:
    assert "score" not in gradescope(GRADES[name])
    assert "Nothing could be graded" in gradescope(GRADES[name])["output"]
    assert json.loads(autolab(GRADES[name]).splitlines()[-1]) == {"scores": {}}


# ---- check50 ----


def test_check50_is_as_its_specification_has_it(grade: Grade) -> None:
    told = json.loads(written(grade, "check50"))
    assert isinstance(told["slug"], str)
    assert isinstance(told["version"], str)
    if "error" in told:
        assert set(told) == {"slug", "version", "error"}
        assert set(told["error"]) == {"type", "value", "traceback", "data"}
        return
    assert set(told) == {"slug", "version", "results"}
    for result in told["results"]:
        assert set(result) == {
            "name", "description", "passed", "log", "cause", "data", "dependency",
        }  # fmt: skip
        assert isinstance(result["name"], str)
        assert isinstance(result["description"], str)
        assert result["passed"] in (True, False, None)
        assert all(isinstance(line, str) and "\n" not in line for line in result["log"])
        assert isinstance(result["data"], dict)
        assert result["dependency"] is None or isinstance(result["dependency"], str)
        cause = result["cause"]
        assert (cause is None) == (result["passed"] is True)
        if cause is not None:
            assert isinstance(cause["rationale"], str)
            assert cause["rationale"]
            assert cause["help"] is None or isinstance(cause["help"], str)
            assert ("expected" in cause) == ("actual" in cause)
            assert set(cause) <= {"rationale", "help", "expected", "actual", "error"}


def test_check50_says_what_was_not_judged() -> None:
    told = {one["name"]: one for one in check50(MIXED)["results"]}
    for name in ("test_impossible", "test_error"):
        points = next(check.points for check in MIXED.checks if check.name == name)
        assert told[name]["data"] == {"judged": False, "points": points}
        assert "not judged" in told[name]["cause"]["rationale"]
    assert told["test_failed"]["data"] == {"score": 0, "points": 2}


def test_check50_has_null_for_what_was_not_checked() -> None:
    passed = {one["name"]: one["passed"] for one in check50(MIXED)["results"]}
    assert passed == {
        "test_passed": True, "test_failed": False, "test_partly": False, "test_missed": None,
        "test_impossible": None, "test_error": None, "hidden_1": False,
    }  # fmt: skip
    failed = check50(MIXED)["results"][1]["cause"]
    assert (failed["expected"], failed["actual"]) == ("4 KiB", "136 KiB")
    assert failed["help"].startswith("Who allocates")
    assert check50(MIXED)["results"][3]["dependency"] == "test_failed"
    assert check50(BROKEN)["error"]["value"].startswith("Nothing could be graded")


# ---- GitHub Classroom ----


def decoded(grade: Grade) -> dict[str, Any]:
    encoded = classroom(grade)
    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", encoded)  # one line: it becomes an output of a step
    found: dict[str, Any] = json.loads(base64.b64decode(encoded, validate=True))
    return found


def test_classroom_is_what_its_reporter_reads(grade: Grade) -> None:
    told = decoded(grade)
    assert set(told) == {"version", "status", "max_score", "tests"}
    assert told["version"] == 1
    assert told["status"] in ("pass", "fail", "error")
    assert isinstance(told["max_score"], int | float)
    for test in told["tests"]:
        assert set(test) == {
            "name", "status", "score", "message", "test_code", "filename", "line_no", "duration",
        }  # fmt: skip
        assert test["status"] in ("pass", "fail", "error")
        assert isinstance(test["line_no"], int)
    # The reporter adds up the tests' scores and max_score.
    assert sum(test["score"] for test in told["tests"]) == grade.score
    assert told["max_score"] == grade.max_score


def test_classroom_fails_nobody_for_what_was_not_possible() -> None:
    impossible = replace(MIXED, checks=(MIXED.checks[0], MIXED.checks[4]))
    assert decoded(impossible)["status"] == "pass"
    assert decoded(impossible)["max_score"] == 2
    assert [(test["status"], test["score"], test["name"]) for test in decoded(impossible)["tests"]][
        1:
    ] == [("error", 0, "title of impossible"), ("error", 0, "2 of 4 points, 2 not judged")]
    assert "judged" not in str(decoded(FULL))
    assert decoded(MIXED)["status"] == "fail"
    assert decoded(UNCOUNTED)["status"] == "error"
    assert decoded(BROKEN) == {"version": 1, "status": "error", "max_score": 0, "tests": []}


# ---- Autolab ----


def test_autolab_prints_two_lines_the_scores_last(grade: Grade) -> None:
    told = autolab(grade)
    assert told.endswith("\n")
    shown, scores = map(json.loads, told.splitlines())
    assert list(scores) == ["scores"]
    assert all(isinstance(value, int | float) for value in scores["scores"].values())
    assert shown["_presentation"] == "semantic"
    assert set(shown) == {"_presentation", "stages", *shown["stages"]}
    tests = 0
    for stage in shown["stages"]:
        for test in shown[stage].values():
            tests += stage != "Build"
            if isinstance(test, dict):
                assert set(test) <= {"passed", "hint"}
                assert isinstance(test["passed"], bool)
            else:
                assert isinstance(test, str)
    assert tests == len(grade.checks)


def test_autolab_scales_like_gradescope_and_names_the_problem() -> None:
    assert json.loads(autolab(MIXED).splitlines()[-1]) == {"scores": {"alloc-size": 4.55}}
    assert json.loads(autolab(FULL, "Memory").splitlines()[-1]) == {"scores": {"Memory": 2}}


def test_autolab_keeps_checks_of_one_title_apart() -> None:
    same = replace(
        FULL, checks=tuple(replace(MIXED.checks[0], name=f"test_{i}") for i in range(12))
    )
    assert len(json.loads(autolab(same).splitlines()[0])["Checks"]) == 12


# ---- JUnit XML ----


def test_junit_is_as_its_readers_want_it(grade: Grade) -> None:
    root = ET.fromstring(junit(grade))
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    cases = suite.findall("testcase")
    assert [child.tag for child in suite] == ["properties"] + ["testcase"] * len(cases)
    assert int(suite.attrib["tests"]) == len(cases) == len(grade.checks) + (grade.error is not None)
    counted = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    for tag, name in counted.items():
        assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
    for case in cases:
        assert set(case.attrib) == {"classname", "name", "time"}
        float(case.attrib["time"])
        tags = [child.tag for child in case if child.tag != "properties"]
        assert tags in ([], ["failure"], ["error"], ["skipped"])
    found = suite.findall("testcase/properties/property[@name='points']")
    points = [float(one.attrib["value"]) for one in found]
    assert sum(points) == grade.max_score


def test_junit_skips_what_was_not_possible() -> None:
    cases = list(ET.fromstring(junit(MIXED)).iter("testcase"))
    ends = [[child.tag for child in case if child.tag != "properties"] for case in cases]
    assert ends == [[], ["failure"], ["failure"], ["failure"], ["skipped"], ["error"], ["failure"]]
    assert "what happened: three of four" in "".join(cases[2].itertext())


# ---- CSV ----


def test_csv_has_a_row_for_each_and_no_formula(grade: Grade) -> None:
    told = csv([grade, FULL])
    rows = list(standard.reader(io.StringIO(told, newline="")))
    assert len(rows) == 3
    assert len({len(row) for row in rows}) == 1
    assert told.count("\r\n") == 3
    for cell in (cell for row in rows for cell in row):
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "|", "%")), cell
        assert cell == "" or cell.isprintable()


def test_csv_tells_points_and_what_was_not_counted() -> None:
    rows = list(standard.DictReader(io.StringIO(csv([MIXED, BROKEN]))))
    assert rows[0]["score"] == "3.5"
    assert rows[0]["max_score"] == "13"
    assert rows[0]["not_judged"] == "3"
    assert rows[0]["test_partly"] == "1.5"
    assert rows[0]["test_missed"] == "0"
    assert rows[0]["test_impossible"] == "not possible"
    assert rows[0]["test_error"] == "error"
    assert rows[1]["test_passed"] == ""
    assert csv([]) == "submission,lab,score,max_score,not_judged,build\r\n"


# ---- for people ----


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.said.append(data)


ALLOWED = set(
    "html head meta title style body h1 h2 p small div span section dl dt dd b pre footer".split()
)


def test_html_is_whole_and_holds_nothing_active(grade: Grade) -> None:
    page = Tags(html(grade))
    assert page.open == []
    assert set(page.tags) <= ALLOWED
    assert page.attributes <= {"lang", "charset", "name", "content", "http-equiv", "class", "style"}
    assert "http" not in re.sub("http-equiv", "", html(MIXED))
    assert page.tags.count("style") == 1


def test_html_tells_a_student_what_happened() -> None:
    said = " ".join("".join(Tags(html(MIXED)).said).split())
    told = "3.5 of 13 points, 3 not judged|136 KiB|4 KiB|+132 KiB is the heap|Who allocates"
    told += '|hidden check 1|valgrind is not installed|needs "title of failed"'
    for words in told.split("|"):
        assert words in said
    assert "not judged" in said
    unbuilt = "".join(Tags(html(UNBUILT)).said)
    assert "a.c:1:1: error: `x' <y>" in unbuilt
    assert "it does not build" not in unbuilt  # the compiler has said it


def test_markdown_keeps_words_from_being_markup(grade: Grade) -> None:
    told = markdown(grade)
    outside = re.sub(r"^(`{3,})text\n.*?\n\1$", "", told, flags=re.S | re.M)
    assert not re.search(r"<(?!br>)", outside)
    assert "@" not in outside
    # Of headings there are only our own.
    own = len(re.findall(r"^#", outside, re.M))
    rows = len(re.findall(r"^\| ", outside, re.M))
    assert own <= 2 + rows
    for row in re.findall(r"^\|.*$", outside, re.M):
        assert len(re.findall(r"(?<!\\)\|", row)) == 4


def test_a_terminal_gets_eighty_columns() -> None:
    assert max(map(len, text(MIXED).splitlines())) <= 80
    told = " ".join(text(MIXED).split())
    for words in ("expected 4 KiB", "seen 136 KiB", "when after the 1st answer", "three of four"):
        assert words in told
    assert "error: `x' <y>" in text(UNBUILT)


def test_a_terminal_gets_no_control_characters(grade: Grade) -> None:
    assert not [char for char in text(grade) if not (char.isprintable() or char == "\n")]


@settings(deadline=None)
@given(st.text(st.characters(), max_size=200))
def test_any_text_is_safe(words: str) -> None:
    grade = hostile(words)
    for form in FORMATS:
        written(grade, form).decode()
    ET.fromstring(junit(grade))
    page = Tags(html(grade))
    assert set(page.tags) <= ALLOWED
    assert len(list(standard.reader(io.StringIO(csv([grade]), newline="")))) == 2
    assert len(autolab(grade).splitlines()) == 2
    assert text(grade)


# ---- what was not judged is not left out ----


def judged(*checks: tuple[Status, float, float], **more: object) -> Grade:
    made = tuple(
        CheckResult(f"test_{number}", f"check {number}", status, score, points)
        for number, (status, score, points) in enumerate(checks)
    )
    return Grade("lab", "sub", made, **more)  # type: ignore[arg-type]


PASSED_SOME = judged((Status.PASSED, 9, 9), (Status.ERROR, 0, 12), (Status.NOT_POSSIBLE, 0, 3))


@pytest.mark.parametrize("export", [text, markdown, html])
def test_points_that_were_not_judged_are_part_of_the_total(export: Callable[[Grade], str]) -> None:
    page = export(PASSED_SOME)
    said = " ".join(("".join(Tags(page).said) if export is html else page).split())
    assert "9 of 24 points, 15 not judged" in said
    assert "9 of 9" not in said
    assert "Every check passed" not in said
    assert "Every check that was possible here passed. 2 checks were not possible here." in said
    assert "Every check passed." in export(judged((Status.PASSED, 9, 9)))


def widths(page: str) -> list[float]:
    return [float(width) for width in re.findall(r"width:([\d.]+)%", page)]


def test_a_bar_is_full_of_green_for_all_points_alone() -> None:
    assert widths(html(judged((Status.PASSED, 9, 9)))) == [100]
    assert widths(html(PASSED_SOME)) == [37.5, 62.5]
    nearly = judged((Status.PASSED, 99_999, 99_999), (Status.FAILED, 0, 1))
    assert widths(html(nearly)) == [99.9]


def test_not_checked_looks_different_from_failed() -> None:
    grade = judged((Status.FAILED, 0, 1), (Status.MISSED, 0, 1))
    failed, missed = (line for line in text(grade).splitlines() if re.search(r" check \d", line))
    assert failed.startswith("NO ")
    assert missed.startswith("- ")
    page = html(grade)
    assert "✗ 0/1" in page
    assert "not checked 0/1" in page
    assert page.count("✗") == 1


def test_notes_about_files_are_shown() -> None:
    note = "left out, because the build creates it: <page>"
    grade = judged((Status.PASSED, 1, 1), notes=(note,))
    assert Grade.from_json(grade.to_json()) == grade
    assert note in " ".join(text(grade).split())
    assert "&lt;page&gt;" in markdown(grade)
    assert note in "".join(Tags(html(grade)).said)
    assert note in gradescope(grade)["output"]


def test_a_grade_of_an_earlier_version_has_no_notes() -> None:
    record = json.loads(PASSED_SOME.to_json())
    for name in ("notes", "unopened", "not_judged"):
        del record[name]
    assert Grade.from_json(json.dumps(record)) == PASSED_SOME


def test_what_could_not_be_opened_is_said() -> None:
    why = "the archive is broken: File is not a zip file"
    grade = judged((Status.FAILED, 0, 1), unopened=why, build=BuildResult(False, why), notes=(why,))
    for page in (text(grade), markdown(grade), html(grade)):
        assert "The submission could not be opened" in page
        assert page.count("File is not a zip file") == 1
