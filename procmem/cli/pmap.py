"""procmem pmap: the options, the tables and the exit status of pmap(1).

The command must start fast, so modules are imported only where they are needed: procmem.errors,
which imports psutil, only after an exception was raised.
"""

from __future__ import annotations

import os
import sys

from procmem import native
from procmem.cli.options import Options, UsageError, options_text, strtoul
from procmem.cli.terminal import fitted_help, is_utf8
from procmem.procfs import ProcessFiles, parse_stat, parse_status
from procmem.regions.read import read_scan
from procmem.regions.table import table_from_scan
from procmem.view.pmap import (
    DEFAULT_CONFIG,
    TOP,
    PmapStyle,
    device,
    extended,
    field_order,
    fields,
    first_line,
    read_config,
    short,
)
from procmem.view.procps import command_line, for_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

    from procmem.regions import RegionTable

__all__ = ["main"]

UNREADABLE = 1
NOT_FOUND = 42

HEAD = """\
usage: procmem pmap [OPTION]... PID...

The memory map of processes, as pmap of procps-ng 4.0.2 prints it. A PID is
decimal, octal (0...), hexadecimal (0x...) or /proc/PID.

"""

TABLE = (
    (("-x", "--extended"), "", "resident and dirty memory of each mapping"),
    (("-X",), "", "a column for most counters of /proc/PID/smaps"),
    (("-XX",), "", "a column for everything there"),
    (("-d", "--device"), "", "offset and device of mapped files"),
    (("-c", "--read-rc"), "", "the columns that ~/.pmaprc names"),
    (("-C", "--read-rc-from"), "FILE", "the columns that FILE names"),
    (("-n", "--create-rc"), "", "write a ~/.pmaprc to start from"),
    (("-N", "--create-rc-to"), "FILE", "the same, to FILE"),
    (("-p", "--show-path"), "", "whole paths"),
    (("-q", "--quiet"), "", "no headings and no totals"),
    (("-A", "--range"), "LOW[,HIGH]", "only what lies in this range (hexadecimal)"),
    (("--color",), "auto|always|never", "checked; this output has no colours"),
    (("-h", "--help"), "", "this help"),
    (("-V", "--version"), "", "the version"),
)

NOTES = """\

Exit status: 0; 1 a process could not be read, or usage; 42 a process was not
found; 43 both.
"""

SHORT = "A:C:cdhN:npqrVXx"
LONG = {
    "extended": "x",
    "device": "d",
    "read-rc": "c",
    "read-rc-from": "C",
    "create-rc": "n",
    "create-rc-to": "N",
    "quiet": "q",
    "show-path": "p",
    "range": "A",
    "help": "h",
    "version": "V",
}


class PmapRequest:
    """The parsed command line.

    Attributes:
        mode: "x", "d", "X", "c" (rows of a configuration), "n" (write one), or
            "" for the default table.
        all_fields: whether -XX was given.
        config: the file that -C or -N names; None: ~/.pmaprc.
        chosen: the fields that the configuration names.
        show_path, quiet, low, high: as in PmapStyle.
        terminal, utf8: whether the tables go to a terminal; whether the locale
            is a UTF-8 one.
    """

    def __init__(self) -> None:
        self.mode = ""
        self.all_fields = False
        self.config: str | None = None
        self.chosen: set[str] | None = None
        self.show_path = False
        self.quiet = False
        self.low, self.high = 0, TOP
        self.terminal = self.utf8 = False


def main(argv: list[str], root: str = "/proc") -> int:
    """Runs the command.

    Args:
        argv: its arguments; see `procmem pmap --help`.
        root: the /proc to read.

    Returns:
        The exit status: 0, or 1 (a process could not be read; usage) and 42 (a
        process was not found), added up.
    """
    try:
        return run(argv, root)
    except UsageError as error:
        from procmem.view.names import printable

        what = printable(str(error)) or "which process?"
        sys.stderr.write(f"procmem pmap: {what} (usage: procmem pmap --help)\n")
    except Complaint as complaint:
        warn(str(complaint))
    return UNREADABLE


def run(argv: list[str], root: str) -> int:
    """Runs the command; see main().

    Raises:
        UsageError, Complaint
    """
    request = PmapRequest()
    operands = understand(argv, request)
    if operands is None:
        return 0
    if request.mode == "n":
        return create_config(request, operands)
    if not operands:
        raise Complaint("argument missing")
    if request.mode == "c":
        load_config(request)
    processes = process_ids(operands, root)
    request.terminal, request.utf8 = sys.stdout.isatty(), is_utf8()
    status = 0
    for pid, where in processes:
        status |= show(pid, where, request)
    return status


class Complaint(Exception):
    """The command cannot be run; the message is the reason."""


def warn(message: str) -> None:
    """Writes a line to stderr, with control characters escaped."""
    from procmem.view.names import printable

    sys.stdout.flush()
    sys.stderr.write(f"procmem pmap: {printable(message)}\n")


# ---- the command line -----------------------------------------------------------


def understand(argv: list[str], request: PmapRequest) -> list[str] | None:
    """Fills in the request. Returns the operands; None if only --help or --version was given."""
    if not argv:
        raise UsageError
    modes: set[str] = set()
    options = Options(argv, SHORT, LONG)
    for option, value in options:
        if option == "h":
            from procmem.cli.examples import examples_text

            sys.stdout.write(fitted_help(HEAD + options_text(TABLE) + NOTES))
            sys.stdout.write(examples_text("procmem pmap"))
            return None
        if option == "V":
            from procmem._version import __version__

            sys.stdout.write(f"procmem pmap {__version__}, as pmap of procps-ng 4.0.2\n")
            return None
        if option == "A":
            request.low, request.high = address_range(value or "")
        elif option == "p":
            request.show_path = True
        elif option == "q":
            request.quiet = True
        elif option == "r":
            warn("option -r is ignored as SunOS compatibility")
        else:
            request.all_fields = option == "X" and "X" in modes
            modes.add(option)
            if value is not None:
                request.config = value
    if len(modes) > 1:
        raise Complaint("options -c, -C, -d, -n, -N, -x, -X are mutually exclusive")
    if modes:
        request.mode = modes.pop().replace("C", "c").replace("N", "n")
    if request.mode == "n" and (request.quiet or request.show_path):
        raise Complaint("options -p, -q are mutually exclusive with -n, -N")
    return options.operands


def address_range(text: str) -> tuple[int, int]:
    """The addresses of -A: "low,high", "low" (it alone), "low," or ",high"."""
    low, comma, high = text.partition(",")
    ends = [strtoul(part, 16) if part else None for part in (low, high)]
    if any(end is not None and end[1] for end in ends):
        raise Complaint(f"failed to parse argument: '{text}'")
    first, last = (end and end[0] for end in ends)
    if first is not None and not comma:
        last = first
    return first or 0, TOP if last is None else last


def process_ids(operands: list[str], root: str) -> list[tuple[int, str]]:
    """The PIDs of the command line, each with the /proc that it is of.

    `pmap /proc/*` is common, so entries of /proc that are no number are ignored. Another word may
    be the name of a process or the directory of a saved tree.
    """
    found = []
    for operand in operands:
        text = operand.removeprefix("/proc/")
        if text is not operand and operand.startswith("/proc/") and not "0" <= text[:1] <= "9":
            continue
        pid, rest = strtoul(text, 0) if "0" <= text[:1] <= "9" else (0, text)
        if rest or not 0 < pid < 1 << 31:
            found += named(operand, root)
        else:
            found.append((pid, root))
    if not found:
        raise Complaint("no process ID among the arguments")
    return found


def named(operand: str, root: str) -> list[tuple[int, str]]:
    """The processes of that name, or of a saved tree; messages are those of pmap."""
    if operand in ("", "self") or operand[0] in "0123456789" or operand.startswith(("/proc", "//")):
        raise UsageError(f"no process ID: '{operand}'")
    from procmem.process import Process
    from procmem.process.finding import resolve

    try:
        found = resolve(operand, root=root)
    except (errors().ProcmemError, OSError):
        raise UsageError(f"no process ID: '{operand}'") from None
    processes = [one for one in found if isinstance(one, Process)]
    if len(processes) < len(found):
        raise Complaint(f"{operand}: pmap reads processes and saved trees; maps reads snapshots")
    return [(process.pid, process.root) for process in processes]


# ---- configurations ---------------------------------------------------------------


def config_path(request: PmapRequest) -> str:
    if request.config is not None:
        return request.config
    home = os.environ.get("HOME")
    if home is None:
        raise Complaint("HOME variable undefined")
    return f"{home}/.pmaprc"


def load_config(request: PmapRequest) -> None:
    path = config_path(request)
    try:
        with open(path, "rb") as file:
            config = read_config(file.read())
    except (OSError, ValueError) as error:
        what = "~/.pmaprc" if request.config is None else "the rc file"
        raise Complaint(f"couldn't read {what}") from error
    for complaint in config.complaints:
        warn(complaint)
    request.chosen = config.fields
    request.show_path |= config.show_path


def create_config(request: PmapRequest, operands: list[str]) -> int:
    if operands:
        raise Complaint("too many arguments")
    path = config_path(request)
    what = "the rc file" if request.config is not None else "~/.pmaprc"
    try:
        with open(path, "xb") as file:
            file.write(DEFAULT_CONFIG)
    except FileExistsError:
        warn("the file already exists - delete or rename it first")
        raise Complaint(f"couldn't create {what}") from None
    except (OSError, ValueError) as error:
        raise Complaint(f"couldn't create {what}") from error
    made = "rc file" if request.config is not None else "~/.pmaprc file"
    warn(f"{made} successfully created, feel free to edit the content")
    return 0


# ---- processes --------------------------------------------------------------------


def errors() -> ModuleType:
    """The exception classes; imported only once something was raised."""
    from procmem import errors as module

    return module


class Subject:
    """A process, with what its first line and its table show beside the regions.

    Attributes:
        tgid: its PID, even if the ID of a thread was given.
        stat: of the process.
        cmdline: its arguments.
        start_stack: where its stack starts; 0 if unknown.
    """

    def __init__(self, files: ProcessFiles) -> None:
        self.files = files
        self.tgid = int(parse_status(files.read("status")).get("Tgid", files.pid))
        self.update()

    def update(self) -> None:
        """Reads what execve(2) replaces."""
        self.stat = stat = self.files.stat()
        self.cmdline = self.files.read("cmdline")
        living = self.files.memory_name("stat")
        if living != "stat":
            # The leading thread has exited; its own stat shows no stack any more.
            stat = parse_stat(self.files.read(living))
        self.start_stack = stat.startstack

    def first_line(self, request: PmapRequest) -> bytes:
        """The line above the table."""
        command = command_line(self.cmdline, self.stat.comm, self.stat.state, utf8=request.utf8)
        if request.terminal:
            command = for_terminal(command, utf8=request.utf8)
        return first_line(self.tgid, command)


def show(pid: int, root: str, request: PmapRequest) -> int:
    """Prints the table of one process and returns its part of the exit status."""
    try:
        subject = Subject(ProcessFiles(pid, root))
    except errors().NoSuchProcess:
        return NOT_FOUND
    except errors().ProcmemError as error:
        warn(str(error))
        return NOT_FOUND
    out = sys.stdout.buffer
    try:
        rows = table(subject, request)
    except errors().ProcmemError as error:
        out.write(subject.first_line(request))
        warn(str(error))
        return UNREADABLE
    out.write(subject.first_line(request))
    out.writelines(rows)
    return 0


def table(subject: Subject, request: PmapRequest) -> Iterator[bytes]:
    """The lines below the first one."""
    wide = request.mode in ("X", "c")
    regions = read(subject, native.SMAPS if wide or request.mode == "x" else native.MAPS)
    look = PmapStyle(
        show_path=request.show_path,
        quiet=request.quiet,
        low=request.low,
        high=request.high,
        start_stack=subject.start_stack,
        terminal=request.terminal,
        utf8=request.utf8,
    )
    if any(text.startswith(b"/SYSV") for text in regions.reading.strings):
        look.shm_device = shm_device(subject.files.root)
    if wide:
        return fields(
            regions,
            look,
            order_of_fields(subject.files) if regions else (),
            everything=request.all_fields,
            chosen=request.chosen,
        )
    return {"x": extended, "d": device, "": short}[request.mode](regions, look)


def read(subject: Subject, mode: int) -> RegionTable[Any]:
    """The regions; none for a kernel thread or a zombie, as in pmap."""

    def update(_: native.Scan) -> bool:
        # While the file that was read is open, so that both are of one program.
        subject.update()
        return True

    stat = subject.stat
    if not (stat.is_kernel_thread or (stat.is_zombie and stat.num_threads == 1)):
        try:
            scan, _, consistent = read_scan(subject.files, mode, update)
        except (errors().KernelThread, errors().ZombieProcess):
            pass
        else:
            if not consistent:
                warn(
                    f"process {subject.tgid} changes its mappings so fast that rows may overlap "
                    f"or be missing"
                )
            return table_from_scan(scan, mode, consistent=consistent)
    scan = native.Scan(mode, "<none>")
    scan.finish()
    return table_from_scan(scan, mode)


def order_of_fields(files: ProcessFiles) -> list[tuple[str, bool]]:
    """The kernel's order and units of the fields, which are the same for all processes."""
    try:
        with files.memory("smaps") as file:
            return field_order(file.head())
    except errors().ProcmemError:
        return []


def shm_device(root: str) -> int | None:
    """Minor number of the device of System V shared memory; None: unknown.

    The kernel keeps it in the same unnamed tmpfs as shared anonymous memory
    (mm/shmem.c, shm_mnt), of which this process maps a page to look.
    """
    if root != "/proc":
        return None
    import mmap

    with mmap.mmap(-1, mmap.PAGESIZE):
        scan, _, _ = read_scan(ProcessFiles(os.getpid()), native.MAPS)
    for region in table_from_scan(scan, native.MAPS):
        if region.raw_pathname == b"/dev/zero (deleted)" and not region._dev_major:
            return int(region._dev_minor)
    return None
