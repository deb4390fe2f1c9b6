"""Argument parsing that the commands share."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from typing import Any, TypeAlias

from procmem.cli.formats import ALL, format_options, settle
from procmem.cli.terminal import WHEN, colour_output, fitted_help, screen_columns
from procmem.errors import BadArgument, ProcmemError
from procmem.process import Process
from procmem.process.finding import command_line_of, resolve
from procmem.units import UNITS as SIZE_UNITS
from procmem.view.columns import did_you_mean
from procmem.view.names import printable, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

    from procmem.snapshots.snapshot import Snapshot


__all__ = [
    "ABSENT",
    "DESCRIBE",
    "AskedRange",
    "Described",
    "Parser",
    "address",
    "address_range",
    "columns_option",
    "complain",
    "for_each_process",
    "is_plain",
    "one_process",
    "only_one",
    "page_range",
    "parser",
    "reason",
    "refuse_with_json",
    "row_limit",
    "table_options",
]

AskedRange: TypeAlias = "tuple[int, int | None] | str"
"""Start and end; a single address, which stands for its region; the name of a region."""


ABSENT = object()
"""Stands for a PID that was not given."""

DESCRIBE = "--\0describe"
"""As the last argument: the command raises Described instead of doing its work."""

SUBJECT = (
    'a process ID, a name, "self", or what was saved: a snapshot, number N of a recording '
    "(FILE:N), a core, a text of maps or smaps, a directory with files of /proc"
)


class Described(BaseException):
    """Carries the parser of a command to cli/tables.py."""

    def __init__(self, made: Parser) -> None:
        super().__init__(made.prog)
        self.parser = made


class Formatter(argparse.HelpFormatter):
    """A HelpFormatter that finds the width by itself.

    argparse makes one for each option that is added, and asks shutil, which imports what unpacks
    archives: that takes longer than to build the parser.
    """

    def __init__(self, prog: str, **kwargs: Any) -> None:
        kwargs.setdefault("width", (screen_columns(sys.__stdout__) or 80) - 2)
        super().__init__(prog, **kwargs)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with --color, whose errors are one line without usage.

    Its help ends with the examples of the command. Defaults are taken from the user's
    configuration, see cli/config.py.
    """

    refused: dict[str, str] | None = None
    """Options of other commands, such as "--columns", and why this command does not have them."""

    configured: dict[str, str] | None = None
    """Options whose defaults come from the configuration, and where: file and line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", Formatter)
        super().__init__(*args, **kwargs)
        # Python 3.14 would colour the help text, whose lines are measured afterwards.
        self.color = False
        colour: dict[str, Any] = {"dest": "color", "choices": WHEN, "metavar": "WHEN"}
        self.add_argument(
            "--color",
            default=argparse.SUPPRESS,
            help="use colours: auto (the default: on a terminal, unless NO_COLOR is set), always "
            "or never",
            **colour,
        )
        self.add_argument("--colour", default=argparse.SUPPRESS, help=argparse.SUPPRESS, **colour)
        self.add_argument(
            "--no-config",
            action="store_true",
            default=argparse.SUPPRESS,
            help="ignore the defaults of the configuration file",
        )

    def format_help(self) -> str:
        """As in argparse, but no line is wider than the terminal."""
        from procmem.cli.examples import examples_text

        return fitted_help(super().format_help()) + examples_text(self.prog)

    def print_help(self, file: Any = None) -> None:
        """As in argparse, which however says nothing if the text can't be written.

        Raises:
            OSError: it can't be written.
        """
        (sys.stdout if file is None else file).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Prints what is wrong in one line and exits with status 2."""
        said = reworded(message)
        for name, where in (self.configured or {}).items():
            if re.search(rf"--{name}(?![-\w])", said):
                said += f"; the default of --{name} is from {printable_words(where)}, which "
                said += "--no-config ignores"
        self.exit(2, f"{self.prog}: {said} (usage: {self.prog} --help)\n")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As in argparse; for an unknown option it suggests the one that was probably meant."""
        words = sys.argv[1:] if args is None else args
        for word in words:
            name = word.partition("=")[0]
            if self.refused and name in self.refused:
                self.error(f"{name} is not for {self.prog}, {self.refused[name]}")
        return self._parsed(words, self.parse_known_args, namespace)

    def parse_mixed(self, args: Sequence[str]) -> argparse.Namespace:
        """As parse_args(), but options may stand between operands."""
        return self._parsed(args, self.parse_known_intermixed_args, None)

    def _parsed(
        self,
        words: Sequence[str],
        parse: Callable[..., tuple[argparse.Namespace, list[str]]],
        namespace: argparse.Namespace | None,
    ) -> argparse.Namespace:
        if words and words[-1] is DESCRIBE:
            raise Described(self)
        path = config_path()
        if path is None:
            options, rest = parse(words, namespace)
        else:
            from procmem.cli.config import parse_with_config

            options, rest, self.configured = parse_with_config(
                self, path, lambda: parse(words, namespace), reworded
            )
        vars(options).pop("no_config", None)
        when = vars(options).pop("color", argparse.SUPPRESS)
        self._refuse(rest)
        if "own_output" in options:
            settle(self, options)
        if when in WHEN:
            colour_output(when)
        return options

    def _refuse(self, rest: Sequence[str]) -> None:
        if not rest:
            return
        word = rest[0]
        if word.startswith("-") and len(word) > 1:
            name = word.partition("=")[0]
            names = [one for action in self._actions for one in action.option_strings]
            self.error(f"unknown option {printable(name)}{did_you_mean(name, names)}")
        self.error(f"{printable(word)}: unexpected argument")


def config_path() -> str | None:
    """The user's configuration, if there is one; None also if PROCMEM_CONFIG is empty."""
    path = os.environ.get("PROCMEM_CONFIG")
    if path is not None:
        return path or None
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = f"{home}/procmem/config.toml"
    return path if os.path.isabs(path) and os.path.lexists(path) else None


def reworded(message: str) -> str:
    """Rewords a message of argparse."""
    text = message.removeprefix("argument ")
    found = re.fullmatch(r"(.*?): invalid choice: (.+?) \(choose from (.+)\)", text, re.DOTALL)
    if found:
        names = [name.strip("'\" ") for name in found[3].split(",")]
        word = found[2].strip("'\"")
        return printable_words(
            f"{found[1]}: there is no '{word}'{did_you_mean(word, names)}; one of "
            f"{', '.join(names)} is expected"
        )
    found = re.fullmatch(r"the following arguments are required: (.*)", text)
    if found:
        return f"{found[1]} is missing"
    return printable_words(text)


def printable_words(text: str) -> str:
    """The text with control characters escaped; backslashes stay as they are."""
    return "".join(c if c.isprintable() else printable(c) for c in text)


def parser(
    command: str,
    description: str,
    *,
    pids: str = "+",
    formats: Sequence[str] = ALL,
    output: bool = True,
) -> Parser:
    """A parser with the arguments that every command takes.

    Args:
        command: its name.
        description: for --help.
        pids: how many PIDs it takes: "+", "*", "1", or "?" (ABSENT if none is given).
        formats: what --format may be.
        output: whether -o is free for the output.
    """
    made = Parser(prog=f"procmem {command}", description=description)
    made.add_argument(
        "pids" if pids in "+*" else "pid",
        metavar="PID",
        type=subject,
        nargs=None if pids == "1" else pids,
        default=[] if pids == "*" else ABSENT,
        help=SUBJECT,
    )
    format_options(made, formats, output=output)
    made.add_argument(
        "--root",
        default="/proc",
        metavar="DIR",
        help="read another /proc: a container's, or a saved tree",
    )
    return made


def subject(text: str) -> str:
    """A word that can stand for a process."""
    if not text or text.startswith("-"):
        raise argparse.ArgumentTypeError(f"expected a PID, a name or a file, not {text!a}")
    return text


def table_options(
    made: argparse.ArgumentParser, *, columns: bool = True, default: str = "KiB"
) -> None:
    """Adds --units and --columns.

    Args:
        made: the parser.
        columns: whether to add --columns, too.
        default: the default unit; "" if each table has its own.
    """
    made.add_argument(
        "--units",
        choices=SIZE_UNITS,
        default=default,
        metavar="UNIT",
        help=f"unit for sizes in tables: {', '.join(SIZE_UNITS)}"
        + (f" (default: {default})" if default else ""),
    )
    if columns:
        columns_option(made)


def columns_option(made: argparse.ArgumentParser) -> None:
    """Adds --columns."""
    made.add_argument(
        "--columns",
        type=column_names,
        metavar="NAMES",
        help="show only these columns, in this order: headings separated by commas",
    )


def column_names(text: str) -> list[str]:
    """Names separated by commas."""
    names = [word for word in text.lower().replace(" ", ",").split(",") if word]
    if not names:
        raise argparse.ArgumentTypeError("expected names of columns, such as start,rss,name")
    return names


def refuse_with_json(
    made: argparse.ArgumentParser, options: argparse.Namespace, **why: str
) -> None:
    """Exits with status 2 if an option is given that has no effect on JSON and other data.

    --columns selects columns of all formats but JSON.

    Args:
        made: the parser.
        options: the parsed arguments.
        why: for each such option, by its name in `options`, why it has no effect.
    """
    if options.format == "table":
        return
    given = "--json" if options.json else f"--format {options.format}"
    for name, reason in why.items():
        if name == "columns" and options.format != "json":
            continue
        if getattr(options, name, None) not in (None, False, made.get_default(name)):
            made.error(f"--{name.replace('_', '-')} cannot be combined with {given}, {reason}")


def row_limit(text: str) -> int:
    """A number of rows; 0: all."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"expected a number of rows, not {text!a}")
    return int(text)


IN_BYTES = "whose sizes are bytes"
ALL_FIELDS = "which has every field"


def address(text: str) -> int:
    """An address: hexadecimal, with or without 0x."""
    try:
        found = int(text, 16)
    except ValueError:
        found = -1
    if not 0 <= found < 1 << 64:
        raise argparse.ArgumentTypeError(
            f"expected an address, a hexadecimal number of up to 64 bits such as 7f12a000, not "
            f"{text!a}"
        )
    return found


def address_range(text: str) -> tuple[int | None, int | None]:
    """LOW-HIGH or LOW,HIGH in hexadecimal; either may be left out; HIGH is exclusive."""
    low, separator, high = text.replace("-", ",", 1).partition(",")
    ends = (address(low) if low else None, address_end(high) if high else None)
    if ends == (None, None):
        raise argparse.ArgumentTypeError(f"expected LOW-HIGH in hexadecimal, not {text!a}")
    if not separator and ends[0] is not None:
        return ends[0], ends[0] + 1
    if ends[0] is not None and ends[1] is not None and ends[0] >= ends[1]:
        raise argparse.ArgumentTypeError(
            f"{text!a} is an empty range: expected LOW-HIGH with LOW < HIGH"
        )
    return ends


def address_end(text: str) -> int:
    """The address after the last byte of a range; 2**64 is allowed."""
    with contextlib.suppress(ValueError):
        if int(text, 16) == 1 << 64:
            return 1 << 64
    return address(text)


UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}


def page_range(text: str) -> AskedRange:
    """START-END, START+LENGTH, an address, or a region's name.

    Numbers are hexadecimal, as in /proc/PID/maps; a LENGTH that ends in K, M, G or T is decimal.
    Anything else is taken as a name.
    """
    for separator in "-,+":
        low, found, high = text.partition(separator)
        if not found:
            continue
        try:
            start = int(low, 16)
            if separator != "+":
                end = int(high, 16)
            elif high[-1:].upper() in UNITS:
                end = start + (int(high[:-1]) << UNITS[high[-1].upper()])
            else:
                end = start + int(high, 16)
        except ValueError:
            continue
        if not 0 <= start < end <= 1 << 64:
            raise argparse.ArgumentTypeError(f"{text!a} is an empty range")
        return start, end
    try:
        return address(text), None
    except argparse.ArgumentTypeError:
        return text


def complain(command: str, message: str) -> None:
    """Writes a line to stderr, after flushing stdout."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.write(f"procmem {command}: {printable_words(message)}\n")


def for_each_process(
    command: str,
    words: Iterable[str],
    root: str,
    show: Callable[[Process], None],
    *,
    saved: Callable[[Snapshot], None] | None = None,
    heading: Callable[[str], object] | None = None,
) -> int:
    """Calls `show` for each process; those that cannot be read are reported and skipped.

    Args:
        command: its name, for messages.
        words: PIDs, names, files: see resolve().
        root: the /proc in which PIDs and names are looked up.
        show: called with each process.
        saved: called with each snapshot; None: the command needs a live process.
        heading: called with a line that names the process, where the words do not make it clear.

    Returns:
        The exit status: 1 if any could not be read, else 0.
    """
    listed = list(words)
    status = 0
    for word in listed:
        try:
            found = resolve(word, root=root)
        except (ProcmemError, OSError) as error:
            complain(command, reason(error, word))
            status = 1
            continue
        for subject in found:
            try:
                if not isinstance(subject, Process) and saved is None:
                    complain(command, f"{word}: {cannot_tell(command)}")
                    status = 1
                    continue
                several = len(listed) > 1 or len(found) > 1
                if heading is not None and (several or not is_plain(word)):
                    heading(title(subject, word))
                if isinstance(subject, Process):
                    with subject:
                        show(subject)
                elif saved is not None:
                    saved(subject)
            except ProcmemError as error:
                if isinstance(error, BadArgument):
                    raise
                complain(command, str(error))
                status = 1
    return status


def is_plain(word: str) -> bool:
    """Whether a word is a PID or "self"."""
    return word in ("self", "/proc/self") or word.removeprefix("/proc/").isdecimal()


def reason(error: Exception, word: str) -> str:
    """The message for a word that stands for no process."""
    if isinstance(error, OSError) and not isinstance(error, ProcmemError):
        return f"{word}: {error.strerror}"
    return str(error)


def cannot_tell(command: str) -> str:
    """Why a command does not work on a snapshot."""
    return (
        f"a snapshot contains regions and totals only, not what {command} reads: give a live "
        f"process, or use maps, query, snapshot or diff"
    )


def title(subject: Process | Snapshot, word: str) -> str:
    """A line that names the process or the snapshot that is shown."""
    if not isinstance(subject, Process):
        who = subject.identity
        known_as = f", process {who.pid} ({printable(who.comm or '?')})" if who.pid else ""
        return f"{printable(word)}{known_as}:\n"
    return f"{subject.pid}: {printable(command_line_of(subject))}\n"


def only_one(made: Parser, word: str, root: str) -> str:
    """The word if it stands for exactly one process or file; for a name, the PID of its process.

    Exits with status 2 after listing them if there are several. For a name it prints to stderr
    which process was found.
    """
    if is_plain(word):
        return word
    command = made.prog.removeprefix("procmem ")
    try:
        found = resolve(word, root=root)
    except (ProcmemError, OSError) as error:
        complain(command, reason(error, word))
        raise SystemExit(1) from None
    if len(found) > 1:
        complain(command, f"{word} matches {len(found)} processes: give the PID of one")
        for one in found[:MOST_LISTED]:
            if isinstance(one, Process):
                sys.stderr.write(
                    f"  {one.pid:>7}  {shorter(printable(command_line_of(one)), 60)}\n"
                )
        if len(found) > MOST_LISTED:
            sys.stderr.write(f"  and {len(found) - MOST_LISTED} more\n")
        raise SystemExit(2)
    (only,) = found
    if isinstance(only, Process) and only.root == root:
        sys.stderr.write(f"procmem {command}: {title(only, word)}")
        return str(only.pid)
    return word


MOST_LISTED = 20


def one_process(made: Parser, word: str, root: str) -> Process:
    """The process that an argument stands for.

    Exits with status 2 after listing them if there are several, and with 1 if there is no live one.
    """
    command = made.prog.removeprefix("procmem ")
    word = only_one(made, word, root)
    try:
        (only,) = resolve(word, root=root)
    except (ProcmemError, OSError) as error:
        complain(command, reason(error, word))
        raise SystemExit(1) from None
    if not isinstance(only, Process):
        complain(command, f"{word}: {cannot_tell(command)}")
        raise SystemExit(1)
    return only
