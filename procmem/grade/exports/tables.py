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
"""What makes a spreadsheet take a cell for more than text, if it stands first."""


def csv(grades: Iterable[Grade]) -> str:
    """A table: a row for each submission, a column for each check, as RFC 4180 has it.

    `max_score` holds all points of the lab; `not_judged`, those of checks that could not be made.
    A cell of a check holds the points that it gave, "not possible", or "error". No text can be
    taken for a formula: an apostrophe stands before one that could be. This is the instructor's
    table: hidden checks have their names.

    Args:
        grades: in the order of the rows.
    """
    kept = list(grades)
    names = list(dict.fromkeys(check.name for grade in kept for check in grade.checks))
    return "".join(csv_rows(names, kept))


def csv_rows(names: Sequence[str], grades: Iterable[Grade]) -> Iterator[str]:
    """The table line by line, for grades that don't fit into memory.

    Args:
        names: of all checks: the columns.
        grades: asked for once, one at a time.
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
    """A text that no spreadsheet takes for a formula.

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
