"""procmem watch: prints changes of a process's memory as they happen."""

from __future__ import annotations

import json
import sys
from typing import Any

from procmem.cli.arguments import one_process, parser
from procmem.cli.formats import OutputFile
from procmem.cli.record import seconds
from procmem.cli.terminal import table_columns
from procmem.recording.recorder import watch
from procmem.view.columns import narrowed
from procmem.view.recording import change_lines, ended_line

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem watch --help`."""
    made = parser(
        "watch",
        "Prints changes of a process's memory as they happen, until it exits or Ctrl-C.",
        pids="1",
        formats=("table", "json", "jsonl"),
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
        "--columns": "which prints sentences; --json has every field",
    }
    asked = made.parse_args(argv)
    changes = watch(one_process(made, asked.pid, asked.root), every=asked.every)
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
        said(
            one_line(change.to_dict())
            if asked.data
            else narrowed(change_lines(change), table_columns())
        )
    said(one_line({"ended": ended}) if asked.data else ended_line(ended))
    return 0


def said(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def one_line(value: dict[str, Any]) -> str:
    return json.dumps(value) + "\n"
