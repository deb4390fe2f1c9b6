"""procmem reconcile: compares the totals that the kernel reports for a process."""

from __future__ import annotations

import sys
from typing import Any

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    for_each_process,
    parser,
    refuse_with_json,
    table_options,
)
from procmem.cli.formats import print_data
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument
from procmem.view.reconcile import reconciliation_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.process import Process

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem reconcile --help`."""
    made = parser(
        "reconcile",
        "Compares all totals that the kernel reports for a process, and explains each difference.",
    )
    table_options(made)
    options = made.parse_args(argv)
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS)
    found: list[dict[str, Any]] = []

    def show(process: Process) -> None:
        result = process.reconcile()
        if options.data:
            found.append(result.to_dict())
            return
        text = reconciliation_table(
            result, width=table_columns(), unit=options.units, chosen=options.columns
        )
        sys.stdout.write(text)

    try:
        status = for_each_process(
            "reconcile",
            options.pids,
            options.root,
            show,
            heading=None if options.data else sys.stdout.write,
        )
        if options.data:
            print_data("reconcile", options, found)
    except BadArgument as error:
        made.error(str(error))
    return status
