"""Gathers what a report shows of a recording, as plain data for procmem.picture.page.

A report must not take much longer than reading the figures of all snapshots, so only some snapshots
are unpacked: about POINTS, evenly spaced, for the memory by kind, and of these about ANCHORS for
causes. Every two of those are compared, so that the page has the causes for any range, word for
word as Recording.diff() has them; the ends of a range are then the nearest snapshots that were
compared, and the page names them.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import overload

from procmem.names import escaped
from procmem.picture.page import ReportPage, ReportTable
from procmem.recording.packed import PackedSnapshots, times_of
from procmem.recording.suspects import KnownRegions, suspects_of
from procmem.recording.wording import place_words, suspect_words
from procmem.regions.kinds import MARK, kind_word
from procmem.snapshots import Cause, Snapshot, diff
from procmem.snapshots.output import MAGIC
from procmem.snapshots.reporting import (
    NO_PAGES,
    diff_facts,
    heap_table,
    moment_name,
    moment_regions,
    reconciled_of,
    subject_of,
    threads_table,
    totals_of,
)
from procmem.snapshots.saved import frame, framed
from procmem.units import about, approximate, count, kib, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from procmem.recording.packed import SnapshotFigures
    from procmem.recording.suspects import Suspect
    from procmem.recording.traced import CallsBetween
    from procmem.snapshots import Diff

__all__ = ["charts", "recording_page"]

POINTS = 100
"""Snapshots that are drawn with their memory by kind."""

ANCHORS = 64, 12
"""Snapshots every two of which are compared: 2,016 diffs, of a long recording 66. A diff takes 0.5
ms and up, and 20 to 100 bytes of the report."""

LONG = 10_000
"""Snapshots from which on a recording is long: its report may take half as long as its figures."""

COMPARED = 120_000
"""Regions that all diffs compare: if snapshots have many, fewer of them are compared."""

KINDS = 9
"""Kinds that are drawn one by one; the others are added up as "other kinds"."""

REST = "other kinds"

MOST_KEPT = 5 << 19
"""Bytes of packed snapshots in a report. base64 adds a third, and a report has 6 MB at most."""

MOST_EVENTS = 1000

MOST_REGIONS = 5000
"""Regions from which on only the last snapshot's are shown, not those of the first and the peak."""


class UnpackedSnapshots(Sequence[Snapshot]):
    """The snapshots of a recording, of which those that were asked for stay unpacked."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self.snapshots = snapshots
        self._known: dict[int, Snapshot] = {}

    def __len__(self) -> int:
        return len(self.snapshots)

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Snapshot]: ...
    def __getitem__(self, index: int | slice) -> Snapshot | Sequence[Snapshot]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        found = self._known.get(index)
        if found is None:
            found = self._known[index] = self.snapshots[index]
        return found

    def stored(self, index: int) -> bytes:
        """A snapshot as a frame of a file."""
        if isinstance(self.snapshots, PackedSnapshots):
            return framed(self.snapshots.content(index))
        return frame(self.snapshots[index], quick=True)


def recording_page(
    snapshots: Sequence[Snapshot],
    figures: Sequence[SnapshotFigures],
    ended: str,
    calls: CallsBetween | None = None,
) -> ReportPage:
    """The report of a recording.

    Args:
        snapshots: of one process, by time; at least one.
        figures: the figures of each snapshot.
        ended: why the recording ended; see Recording.
        calls: the memory calls that the process made meanwhile; None: they were not traced.

    Raises:
        BadArgument: there is no snapshot.
        MissingExtra: BokehJS, which draws the figures over time, is not installed.
    """
    if not figures:
        from procmem.errors import BadArgument

        raise BadArgument("the recording has no snapshots: there is nothing to report on")
    scripts = charts()
    unpacked = UnpackedSnapshots(snapshots)
    times = times_of(figures)
    rss = [one.rss for one in figures]
    peak = max(
        (at for at, one in enumerate(rss) if one is not None),
        key=lambda at: (rss[at] or 0, -at),
        default=None,
    )
    points = points_of(figures, times, peak)
    anchors = anchors_of(figures, times, points, unpacked)
    diffs = {
        (i, j): diff(unpacked[anchors[i]], unpacked[anchors[j]])
        for j in range(len(anchors))
        for i in range(j)
    }
    suspects = suspects_of(unpacked, figures, ended, LEAST)
    kept = kept_of(unpacked, [anchors[0], anchors[-1], *anchors, *points] if anchors else points)
    traced = [] if calls is None else calls.events
    events = [*changes_of(figures), *caused(anchors, diffs), *traced]
    events.sort(key=lambda one: (one[0], one[1], one[2] or 0))
    first, last = figures[0], figures[-1]
    shown = [anchors[-1] if anchors else len(figures) - 1]
    if len(unpacked[shown[0]].regions) <= MOST_REGIONS:
        near = nearest(points, peak) if peak is not None and points else None
        shown = sorted({0, *([] if near is None else [near]), *shown})
    named = unpacked[shown[-1]]
    end = unpacked[len(figures) - 1]
    name = moment_name(end, begins=True)
    summary = [headline(name, figures, times, peak, ended), *map(suspect_words, suspects[:5])]
    if not suspects:
        summary.append("Nothing grew until the end, so nothing is suspected to be a leak.")
    if calls is not None:
        summary.append(calls.summary)
    return ReportPage(
        f"Memory of {moment_name(end)} over time",
        [*subject_of(end), ("Snapshots", details_of(figures))],
        summary,
        [
            ("VSZ at the end", last.vsz, f"{signed(last.vsz - first.vsz)} since the start"),
            ("RSS at the end", last.rss, since(first.rss, last.rss)),
            *([] if peak is None else [("Peak RSS", rss[peak], f"at {when(times, peak)}")]),
            *[one for one in totals_of(named) if one[0] in ("PSS", "USS")],
            *([("Swap", last.swap, "")] if last.swap is not None else []),
            ("Page tables", last.page_tables, "in neither VSZ nor RSS"),
        ],
        reconciled_of(named),
        [
            leaks_table(suspects), events_table(events), *([] if calls is None else [calls.table]),
            *heap_table(named), *threads_table(named),
        ],
        [moment_regions(unpacked[at], label_of(at, times, peak, len(figures))) for at in shown],
        pages_missing=NO_PAGES,
        series={
            **series_of(unpacked, figures, points, anchors, diffs, peak, suspects, events),
            "calls": None if calls is None else calls.series,
        },
        kept=b"".join([MAGIC, *(unpacked.stored(at) for at in kept)]),
        kept_note=kept_words(len(kept), len(figures)),
        scripts=scripts,
    )  # fmt: skip


LEAST = 64 * 1024
"""Bytes that a suspect must have gained, as in Recording.suspects()."""


def charts() -> list[str]:
    """BokehJS, which draws the figures over time. Bokeh itself is not imported: that takes 0.5 s.

    Raises:
        MissingExtra
    """
    from importlib.util import find_spec

    from procmem.errors import MissingExtra

    found = find_spec("bokeh")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("report", "the report of a recording")
    folder = os.path.join(found.submodule_search_locations[0], "server", "static", "js")
    scripts = []
    for name in ("bokeh.min.js", "bokeh-api.min.js"):
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                scripts.append(file.read())
        except FileNotFoundError:
            raise MissingExtra("report", "the report of a recording") from None
    return scripts


# ---- which snapshots ---------------------------------------------------------------


def place_of(times: Sequence[float | None], at: int) -> float:
    """The place of a snapshot on the axis: its time, or its number if there are no clocks."""
    value = times[at]
    return float(at) if value is None else value


def spaced(candidates: Sequence[int], most: int, times: Sequence[float | None]) -> list[int]:
    """At most so many of some snapshots, evenly spaced in time, with the first and the last."""
    if len(candidates) <= most:
        return list(candidates)
    places = [place_of(times, at) for at in candidates]
    start, end = places[0], places[-1]
    found = {candidates[0], candidates[-1]}
    for step in range(1, most - 1):
        wanted = start + (end - start) * step / (most - 1)
        after = bisect_left(places, wanted)
        before = max(0, after - 1)
        close = (
            after
            if after < len(places) and places[after] - wanted < wanted - places[before]
            else before
        )
        found.add(candidates[close])
    return sorted(found)


def nearest(numbers: Sequence[int], wanted: int) -> int:
    return min(numbers, key=lambda one: abs(one - wanted))


def points_of(
    figures: Sequence[SnapshotFigures], times: Sequence[float | None], peak: int | None
) -> list[int]:
    """The snapshots that are drawn by kind: evenly spaced, with the one nearest to the peak."""
    measured = [at for at, one in enumerate(figures) if one.detail != "maps"]
    found = spaced(measured, POINTS, times)
    if measured and peak is not None:
        found = sorted({*found, nearest(measured, peak)})
    return found


def anchors_of(
    figures: Sequence[SnapshotFigures],
    times: Sequence[float | None],
    points: Sequence[int],
    unpacked: Sequence[Snapshot],
) -> list[int]:
    """The snapshots every two of which are compared: of the first one's detail, if there are."""
    full = [at for at in points if figures[at].detail == figures[0].detail]
    candidates = full if len(full) > 1 else list(points)
    if len(candidates) < 2:
        candidates = sorted({0, *candidates, len(figures) - 1})
    regions = max(1, len(unpacked[candidates[-1]].regions))
    most, limit = 2, ANCHORS[len(figures) >= LONG]
    while most < limit and (most + 1) * most // 2 * regions <= COMPARED:
        most += 1
    found = spaced(candidates, most, times)
    known = [at for at in candidates if figures[at].rss is not None]
    if most > 3 and known:
        found = sorted({*found, max(known, key=lambda at: figures[at].rss or 0)})
    return found


def kept_of(unpacked: UnpackedSnapshots, wanted: Iterable[int]) -> list[int]:
    """The snapshots that the report contains: all, or the wanted ones and as many as have room."""
    room = MOST_KEPT
    found: set[int] = set()
    total = len(unpacked)
    step = 1 << max(0, total - 1).bit_length()
    # Ever closer steps: wherever the room ends, the snapshots are evenly spaced.
    order = [*dict.fromkeys(wanted), total - 1]
    while step:
        order += range(0, total, step)
        step //= 2
        if len(order) > MOST_TRIED:
            break
    for at in order:
        if at in found:
            continue
        size = len(unpacked.stored(at))
        if size > room and found:
            break
        room -= size
        found.add(at)
    return sorted(found)


MOST_TRIED = 1 << 17


def kept_words(kept: int, total: int) -> str:
    how = 'Recording.load("FILE.html") and “procmem record --report FILE.html” read them'
    if kept == total:
        return (
            f"All {count(total, 'snapshot')} are in this file without loss: {how}, and "
            f'procmem.load("FILE.html", N) '
            "reads one. The file makes no connection to any network."
        )
    return (
        f"Of {total:,} snapshots {kept:,} are in this file, each without loss, evenly spaced and "
        f"with those that were compared: {how}. "
        "Of the others it has the totals. The file makes no connection to any network."
    )


# ---- figures over time -------------------------------------------------------------


def steps(values: Sequence[int | None]) -> list[int | None] | None:
    """Each value minus the known one before it, which is shorter; None: no value is known."""
    found: list[int | None] = []
    last = 0
    for value in values:
        if value is None:
            found.append(None)
        else:
            found.append(value - last)
            last = value
    return found if any(one is not None for one in values) else None


FIGURES = "vsz", "rss", "swap", "page_tables"


def series_of(
    unpacked: Sequence[Snapshot],
    figures: Sequence[SnapshotFigures],
    points: Sequence[int],
    anchors: Sequence[int],
    diffs: dict[tuple[int, int], Diff],
    peak: int | None,
    suspects: Sequence[Suspect],
    events: Sequence[Event],
) -> dict[str, Any]:
    """The figures over time, as plain values."""
    kinds, stack = by_kind(unpacked, points, anchors)
    start = figures[0].monotonic
    clocks = [
        None if start is None or one.monotonic is None else (one.monotonic - start) // 1000
        for one in figures
    ]
    drawn = (
        f"The line is RSS of all {len(figures):,} snapshots; where several share a pixel, of the "
        "least and the largest of them. "
    )
    if len(points) == len(figures):
        drawn += "The areas are RSS by kind of all of them."
    elif points:
        drawn += (
            f"The areas are RSS by kind of {len(points):,} snapshots, evenly spaced, with the one "
            "nearest to the peak."
        )
    else:
        drawn += (
            "No snapshot has the memory of each region (detail maps), so there are no areas by "
            "kind."
        )
    return {
        "microseconds": steps(clocks) or [None] * len(figures),
        **{name: steps([getattr(one, name) for one in figures]) for name in FIGURES},
        "rss_exact": all(one.rss_error == 0 for one in figures),
        "at": list(points),
        "kinds": kinds,
        "stack": stack,
        "peak": peak,
        "anchors": list(anchors),
        "diffs": {f"{i}-{j}": diff_facts(one) for (i, j), one in diffs.items()},
        "suspects": [[escaped(one.name), one.since] for one in suspects[:5]],
        "events": [
            [after, by, seconds, escaped(what)] for after, by, seconds, what, _ in events
        ],
        "note": drawn,
    }  # fmt: skip


def by_kind(
    unpacked: Sequence[Snapshot], points: Sequence[int], anchors: Sequence[int]
) -> tuple[list[str], list[list[int]]]:
    """The kinds, the largest first, and the RSS of each in some snapshots."""
    known = KnownRegions([unpacked[at] for at in dict.fromkeys([*anchors[-1:], *anchors[:1]])])
    sums: dict[str, list[int]] = {}
    words: dict[int, str] = {}
    for number, at in enumerate(points):
        for region in unpacked[at].regions:
            resident = region.rss
            if not resident:
                continue
            same = known(region)
            word = words.get(id(same))
            if word is None:
                word = kind_word(same)
                if same is not region:  # else nothing keeps it, and another may have its identity
                    words[id(same)] = word
            values = sums.get(word)
            if values is None:
                values = sums[word] = [0] * len(points)
            values[number] += resident
    for guess in [word for word in sums if word.endswith(MARK) and word[: -len(MARK)] in sums]:
        # One kind, of which some snapshots have proof: together it is as good as a guess.
        proven = sums.pop(guess[: -len(MARK)])
        sums[guess] = [one + other for one, other in zip(sums[guess], proven, strict=True)]
    ranked = sorted(sums, key=lambda word: -sum(sums[word]))
    kinds, rest = ranked[:KINDS], ranked[KINDS:]
    stack = [sums[word] for word in kinds]
    if rest:
        kinds = [*kinds, REST]
        stack.append([sum(values) for values in zip(*(sums[word] for word in rest), strict=True)])
    return kinds, stack


# ---- what happened -----------------------------------------------------------------


def when(times: Sequence[float | None], at: int) -> str:
    value = times[at]
    return f"snapshot {at:,}" if value is None else f"{value:,.1f} s"


def since(first: int | None, last: int | None) -> str:
    return "" if first is None or last is None else f"{signed(last - first)} since the start"


def headline(
    name: str,
    figures: Sequence[SnapshotFigures],
    times: Sequence[float | None],
    peak: int | None,
    ended: str,
) -> str:
    """The first sentences: by how much RSS changed, and the peak."""
    first, last = figures[0], figures[-1]
    span = when(times, len(figures) - 1)
    words = f"{name}, {count(len(figures), 'snapshot')} in {span}: "
    if first.rss is None or last.rss is None or peak is None:
        words += (
            f"VSZ {kib(first.vsz)} at the start, {kib(last.vsz)} at the end; RSS is not known at "
            "one of them."
        )
    else:
        error = last.rss_error
        words += (
            f"RSS {approximate(signed(last.rss - first.rss), error)}, from {kib(first.rss)} to "
            f"{kib(last.rss)}; the peak is {about(figures[peak].rss or 0)} at {when(times, peak)} "
            f"(snapshot {peak:,}). VSZ {signed(last.vsz - first.vsz)}, from {kib(first.vsz)} to "
            f"{kib(last.vsz)}."
        )
    return f"{words} Why it ended: {ended}." if ended else words


def label_of(at: int, times: Sequence[float | None], peak: int | None, total: int) -> str:
    """What is special about a snapshot, with its number and time."""
    what = "snapshot"
    if not at:
        what = "first"
    elif at == total - 1:
        what = "last"
    elif at == peak:
        what = "peak"
    return f"{what} ({at:,}, {when(times, at)})"


def details_of(figures: Sequence[SnapshotFigures]) -> str:
    """How many snapshots there are of each level of detail."""
    counts: dict[str, int] = {}
    for one in figures:
        counts[one.detail] = counts.get(one.detail, 0) + 1
    return ", ".join(f"{number:,} with detail {detail}" for detail, number in counts.items())


def leaks_table(suspects: Sequence[Suspect]) -> ReportTable:
    columns = (
        "text Name", "text Kind", "seconds Since, s", "bytes Gained", "bytes Per second",
        "text What it may be", "text Where",
    )  # fmt: skip
    rows = [
        (
            one.name,
            one.kind,
            one.since,
            one.gained,
            round(one.rate),
            suspect_words(one),
            "; ".join(place_words(one)),
        )
        for one in suspects
    ]
    note = (
        "Regions that grew until the end: a leak, or memory that would have stopped growing later."
    )
    return ReportTable(
        "What may be a leak", columns, rows, note if rows else "Nothing grew until the end."
    )


Event = tuple[int, int, "float | None", str, str]
"""The numbers of the snapshots between which it happened, seconds from the first snapshot if they
are known, what, and how that is known."""


def changes_of(figures: Sequence[SnapshotFigures]) -> list[Event]:
    """Programs that were executed, and threads that started or ended."""
    found: list[Event] = []
    for at, (before, after) in enumerate(pairwise(figures), 1):
        if before.exe != after.exe and None not in (before.exe, after.exe):
            what = f"execve: {before.exe} became {after.exe}"
            found.append((at - 1, at, None, what, "its executable changed"))
        elif before.comm != after.comm and None not in (before.comm, after.comm):
            what = f"its command name changed from {before.comm} to {after.comm}"
            found.append((at - 1, at, None, what, "comm"))
        if (
            before.threads is not None
            and after.threads is not None
            and before.threads != after.threads
        ):
            more = after.threads - before.threads
            verb = "started" if more > 0 else "ended"
            what = f"{count(abs(more), 'thread')} {verb}: {after.threads:,} now"
            found.append((at - 1, at, None, what, "the number of threads"))
        if len(found) >= MOST_EVENTS:
            break
    return found


NOTED = {
    Cause.PROGRAM_REPLACED, Cause.SHARING_BEGAN, Cause.SHARING_ENDED, Cause.LIBRARY_LOADED,
    Cause.LIBRARY_UNLOADED, Cause.HEAP_STARTED, Cause.SHARED_MEMORY_ATTACHED,
    Cause.SHARED_MEMORY_DETACHED, Cause.ARENA_MADE, Cause.SWAPPED_OUT, Cause.SWAPPED_IN,
}  # fmt: skip
"""Causes that are events: fork(2) is the beginning of sharing."""


def caused(anchors: Sequence[int], diffs: dict[tuple[int, int], Diff]) -> list[Event]:
    """What happened between neighbours among the compared snapshots."""
    return [
        (anchors[at], anchors[at + 1], None, one.words, "; ".join(one.evidence))
        for at in range(len(anchors) - 1)
        for one in diffs[at, at + 1].causes
        if one.cause in NOTED
    ]


def events_table(events: Sequence[Event]) -> ReportTable:
    columns = (
        "number After snapshot",
        "number By snapshot",
        "seconds At, s",
        "text What happened",
        "text Evidence",
    )
    rows = events
    note = (
        "An event happened after the one snapshot and by the other; its time is known if the "
        "process was traced meanwhile."
    )
    if len(events) >= MOST_EVENTS:
        note += f" The first {MOST_EVENTS:,} changes of threads and programs are shown."
    return ReportTable("Events", columns, rows, note if rows else "None was seen.")
