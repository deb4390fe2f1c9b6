"""procmem top: which processes use most memory, and what ending them would free."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from procmem.cli.arguments import (
    ALL_FIELDS,
    IN_BYTES,
    complain,
    parser,
    reason,
    refuse_with_json,
    row_limit,
    table_options,
)
from procmem.cli.formats import print_data
from procmem.cli.progress import Progress
from procmem.cli.terminal import table_columns
from procmem.cli.top_screen import LIVE_SHARE, opens_screen, show
from procmem.errors import BadArgument, ProcmemError
from procmem.process import Process
from procmem.process.finding import resolve
from procmem.system.machine import GROUPINGS, Machine, ProcessGroup, ProcessTable, machine
from procmem.view.columns import prose
from procmem.view.top import (
    freed_sentence,
    group_sentence,
    group_table,
    memory_table,
    most_sentence,
    notes,
    overview_sentence,
    process_table,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.system.processes import MachineProcess

__all__ = ["main"]

SORTS = ("pss", "rss", "uss", "swap", "huge", "ksm", "frees", "name", "pid")

LIMIT = 15


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem top --help`."""
    made = parser(
        "top",
        "Shows which processes use most memory, and what ending them would free; with PIDs or "
        "names only these. On a terminal a screen is opened that stays live, unless PIDs or "
        "options of the table are given; otherwise all processes are read once and a table is "
        "printed.",
        pids="*",
    )
    ways = made.add_mutually_exclusive_group()
    ways.add_argument("--once", action="store_true", help="print the table, on a terminal, too")
    ways.add_argument(
        "--live",
        action="store_true",
        help="open the screen, with PIDs, too: one process is opened, several are listed",
    )
    ways.add_argument(
        "--replay", metavar="FILE", help="show a recording of `procmem record` on the screen"
    )
    made.add_argument("--by", choices=tuple(GROUPINGS), help="show groups of processes")
    made.add_argument(
        "--sort",
        choices=SORTS,
        default="pss",
        metavar="KEY",
        help=f"one of {', '.join(SORTS)}: largest first (default: pss); name and pid ascending",
    )
    made.add_argument(
        "--limit",
        type=row_limit,
        metavar="N",
        help=f"show so many rows (default: {LIMIT}); 0: all",
    )
    made.add_argument(
        "--memory",
        action="store_true",
        help="show what the rest of the machine's memory is used for",
    )
    made.add_argument(
        "--fast",
        action="store_true",
        help="read no page frames: what ending processes would free is a lower bound then",
    )
    made.add_argument(
        "--share",
        type=share,
        metavar="PART",
        help="the share of one CPU to use, such as 0.02; reading takes longer then (default: 1 "
        f"for the table, {LIVE_SHARE} for the screen, drawing included)",
    )
    made.add_argument(
        "--max-stall",
        type=milliseconds,
        metavar="MS",
        help="leave out processes whose own mmap calls would probably have to wait longer, in "
        "milliseconds, while they are read",
    )
    table_options(made, default="MiB")
    options = made.parse_mixed(argv)
    refuse_with_json(made, options, units=IN_BYTES, columns=ALL_FIELDS, limit="which has all rows")
    if options.memory and (options.by or options.pids):
        made.error("--memory shows the whole machine and cannot be combined with --by or PIDs")
    if options.replay is not None and options.pids:
        made.error("--replay cannot be combined with PIDs")
    status, wanted = chosen(options.pids, options.root)
    if options.pids and not wanted:
        return status
    if opens_screen(made, options, argv):
        return max(status, show(made, options, wanted))
    if options.limit is None:
        options.limit = LIMIT
    try:
        with Progress("reading processes") as shown:
            found = machine(
                root=options.root,
                frames=False if options.fast or options.memory else None,
                share=options.share or 1.0,
                max_stall=options.max_stall,
                progress=shown.show,
            )
        text = "" if options.data else as_text(found, options, wanted)
    except BadArgument as error:
        made.error(str(error))
    except ProcmemError as error:
        complain("top", str(error))
        return 1
    if options.pids and not selected(found, wanted):
        complain("top", "the processes have ended")
        return 1
    if options.data:
        try:
            print_machine(found, options, wanted)
        except BadArgument as error:
            made.error(str(error))
    sys.stdout.write(text)
    return status


def share(text: str) -> float:
    """A share of a CPU."""
    return number_above_0(text, "a share of a CPU such as 0.02")


def milliseconds(text: str) -> float:
    """Milliseconds, as seconds."""
    return number_above_0(text, "milliseconds above 0") / 1000


def number_above_0(text: str, what: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"expected {what}, not {text!a}")
    return found


def chosen(words: list[str], root: str) -> tuple[int, set[int]]:
    """The exit status so far, and the PIDs that words stand for."""
    status, pids = 0, set()
    for word in words:
        try:
            found = resolve(word, root=root)
        except (ProcmemError, OSError) as error:
            complain("top", reason(error, word))
            status = 1
            continue
        for process in found:
            if isinstance(process, Process):
                pids.add(process.pid)
            else:
                complain("top", f"{word}: a snapshot has one process, and not who shares with it")
                status = 1
    return status, pids


def selected(found: Machine, wanted: set[int]) -> list[MachineProcess]:
    """The processes that were asked for; all if none was."""
    return [process for process in found.processes if not wanted or process.pid in wanted]


def in_order(found: list[Any], key: str) -> list[Any]:
    """Processes or groups in the order that was asked for."""
    if key == "name" or (key == "pid" and not all(hasattr(one, "pid") for one in found)):
        return sorted(found, key=lambda one: str(one.name))
    if key == "pid":
        return sorted(found, key=lambda one: int(one.pid))

    def size(one: Any) -> tuple[int, int]:
        return getattr(one, key) or 0, one.rss or 0

    return sorted(found, key=size, reverse=True)


def as_text(found: Machine, options: Any, wanted: set[int]) -> str:
    """The tables and sentences that the options select."""
    width = table_columns()
    look: dict[str, Any] = {"unit": options.units, "width": width, "chosen": options.columns}
    if options.memory:
        return prose(overview_sentence(found), width) + "\n" + memory_table(found, **look)
    processes = selected(found, wanted)
    total = ProcessGroup("total", processes, found.freed(processes))
    head = prose(overview_sentence(found), width)
    if wanted:
        head = prose(freed_sentence(total), width)
    if options.by:
        groups = [group for group in found.groups(options.by) if is_among(group, wanted)]
        head += prose(group_sentence(groups), width) if groups and not wanted else ""
        rows: list[Any] = in_order(groups, options.sort)
        shown = rows[: options.limit or None]
        table = group_table(shown, options.by, total=total, **look)
    else:
        head += prose(most_sentence(processes), width) if not wanted else ""
        rows = in_order(processes, options.sort)
        shown = rows[: options.limit or None]
        table = process_table(shown, total=total, **look)
    bounds = any(one.freed is not None and not one.freed.exact for one in [*shown, total])
    end = notes(found, len(rows) - len(shown), bounds=bounds, width=width)
    return head + "\n" + table + ("\n" + end if end else "")


def is_among(group: ProcessGroup, wanted: set[int]) -> bool:
    return not wanted or any(process.pid in wanted for process in group.processes)


def print_machine(found: Machine, options: Any, wanted: set[int]) -> None:
    """Prints all of it as JSON, or the rows that the options select in another format."""
    processes = selected(found, wanted)
    if options.format != "json" and not (options.by or options.memory):
        table = ProcessTable(in_order(processes, options.sort))
        print_data("top", options, None, [({}, table)])
        return
    freed = found.freed(processes)
    plain = found.to_dict()
    pids = {process.pid for process in processes}
    plain["processes"] = [one for one in plain["processes"] if one["pid"] in pids]
    plain["frees"] = None if freed is None else freed.size
    plain["frees_exact"] = None if freed is None else freed.exact
    if options.by:
        groups = [group for group in found.groups(options.by) if is_among(group, wanted)]
        plain["groups"] = [group.to_dict() for group in in_order(groups, options.sort)]
    part = "top by" if options.by else "top memory" if options.memory else "top"
    print_data(part, options, [plain])
