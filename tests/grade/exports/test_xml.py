"""JUnit XML."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from procmem.grade.exports import (
    junit,
)
from tests.support.grades import MIXED

if TYPE_CHECKING:
    from procmem.grade.results import Grade


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
