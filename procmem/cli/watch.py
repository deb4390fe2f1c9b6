"""procmem watch: the changes of a process's memory as they happen."""

from __future__ import annotations

import sys

from procmem.cli.arguments import parser
from procmem.cli.record import seconds
from procmem.history.recorder import watch
from procmem.process import Process
from procmem.view.history import change_lines
from procmem.view.json import json_text

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem watch --help`."""
    made = parser(
        "watch", "Prints what changes in a process's memory, until it ends or Ctrl-C.", pids="1"
    )
    made.add_argument(
        "--every", type=seconds, default=0.5, metavar="TIME", help="from look to look (500ms)"
    )
    asked = made.parse_args(argv)
    for change in watch(Process(asked.pid, root=asked.root), every=asked.every):
        if asked.json:
            sys.stdout.write(json_text(change.to_dict()).replace("\n", " ").rstrip() + "\n")
        else:
            sys.stdout.write(change_lines(change))
        sys.stdout.flush()
    return 0
