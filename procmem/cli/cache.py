"""procmem cache: what the page cache has of files, or of the files of a process."""

from __future__ import annotations

import os
import sys
from typing import Any

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    Parser,
    complain,
    for_each_process,
    is_plain,
    refuse_with_json,
    subject,
    table_options,
)
from procmem.cli.formats import format_options, print_data
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument, Unsupported
from procmem.process.held import page_cache
from procmem.view.cache import cache_json, cache_table
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.process import Process

__all__ = ["main"]

MOST = 20


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem cache --help`."""
    made = Parser(
        prog="procmem cache",
        description="Shows what the page cache has of files: cached, changed and not written yet, "
        "being written, evicted. Nothing of the files is read.",
    )
    made.add_argument(
        "subjects",
        metavar="PATH|PID",
        type=subject,
        nargs="+",
        help="a file; a directory, for all files below it; a PID, a name or self, for the files "
        "that a process has mapped or open (write ./7 for a file with that name)",
    )
    format_options(made)
    made.add_argument(
        "--root", default="/proc", metavar="DIR", help="the /proc in which PIDs are looked up"
    )
    made.add_argument("--all", action="store_true", help=f"show all files, not the first {MOST}")
    table_options(made)
    options = made.parse_args(argv)
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS, all=ALL_FIELDS)
    found: list[dict[str, Any]] = []
    unknown = False

    def write(files: Any, *, held: bool) -> None:
        sys.stdout.write(
            cache_table(
                files,
                width=table_columns(),
                unit=options.units,
                chosen=options.columns,
                most=None if options.all else MOST,
                held=held,
            )
        )

    def show(process: Process) -> None:
        nonlocal unknown
        files = process.cached_files()
        unknown |= bool(files) and not any(file.cache for file in files)
        if options.data:
            found.append({"pid": process.pid, "path": None, "files": cache_json(files)})
        else:
            write(files, held=True)

    def one(word: str) -> int:
        nonlocal unknown
        if is_plain(word) or not os.path.lexists(word):
            heading = None if options.data else sys.stdout.write
            return for_each_process("cache", [word], options.root, show, heading=heading)
        try:
            files = page_cache(word)
        except Unsupported as error:
            complain("cache", str(error))
            return 1
        except OSError as error:
            complain("cache", f"{word}: {error.strerror}")
            return 1
        unknown |= bool(files) and not any(file.cache for file in files)
        if options.data:
            found.append({"pid": None, "path": word, "files": cache_json(files)})
            return 0
        if len(options.subjects) > 1:
            sys.stdout.write(f"{printable(word)}:\n")
        write(files, held=False)
        return 0

    try:
        status = max([one(word) for word in options.subjects])
        if options.data:
            print_data("cache", options, found)
    except BadArgument as error:
        made.error(str(error))
    return status or int(unknown)
