"""procmem completion: completion for shells, and the manual pages."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from procmem._version import __version__
from procmem.cli import COMMANDS
from procmem.cli.arguments import Parser, complain
from procmem.cli.tables import all_pages
from procmem.labs import labs
from procmem.view.completion import SHELLS
from procmem.view.manual import command_manual, overview_manual

__all__ = ["main", "shared_files"]

PLACES = {
    "bash": "bash-completion/completions/procmem",
    "zsh": "zsh/site-functions/_procmem",
    "fish": "fish/vendor_completions.d/procmem.fish",
}
"""Where shells look for completion, below a directory such as /usr/share."""

STATUSES = (
    ("0", "done"),
    ("1", "a process or file could not be read, or nothing matches the filters"),
    ("2", "the command line is wrong"),
    ("130, 141", "Ctrl-C ended it; the reader closed the pipe"),
)


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem completion --help`."""
    made = Parser(
        prog="procmem completion",
        description="Prints the completion of procmem's commands for a shell; `all` writes the "
        "scripts for bash, zsh and fish and the manual pages to files. `pip install` has put them "
        "into share/ of the environment.",
        epilog="To a file, so that shells need not start procmem:\n"
        "procmem completion bash > ~/.local/share/bash-completion/completions/procmem",
    )
    made.add_argument("shell", choices=(*SHELLS, "all"), help="the shell, or all")
    made.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="with all: the directory to write to, such as ~/.local/share",
    )
    options = made.parse_args(argv)
    if (options.shell == "all") != (options.output is not None):
        made.error("`all` needs -o DIR, and a shell takes none")
    if options.shell != "all":
        sys.stdout.write(SHELLS[options.shell](all_pages(), lab_names()))
        return 0
    for name, text in shared_files(today()).items():
        path = Path(options.output, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            complain("completion", f"{error.filename or path}: {error.strerror}")
            return 1
    sys.stdout.write(f"{len(PLACES)} scripts and {len(COMMANDS) + 1} manual pages written\n")
    return 0


def lab_names() -> list[str]:
    return [lab.name for lab in labs()]


def today() -> str:
    """The date; that of SOURCE_DATE_EPOCH if it is set, so that builds are reproducible."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    return time.strftime("%Y-%m-%d", time.gmtime(int(given) if given.isdecimal() else None))


def shared_files(date: str) -> dict[str, str]:
    """All files by their paths below a share directory.

    Args:
        date: for the manual pages, YYYY-MM-DD.
    """
    pages = all_pages()
    found = {place: SHELLS[shell](pages, lab_names()) for shell, place in PLACES.items()}
    found["man/man1/procmem.1"] = overview_manual(COMMANDS, STATUSES, __version__, date)
    for page in pages:
        found[f"man/man1/procmem-{page.name}.1"] = command_manual(page, __version__, date)
    return found
