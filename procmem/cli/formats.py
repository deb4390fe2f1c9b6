"""--format, --json and -o of the commands: what is printed, in which format, and where."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

from procmem.cli.progress import silence
from procmem.cli.terminal import colour_output
from procmem.view.names import printable

# What writes the other formats is imported when one is asked for: a table should not wait for it.

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from procmem.arrow import Columnar

__all__ = [
    "ALL",
    "FORMAT_OPTIONS",
    "STREAMED",
    "OutputFile",
    "force_option",
    "format_options",
    "print_data",
    "print_json",
    "print_streamed",
    "print_table",
    "settle",
]

ALL = ("table", "json", "jsonl", "csv", "html", "arrow", "parquet")
BINARY = ("arrow", "parquet")
STREAMED = ("csv", "jsonl")
"""Formats of which rows can be printed while more of them come."""

FORMAT_OPTIONS = ("data", "force", "format", "formats", "json", "output", "own_output")
"""What these options become in a Namespace."""

OUTPUT = (
    "write to this file; a file that exists is overwritten only with --force; - is stdout. Without "
    "--format, its name may say which: .json, .jsonl, .csv, .html, .arrow, .parquet"
)


def format_options(
    made: argparse.ArgumentParser, formats: Sequence[str] = ALL, *, output: bool = True
) -> None:
    """Adds --format, --json, -o and --force.

    Args:
        made: the parser.
        formats: those that the command has.
        output: whether -o is free for the output.
    """
    made.add_argument(
        "--format",
        choices=formats,
        metavar="FORMAT",
        help=f"the format of the output: {', '.join(formats)} (default: table)",
    )
    made.add_argument("--json", action="store_true", help="print the whole result as JSON")
    if output:
        made.add_argument("-o", "--output", metavar="FILE", help=OUTPUT)
        force_option(made, "-o")
    made.set_defaults(data=False, own_output=output, formats=tuple(formats))


FORCE = "let {} overwrite any file, follow a symbolic link, and write to a FIFO or a device"


def force_option(made: argparse.ArgumentParser, *names: str) -> None:
    """Adds --force; where it is there already, its help names these options, too.

    Args:
        made: the parser.
        names: the options whose files it lets be overwritten.
    """
    added: tuple[argparse.Action, tuple[str, ...]] | None = vars(made).get("forced")
    action, known = added or (made.add_argument("--force", action="store_true"), ())
    *most, last = names = (*known, *names)
    action.help = FORCE.format(f"{', '.join(most)} and {last}" if most else last)
    vars(made)["forced"] = action, names


def settle(made: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Decides the format, and opens the file of -o; `options.data` is whether it is no table.

    Exits with status 2 if options contradict each other, and with 1 if the file can't be written.
    """
    to = options.output if options.own_output else None
    to = None if to == "-" else to
    if options.json and options.format not in (None, "json"):
        made.error(f"--json cannot be combined with --format {options.format}")
    if options.json:
        options.format = "json"
    elif options.format is None:
        options.format = named_format(to or "", options.formats)
    if options.format == "json":
        options.json = True
    options.data = options.format != "table"
    if options.data:
        silence()
    others = [name for name in getattr(options, "exports", ()) if getattr(options, name)]
    if options.own_output and options.force and to is None and not others:
        made.error("--force needs -o FILE")
    if options.format in BINARY and to is None and sys.stdout.isatty():
        way = "name a file with -o FILE, or redirect" if options.own_output else "redirect"
        made.error(f"--format {options.format} is no text: {way} the output")
    if to is not None:
        try:
            sys.stdout = OutputFile(to, force=options.force)
        except OSError as error:
            made.exit(1, f"{made.prog}: {printable(to)}: {error.strerror}\n")
        colour_output()  # a file has none, even if stdout was a terminal


def named_format(path: str, formats: Sequence[str]) -> str:
    """The format that a file's name ends in, if it is one of these; else "table"."""
    if path.lower().endswith(".json"):
        return "json"
    if "." not in path:
        return "table"
    from procmem.formats import format_of

    named = format_of(path)
    return named if named and named in formats else "table"


class OutputFile(io.TextIOWrapper):
    """The file of -o, in place of stdout. What was there stays until the command has ended.

    Attributes:
        path: its name.

    Raises:
        OSError: as check_output().
    """

    def __init__(self, path: str, *, force: bool) -> None:
        from procmem.snapshots.output import check_output, replacing

        check_output(path, force=force, is_ours=is_empty, what=None)
        self.path = path
        self._ended = False
        self._file: AbstractContextManager[BinaryIO] = replacing(
            path, force=force, is_ours=is_empty, what=None
        )
        super().__init__(
            self._file.__enter__(), encoding="utf-8", errors="backslashreplace", newline=""
        )

    def commit(self) -> None:
        """Puts the file in its place."""
        self.flush()
        self._ended = True
        self._file.__exit__(None, None, None)

    def abandon(self) -> None:
        """Leaves what was there, unless the file is in its place."""
        if not self._ended:
            self._ended = True
            # What is left in the buffer is not wanted, so it does not matter if it has no room.
            with contextlib.suppress(GeneratorExit, OSError):
                self._file.__exit__(GeneratorExit, GeneratorExit(), None)


def is_empty(start: bytes) -> bool:
    return not start


def print_data(
    command: str,
    options: argparse.Namespace,
    value: Any,
    tables: Iterable[tuple[Mapping[str, int | str | None], Columnar]] | None = None,
    without: Collection[str] = (),
) -> None:
    """Prints a result in the format that was asked for, other than a table for people.

    Args:
        command: what has the schema; see procmem.schemas.
        options: the parsed arguments.
        value: the whole result as plain values, for JSON.
        tables: the result as tables, with the values of columns that come first; None: the rows
            of `value` that the schema names.
        without: columns of the schema that these rows do not have.
    """
    if options.format == "json":
        print_json(command, value)
        return
    from procmem.formats import JoinedTables, PlainRows
    from procmem.schemas import fields_of, flat_rows

    table: Columnar
    if tables is None:
        fields = {name: one for name, one in fields_of(command).items() if name not in without}
        table = PlainRows(flat_rows(command, value), fields)
    else:
        parts = [*tables]
        if not parts:  # nothing could be read, which has been said
            return
        table = JoinedTables(parts)
    print_table(table, options)


def print_json(command: str, value: Any) -> None:
    """Prints a result as JSON, as the schema of the command has it."""
    from procmem.schemas import rows_key
    from procmem.view.json import json_text

    sys.stdout.write(json_text(value, rows_key(command)))


def print_streamed(
    table: Columnar, options: argparse.Namespace, *, heading: bool, to: BinaryIO | None = None
) -> None:
    """Prints rows of a table that goes on, as CSV or JSON lines, and flushes.

    Args:
        table: the rows.
        options: the parsed arguments.
        heading: whether these are the first rows.
        to: where to; None: stdout.

    Raises:
        BadArgument: it has no such column as --columns asks for.
    """
    from procmem.formats import text_lines

    if getattr(options, "columns", None):
        table = table.select(*options.columns)
    if options.format not in STREAMED:
        return
    if to is None:
        sys.stdout.flush()
        to = sys.stdout.buffer
    for piece in text_lines(table, options.format, heading=heading):
        to.write(harmless(piece) if to.isatty() else piece.encode())
    to.flush()


CONTROLS = (
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
    r"|\r(?!\n)"
)
"""What a terminal acts upon, but for tabs and ends of lines: a regular expression."""


def harmless(text: str) -> bytes:
    r"""Text for a terminal: control characters, which names may have, are escaped.

    >>> harmless("a,b\x1b[2J\r\n")
    b'a,b\\x1b[2J\r\n'
    """
    import re

    return re.sub(CONTROLS, lambda one: ascii(one[0])[1:-1], text).encode()


def print_table(table: Columnar, options: argparse.Namespace, to: BinaryIO | None = None) -> None:
    """Prints a table as CSV, JSON lines, HTML, Arrow or Parquet.

    Args:
        table: the table.
        options: the parsed arguments.
        to: a file of its own to write to; None: stdout.

    Raises:
        BadArgument: it has no such column as --columns asks for.
        MissingExtra: as write_table().
    """
    from procmem.formats import text_lines, write_binary, write_table

    if getattr(options, "columns", None):
        table = table.select(*options.columns)
    as_file = to is not None or isinstance(sys.stdout, OutputFile)
    if to is None:
        sys.stdout.flush()
        to = sys.stdout.buffer
    if options.format not in BINARY and not to.isatty():
        write_table(table, to, options.format)
    elif options.format not in BINARY:
        for piece in text_lines(table, options.format):
            to.write(harmless(piece))
    else:
        # A pipe has no place to seek to, which the writers may ask for.
        file = io.BytesIO()
        write_binary(table, file, options.format, as_file=as_file)
        to.write(file.getbuffer())
    to.flush()
