"""What a control group is charged for: a sentence, the waterfall, its processes and files."""

from __future__ import annotations

from typing import Any

from procmem.errors import Unsupported
from procmem.picture.palette import is_known
from procmem.units import about, count, in_unit, unit_name
from procmem.view.colours import by_kind, by_use
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import clipped, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from procmem.system.charges import Charges, FileCharge, Outsider
    from procmem.system.controlgroup import ControlGroup

__all__ = ["container_json", "container_text"]

PARTS = {
    "anon": "anonymous memory",
    "shmem": "shared memory, tmpfs",
    "file": "page cache of files",
    "kernel": "kernel memory",
    "sock": "buffers of sockets",
    "hugetlb": "huge pages (hugetlbfs)",
}

MOST = 8
"""Rows below each part, unless all are asked for."""

MOST_FILES = 12


def container_text(
    group: ControlGroup,
    *,
    width: int | None = None,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
    all_rows: bool = False,
) -> str:
    """A sentence, where the usage comes from, what reclaim can take, files and processes.

    Args:
        group: the control group.
        width: cells of a line; None: as many as are needed.
        unit: of sizes, one of units.UNITS.
        chosen: keys of the columns of the processes; None: all.
        all_rows: all rows, and not the largest of each part alone.

    Raises:
        BadArgument: there is no column of that key.
    """
    charges, why = charges_or_reason(group)
    text = prose(f"{printable(group.path)} (version {group.version})", width)
    text += prose(sentence(group), width) + "\n"
    text += waterfall(group, charges, width, unit, all_rows=all_rows)
    text += "".join(prose(line, width) for line in notes(group))
    if charges is not None:
        text += "".join(prose(line, width) for line in shared_with(charges, unit))
    else:
        text += prose(f"Not by process, use and file: {why}.", width)
    if group.files:
        text += "\n" + file_table(group.files, width, unit, all_rows=all_rows)
    text += "\n" + process_table(group, charges, width, unit, chosen)
    return text


def charges_or_reason(group: ControlGroup) -> tuple[Charges | None, str]:
    try:
        return group.charges, ""
    except Unsupported as error:
        return None, error.reason


def sentence(group: ControlGroup) -> str:
    """What is asked first: how full it is, and whether it was at its limit."""
    usage, limit = group.usage, group.effective_limit
    if usage is None:
        said = "The root group, which has no usage of its own"
    else:
        said = f"{about(usage)} used"
    if limit is None:
        said += ", no limit"
    elif usage is not None:
        said += f" of {about(limit)} ({percent(usage, limit)})"
        if group.limited_by != group.path:
            said += f", the limit of {printable(group.limited_by or '?')}"
    if group.peak is not None:
        said += f"; peak {about(group.peak)}"
    if group.working_set is not None:
        said += f"; working set {about(group.working_set)}"
    if group.swap:
        said += f"; {about(group.swap)} in swap"
    said += "."
    if group.oom_kills:
        said += (
            f" The kernel killed {count(group.oom_kills, 'process')} because memory was exhausted."
        )
    if hits := group.events.get("max"):
        said += f" It reached its limit {count(hits, 'time')}."
    if group.moved:
        said += " It changed all the time while it was read: figures may be of different times."
    return said


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def waterfall(
    group: ControlGroup, charges: Charges | None, width: int | None, unit: str, *, all_rows: bool
) -> str:
    """The usage and its parts."""
    size = in_unit(unit)
    made = [
        Column("part", "Charged for", floor=20, paint=by_line),
        Column("size", "Size", ">"),
        Column("share", "Share", ">", 1),
    ]
    whole = group.usage

    def row(name: str, value: int | None) -> list[str]:
        share = percent(value, whole) if whole and value is not None else ""
        return [name, size(value), share]

    rows = [row(*one) for one in lines_of(group, charges, None if all_rows else MOST)]
    footer = row(f"usage, {unit_name(unit)}".removesuffix(", "), whole)
    return fitted(made, rows, footer=footer if whole is not None else None, width=width)


def by_line(text: str, whole: str) -> str:
    """A part, or a line of anonymous memory with its use coloured, if it has one and is not cut."""
    who, colon, use = whole.rpartition(": ")
    if not colon or text != whole or not whole.startswith("  ") or not is_known(use):
        return by_use(text, whole)
    return f"{who}{colon}{by_kind(use, use)}"


def lines_of(
    group: ControlGroup, charges: Charges | None, most: int | None
) -> Iterator[tuple[str, int | None]]:
    """The lines of the waterfall: parts, and what they consist of, indented."""
    for key, value in group.parts.items():
        if key in ("sock", "hugetlb") and not value:
            continue
        yield PARTS[key], value
        for name, part in largest(list(inside(key, value, group, charges)), most):
            yield f"  {name}", part
    if group.remainder is not None:
        yield "remainder", group.remainder


def largest(rows: list[tuple[str, int]], most: int | None) -> Iterator[tuple[str, int]]:
    """The rows, largest first; those after the first `most` as a sum."""
    rows = sorted((row for row in rows if row[1]), key=lambda row: -row[1])
    if most is None or len(rows) <= most + 1:
        yield from rows
        return
    yield from rows[:most]
    yield f"{len(rows) - most} more", sum(size for _, size in rows[most:])


def inside(
    key: str, value: int, group: ControlGroup, charges: Charges | None
) -> Iterator[tuple[str, int]]:
    """What a part consists of."""
    if key == "anon" and charges is not None:
        for row in charges.anon:
            who = row.name if row.pid is None else f"{row.pid} {clipped(printable(row.name), 20)}"
            yield f"{who}: {row.use}", row.size
        yield "mapped by no process of the group", charges.anon_unmapped
    elif key in ("file", "shmem") and charges is not None:
        of_kind = [file for file in charges.files if file.shmem is (key == "shmem")]
        for file in of_kind:
            yield clipped(printable(file.path), 60), file.size or 0
        rest = charges.file_rest if key == "file" else charges.shmem_rest
        yield "of files that no process of the group has open", rest
    elif key == "kernel":
        parts = group.figures.kernel_parts
        yield from parts.items()
        if parts:
            yield "other", max(value - sum(parts.values()), 0)
        elif charges is not None:
            yield "page tables", charges.frames["page tables"]
            yield "kernel stacks, pipes and others by frame", charges.frames["other"]
            by_frame = charges.frames["page tables"] + charges.frames["other"]
            yield "slab and what is not charged by frame", max(value - by_frame, 0)


def notes(group: ControlGroup) -> Iterator[str]:
    """What the remainder is, and what reclaim can take."""
    rest = group.remainder
    if rest:
        if abs(rest) <= group.stock:
            yield (
                f"The remainder is how the kernel counts: each CPU may charge 64 pages ahead, "
                f"{about(group.stock)} in all, and memory.stat may lag behind."
            )
        elif group.figures.swapcached:
            yield (
                f"The remainder has pages that are in swap and in memory "
                f"({about(group.figures.swapcached)}), some of which are anonymous memory, too."
            )
        elif rest > 0:
            yield (
                f"The remainder is more than the {about(group.stock)} that CPUs may charge ahead: "
                f"memory.stat lags by up to two seconds, and may have no row for some memory."
            )
        else:
            yield "The remainder is negative: memory.stat lags behind by up to two seconds."
    can = group.reclaimable
    if can is not None:
        held = (group.anon or 0) + (group.shmem or 0)
        written = (group.figures.file_dirty or 0) + (group.figures.file_writeback or 0)
        of = "clean page cache and slab" if group.figures.slab_reclaimable else "clean page cache"
        said = f"Reclaim can take {about(can)}: {of}." if can else f"There is no {of} to reclaim."
        if written:
            said += f" {about(written)} must be written first."
        said += f" {about(held)} of anonymous and shared memory can go only to swap."
        if group.figures.unevictable:
            said += f" {about(group.figures.unevictable)} can't be reclaimed (locked)."
        yield said


def shared_with(charges: Charges, unit: str) -> Iterator[str]:
    """Pages charged here that others map, and the other way round."""
    del unit
    if charges.outside:
        named = ", ".join(listed(charges.outside[:3]))
        yield (
            f"{count(len(charges.outside), 'process')} outside of the group map pages that it is "
            f"charged for: {named}{'' if len(charges.outside) <= 3 else ', ...'}."
        )
    if charges.charged_elsewhere:
        whole = sum(one.size for one in charges.charged_elsewhere)
        named = ", ".join(listed(charges.charged_elsewhere[:3]))
        yield (
            f"Its processes map {about(whole)} that others are charged for: {named}"
            f"{'' if len(charges.charged_elsewhere) <= 3 else ', ...'}."
        )
    if charges.unread:
        yield f"{count(len(charges.unread), 'process')} could not be read: {charges.unread[:10]}."


def listed(ones: Sequence[Outsider]) -> Iterator[str]:
    for one in ones:
        who = clipped(printable(one.name), 50)
        if one.pid is not None:
            who = f"{one.pid} ({who})"
        yield f"{who} {about(one.size)}"


def file_table(files: Sequence[FileCharge], width: int | None, unit: str, *, all_rows: bool) -> str:
    """Its files: what it is charged for, and what all of the page cache has."""
    size = in_unit(unit)
    made = [
        Column("charged", "Charged", ">"),
        Column("mapped", "Mapped", ">", 2),
        Column("dirty", "Dirty", ">", 1),
        Column("cached", "Cached", ">", 3),
        Column("path", "File", floor=16, keep_end=True),
    ]
    known = files[0].size is not None
    shown = list(files) if all_rows else list(files[:MOST_FILES])
    rows = [
        [
            size(file.size),
            size(file.mapped),
            size(file.dirty),
            size(file.cached),
            printable(file.path),
        ]
        for file in shown
    ]
    keys = None if known else ["cached", "dirty", "path"]
    text = fitted(made, rows, width=width, chosen=keys)
    if len(shown) < len(files):
        text += prose(
            f"{count(len(files) - len(shown), 'file')} with less: --all lists them.", width
        )
    return text


def process_table(
    group: ControlGroup,
    charges: Charges | None,
    width: int | None,
    unit: str,
    chosen: Sequence[str] | None,
) -> str:
    """Its processes: what they map, wherever that is charged."""
    if not group.live:
        return prose("Saved files: its processes are not known.", width)
    if not group.processes:
        return prose("No process is in it, or none that this PID namespace shows.", width)
    size = in_unit(unit)
    made = [
        Column("pid", "PID", ">"),
        Column("rss", "RSS", ">", 1),
        Column("pss", "PSS", ">"),
        Column("anon", "Anon here", ">", 2),
        Column("swap", "Swap", ">", 3),
        Column("command", "Command", floor=12),
    ]
    mine: dict[int | None, int] = {}
    for row in charges.anon if charges is not None else ():
        mine[row.pid] = mine.get(row.pid, 0) + row.size
    rows = [
        [
            str(one.pid),
            size(one.rss),
            size(one.pss),
            size(mine.get(one.pid, 0) if charges is not None else None),
            size(one.swap),
            clipped(printable(one.command), 60),
        ]
        for one in group.processes
    ]
    text = fitted(made, rows, width=width, chosen=chosen)
    denied = sum(one.pss is None for one in group.processes)
    if denied:
        text += prose(
            f"No PSS for {count(denied, 'process')}: ended, or it needs root or the rights of "
            f"ptrace(2).",
            width,
        )
    return text


def container_json(group: ControlGroup) -> dict[str, Any]:
    """All of it as plain values; sizes in bytes."""
    names = (
        "path version usage limit effective_limit limited_by peak swap working_set anon shmem "
        "file kernel remainder stock reclaimable events oom_kills moved"
    ).split()
    charges, why = charges_or_reason(group)
    found = {
        **{name: getattr(group, name) for name in names},
        "figures": group.figures._asdict(),
        "charges": None,
        "no_charges": why or None,
        "files": [one._asdict() for one in group.files],
        "processes": [one._asdict() for one in group.processes],
    }
    if charges is not None:
        found["charges"] = {
            name: [one._asdict() if hasattr(one, "_asdict") else one for one in value]
            if isinstance(value, list)
            else value
            for name, value in charges._asdict().items()
            if name != "files"
        }
    return found
