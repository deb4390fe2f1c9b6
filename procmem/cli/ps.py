"""procmem ps: ps(1), with the columns about memory."""

from __future__ import annotations

import os
import sys

from procmem.cli.options import UsageError, check_colour, options_text, strtoul
from procmem.cli.terminal import fitted_help, is_utf8, screen_columns
from procmem.procfs import ProcessFiles, parse_stat, parse_status, pids, system_file
from procmem.view.ps import COLUMNS, OWN, FormatError, Row, parse_format, process_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from procmem.regions import Counters
    from procmem.view.ps import PsColumn

__all__ = ["main"]

DEFAULT_FORMAT = "pid,rss,vsz,comm"

HEAD = """\
usage: procmem ps [-o COLUMNS] -p PIDS

Memory of processes, as ps of procps-ng 4.0.2 prints it.

"""

TABLE = (
    (("-p", "--pid"), "PIDS", "these processes; PIDs at the end work, too"),
    (("-q", "--quick-pid"), "PIDS", "the same, in the order given"),
    (("-e", "-A"), "", "all processes"),
    (
        ("-o", "--format"),
        "COLUMNS",
        f'what to print, "name", "name:width" or "name=heading" each ({DEFAULT_FORMAT})',
    ),
    (("--no-headers",), "", "without the heading"),
    (("-w",), "", "132 columns wide; -ww: as wide as it gets"),
    (("--top",), "", "those that use most memory: see procmem top --help"),
    (("--color",), "auto|always|never", "checked; this output has no colours"),
    (("--help",), "", "this help"),
    (("-V", "--version"), "", "the version"),
)

NO_HEADINGS = (
    "no-header",
    "no-headers",
    "no-heading",
    "no-headings",
    "noheader",
    "noheaders",
    "noheading",
    "noheadings",
)


class PsUsageError(Exception):
    """The command line is wrong; the message is the reason."""


class PsRequest:
    """The parsed command line."""

    def __init__(self) -> None:
        self.formats: list[str] = []
        self.pids: list[int] = []
        self.quick: list[int] | None = None
        self.all = False
        self.headings = True
        self.wide = 0


def main(argv: list[str], root: str = "/proc") -> int:
    """Runs the command.

    Args:
        argv: its arguments; see `procmem ps --help`.
        root: the /proc to read.

    Returns:
        The exit status: 0; 1 where no process was found, and for usage.
    """
    if argv in (["--help"], ["--version"], ["-V"]):
        sys.stdout.write(usage() if argv == ["--help"] else version())
        return 0
    if argv[:1] == ["--top"]:
        from procmem.cli import top

        return top.main(argv[1:])
    try:
        request = understand(argv)
        columns = columns_of(request, root)
    except (PsUsageError, FormatError, UsageError) as error:
        from procmem.view.names import printable

        # The first line is that of ps, byte for byte.
        sys.stderr.write(
            f"error: {printable(str(error))}\nusage: procmem ps [-o COLUMNS] -p PIDS (--help)\n"
        )
        return 1
    terminal = sys.stdout.isatty()
    utf8 = is_utf8()
    found = 0

    def rows() -> Iterator[Row]:
        nonlocal found
        for row in read_rows(chosen(request, root), root, columns, utf8):
            found += 1
            yield row

    screen = screen_columns()
    if request.wide and screen is not None:
        screen = max(screen, 132) if request.wide == 1 else None
    sys.stdout.buffer.writelines(
        process_table(
            rows(),
            columns,
            headings=request.headings,
            screen=screen,
            terminal=terminal,
            utf8=utf8,
        )
    )
    return 0 if found else 1


def usage() -> str:
    """The text of --help."""
    from procmem.cli.examples import examples_text

    return fitted_help(HEAD + options_text(TABLE) + notes()) + examples_text("procmem ps")


def notes() -> str:
    """What --help says below the options."""
    import textwrap

    names = ", ".join((*COLUMNS, *OWN))
    rows = textwrap.fill(names, 76, initial_indent="  ", subsequent_indent="  ")
    return f"\nSizes are KiB. Columns:\n{rows}\n"


def version() -> str:
    from procmem._version import __version__

    return f"procmem ps {__version__}, as ps of procps-ng 4.0.2\n"


# ---- the command line -----------------------------------------------------------


def understand(argv: list[str]) -> PsRequest:
    """Parses the arguments.

    Raises:
        PsUsageError
    """
    request = PsRequest()
    rest = iter(argv)
    for argument in rest:
        if argument in ("", "-", "--"):
            raise PsUsageError("garbage option")
        if argument.partition("=")[0] == "--color":
            check_colour(argument, rest)
        elif argument.startswith("--"):
            long_option(argument[2:], rest, request)
        elif argument.startswith("-"):
            short_options(argument[1:], rest, request)
        elif argument[0] in "0123456789":
            # Behind a bare PID nothing but PIDs may come.
            for operand in (argument, *rest):
                request.pids.append(process_id(operand))
        elif by_name := named(argument):
            request.pids += by_name
        else:
            raise PsUsageError(
                f"BSD options such as '{argument}' are not offered, and there is no process of "
                f"that name"
            )
    if request.quick is not None and (request.pids or request.all):
        raise PsUsageError("q/-q/--quick-pid cannot be combined with other selection options.")
    if not (request.pids or request.quick or request.all):
        raise PsUsageError("which processes? Name them with -p")
    return request


def short_options(letters: str, rest: Iterator[str], request: PsRequest) -> None:
    for place, letter in enumerate(letters, 1):
        if letter in "opq":
            value = letters[place:] or next(rest, "")
            if letter == "o":
                add_format(value, "-o", request)
            else:
                add_pids(value, f"-{letter}", request)
            return
        if letter in "eA":
            request.all = True
        elif letter == "w":
            request.wide += 1
        else:
            raise PsUsageError(f"option -{letter} is not offered")


def long_option(text: str, rest: Iterator[str], request: PsRequest) -> None:
    name, equals, value = text.partition("=")
    if name in NO_HEADINGS:
        if equals:
            raise PsUsageError(f"option --{name} does not take an argument")
        request.headings = False
        return
    if name not in ("pid", "quick-pid", "format"):
        raise PsUsageError(f"option --{name} is not offered")
    value = value if equals else next(rest, "")
    if name == "format":
        add_format(value, "--format", request)
    else:
        add_pids(value, f"--{name}", request)


def add_format(text: str, option: str, request: PsRequest) -> None:
    if not text:
        raise PsUsageError(f"format specification must follow {option}")
    request.formats.append(text)


def add_pids(text: str, option: str, request: PsRequest) -> None:
    if not text:
        raise PsUsageError(f"list of process IDs must follow {option}")
    parts = text.replace("\t", ",").replace(" ", ",").split(",")
    if not all(parts):
        raise PsUsageError("improper list")
    found = [pid for part in parts for pid in named(part) or [process_id(part)]]
    if option in ("-p", "--pid"):
        request.pids += found
    elif request.quick is not None:
        raise PsUsageError("q/-q/--quick-pid can only be used once.")
    else:
        request.quick = found


def named(text: str) -> list[int]:
    """The PIDs of the processes of that name; none if it is a number."""
    if text[:1] in "0123456789+-":
        return []
    if text == "self":
        return [os.getpid()]
    from procmem.process.finding import find

    return [process.pid for process in find(text)]


def process_id(text: str) -> int:
    number, rest = strtoul(text, 0)
    if rest:
        raise PsUsageError("process ID list syntax error")
    if not 0 < number < 1 << 31:
        raise PsUsageError("process ID out of range")
    return number


def columns_of(request: PsRequest, root: str) -> list[PsColumn]:
    pid_max = (system_file("sys/kernel/pid_max", root) or b"").strip()
    digits = len(pid_max) if pid_max.isdigit() else 5
    formats = request.formats or [DEFAULT_FORMAT]
    return [column for text in formats for column in parse_format(text, digits)]


# ---- processes --------------------------------------------------------------------


def errors() -> ModuleType:
    """The exception classes; imported only once something was raised."""
    from procmem import errors as module

    return module


def chosen(request: PsRequest, root: str) -> Iterable[int]:
    if request.all:
        return pids(root)
    return request.quick if request.quick is not None else sorted(set(request.pids))


def read_rows(
    chosen: Iterable[int], root: str, columns: list[PsColumn], utf8: bool
) -> Iterator[Row]:
    """The data of each process that the columns need; processes that have ended are left out."""
    needs = {column.needs for column in columns}
    memory_total = total_memory(root) if "meminfo" in needs else 0
    page_size = os.sysconf("SC_PAGESIZE")
    for pid in chosen:
        try:
            files = ProcessFiles(pid, root)
            stat = files.stat()
            status = parse_status(files.read("status"))
            if status.get("Tgid", str(pid)) != str(pid):
                continue  # a thread is no process
            memory = None
            if stat.is_zombie and stat.num_threads > 1 and files.use_living_thread():
                memory = (
                    parse_stat(files.read(files.memory_name("stat"))),
                    parse_status(files.read(files.memory_name("status"))),
                )
            yield Row(
                pid,
                stat,
                status,
                memory=memory,
                cmdline=files.read("cmdline") if "cmdline" in needs else b"",
                rollup=rollup(files) if "rollup" in needs else None,
                user=user_name(status) if "user" in needs else "",
                memory_total=memory_total,
                page_size=page_size,
                utf8=utf8,
            )
        except errors().NoSuchProcess:
            continue
        except errors().ProcessError as error:
            from procmem.view.names import printable

            sys.stderr.write(f"procmem ps: {printable(str(error))}\n")


def total_memory(root: str) -> int:
    for line in (system_file("meminfo", root) or b"").split(b"\n"):
        if line.startswith(b"MemTotal:"):
            return int(line.split()[1])
    return 0


def rollup(files: ProcessFiles) -> Counters | None:
    """The sums over smaps; empty for a process without memory; None: access denied."""
    from procmem.regions import Counters, parse_rollup

    try:
        with files.memory("smaps_rollup") as file:
            data = file.read()
    except (errors().KernelThread, errors().ZombieProcess):
        data = b""
    except (errors().AccessDenied, errors().Unsupported):
        return None
    if not data:
        return Counters({"Pss": 0, "Private_Clean": 0, "Private_Dirty": 0})
    return parse_rollup(data)


def user_name(status: dict[str, str]) -> str:
    """The name of the effective user, or the number of one that has no name."""
    import pwd

    uid = int(status.get("Uid", "0 0").split()[1])
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
