"""The results of grading: a status for each check, and their totals."""

from __future__ import annotations

import enum
import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from procmem.errors import ParseError
from procmem.picture.shapes import CHANGED, GONE, NEW, MapBlock, MapRow, SizeBar

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Build", "BuildResult", "CheckResult", "Grade", "PhasePicture", "Status"]

MARKS = (NEW, GONE, CHANGED)


ONE_LATE = "one wait later this check passes: does this step come one wait late?"
ONE_EARLY = "one wait earlier this check passes: does this step come one wait early?"
"""The cause of a failure if the check passes when all waits are counted one later or earlier."""


class Status(enum.Enum):
    """How a check ended. `str(status)` is its value."""

    PASSED = "passed"
    PARTLY = "partly"
    FAILED = "failed"
    MISSED = "missed"
    """A check that it needs failed: it was not run, and its points are lost."""
    NOT_POSSIBLE = "not possible here"
    """This machine lacks what it needs: not counted."""
    ERROR = "error"
    """The grader or the lab failed, not the student: not counted."""

    def __str__(self) -> str:
        return self.value

    @property
    def counts(self) -> bool:
        """Whether its points count in the maximum."""
        return self not in (Status.NOT_POSSIBLE, Status.ERROR)

    @property
    def lost(self) -> bool:
        """Whether the student lost all of its points."""
        return self in (Status.FAILED, Status.MISSED)


@dataclass(frozen=True)
class Build:
    """The result of a build.

    Attributes:
        ok: whether the command ended with status 0.
        command: what was run.
        output: what it printed, up to a limit.
        status: its exit status; the number of a signal, negated, that killed it; None: a limit
            stopped it.
        seconds: how long it took.
        why: the reason of a failure, as a sentence; empty: it succeeded.
    """

    ok: bool
    command: tuple[str, ...]
    output: str
    status: int | None
    seconds: float
    why: str = ""


@dataclass(frozen=True)
class BuildResult:
    """How the submission was built, as a Grade keeps it.

    Attributes:
        ok: whether it could be built.
        output: what the build printed.
        command: what was run.
        seconds: how long it took.
    """

    ok: bool
    output: str = ""
    command: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: of its function.
        title: what the check requires, in words.
        status: how it ended.
        score, points: the points that it got, and those that it is worth.
        hidden: whether the student may see only the status.
        message: what happened, in a sentence or two.
        expected, seen: the two values compared, formatted for people, such as "4 KiB"; None: none
            were.
        what: what was measured, in words.
        phase: the phase of the run in which it was measured, such as "after the 2nd answer".
        cause: the reason of the difference.
        hint: the hint that the lab gives.
        needs: names of the checks that must pass first.
        detail: the traceback of a failure of the grader, only for the instructor.
        raised: the exception that the check's own code raised; None: none. Such a check can't be
            evaluated on this submission: it has failed if the lab's solution passes it.
        seconds: how long it took.
    """

    name: str
    title: str
    status: Status
    score: float = 0
    points: float = 0
    hidden: bool = False
    message: str | None = None
    expected: str | None = None
    seen: str | None = None
    what: str | None = None
    phase: str | None = None
    cause: str | None = None
    hint: str | None = None
    needs: tuple[str, ...] = ()
    detail: str | None = None
    raised: str | None = None
    seconds: float = 0.0

    def for_student(self, number: int = 1) -> CheckResult:
        """The same without what only the instructor may see."""
        if not self.hidden:
            return replace(self, detail=None, raised=None)
        return CheckResult(
            f"hidden_{number}",
            f"hidden check {number}",
            self.status,
            self.score,
            self.points,
            hidden=True,
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**asdict(self), "status": self.status.value, "needs": list(self.needs)}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> CheckResult:
        """The result that to_dict() returned.

        Raises:
            KeyError, TypeError, ValueError: it is no such record.
        """
        return CheckResult(
            **{
                **record,
                "status": Status(record["status"]),
                "needs": tuple(record.get("needs", ())),
            }
        )


@dataclass(frozen=True)
class PhasePicture:
    """What a program's memory was at one wait and at the next: what a picture is drawn from.

    Attributes:
        before: the earlier wait's name; empty: there was only one.
        after: the later one's.
        vsz: change of VSZ, in bytes; of a single wait: VSZ.
        rss: likewise of RSS; None: not known.
        figures: names of the figures of `bars`.
        rows: the address space, in rows.
        bars: VSZ and RSS by kind of region; the last one is the sum.
    """

    before: str
    after: str
    vsz: int
    rss: int | None
    figures: tuple[str, ...]
    rows: tuple[MapRow, ...]
    bars: tuple[SizeBar, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> PhasePicture:
        """The picture that to_dict() returned.

        Raises:
            KeyError, TypeError, ValueError: it is no such record.
        """
        return PhasePicture(
            str(record["before"]),
            str(record["after"]),
            int(record["vsz"]),
            number(record["rss"]),
            tuple(map(str, record["figures"])),
            tuple(
                MapRow(int(gap), tuple(map(block_from, after)), tuple(map(block_from, before)))
                for gap, after, before in record["rows"]
            ),
            tuple(
                SizeBar(
                    str(name),
                    str(key),
                    tuple(map(number, values)),
                    None if before is None else tuple(map(number, before)),
                )
                for name, key, values, before in record["bars"]
            ),
        )


def number(value: Any) -> int | None:
    return None if value is None else int(value)


def block_from(values: Any) -> MapBlock:
    start, end, key, names, detail, size, resident, regions, mark, note = values
    return MapBlock(
        int(start), int(end), str(key), tuple(map(str, names)) or ("",), str(detail), int(size),
        number(resident), int(regions), str(mark) if mark in MARKS else "", str(note),
    )  # fmt: skip


@dataclass(frozen=True)
class Grade:
    """The results of one submission.

    Attributes:
        lab: the lab's name.
        submission: the name of its directory.
        checks: one result for each check, in the lab's order.
        build: how it was built; None: there was no build.
        error: why the grader failed; None: it did not.
        unopened: why the submission could not be opened; None: it could.
        notes: sentences for the student: which files were left out, or found elsewhere.
        seconds: how long it took.
        machine: the machine that it was graded on: kernel, page size, libc, compiler, kind of
            sandbox.
        version: the version of procmem.
        pictures: what the program's memory was at its waits.
    """

    lab: str
    submission: str
    checks: tuple[CheckResult, ...] = ()
    build: BuildResult | None = None
    error: str | None = None
    unopened: str | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    machine: Mapping[str, Any] = field(default_factory=dict, hash=False)
    version: str = ""
    pictures: tuple[PhasePicture, ...] = ()

    @property
    def score(self) -> float:
        """The points that the checks that count gave."""
        return total(check.score for check in self.checks if check.status.counts)

    @property
    def max_score(self) -> float:
        """The points that the checks that count are worth."""
        return total(check.points for check in self.checks if check.status.counts)

    @property
    def uncounted(self) -> float:
        """The points of the checks that were not judged."""
        return total(check.points for check in self.checks if not check.status.counts)

    @property
    def all_points(self) -> float:
        """The points that the lab has, including those that were not judged."""
        return total(check.points for check in self.checks)

    @property
    def trusted(self) -> bool:
        """Whether the grader did not fail at any check."""
        return self.error is None and all(c.status is not Status.ERROR for c in self.checks)

    def check(self, name: str) -> CheckResult:
        """The result of a check by its name.

        Raises:
            KeyError: there is none of that name.
        """
        for found in self.checks:
            if found.name == name:
                return found
        raise KeyError(name)

    def verdict(self) -> tuple[Any, ...]:
        """What is equal each time the same submission is graded: no times, no addresses."""
        checks = tuple((c.name, c.status, c.score, c.points) for c in self.checks)
        built = None if self.build is None else self.build.ok
        return self.lab, built, self.error is None, self.score, self.max_score, checks

    def for_student(self) -> Grade:
        """The same as the student may see it: hidden checks keep only their status."""
        shown = []
        hidden = 0
        for check in self.checks:
            hidden += check.hidden
            shown.append(check.for_student(hidden))
        secret = {check.name for check in self.checks if check.hidden}
        shown = [
            replace(check, needs=tuple(name for name in check.needs if name not in secret))
            for check in shown
        ]
        return replace(self, checks=tuple(shown))

    # ---- in and out ---------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values, with its totals."""
        return {
            "format": FORMAT,
            "version": self.version,
            "lab": self.lab,
            "submission": self.submission,
            "score": self.score,
            "max_score": self.max_score,
            "not_judged": self.uncounted,
            "error": self.error,
            "unopened": self.unopened,
            "notes": list(self.notes),
            "build": None
            if self.build is None
            else {**asdict(self.build), "command": list(self.build.command)},
            "checks": [check.to_dict() for check in self.checks],
            "seconds": self.seconds,
            "machine": dict(self.machine),
            "pictures": [one.to_dict() for one in self.pictures],
        }

    def to_json(self, indent: int | None = None) -> str:
        """The same as JSON; from_json() restores it without loss."""
        return json.dumps(self.to_dict(), indent=indent)

    @staticmethod
    def from_json(text: str | bytes, source: str = "<JSON>") -> Grade:
        """The grade that to_json() wrote.

        Raises:
            ParseError: the text is not such a grade, or its totals don't add up.
        """

        def refuse(reason: str) -> ParseError:
            raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
            return ParseError(source, 1, raw[:200], reason)

        try:
            record = json.loads(text)
            if record["format"] != FORMAT:
                raise refuse(f"a grade of format {record['format']!r}; the known one is {FORMAT}")
            build = record["build"]
            grade = Grade(
                lab=record["lab"],
                submission=record["submission"],
                checks=tuple(map(CheckResult.from_dict, record["checks"])),
                build=None
                if build is None
                else BuildResult(**{**build, "command": tuple(build["command"])}),
                error=record["error"],
                unopened=record.get("unopened"),
                notes=tuple(record.get("notes", ())),
                seconds=record["seconds"],
                machine=record["machine"],
                version=record["version"],
                pictures=tuple(map(PhasePicture.from_dict, record.get("pictures", ()))),
            )
            told = record["score"], record["max_score"]
        except ParseError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise refuse(f"no grade: {type(error).__name__}: {error}") from None
        if told != (grade.score, grade.max_score):
            raise refuse(
                f"its totals {told[0]} of {told[1]} are not the sums of its checks, "
                f"{grade.score} of {grade.max_score}"
            )
        return grade


FORMAT = 1


def total(values: Any) -> float:
    """The sum, without the rounding errors of fractions such as 0.1.

    >>> total([0.1, 0.2]), total([1, 2])
    (0.3, 3)
    """
    added = round(math.fsum(values), 6)
    return int(added) if added == int(added) else added
