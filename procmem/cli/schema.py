"""procmem schema: the JSON schemas of what the commands print with --json."""

from __future__ import annotations

import json
import sys

from procmem.cli.arguments import Parser
from procmem.errors import BadArgument
from procmem.schemas import NAMES, schema

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem schema --help`."""
    made = Parser(
        prog="procmem schema",
        description="Prints the JSON schema (draft 2020-12) of what a command prints with --json; "
        "without a command, the commands that have one.",
    )
    made.add_argument(
        "words",
        metavar="COMMAND",
        nargs="*",
        help='such as maps, or "maps by", which is printed with --by',
    )
    command = " ".join(made.parse_args(argv).words)
    if not command:
        sys.stdout.write("".join(f"{name}\n" for name in NAMES))
        return 0
    try:
        text = json.dumps(schema(command), indent=2)
    except BadArgument as error:
        made.error(str(error))
    sys.stdout.write(text + "\n")
    return 0
