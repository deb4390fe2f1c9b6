"""The processes of the machine by their memory, groups of them, and the parts of MemTotal."""

from __future__ import annotations

from typing import NamedTuple

from procmem.units import about, in_unit, unit_name
from procmem.view.colours import by_use
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import printable, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from procmem.system.machine import Machine, ProcessGroup
    from procmem.system.processes import Freed, MachineProcess

__all__ = ["freed_sentence", "group_table", "memory_table", "process_table", "unread_note"]

Sizes = ("rss", "pss", "uss", "swap", "huge", "ksm")

SIZE_COLUMNS = (
    Column("rss", "RSS", ">", 2),
    Column("pss", "PSS", ">"),
    Column("uss", "USS", ">", 3),
    Column("swap", "Swap", ">", 4),
    Column("huge", "Huge", ">", 6),
    Column("ksm", "KSM", ">", 7),
    Column("frees", "Frees", ">"),
)

OR_MORE = "+"
"""Behind a figure that is a lower bound."""

MOST_NAMED = 5


def figures(found: MachineProcess | ProcessGroup, figure: Callable[[int | None], str]) -> list[str]:
    """The sizes of a process or a group, as texts."""
    return [*(figure(getattr(found, name)) for name in Sizes), freed_figure(found.freed, figure)]


def freed_figure(freed: Freed | None, figure: Callable[[int | None], str]) -> str:
    if freed is None:
        return figure(None)
    return figure(freed.size) + ("" if freed.exact else OR_MORE)


def process_table(
    processes: Sequence[MachineProcess],
    *,
    total: ProcessGroup,
    unit: str = "MiB",
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """A row for each process, and their sums.

    Args:
        processes: those to list, in their order.
        total: those that the last row adds up.
        unit: of sizes, one of units.UNITS.
        width: cells per line; None: as many as needed.
        chosen: keys of the columns to show, in their order; None: all.

    Raises:
        BadArgument: there is no such column.
    """
    figure = in_unit(unit)
    made = [
        Column("pid", "PID", ">"),
        Column("user", "User", rank=5, floor=8),
        *SIZE_COLUMNS,
        Column("name", "Name", floor=12),
        Column("command", "Command", rank=8, floor=24),
    ]
    rows = [
        [
            str(process.pid),
            printable(process.user),
            *figures(process, figure),
            printable(process.name),
            printable(process.command),
        ]
        for process in processes
    ]
    footer = [unit_name(unit), "", *figures(total, figure), plural(len(total)), ""]
    text = fitted(made, rows, footer=footer, width=width, chosen=chosen)
    return text + unit_line(unit, "pid", chosen)


def group_table(
    groups: Sequence[ProcessGroup],
    by: str,
    *,
    total: ProcessGroup,
    unit: str = "MiB",
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """A row for each group of processes, and the sums of all; arguments as of process_table()."""
    figure = in_unit(unit)
    made = [
        Column("processes", "Processes", ">", 1),
        *SIZE_COLUMNS,
        Column("name", by.capitalize(), floor=16, keep_end=by == "cgroup"),
    ]
    rows = [[str(len(group)), *figures(group, figure), printable(group.name)] for group in groups]
    footer = [str(len(total)), *figures(total, figure), f"total, {unit_name(unit)}".rstrip(", ")]
    text = fitted(made, rows, footer=footer, width=width, chosen=chosen)
    return text + unit_line(unit, "name", chosen)


def unit_line(unit: str, key: str, chosen: Sequence[str] | None) -> str:
    """A line with the unit of the figures, where the column that has it was not chosen."""
    if chosen is None or key in chosen or not unit_name(unit):
        return ""
    return f"Sizes in {unit_name(unit)}.\n"


def plural(number: int) -> str:
    return f"{number:,} process{'' if number == 1 else 'es'}"


class MachineUses(NamedTuple):
    """What the memory of the machine is used for, in bytes.

    Attributes:
        processes: memory that processes map.
        cache: page cache that no process maps.
        kernel: the rest.
        free: memory that is free.
        hidden: whether most processes are others', as in a container: only their sum is known.
    """

    processes: int
    cache: int
    kernel: int
    free: int
    hidden: bool


def uses_of_machine(machine: Machine) -> MachineUses:
    """The parts of MemTotal in four sums."""
    sizes = {part.name: part.size for part in machine.parts}
    processes = sizes["processes"] + sizes["mapped by processes that were not read"]
    cache = sum(size for name, size in sizes.items() if "that no process maps" in name)
    free = sum(size for name, size in sizes.items() if name.startswith("free"))
    kernel = machine.total - processes - cache - free
    return MachineUses(processes, cache, kernel, free, processes > 2 * sizes["processes"])


def overview_sentence(machine: Machine) -> str:
    """What the memory of the machine is used for, in one sentence."""
    uses = uses_of_machine(machine)
    who = "processes use" if uses.hidden else f"{plural(len(machine.processes))} use"
    return (
        f"Of {about(machine.total)}, {who} {about(uses.processes)}, "
        f"page cache that no process maps {about(uses.cache)}, the kernel {about(uses.kernel)}; "
        f"{about(uses.free)} is free."
    )


def freed_sentence(group: ProcessGroup) -> str:
    """What ending the processes of a group would free."""
    freed = group.freed
    members = group.processes
    if len(members) == 1:
        (only,) = members
        who = f"{only.pid} ({shorter(printable(only.name), 40)})"
    else:
        who = f"these {plural(len(members))} together"
    if freed is None:
        return f"What ending {who} would free is not known: not readable by this user."
    least = "" if freed.exact else "at least "
    said = f"Ending {who} would free {least}{about(freed.size)}"
    if freed.shared:
        said += f", {about(freed.shared)} of it shared anonymous memory that nobody else maps"
    rss = group.rss
    if rss is not None and rss > freed.size and freed.exact:
        said += f", of {about(rss)} RSS"
    return said + "."


def most_sentence(processes: Sequence[MachineProcess]) -> str:
    """Which process uses most, and what ending it would free."""
    known = [process for process in processes if process.pss is not None]
    if not known:
        return ""
    most = max(known, key=lambda process: process.pss or 0)
    who = f"{shorter(printable(most.name), 40)} ({most.pid})"
    # PSS is RSS at most.
    if all(
        process.pss is not None or (process.rss or 0) <= (most.pss or 0) for process in processes
    ):
        said = f"{who} uses most"
    elif len(known) == 1:
        said = f"Only {who} could be read"
    else:
        said = f"Of the {plural(len(known))} that could be read, {who} uses most"
    said += f": {about(most.pss or 0)} PSS"
    freed = most.freed
    if freed is None:
        return said + "."
    return f"{said}; ending it would free {'' if freed.exact else 'at least '}{about(freed.size)}."


def group_sentence(groups: Sequence[ProcessGroup]) -> str:
    """Which group uses most, and what ending it would free."""
    if not groups or groups[0].pss is None:
        return ""
    most = max(groups, key=lambda group: group.pss or 0)
    certain = all(
        not group.unread or (group.rss or 0) <= (most.pss or 0)
        for group in groups
        if group is not most
    )
    said = (
        f"{'' if certain else 'Of what could be read, '}{shorter(printable(most.name), 60)} uses "
        f"most: {about(most.pss or 0)} PSS in {plural(len(most))}"
    )
    freed = most.freed
    if freed is None:
        return said + "."
    ending = "ending it" if len(most) == 1 else "ending them all"
    least = "" if freed.exact else "at least "
    return f"{said}; {ending} would free {least}{about(freed.size)}."


def notes(machine: Machine, hidden: int, *, bounds: bool, width: int | None) -> str:
    """What the tables leave out, and what their signs mean."""
    found = ""
    if hidden:
        found += prose(f"Not shown: {hidden:,} more (--limit 0 shows all).", width)
    if bounds:
        why = (
            "a process that was not read, or that started or ended meanwhile, may map it, too"
            if machine.has_frames
            else "without page frames (root) only what each process has for itself is known"
        )
        found += prose(
            "Frees: memory that nobody else maps; the page cache stays. "
            f"{OR_MORE}: or more; {why}.",
            width,
        )
    return found + unread_note(machine, width)


def unread_note(machine: Machine, width: int | None) -> str:
    """Which processes could not be read, and why."""
    found = ""
    by_reason: dict[str, list[MachineProcess]] = {}
    for process in machine.unread:
        # The estimates of --max-stall differ.
        by_reason.setdefault(process.unread.partition(":")[0], []).append(process)
    for reason, processes in by_reason.items():
        named = [f"{process.pid} ({shorter(printable(process.name), 20)})" for process in processes]
        more = len(named) - MOST_NAMED
        listed = ", ".join(named[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
        rss = sum(process.rss or 0 for process in processes)
        found += prose(
            f"Not read, {printable(reason)}: {plural(len(processes))} with {about(rss)} RSS: "
            f"{listed}.",
            width,
        )
    return found


def memory_table(
    machine: Machine,
    *,
    unit: str = "MiB",
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """The parts of MemTotal, the remainder and its likely causes; arguments as process_table()."""
    figure = in_unit(unit)
    made = [
        Column("size", unit_name(unit) or "Size", ">"),
        Column("part", "Part", floor=20, paint=by_use),
        Column("source", "Computed from", rank=1, floor=16),
    ]
    rows = [
        [figure(part.size), part.name, part.source]
        for part in machine.parts
        if part.size or part.name == "processes"
    ]
    remainder = machine.remainder
    sign = "-" if remainder < 0 else ""
    rows.append([sign + figure(abs(remainder)), "remainder", "MemTotal - all parts"])
    footer = [figure(machine.total), "in all", "MemTotal"]
    text = fitted(made, rows, footer=footer, width=width, chosen=chosen) + "\n"
    for part in machine.parts:
        if part.note and part.size:
            text += prose(f"{part.name}: {part.note}.", width, "  ")
    causes = "; ".join(machine.causes)
    return text + prose(f"Likely causes of the remainder: {causes}.", width, "  ")
