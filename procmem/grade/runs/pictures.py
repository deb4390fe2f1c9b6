"""What pictures of a run are drawn from: the program's memory from each wait to the next."""

from __future__ import annotations

from itertools import pairwise

from procmem.grade.results import PhasePicture
from procmem.picture.shapes import map_rows
from procmem.regions.pictures import figures_of, group_bars, spans, sum_bar
from procmem.snapshots import diff
from procmem.snapshots.pictures import bars_beside, common_figures, rows_beside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.picture.shapes import MapBlock, MapRow
    from procmem.snapshots import Snapshot

__all__ = ["pictures_of"]

MOST_PICTURES = 6
MOST_ROWS = 16

LONGEST = 80
"""Characters of a name; a program may map files with names of 255 bytes each."""

MOST_NAMES = 8


def pictures_of(phases: Sequence[tuple[str, Snapshot]]) -> tuple[PhasePicture, ...]:
    """A picture of each of the first waits and the next one between which memory changed.

    Where nothing changed at all, or there was one wait, there is a picture of the last one alone.

    Args:
        phases: name and Snapshot of each wait.
    """
    found = []
    for (old_name, old), (new_name, new) in pairwise(phases):
        changed = diff(old, new)
        if not len(changed.tables):
            continue
        found.append(
            PhasePicture(
                old_name,
                new_name,
                changed.vsz,
                changed.rss,
                tuple(name for name, _ in common_figures(old, new)[:2]),
                short(rows_beside(old, new, changed.changes, MOST_ROWS)),
                tuple(bars_beside(old, new)),
            )
        )
        if len(found) == MOST_PICTURES:
            break
    if found or not phases:
        return tuple(found)
    name, only = phases[-1]
    regions, kind = list(only.regions), only.regions.region_type
    bars = [*group_bars(regions, kind), sum_bar(regions, kind)]
    figures = tuple(one for one, _ in figures_of(kind))
    rows = short(map_rows(spans(regions), most=MOST_ROWS))
    return (PhasePicture("", name, only.vsz, only.rss, figures, rows, tuple(bars)),)


def short(rows: Sequence[MapRow]) -> tuple[MapRow, ...]:
    """The rows with names of a length that a report can hold."""
    return tuple(
        row._replace(
            after=tuple(map(short_block, row.after)), before=tuple(map(short_block, row.before))
        )
        for row in rows
    )


def short_block(block: MapBlock) -> MapBlock:
    names = tuple(cut(name) for name in block.names[:MOST_NAMES])
    more = len(block.names) - len(names)
    if more:
        names = (*names, f"and {more:,} more names")
    return block._replace(names=names, detail=cut(block.detail))


def cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."
