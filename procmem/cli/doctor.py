"""procmem doctor: the kernel features and permissions that procmem has on this machine."""

from __future__ import annotations

import sys

from procmem.cli.arguments import Parser
from procmem.cli.formats import format_options, print_data
from procmem.cli.terminal import screen_columns
from procmem.grade.grading.walls import walls
from procmem.grade.sandbox.inherited import set_right
from procmem.process.doctor import Feature, doctor
from procmem.view.doctor import doctor_table

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem doctor --help`."""
    made = Parser(
        prog="procmem doctor",
        description="Reports which kernel features and permissions procmem has on this machine, "
        "which parts of the grading sandbox work, and what each missing one costs.",
    )
    format_options(made)
    made.refused = {
        "--units": "which prints no sizes",
        "--columns": "which prints no table of sizes",
    }
    options = made.parse_args(argv)
    set_right()
    features = doctor()
    try:
        features += [Feature(*wall) for wall in walls()]
    except OSError as error:  # without /proc
        seen = f"unknown: {error.filename}: {error.strerror}"
        features.append(
            Feature("sandbox", False, "grading of programs", "nothing can be graded", seen)
        )
    if options.data:
        print_data("doctor", options, [feature._asdict() for feature in features])
    else:
        sys.stdout.write(doctor_table(features, screen_columns() or 80))
    return 0
