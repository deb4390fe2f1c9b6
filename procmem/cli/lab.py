"""procmem lab: exercises for students, with the checks that grading uses."""

from __future__ import annotations

import os
import sys

from procmem.cli.arguments import Parser
from procmem.cli.exports import check_exports, draw, export_options
from procmem.cli.formats import format_options, print_data
from procmem.cli.terminal import screen_columns
from procmem.grade.exports.texts import html, text
from procmem.grade.grading.grade import grade
from procmem.grade.results import Status
from procmem.grade.sandbox.inherited import set_right
from procmem.labs import find, labs
from procmem.labs.handout import begin, lab_of
from procmem.view.columns import Column, fitted
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from procmem.grade.results import Grade
    from procmem.grade.submissions.lab import Lab

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem lab --help`."""
    options = parser().parse_args(argv)
    set_right()
    status: int = options.run(options)
    return status


def parser() -> Parser:
    made = Parser(
        prog="procmem lab",
        description="Exercises about the memory of processes: a hand-out, starter files, and "
        "checks that examine the running program.",
    )
    ways = made.add_subparsers(metavar="list|new|check|show", required=True)

    way = ways.add_parser("list", help="list the available labs")
    format_options(way)
    way.set_defaults(run=list_them)

    way = ways.add_parser(
        "new", help="start a lab: copies its hand-out and starter files into a new directory"
    )
    way.add_argument(
        "name", metavar="NAME", help="the name of a lab, or the directory of your own lab"
    )
    way.add_argument(
        "directory", metavar="DIR", help="the directory to create; it must not exist, or be empty"
    )
    way.set_defaults(run=new)

    way = ways.add_parser(
        "check",
        help="run the checks of a lab on your solution",
        epilog="Exit status: 0, all checks passed that could be made; 1, not all passed; 2, usage "
        "error.",
    )
    way.add_argument(
        "directory", metavar="DIR", nargs="?", default=".", help="default: the current directory"
    )
    way.add_argument(
        "--lab", metavar="NAME", help="the lab, if the directory was not made by `procmem lab new`"
    )
    format_options(way)
    export_options(way, report="the results, with pictures of what the program built,")
    way.set_defaults(run=check)

    way = ways.add_parser("show", help="print the hand-out of a lab")
    way.add_argument("name", metavar="NAME", help="the name or directory of a lab")
    way.set_defaults(run=show)
    return made


def list_them(options: argparse.Namespace) -> int:
    found = labs()
    if options.data:
        rows = [{"name": lab.name, "title": lab.title, "summary": lab.summary} for lab in found]
        print_data("lab list", options, rows)
        return 0
    sys.stdout.write(lab_table(found))
    sys.stdout.write("\n`procmem lab new NAME DIR` starts one.\n")
    return 0


def lab_table(found: list[Lab]) -> str:
    made = [Column("name", "Name", floor=14), Column("shows", "Shows", floor=16, wrapped=True)]
    rows = ((lab.name, lab.summary or lab.title) for lab in found)
    return fitted(made, rows, width=screen_columns() or 80)


def new(options: argparse.Namespace) -> int:
    lab = find(options.name)
    made = begin(lab, options.directory)
    place = printable(options.directory)
    sys.stdout.write(f"{lab.title}\n\nin {place}:\n")
    sys.stdout.write("".join(f"    {printable(name)}\n" for name in made))
    sys.stdout.write(f"\nRead handout.md, then: procmem lab check {place}\n")
    return 0


def check(options: argparse.Namespace) -> int:
    if not os.path.exists(options.directory):
        sys.stderr.write(f"procmem lab: {printable(options.directory)}: no such directory\n")
        return 1
    if not check_exports("lab", options):
        return 1
    lab = find(options.lab) if options.lab else lab_of(options.directory)
    found = grade(lab, options.directory)
    if options.data:
        print_data("lab check", options, found.to_dict())
    else:
        sys.stdout.write(f"{lab.name}: {lab.title}\n\n" + text(found, screen_columns() or 80))
    if found.error is not None:
        sys.stderr.write(f"procmem lab: the grader failed: {printable(found.error)}\n")
    elif not options.data:
        sys.stderr.write(faults_of_checks(found))
    judged = found.max_score or not found.uncounted
    if draw("lab", options, lambda: html(found), "report"):
        return 1
    return 0 if found.trusted and judged and found.score == found.max_score else 1


def faults_of_checks(grade: Grade) -> str:
    """Messages for the author of the checks about checks that raised an error."""
    told = []
    for check in grade.checks:
        if check.status is Status.ERROR and not check.hidden:
            told.append(f"procmem lab: {printable(check.name)}: {printable(check.message or '')}")
            places = [one for one in (check.detail or "").splitlines() if "checks.py" in one]
            told += [f"    {printable(place.strip())}" for place in places[-1:]]
    return "".join(f"{one}\n" for one in told)


def show(options: argparse.Namespace) -> int:
    lab = find(options.name)
    sys.stdout.write(lab.handout.read_text(encoding="utf-8"))
    return 0
