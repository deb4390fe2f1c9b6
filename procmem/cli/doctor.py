"""procmem doctor: what this machine lets procmem see."""

from __future__ import annotations

import sys

from procmem.cli.arguments import Parser
from procmem.cli.terminal import screen_columns
from procmem.grade.grading.walls import walls
from procmem.grade.sandbox.inherited import set_right
from procmem.process.doctor import Feature, doctor
from procmem.view.doctor import doctor_table
from procmem.view.json import json_text

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem doctor --help`."""
    set_right()
    made = Parser(
        prog="procmem doctor",
        description="What this machine lets procmem see, which walls of the sandbox for graded "
        "programs stand, and what each missing part costs.",
    )
    made.add_argument("--json", action="store_true", help="print the whole result as JSON")
    made.refused = {
        "--units": "which prints no sizes",
        "--columns": "which prints no table of sizes",
    }
    options = made.parse_args(argv)
    features = doctor()
    try:
        features += [Feature(*wall) for wall in walls()]
    except OSError as error:  # without /proc
        seen = f"not known: {error.filename}: {error.strerror}"
        features.append(
            Feature("sandbox", False, "grading of programs", "nothing can be graded", seen)
        )
    if options.json:
        sys.stdout.write(json_text([feature._asdict() for feature in features]))
    else:
        sys.stdout.write(doctor_table(features, screen_columns() or 80))
    return 0
