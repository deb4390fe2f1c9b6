"""CSV over many grades."""

from __future__ import annotations

import csv as standard
import io

from procmem.grade.exports.shown import amount
from procmem.grade.results import Status
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from procmem.grade.results import Grade

__all__ = ["csv", "csv_rows"]

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'", "|", "%")
"""Characters that may make a spreadsheet treat a cell that begins with one as a formula."""


def csv(grades: Iterable[Grade]) -> str:
    """A table with a row for each submission and a column for each check, as of RFC 4180.

    `max_score` is all points of the lab; `not_judged`, those of checks that could not be judged.
    The cell of a check has the points that were given, "not possible", or "error". A text that a
    spreadsheet could treat as a formula is preceded by an apostrophe. The table is for instructors:
    hidden checks appear under their names.

    Args:
        grades: in the order of the rows.
    """
    kept = list(grades)
    names = list(dict.fromkeys(check.name for grade in kept for check in grade.checks))
    return "".join(csv_rows(names, kept))


def csv_rows(names: Sequence[str], grades: Iterable[Grade]) -> Iterator[str]:
    """The table line by line, for grades that don't fit into memory.

    Args:
        names: the names of all checks, in the order of the columns.
        grades: iterated over once.
    """
    yield row(["submission", "lab", "score", "max_score", "not_judged", "build", *map(cell, names)])
    for grade in grades:
        got = {check.name: points(check.status, check.score) for check in grade.checks}
        build = "" if grade.build is None else "ok" if grade.build.ok else "failed"
        yield row(
            [
                cell(grade.submission),
                cell(grade.lab),
                amount(grade.score),
                amount(grade.all_points),
                amount(grade.uncounted),
                build,
                *(got.get(name, "") for name in names),
            ]
        )


def points(status: Status, score: float) -> str:
    words = {Status.NOT_POSSIBLE: "not possible", Status.ERROR: "error"}
    return words.get(status) or amount(score)


def cell(text: str) -> str:
    """A text that no spreadsheet treats as a formula.

    >>> cell("=1+1"), cell(" @x"), cell("alice")
    ("'=1+1", "' @x", 'alice')
    """
    text = text.replace("\n", " ")
    safe = text if text.isprintable() else printable(text)
    return f"'{safe}" if safe.lstrip().startswith(FORMULA) else safe


def row(cells: Sequence[str]) -> str:
    made = io.StringIO()
    standard.writer(made).writerow(cells)
    return made.getvalue()
