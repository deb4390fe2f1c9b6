"""Parsing of command lines as getopt_long(3) of the GNU C library does it.

argparse takes 7 ms to import, and its error messages differ.
"""

from __future__ import annotations

import os
from itertools import pairwise

from procmem.cli.terminal import WHEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Options", "UsageError", "check_colour", "options_text"]


class UsageError(Exception):
    """The command line is wrong; the message is that of getopt_long(3)."""


class Options:
    """The options of a command line, in order, and then its operands.

    Options and operands may be mixed; "--" ends the options. A long option may be
    abbreviated as long as it is unambiguous. --color is accepted everywhere, and has no effect.

    Args:
        argv: the arguments, without the command's name.
        short: getopt's string: a letter for each option, a colon behind one
            that takes a value.
        long: each long option with its letter, or with another word that stands for it. It takes a
            value if that is in `takes`.
        takes: letters and words of options that take a value, besides those
            of `short`.

    Iterating gives (letter or word, value or None).

    Raises:
        UsageError: while iterating, at the first argument that is wrong.

    >>> options = Options(["7", "-xA1,2", "--qui"], "xqA:", {"quiet": "q"})
    >>> list(options), options.operands
    ([('x', None), ('A', '1,2'), ('q', None)], ['7'])
    """

    def __init__(
        self,
        argv: Sequence[str],
        short: str,
        long: Mapping[str, str],
        takes: str | tuple[str, ...] = (),
    ) -> None:
        self.operands: list[str] = []
        self._argv = argv
        self._letters = {letter for letter in short if letter != ":"}
        self._takes = {letter for letter, colon in pairwise(short) if colon == ":"}
        self._takes.update(takes)
        self._long = long

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        rest = iter(self._argv)
        for argument in rest:
            if argument == "--":
                self.operands.extend(rest)
            elif argument.partition("=")[0] == "--color" and "color" not in self._long:
                check_colour(argument, rest)
            elif argument.startswith("--"):
                yield self._long_option(argument[2:], rest)
            elif argument.startswith("-") and argument != "-":
                yield from self._short_options(argument[1:], rest)
            else:
                self.operands.append(argument)
                if "POSIXLY_CORRECT" in os.environ:
                    self.operands.extend(rest)

    def _short_options(self, letters: str, rest: Iterator[str]) -> Iterator[tuple[str, str | None]]:
        for place, letter in enumerate(letters, 1):
            if letter not in self._letters:
                raise UsageError(f"invalid option -- '{letter}'")
            if letter not in self._takes:
                yield letter, None
                continue
            value = letters[place:] or next(rest, None)
            if value is None:
                raise UsageError(f"option requires an argument -- '{letter}'")
            yield letter, value
            return

    def _long_option(self, text: str, rest: Iterator[str]) -> tuple[str, str | None]:
        asked, equals, given = text.partition("=")
        name = self._complete(asked)
        word = self._long[name]
        if word not in self._takes:
            if equals:
                raise UsageError(f"option '--{name}' doesn't allow an argument")
            return word, None
        value = given if equals else next(rest, None)
        if value is None:
            raise UsageError(f"option '--{name}' requires an argument")
        return word, value

    def _complete(self, asked: str) -> str:
        if asked in self._long:
            return asked
        fitting = [name for name in self._long if name.startswith(asked)]
        if not fitting:
            raise UsageError(f"unrecognized option '--{asked}'")
        if len({self._long[name] for name in fitting}) > 1:
            listed = " ".join(f"'--{name}'" for name in fitting)
            raise UsageError(f"option '--{asked}' is ambiguous; possibilities: {listed}")
        return fitting[0]


def options_text(table: Sequence[tuple[tuple[str, ...], str, str]]) -> str:
    """The lines of --help for the options of a command that imitates another tool.

    Args:
        table: for each option its names, what stands for its value or "", and what it does.

    >>> print(options_text([(("-A", "--range"), "LOW", "from LOW on"), (("-o",), "X", "as X")]))
      -A, --range=LOW  from LOW on
      -o X             as X
    <BLANKLINE>
    """
    from textwrap import fill

    rows = []
    for names, metavar, says in table:
        sign = "=" if names[-1].startswith("--") else " "
        rows.append((", ".join(names) + (f"{sign}{metavar}" if metavar else ""), says))
    width = max(len(shown) for shown, _ in rows) + 4
    return "".join(
        fill(says, 80, initial_indent=f"  {shown:<{width - 2}}", subsequent_indent=" " * width)
        + "\n"
        for shown, says in rows
    )


def check_colour(argument: str, rest: Iterator[str]) -> None:
    """Checks --color, which every command takes; what imitates another program has no colours.

    Args:
        argument: "--color" or "--color=WHEN".
        rest: the arguments behind it.

    Raises:
        UsageError: there is no WHEN, or an unknown one.
    """
    _, equals, given = argument.partition("=")
    when = given if equals else next(rest, None)
    if when is None:
        raise UsageError("option '--color' requires an argument")
    if when not in WHEN:
        raise UsageError(f"invalid argument '{when}' for '--color'")


def strtoul(text: str, base: int) -> tuple[int, str]:
    """The number at the start of a text, as C reads one on a 64-bit system.

    Args:
        text: may start with white space and a sign, and in base 16 with 0x.
        base: 16, or 0: decimal, octal after 0, hexadecimal after 0x.

    Returns:
        As strtoul(3): the number, a negative one modulo 2**64, one too large as 2**64 - 1; and
        the rest of the text: all of it if it does not start with a number.

    >>> strtoul("0x1f,", 16), strtoul("010", 0), strtoul("x", 16)
    ((31, ','), (8, ''), (0, 'x'))
    """
    top = (1 << 64) - 1
    digits = text.lstrip(" \t\n\v\f\r")
    negative = digits.startswith("-")
    if digits[:1] in ("-", "+"):
        digits = digits[1:]
    prefixed = digits[:2] in ("0x", "0X") and digits[2:3] in HEX and digits[2:3] != ""
    if prefixed and base in (0, 16):
        base, digits = 16, digits[2:]
    elif base == 0:
        base = 8 if digits.startswith("0") else 10
    allowed = HEX[: base if base <= 10 else None]
    rest = digits.lstrip(allowed)
    number = digits[: len(digits) - len(rest)]
    if not number:
        return 0, text
    value = int(number, base)
    if value > top:
        return top, rest
    return (-value & top if negative else value), rest


HEX = "0123456789abcdefABCDEF"
