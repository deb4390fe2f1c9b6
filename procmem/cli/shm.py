"""procmem shm: shared memory, who maps it, who holds it open, what nobody uses."""

from __future__ import annotations

import sys

from procmem.cli.arguments import (
    ABSENT,
    ALL_FIELDS,
    IN_BYTES,
    one_process,
    parser,
    refuse_with_json,
    table_options,
)
from procmem.cli.formats import print_data
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument
from procmem.ipc.shared import segments
from procmem.process.naming import names_of
from procmem.view.shm import segments_text

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem shm --help`."""
    made = parser(
        "shm",
        "Shows shared memory: System V and POSIX segments, memfds, memory that parent and child "
        "share, files mapped MAP_SHARED; who maps and holds each, and what nobody uses. With a "
        "PID, that of one process.",
        pids="?",
    )
    table_options(made)
    options = made.parse_args(argv)
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS)
    if options.pid is ABSENT:
        found = segments(root=options.root)
    else:
        with one_process(made, options.pid, options.root) as process:
            process.files.check_running()
            found = segments(root=options.root).of(process.pid)
    try:
        if options.data:
            print_data("shm", options, found.to_dict(), [({}, found)])
            return 0
        pids = {one.pid for each in found for one in each.mappers}
        pids.update(one.pid for each in found for one in each.descriptors)
        sys.stdout.write(
            segments_text(
                found,
                names=names_of(pids, options.root),
                width=table_columns(),
                unit=options.units,
                chosen=options.columns,
            )
        )
    except BadArgument as error:
        made.error(str(error))
    return 0
