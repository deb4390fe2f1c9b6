"""A Grade in the formats of other systems: each a function of a Grade that returns text or a dict.

What a check printed, what a student named a file, what a compiler said: all of it may be hostile,
and none of it breaks out of a format. Of a hidden check a student sees whether it passed. What
wasn't possible here, and what the grader itself failed at, costs nobody points in any format.
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
