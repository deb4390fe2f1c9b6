"""procmem trace: the memory calls of a program, each with its effect."""

from __future__ import annotations

import argparse
import contextlib
import errno
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
    one_process,
    refuse_with_json,
    table_options,
)
from procmem.cli.exports import check_exports, export_options, exported
from procmem.cli.formats import ALL, BINARY, STREAMED, print_streamed, print_table
from procmem.cli.terminal import table_columns
from procmem.errors import BadArgument, SyscallError
from procmem.snapshots.output import check_output
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
    made.add_argument("--force", action="store_true", help="let -o overwrite any file")
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
    out: TextIO | None = None
    try:
        if options.output is not None:
            check_log(options.output, options.force)
            out = open(options.output, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    except OSError as error:
        sys.stderr.write(f"procmem trace: {options.output!a}: {error.strerror}\n")
        return 1
    try:
        return traced(command, options, layout, out)
    except BadArgument as error:
        made.error(printable(str(error)))
    except SyscallError as error:
        if error.syscall != "execve":
            raise
        sys.stderr.write(f"procmem trace: {printable(str(error))}\n")
        return 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
    finally:
        if out is not None:
            out.close()


TRACE = re.compile(rb' *TID +\xce\x94VSZ |\{"pid": [0-9]+, "calls": \[')
"""The start of a file written by -o; traces of --strace cannot be recognised."""


def is_trace(start: bytes) -> bool:
    """Whether a file that starts like this was written by -o."""
    return bool(TRACE.match(start))


def check_log(path: str, force: bool) -> None:
    """Checks that a trace may be written there, and does not overwrite other files.

    Raises:
        OSError
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = 0
    # Lines may go to a terminal, a pipe or /dev/null: nothing is lost there.
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        check_output(
            path, force=force, is_ours=lambda start: bool(TRACE.match(start)), what="trace"
        )


def traced(
    command: list[str], options: argparse.Namespace, layout: TraceLayout, out: TextIO | None
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
            with writers(options, tracing):
                told(tracing, Output(out or sys.stderr), options, layout, to_file=out is not None)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    code = tracing.returncode
    if code is None:
        return 128 + heard[0] if heard and heard[0] != signal.SIGINT else 0
    return code if code >= 0 else 128 - code


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
    """The output of the trace. Once its reader has gone nothing is written; the program runs on."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.gone = False

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
        except BrokenPipeError:
            self.gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


@contextlib.contextmanager
def writers(options: argparse.Namespace, tracing: Tracing) -> Iterator[None]:
    """Writes each call to the files of --perfetto and --speedscope, too."""
    made: list[PerfettoTrace | FlameTrace] = []

    def write(data: bytes) -> None:
        for one in events_in(data, tracing.lag, []):
            if isinstance(one, MemoryCall):
                for file in made:
                    file.add(one)

    with contextlib.ExitStack() as files:
        pid = tracing.pid
        if options.perfetto is not None:
            made.append(PerfettoTrace(files.enter_context(exported(options, "perfetto")), pid))
        if options.speedscope is not None:
            made.append(FlameTrace(files.enter_context(exported(options, "speedscope")), pid))
        tracing.watch = write if made else None
        yield
        for file in made:
            file.close()


def told(
    tracing: Tracing,
    out: Output,
    options: argparse.Namespace,
    layout: TraceLayout,
    *,
    to_file: bool,
) -> None:
    if options.format in STREAMED:
        rows_told(tracing, out, options)
    elif options.json:
        json_told(tracing, out)
    elif options.data:
        out.send(lambda stream: print_table(tracing.whole(None), options, stream.buffer))
    elif options.strace:
        strace_told(tracing, out, always=to_file and options.follow)
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
            "refused": refused, "not_seen": not_seen, "stacks": places.stacks}  # fmt: skip
    out.write(f"\n], {json.dumps(rest)[1:]}\n")
