"""procmem top on a terminal: whether the live screen is opened, and with what."""

from __future__ import annotations

import os
import sys

from procmem.cli.arguments import complain
from procmem.errors import MissingExtra

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["LIVE_SHARE", "opens_screen", "show"]

LIVE_SHARE = 0.05
"""The share of one CPU that the screen uses if no other is asked for."""

FOR_BOTH = frozenset(("by", "live", "max_stall", "replay", "root", "share", "sort", "units"))
"""Options that the screen has, too. Any other is one of the table, which is printed then."""

DERIVED = frozenset(("data", "format", "formats", "own_output"))
"""What is set even if no option is given."""

ONLY_IN_TABLE = frozenset({"huge", "ksm"})
"""What only the table can be sorted by."""

NEEDS = "the live screen"


def opens_screen(made: ArgumentParser, options: Namespace, words: list[str]) -> bool:
    """Whether the screen is opened, and not the table printed.

    It is on a terminal, if no option of the table is given, and textual is installed; if that is
    missing, a line on stderr says so. With --live or --replay there is no table: what is missing is
    an error, and the command ends.

    Args:
        made: the parser.
        options: the parsed options.
        words: what they were parsed from.
    """
    is_output = options.data or any(word.startswith("--format") for word in words)
    if options.live or options.replay is not None:
        if is_output:
            made.error("--live and --replay cannot be combined with --json or --format")
        if not on_terminal():
            made.error(
                "--live and --replay need a terminal; --once prints the table, procmem record "
                "--report FILE the report on a recording"
            )
        if not can_import():
            raise MissingExtra("ui", NEEDS)
        return True
    given = [
        name
        for name in vars(options)
        if name not in FOR_BOTH | DERIVED and getattr(options, name) != made.get_default(name)
    ]
    if given or is_output or options.sort in ONLY_IN_TABLE or not on_terminal():
        return False
    if not can_import():
        complain("top", f"{MissingExtra('ui', NEEDS)} (--once prints the table without this line)")
        return False
    return True


def on_terminal() -> bool:
    """Whether keys are read from a terminal, and one that has a screen is written to."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    # The screen is drawn through stderr.
    return os.environ.get("TERM", "") not in {"", "dumb"} and all(
        stream is not None and stream.isatty() for stream in streams
    )


def can_import() -> bool:
    """Whether the libraries of the screen are installed."""
    try:
        import procmem.screen.app  # noqa: F401 - tried
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "procmem":
            raise
        return False
    return True


def show(made: ArgumentParser, options: Namespace, wanted: set[int]) -> int:
    """Opens the screen.

    Args:
        made: the parser.
        options: those of the command.
        wanted: PIDs: one process is opened, several are listed; none: all are listed.
    """
    from procmem.cli.progress import end_progress
    from procmem.recording.recording import Recording
    from procmem.screen.app import run_screen
    from procmem.view.colours import has_colours

    replay = None if options.replay is None else Recording.load(options.replay)
    end_progress()
    return run_screen(
        share=options.share or LIVE_SHARE,
        root=options.root,
        max_stall=options.max_stall,
        replay=replay,
        unit="" if options.units == made.get_default("units") else options.units,
        sort=options.sort,
        by=options.by or "",
        pids=wanted,
        colour=has_colours(),
    )
