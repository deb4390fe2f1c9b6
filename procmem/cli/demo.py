"""procmem demo: a first look at the memory of live processes."""

from __future__ import annotations

import subprocess
import sys

from procmem.cli.arguments import Parser
from procmem.cli.terminal import table_columns
from procmem.process import Process
from procmem.view.columns import kib, prose
from procmem.view.maps import grouped_table, region_table
from procmem.view.reconcile import reconciliation_table

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command, which starts one process and ends it."""
    Parser(
        prog="procmem demo",
        description="A first look: the memory of a process started for this purpose, and of "
        "procmem itself.",
    ).parse_args(argv)
    say = sys.stdout.write
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        with Process(child.pid) as process:
            wait_until_loaded(process)
            head(f"$ procmem maps {child.pid}", "cat, waiting for input; sizes in KiB")
            say(region_table(process.smaps(), width=table_columns()))
            result = process.reconcile()
            say("\n")
            head(f"$ procmem reconcile {child.pid}", "do the kernel's totals agree?")
            say(reconciliation_table(result, width=table_columns()))
    finally:
        if child.stdin is not None:
            child.stdin.close()
        child.wait()
    me = Process()
    table = me.smaps()
    say("\n")
    head("$ procmem maps --by kind self", "this Python, by what its memory is for")
    say(grouped_table(table, "kind", width=table_columns()))
    memory = me.memory()
    vsz = kib(memory.vsz)
    rss = kib(memory.rss)
    told = f"VSZ (VmSize) is {vsz} KiB, RSS (VmRSS) is {rss} KiB. In Python:"
    say("\n" + prose(told, table_columns()) + "\n")
    region = table.find(id(table))
    say(
        ">>> import procmem\n"
        ">>> regions = procmem.Process().smaps()\n"
        f">>> regions.find(id(regions))\n{region!r}\n"
        f">>> _.kind, _.rss, _.perms.write\n"
        f"{(region.kind, region.rss, region.perms.write) if region else None!r}\n"
    )
    return 0


def head(command: str, what: str) -> None:
    """Prints a command and what it shows, on one line or two."""
    width = table_columns()
    line = f"{command}   # {what}"
    if width is not None and len(line) > width:
        line = f"# {what}\n{command}"
    sys.stdout.write(f"{line}\n\n")


def wait_until_loaded(process: Process) -> None:
    """Waits until the child has mapped its libraries and waits in a system call."""
    for _ in range(10_000):
        thread = process.threads()[0]
        if thread.stack_pointer is not None and process.maps().filter(kind="heap"):
            return
