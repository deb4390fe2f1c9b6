"""What every format shows of a grade: escaped text, and no details of hidden checks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from procmem.grade.results import ONE_EARLY, ONE_LATE, Status
from procmem.view.names import clipped, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.results import CheckResult, Grade

__all__ = [
    "LABELS",
    "NOTHING_GRADED",
    "CheckRow",
    "amount",
    "build_failed",
    "clean",
    "left_to_do",
    "line",
    "notes",
    "points_of",
    "rows",
    "standing",
    "verdict",
]

LONGEST = 20_000
"""At most so many characters of a text, such as a compiler's output, are shown."""

COLOURS = re.compile(r"\x1b\[[\d;]*[mK]")
"""Escape sequences with which compilers colour their output."""

LABELS = {
    "message": "what happened",
    "what": "measured",
    "expected": "expected",
    "seen": "seen",
    "phase": "when",
    "cause": "likely cause",
    "hint": "hint",
}
NOT_YOURS = "not judged, because the grader failed, not your program; this costs you no points"
NOTHING_GRADED = "Nothing could be graded. This is not the fault of your work."


def clean(text: str, most: int = LONGEST) -> str:
    r"""Text of several lines that is safe in every format: unprintable characters are escaped.

    >>> clean("a\x1b[31mb\x00\udcff\r\nc\td")
    'ab\\x00\\xff\nc\td'
    """
    if len(text) > most:
        text = f"{text[:most]}\n... {len(text) - most:,} more characters"
    text = COLOURS.sub("", text).replace("\r\n", "\n")
    return "".join(
        char if char.isprintable() or char in "\n\t" else printable(char) for char in text
    ).rstrip()


def line(text: str, most: int = 200) -> str:
    """A text on one line, with unprintable characters escaped, and cut if it is too long."""
    return clipped(printable(text), most)


def build_failed(grade: Grade) -> str:
    """The heading above the output of a failed build; "" if the build did not fail."""
    if grade.build is None or grade.build.ok:
        return ""
    if grade.unopened:
        return "The submission could not be opened"
    command = line(" ".join(grade.build.command))
    return "The program could not be built" + (f": {command}" if command else "")


def amount(points: float) -> str:
    """Points as people write them.

    >>> amount(2.0), amount(0.5), amount(1 / 3), amount(10)
    ('2', '0.5', '0.33', '10')
    """
    return f"{points:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class CheckRow:
    """A check as people are shown it.

    Attributes:
        name, title: escaped, on one line; those of a hidden check reveal nothing about it.
        status: as in CheckResult.
        score, points: the points that were given, and those that the check is worth.
        hidden: whether students see only its status.
        needs: the names of the checks that have to pass first.
        seconds: how long the check ran.
        message, what, expected, seen, phase, cause, hint: escaped; "" if there is none.
    """

    name: str
    title: str
    status: Status
    score: float
    points: float
    hidden: bool
    needs: tuple[str, ...]
    seconds: float
    message: str = ""
    what: str = ""
    expected: str = ""
    seen: str = ""
    phase: str = ""
    cause: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        """Whether all its points were given."""
        return self.status is Status.PASSED

    @property
    def counted(self) -> bool:
        """Whether its points count in the score and in the greatest possible score."""
        return self.status.counts

    @property
    def details(self) -> list[tuple[str, str]]:
        """What is shown below the title: pairs of a label and a text."""
        return [(label, found) for part, label in LABELS.items() if (found := getattr(self, part))]

    @property
    def worth(self) -> str:
        """Its points: "2/3", or "-" if they are not counted."""
        return f"{amount(self.score)}/{amount(self.points)}" if self.counted else "-"


def rows(grade: Grade, *, all_of_it: bool = False) -> list[CheckRow]:
    """The checks of a grade as they are shown.

    Args:
        grade: the grade.
        all_of_it: whether hidden checks are shown like all others.
    """
    checks = (grade if all_of_it else grade.for_student()).checks
    titles = {check.name: line(check.title or check.name) for check in checks}
    unbuilt = grade.build is not None and not grade.build.ok
    return [row(check, titles, unbuilt=unbuilt) for check in checks]


def row(check: CheckResult, titles: dict[str, str], *, unbuilt: bool) -> CheckRow:
    told: dict[str, str] = {}
    if check.status is Status.ERROR:
        # The error's text may reveal what the check does.
        told["message"] = NOT_YOURS
    elif check.status is Status.NOT_POSSIBLE:
        why = clean(check.message or check.cause or "").rstrip(".")
        told["message"] = "not possible here" + (f": {why}" if why else "") + "; not judged"
    elif unbuilt and check.seen is None:
        pass  # the build's output says why
    elif check.status is Status.MISSED:
        waited = ", ".join(f'"{titles[name]}"' for name in check.needs if name in titles)
        told["message"] = f"not checked: it needs {waited or 'another check'} to pass first"
    elif check.status is not Status.PASSED:
        told = {part: clean(getattr(check, part) or "") for part in LABELS}
    return CheckRow(
        name=line(check.name),
        title=line(check.title or check.name, 300),
        status=check.status,
        score=check.score,
        points=check.points,
        hidden=check.hidden,
        needs=tuple(map(line, check.needs)),
        seconds=check.seconds,
        **told,
    )


WORDS = {
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.PARTLY: "partly",
    Status.MISSED: "not checked",
    Status.NOT_POSSIBLE: "not possible here",
    Status.ERROR: "the grader failed",
}


def standing(row: CheckRow) -> str:
    """The status of a check in one to three words."""
    return WORDS[row.status]


def waits_moved(grade: Grade) -> str:
    """A sentence if most failed checks would pass one wait later, or one earlier; else ""."""
    failed = [check for check in grade.checks if check.status is Status.FAILED and not check.hidden]
    for cause, words in (
        (ONE_LATE, "one wait late: is there one wait too many before them?"),
        (ONE_EARLY, "one wait early: is a wait missing before them?"),
    ):
        moved = sum(check.cause == cause for check in failed)
        if moved > 1 and moved * 2 >= len(failed):
            return f" Most of your steps come {words}"
    return ""


def points_of(grade: Grade) -> str:
    """The score, and the points that were not judged: "9 of 24 points, 15 not judged"."""
    said = f"{amount(grade.score)} of {amount(grade.all_points)} points"
    return said + (f", {amount(grade.uncounted)} not judged" if grade.uncounted else "")


def verdict(grade: Grade) -> str:
    """The outcome in one to three sentences, for a student."""
    if grade.error is not None or not grade.max_score:
        return NOTHING_GRADED
    return f"{points_of(grade)}. {left_to_do(grade)}"


def left_to_do(grade: Grade) -> str:
    """How many checks did not pass, or were not possible, in one to three sentences."""
    left = sum(check.status.counts and check.status is not Status.PASSED for check in grade.checks)
    out = sum(not check.status.counts for check in grade.checks)
    if left:
        said = f"{left} {'check is' if left == 1 else 'checks are'} not passed yet."
        said += waits_moved(grade)
    else:
        said = "Every check that was possible here passed." if out else "Every check passed."
    if out:
        said += f" {out} {'check was' if out == 1 else 'checks were'} not possible here."
    return said


def notes(grade: Grade) -> list[str]:
    """Notes for the student about the submission's files, each on one line."""
    return [line(note, 1000) for note in grade.notes if note != grade.unopened]
