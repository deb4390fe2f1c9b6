"""Processes of many hosts side by side: which differ from the others, and in what."""

from __future__ import annotations

from procmem.cluster.gathered import COUNTS
from procmem.cluster.outliers import FEWEST, SCORE
from procmem.units import count, in_unit, signed_in_unit, unit_name
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from procmem.cluster.gathered import Gathered, GatheredProcess, Outlier

__all__ = ["gathered_text", "left_out_lines"]

SHOWN = ("size", "rss", "pss", "uss", "swap")

MOST_REGIONS = 5
"""Regions that are listed of a process."""

MOST_PROCESSES = 3
"""Processes of which regions are listed."""


def gathered_text(
    gathered: Gathered,
    *,
    least: int,
    limit: int = 0,
    unit: str = "KiB",
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """What was gathered, which processes differ, and by which rule.

    Args:
        gathered: the processes.
        least: bytes; as of Gathered.outliers().
        limit: processes that are listed; 0: all.
        unit: of sizes, one of units.UNITS.
        width: cells per line; None: as many as needed.
        chosen: keys of the columns to show, in their order; None: all.

    Raises:
        BadArgument: there is no such column.
    """
    found: dict[GatheredProcess, list[Outlier]] = {}
    for one in gathered.outliers(least):
        found.setdefault(one.process, []).append(one)
    listed = dict(list(found.items())[: limit or None])
    text = prose(head_sentence(gathered, len(found)), width)
    if listed:
        text += "\n" + difference_table(listed, unit, width, chosen)
        if len(found) > len(listed):
            text += f"and {len(found) - len(listed):,} more: --limit 0 lists all\n"
        for outliers in list(listed.values())[:MOST_PROCESSES]:
            text += regions_text(gathered, outliers, unit, width)
        text += "\n" + prose(rule_sentence(least), width)
    return text


def head_sentence(gathered: Gathered, differing: int) -> str:
    processes = count(len(gathered), "process")
    where = f"{processes} on {count(len(gathered.hosts), 'host')}"
    if len(gathered) < FEWEST:
        return f"{where}. Fewer than {FEWEST} processes are not compared."
    if not differing:
        return f"{where}. None differs from the others."
    verb = "differs" if differing == 1 else "differ"
    return f"{where}. {differing:,} {verb} from the others:"


def rule_sentence(least: int) -> str:
    kib = in_unit("human")(least)
    return (
        f"Figures are differences from the median of all processes. Listed is what is more than "
        f"{SCORE} robust standard deviations (0.6745 × distance / MAD) and more than {kib} from "
        f"it; if most processes have the same figure, any other. Why they differ is not known."
    )


def difference_table(
    found: dict[GatheredProcess, list[Outlier]],
    unit: str,
    width: int | None,
    chosen: Sequence[str] | None,
) -> str:
    made = [
        Column("host", "Host", rank=3, floor=8),
        Column("pid", "PID", ">"),
        Column("name", "Name", rank=6, floor=8),
        Column("memory", "Memory", floor=12),
        Column("size", "Size", ">", 5),
        Column("rss", "RSS", ">"),
        Column("pss", "PSS", ">", 4),
        Column("uss", "USS", ">", 2),
        Column("swap", "Swap", ">", 7),
        Column("other", "Other", rank=8),
    ]
    rows = [row for process, outliers in found.items() for row in rows_of(process, outliers, unit)]
    return fitted(made, rows, width=width, chosen=chosen) + f"sizes in {unit_name(unit)}\n"


def rows_of(process: GatheredProcess, outliers: list[Outlier], unit: str) -> Iterator[list[str]]:
    """A row for the whole process, and one for each kind and use that differs."""
    groups: dict[tuple[str, str], list[Outlier]] = {}
    for one in outliers:
        groups.setdefault((one.kind, one.use), []).append(one)
    signed = signed_in_unit(unit)
    first = [printable(process.host), str(process.pid), printable(process.name)]
    for (kind, use), group in sorted(groups.items(), key=lambda item: bool(item[0][0])):
        cells = dict.fromkeys(SHOWN, "")
        other = []
        for one in group:
            counter = "size" if one.counter == "vsz" else one.counter
            if counter in SHOWN:
                cells[counter] = signed(round(one.difference))
            elif counter in COUNTS:
                other.append(f"{counter} {one.difference:+g}")
            else:
                other.append(f"page tables {signed(round(one.difference))}")
        memory = printable(f"{kind}: {use}" if use else kind) if kind else "whole process"
        yield [*first, memory, *(cells[name] for name in SHOWN), ", ".join(other)]
        first = ["", "", ""]


def regions_text(gathered: Gathered, outliers: list[Outlier], unit: str, width: int | None) -> str:
    """The regions in which a process differs from one with the median, for its largest figure."""
    parts = [one for one in outliers if one.kind]
    if not parts:
        return ""
    one = parts[0]
    typical = gathered.typical(one)
    unlike = gathered.unlike(one)
    if not unlike or typical is one.process:
        return ""
    figure = in_unit(unit)
    made = [
        Column("start", "Start"),
        Column("end", "End", rank=2),
        Column("perm", "Perm", rank=3),
        Column("size", "Size", ">"),
        Column("rss", "RSS", ">"),
        Column("name", "Name", floor=12),
    ]
    rows = [
        [
            f"{region.start:016x}",
            f"{region.end:016x}",
            str(region.perms),
            figure(region.size),
            figure(getattr(region, "rss", None)),
            printable(region.name),
        ]
        for region in unlike[:MOST_REGIONS]
    ]
    process = one.process
    what = f"{one.kind}: {one.use}" if one.use else one.kind
    head = (
        f"{what}: regions of {process.pid} on {process.host} that have no equal in "
        f"{typical.pid} on {typical.host}, which has the median:"
    )
    text = "\n" + prose(printable(head), width) + fitted(made, rows, width=width)
    if len(unlike) > MOST_REGIONS:
        text += f"and {len(unlike) - MOST_REGIONS:,} more\n"
    return text


def left_out_lines(gathered: Gathered) -> list[str]:
    """Lines on the hosts that gave nothing, and on processes that could not be read."""
    lines = [printable(f"{host or 'the host'}: {reason}") for host, reason in gathered.left_out]
    lines += [printable(f"{one.host}: {one.reason}") for one in gathered.unread]
    return lines
