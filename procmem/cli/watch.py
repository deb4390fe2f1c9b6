"""procmem watch: prints changes of a process's memory as they happen."""

from __future__ import annotations

import json
import sys
from typing import Any

from procmem.cli.arguments import complain, one_process, parser
from procmem.cli.formats import OutputFile, print_streamed
from procmem.cli.record import seconds
from procmem.cli.terminal import table_columns
from procmem.recording.recorder import watch
from procmem.view.columns import narrowed
from procmem.view.recording import change_lines, ended_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from procmem.snapshots import Diff

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem watch --help`."""
    made = parser(
        "watch",
        "Prints changes of a process's memory as they happen, until it exits or Ctrl-C.",
        pids="1",
        formats=("table", "json", "jsonl", "csv"),
    )
    made.add_argument(
        "--every",
        type=seconds,
        default=0.5,
        metavar="TIME",
        help="how often to check (default: 500ms)",
    )
    made.refused = {
        "--units": "which prints sentences, in KiB; --json has bytes",
        "--columns": "which prints sentences; --json and csv have every field",
    }
    asked = made.parse_args(argv)
    changes = watch(one_process(made, asked.pid, asked.root), every=asked.every)
    number = 0
    while True:
        try:
            change = next(changes)
        except StopIteration as end:
            ended = str(end.value)
            break
        except KeyboardInterrupt:
            if isinstance(sys.stdout, OutputFile):
                sys.stdout.commit()
            raise
        if asked.format == "csv":
            said_as_rows(change, number, asked)
        elif asked.data:
            said(one_line(change.to_dict()))
        else:
            said(narrowed(change_lines(change), table_columns()))
        number += 1
    if asked.format == "csv":
        complain("watch", ended)
    else:
        said(one_line({"ended": ended}) if asked.data else ended_line(ended))
    return 0


def said_as_rows(change: Diff, number: int, asked: argparse.Namespace) -> None:
    """Prints a row for each changed region, with the number and the time of the check."""
    from procmem.formats import JoinedTables, instant

    clock = change.after.clock
    when = {"number": number, "time": None if clock is None else instant(clock.realtime)}
    print_streamed(JoinedTables([(when, change)]), asked, heading=not number)


def said(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def one_line(value: dict[str, Any]) -> str:
    return json.dumps(value) + "\n"
