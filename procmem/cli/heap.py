"""procmem heap: what malloc and Python hold inside a process."""

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
from procmem.view.heap import heap_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.process import Process

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem heap --help`."""
    made = parser(
        "heap",
        "Shows what glibc's malloc and Python hold inside a process: in use, free, and what "
        "malloc_trim(3) would return. The process is not changed, and not stopped but with --stop.",
    )
    table_options(made)
    made.add_argument(
        "--arenas", action="store_true", help="list all arenas, and their largest free chunks"
    )
    made.add_argument(
        "--pages",
        action="store_true",
        help="count what is in use on each page, and which small chunks keep pages in memory",
    )
    made.add_argument(
        "--stop",
        action="store_true",
        help="stop the process while it is read, so that nothing changes (ptrace(2))",
    )
    made.add_argument("--sizes", action="store_true", help="list the sizes of chunks and blocks")
    options = made.parse_args(argv)
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS)
    found: list[dict[str, Any]] = []

    def show(process: Process) -> None:
        heap = process.heap(stop=options.stop, pages=options.pages)
        if options.data:
            found.append(heap.to_dict())
            return
        sys.stdout.write(
            heap_text(
                heap,
                width=table_columns(),
                unit=options.units,
                arenas=options.arenas,
                sizes=options.sizes,
                pages=options.pages,
                chosen=options.columns,
            )
        )

    try:
        status = for_each_process(
            "heap",
            options.pids,
            options.root,
            show,
            heading=None if options.data else sys.stdout.write,
        )
        if options.data:
            print_data("heap", options, found)
    except BadArgument as error:
        made.error(str(error))
    return status
