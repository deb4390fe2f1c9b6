"""procmem size --json and --explain."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from procmem.cli.formats import print_json, print_table
from procmem.cli.terminal import table_columns
from procmem.elf.programs import program
from procmem.elf.sizing import sizes
from procmem.formats import PlainRows
from procmem.schemas import schema
from procmem.view.columns import narrowed
from procmem.view.names import printable
from procmem.view.size_explained import explanation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from procmem.elf import ObjectSize

__all__ = ["as_data", "explain"]


class Reader:
    """Reads all files; those that cannot be read are reported and skipped."""

    def __init__(self) -> None:
        self.status = 0

    def sizes(self, names: list[bytes]) -> Iterator[ObjectSize]:
        """The sizes of all readable files, including members of archives."""
        for name in names:
            path = os.fsdecode(name)
            try:
                yield from sizes(path)
            except (OSError, ValueError) as error:
                reason = str(getattr(error, "reason", None) or getattr(error, "strerror", error))
                sys.stdout.flush()
                sys.stderr.write(f"procmem size: {printable(path)}: {printable(reason)}\n")
                self.status = 1


COLUMNS = ("path", "member", "text", "data", "bss", "total")
"""What formats other than JSON have of each file."""


def as_data(names: list[bytes], wanted: str) -> int:
    """Prints everything known about each file as JSON, or its sums in another format.

    Returns:
        The exit status: 0, or 1 after an error.
    """
    reader = Reader()
    if wanted != "json":
        rows = [{name: getattr(size, name) for name in COLUMNS} for size in reader.sizes(names)]
        fields = schema("size")["items"]["properties"]
        table = PlainRows(rows, {name: fields[name] for name in COLUMNS})
        print_table(table, Namespace(format=wanted, columns=None))
        return reader.status
    found: list[dict[str, Any]] = []
    for size in reader.sizes(names):
        about = None if size.member is not None else program(size.path).to_dict()
        found.append({**size.to_dict(), "program": about})
    print_json("size", found)
    return reader.status


def explain(names: list[bytes]) -> int:
    """Prints why each section counts as it does. Returns the exit status: 0, or 1."""
    reader = Reader()
    first = True
    for size in reader.sizes(names):
        about = None if size.member is not None else program(size.path)
        sys.stdout.write("" if first else "\n")
        sys.stdout.write(narrowed(explanation(size, about), table_columns()))
        first = False
    return reader.status
