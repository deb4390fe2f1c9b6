"""Shared memory as text: a sentence, a row for each segment, and what could not be seen."""

from __future__ import annotations

from procmem.units import about, count, in_unit, unit_name
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import printable
from procmem.view.pipes import unseen_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.ipc.shared import Segment, Segments

__all__ = ["segments_sentence", "segments_text"]

MOST_ADVISED = 3


def segments_text(
    found: Segments,
    *,
    width: int | None = None,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
) -> str:
    """A sentence, a row for each segment, and what could not be seen.

    Args:
        found: the segments.
        width: cells of a line; None: as many as are needed.
        unit: of sizes, one of units.UNITS.
        chosen: keys of the columns to show; None: all.

    Raises:
        BadArgument: there is no column of that key.
    """
    text = prose(segments_sentence(found), width)
    if len(found):
        text += "\n" + segment_table(found, width=width, unit=unit, chosen=chosen)
    return text + unseen_text(found.denied, "map further segments", width)


def segments_sentence(found: Segments) -> str:
    """How many segments there are, and which of them nobody uses."""
    if not len(found):
        return "No shared memory is in use."
    known = [segment for segment in found if segment.resident is not None]
    said = count(len(found), "segment")
    said += f", {about(sum(segment.resident or 0 for segment in known))} of them in memory"
    if len(known) < len(found):
        said += f" (of {len(found) - len(known)} that is not known)"
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
    found: Segments, *, width: int | None, unit: str, chosen: Sequence[str] | None
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
            processes([(one.pid, one.name) for one in segment.mappers]),
            processes([(one.pid, one.name) for one in segment.descriptors]),
        ]
        for segment in found
    ]
    text = fitted(made, rows, width=width, chosen=chosen)
    return text + (f"Sizes in {unit_name(unit)}.\n" if unit_name(unit) else "")


def state(segment: Segment) -> str:
    """Whether anybody uses it, in a word."""
    if segment.leaked:
        return "leaked"
    if segment.orphan is None:
        return "unknown"
    return "orphan" if segment.orphan else "in use"


def processes(named: Sequence[tuple[int, str]]) -> str:
    """Some processes, each once."""
    return (
        ", ".join(dict.fromkeys(f"{pid} {printable(name)}".rstrip() for pid, name in named)) or "-"
    )
