"""What the screen shows: from what the user asks for, lines above and rows."""

from __future__ import annotations

import time
from typing import NamedTuple

from procmem.errors import ParseError
from procmem.screen.inside import MapRows, ThreadRows, UseRows
from procmem.screen.listing import SORTS, TREND, GroupRows, ProcessRows
from procmem.screen.opened import EVERY, FollowedProcess, ReplayedProcess
from procmem.screen.tables import ScreenTable, TextPiece, TextRows, spark
from procmem.system.machine import GROUPINGS
from procmem.units import about, approximate, count, in_unit, unit_name
from procmem.view.columns import pairs, prose, wrapped
from procmem.view.diff import heap_rows
from procmem.view.heap import heap_text
from procmem.view.names import printable, shorter
from procmem.view.top import memory_table, overview_sentence, unread_note, uses_of_machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from procmem.screen.engine import ScreenEngine
    from procmem.screen.opened import OpenedProcess
    from procmem.snapshots import Snapshot
    from procmem.system.following import MachineFrame

__all__ = [
    "BY",
    "READING",
    "TABS",
    "UNIT",
    "UNIT_INSIDE",
    "AskedView",
    "LastTable",
    "Shown",
    "SortKeys",
    "list_view",
    "memory_view",
    "process_view",
    "sort_keys",
]

BY = ("", *GROUPINGS)

TABS = ("uses", "map", "changes", "threads", "heap")

UNIT = "MiB"
UNIT_INSIDE = "human"
"""Most regions have less than a tenth of a MiB."""

READING = "Reading ..."

MOST_CHANGES = 30
"""Snapshots whose changes are listed."""

PATIENCE = 0.3
"""Seconds after which no more of them are computed."""

SortKeys = tuple[str, ...]


class AskedView(NamedTuple):
    """What the user asks to see.

    Attributes:
        page: "list", "process", "memory" or "help".
        number: of the frame or snapshot; None: the last one, as it comes.
        width: cells of a line.
        unit: of sizes; empty: MiB for the machine, "human" for one process.
        filtered: a text that rows must have.
        sort: the key of the column to sort by; empty: as the table wants it.
        by: what groups have in common; empty: single processes.
        only: PIDs of the processes to list, with the name of what they are; None: all.
        tab: of an open process, one of TABS.
    """

    page: str = "list"
    number: int | None = None
    width: int = 80
    unit: str = ""
    filtered: str = ""
    sort: str = ""
    by: str = ""
    only: tuple[str, frozenset[int]] | None = None
    tab: str = "uses"


class Shown(NamedTuple):
    """What is to be drawn.

    Attributes:
        asked: what it answers.
        title: the first line.
        state: the second line: live or not, how old, what it costs.
        table: the rows.
        number: the frame or snapshot that is shown; None: there is none yet.
        message: what is said in place of rows, if there are none.
    """

    asked: AskedView
    title: list[TextPiece]
    state: list[TextPiece]
    table: ScreenTable
    number: int | None
    message: str = ""


class LastTable:
    """The table that was made last: what has not changed is neither made nor drawn again."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._table: ScreenTable = TextRows([])

    def get(self, key: Hashable, make: Callable[[], ScreenTable]) -> ScreenTable:
        """The last table, if it was made for the same key; otherwise a new one."""
        if key != self._key:
            self._table, self._key = make(), key
        return self._table


def sort_keys(table: ScreenTable) -> SortKeys:
    """The keys that the rows of a table can be sorted by."""
    if isinstance(table, ProcessRows):
        return SORTS
    if isinstance(table, GroupRows):
        return ("pss", "rss", "uss", "swap", "frees", "name")
    if isinstance(table, UseRows):
        return ("rss", "size", "pss", "uss", "swap", "name")
    if isinstance(table, MapRows):
        return ("start", "size", "rss", "pss", "swap", "name")
    return ()


# ---- the machine -------------------------------------------------------------------


def list_view(asked: AskedView, engine: ScreenEngine, last: LastTable | None = None) -> Shown:
    """The processes, or groups of them.

    Args:
        asked: what is asked for.
        engine: what it is read by.
        last: the table that was made last.
    """
    last = last or LastTable()
    shown = list_shown(asked._replace(unit=asked.unit or UNIT), engine, last)
    return shown._replace(asked=shown.asked._replace(unit=asked.unit))


def list_shown(asked: AskedView, engine: ScreenEngine, last: LastTable) -> Shown:
    """As list_view(), with a unit."""
    frames = engine.frames
    try:
        past = frames.last(asked.number, TREND)
        frame = engine.now if asked.number is None else frames.frame(asked.number)
    except IndexError:
        # It was dropped meanwhile: the oldest that is left.
        asked = asked._replace(number=frames.first)
        past = frames.last(asked.number, TREND)
        frame = frames.frame(frames.first)
    if frame is None:
        return Shown(asked, [TextPiece("procmem top", "bold")], [], TextRows([]), None, READING)
    if not past or past[-1] is not frame:
        past = [*past, frame]
    number = frames.end - 1 if asked.number is None else asked.number
    fresh = 2 * engine.follower.every + 1

    def make() -> ScreenTable:
        sort, filtered, unit = asked.sort or "pss", asked.filtered, asked.unit
        if asked.by:
            groups = frame.machine.groups(asked.by)
            return GroupRows(groups, asked.by, sort=sort, filtered=filtered, unit=unit)
        only = None if asked.only is None else asked.only[1]
        return ProcessRows(past, sort=sort, filtered=filtered, only=only, unit=unit, fresh=fresh)

    # A frame is another one if it was made at another time.
    table = last.get((frame.at, asked._replace(number=None)), make)
    message = "" if table else "No process has that in its PID, user, name or command line."
    title = machine_title(frame, asked)
    return Shown(asked, title, machine_state(asked, engine, frame), table, number, message)


def machine_title(frame: MachineFrame, asked: AskedView) -> list[TextPiece]:
    machine = frame.machine
    if asked.only is not None:
        return [
            TextPiece(f"{printable(asked.only[0])}: ", "bold"),
            TextPiece(count(len(asked.only[1]), "process")),
        ]
    uses = uses_of_machine(machine)
    who = "processes" if uses.hidden else count(len(machine.processes), "process")
    return [
        TextPiece(about(machine.total), "bold"),
        TextPiece(f": {who} "),
        TextPiece(about(uses.processes), "bold"),
        TextPiece(", cache "),
        TextPiece(about(uses.cache), "bold"),
        TextPiece(", kernel "),
        TextPiece(about(uses.kernel), "bold"),
        TextPiece(", free "),
        TextPiece(about(uses.free), "bold"),
    ]


def machine_state(asked: AskedView, engine: ScreenEngine, frame: MachineFrame) -> list[TextPiece]:
    kept = engine.frames
    found = state_of(asked, kept.first, kept.end, frame.realtime)
    if not engine.follower.rounds:
        found.append(TextPiece(", first reading goes on"))
    elif asked.number is None:
        age = max(0.0, time.monotonic() - frame.at) + frame.oldest
        if age > 2 * engine.follower.every + 1:
            found.append(TextPiece(f", oldest {seconds(age)} old", "bold"))
    unread = len(frame.machine.unread)
    if unread:
        found.append(TextPiece(f", {unread:,} not read (m)", "bold"))
    found.append(cost(engine))
    return found


def cost(engine: ScreenEngine) -> TextPiece:
    """The share of a CPU that is used."""
    used = engine.used
    said = "" if used is None else f"{100 * used:.1f} of "
    return TextPiece(f", CPU {said}{100 * engine.share:.3g} %")


def named(unit: str) -> str:
    """The unit, where not every figure has its own."""
    return f", {unit_name(unit)}" if unit_name(unit) else ""


def state_of(asked: AskedView, first: int, end: int, realtime: float | None) -> list[TextPiece]:
    """Whether what is shown is live; the number of it among those that are kept."""
    when = ""
    if realtime is not None:
        when = time.strftime("%H:%M:%S", time.localtime(realtime))
    if asked.number is None:
        return [
            TextPiece("live", "reverse"),
            TextPiece(f" {when}{named(asked.unit)}, {end - first:,} kept"),
        ]
    place = f" {when}{named(asked.unit)}, {asked.number - first + 1:,} of {end - first:,} kept"
    return [TextPiece("PAUSED", "reverse bold"), TextPiece(place)]


def seconds(value: float) -> str:
    """A time in words.

    >>> seconds(4.4), seconds(75), seconds(7300)
    ('4 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def memory_view(asked: AskedView, engine: ScreenEngine) -> Shown:
    """What the memory of the machine is used for, and which processes could not be read."""
    shown = list_view(asked._replace(by="", only=None, filtered=""), engine)
    unit = asked.unit or UNIT
    if not isinstance(shown.table, ProcessRows):
        return shown._replace(asked=asked)
    machine = shown.table.frame.machine
    text = prose(overview_sentence(machine), asked.width) + "\n"
    text += memory_table(machine, unit=unit, width=asked.width)
    note = unread_note(machine, asked.width)
    text += f"\n{note}" if note else ""
    return shown._replace(asked=asked, table=TextRows(text.splitlines()), message="")


# ---- one process -------------------------------------------------------------------


def process_view(
    asked: AskedView,
    opened: OpenedProcess,
    engine: ScreenEngine,
    last: LastTable | None = None,
) -> Shown:
    """An open process: a tab of the snapshot that is asked for.

    Args:
        asked: what is asked for.
        opened: the process.
        engine: what it is read by.
        last: the table that was made last.
    """
    given = asked.unit
    asked = asked._replace(unit=given or UNIT_INSIDE)
    shown = process_shown(asked, opened, engine, last or LastTable())
    return shown._replace(asked=shown.asked._replace(unit=given))


def process_shown(
    asked: AskedView, opened: OpenedProcess, engine: ScreenEngine, last: LastTable
) -> Shown:
    """As process_view(), with a unit."""
    number = opened.end - 1 if asked.number is None else asked.number
    number = max(number, opened.first)
    if asked.number is not None and asked.number != number:
        asked = asked._replace(number=number)
    title = [
        TextPiece(f"{'' if opened.pid is None else opened.pid} {printable(opened.name)}", "bold")
    ]
    if not opened.end:
        return unopened(asked, opened, title, engine)
    try:
        snapshot = opened.snapshot(number)
        key = (id(opened), number, asked._replace(number=None))
        if asked.tab in {"changes", "heap"}:
            # What they show may come later than the snapshot.
            table = tab_of(asked, opened, number, snapshot)
        else:
            table = last.get(key, lambda: tab_of(asked, opened, number, snapshot))
    except (IndexError, ParseError) as error:
        said = printable(str(error)) if isinstance(error, ParseError) else "It is no longer kept."
        rows = TextRows([*wrapped(said, asked.width)])
        return Shown(asked, title, [], rows, number)
    title += figures_of_snapshot(opened, number, snapshot, asked.unit)
    state = process_state(asked, opened, number, snapshot, engine)
    message = "" if table else nothing(asked)
    return Shown(asked, title, state, table, number, message)


def unopened(
    asked: AskedView, opened: OpenedProcess, title: list[TextPiece], engine: ScreenEngine
) -> Shown:
    """A process of which there is no snapshot: not yet, or it can't be read."""
    failed = opened.failed if isinstance(opened, FollowedProcess) else ""
    if not failed:
        return Shown(asked, title, [cost(engine)], TextRows([]), None, READING)
    lines: list[str] = [f"It can't be read: {printable(failed)}"]
    totals = opened.totals if isinstance(opened, FollowedProcess) else None
    if totals is not None:
        size = in_unit(asked.unit)
        lines += ["", "What every user may read (/proc/PID/status):"]
        sizes = {
            "VSZ": totals.vsz,
            "RSS": totals.rss,
            "anonymous": totals.rss_anon,
            "files": totals.rss_file,
            "shared memory": totals.rss_shmem,
            "swap": totals.swap,
            "page tables": totals.page_tables,
            "peak RSS": totals.peak_rss,
        }
        rows = [
            (name, f"{size(value)} {unit_name(asked.unit)}".rstrip())
            for name, value in sizes.items()
        ]
        lines += [f"  {line}" for line in pairs(rows, asked.width).splitlines()]
    shown = [part for line in lines for part in (wrapped(line, asked.width) if line else [""])]
    return Shown(asked, title, [TextPiece("not read", "reverse bold")], TextRows(shown), None)


def nothing(asked: AskedView) -> str:
    """What is said where a table has no rows."""
    if asked.filtered:
        return "Nothing has that in its name, kind, use, permissions or path (Esc: all)."
    if asked.tab == "threads":
        return "No threads are known of this snapshot."
    return "It has no memory."


def figures_of_snapshot(
    opened: OpenedProcess, number: int, snapshot: Snapshot, unit: str
) -> list[TextPiece]:
    """The figures of the whole process, and how RSS got there."""
    size = in_unit(unit)
    rss = size(snapshot.rss)
    if snapshot.rss is not None:
        rss = approximate(rss, snapshot.rss_error)
    _, values = opened.series(number, TREND)
    found = [
        TextPiece("  RSS "),
        TextPiece(rss, "bold"),
        TextPiece(f" {spark(values, TREND).strip()} ", "trend"),
        TextPiece(" VSZ "),
        TextPiece(size(snapshot.vsz), "bold"),
    ]
    if snapshot.swap:
        found += [TextPiece("  swap "), TextPiece(size(snapshot.swap), "bold")]
    found.append(TextPiece(f" {unit_name(unit)}".rstrip()))
    return [*found, TextPiece(f"  {len(snapshot.regions):,} regions")]


def process_state(
    asked: AskedView, opened: OpenedProcess, number: int, snapshot: Snapshot, engine: ScreenEngine
) -> list[TextPiece]:
    """Live, paused, ended or replayed; the level of detail; how old that is."""
    realtime = None if snapshot.clock is None else snapshot.clock.realtime / 1e9
    if isinstance(opened, ReplayedProcess):
        found = [TextPiece("replay", "reverse")]
        when = opened.time_of(number)
        at = "" if when is None else f" {when:.1f} s,"
        found.append(TextPiece(f"{at} {number + 1:,} of {opened.end:,}"))
        if number == opened.end - 1 and opened.ended:
            found.append(TextPiece(f", {printable(opened.ended)}", "bold"))
    else:
        found = state_of(asked, opened.first, opened.end, realtime)
        if not opened.live:
            found[:1] = [TextPiece("ended", "reverse bold")]
            why = opened.ended or (opened.failed if isinstance(opened, FollowedProcess) else "")
            found.append(TextPiece(f", {printable(why)}", "bold"))
    if snapshot.detail != "smaps":
        found.append(TextPiece(f", detail: {snapshot.detail}", "bold"))
    if snapshot.moved:
        found.append(TextPiece(", it changed meanwhile"))
    if opened.live:
        found += [*delay(asked, opened), cost(engine)]
    return found


def delay(asked: AskedView, opened: OpenedProcess) -> list[TextPiece]:
    """How long ago the process was checked, if the share of a CPU delays that."""
    if asked.number is not None or not isinstance(opened, FollowedProcess):
        return []
    age = time.monotonic() - opened.checked_at
    return [TextPiece(f", checked {seconds(age)} ago", "bold")] if age > 2 * EVERY + 1 else []


def tab_of(asked: AskedView, opened: OpenedProcess, number: int, snapshot: Snapshot) -> ScreenTable:
    """The rows of a tab."""
    sort, filtered, unit = asked.sort, asked.filtered, asked.unit
    makers: dict[str, Callable[[], ScreenTable]] = {
        "uses": lambda: UseRows(snapshot, sort=sort or "rss", filtered=filtered, unit=unit),
        "map": lambda: MapRows(snapshot, sort=sort or "start", filtered=filtered, unit=unit),
        "threads": lambda: ThreadRows(snapshot, filtered=filtered, unit=unit),
        "changes": lambda: changes_rows(asked, opened, number),
        "heap": lambda: heap_lines(asked, opened, number, snapshot),
    }
    return makers[asked.tab]()


def changes_rows(asked: AskedView, opened: OpenedProcess, number: int) -> TextRows:
    """What changed, newest first."""
    begun = time.monotonic()
    lines: list[str | TextPiece] = []
    low = max(opened.first, number - MOST_CHANGES)
    for at in range(number, low, -1):
        if lines and time.monotonic() - begun > PATIENCE:
            low = at
            break
        for place, line in enumerate(opened.changes(at)):
            if asked.filtered and asked.filtered.lower() not in line.lower():
                continue
            style = "bold" if not place else ""
            indent = len(line) - len(line.lstrip(" "))
            cut = wrapped(line.strip(" "), max(asked.width - indent - 2, 1))
            lines += [TextPiece(" " * (indent + 2 * bool(nth)) + one, style)
                      for nth, one in enumerate(cut)]  # fmt: skip
    if low > opened.first:
        lines.append(TextPiece("Earlier changes: step back (left arrow).", "dim"))
    elif opened.first:
        lines.append(TextPiece("Earlier snapshots are no longer kept.", "dim"))
    else:
        since = opened.snapshot(opened.first).clock
        at_first = "" if since is None else time.strftime(
            "%H:%M:%S", time.localtime(since.realtime / 1e9)
        )  # fmt: skip
        lines.append(TextPiece(f"{at_first}  the first snapshot".strip(), "dim"))
    return TextRows(lines)


def heap_lines(
    asked: AskedView, opened: OpenedProcess, number: int, snapshot: Snapshot
) -> TextRows:
    """What malloc and Python hold: of the snapshot, and of the last reading in full."""
    width, unit = asked.width, asked.unit
    size, name = in_unit(unit), unit_name(unit)
    text = ""
    if snapshot.heap is None:
        why = snapshot.unavailable.get("heap", "the heap is read now and then, as --share allows")
        text += prose(f"Not read with this snapshot: {printable(why)}.", width)
    else:
        rows = heap_rows(snapshot.heap, lambda value: f"{size(value)} {name}".rstrip())
        text += pairs(rows, width) if rows else prose("No heap of glibc or CPython.", width)
    if not isinstance(opened, FollowedProcess):
        return TextRows(text.splitlines())
    if opened.heap_failed:
        text += prose(f"It can't be read: {printable(opened.heap_failed)}.", width)
    if opened.heap is not None:
        when = "now"
        if opened.heap_number != number:
            when = f"of snapshot {opened.heap_number - opened.first + 1} (R: read it again)"
        text += "\n" + prose(f"In full, {when}:", width)
        text += heap_text(opened.heap, width=width, unit=unit, arenas=True)
    elif opened.live:
        text += "\n" + prose("R: read it in full.", width)
    return TextRows([shorter(line, max(width, 1)) for line in text.splitlines()])
