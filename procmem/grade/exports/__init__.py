"""A Grade in other formats: functions that return text, or a dict to be written as JSON.

Program output, file names and compiler messages may be hostile, so every format escapes them. Of a
hidden check, students see only whether it passed. A check that was not possible here, or in which
the grader itself failed, costs no points in any format.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.exports.files import FORMATS, written
    from procmem.grade.exports.systems import autolab, check50, classroom, gradescope
    from procmem.grade.exports.tables import csv
    from procmem.grade.exports.texts import html, markdown, text
    from procmem.grade.exports.xml import junit

__all__ = [
    "FORMATS",
    "autolab",
    "check50",
    "classroom",
    "csv",
    "gradescope",
    "html",
    "junit",
    "markdown",
    "text",
    "written",
]

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours
    from procmem._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "files": "FORMATS written",
            "systems": "autolab check50 classroom gradescope",
            "tables": "csv",
            "texts": "html markdown text",
            "xml": "junit",
        },
    )
