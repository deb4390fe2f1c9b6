"""An overview of many grades, for a terminal."""

from __future__ import annotations

from statistics import mean, median
from textwrap import wrap

from procmem.grade.exports.shown import amount, line
from procmem.grade.results import Status
from procmem.view.columns import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade.grading.many import CheckCount, Outcome, Summary

__all__ = ["outcome_line", "overview"]

NAME = 24
COUNTED = (Status.PASSED, Status.PARTLY, Status.FAILED, Status.MISSED)


def outcome_line(outcome: Outcome) -> str:
    """One submission in one line: its name, its points, and the checks that cost points."""
    if outcome.error is not None:
        said = f"could not be graded: {outcome.error}"
        if outcome.max_score:
            said = f"some checks could not be made: {outcome.error}"
    elif outcome.unopened is not None:
        said = f"could not be opened: {outcome.unopened}"
    elif outcome.lost:
        more = len(outcome.lost) - 1
        said = f"lost: {outcome.lost[0]}" + (f", and {more} more" if more else "")
    else:
        said = "no point lost" if outcome.not_judged else "all points"
    points = f"{amount(outcome.score)} of {amount(outcome.max_score + outcome.not_judged)}"
    if outcome.not_judged:
        points += f", {amount(outcome.not_judged)} not judged"
    kept = " (kept)" if outcome.kept else ""
    return f"{line(outcome.submission):<{NAME}}  {points:>9}  {line(said)}{kept}"


def overview(summary: Summary, width: int = 80) -> str:
    """The totals, the checks sorted by how many submissions lost points there, and failures.

    Args:
        summary: it.
        width: the width of the text, in columns.
    """
    width = max(60, min(width, 120))
    done = len(summary.outcomes)
    said = f"{line(summary.lab)}: {done} of {summary.total} submissions graded"
    said += f", {summary.kept} of them in an earlier run" if summary.kept else ""
    parts = ["\n".join(wrap(f"{said}. {points_told(summary)}", width)) + "\n"]
    if summary.checks:
        parts.append(checks_table(summary.checks, width))
    if summary.unopened:
        told = [f"Could not be opened, so no file of them counted: {len(summary.unopened)}"]
        for one in summary.unopened:
            text = f"{line(one.submission)}: {line(one.unopened or '')}"
            told += wrap(text, width, initial_indent="  ", subsequent_indent="    ")
        parts.append("\n".join(told) + "\n")
    if summary.doubles:
        told = ["Perhaps from the same student, judging by the names; each was graded separately:"]
        for names in summary.doubles:
            text = ", ".join(map(line, names))
            told += wrap(text, width, initial_indent="  ", subsequent_indent="    ")
        parts.append("\n".join(told) + "\n")
    if summary.errors:
        told = [f"Not graded, or only in part, because the grader failed: {len(summary.errors)}"]
        for one in summary.errors:
            text = f"{line(one.submission)}: {line(one.error or '')}"
            told += wrap(text, width, initial_indent="  ", subsequent_indent="    ")
        parts.append("\n".join(told) + "\n")
    return "\n".join(parts)


def points_told(summary: Summary) -> str:
    scores = [one for one in summary.outcomes if one.max_score and one.error is None]
    if not scores:
        return ""
    values = [one.score for one in scores]
    most = max(one.max_score + one.not_judged for one in scores)
    full = sum(not one.lost and not one.not_judged for one in scores)
    return (
        f"Of {amount(most)} points: mean {amount(mean(values))}, median {amount(median(values))}, "
        f"lowest {amount(min(values))}; all points: {full}."
    )


def checks_table(checks: list[CheckCount], width: int) -> str:
    heading = ("Points", "Passed", "Partly", "Failed", "Missed", "N/A", "Check")
    room = width - sum(map(len, heading[:-1])) - 2 * len(heading[:-1])
    rows = []
    for one in sorted(checks, key=lambda one: -one.failing):
        out = one.ends[Status.NOT_POSSIBLE] + one.ends[Status.ERROR]
        counts = [
            one.ends[end] for end in (Status.PASSED, Status.PARTLY, Status.FAILED, Status.MISSED)
        ]
        first, *more = wrap(line(one.title), room) or [one.name]
        rows.append([amount(one.points), *map(str, counts), str(out), first])
        rows += [[""] * len(heading[:-1]) + [part] for part in more]
    return columns(heading, rows, ">>>>>><")
