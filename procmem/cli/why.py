"""procmem why: why a process hangs: what it waits for, who could end that, or a deadlock."""

from __future__ import annotations

import sys

from procmem.cli.arguments import (
    ALL_FIELDS,
    columns_option,
    one_process,
    parser,
    refuse_with_json,
)
from procmem.cli.formats import print_data
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument
from procmem.ipc.graph import waits
from procmem.view.why import why_text

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem why --help`."""
    made = parser(
        "why",
        "Says why a process hangs: what its threads wait for, who could end that, and whether "
        "they wait for each other. Nothing is stopped, opened or changed.",
        pids="1",
    )
    columns_option(made)
    options = made.parse_args(argv)
    refuse_with_json(made, options, columns=ALL_FIELDS)
    with one_process(made, options.pid, options.root) as process:
        pid = process.pid
        process.files.check_running()
        found = waits([pid], root=options.root)
    if options.data:
        body = {
            "pid": pid,
            "name": found.states[pid].name if pid in found.states else None,
            "deadlock": found.is_deadlocked(pid),
            "certain": found.certain,
            "why": found.why(pid),
            "deadlocks": found.deadlocks,
            "denied": found.denied,
            "waits": [wait._asdict() for wait in found.chain(pid)],
        }
        try:
            print_data("why", options, body)
        except BadArgument as error:
            made.error(str(error))
        return 0
    try:
        sys.stdout.write(why_text(found, pid, width=table_columns(), chosen=options.columns))
    except BadArgument as error:
        made.error(str(error))
    return 0
