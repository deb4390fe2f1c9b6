"""Gathered: snapshots of many processes on many hosts, and in what some of them differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from procmem.arrow import Columnar, SequenceOf
from procmem.cluster.outliers import SCORE, deviations
from procmem.regions.kinds import kind_word, name_word

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from procmem.arrow import Makers
    from procmem.columns import ArrowColumn
    from procmem.regions import RegionTable
    from procmem.snapshots import Snapshot

__all__ = ["Gathered", "GatheredProcess", "GatheredUses", "HostLeftOut", "Outlier", "UnreadProcess"]

COUNTERS = ("size", "rss", "pss", "uss", "swap")
"""Sizes of regions that are compared, in bytes."""

COUNTS = ("threads", "regions")
"""Figures that are no bytes."""

LEAST = 64 << 10
"""Bytes up to which differences are not reported, unless the caller asks for less."""


@dataclass(frozen=True)
class GatheredProcess:
    """A process of a host.

    Attributes:
        host: the host's name.
        pid: its PID there.
        name: the command; of an interpreter the script.
        user: its effective user.
        snapshot: its memory.
    """

    host: str
    pid: int
    name: str
    user: str
    snapshot: Snapshot

    @property
    def regions(self) -> RegionTable[Any]:
        """Its regions, which data frames read as a table."""
        return self.snapshot.regions

    def total(self, counter: str) -> int | None:
        """Σ of a counter over its regions, in bytes; None: the detail has no such counter."""
        try:
            return self.regions.total(counter)
        except (AttributeError, ValueError):
            return None

    def uses(self) -> dict[tuple[str, str], dict[str, int | None]]:
        """Σ of each counter by kind and use, both as tables show them: with "?" if a guess."""
        found: dict[tuple[str, str], dict[str, int | None]] = {}
        for region in self.regions:
            use = "" if region.use is None else region.use.name + "?" * region.use.guess
            sums = found.setdefault((kind_word(region), use), dict.fromkeys(COUNTERS, 0))
            for counter in COUNTERS:
                value, before = getattr(region, counter, None), sums[counter]
                sums[counter] = None if value is None or before is None else before + value
        return found

    def figures(self) -> dict[tuple[str, str, str], int | None]:
        """All that is compared: (kind, use, counter), and ("", "", total) for the whole process."""
        snapshot = self.snapshot
        whole: dict[str, int | None] = {
            "vsz": snapshot.vsz,
            "rss": snapshot.rss,
            "pss": self.total("pss"),
            "uss": self.total("uss"),
            "swap": snapshot.swap,
            "page_tables": snapshot.page_tables,
            "threads": None if snapshot.threads is None else len(snapshot.threads),
            "regions": len(snapshot.regions),
        }
        found = {("", "", name): value for name, value in whole.items()}
        for (kind, use), sums in self.uses().items():
            found |= {(kind, use, counter): value for counter, value in sums.items()}
        return found


class HostLeftOut(NamedTuple):
    """A host of which there are no processes.

    Attributes:
        host: its name or address, as it was given.
        reason: why, in words.
    """

    host: str
    reason: str


class UnreadProcess(NamedTuple):
    """A chosen process that could not be read.

    Attributes:
        host, pid, name: which one; name is "" if it is not known.
        reason: why, in words.
    """

    host: str
    pid: int
    name: str
    reason: str


class Outlier(NamedTuple):
    """In what a process differs from the others. Sizes are bytes.

    Attributes:
        process: it.
        kind, use: the regions that the figure is a sum of; "": the figure is of the whole process.
        counter: "size", "rss", "pss", "uss" or "swap" of these regions; of a whole process "vsz",
            "rss", "pss", "uss", "swap", "page_tables", "threads", "regions".
        value: the figure of this process.
        median: the median over all processes that have the figure.
        mad: the median of the distances to it.
        processes: how many have it.
    """

    process: GatheredProcess
    kind: str
    use: str
    counter: str
    value: int
    median: float
    mad: float
    processes: int

    @property
    def difference(self) -> float:
        """The value less the median."""
        return self.value - self.median

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        process = {"host": self.process.host, "pid": self.process.pid, "name": self.process.name}
        return process | {
            name: getattr(self, name)
            for name in (
                *("kind", "use", "counter", "value", "median", "mad", "difference", "processes"),
            )
        }


class Gathered(Columnar, SequenceOf[GatheredProcess]):
    """Snapshots of the chosen processes of many hosts, by host and PID.

    Data frames read it as a table with one row for each process; `uses` has one for each kind and
    use of each process, and `process.regions` is the table of one process.

    Attributes:
        hosts: the hosts that answered, also those without such a process.
        left_out: the hosts of which there is nothing, with the reasons.
        unread: chosen processes that could not be read.
    """

    def __init__(
        self,
        processes: list[GatheredProcess],
        hosts: tuple[str, ...],
        left_out: tuple[HostLeftOut, ...] = (),
        unread: tuple[UnreadProcess, ...] = (),
    ) -> None:
        self._processes = sorted(processes, key=lambda one: (one.host, one.pid))
        self.hosts = hosts
        self.left_out = left_out
        self.unread = unread

    def __getitem__(self, place: Any) -> Any:
        return self._processes[place]

    def __len__(self) -> int:
        return len(self._processes)

    def __repr__(self) -> str:
        return (
            f"<Gathered: {len(self)} processes on {len(self.hosts)} hosts, "
            f"{len(self.left_out)} hosts left out>"
        )

    def outliers(self, least: int = LEAST) -> list[Outlier]:
        """In what processes differ from most others.

        A figure is an outlier if 0.6745 × its distance from the median / MAD is above 3.5, where
        MAD is the median of these distances over all processes; if more than half of them have the
        same value, MAD is 0, and any other value is one. A kind or use that a process does not have
        counts as 0. Fewer than three processes are not compared. It says in what a process differs,
        not why.

        Args:
            least: bytes; differences up to this are left out. Counts of threads and regions are
                never left out.

        Returns:
            The largest difference first.
        """
        rows = [process.figures() for process in self]
        names = {name for row in rows for name in row}
        # What a process has no region of is 0 if the detail shows the counter at all.
        shown = {
            counter
            for counter in COUNTERS
            if all(row[name] is not None for row in rows for name in row if name[2] == counter)
        }
        full = [
            {name: row.get(name, 0 if name[0] and name[2] in shown else None) for name in names}
            for row in rows
        ]
        floors = {name: 0 if name[2] in COUNTS else least for name in names}
        found = []
        for one in deviations(full, floors):
            kind, use, counter = one.figure
            figure = (one.value, one.median, one.mad, one.rows)
            found.append(Outlier(self[one.row], kind, use, counter, *figure))
        return found

    def unlike(self, outlier: Outlier) -> list[Any]:
        """The regions of an outlier that a process with the median has none like.

        Two regions are alike if kind, permissions, name, size and the outlier's counter are equal.
        For figures of a whole process all regions are compared.

        Returns:
            The regions, by address; empty also if the process with the median is the same.
        """
        typical = self.typical(outlier)
        counter = outlier.counter if outlier.counter in COUNTERS else "rss"

        def chosen(process: GatheredProcess) -> Iterator[tuple[Any, tuple[Any, ...]]]:
            for region in process.regions:
                use = "" if region.use is None else region.use.name + "?" * region.use.guess
                if not outlier.kind or (kind_word(region), use) == (outlier.kind, outlier.use):
                    figures = (region.size, getattr(region, counter, None))
                    yield region, (kind_word(region), region.perms, name_word(region), *figures)

        there = Counter(like for _, like in chosen(typical))
        found = []
        for region, like in chosen(outlier.process):
            if there[like]:
                there[like] -= 1
            else:
                found.append(region)
        return found

    def typical(self, outlier: Outlier) -> GatheredProcess:
        """The process whose figure is nearest to the median; the first of several."""
        key = (outlier.kind, outlier.use, outlier.counter)

        def distance(process: GatheredProcess) -> float:
            value = process.figures().get(key, 0)
            return float("inf") if value is None else abs(value - outlier.median)

        return min(self, key=distance)

    @property
    def uses(self) -> GatheredUses:
        """One row for each kind and use of each process, for data frames."""
        return GatheredUses(self)

    def arrow_makers(self) -> Makers:
        """What makes each column; see Columnar."""
        from functools import partial

        from procmem import columns

        def figure(name: str) -> ArrowColumn:
            values = [process.figures()["", "", name] for process in self]
            unit = None if name in COUNTS else "bytes"
            return columns.numbers(name, values).described(unit)

        makers: dict[str, Any] = {
            "host": lambda: columns.categories("host", [one.host for one in self]),
            "pid": lambda: columns.numbers("pid", [one.pid for one in self]),
            "name": lambda: columns.categories("name", [one.name for one in self]),
            "user": lambda: columns.categories("user", [one.user for one in self]),
            "time": lambda: columns.times(
                "time",
                [one.snapshot.clock and one.snapshot.clock.realtime for one in self],
            ),
        }
        for name in ("vsz", "rss", "pss", "uss", "swap", "page_tables", *COUNTS):
            makers[name] = partial(figure, name)
        return columns.sourced(makers, dict.fromkeys(makers, "snapshot"))

    def to_dict(self, least: int = LEAST) -> dict[str, Any]:
        """All of it but the regions as plain values; sizes are bytes."""
        return {
            "hosts": list(self.hosts),
            "left_out": [one._asdict() for one in self.left_out],
            "unread": [one._asdict() for one in self.unread],
            "rule": {"score": SCORE, "least": least},
            "processes": [
                {
                    "host": one.host,
                    "pid": one.pid,
                    "name": one.name,
                    "user": one.user,
                    **{name: value for (kind, _, name), value in one.figures().items() if not kind},
                    "uses": [
                        {"kind": kind, "use": use, **sums}
                        for (kind, use), sums in one.uses().items()
                    ],
                }
                for one in self
            ],
            "outliers": [one.to_dict() for one in self.outliers(least)],
        }


class GatheredUses(Columnar):
    """The memory of all gathered processes by kind and use, for data frames."""

    def __init__(self, gathered: Gathered) -> None:
        self._rows = [
            (process, kind, use, sums)
            for process in gathered
            for (kind, use), sums in process.uses().items()
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def arrow_makers(self) -> Makers:
        """What makes each column; see Columnar."""
        from functools import partial

        from procmem import columns

        def sums(counter: str) -> ArrowColumn:
            values = [row[3][counter] for row in self._rows]
            return columns.numbers(counter, values).described("bytes")

        words: Mapping[str, list[str]] = {
            "host": [row[0].host for row in self._rows],
            "name": [row[0].name for row in self._rows],
            "kind": [row[1] for row in self._rows],
            "use": [row[2] for row in self._rows],
        }
        makers: dict[str, Any] = {
            name: partial(columns.categories, name, values) for name, values in words.items()
        }
        makers["pid"] = lambda: columns.numbers("pid", [row[0].pid for row in self._rows])
        makers |= {counter: partial(sums, counter) for counter in COUNTERS}
        return columns.sourced(makers, dict.fromkeys(makers, "snapshot"))
