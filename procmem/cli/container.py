"""procmem container: what a control group, and so a container, is charged for."""

from __future__ import annotations

import os
import sys

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    Parser,
    complain,
    refuse_with_json,
    subject,
    table_options,
)
from procmem.cli.formats import format_options, print_data
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument, ProcmemError
from procmem.system.controlgroup import ControlGroup
from procmem.view.container import container_json, container_text

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem container --help`."""
    made = Parser(
        prog="procmem container",
        description="Shows what a control group, and so a container or a service, is charged for: "
        "usage, limit, working set, the parts of the usage, and its processes.",
    )
    made.add_argument(
        "groups",
        metavar="GROUP",
        type=subject,
        nargs="+",
        help='a directory below /sys/fs/cgroup, a PID, "self", a path as /proc/PID/cgroup shows '
        "it, the name of a service, or the ID of a container (its first six digits or more)",
    )
    format_options(made)
    made.add_argument(
        "--root", default="/proc", metavar="DIR", help="the /proc in which PIDs are looked up"
    )
    made.add_argument(
        "--files",
        action="append",
        default=[],
        metavar="PATH",
        help="look for page cache in this file, or below this directory, too: of files that no "
        "process has open (may be repeated; as root)",
    )
    made.add_argument(
        "--all", action="store_true", help="show all rows, and not the largest ones alone"
    )
    table_options(made)
    options = made.parse_args(argv)
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS, all=ALL_FIELDS)
    for path in options.files:
        if not os.path.exists(path):
            made.error(f"--files: {path}: no such file or directory")
    status = 0
    found = []
    for word in options.groups:
        try:
            group = ControlGroup(word, files=options.files, root=options.root)
        except (ProcmemError, OSError) as error:
            complain("container", reason(error))
            status = 1
            continue
        if options.data:
            found.append(container_json(group))
            continue
        try:
            text = container_text(
                group,
                width=table_columns(),
                unit=options.units,
                chosen=options.columns,
                all_rows=options.all,
            )
        except BadArgument as error:
            made.error(str(error))
        sys.stdout.write(text)
    if options.data:
        try:
            print_data("container", options, found)
        except BadArgument as error:
            made.error(str(error))
    return status


def reason(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ProcmemError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
