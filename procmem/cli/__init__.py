"""The `procmem` command: one small module per subcommand, imported only when it is called."""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "maps": "the memory regions of a process: kind and size of each",
    "pmap": "the same in the format of pmap(1)",
    "ps": "pid, rss, vsz and more in the format of ps(1)",
    "top": "which processes use most memory, and what ending them would free",
    "family": "a process and its forks: what they share, and what was copied",
    "size": "text, data and bss of ELF files in the format of size(1)",
    "sections": "the ELF sections of a process: resident, private and swapped bytes",
    "pages": "the state of every page; page tables and page frames",
    "heap": "what malloc and Python hold inside a process, in use and free",
    "threads": "the stack of each thread: reserved, touched, in use, and the room left",
    "cache": "what the page cache has of files, or of the files of a process",
    "container": "what a control group or container is charged for",
    "pipes": "pipes and FIFOs: who holds which end, what is in them, who is blocked",
    "shm": "shared memory: who maps it, who holds it, what nobody uses",
    "why": "why a process hangs: what it waits for, and who could end that",
    "query": "what is mapped at an address",
    "record": "the memory of a process over time, recorded to a file",
    "report": "a report as one HTML file: pictures, causes, tables, to open or to send",
    "watch": "changes of a process's memory as they happen",
    "gather": "the processes of a service on many hosts: which differ, and in what",
    "exporter": "the memory of chosen processes as metrics for Prometheus",
    "experiment": "what mmap, fork, page faults and more do to memory, step by step",
    "snapshot": "a snapshot of a process's memory, saved to a file",
    "diff": "what changed between two snapshots or processes, and why",
    "trace": "the memory calls of a program, each with its effect on VSZ and RSS",
    "reconcile": "the kernel's totals for a process compared, differences explained",
    "lab": "exercises about memory: start one, check your solution",
    "grade": "grade many submissions of a lab, with reports",
    "schema": "the JSON schemas of what the commands print with --json",
    "doctor": "which kernel features and permissions procmem has here",
    "demo": "a first look: the memory of two live processes",
    "completion": "completion for bash, zsh and fish, and the manual pages",
}

WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of write(2) alone, which has no name of a file."""

USAGE = """\
usage: procmem COMMAND [ARGUMENTS]
       procmem COMMAND --help

Shows, measures and explains the memory of live Linux processes.

"""


def usage() -> str:
    """The text of `procmem --help`."""
    from textwrap import fill

    from procmem.cli.terminal import table_columns

    width = max(table_columns() or 80, 24)
    rows = (
        fill(says, width, initial_indent=f"  {name:<10} ", subsequent_indent=" " * 13) + "\n"
        for name, says in COMMANDS.items()
    )
    head = "".join(
        fill(line, width) + "\n" if line[:1].isupper() else line + "\n"
        for line in USAGE.rstrip("\n").split("\n")
    )
    return head + "\n" + "".join(rows)


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments, without the program's name; None: those of this process.

    Returns:
        The exit status: 0, 1 (a process or file could not be read), 2 (usage).
        pmap, ps and size have the exit statuses of the original tools.
    """
    words = sys.argv[1:] if argv is None else argv
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that is not of UTF-8 gets escapes for what it lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
        if sys.stdout.encoding.lower().replace("-", "") != "utf8":
            from procmem.view.names import show_only_ascii

            show_only_ascii(True)
    try:
        status = run_shown(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone, as behind `| head`: the status is a shell's for SIGPIPE.
        drop_output()
        return 141
    except KeyboardInterrupt:
        drop_output()
        # Python notes an interrupt in exec() of a text, as namedtuple() has it, and then ends
        # by SIGINT instead of with this status; the next exec() clears the note.
        exec("pass")  # noqa: S102 - a constant
        return 130
    except SystemExit as left:
        if flushed() or left.code:
            raise
        return 1
    except OSError as error:
        not_written(error)
        return 1
    return status


def flushed() -> bool:
    """Flushes stdout, so that Python's own flush at exit cannot fail; whether all is written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
    except OSError as error:
        not_written(error)
        return False
    return True


def not_written(error: OSError) -> None:
    """Says why the output could not be written, and drops what is left of it."""
    sys.stderr.write(f"procmem: writing the output: {error.strerror}\n")
    drop_output()


def drop_output() -> None:
    """Keeps Python's own flush at exit from failing again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def run_shown(words: list[str]) -> int:
    """Runs one subcommand; on a terminal with its progress."""
    if not sys.stderr.isatty():
        return run(words)
    from procmem.cli.progress import command_progress

    with command_progress(words):
        status = run(words)
        sys.stdout.flush()
        return status


def run(words: list[str]) -> int:
    """Runs one subcommand; errors become messages and an exit status."""
    if not words:
        sys.stderr.write("procmem: which command? (usage: procmem --help)\n")
        return 2
    if words[0] in ("-h", "--help", "help"):
        from procmem.cli.terminal import fitted_help

        sys.stdout.write(fitted_help(usage()))
        return 0
    if words[0] in ("-V", "--version"):
        from procmem._version import __version__

        sys.stdout.write(f"procmem {__version__}\n")
        return 0
    from procmem.cli.terminal import colour_output

    if words[0] not in COMMANDS:
        from procmem.view.columns import did_you_mean

        meant = did_you_mean(words[0], COMMANDS)
        sys.stderr.write(
            f"procmem: there is no command {words[0]!a}{meant} (usage: procmem --help)\n"
        )
        return 2
    stdout = sys.stdout
    try:
        # What imitates another program has no colours, whatever is asked for.
        colour_output("never" if words[0] in ("pmap", "ps", "size") else "auto")
        status = command(words[0])(words[1:])
        if hasattr(sys.stdout, "commit"):  # the file of -o
            sys.stdout.commit()
        return status
    except (BrokenPipeError, KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        from procmem.errors import ProcmemError
        from procmem.view.names import printable

        said = str(error) or "out of memory"
        if not isinstance(error, (ProcmemError, OSError, MemoryError)):
            if os.environ.get("PROCMEM_TRACEBACK"):
                raise
            said = (
                f"internal error, {type(error).__name__}: {error}; please report it, with the "
                f"output under PROCMEM_TRACEBACK=1"
            )
        if isinstance(error, OSError) and not isinstance(error, ProcmemError):
            said = error.strerror or said
            if error.filename:
                said = f"{os.fsdecode(error.filename)}: {said}"
            elif error.errno in WRITING:
                said = f"{getattr(sys.stdout, 'path', 'writing the output')}: {said}"
        sys.stderr.write(f"procmem {words[0]}: {printable(said)}\n")
        return 1
    finally:
        if hasattr(sys.stdout, "abandon"):
            sys.stdout.abandon()
            sys.stdout = stdout
        colour_output("never")


def command(name: str) -> Callable[[list[str]], int]:
    """The main function of a subcommand."""
    from importlib import import_module

    main: Callable[[list[str]], int] = import_module(f"procmem.cli.{name}").main
    return main
