"""procmem grade: grades many submissions of a lab."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from textwrap import wrap

from procmem.cli.arguments import Parser
from procmem.cli.formats import print_json
from procmem.cli.progress import Progress
from procmem.cli.terminal import screen_columns
from procmem.errors import MissingExtra
from procmem.grade.exports.files import FORMATS
from procmem.grade.grading.many import grade_all
from procmem.grade.grading.overview import outcome_line, overview
from procmem.grade.sandbox.inherited import set_right
from procmem.grade.sandbox.sandbox import Sandbox
from procmem.labs import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Executor

    from procmem.grade.grading.many import Outcome, Summary

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem grade --help`."""
    options = parser().parse_args(argv)
    set_right()
    lab = find(options.lab)
    screen = Screen(quiet=options.json)
    if not options.dask and (said := Sandbox().warning()):
        sys.stderr.write("\n".join(wrap(f"procmem grade: {said}", screen.width)) + "\n")
    with ExitStack() as stack:
        executor, jobs = None, options.jobs
        if options.dask:
            executor, slots = dask(stack, options.dask)
            jobs = jobs or slots
        stack.enter_context(screen.progress)
        try:
            summary = grade_all(
                lab,
                options.submissions,
                options.output,
                jobs=jobs,
                executor=executor,
                progress=screen.show,
                again=options.again,
                formats=options.format or tuple(FORMATS),
            )
        except KeyboardInterrupt:
            screen.progress.close()
            sys.stderr.write(
                f"procmem grade: stopped {screen.far()}; finished submissions are kept, and the "
                f"same command continues from there\n"
            )
            return 130
    if options.json:
        print_json("grade", summary.to_dict())
    else:
        sys.stdout.write("\n" + overview(summary, screen.width))
        found = (os.path.join(options.output, one) for one in ("submissions/", "grades.csv"))
        listed = "".join(f"    {path}\n" for path in found)
        sys.stdout.write(f"\nThe report on each, and the points of all:\n{listed}")
    return 1 if summary.errors else 0


def parser() -> Parser:
    made = Parser(
        prog="procmem grade",
        description="Grades every submission in a directory: each is built and run in a sandbox, "
        "measured from outside, and gets a report. Run again, it continues where it stopped.",
        epilog="Exit status: 0, all were graded; 1, the grader failed on some; 2, usage error.",
    )
    made.add_argument("lab", metavar="LAB", help="a lab's name (procmem lab list), or directory")
    made.add_argument(
        "submissions",
        metavar="SUBMISSIONS",
        help="a directory that contains one directory, archive or source file per submission",
    )
    made.add_argument(
        "-o", "--output", metavar="RESULTS", required=True, help="the directory for results"
    )
    made.add_argument(
        "-j",
        "--jobs",
        metavar="N",
        type=number,
        help="submissions graded at a time (default: the number of CPUs)",
    )
    made.add_argument(
        "--dask", metavar="ADDRESS", help="grade on a Dask cluster: the scheduler's address"
    )
    made.add_argument(
        "--format",
        action="append",
        choices=FORMATS,
        metavar="NAME",
        help="a format to write besides grade.json (may be repeated; default: all): "
        + ", ".join(FORMATS),
    )
    made.add_argument("--again", action="store_true", help="grade finished submissions again")
    made.add_argument("--json", action="store_true", help="print the summary as JSON")
    return made


def number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, not {text!a}")
    return int(text)


def dask(stack: ExitStack, address: str) -> tuple[Executor, int]:
    """An executor on a Dask cluster, and how many jobs it runs at a time.

    Where workers have the resource "slot", a job takes one. Else it takes a thread: workers for
    grading should have one each, since two jobs on one CPU take each other's time.
    """
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtra("distributed", "grading on a cluster of Dask") from None
    client = stack.enter_context(Client(address, timeout=20, set_as_default=False))
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    slots = [int(worker["resources"].get("slot", 0)) for worker in workers]
    how = {"resources": {"slot": 1}} if any(slots) else {}
    executor: Executor = client.get_executor(pure=False, retries=2, **how)
    return executor, sum(slots) or sum(worker["nthreads"] for worker in workers) or 1


class Screen:
    """Prints a line for each submission and, on a terminal, a progress line below them."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.width = screen_columns() or 80
        self.progress = Progress("grading", quiet=quiet, delay=0)

    def show(self, outcome: Outcome, summary: Summary) -> None:
        """Prints the outcome, and how far all of it is."""
        self.progress.total = summary.total
        self.progress.show(len(summary.outcomes), left=summary.remaining)
        if not self.quiet:
            self.progress.say(outcome_line(outcome) + "\n")

    def far(self) -> str:
        """The progress, in words."""
        done, total = self.progress.done, self.progress.total
        return f"after {done} of {total}" if total else "before the first was done"
