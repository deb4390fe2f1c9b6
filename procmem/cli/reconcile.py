"""procmem reconcile: every total against every other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from procmem.cli.arguments import for_each_process, parser
from procmem.view.answers import reconciliation_table
from procmem.view.json import json_text

if TYPE_CHECKING:
    from procmem.process import Process

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem reconcile --help`."""
    made = parser(
        "reconcile",
        "Every total that the kernel gives for a process against every other, each difference "
        "with its cause.",
    )
    options = made.parse_args(argv)
    found: list[dict[str, Any]] = []

    def show(process: Process) -> None:
        result = process.reconcile()
        if options.json:
            found.append(result.to_dict())
            return
        if len(options.pids) > 1:
            sys.stdout.write(f"{process.pid}:\n")
        sys.stdout.write(reconciliation_table(result))

    status = for_each_process("reconcile", options.pids, options.root, show)
    if options.json:
        sys.stdout.write(json_text(found, "comparisons"))
    return status
