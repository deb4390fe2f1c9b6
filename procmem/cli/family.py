"""procmem family: a process and its forks, what they share and what they have copied."""

from __future__ import annotations

import sys
from typing import Any

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    for_each_process,
    parser,
    refuse_with_json,
    row_limit,
    table_options,
)
from procmem.cli.exports import check_exports, draw, export_options
from procmem.cli.formats import print_data
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument
from procmem.process.finding import oldest
from procmem.view.family import family_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.process import Process
    from procmem.process.family import Family

__all__ = ["main"]

LIMIT = 15


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem family --help`."""
    made = parser(
        "family",
        "Shows a process and its descendants: what each still shares with its parent since "
        "fork(2), and what was copied. As root page frames are compared.",
    )
    made.add_argument(
        "--regions", action="store_true", help="show where: a row for each region of the forks"
    )
    made.add_argument(
        "--limit",
        type=row_limit,
        default=LIMIT,
        metavar="N",
        help=f"show so many regions (default: {LIMIT}); 0: all",
    )
    export_options(made, svg="the processes, a bar for each,")
    table_options(made, default="MiB")
    options = made.parse_args(argv)
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS, limit="which has all rows")
    if options.svg is not None and len(options.pids) > 1:
        made.error("--svg draws one family: give one PID")
    if not check_exports("family", options):
        return 1
    found: list[dict[str, Any]] = []
    pictures: list[Family] = []

    def show(process: Process) -> None:
        family = process.family()
        pictures.append(family)
        if options.data:
            found.append(family.to_dict())
            return
        sys.stdout.write(
            family_text(
                family,
                limit=options.limit,
                regions=options.regions,
                width=table_columns(),
                unit=options.units,
                chosen=options.columns,
            )
        )

    try:
        status = for_each_process(
            "family",
            oldest(options.pids, options.root),
            options.root,
            show,
            heading=None if options.data else sys.stdout.write,
        )
        if options.data:
            print_data("family", options, found)
    except BadArgument as error:
        made.error(str(error))
    if options.svg is not None and len(pictures) > 1:
        made.error(f"--svg draws one family, and {options.pids[0]} matches {len(pictures)}")
    return (draw("family", options, pictures[0].svg) if pictures else 0) or status
