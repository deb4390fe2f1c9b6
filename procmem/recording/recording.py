"""A recording: the snapshots of one process in the order of time, its peaks and its growth."""

from __future__ import annotations

import os
from functools import cached_property, partial
from typing import NamedTuple, overload

from procmem.arrow import Columnar, SequenceOf
from procmem.columns import categories, floats, numbers, sourced, times
from procmem.recording.growth import grown
from procmem.recording.packed import PackedSnapshots, figures_of, read_index, times_of
from procmem.snapshots import diff
from procmem.snapshots.saved import save_all

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from matplotlib.axes import Axes

    from procmem.arrow import Makers
    from procmem.columns import ArrowColumn
    from procmem.recording.growth import Growth
    from procmem.recording.packed import SnapshotFigures
    from procmem.recording.suspects import Suspect
    from procmem.recording.traced import CallsBetween
    from procmem.snapshots import Diff, Snapshot
    from procmem.snapshots.moment import Clock
    from procmem.tracing.events import MemoryCall, Trace
    from procmem.tracing.saved import SavedCall

__all__ = ["FigureRows", "Peak", "Recording"]


class Peak(NamedTuple):
    """The largest value of a figure.

    Attributes:
        value: in bytes.
        at: the number of the first snapshot that has it.
        seconds: from the first snapshot to that one; None: the snapshots have no clocks.
    """

    value: int
    at: int
    seconds: float | None


class Recording(Columnar, SequenceOf["Snapshot"]):
    """Snapshots of one process in the order of time.

    A recording that was loaded or recorded keeps its snapshots packed, and unpacks each when it is
    asked for.

    Args:
        snapshots: the snapshots.
        ended: why the recording ended, in words; empty if that is not known.
    """

    def __init__(self, snapshots: Sequence[Snapshot], ended: str = "") -> None:
        self._snapshots = snapshots if isinstance(snapshots, PackedSnapshots) else tuple(snapshots)
        self.ended = ended

    @staticmethod
    def load(path: str | os.PathLike[str], *, damaged: bool = False) -> Recording:
        """Loads a recording from a file. A file that was cut off loads up to its last snapshot.

        Args:
            path: the file. It stays open, since snapshots are read when they are asked for.
            damaged: load a damaged file, too, up to the last snapshot before the damage; `ended`
                says so.

        Raises:
            ParseError: the file is not a recording, or is damaged, or has no whole snapshot.
            OSError
        """
        frames, fault = read_index(path)
        if fault is None:
            return Recording(frames)
        if frames and "cut off" in fault.reason:
            return Recording(frames, "the file was cut off")
        if frames and damaged:
            return Recording(frames, f"the file is damaged behind them ({fault.reason})")
        raise fault

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes all snapshots to one compressed file; see Snapshot.save().

        Raises:
            FileExistsError, OSError: as there.
        """
        save_all(self._snapshots, path, force=force)

    def report(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        trace: Trace | str | os.PathLike[str] | None = None,
        force: bool = False,
    ) -> str:
        """Writes a report as one HTML file, which a browser opens without any network.

        It shows RSS by kind over time with its peak, and for any range what changed and why; what
        may be a leak; events. Recording.load() and load() read back the snapshots that are in it:
        all, or those that have room in about 4 MB.

        Args:
            path: the file; None: a name such as "procmem-1234-recording.html" in the current
                directory. An existing report is overwritten.
            trace: of the same process, made while it was recorded: its memory calls are shown
                along the time, and those of any range. A Trace, or the file that
                `procmem trace --json -o FILE` wrote.
            force: overwrite any other file, too.

        Returns:
            The path of the file.

        Raises:
            FileExistsError: another program's file has that name.
            OSError: it can't be written.
            MissingExtra: Bokeh, which draws the figures over time, is not installed.
            BadArgument: the recording is empty, or the trace has no call of this process and time.
            ParseError: the trace's file is damaged.
        """
        from procmem.recording.reporting import recording_page
        from procmem.snapshots.reporting import default_name, write_report

        calls = None if trace is None else self._calls(trace)
        page = recording_page(self._snapshots, self._figures, self.ended, calls)
        return write_report(page, path, default_name(self[0], "recording"), force=force)

    def _calls(self, trace: Trace | str | os.PathLike[str]) -> CallsBetween | None:
        from procmem.recording.traced import calls_between

        if not len(self):
            return None  # the report says so
        traced: Iterable[MemoryCall | SavedCall]
        if isinstance(trace, (str, os.PathLike)):
            from procmem.tracing.saved import load_trace

            traced, boot_id = load_trace(trace)
        else:
            traced, boot_id = trace, None
        return calls_between(traced, boot_id, self[0], self._figures)

    def __len__(self) -> int:
        return len(self._snapshots)

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> Recording: ...
    def __getitem__(self, index: int | slice) -> Snapshot | Recording:
        if isinstance(index, slice):
            return Recording(self._snapshots[index])
        return self._snapshots[index]

    def __repr__(self) -> str:
        return f"<Recording of {len(self)} snapshots>"

    def _repr_html_(self) -> str:
        """What a notebook shows: RSS over time, peaks and growth, and suspected leaks."""
        from procmem.recording.html import recording_html

        return recording_html(self)

    def diff(self, before: int = 0, after: int = -1) -> Diff:
        """What changed from one snapshot to another, given by their numbers."""
        return diff(self[before], self[after])

    @cached_property
    def _figures(self) -> Sequence[SnapshotFigures]:
        if isinstance(self._snapshots, PackedSnapshots):
            return self._snapshots.figures()
        return [figures_of(one) for one in self._snapshots]

    @property
    def details(self) -> list[str]:
        """The level of detail of each snapshot: "smaps", "residency" or "maps"."""
        return [one.detail for one in self._figures]

    @property
    def times(self) -> list[float | None]:
        """Seconds from the first snapshot to each; None: not known."""
        return times_of(self._figures)

    def peak(self, figure: str = "rss") -> Peak | None:
        """The largest value of a figure, such as "rss"; None: no snapshot has it.

        Args:
            figure: "vsz", "rss", "swap", "page_tables"; "anon_huge_pages" and "ksm", which only
                snapshots with smaps have.

        Raises:
            BadArgument: there is no such figure.
        """
        known = [
            (value, index) for index, value in enumerate(self.values(figure)) if value is not None
        ]
        if not known:
            return None
        value = max(value for value, _ in known)
        index = next(index for one, index in known if one == value)
        return Peak(value, index, self.times[index])

    def values(self, figure: str) -> list[int | None]:
        """A figure of each snapshot, in bytes; None: it is not known.

        Raises:
            BadArgument: there is no such figure.
        """
        if figure not in FIGURES:
            from procmem.errors import BadArgument

            raise BadArgument(f"figures are {', '.join(FIGURES)}, not {figure!r}")
        return [getattr(one, figure) for one in self._figures]

    def growth(self, figure: str = "rss") -> Growth | None:
        """How a figure grows; None: fewer than two snapshots have it and a clock."""
        return grown(self.times, self.values(figure))

    def suspects(self, *, confidence: float = 0.0, least: int = 64 * 1024) -> list[Suspect]:
        """Regions that grew until the end, which may be leaks; the fastest first.

        Whether the process grew is found by figures that every snapshot has: the kernel's totals
        and the sizes of the regions. Of each window of time only the least value counts: so a leak
        is found beneath memory that is allocated and freed again, and memory that has stopped
        growing is not suspected. Which regions grew is found by the snapshots that have the memory
        of each region. Regions of the same kind, name and permissions are added up, so that a leak
        of many small mappings is found, too. Pages of a mapped file that are read in are not
        suspected: they end with the file.

        Args:
            confidence: the least confidence of the growth; see Growth.
            least: bytes that the regions must have gained.
        """
        from procmem.recording.suspects import suspects_of

        found = suspects_of(self._snapshots, self._figures, self.ended, least)
        return [one for one in found if one.growth.confidence >= confidence]

    def svg(self, title: str = "") -> str:
        """The recording as an SVG picture: RSS by kind of region over time, with the peak marked.

        Args:
            title: the picture's title; empty: it names the process.
        """
        from procmem.recording.pictures import kinds_over_time, recording_svg
        from procmem.snapshots.pictures import whose

        peak = self.peak("rss")
        found = kinds_over_time(self._snapshots, self._figures, self.times)
        ends = None if peak is None else (peak.value, peak.at)
        subject = whose(self[0]) if len(self) else "no process"
        return recording_svg(found, len(self), ends, subject, title)

    def to_perfetto(self, file: str | os.PathLike[str] | TextIO, *, causes: bool = True) -> None:
        """Writes the recording for Perfetto (ui.perfetto.dev) and Chrome: the Trace Event Format.

        VSZ, RSS, swap, page tables, threads, page faults and RSS by kind of region are counters;
        what changed, and why, are instants. Times are CLOCK_MONOTONIC.

        Args:
            file: a path, which is written anew, or an open text file.
            causes: whether to find out what changed, which takes about as long as the rest.

        Raises:
            BadArgument: the snapshots have no clocks.
            OSError: it can't be written.
        """
        from procmem.recording.exports import write_perfetto

        write_perfetto(self, file, causes=causes)

    def plot(self, ax: Axes | None = None, *, figure: str | None = None) -> Axes:
        """RSS by kind of region over time, or one figure, with matplotlib.

        Args:
            ax: where to draw; None: on a new figure.
            figure: one of those of peak(), as a line; None: RSS by kind.

        Raises:
            MissingExtra: matplotlib is not installed.
            BadArgument: there is no such figure.
        """
        from procmem.recording.pictures import kinds_over_time, plot_figure, plot_kinds

        if figure is not None:
            return plot_figure(self.values(figure), self.times, figure, ax)
        found = kinds_over_time(self._snapshots, self._figures, self.times)
        peak = self.peak("rss")
        return plot_kinds(found, None if peak is None else (peak.value, peak.at), ax)

    def arrow_makers(self) -> Makers:
        """What makes each column for data frames, a row for each snapshot.

        number, time (UTC, of the first snapshot's CLOCK_REALTIME, carried on by CLOCK_MONOTONIC),
        seconds since the first snapshot, detail, and the figures that every snapshot has.
        """
        clock = self[0].clock if len(self) else None
        return FigureRows(self._figures, clock).arrow_makers()

    @property
    def rss_error(self) -> int | None:
        """The largest error of rss in a snapshot, in bytes; 0: all are exact; None: not known."""
        errors = [one.rss_error for one in self._figures]
        return None if None in errors else max((error or 0 for error in errors), default=0)

    @property
    def last_full(self) -> int | None:
        """The number of the last snapshot with the level of detail of the first; None: no snapshot.

        A recorder takes such a snapshot at the end. If the process ended by itself it can't: then
        this is the snapshot to compare the first one with.
        """
        details = self.details
        return max((at for at, one in enumerate(details) if one == details[0]), default=None)


class FigureRows(Columnar):
    """The figures of successive snapshots of a recording as a table.

    Args:
        figures: of each snapshot.
        clock: when the first snapshot of the recording was taken; None: not known.
        first: the number of the first of these snapshots in the recording.
    """

    __slots__ = ("_clock", "_figures", "_first")

    def __init__(
        self, figures: Sequence[SnapshotFigures], clock: Clock | None, first: int = 0
    ) -> None:
        self._figures = figures
        self._clock = clock
        self._first = first

    def arrow_makers(self) -> Makers:
        """What makes each column; see Recording.arrow_makers()."""
        figures, first = self._figures, self._first
        since = self._since()

        def values(name: str) -> ArrowColumn:
            return numbers(name, [getattr(one, name) for one in figures]).described("bytes")

        def clock_times() -> list[int | None]:
            begun = 0 if self._clock is None else self._clock.realtime
            return [None if span is None else begun + span for span in since]

        makers: Makers = {
            "number": lambda: numbers("number", range(first, first + len(figures))),
            "time": lambda: times("time", clock_times()).described(
                source="CLOCK_REALTIME of the first snapshot, then CLOCK_MONOTONIC"
            ),
            "seconds": lambda: floats(
                "seconds", [None if span is None else span / 1e9 for span in since]
            ).described("seconds"),
            "detail": lambda: categories("detail", [one.detail for one in figures]),
            **{name: partial(values, name) for name in (*FIGURES, "own", "rss_error")},
        }
        return sourced(makers, SOURCES)

    def _since(self) -> list[int | None]:
        """Nanoseconds from the first snapshot of the recording to each."""
        clock = self._clock
        return [
            None if clock is None or one.monotonic is None else one.monotonic - clock.monotonic
            for one in self._figures
        ]


SOURCES = {
    "number": "the recording",
    "seconds": "CLOCK_MONOTONIC",
    "detail": "the recording",
    "vsz": "status: VmSize, else the sum of maps",
    "rss": "status: VmRSS where it is exact, else the sum of smaps or pagemap",
    "swap": "status: VmSwap",
    "page_tables": "status: VmPTE",
    "anon_huge_pages": "smaps: AnonHugePages",
    "ksm": "smaps: KSM",
    "own": "status: RssAnon + RssShmem + VmSwap",
    "rss_error": "how this kernel counts VmRSS",
}

FIGURES = ("vsz", "rss", "swap", "page_tables", "anon_huge_pages", "ksm")
