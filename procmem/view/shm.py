"""Shared memory as text: a sentence, a row for each segment, and what could not be seen."""

from __future__ import annotations

from procmem.units import about, count, in_unit, unit_name
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import printable
from procmem.view.pipes import unseen_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from procmem.ipc.shared import Segment, Segments

__all__ = ["segments_sentence", "segments_text"]

MOST_ADVISED = 3

MOST_USERS = 6
"""Processes that are named for each segment; --columns mapped,open and --json name all."""


def segments_text(
    found: Segments,
    *,
    names: Mapping[int, str] | None = None,
    width: int | None = None,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
) -> str:
    """A sentence, a row for each segment, and what could not be seen.

    Args:
        found: the segments.
        names: names of processes by PID, where better ones than comm are known.
        width: cells of a line; None: as many as are needed.
        unit: of sizes, one of units.UNITS.
        chosen: keys of the columns to show; None: those that have something to show.

    Raises:
        BadArgument: there is no column of that key.
    """
    text = prose(segments_sentence(found), width)
    if len(found):
        text += "\n" + segment_table(found, names or {}, width=width, unit=unit, chosen=chosen)
    return text + unseen_text(found.denied, "map further segments", width)


def segments_sentence(found: Segments) -> str:
    """How many segments there are, and which of them nobody uses."""
    if not len(found):
        return "No shared memory is in use."
    known = [segment for segment in found if segment.resident is not None]
    said = count(len(found), "segment")
    them = "it" if len(found) == 1 else "them"
    if known:
        said += f", {about(sum(segment.resident or 0 for segment in known))} of {them} in memory"
        if len(known) < len(found):
            said += f" (of {len(found) - len(known)} that is not known)"
    else:
        said += f", how much of {them} is in memory is not known"
    orphans = [segment for segment in found if segment.orphan]
    if not orphans:
        return f"{said}; none is left without a user." if not unknown(found) else f"{said}."
    held = sum(segment.resident or 0 for segment in orphans)
    verb = "is" if len(orphans) == 1 else "are"
    said += f"; {len(orphans)} {verb} used by no process and {'holds' if verb == 'is' else 'hold'} "
    advice = [removal(segment) for segment in orphans[:MOST_ADVISED]]
    more = f" and {len(orphans) - MOST_ADVISED} more" if len(orphans) > MOST_ADVISED else ""
    return f"{said}{about(held)} until removed: {', '.join(advice)}{more}."


def unknown(found: Segments) -> bool:
    """Whether it is not known of a segment if somebody uses it."""
    return any(segment.orphan is None for segment in found)


def removal(segment: Segment) -> str:
    """The command that removes a segment."""
    if segment.id is not None:
        return f"ipcrm -m {segment.id}"
    return f"rm {printable(segment.name)}"


def segment_table(
    found: Segments,
    names: Mapping[int, str],
    *,
    width: int | None,
    unit: str,
    chosen: Sequence[str] | None,
) -> str:
    """A row for each segment."""
    size = in_unit(unit)
    made = [
        Column("kind", "Kind"),
        Column("id", "ID", ">", rank=3),
        Column("name", "Name", floor=12, keep_end=True),
        Column("size", "Size", ">"),
        Column("resident", "RSS", ">"),
        Column("swapped", "Swap", ">", rank=2),
        Column("state", "State", rank=1),
        Column("mapped", "Mapped by", floor=12),
        Column("open", "Open in", floor=8, rank=4),
        Column("users", "Used by", floor=24, wrapped=True),
    ]
    rows = [
        [
            segment.kind + (", huge" if segment.huge else ""),
            "-" if segment.id is None else str(segment.id),
            printable(segment.name) or "-",
            size(segment.size),
            size(segment.resident),
            size(segment.swapped),
            state(segment),
            processes([(one.pid, one.name) for one in segment.mappers], names),
            processes([(one.pid, one.name) for one in segment.descriptors], names),
            users(segment, names),
        ]
        for segment in found
    ]
    if chosen is None:
        left_out = {"mapped", "open"}
        if all(segment.id is None for segment in found):
            left_out.add("id")
        if all(segment.swapped == 0 for segment in found):
            left_out.add("swapped")
        chosen = [column.key for column in made if column.key not in left_out]
    text = fitted(made, rows, width=width, chosen=chosen)
    if "users" in chosen and any(" only)" in row[-1] for row in rows):
        text += prose("fd ... only: the process has it open and does not map it.", width)
    return text + (f"Sizes in {unit_name(unit)}.\n" if unit_name(unit) else "")


def users(segment: Segment, names: Mapping[int, str]) -> str:
    """The first few processes that map a segment, and those that only have it open."""
    opened: dict[int, list[int]] = {}
    for one in segment.descriptors:
        opened.setdefault(one.pid, []).append(one.fd)
    found = [named(one.pid, one.name, names) for one in segment.mappers]
    mapping = {one.pid for one in segment.mappers}
    for one in segment.descriptors:
        if one.pid not in mapping and one.pid in opened:
            fds = ",".join(map(str, opened.pop(one.pid)))
            found.append(f"{named(one.pid, one.name, names)} (fd {fds} only)")
    more = len(found) - MOST_USERS
    shown = ", ".join(found[:MOST_USERS]) or "-"
    return shown + (f" and {more:,} more" if more > 0 else "")


def state(segment: Segment) -> str:
    """Whether anybody uses it, in a word."""
    if segment.leaked:
        return "leaked"
    if segment.orphan is None:
        return "unknown"
    return "orphan" if segment.orphan else "in use"


def processes(found: Iterable[tuple[int, str]], names: Mapping[int, str]) -> str:
    """Some processes, each once."""
    return ", ".join(dict.fromkeys(named(pid, name, names) for pid, name in found)) or "-"


def named(pid: int, name: str, names: Mapping[int, str]) -> str:
    """A process by its PID and name."""
    return f"{pid} {printable(names.get(pid, name))}".rstrip()
