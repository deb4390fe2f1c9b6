"""procmem trace: the memory calls of a program, each with its effect."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import os
import re
import signal
import stat
import sys
from functools import partial
from typing import TextIO

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    Parser,
    complain,
    one_process,
    refuse_with_json,
    table_options,
)
from procmem.cli.exports import check_exports, export_options, exported
from procmem.cli.formats import (
    ALL,
    BINARY,
    STREAMED,
    force_option,
    print_streamed,
    print_table,
)
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument, ProcmemError, SyscallError
from procmem.procfs import boot_id
from procmem.snapshots.output import check_output, replacing
from procmem.tracing.events import (
    Breakpoints,
    MemoryCall,
    ProcessEnd,
    Refused,
    Signal,
    Trace,
    events_in,
)
from procmem.tracing.exports import FlameTrace, PerfettoTrace
from procmem.tracing.tracer import Tracing
from procmem.view.mallocs import Mallocs
from procmem.view.names import printable
from procmem.view.places import Places
from procmem.view.strace import strace_end, strace_line, strace_signal
from procmem.view.trace import TraceLayout, TraceTable, call_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["main"]

MALLOCS = 10_000
"""How many calls of malloc functions the table shows by default: a program that makes millions of
them is slowed down only briefly."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem trace --help`.

    The exit status is the program's own, 128 + N where signal N killed it; 127 and 126 as in a
    shell: not found, and not to be run.
    """
    made = Parser(
        prog="procmem trace",
        usage="procmem trace [-f] [--malloc] [--json | --strace] [-o FILE] [--] COMMAND [ARG ...]\n"
        "       procmem trace [-f] [--malloc] [--json | --strace] [-o FILE] -p PID",
        description="Runs a program and prints each of its memory calls (mmap, munmap, mremap, "
        "brk, mprotect, madvise, mlock, shmat, clone, fork, execve, exit) with its effect on "
        "VSZ and RSS, which are read before and after it. The trace goes to stderr; stdout "
        "belongs to the program.",
    )
    made.add_argument("-f", "--follow", action="store_true", help="trace child processes, too")
    made.add_argument(
        "-p", "--pid", metavar="PID", help="attach to a running process: its PID or its name"
    )
    made.add_argument(
        "-o", "--output", metavar="FILE",
        help="write to this file, not to stderr. An existing trace is overwritten (but not one of "
            "--strace or --columns), any other file only with --force",
    )  # fmt: skip
    force_option(made, "-o")
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    form.add_argument(
        "--format", choices=ALL, metavar="FORMAT",
        help=f"the format of the trace: {', '.join(ALL)} (default: table); csv and jsonl have a "
        "line for each call as it is made; arrow and parquet need -o FILE",
    )  # fmt: skip
    form.add_argument("--strace", action="store_true", help="print lines as strace(1) does")
    made.add_argument(
        "--no-seccomp",
        action="store_true",
        help="do not use a seccomp filter: stops at every system call, which is slower, but does "
        "not affect child processes",
    )
    made.add_argument(
        "--malloc",
        action=argparse.BooleanOptionalAction,
        help="report every call of malloc, free and related functions, or none. Default: the table "
        f"summarises the first {MALLOCS:,} calls of a program that it starts",
    )
    table_options(made)
    export_options(made, perfetto="the calls", speedscope="the calls")
    made.set_defaults(data=False, own_output=False, formats=ALL)
    made.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND", help=argparse.SUPPRESS
    )
    options = made.parse_args(argv)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if bool(command) == (options.pid is not None):
        made.error("give either a command or -p PID")
    if options.format in BINARY and options.output is None:
        made.error(f"--format {options.format} is no text: name a file with -o FILE")
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS)
    if options.strace and (options.columns or options.units != made.get_default("units")):
        made.error("--units and --columns cannot be combined with --strace")
    # A file is not read on this screen.
    width = table_columns(sys.stderr) if options.output is None else None
    try:
        columns = None if options.data else options.columns
        layout = TraceLayout(options.units, columns, width)
        if options.data:
            print_streamed(Trace((), pid=0), options, heading=False)
    except BadArgument as error:
        made.error(printable(str(error)))
    if options.pid is not None:
        options.pid = one_process(made, options.pid, "/proc").pid
    if not check_exports("trace", options):
        return 1
    try:
        with output(options) as out:
            return traced(command, options, layout, out)
    except BadArgument as error:
        made.error(printable(str(error)))
    except SyscallError as error:
        if error.syscall != "execve":
            raise
        complain("trace", str(error))
        return 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
    except OSError as error:
        if isinstance(error, ProcmemError) or error.filename != options.output:
            raise
        complain("trace", f"{options.output}: {error.strerror}")
        return 1


TRACE = re.compile(rb' *TID +\xce\x94VSZ |\{"pid": [0-9]+, "calls": \[')
"""The start of a file written by -o; traces of --strace cannot be recognised."""


def is_trace(start: bytes) -> bool:
    """Whether a file that starts like this was written by -o."""
    return bool(TRACE.match(start))


@contextlib.contextmanager
def output(options: argparse.Namespace) -> Iterator[Output]:
    """What the trace is written to: stderr, or the file of -o.

    Lines are written to the file as they come, so that they can be followed. What can be read as a
    whole only replaces the file at the end.

    Raises:
        OSError: the file cannot be opened, or is another program's; with its name.
    """
    path = options.output
    if path is None:
        yield Output(sys.stderr)
        return
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = 0
    # Lines may go to a terminal, a pipe or /dev/null: nothing is lost there.
    special = stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    if not special:
        check_output(path, force=options.force, is_ours=is_trace, what="trace")
    if special or not options.data or options.format in STREAMED:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            yield Output(file, path)
        return
    with (
        contextlib.suppress(GivenUp),
        replacing(path, force=options.force, is_ours=is_trace, what="trace") as whole,
    ):
        text = io.TextIOWrapper(whole, "utf-8", "backslashreplace")
        out = Output(text, path, whole=True)
        yield out
        if out.failed:
            raise GivenUp
        text.detach()


class GivenUp(Exception):
    """A file could not be written, which has been said."""


def traced(
    command: list[str], options: argparse.Namespace, layout: TraceLayout, out: Output
) -> int:
    """Traces the program and returns the exit status."""
    tracing: Tracing | None = None
    heard: list[int] = []

    def pass_on(number: int, _: object) -> None:
        heard.append(number)
        if tracing is None:
            return
        if not command or len(heard) > 2:
            tracing.detach()
        elif number != signal.SIGINT or not terminal_tells_all():
            tracing.send_signal(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        for number, handler in before.items():
            # What the caller had ignored (nohup) stays so, for the program as well.
            if handler is not signal.SIG_IGN:
                signal.signal(number, pass_on)
        with Tracing(
            command or None,
            pid=options.pid,
            follow=options.follow,
            seccomp=not options.no_seccomp,
            malloc=mallocs(command, options),
        ) as tracing:
            # One that came before there was somebody to hear it.
            for early in heard[:1]:
                pass_on(early, None)
            with writers(options, tracing) as files:
                told(tracing, out, options, layout)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    failed = out.failed or any(file.failed for file in files)
    code = tracing.returncode
    if code is None:
        status = 128 + heard[0] if heard and heard[0] != signal.SIGINT else 0
    else:
        status = code if code >= 0 else 128 - code
    return status or int(failed)


def mallocs(command: list[str], options: argparse.Namespace) -> bool | int:
    """How many calls of malloc functions to report; True: all."""
    if options.malloc is not None:
        return bool(options.malloc)
    return MALLOCS if command and not options.data and not options.strace else False


def terminal_tells_all() -> bool:
    """Whether the terminal sends Ctrl-C to the program, too (it is in the foreground group)."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


class Output:
    """The output of the trace. If it cannot be written any more, the program runs on without.

    Args:
        stream: what is written to.
        path: its name; None: stderr.
        whole: a part of it is of no use.

    Attributes:
        gone: nothing more is written.
        failed: because the file of -o could not be written.
    """

    def __init__(self, stream: TextIO, path: str | None = None, *, whole: bool = False) -> None:
        self.stream = stream
        self.gone = False
        self.failed = False
        self._path = path
        self._whole = whole

    def write(self, text: str) -> None:
        """Writes and flushes."""
        if text:
            self.send(lambda stream: stream.write(text))

    def send(self, write: Callable[[TextIO], object]) -> None:
        """Lets a function write to the stream, and flushes."""
        if self.gone:
            return
        try:
            write(self.stream)
            self.stream.flush()
        except OSError as error:
            self.gone = True
            # What is still in the buffers goes nowhere, instead of failing again.
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self.stream.fileno(), inheritable=self._path is None)
            os.close(null)
            # A reader that has gone, such as head, wanted no more.
            self.failed = self._path is not None and not isinstance(error, BrokenPipeError)
            if self._path is not None and self.failed:
                given_up(self._path, error, cut=not self._whole)


def given_up(path: str, error: OSError, *, cut: bool = False) -> None:
    """Says that a file cannot be written, and that this does not stop the program."""
    what = "the trace in it ends here" if cut else "it is not written"
    complain("trace", f"{path}: {error.strerror}; {what}, the program is not affected")


class ExportFile:
    """A file of --perfetto or --speedscope. If it cannot be written, the program runs on without.

    Args:
        options: the parsed arguments.
        name: the option.
        make: what writes it.
        pid: the program.

    Attributes:
        failed: it is given up.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        name: str,
        make: type[PerfettoTrace | FlameTrace],
        pid: int,
    ) -> None:
        self.failed = False
        self._path = getattr(options, name)
        self._file = contextlib.ExitStack()
        self._writer: PerfettoTrace | FlameTrace | None = None
        with self._given_up_on_error():
            self._writer = make(self._file.enter_context(exported(options, name)), pid)

    @contextlib.contextmanager
    def _given_up_on_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._abandon(error)
            given_up(self._path, error)

    def _abandon(self, error: BaseException) -> None:
        self.failed, self._writer = True, None
        with contextlib.suppress(type(error), OSError):
            self._file.__exit__(type(error), error, error.__traceback__)

    def add(self, call: MemoryCall) -> None:
        """Writes a call."""
        if self._writer is not None:
            with self._given_up_on_error():
                self._writer.add(call)

    def __enter__(self) -> ExportFile:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._writer is None:
            return
        if error is not None:
            self._abandon(error)
            return
        with self._given_up_on_error():
            self._writer.close()
            self._file.close()


@contextlib.contextmanager
def writers(options: argparse.Namespace, tracing: Tracing) -> Iterator[list[ExportFile]]:
    """Writes each call to the files of --perfetto and --speedscope, too."""
    made: list[ExportFile] = []

    def write(data: bytes) -> None:
        for one in events_in(data, tracing.lag, []):
            if isinstance(one, MemoryCall):
                for file in made:
                    file.add(one)

    kinds: dict[str, type[PerfettoTrace | FlameTrace]]
    kinds = {"perfetto": PerfettoTrace, "speedscope": FlameTrace}
    with contextlib.ExitStack() as files:
        for name, kind in kinds.items():
            if getattr(options, name) is not None:
                file = ExportFile(options, name, kind, tracing.pid)
                made.append(files.enter_context(file))
        tracing.watch = write if made else None
        yield made


def told(
    tracing: Tracing,
    out: Output,
    options: argparse.Namespace,
    layout: TraceLayout,
) -> None:
    if options.format in STREAMED:
        rows_told(tracing, out, options)
    elif options.json:
        json_told(tracing, out)
    elif options.data:
        out.send(lambda stream: print_table(tracing.whole(None), options, stream.buffer))
    elif options.strace:
        strace_told(tracing, out, always=options.output is not None and options.follow)
    else:
        table_told(tracing, out, options, layout)
    if options.data:
        return
    if tracing.setuid_ignored:
        out.write(
            "procmem trace: the program is set-user-ID or set-group-ID and ran without those "
            "rights: the kernel ignores them if an ordinary user traces it\n"
        )
    for pid in tracing.foreign:
        out.write(
            f"procmem trace: process {pid} runs a program of another architecture, whose calls are "
            f"not reported\n"
        )


def rows_told(tracing: Tracing, out: Output, options: argparse.Namespace) -> None:
    """Prints a row for each call as it is made."""
    heading = True
    for data in tracing.batches():
        rows = Trace([data], pid=tracing.pid, lag=tracing.lag)
        first, heading = heading, False
        if first or len(rows):
            out.send(partial(send_rows, rows, options, first))


def send_rows(rows: Trace, options: argparse.Namespace, first: bool, stream: TextIO) -> None:
    print_streamed(rows, options, heading=first, to=stream.buffer)


def table_told(
    tracing: Tracing, out: Output, options: argparse.Namespace, layout: TraceLayout
) -> None:
    table = TraceTable(malloc=tracing.malloc, every=bool(options.malloc), layout=layout)
    out.write(layout.heading())
    for group in tracing.groups():
        out.write("".join(map(table.add, group)))
    out.write(table.end(foreign=bool(tracing.foreign)))


def strace_told(tracing: Tracing, out: Output, *, always: bool) -> None:
    for group in tracing.groups():
        lines = []
        for one in group:
            if isinstance(one, (Breakpoints, Refused)):
                continue
            tid = one.pid if isinstance(one, ProcessEnd) else one.tid
            prefix = f"{tid:<5} " if always else f"[pid {tid:>5}] " if one.several else ""
            if isinstance(one, ProcessEnd):
                lines.append(strace_end(one, prefix) + "\n")
            elif isinstance(one, Signal):
                lines.append(strace_signal(one, prefix) + "\n")
            else:
                lines.append(strace_line(one, prefix) + "\n")
        out.write("".join(lines))


def json_told(tracing: Tracing, out: Output) -> None:
    ended: dict[int, int] = {}
    breakpoints = []
    refused = []
    mallocs = Mallocs() if tracing.malloc else None
    places = Places()
    separator = "\n"
    out.write(f'{{"pid": {tracing.pid}, "calls": [')
    for group in tracing.groups():
        rows = []
        for call in group:
            if isinstance(call, ProcessEnd):
                ended[call.pid] = call.returncode
            elif isinstance(call, Breakpoints):
                breakpoints.append(call.to_dict())
                if mallocs:
                    mallocs.place(call)
            elif isinstance(call, Refused):
                refused.append(call.to_dict())
            elif isinstance(call, MemoryCall):
                if not call.is_function:
                    places.watch(call)
                rows.append(call_json(call, places))
                if mallocs:
                    mallocs.watch(call)
        if rows:
            out.write(separator + ",\n".join(rows))
            separator = ",\n"
    not_seen = mallocs.notes(foreign=bool(tracing.foreign)) if mallocs else None
    rest = {"ended": ended, "returncode": tracing.returncode, "foreign": tracing.foreign,
            "breakpoints": breakpoints, "setuid_ignored": tracing.setuid_ignored,
            "refused": refused, "not_seen": not_seen, "stacks": places.stacks,
            "boot_id": boot_id()}  # fmt: skip
    out.write(f"\n], {json.dumps(rest)[1:]}\n")
