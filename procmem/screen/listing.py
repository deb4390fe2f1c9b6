"""The processes of the machine, and groups of them, as rows of the screen."""

from __future__ import annotations

from procmem.screen.tables import ScreenTable, TextPiece, ordered, spark
from procmem.units import in_unit, signed_in_unit
from procmem.view.columns import Column
from procmem.view.names import printable
from procmem.view.top import freed_figure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from procmem.system.following import MachineFrame
    from procmem.system.machine import ProcessGroup
    from procmem.system.processes import MachineProcess

__all__ = ["RISING", "SORTS", "GroupRows", "ProcessRows", "identity", "matches"]

TREND = 12
"""How many readings a trend shows."""

SIZE = 8
"""Cells of a size."""

SORTS = ("pss", "rss", "uss", "swap", "frees", "change", "pid", "user", "name")

RISING = frozenset({"pid", "user", "name", "start"})
"""Columns that are sorted in ascending order; others show the largest first."""

SIZES = (
    Column("rss", "RSS", ">", 1),
    Column("pss", "PSS", ">"),
    Column("uss", "USS", ">", 3),
    Column("swap", "Swap", ">", 6),
    Column("frees", "Frees", ">", 4),
)


def identity(process: MachineProcess) -> tuple[int, int]:
    """What a process is known by: no two ever have the same PID and start time."""
    return process.pid, process.start_time


def matches(process: MachineProcess, text: str) -> bool:
    """Whether a text is in the PID, user, name or command line; case does not matter."""
    words = f"{process.pid} {process.user} {process.name} {process.command}"
    return text.lower() in words.lower()


class ProcessRows(ScreenTable):
    """A row for each process.

    Args:
        frames: the last frames, up to the one to show.
        sort: one of SORTS.
        filtered: a text that is searched for, see matches().
        only: the PIDs of the processes to show; None: all.
        unit: of sizes, one of units.UNITS.
        fresh: seconds up to which the age of a reading is not shown.
    """

    def __init__(
        self,
        frames: Sequence[MachineFrame],
        *,
        sort: str = "pss",
        filtered: str = "",
        only: frozenset[int] | None = None,
        unit: str = "MiB",
        fresh: float = 5.0,
    ) -> None:
        self.frames = frames[-TREND:]
        self.frame = frames[-1]
        self.processes = self.frame.machine.processes
        self.fresh = fresh
        self._size = in_unit(unit)
        wide = SIZE + {"KiB": 1, "B": 4}.get(unit, 0)
        rows = [
            row
            for row, process in enumerate(self.processes)
            if (only is None or process.pid in only)
            and (not filtered or matches(process, filtered))
        ]
        # What is equal, or not known, is in the order of RSS.
        rows.sort(key=lambda row: -(self.processes[row].rss or 0))
        if sort == "change":
            self.rows = ordered(rows, self.change, rising=False)
        else:
            self.rows = ordered(
                rows, lambda row: getattr(self.processes[row], sort), rising=sort in RISING
            )
        self.ages = any(self.age(row) > fresh for row in rows)
        columns = [
            Column("pid", "PID", ">"),
            Column("user", "User", rank=5),
            *SIZES,
            Column("change", "Change", ">", 2),
            Column("trend", "Trend", rank=1),
            *([Column("age", "Age", ">")] if self.ages else []),
            Column("name", "Name", floor=12),
            Column("command", "Command", rank=8, floor=24),
        ]
        user = max((len(printable(self.processes[row].user)) for row in rows), default=4)
        name = max((len(printable(self.processes[row].name)) for row in rows), default=4)
        widths = [7, min(max(user, 4), 10), *[wide] * len(SIZES), wide, TREND]
        widths += [5] if self.ages else []
        super().__init__(columns, [*widths, min(max(name, 12), 40), 60], len(rows), sort)

    def process(self, row: int) -> MachineProcess:
        """The process of a row."""
        return self.processes[self.rows[row]]

    def key(self, row: int) -> Hashable:
        """The PID and start time."""
        return identity(self.process(row))

    def age(self, place: int) -> float:
        """How old the reading of a process is, in seconds, at the time of the frame."""
        return self.frame.at - self.frame.taken_at[place]

    def series(self, place: int) -> list[int | None]:
        """RSS of a process in the last frames."""
        key = identity(self.processes[place])
        found = [frame.process(*key) for frame in self.frames[:-1]]
        values = [None if one is None else one.rss for one in found]
        return [*values, self.processes[place].rss]

    def change(self, place: int) -> int | None:
        """By how much RSS has changed since the first of the last frames that has it."""
        now = self.processes[place].rss
        for frame in self.frames[:-1]:
            then = frame.process(*identity(self.processes[place]))
            if then is not None and then.rss is not None and now is not None:
                return now - then.rss
        return None

    def cells(self, row: int) -> Sequence[str | TextPiece]:
        """The texts of a row."""
        place = self.rows[row]
        one, size = self.processes[place], self._size
        change, age = self.change(place), self.age(place)
        dim = "dim" if one.unread else ""
        return [
            str(one.pid),
            printable(one.user),
            size(one.rss),
            TextPiece(size(one.pss), dim),
            TextPiece(size(one.uss), dim),
            TextPiece(size(one.swap), dim),
            TextPiece(freed_figure(one.freed, size), dim),
            TextPiece(signed_in_unit("human")(change) if change else "", "bold"),
            TextPiece(spark(self.series(place), TREND), "trend"),
            *([f"{age:.0f}s" if age > self.fresh else ""] if self.ages else []),
            printable(one.name),
            TextPiece(printable(one.command), "dim"),
        ]


class GroupRows(ScreenTable):
    """A row for each group of processes.

    Args:
        groups: the groups.
        by: what they have in common, one of machine.GROUPINGS.
        sort: one of SORTS.
        filtered: a text that is searched for in their names.
        unit: of sizes.
    """

    def __init__(
        self,
        groups: Sequence[ProcessGroup],
        by: str,
        *,
        sort: str = "pss",
        filtered: str = "",
        unit: str = "MiB",
    ) -> None:
        self.groups = [one for one in groups if filtered.lower() in one.name.lower()]
        self._size = in_unit(unit)
        sort = sort if sort in {"pss", "rss", "uss", "swap", "frees", "name"} else "pss"
        self.rows = ordered(
            range(len(self.groups)),
            lambda row: getattr(self.groups[row], sort),
            rising=sort in RISING,
        )
        wide = SIZE + {"KiB": 1, "B": 4}.get(unit, 0)
        columns = [
            Column("processes", "Processes", ">", 5),
            *SIZES,
            Column("name", by.capitalize(), floor=12, keep_end=by == "cgroup"),
        ]
        super().__init__(columns, [9, *[wide] * len(SIZES), 40], len(self.groups), sort)

    def group(self, row: int) -> ProcessGroup:
        """The group of a row."""
        return self.groups[self.rows[row]]

    def key(self, row: int) -> Hashable:
        """The name of the group."""
        return self.group(row).name

    def cells(self, row: int) -> Sequence[str | TextPiece]:
        """The texts of a row."""
        one, size = self.group(row), self._size
        return [
            f"{len(one):,}",
            size(one.rss),
            size(one.pss),
            size(one.uss),
            size(one.swap),
            freed_figure(one.freed, size),
            printable(one.name),
        ]
