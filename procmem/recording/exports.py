"""Recordings for Perfetto and Chrome."""

from __future__ import annotations

from procmem.errors import BadArgument
from procmem.picture.timelines import EventTimeline
from procmem.recording.pictures import kinds_of
from procmem.snapshots import diff
from procmem.tracing.exports import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from typing import TextIO

    from procmem.snapshots import Snapshot

__all__ = ["write_perfetto"]

MOST_CAUSES = 10
"""Causes between two snapshots that are written: the largest."""


def write_perfetto(
    snapshots: Iterable[Snapshot], file: str | os.PathLike[str] | TextIO, *, causes: bool
) -> None:
    """Writes a recording in the Trace Event Format; see Recording.to_perfetto().

    Raises:
        BadArgument: the snapshots have no clocks.
        OSError
    """
    before: Snapshot | None = None
    comm: str | None = None
    with opened(file) as out:
        timeline: EventTimeline | None = None
        counters: WrittenCounters | None = None
        for snapshot in snapshots:
            if snapshot.clock is None:
                raise BadArgument("its snapshots have no clocks: it can't be put on a timeline")
            who, when = snapshot.identity, snapshot.clock.monotonic
            pid = who.pid or 0
            if timeline is None or counters is None:
                timeline = EventTimeline(out, {"clock": "CLOCK_MONOTONIC", "pid": who.pid})
                counters = WrittenCounters(timeline, pid)
            if comm != who.comm:
                comm = who.comm
                timeline.process(pid, comm or f"process {pid}", when)
            counters.write(snapshot, when)
            # Between two levels of detail only the sizes of regions can be compared.
            if causes and (before is None or before.detail == snapshot.detail):
                if before is not None:
                    write_causes(timeline, before, snapshot, pid, when)
                before = snapshot
        if counters is not None:
            counters.close()
        (timeline or EventTimeline(out)).close()


class WrittenCounters:
    """Writes the figures of snapshots, each when it has changed.

    Args:
        timeline: what is written to.
        pid: the process.
    """

    def __init__(self, timeline: EventTimeline, pid: int) -> None:
        self._timeline = timeline
        self._pid = pid
        self._seen: dict[str, Mapping[str, int]] = {}
        self._kinds: list[tuple[int, dict[str, int | None]]] = []

    def write(self, snapshot: Snapshot, when: int) -> None:
        """Writes what has changed."""
        for name, value in (
            ("VSZ", snapshot.vsz),
            ("RSS", snapshot.rss),
            ("swap", snapshot.swap),
            ("page tables", snapshot.page_tables),
        ):
            if value is not None:
                self._changed(name, when, {"bytes": value})
        if snapshot.threads is not None:
            self._changed("threads", when, {"threads": len(snapshot.threads)})
        if snapshot.faults is not None:
            self._changed("page faults", when, snapshot.faults._asdict())
        if snapshot.detail != "maps":
            kinds = kinds_of(snapshot)
            if not self._kinds or self._kinds[-1][1] != kinds:
                self._kinds.append((when, kinds))

    def close(self) -> None:
        """Writes what must be known to the end: Chrome shows the kinds of the first value only."""
        names = sorted({kind for _, kinds in self._kinds for kind in kinds})
        for when, kinds in self._kinds:
            # A kind that is gone is 0; one that was not read has no value.
            values = {kind: kinds.get(kind, 0) for kind in names}
            known = {kind: rss for kind, rss in values.items() if rss is not None}
            if known:
                self._changed("RSS by kind", when, known)

    def _changed(self, name: str, when: int, values: Mapping[str, int]) -> None:
        if self._seen.get(name) != values:
            self._seen[name] = values
            self._timeline.counter(name, self._pid, when, values)


def write_causes(
    timeline: EventTimeline, before: Snapshot, after: Snapshot, pid: int, when: int
) -> None:
    """What changed from one snapshot to the next, and why, at the time of the later one."""
    found = diff(before, after)
    if not len(found.tables):
        return
    causes = found.causes
    for one in causes[:MOST_CAUSES]:
        about: dict[str, object] = {
            "cause": one.cause.value, "regions": len(one.changes), "VSZ": one.vsz, "RSS": one.rss,
            "evidence": list(one.evidence),
        }  # fmt: skip
        timeline.instant(one.words, pid, None, when, about)
    if len(causes) > MOST_CAUSES:
        timeline.instant(f"and {len(causes) - MOST_CAUSES} more causes", pid, None, when, {})
