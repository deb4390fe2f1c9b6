"""procmem pipes: pipes, FIFOs, socket pairs, eventfds: their holders, fill, blocked threads."""

from __future__ import annotations

import sys

from procmem.cli.arguments import (
    ABSENT,
    ALL_FIELDS,
    columns_option,
    one_process,
    parser,
    refuse_with_json,
)
from procmem.cli.formats import print_data
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument
from procmem.ipc.blocked import pipes
from procmem.process.naming import names_of
from procmem.view.pipes import pipes_text

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem pipes --help`."""
    made = parser(
        "pipes",
        "Shows pipes and FIFOs, pairs of Unix sockets and eventfds: who holds which end, the bytes "
        "waiting in each, and who is blocked in it. Without a PID, those of all processes. Nothing "
        "is opened or changed.",
        pids="?",
    )
    columns_option(made)
    options = made.parse_args(argv)
    refuse_with_json(made, options, columns=ALL_FIELDS)
    pid = None
    if options.pid is ABSENT:
        found = pipes(root=options.root)
    else:
        with one_process(made, options.pid, options.root) as process:
            pid = process.pid
            found = process.pipes()
    try:
        if options.data:
            print_data("pipes", options, found.to_dict(), [({}, found)])
            return 0
        held = (*found, *found.sockets, *found.eventfds)
        names = names_of({one for each in held for one in each.pids}, options.root)
        sys.stdout.write(
            pipes_text(found, pid=pid, names=names, width=table_columns(), chosen=options.columns)
        )
    except BadArgument as error:
        made.error(str(error))
    return 0
