"""The memory calls of a traced process beside the recording of it, as plain data for a report.

Both have CLOCK_MONOTONIC, so a call belongs between the two snapshots between which it ended.
"""

from __future__ import annotations

import errno
import heapq
from bisect import bisect_left
from collections import Counter
from typing import NamedTuple

from procmem.errors import BadArgument
from procmem.names import escaped
from procmem.picture.page import ReportTable
from procmem.tracing.arguments import Clone
from procmem.tracing.exports import EXECS, EXITS, FORKS
from procmem.units import approximate, count, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, TypeAlias

    from procmem.recording.packed import SnapshotFigures
    from procmem.snapshots import Snapshot
    from procmem.tracing.events import MemoryCall
    from procmem.tracing.saved import SavedCall

    Call: TypeAlias = "MemoryCall | SavedCall"

__all__ = ["CallsBetween", "calls_between"]

MOST_DRAWN = 2000
"""Calls that are drawn one by one, those with the largest effects."""

MOST_LISTED = 500

MOST_LIFE = 1000
"""Forks, execs and exits that are listed as events."""


class CallsBetween(NamedTuple):
    """What a report shows of a trace.

    Attributes:
        series: the calls by name between each two snapshots, and those that are drawn.
        events: forks, execs and exits: the numbers of the snapshots between which, seconds from
            the first snapshot, in words, and how that is known.
        table: the calls with the largest effects.
        summary: a sentence.
    """

    series: dict[str, Any]
    events: list[tuple[int, int, float | None, str, str]]
    table: ReportTable
    summary: str


def calls_between(
    traced: Iterable[Call],
    boot_id: str | None,
    first: Snapshot,
    figures: Sequence[SnapshotFigures],
) -> CallsBetween:
    """The calls that a recorded process made while it was recorded.

    Args:
        traced: the calls of a trace, of other processes, too.
        boot_id: the boot in which they were traced; None: not known.
        first: the first snapshot of the recording.
        figures: those of all its snapshots.

    Raises:
        BadArgument: none of them is of this process and this time.
    """
    clocks = [one.monotonic for one in figures]
    if None in clocks:
        raise BadArgument("the snapshots have no clocks, so no call of a trace can be placed")
    times = [one for one in clocks if one is not None]
    pid, boot = first.identity.pid, first.identity.boot_id
    if None not in (boot, boot_id) and boot != boot_id:
        raise BadArgument("the trace was made before or after a reboot, not with this recording")
    own: list[Call] = []
    others: Counter[int] = Counter()
    functions = 0
    for call in traced:
        if call.pid != pid:
            others[call.pid] += 1
        elif call.is_function:
            functions += 1  # what it changed is the change of its system calls
        else:
            own.append(call)
    if not own:
        found = ", ".join(map(str, [*others][:5])) or "none"
        raise BadArgument(
            f"the trace has no memory call of the recorded process {pid}: its processes are {found}"
        )
    # A call that ended at the very time of a snapshot belongs to the time before it.
    placed = [(bisect_left(times, ended(call)), call) for call in own]
    within = [(at, call) for at, call in placed if 0 < at < len(times)]
    if not within:
        early, late = (ended(own[0]) - times[0]) / 1e9, (ended(own[-1]) - times[0]) / 1e9
        raise BadArgument(
            f"no memory call of the trace ended while process {pid} was recorded: the recording "
            f"lasts {(times[-1] - times[0]) / 1e9:,.1f} s, and the calls are from {early:,.1f} s "
            f"to {late:,.1f} s after its start"
        )
    within.sort(key=lambda one: ended(one[1]))
    names = [name for name, _ in Counter(call.name for _, call in within).most_common()]
    ranked = heapq.nlargest(MOST_DRAWN, within, key=lambda one: effect(one[1]))
    drawn = sorted(ranked, key=lambda one: ended(one[1]))
    left = len(own) - len(within)
    note = (
        f"{count(len(within), 'memory call')} of process {pid} from "
        f"{seconds(within[0][1], times):,.3f} s to {seconds(within[-1][1], times):,.3f} s"
    )
    if len(within) > len(drawn):
        note += f"; the {len(drawn):,} with the largest effects are drawn"
    note += ". A call counts where it ended."
    if left:
        note += f" {count(left, 'call')} before the first or after the last snapshot are left out."
    if others:
        note += (
            f" {count(sum(others.values()), 'call')} of {count(len(others), 'other process')} are "
            "left out."
        )
    if functions:
        note += (
            f" {count(functions, 'call')} of malloc and similar functions are left out: their "
            "effects are those of the system calls that they made."
        )
    lives = ((at, call, life(call)) for at, call in within)
    events: list[tuple[int, int, float | None, str, str]] = [
        (at - 1, at, seconds(call, times), f"{call.name}: {words}", "trace")
        for at, call, words in lives
        if words is not None
    ]
    if len(events) > MOST_LIFE:
        note += f" The first {MOST_LIFE:,} of {len(events):,} forks, execs and exits are listed."
    listed = ranked[:MOST_LISTED]
    return CallsBetween(
        {
            "names": names,
            "between": sums(within, names),
            "drawn": {
                "at": [round((ended(call) - times[0]) / 1000) for _, call in drawn],
                "name": [names.index(call.name) for _, call in drawn],
                "words": [escaped(words_of(call)) for _, call in drawn],
            },
            "first": within[0][0],
            "last": within[-1][0],
            "note": note,
        },
        events[:MOST_LIFE],
        ReportTable(
            "Memory calls",
            (
                "seconds At, s", "number By snapshot", "id Thread", "text Call",
                "text Result", "signed VSZ", "signed RSS", "text Region", "text Remark",
            ),
            [
                (
                    seconds(call, times),
                    at,
                    call.tid,
                    called(call),
                    result_of(call),
                    call.delta_vsz,
                    call.delta_rss,
                    region_of(call),
                    call.reason,
                )
                for at, call in sorted(listed, key=lambda one: ended(one[1]))
            ],
            (
                f"The {len(listed):,} of {len(within):,} calls that changed VSZ or RSS most. "
                if len(within) > len(listed)
                else ""
            )
            + "VSZ and RSS: by how much they changed while the call was made.",
        ),
        note,
    )  # fmt: skip


def ended(call: Call) -> int:
    """When a call ended, or began if it did not return; CLOCK_MONOTONIC in nanoseconds."""
    return call.began + (call.ns or 0)


def seconds(call: Call, times: Sequence[int]) -> float:
    return (ended(call) - times[0]) / 1e9


def effect(call: Call) -> int:
    """How much a call changed; forks, execs and exits count most."""
    if call.name in FORKS + EXECS + EXITS:
        return 1 << 64
    return max(abs(call.delta_vsz or 0), abs(call.delta_rss or 0))


def sums(within: Sequence[tuple[int, Call]], names: Sequence[str]) -> list[list[int]]:
    """The calls of each name between each two snapshots, each list a column.

    The columns are: by how much the number of the snapshot is larger than in the row before, the
    number of the name, calls, failed calls, change of VSZ, change of RSS, calls whose change is
    not known, and calls whose change may not be theirs alone.
    """
    numbers = {name: at for at, name in enumerate(names)}
    found: dict[tuple[int, int], list[int]] = {}
    for at, call in within:
        row = found.setdefault((at, numbers[call.name]), [0] * 6)
        row[0] += 1
        row[1] += call.errno is not None
        # execve(2) puts a new memory into the place of the old one: no growth of either.
        if call.delta_vsz is None or call.delta_rss is None or call.name in EXECS:
            row[4] += 1
        else:
            row[2] += call.delta_vsz
            row[3] += call.delta_rss
        row[5] += not call.exact
    rows = [[at, name, *values] for (at, name), values in sorted(found.items())]
    columns = [list(column) for column in zip(*rows, strict=True)]
    columns[0] = [at - before for before, at in zip([0, *columns[0]], columns[0], strict=False)]
    return columns


def life(call: Call) -> str | None:
    """What a call began or ended, a process or a thread; None: neither."""
    if call.name in FORKS and call.result:
        what = "thread" if int(call.args.get("flags", 0)) & Clone.CLONE_THREAD else "process"
        return f"new {what} {call.result}"
    if call.name in EXECS and call.result is not None:
        return str(call.args.get("pathname") or "unknown path")
    if call.name in EXITS and call.result is None and call.errno is None:
        return "the process ends" if call.name == "exit_group" else f"thread {call.tid} ends"
    return None


def called(call: Call) -> str:
    return call.name if call.within is None else f"{call.name} in {call.within}"


def result_of(call: Call) -> str:
    if call.errno is not None:
        return str(errno.errorcode.get(call.errno, call.errno))
    if call.result is None:
        return "did not return"
    return f"{call.result:#x}" if call.result > 1 << 16 else str(call.result)


def region_of(call: Call) -> str:
    if call.region_row is None:
        return ""
    start, end, perms, name = call.region_row
    return f"{start:x}-{end:x} {perms} {name}"


def words_of(call: Call) -> str:
    """A call in words, for those who point at it."""
    parts = [f"{called(call)}, thread {call.tid}"]
    lived = life(call)
    if lived is not None:
        parts.append(lived)
    elif call.errno is not None:
        parts.append(f"failed: {result_of(call)}")
    for figure, change in (("VSZ", call.delta_vsz), ("RSS", call.delta_rss)):
        if change:
            parts.append(f"{figure} {approximate(signed(change), 0 if call.exact else None)}")
    if call.region_row is not None:
        parts.append(region_of(call))
    return "; ".join(parts)
