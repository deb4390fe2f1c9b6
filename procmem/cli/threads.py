"""procmem threads: the stack of each thread, and regions against vm.max_map_count."""

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
from procmem.view.threads import SORTS, stacks_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.process import Process

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem threads --help`."""
    made = parser(
        "threads",
        "Shows the stack of each thread of a process: reserved, ever touched, in use, and the "
        "room that is left; and how many of vm.max_map_count regions the process has.",
    )
    table_options(made)
    made.add_argument(
        "--sort", choices=SORTS, default="touched",
        help="the order of the threads; the default is touched, the deepest stack first",
    )  # fmt: skip
    made.add_argument("--top", type=int, metavar="N", help="list only the first N threads")
    made.add_argument(
        "--stop", action="store_true",
        help="stop the process for a moment while it is read (ptrace), so that what running "
            "threads have in use is known, too; a line says for how long",
    )  # fmt: skip
    options = made.parse_args(argv)
    refuse_with_json(
        made, options, units=IN_BYTES, columns=ALL_FIELDS, top="which has every thread",
        sort="which lists threads by their IDs",
    )  # fmt: skip
    if options.top is not None and options.top < 1:
        made.error("--top: expected a number of threads, 1 or more")
    found: list[dict[str, Any]] = []

    def show(process: Process) -> None:
        stacks = process.stacks(stop=options.stop)
        if options.data:
            found.append(stacks.to_dict())
            return
        sys.stdout.write(
            stacks_text(
                stacks, width=table_columns(), unit=options.units, chosen=options.columns,
                sort=options.sort, top=options.top,
            )
        )  # fmt: skip

    try:
        status = for_each_process(
            "threads",
            options.pids,
            options.root,
            show,
            heading=None if options.data else sys.stdout.write,
        )
        if options.data:
            print_data("threads", options, found)
    except BadArgument as error:
        made.error(str(error))
    return status
