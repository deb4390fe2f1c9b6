"""procmem gather: the processes of a service on many hosts, compared side by side."""

from __future__ import annotations

import argparse
import sys

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    Parser,
    complain,
    refuse_with_json,
    row_limit,
    table_options,
)
from procmem.cli.formats import format_options, print_json, print_table
from procmem.cli.terminal import table_columns
from procmem.cluster.gathered import LEAST
from procmem.cluster.gathering import gather
from procmem.errors import BadArgument
from procmem.snapshots.moment import DETAILS
from procmem.units import parse_size
from procmem.view.gather import gathered_text, left_out_lines
from procmem.view.names import printable

__all__ = ["main"]

LIMIT = 20


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem gather --help`."""
    made = Parser(
        prog="procmem gather",
        description="Takes a snapshot of each chosen process on every host of a Dask cluster, and "
        "shows which processes differ from the others, and in what.",
        epilog="Exit status: 0; 1, a host or a process could not be read, or there is no such "
        "process.",
    )
    made.add_argument(
        "scheduler",
        metavar="SCHEDULER",
        nargs="?",
        help="the address of a scheduler of Dask, such as tcp://10.0.0.1:8786, whose workers are "
        "on the hosts; without it: this host alone",
    )
    for name, metavar, what in (
        ("--name", "NAME", "of this name"),
        ("--user", "USER", "of this user"),
        ("--group", "GROUP", "of this service, container or control group"),
    ):
        made.add_argument(
            name,
            action="append",
            default=[],
            metavar=metavar,
            help=f"processes {what} (may be repeated; of different options all must fit)",
        )
    made.add_argument(
        "--pid",
        action="append",
        type=pid,
        default=[],
        metavar="PID",
        help="this process, on each host (may be repeated)",
    )
    made.add_argument(
        "--detail",
        choices=tuple(DETAILS),
        default="smaps",
        help="how much to read of each process (default: smaps)",
    )
    made.add_argument(
        "--least",
        type=size,
        default=LEAST,
        metavar="SIZE",
        help="leave out differences up to this size, such as 0, 4K or 1M (default: 64K)",
    )
    made.add_argument(
        "--limit",
        type=row_limit,
        default=LIMIT,
        metavar="N",
        help=f"list so many processes (default: {LIMIT}); 0: all",
    )
    made.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait for the hosts (default: 60)",
    )
    format_options(made)
    made.add_argument(
        "--root", default="/proc", metavar="DIR", help="the /proc to read, on each host"
    )
    table_options(made)
    options = made.parse_args(argv)
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS, limit=ALL_FIELDS)
    if not (options.name or options.user or options.group or options.pid):
        made.error("choose processes with --name, --user, --group or --pid")
    try:
        found = gather(
            options.scheduler,
            pids=options.pid,
            names=options.name,
            users=options.user,
            groups=options.group,
            detail=options.detail,
            timeout=options.timeout,
            root=options.root,
        )
        text = ""
        if options.format == "json":
            print_json("gather", [found.to_dict(options.least)])
        elif options.data:
            print_table(found, options)
        else:
            text = gathered_text(
                found,
                least=options.least,
                limit=options.limit,
                unit=options.units,
                width=table_columns(),
                chosen=options.columns,
            )
    except BadArgument as error:
        made.error(str(error))
    except (OSError, ValueError) as error:
        if options.scheduler is None:
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        complain("gather", f"{printable(options.scheduler)}: {said}")
        return 1
    sys.stdout.write(text)
    for line in left_out_lines(found):
        complain("gather", line)
    if not len(found) and not found.left_out and not found.unread:
        complain("gather", "no process fits")
    return 1 if found.left_out or found.unread or not len(found) else 0


def pid(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:12]) < 1 << 31):
        raise argparse.ArgumentTypeError(f"expected a PID, not {text!a}")
    return int(text)


def size(text: str) -> int:
    try:
        found = parse_size(text)
    except ValueError:
        found = -1
    if not 0 <= found < 1 << 63:
        raise argparse.ArgumentTypeError(f"expected a size such as 4K or 1M, not {text!a}")
    return found


def seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < 1e9:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, not {text!a}")
    return found
