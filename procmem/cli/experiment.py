"""procmem experiment: real system calls in a helper process, explained step by step."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from typing import Any

from procmem.cli.arguments import Parser, complain
from procmem.cli.exports import check_exports, draw, export_options
from procmem.cli.formats import FORMAT_OPTIONS, format_options, print_data
from procmem.cli.progress import Progress
from procmem.cli.terminal import screen_columns, table_columns
from procmem.errors import BadArgument, Unsupported
from procmem.experiments.ready.story import EXPERIMENTS, find
from procmem.procfs import pids
from procmem.view.columns import did_you_mean, narrowed, prose
from procmem.view.experiment import experiment_list, story_text, verdict_text
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procmem.experiments.ready.story import Story

__all__ = ["main"]

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem experiment --help`.

    The exit status is 1 if a measurement differed from the prediction, or there is no /proc.
    """
    name = argv[0] if argv else ""
    if not name or name.startswith("-"):
        return list_them(argv)
    if name == "all":
        made = Parser(
            prog="procmem experiment all",
            description="Runs every experiment, the long ones with less data.",
        )
        functions = dict.fromkeys(EXPERIMENTS)
    elif name.replace("_", "-") in EXPERIMENTS:
        made = parser_of(name, find(name))
        functions = {name: None}
    else:
        meant = did_you_mean(name, EXPERIMENTS)
        sys.stderr.write(
            f"procmem experiment: unknown experiment {name!a}{meant}: all, "
            f"{', '.join(EXPERIMENTS)}\n"
        )
        return 2
    format_options(made)
    if name != "all":
        export_options(made, svg="what each step changed")
    made.refused = {
        "--units": "whose steps are in KiB; --json has bytes",
        "--columns": "whose steps all have the same figures; --json has every field",
        **({"--svg": "which runs all: name one experiment"} if name == "all" else {}),
    }
    asked = made.parse_args(argv[1:])
    own = (*FORMAT_OPTIONS, "svg", "exports")
    options = {key: value for key, value in vars(asked).items() if key not in own}
    if name != "all" and not check_exports("experiment", asked):
        return 1
    stories = []
    end = "\n" if name == "all" else ""
    try:
        pids()  # raises where there is no /proc: nothing could be measured
    except Unsupported as error:
        complain("experiment", str(error))
        return 1
    try:
        # Light: experiments measure what this process does, too.
        with Progress("experiments", total=len(functions), delay=0, light=True) as shown:
            for story in told(list(functions), options, shown, quick=name == "all"):
                stories.append(story)
                if not asked.data:
                    text = story_text(story, screen_columns() or 80)
                    shown.say(narrowed(text, table_columns()) + end)
    except BadArgument as error:
        made.error(printable(str(error)))
    if asked.data:
        print_data("experiment", asked, [story.to_dict() for story in stories])
        if not asked.json:  # which says so
            for story in stories:
                if story.skipped:
                    complain("experiment", f"{story.name}: not possible here: {story.skipped}")
    elif name == "all":
        sys.stdout.write(f"{len(stories)} experiments: {verdict_text(stories)}")
    status = 0 if all(story.agrees for story in stories) else 1
    return (draw("experiment", asked, stories[0].svg) if name != "all" else 0) or status


def told(
    names: list[str], options: dict[str, Any], shown: Progress, *, quick: bool
) -> Iterator[Story]:
    for done, name in enumerate(names):
        if len(names) > 1:
            shown.show(done, name)
        function = find(name)
        yield function(**(getattr(function, "quick", {}) if quick else options))


def list_them(argv: list[str]) -> int:
    made = Parser(
        prog="procmem experiment",
        usage="procmem experiment [NAME|all] [--json] [OPTIONS OF THE EXPERIMENT]",
        description="Makes real system calls in a helper process and explains what changed and "
        "why.",
        epilog="experiments:\n" + experiment_list(EXPERIMENTS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    format_options(made)
    options = made.parse_args(argv)
    if options.data:
        rows = [{"name": name, "shows": line} for name, line in EXPERIMENTS.items()]
        print_data("experiment list", options, rows)
        return 0
    sys.stdout.write(experiment_list(EXPERIMENTS, table_columns()))
    sys.stdout.write(
        "\n"
        + prose(
            "`procmem experiment NAME` runs one, `procmem experiment all` runs all.",
            table_columns(),
        )
    )
    return 0


def parser_of(name: str, function: Callable[..., Story]) -> Parser:
    """The options of an experiment are its function's arguments."""
    text = inspect.getdoc(function) or ""
    made = Parser(prog=f"procmem experiment {name}", description=text.partition("\n\nArgs:")[0])
    for one in inspect.signature(function).parameters.values():
        found = re.search(rf"^    {one.name}: ((?:.|\n      )+)", text, re.MULTILINE)
        says = " ".join(found[1].split()) if found else ""
        made.add_argument(
            f"--{one.name.replace('_', '-')}",
            dest=one.name,
            default=one.default,
            type=str if "str" in str(one.annotation) else number,
            metavar="N" if "int" in str(one.annotation) else "TEXT",
            help=says.replace("%", "%%")
            + ("" if one.default is None else f" (default: {one.default})"),
        )
    return made


def number(text: str) -> int:
    """A whole number; 0x7f00 and 32M are accepted."""
    match = re.fullmatch(r"(\d+)([kmg]?)(?:i?b)?", text.lower())
    try:
        return int(match[1]) * UNITS[match[2]] if match else int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a whole number: {text!a}") from None
