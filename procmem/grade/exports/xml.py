"""JUnit XML, with the points as properties."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from procmem.grade.exports.shown import NOTHING_GRADED, amount, line, rows, standing
from procmem.grade.results import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.grade.exports.shown import CheckRow
    from procmem.grade.results import Grade

__all__ = ["junit"]

# Characters that XML 1.0 does not allow, not even as references (production [2], Char).
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(grade: Grade) -> str:
    """The grade as pytest's JUnit XML (family xunit1), each check a testcase.

    Points are the properties `score` and `points`. A check that was not possible is skipped, and an
    error of the grader is an error. A check that did not run because another one failed is a
    failure, since it costs points.
    """
    told = rows(grade)
    failures = sum(row.counted and not row.passed for row in told)
    errors = sum(row.status is Status.ERROR for row in told) + (grade.error is not None)
    skipped = sum(row.status is Status.NOT_POSSIBLE for row in told)
    suite = attributes(
        name=line(grade.lab),
        errors=errors,
        failures=failures,
        skipped=skipped,
        tests=len(told) + (grade.error is not None),
        time=f"{grade.seconds:.3f}",
    )
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<testsuites>", f"<testsuite{suite}>"]
    lines += properties(score=grade.score, points=grade.all_points, not_judged=grade.uncounted)
    for row in told:
        lines.extend(testcase(grade, row))
    if grade.error is not None:
        head = attributes(classname=line(grade.lab), name="grading", time="0.000")
        lines.append(f"<testcase{head}><error{attributes(message=NOTHING_GRADED)}/></testcase>")
    return "\n".join([*lines, "</testsuite>", "</testsuites>", ""])


def testcase(grade: Grade, row: CheckRow) -> Iterator[str]:
    head = attributes(classname=line(grade.lab), name=row.title, time=f"{row.seconds:.3f}")
    yield f"<testcase{head}>"
    if row.counted:
        yield from properties(check=row.name, score=row.score, points=row.points)
    said = body("\n".join(f"{label}: {text}" for label, text in row.details))
    if row.status is Status.NOT_POSSIBLE:
        yield f"<skipped{attributes(type='not possible here', message=row.message)}/>"
    elif row.status is Status.ERROR:
        yield f"<error{attributes(message=row.message)}>{said}</error>"
    elif not row.passed:
        message = f"{standing(row)}: {amount(row.score)} of {amount(row.points)} points"
        yield f"<failure{attributes(message=message)}>{said}</failure>"
    yield "</testcase>"


def properties(**values: object) -> list[str]:
    told = [f"<property{attributes(name=name, value=value)}/>" for name, value in values.items()]
    return ["<properties>", *told, "</properties>"]


def attributes(**values: object) -> str:
    return "".join(f" {name}={quoteattr(legal(str(value)))}" for name, value in values.items())


def body(text: str) -> str:
    return escape(legal(text))


def legal(text: str) -> str:
    return NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
