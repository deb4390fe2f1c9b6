"""The export formats by name, and the name of the file for each."""

from __future__ import annotations

import json

from procmem.grade.exports.systems import autolab, check50, classroom, gradescope
from procmem.grade.exports.texts import html, markdown
from procmem.grade.exports.xml import junit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.results import Grade

__all__ = ["FORMATS", "written"]

FORMATS = {
    "html": "report.html",
    "markdown": "report.md",
    "gradescope": "results.json",
    "check50": "check50.json",
    "classroom": "classroom.txt",
    "autolab": "autolab.txt",
    "junit": "junit.xml",
}
"""The formats of a single grade, each with the name of the file that `procmem grade` writes."""

TEXTS = {
    "html": html,
    "markdown": markdown,
    "classroom": classroom,
    "autolab": autolab,
    "junit": junit,
}
OBJECTS = {"gradescope": gradescope, "check50": check50}


def written(grade: Grade, form: str) -> bytes:
    """The content of the file that holds a grade in one of the formats.

    Args:
        grade: the grade to export.
        form: the format, a key of FORMATS.
    """
    if form in OBJECTS:
        return json.dumps(OBJECTS[form](grade), indent=1).encode() + b"\n"
    return TEXTS[form](grade).encode()
