"""What the commands' arguments have in common."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, TypeAlias

from procmem.errors import ProcmemError
from procmem.process import Process
from procmem.view.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


__all__ = [
    "ABSENT",
    "FORCE",
    "AskedRange",
    "address",
    "address_range",
    "for_each_process",
    "page_range",
    "parser",
    "pid",
]

AskedRange: TypeAlias = "tuple[int, int | None] | str"
"""Start and end; an address alone (its region); a region's name."""


FORCE = "let -o overwrite any file, follow a symbolic link, and write to a FIFO or a device"

ABSENT = object()
"""What stands for a PID that was not given; None is this process."""


def parser(command: str, description: str, *, pids: str = "+") -> argparse.ArgumentParser:
    """A parser with what every command takes.

    Args:
        command: its name.
        description: for --help.
        pids: how many PIDs it takes: "+"; "1"; "?", where ABSENT stands for none.
    """
    made = argparse.ArgumentParser(prog=f"procmem {command}", description=description)
    made.add_argument(
        "pids" if pids == "+" else "pid",
        metavar="PID",
        type=pid,
        nargs=None if pids == "1" else pids,
        default=ABSENT,
        help='a process ID, or "self"',
    )
    made.add_argument("--json", action="store_true", help="print the whole result as JSON")
    made.add_argument(
        "--root",
        default="/proc",
        metavar="DIR",
        help="read another /proc: a container's, or a saved tree",
    )
    return made


def pid(text: str) -> int | None:
    """A PID from the command line; None is this process."""
    if text == "self":
        return None
    number = text.removeprefix("/proc/")
    if not (number.isascii() and number.isdecimal()):
        raise argparse.ArgumentTypeError(f"a PID is a whole number, not {text!a}")
    return int(number)


def address(text: str) -> int:
    """An address: hexadecimal, with or without 0x."""
    try:
        return int(text, 16)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"an address is a hexadecimal number, not {text!a}"
        ) from None


def address_range(text: str) -> tuple[int | None, int | None]:
    """LOW-HIGH or LOW,HIGH in hexadecimal, either end open; HIGH is exclusive."""
    low, separator, high = text.replace("-", ",", 1).partition(",")
    ends = (address(low) if low else None, address(high) if high else None)
    if not separator and ends[0] is not None:
        return ends[0], ends[0] + 1
    return ends


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


def for_each_process(
    command: str, pids: Iterable[int | None], root: str, show: Callable[[Process], None]
) -> int:
    """Calls `show` for each process; one that can't be read is reported and the rest is done."""
    status = 0
    for number in pids:
        try:
            with Process(number, root=root) as process:
                show(process)
        except ProcmemError as error:
            sys.stdout.flush()
            sys.stderr.write(f"procmem {command}: {printable(str(error))}\n")
            status = 1
    return status
