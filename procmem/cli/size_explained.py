"""procmem size --json and --explain."""

from __future__ import annotations

import os
import sys

from procmem.cli.terminal import table_columns
from procmem.elf.programs import program
from procmem.elf.sizing import sizes
from procmem.view.columns import narrowed
from procmem.view.json import json_text
from procmem.view.names import printable
from procmem.view.size_explained import explanation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from procmem.elf import ObjectSize

__all__ = ["as_json", "explain"]


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


def as_json(names: list[bytes]) -> int:
    """Prints everything known about each file. Returns the exit status: 0, or 1 after an error."""
    reader = Reader()
    found: list[dict[str, Any]] = []
    for size in reader.sizes(names):
        about = None if size.member is not None else program(size.path).to_dict()
        found.append({**size.to_dict(), "program": about})
    sys.stdout.write(json_text(found, "sections"))
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
