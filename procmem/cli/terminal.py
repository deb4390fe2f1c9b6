"""Width, character set and colours of the terminal that a command writes to."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

__all__ = [
    "WHEN",
    "colour_output",
    "fitted_help",
    "is_utf8",
    "number_of_colours",
    "screen_columns",
    "table_columns",
]

WHEN = ("auto", "always", "never")
"""What --color takes."""

COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
"""The values that Python sets LC_CTYPE to if the locale is C (PEP 538)."""


def is_utf8() -> bool:
    """Whether the user's locale is a UTF-8 one, as a C program sees it."""
    import _locale

    if _locale.nl_langinfo(_locale.CODESET).upper() not in ("UTF-8", "UTF8"):
        return False
    if os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") not in COERCED:
        return True
    # The variable may be Python's own work: what the process was started with tells.
    from procmem.procfs import ProcessFiles

    own = ProcessFiles(os.getpid()).read("environ").split(b"\0")
    return any(entry.startswith(b"LC_CTYPE=") for entry in own)


def screen_columns(stream: IO[str] | None = None) -> int | None:
    """The width of the terminal, or COLUMNS if it is set; None: there is no terminal.

    Args:
        stream: what is written to; None: stdout.
    """
    stream = stream or sys.stdout
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdecimal() and int(given[:9]) > 0:
        return int(given[:9])
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def table_columns(stream: IO[str] | None = None) -> int | None:
    """The width of a table: that of the terminal; None, no limit, if there is none.

    COLUMNS is honoured without a terminal, too, unless LINES is set as well: programs that use
    readline(3), such as Python and gdb, set both for the programs they start, and then nobody has
    asked for tables of that width.

    Args:
        stream: what is written to; None: stdout.
    """
    if (stream or sys.stdout).isatty() or "LINES" not in os.environ:
        return screen_columns(stream)
    try:
        with open("/proc/self/environ", "rb") as file:
            started_with = file.read().split(b"\0")
    except OSError:
        return None
    given = [f"{name}={os.environ.get(name)}".encode() for name in ("COLUMNS", "LINES")]
    return None if all(one in started_with for one in given) else screen_columns(stream)


def number_of_colours(when: str = "auto") -> int:
    """How many colours stdout is given: 0 (none), 256, or 2**24.

    Args:
        when: one of WHEN. "auto": on a terminal. NO_COLOR prevents that, FORCE_COLOR makes colours
            without a terminal, too, and is the stronger of both; each counts if it is not empty
            (no-color.org, force-color.org).
    """
    ask = os.environ.get
    if when == "auto" and not ask("FORCE_COLOR"):
        if ask("NO_COLOR") or ask("TERM") == "dumb" or not sys.stdout.isatty():
            return 0
    elif when == "never":
        return 0
    return 1 << 24 if ask("COLORTERM") in ("truecolor", "24bit") else 256


def colour_output(when: str = "auto") -> None:
    """Switches the colours of tables on or off; see number_of_colours()."""
    number = number_of_colours(when)
    if number or "procmem.view.colours" in sys.modules:
        from procmem.view.colours import show_colours

        show_colours(number)


LEAST = 24
"""Cells that the explanation of an option needs; with fewer it starts further to the left."""


def fitted_help(text: str) -> str:
    """A help text in lines that fit the terminal; explanations stay in their column.

    Args:
        text: lines, in which two or more blanks separate an option from its explanation.
    """
    import re
    import shutil

    from procmem.view.columns import prose
    from procmem.view.names import cells

    width = shutil.get_terminal_size().columns
    lines: list[str] = []
    for line in paragraphs(text, width):
        beside = re.match(r" +\S.*? {2,}(?=\S)|usage: \S+ \S+ | +", line)
        indent = len(beside[0]) if beside else 0
        if cells(line) <= width:
            lines.append(line)
        elif beside and width - indent < LEAST:
            start = "" if beside[0].strip() else " " * 8
            lines += prose(start + line[0 if not start else indent :], width, " " * 8).splitlines()
        else:
            lines += prose(line, width, " " * indent).splitlines()
    return "".join(f"{line}\n" for line in lines)


def paragraphs(text: str, width: int) -> list[str]:
    """The lines of a text; a paragraph that is too wide becomes one line."""
    lines: list[str] = []
    for group in text.rstrip("\n").split("\n\n"):
        whole = group.split("\n")
        flows = not any(line[:1] in (" ", "") or line.startswith("usage:") for line in whole)
        if flows and any(len(line) > width for line in whole):
            whole = [" ".join(whole)]
        lines += ["", *whole] if lines else whole
    return lines
