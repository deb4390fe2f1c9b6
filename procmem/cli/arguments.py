"""What the commands' arguments have in common."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from typing import TypeAlias

from procmem.cli.terminal import fitted_help
from procmem.errors import BadArgument, ProcmemError
from procmem.process import Process
from procmem.process.finding import command_line_of, resolve
from procmem.snapshots.snapshot import Snapshot
from procmem.units import UNITS as SIZE_UNITS
from procmem.view.columns import did_you_mean
from procmem.view.names import printable, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn


__all__ = [
    "ABSENT",
    "FORCE",
    "AskedRange",
    "Parser",
    "address",
    "address_range",
    "columns_option",
    "complain",
    "for_each_process",
    "one_process",
    "only_one",
    "page_range",
    "parser",
    "refuse_with_json",
    "table_options",
]

AskedRange: TypeAlias = "tuple[int, int | None] | str"
"""Start and end; an address alone (its region); a region's name."""


FORCE = "let -o overwrite any file, follow a symbolic link, and write to a FIFO or a device"

ABSENT = object()
"""What stands for a PID that was not given."""

SUBJECT = (
    'a process ID, a name, "self", or what was saved: a snapshot, number N of a recording '
    "(FILE:N), a core, a text of maps or smaps, a directory with files of /proc"
)


class Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that have the way out; usage is for --help."""

    refused: dict[str, str] | None = None
    """Options of other commands, such as "--columns", with the reason why they are not for this."""

    def format_help(self) -> str:
        """As in argparse; no line is wider than the screen."""
        return fitted_help(super().format_help())

    def error(self, message: str) -> NoReturn:
        """Ends the command with status 2 after a line on what is wrong."""
        self.exit(2, f"{self.prog}: {reworded(message)} (usage: {self.prog} --help)\n")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As in argparse; of an option that there isn't it says which was likely meant."""
        for word in sys.argv[1:] if args is None else args:
            name = word.partition("=")[0]
            if self.refused and name in self.refused:
                self.error(f"{name} is not for {self.prog}, {self.refused[name]}")
        options, rest = self.parse_known_args(args, namespace)
        self._refuse(rest)
        return options

    def parse_mixed(self, args: Sequence[str]) -> argparse.Namespace:
        """As parse_args(), where options may stand between operands."""
        options, rest = self.parse_known_intermixed_args(args)
        self._refuse(rest)
        return options

    def _refuse(self, rest: Sequence[str]) -> None:
        if not rest:
            return
        word = rest[0]
        if word.startswith("-") and len(word) > 1:
            name = word.partition("=")[0]
            names = [one for action in self._actions for one in action.option_strings]
            self.error(f"there is no option {printable(name)}{did_you_mean(name, names)}")
        self.error(f"{printable(word)} is one argument too many")


def reworded(message: str) -> str:
    """A message of argparse in our form."""
    text = message.removeprefix("argument ")
    found = re.fullmatch(r"(.*?): invalid choice: (.+?) \(choose from (.+)\)", text, re.DOTALL)
    if found:
        names = [name.strip("'\" ") for name in found[3].split(",")]
        word = found[2].strip("'\"")
        return printable_words(
            f"{found[1]}: there is no {word!a}{did_you_mean(word, names)}; one of "
            f"{', '.join(names)} is expected"
        )
    found = re.fullmatch(r"the following arguments are required: (.*)", text)
    if found:
        return f"{found[1]} is missing"
    return printable_words(text)


def printable_words(text: str) -> str:
    """The text without what could steer a terminal; its own backslashes stay."""
    return "".join(c if c.isprintable() else printable(c) for c in text)


def parser(command: str, description: str, *, pids: str = "+") -> Parser:
    """A parser with what every command takes.

    Args:
        command: its name.
        description: for --help.
        pids: how many PIDs it takes: "+"; "1"; "?", where ABSENT stands for none.
    """
    made = Parser(prog=f"procmem {command}", description=description)
    made.add_argument(
        "pids" if pids == "+" else "pid",
        metavar="PID",
        type=subject,
        nargs=None if pids == "1" else pids,
        default=ABSENT,
        help=SUBJECT,
    )
    made.add_argument("--json", action="store_true", help="print the whole result as JSON")
    made.add_argument(
        "--root",
        default="/proc",
        metavar="DIR",
        help="read another /proc: a container's, or a saved tree",
    )
    return made


def subject(text: str) -> str:
    """A word that may stand for a process."""
    if not text or text.startswith("-"):
        raise argparse.ArgumentTypeError(f"a PID, a name or a file is expected, not {text!a}")
    return text


def table_options(
    made: argparse.ArgumentParser, *, columns: bool = True, default: str = "KiB"
) -> None:
    """Adds --units and --columns.

    Args:
        made: the parser.
        columns: whether --columns goes with it.
        default: the unit; "" where tables have their own.
    """
    made.add_argument(
        "--units",
        choices=SIZE_UNITS,
        default=default,
        metavar="UNIT",
        help=f"of sizes in tables: {', '.join(SIZE_UNITS)}"
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
        help="only these columns, in this order: their headings, with commas between them",
    )


def column_names(text: str) -> list[str]:
    """Names with commas between them."""
    names = [word for word in text.lower().replace(" ", ",").split(",") if word]
    if not names:
        raise argparse.ArgumentTypeError("names of columns are expected, such as start,rss,name")
    return names


def refuse_with_json(
    made: argparse.ArgumentParser, options: argparse.Namespace, **why: str
) -> None:
    """Ends the command if --json goes with an option that it can't honour.

    Args:
        made: the parser.
        options: what was given.
        why: of each such option, by its name in `options`, why it makes no difference.
    """
    if options.json:
        for name, reason in why.items():
            if getattr(options, name, None) not in (None, False, made.get_default(name)):
                made.error(f"--{name.replace('_', '-')} does not go with --json, {reason}")


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
            f"an address is a hexadecimal number of 64 bits, such as 7f12a000, not {text!a}"
        )
    return found


def address_range(text: str) -> tuple[int | None, int | None]:
    """LOW-HIGH or LOW,HIGH in hexadecimal, either end open; HIGH is exclusive."""
    low, separator, high = text.replace("-", ",", 1).partition(",")
    ends = (address(low) if low else None, address_end(high) if high else None)
    if ends == (None, None):
        raise argparse.ArgumentTypeError(f"LOW-HIGH in hexadecimal is expected, not {text!a}")
    if not separator and ends[0] is not None:
        return ends[0], ends[0] + 1
    if ends[0] is not None and ends[1] is not None and ends[0] >= ends[1]:
        raise argparse.ArgumentTypeError(
            f"{text!a} ends where it starts, or before: LOW-HIGH is expected, HIGH exclusive"
        )
    return ends


def address_end(text: str) -> int:
    """An address behind the last byte: the one behind all addresses, too."""
    with contextlib.suppress(ValueError):
        if int(text, 16) == 1 << 64:
            return 1 << 64
    return address(text)


UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}


def page_range(text: str) -> AskedRange:
    """START-END, START+LENGTH, an address, or a region's name.

    Numbers are hexadecimal, as maps prints them; a LENGTH with K, M, G or T behind it is
    decimal. What can't be read as one of these is a name.
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
            raise argparse.ArgumentTypeError(f"{text!a} ends where it starts, or before")
        return start, end
    try:
        return address(text), None
    except argparse.ArgumentTypeError:
        return text


def complain(command: str, message: str) -> None:
    """A line on stderr, behind what was printed before."""
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
    """Calls `show` for each process; one that can't be read is reported and the rest is done.

    Args:
        command: named in messages.
        words: PIDs, names, files: see resolve().
        root: the /proc of PIDs and names.
        show: called with each process.
        saved: called with each snapshot; None: the command can't be answered from one.
        heading: called with a line on what follows, where the words alone don't say it.

    Returns:
        The exit status: 1 if one could not be read.
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
                if isinstance(subject, Snapshot) and saved is None:
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
    """Whether a word names its process itself."""
    return word in ("self", "/proc/self") or word.removeprefix("/proc/").isdecimal()


def reason(error: Exception, word: str) -> str:
    """What is wrong with a word that stands for no process."""
    if isinstance(error, OSError) and not isinstance(error, ProcmemError):
        return f"{word}: {error.strerror}"
    return str(error)


def cannot_tell(command: str) -> str:
    """Why a command can't be answered from a snapshot."""
    return (
        f"a saved snapshot has regions and totals, and not what {command} reads: give a live "
        "process, or maps, snapshot or diff"
    )


def title(subject: Process | Snapshot, word: str) -> str:
    """A line on which process, or which snapshot, is shown."""
    if isinstance(subject, Snapshot):
        who = subject.identity
        known_as = f", process {who.pid} ({printable(who.comm or '?')})" if who.pid else ""
        return f"{printable(word)}{known_as}:\n"
    return f"{subject.pid}: {printable(command_line_of(subject))}\n"


def only_one(made: Parser, word: str, root: str) -> str:
    """The word, if it stands for one thing alone; of a name, the PID of its process.

    Ends the command if there are several processes: status 2, after a list of them. Of a name it
    says on stderr which process it is.
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
        complain(command, f"{word} stands for {len(found)} processes: give the PID of one")
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
    """The process that a word of the command line stands for.

    Ends the command if there are several (status 2, after a list of them), or none that lives.
    """
    command = made.prog.removeprefix("procmem ")
    word = only_one(made, word, root)
    try:
        (only,) = resolve(word, root=root)
    except (ProcmemError, OSError) as error:
        complain(command, reason(error, word))
        raise SystemExit(1) from None
    if isinstance(only, Snapshot):
        complain(command, f"{word}: {cannot_tell(command)}")
        raise SystemExit(1)
    return only
